"""Commands that read a stopped server's files, and the start of a server, keep out of each other's way.

The repository has one opener. While nobody holds the lease, a command that reads shares the lock of one file beside the
epochs; who starts the server takes it alone until the lease is claimed. It goes with its process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from opentec.ha.errors import LeaseDirectoryError

NAME: Final = "readers"


@contextmanager
def reading(directory: Path) -> Iterator[bool]:
    """For as long as this lasts no server starts in `directory`; False when one is starting. Raises
    LeaseDirectoryError. Whoever reads must look once more, inside, whether the server is stopped.
    """
    descriptor = take(directory, shared=True)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def take(directory: Path, *, shared: bool = False) -> int | None:
    """A descriptor that holds the lock until it is closed; None where it cannot be had now. Raises LeaseDirectoryError.

    Alone, unless `shared`. A reader that may not write there shares it all the same, where there is such a file.
    """
    path = directory / NAME
    try:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
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
