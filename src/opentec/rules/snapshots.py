"""The snapshots that a server keeps in its folder `rulebase/`, and the three files that say which of them counts.

`current` names the active one, for a node that starts and for tec_task; what rules is the log's last ACTIVATE record,
and reception corrects `current` from it. `waiting` names one that the next `tec start` takes. `seen` holds the hash
of the configured folder when a rule base was last chosen: a start takes that folder again only when it was edited.
A snapshot's time of change is the log time at which it was last activated.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final, NamedTuple

from opentec.rules.rulebase import NAME
from opentec.rules.rulebase_sources import RuleBaseError

CURRENT: Final = "current"
WAITING: Final = "waiting"
SEEN: Final = "seen"
KEPT: Final = 10  # snapshots that are kept although nothing names them
SHORTEST: Final = 6  # digits of a hash that name a snapshot

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_PREFIX: Final = re.compile(rf"[0-9a-f]{{{SHORTEST},64}}")
_LEFTOVER: Final = (".new-", ".old-")
_YOUNG: Final = 86_400.0  # seconds: what was made or asked for lately is about to be used


class Snapshot(NamedTuple):
    """One snapshot; `time` in seconds since 1970: when it was last activated, else when it was made."""

    content_hash: str
    name: str  # of the rule base
    time: float
    active: bool
    waiting: bool


def read_mark(rule_bases: Path, mark: str) -> str:
    """The hash that CURRENT, WAITING or SEEN holds; "" where there is none."""
    try:
        return (rule_bases / mark).read_text().strip()
    except FileNotFoundError:
        return ""


def write_mark(rule_bases: Path, mark: str, content_hash: str) -> None:
    """Write one of the three files, durably and in one step; raises OSError."""
    draft = rule_bases / f".{mark}.{os.getpid()}"
    with draft.open("w") as file:
        file.write(content_hash + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(rule_bases / mark)
    _sync(rule_bases)


def clear_mark(rule_bases: Path, mark: str) -> None:
    """Remove one of the three files; harmless when repeated."""
    with contextlib.suppress(FileNotFoundError):
        (rule_bases / mark).unlink()
        _sync(rule_bases)


def snapshots(rule_bases: Path) -> list[Snapshot]:
    """All snapshots, the one that was activated last first."""
    current, waiting = read_mark(rule_bases, CURRENT), read_mark(rule_bases, WAITING)
    found = []
    for folder in _folders(rule_bases):
        with contextlib.suppress(OSError):  # pruned at this moment
            changed = folder.stat().st_mtime
            name_file = folder / NAME
            name = name_file.read_text(encoding="utf-8", errors="replace") if name_file.is_file() else ""
            found.append(Snapshot(folder.name, name, changed, folder.name == current, folder.name == waiting))
    return sorted(found, key=lambda one: (-one.time, one.content_hash))


def find_snapshot(rule_bases: Path, prefix: str) -> str | None:
    """The hash that begins with `prefix` (SHORTEST digits at least), None when there is none; raises RuleBaseError
    when several do."""
    if not _PREFIX.fullmatch(prefix):
        return None
    found = [folder.name for folder in _folders(rule_bases) if folder.name.startswith(prefix)]
    if len(found) > 1:
        raise RuleBaseError(f"{prefix} begins {len(found)} hashes in {rule_bases}; write more digits of it")
    return found[0] if found else None


def note_activated(rule_bases: Path, content_hash: str, log_time: int) -> None:
    """A snapshot was activated at this log time, in microseconds; raises OSError."""
    os.utime(rule_bases / content_hash, ns=(log_time * 1000, log_time * 1000))


def note_wanted(rule_bases: Path, content_hash: str) -> None:
    """Somebody is about to activate a snapshot: it is not pruned for a day. Raises OSError."""
    found = (rule_bases / content_hash).stat()
    os.utime(rule_bases / content_hash, ns=(found.st_atime_ns, found.st_mtime_ns))  # renews the time of its inode


def prune(rule_bases: Path, named: Collection[str], since: int, *, now: float | None = None) -> list[str]:
    """Delete snapshots that nothing needs; gives their hashes.

    Kept are the last KEPT, `current` and `waiting`, those in `named`, those activated at log time `since`
    (microseconds) or later, and those that somebody made or asked for within a day.
    """
    now = time.time() if now is None else now
    gone = []
    for number, one in enumerate(snapshots(rule_bases)):
        folder = rule_bases / one.content_hash
        if number < KEPT or one.active or one.waiting or one.content_hash in named or one.time * 1e6 >= since:
            continue
        try:
            if folder.stat().st_ctime > now - _YOUNG:
                continue
            old = rule_bases / f".old-{one.content_hash}"
            folder.rename(old)  # in one step: nobody finds half a snapshot
        except FileNotFoundError:
            continue
        shutil.rmtree(old, ignore_errors=True)
        gone.append(one.content_hash)
    for leftover in (path for path in rule_bases.iterdir() if path.name.startswith(_LEFTOVER)):
        with contextlib.suppress(FileNotFoundError):
            if leftover.stat().st_ctime < now - _YOUNG:
                shutil.rmtree(leftover, ignore_errors=True)
    return gone


def _folders(rule_bases: Path) -> list[Path]:
    if not rule_bases.is_dir():
        return []
    return sorted(path for path in rule_bases.iterdir() if _HASH.fullmatch(path.name) and path.is_dir())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
