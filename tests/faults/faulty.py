"""`python -m tests.faults.faulty DIRECTORY NODE FILE`: start a node whose disk does what FILE says.

FILE is looked at before each write: `fdatasync EIO` makes the records of the log and trial writes fail, `beat EROFS`
the renewal of the lease; no file, or an empty one, and the disk is sound. A node that gave way begins anew as it is
installed, so its disk is mended by that.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from tests.faults.launch import started

_fdatasync = os.fdatasync
_pwrite = os.pwrite


def main(directory: str, node: str, file: str) -> int:
    def fails(place: str) -> None:
        try:
            words = Path(file).read_text().split()
        except OSError:
            return
        if words[:1] == [place]:
            number = getattr(errno, words[1])
            raise OSError(number, os.strerror(number))

    def fdatasync(descriptor: int) -> None:
        fails("fdatasync")
        _fdatasync(descriptor)

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        if "/ha/" in str(Path(f"/proc/self/fd/{descriptor}").readlink()) and len(data) < 100:
            fails("beat")
        return _pwrite(descriptor, data, offset)

    os.fdatasync = fdatasync
    os.pwrite = pwrite
    return started(directory, node)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
