"""The files `epoch.N` of the lease directory: reading them, and the checks that need no lease.

A file is one block of JSON padded to BLOCK bytes. Only its counter is ever rewritten, in place and at a fixed width,
so a reader never meets half a document.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from opentec.ha import process
from opentec.ha.errors import LeaseDirectoryError

BLOCK: Final = 4096
KEEP: Final = 5  # files that gc leaves, so that a person sees the last takeovers
PREFIX: Final = "epoch."
DRAFT: Final = ".claim."
MARKS: Final = ("stopped", "clean", "switch", "gaveway", "left")

_HEAD: Final = b'{"counter": "'
COUNTER_AT: Final = len(_HEAD)
COUNTER_WIDTH: Final = 20


@dataclass(frozen=True, slots=True)
class EpochFile:
    """What `epoch.N` says of its holder. A damaged file still counts as a number, with an unknown holder (pid 0)."""

    number: int
    path: Path
    counter: int = 0
    node: str = ""
    pid: int = 0
    start_time: int = 0
    boot_id: str = ""
    pid_namespace: str = ""
    addresses: tuple[str, ...] = ()
    version: int = 1  # of what the holder writes to the repository; nobody of a lower one may take over from it


def path_of(directory: Path, number: int) -> Path:
    return directory / f"{PREFIX}{number}"


def encode(holder: dict[str, Any]) -> bytes:
    """A file's content with counter 0. Raises ValueError when the holder does not fit a block."""
    text = _HEAD + b"0" * COUNTER_WIDTH + b'", ' + json.dumps(holder).encode()[1:]
    if len(text) >= BLOCK:
        raise ValueError(f"node name and addresses take {len(text)} bytes, an epoch file holds {BLOCK - 1}")
    return text.ljust(BLOCK - 1) + b"\n"


def numbers(directory: Path) -> list[int]:
    """The epochs that have a file, ascending. Raises LeaseDirectoryError when the directory cannot be read."""
    try:
        names = [entry.name for entry in directory.iterdir()]
    except OSError as error:
        raise LeaseDirectoryError(
            f"{directory}: {error.strerror}; check that the instance directory is mounted and complete"
        ) from error
    return sorted(int(name[len(PREFIX) :]) for name in names if _is_epoch(name))


def newest(directory: Path) -> EpochFile | None:
    """The newest epoch's file, or None when no server has run here. Raises LeaseDirectoryError."""
    while found := numbers(directory):
        with suppress(FileNotFoundError):
            return read(directory, found[-1])
    return None


def read(directory: Path, number: int) -> EpochFile:
    """One epoch's file. Raises FileNotFoundError; LeaseDirectoryError for other trouble of the file system."""
    path = path_of(directory, number)
    try:
        with path.open("rb") as file:
            block = file.read(BLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise LeaseDirectoryError(f"{path}: {error.strerror}; check the mount and the owner") from error
    try:
        holder = json.loads(block)
        return EpochFile(
            number,
            path,
            int(holder["counter"]),
            str(holder["node"]),
            int(holder["pid"]),
            int(holder["start_time"]),
            str(holder["boot_id"]),
            str(holder["pid_namespace"]),
            tuple(str(address) for address in holder["addresses"]),
            int(holder.get("version", 1)),
        )
    except (ValueError, KeyError, TypeError):
        return EpochFile(number, path)


def superseded(directory: Path, epoch: int) -> bool:
    """Has another server taken over from `epoch`? Two looks at the directory at most, and no file is opened.

    gc removes files in ascending order, so whoever no longer finds N + 1 has lost N too. Where the directory cannot be
    read the answer is yes.
    """
    folder = os.fspath(directory)
    if os.access(f"{folder}/{PREFIX}{epoch + 1}", os.F_OK):
        return True
    return not os.access(f"{folder}/{PREFIX}{epoch}", os.F_OK)


def holder_dead(file: EpochFile) -> bool:
    """Is the lock of this file free? Then its holder has ended, whatever the clocks say.

    Valid on one kernel and on file systems whose locks work between nodes. False when the file is gone.
    """
    try:
        descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # shared, so that two standbys that look at the same moment do not take each other for the holder
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def holder_here(file: EpochFile) -> bool:
    """Does the holder certainly live in this very system: same boot, same numbering of processes, same start time?

    False says nothing: it may have ended, or live on another machine or in another container.
    """
    if not file.pid or file.boot_id != process.boot_id() or file.pid_namespace != process.pid_namespace():
        return False
    return process.start_time(file.pid) == file.start_time and not holder_dead(file)


def gc(directory: Path, keep: int = KEEP) -> list[int]:
    """Remove all but the newest `keep` epoch files, oldest first, with their marks and drafts of dead claimants.

    Ends at the first whose holder is not dead: it may keep the database locked, and its file says who that is; and a
    stale holder must never see its successor's file go before its own. For the holder of the lease. Gives the epochs
    that were removed. Raises LeaseDirectoryError.
    """
    found = numbers(directory)
    gone: list[int] = []
    for epoch in found[: max(0, len(found) - max(1, keep))]:
        if not holder_dead(EpochFile(epoch, path_of(directory, epoch))):
            break
        path_of(directory, epoch).unlink(missing_ok=True)
        gone.append(epoch)
    oldest = found[len(gone)] if found else 0
    for entry in list(directory.iterdir()):
        kind, _, number = entry.name.partition(".")
        old_mark = kind in MARKS and number.isdecimal() and int(number) < oldest
        if old_mark or (entry.name.startswith(DRAFT) and holder_dead(EpochFile(0, entry))):
            entry.unlink(missing_ok=True)
    return gone


def _is_epoch(name: str) -> bool:
    rest = name[len(PREFIX) :]
    # what int() cannot be printed back to is none of ours: epoch.007, epoch.١
    return name.startswith(PREFIX) and rest.isascii() and rest.isdecimal() and (rest == "0" or rest[0] != "0")
