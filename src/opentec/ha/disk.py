"""Does a disk still take what is written to it? A node whose disk fails or hangs must give way (ha.md 1, row 54).

What is tried is one block of a small file, rewritten in place and made durable: what a full disk refuses is not asked
for again and again, and nothing grows. As a program, `disk.py NODE FOLDER...` tries folders and prints what is wrong.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_BLOCK: Final = b"opentec\n" * 64


def probe(directory: Path, node: str) -> float:
    """Write one block below `directory` and make it durable; gives the seconds that this took.

    `node` keeps the files of nodes that share a directory apart. Raises OSError; blocks for as long as the disk does.
    """
    started = time.monotonic()
    # no symbolic link of a stranger's is followed: the folder may be one that all may write to
    file = os.open(directory / f".probe.{node}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(file, _BLOCK, 0)
        os.fdatasync(file)
    finally:
        os.close(file)
    return time.monotonic() - started


class Trial:
    """Tries disks out in a process of its own, since a disk that hangs would hang who asks. One owner, one thread.

    For a master that stands by: it has one thread only, so that fork is safe, and must go on watching the lease.
    """

    def __init__(self, directories: Sequence[Path], node: str, *, limit: float, interval: float = 0.0) -> None:
        """A disk that takes longer than `limit` seconds hangs; disks are tried every `interval` seconds."""
        # isolated and without site-packages: it starts in a fraction of the time, and needs nothing of ours
        self._command = [sys.executable, "-I", "-S", __file__, node, *map(str, directories)]
        self._limit, self._interval = limit, interval
        self._process: subprocess.Popen[bytes] | None = None
        self._since = float("-inf")
        self.trouble = ""  # what is wrong, "" = nothing is known to be

    def look(self, now: float) -> str:
        """Begin a trial when it is time, take up the result of the last one; gives `trouble`.

        Never blocks. `now`: monotonic seconds.
        """
        if self._process is not None:
            self._collect(self._process, now)
        if self._process is None and now - self._since >= self._interval:
            self._since = now
            self._process = subprocess.Popen(  # noqa: S603 - our own program, an argument list
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
            )
        return self.trouble

    def finish(self) -> str:
        """One trial from its beginning to its end, or until the disk hangs; gives `trouble`. Blocks."""
        self.look(time.monotonic())
        while self._process is not None and not self.trouble:
            time.sleep(0.002)
            self._collect(self._process, time.monotonic())
        return self.trouble

    def close(self) -> None:
        """End a trial that is under way. One that waits for a hung disk is left to whoever collects all children."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        if process.stdout is not None:
            process.stdout.close()
        end = time.monotonic() + 0.1
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.002)
        process.returncode = -9 if process.returncode is None else process.returncode

    def _collect(self, process: subprocess.Popen[bytes], now: float) -> None:
        status = process.poll()
        if status is None:
            if now - self._since > self._limit:
                places = " or ".join(self._command[5:])
                self.trouble = f"{places}: a write has not ended within {self._limit:g} s"
            return
        self._process = None
        assert process.stdout is not None
        with process.stdout:
            said = process.stdout.read(4096).decode(errors="replace").strip()
        # killed, or there was no memory for it: nothing is known of the disks then
        self.trouble = said if status else ""


def main(node: str, *directories: str) -> int:
    """Try the folders one after the other; prints the first that cannot be written and gives 1."""
    for directory in directories:
        try:
            probe(Path(directory), node)
        except OSError as error:
            print(f"{directory}: it cannot be written: {error.strerror}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
