"""A disk and a clock that fail on demand: the preload shim (shim.c), built when a test needs it, and its page.

The page is one file that the processes of a node share. What is written to it holds at once, in all of them. The model
of a power cut: names survive (as on a journaling file system that orders them), and a file holds what its last honest
fsync or fdatasync made durable; a file that was never synced is empty.
"""

from __future__ import annotations

import array
import errno
import fcntl
import hashlib
import os
import shutil
import struct
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_name("shim.c")
_PAGE = struct.Struct("<iiiiqii512s512s")
_HITS = struct.Struct("<i")
_HITS_AT = 28
_GET_VERSION = 0x80087601  # FS_IOC_GETVERSION


def missing() -> str:
    """Why there can be no shim here, "" when there can."""
    return (
        "" if shutil.which("cc") or shutil.which("gcc") else "no C compiler (cc or gcc) to build the preload shim with"
    )


def build(folder: Path) -> Path:
    """The shim, compiled into `folder` unless it is there already. Raises CalledProcessError."""
    name = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]
    library = folder / f"shim-{name}.so"
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f"{library.name}.{os.getpid()}"
        compiler = shutil.which("cc") or "gcc"
        command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(draft), str(_SOURCE), "-ldl"]
        subprocess.run([*command, "-lpthread"], check=True, timeout=60)
        draft.rename(library)
    return library


class Shim:
    """The page of one node. `environment` goes to its start; every change holds at once."""

    def __init__(self, folder: Path, name: str, *, images: Path | None = None, prefix: Path | None = None) -> None:
        """`images`: where honest syncs keep what they made durable, of the files below `prefix`."""
        self.file = folder / f"shim-{name}"
        self._images = images
        self._prefix = prefix
        if images is not None:
            images.mkdir(exist_ok=True)
        self._clock_us = 0
        self.environment = {"LD_PRELOAD": str(build(folder / "built")), "TEC_SHIM": str(self.file)}
        self.set()

    def set(
        self,
        prefix: Path | None = None,
        *,
        write: str = "",
        sync: str = "",
        slow: float = 0.0,
        lie: bool = False,
        kill_at: int = 0,
    ) -> None:
        """What writes and syncs below `prefix` do from now on; without arguments the disk is sound.

        `write`, `sync`: names of errors; `slow`: seconds that a sync takes; `kill_at`: the process that makes the n-th
        call from now on kills itself there.
        """
        number = {name: getattr(errno, name) if name else 0 for name in (write, sync)}
        below = prefix or self._prefix
        page = _PAGE.pack(
            number[write],
            number[sync],
            round(slow * 1000),
            lie,
            self._clock_us,
            kill_at,
            0,
            os.fsencode(below) if below else b"",
            os.fsencode(self._images) if self._images else b"",
        )
        descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.pwrite(descriptor, page, 0)
        finally:
            os.close(descriptor)

    def step_clock(self, seconds: float) -> None:
        """Set the wall clock so many seconds ahead of the true one; the disk is sound."""
        self._clock_us = round(seconds * 1e6)
        self.set()

    @property
    def hits(self) -> int:
        """Calls that failed, hung or lied since the last `set`."""
        with self.file.open("rb") as file:
            file.seek(_HITS_AT)
            return int(_HITS.unpack(file.read(4))[0])

    @property
    def armed(self) -> int:
        """Calls that are left until a process kills itself."""
        with self.file.open("rb") as file:
            file.seek(24)
            return int(_HITS.unpack(file.read(4))[0])


def identity(path: Path) -> str:
    """Inode and its generation, by which the shim names what it keeps of a file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        generation = array.array("L", [0])
        try:
            fcntl.ioctl(descriptor, _GET_VERSION, generation)
        except OSError:
            generation[0] = 0
        return f"{os.fstat(descriptor).st_ino}-{generation[0] & 0xFFFFFFFF}"
    finally:
        os.close(descriptor)


def keep_all(folders: list[Path], images: Path) -> None:
    """Take all files as durable, as they are; for files that were made before the shim looked."""
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                shutil.copyfile(path, images / identity(path))


def cut_power(folders: list[Path], images: Path) -> int:
    """Leave of every file below `folders` what was durable; gives how many lost something. No process may run."""
    changed = 0
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or path.is_symlink():
                continue
            image = images / identity(path)
            kept = image.read_bytes() if image.exists() else b""
            if path.read_bytes() != kept:
                path.write_bytes(kept)
                changed += 1
    return changed
