"""Commands that read a stopped server's files, and the start of a server, keep out of each other's way.

The repository has one opener. While nobody holds the lease, a command that reads shares the lock of one file beside the
epochs; who starts the server takes it alone until the lease is claimed. It goes with its process, however that ends. A
start that has waited for a while takes a second lock, and readers that see it make way.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from opentec.ha.errors import LeaseDirectoryError

NAME: Final = "readers"
WANTED: Final = "readers.wanted"
_LOOK: Final = 0.25  # seconds between a reader's looks at whether a start waits for it


@contextmanager
def reading(directory: Path, make_way: Callable[[], None]) -> Iterator[bool]:
    """For as long as this lasts no server starts in `directory`; False when one is starting. Raises
    LeaseDirectoryError. Whoever reads must look once more, inside, whether the server is stopped.

    `make_way` is called when a start has waited for long enough, from a thread of its own, also while the reader waits
    for whoever takes its output: it must end the process.
    """
    descriptor = take(directory, shared=True)
    done = threading.Event()
    looking = threading.Thread(target=_look, args=(directory, make_way, done), daemon=True)
    try:
        if descriptor is not None:
            looking.start()
        yield descriptor is not None
    finally:
        if descriptor is not None:
            done.set()
            looking.join()
            os.close(descriptor)


def _look(directory: Path, make_way: Callable[[], None], done: threading.Event) -> None:
    while not done.wait(_LOOK):
        try:
            free = take(directory, WANTED, shared=True)
        except LeaseDirectoryError:
            continue  # the reader itself finds out when the directory is gone
        if free is None:
            make_way()
            return
        os.close(free)


def take(directory: Path, name: str = NAME, *, shared: bool = False) -> int | None:
    """A descriptor that holds the lock until it is closed; None where it cannot be had now. Raises LeaseDirectoryError.

    Alone, unless `shared`: NAME for a start or a reader, WANTED for a start that waits for readers. A reader that may
    not write there shares it all the same, where there is such a file.
    """
    path = directory / name
    try:
        try:
            descriptor = _open(path)
        except PermissionError:
            if not shared:
                raise
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LeaseDirectoryError(f"{path}: {error.strerror}; check the mount and the owner") from error
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        pass
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    if os.geteuid() == 0:
        # what root's command made must not keep the server's own user from starting; never what lay there before
        with suppress(OSError):
            owner = path.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor
