"""Which file system a path lies on: SQLite in WAL mode needs shared memory and sound locks, so one host (ha.md 3)."""

from __future__ import annotations

import re
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


def network_file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str | None:
    """The type of the network file system that `path` lies on, or None for a local one or where mounts are unknown.

    The path need not exist. A later line of the mount table hides an earlier one of the same place.
    """
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
