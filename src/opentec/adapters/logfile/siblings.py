"""The files beside a log that log rotation makes of it: `log.1`, `log-20260301`, `log.old`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

ENTRIES: Final = 10_000  # of one folder that are looked at
_SUFFIX: Final = re.compile(r"[.-](?:\d{1,3}|old|\d{4}-?\d{2}-?\d{2}(?:[-T_.]?\d{1,10})?)(?=$)")
_PACKED: Final = (".gz", ".bz2", ".xz", ".zst", ".Z", ".zip")


def base_of(path: str) -> str | None:
    """The log of which `path` is a rotated file by its name, or None."""
    folder, name = os.path.split(path)
    suffix = _SUFFIX.search(name)
    if suffix is None or suffix.start() == 0:
        return None
    return os.path.join(folder, name[: suffix.start()])  # noqa: PTH118  # names are compared as they were given


def is_packed(path: str) -> bool:
    """Whether the file is compressed: its lines are not readable as such."""
    return path.endswith(_PACKED)


def siblings(path: str) -> list[tuple[Path, os.stat_result]]:
    """The other regular files in the folder of `path`; none when the folder cannot be read."""
    found = []
    folder, name = os.path.split(path)
    try:
        with os.scandir(folder or ".") as entries:
            for number, entry in enumerate(entries):
                if number >= ENTRIES:
                    break
                try:
                    if entry.name != name and entry.is_file():
                        found.append((Path(entry.path), entry.stat()))
                except OSError:
                    continue
    except OSError:
        return []
    return found
