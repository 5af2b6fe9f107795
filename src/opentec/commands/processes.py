"""The processes of one logical server on this host, found by their titles: `tec_master -d DIR --node NODE`.

Needs no socket, so that a server that answers no more is found too.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

PROCESSES: Final = ("tec_master", "tec_reception", "tec_rule", "tec_dispatch", "tec_task")
_PROC: Final = Path("/proc")


class Found(NamedTuple):
    """One process."""

    pid: int
    name: str
    node: str
    rejoins: bool = False  # a master that gave its epoch up and does not stand by again yet: it answers nothing


def find(directory: Path, proc: Path = _PROC) -> list[Found]:
    """The processes of the server of an instance directory, all nodes; without those that have ended."""
    found = []
    for entry in proc.iterdir():
        if entry.name.isdecimal() and (process := _identify(entry, directory)):
            found.append(process)
    return sorted(found, key=lambda process: (process.node, process.pid))


def _identify(entry: Path, directory: Path) -> Found | None:
    try:
        command = (entry / "cmdline").read_bytes()
        if not command:
            return None  # ended, or a thread of the kernel
        owner = (entry / "cmdline").stat().st_uid
    except OSError:
        return None
    if owner not in (os.geteuid(), 0) and os.geteuid() != 0:
        return None  # a stranger's process with our title is not ours
    parts = [os.fsdecode(part) for part in command.rstrip(b"\0").split(b"\0")]
    pid = int(entry.name)
    if parts[1:2] == ["-P"]:  # an older version has none
        del parts[1]
    if parts[1:3] == ["-m", "opentec.server.start"] and parts[3:4] == [str(directory)]:
        return Found(pid, "tec_master", parts[4] if len(parts) > 4 else "", rejoins=True)
    name, _, rest = parts[0].partition(" ")
    wanted = f"-d {directory} --node "
    if name in PROCESSES and rest.startswith(wanted) and " " not in (node := rest.removeprefix(wanted).strip()):
        return Found(pid, name, node)
    return None


def runs_under(pid: int, runtime: Path, proc: Path = _PROC) -> bool | None:
    """Is this master's lock the one in `runtime`, where its sockets are looked for? None where that cannot be seen."""
    try:
        entries = list((proc / str(pid) / "fd").iterdir())
    except OSError:
        return None
    for entry in entries:
        with suppress(OSError):
            named = str(entry.readlink()).removesuffix(" (deleted)")
            if named.endswith(f"/{runtime.name}/lock"):
                # the path alone may be that of another mount namespace, or of a directory that was made anew
                held = entry.stat()
                try:
                    return os.path.samestat(held, (runtime / "lock").stat())
                except FileNotFoundError:
                    return False
    return None


def owner_of(pid: int, proc: Path = _PROC) -> int | None:
    """The user whose process it is; None when there is none."""
    try:
        return (proc / str(pid)).stat().st_uid
    except OSError:
        return None


def kill(processes: list[Found]) -> None:
    """SIGKILL, masters first so that they start nothing again. Raises PermissionError."""
    for process in sorted(processes, key=lambda process: process.name != "tec_master"):
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
