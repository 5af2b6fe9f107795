"""Which tests failed last, for `--last-failed`: one small file of the cache for each rule base, by its real path.

A run changes what is remembered of the tests that it ran, and forgets those that are no longer there. What cannot be
read, and what others may write, is as if nothing had failed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import msgspec

from opentec.rules.compiled_cache import prune, read_private, write_private

FOLDER: Final = "last-failed"
MAX_FILE: Final = 8 * 1024 * 1024  # bytes
MAX_FILES: Final = 256
MAX_TOTAL: Final = 64 * 1024 * 1024

Failed = set[tuple[str, str]]  # the real path of a file as text, and the name of a test in it


def real_name(file: str) -> str:
    """The real path of a file as text that can be stored, whatever bytes its name has."""
    return os.fsencode(Path(file).resolve()).decode("utf-8", "backslashreplace")


def read_failed(cache: Path | None, rule_base: Path) -> Failed:
    """The tests of a rule base that failed when they ran last."""
    if cache is None:
        return set()
    try:
        data = read_private(_file(cache, rule_base), MAX_FILE + 1)
        return set(msgspec.json.decode(data, type=list[tuple[str, str]]))
    except (OSError, msgspec.MsgspecError):
        return set()


def write_failed(
    cache: Path | None, rule_base: Path, ran: Mapping[tuple[str, str], bool], known: Mapping[str, Collection[str]]
) -> None:
    """Remember how tests ended: `ran` says of each, by real path and name, whether it passed.

    `known` has the names of all tests of the files that were read.
    """
    if cache is None:
        return
    before = read_failed(cache, rule_base)
    kept = {(file, name) for file, name in before if (file, name) not in ran and _is_there(file, name, known)}
    now = kept | {test for test, passed in ran.items() if not passed}
    if now != before:
        path = _file(cache, rule_base)
        if write_private(path, msgspec.json.encode(sorted(now))):
            prune(path.parent, MAX_FILES, MAX_TOTAL)


def _is_there(file: str, name: str, known: Mapping[str, Collection[str]]) -> bool:
    return name in known[file] if file in known else Path(file).is_file()


def _file(cache: Path, rule_base: Path) -> Path:
    # names of files may hold bytes that are no text
    return cache / FOLDER / f"{hashlib.sha256(os.fsencode(rule_base.resolve())).hexdigest()[:32]}.json"
