"""Which file system a path lies on: SQLite in WAL mode needs shared memory and sound locks, so one host (ha.md 3)."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

NETWORK: Final = frozenset(
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb2",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "coda",
        "glusterfs",
        "lustre",
        "beegfs",
        "gpfs",
        "ncpfs",
        "fuse.sshfs",
        "fuse.glusterfs",
        "fuse.ceph",
        "fuse.s3fs",
        "fuse.rclone",
        "fuse.davfs",
        "davfs",
        "fuse.nfs",
    ]
)


# statfs(2), linux/magic.h: what the kernel says of a file system itself, where the mount table is hidden
MAGIC: Final = {
    0x6969: "nfs",
    0x517B: "smbfs",
    0xFF534D42: "cifs",
    0xFE534D42: "smb2",
    0x01021997: "9p",
    0x5346414F: "afs",
    0x6B414653: "afs",
    0x00C36400: "ceph",
    0x73757245: "coda",
    0x0BD00BD0: "lustre",
    0x19830326: "beegfs",
    0x47504653: "gpfs",
    0x564C: "ncpfs",
}


def statfs_type(path: Path) -> int:
    """The f_type of the file system of `path`, or of its nearest folder that exists; 0 where that cannot be told."""
    while not path.exists() and path != path.parent:
        path = path.parent
    buffer = ctypes.create_string_buffer(256)  # struct statfs has 120 bytes on a machine of 64 bits
    if ctypes.CDLL(None).statfs(os.fsencode(path), buffer):
        return 0
    # the first member, a long; magic numbers have 32 bits
    number = ctypes.c_long.from_buffer(buffer).value
    return number & 0xFFFFFFFF


def network_file_system(
    path: Path, mounts: Path = Path("/proc/self/mounts"), statfs: Callable[[Path], int] = statfs_type
) -> str | None:
    """The type of the network file system that `path` lies on, or None for a local one or where that is unknown.

    The path need not exist. The kernel's own word comes first; what is behind FUSE, which may be anything, and what it
    has no number for, the mount table says. A later line of that hides an earlier one of the same place.
    """
    try:
        told = MAGIC.get(statfs(path))
    except OSError:
        told = None
    return told or _mounted(path, mounts)


def _mounted(path: Path, mounts: Path) -> str | None:
    try:
        table = mounts.read_text(errors="surrogateescape")
    except OSError:
        return None
    target = path.resolve()
    best, kind = Path(), ""
    for line in table.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        place = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[1]))
        if target.is_relative_to(place) and len(place.parts) >= len(best.parts):
            best, kind = place, fields[2]
    return kind if kind in NETWORK else None
