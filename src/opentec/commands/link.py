"""Reaching the server from a command: which node is active, its sockets, and what to do when there is none."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from opentec.commands import endings, processes
from opentec.ha import epochs, marks
from opentec.ha.errors import LeaseDirectoryError
from opentec.server.control import Control
from opentec.server.errors import Elsewhere, InstanceError, NotRunning
from opentec.server.instance import Instance, find_instance, runtime_root

PATIENCE: Final = 5.0  # seconds that a command waits while a node of this host takes over


class Denied(InstanceError):
    """This user may not read the instance, or not ask its server."""


def instance_of(directory: Path | None) -> Instance:
    """The instance that -d, else TEC_DIR, else the current directory names; raises InstanceError, Denied."""
    try:
        return find_instance(directory)
    except PermissionError as error:
        raise _denied(Path(error.filename)) from error


def active(instance: Instance) -> epochs.EpochFile | None:
    """The newest epoch's file: it names the node that is, or was, active. None when no server has run.

    Raises LeaseDirectoryError, Denied.
    """
    try:
        return epochs.newest(instance.ha)
    except LeaseDirectoryError as error:
        if isinstance(error.__cause__, PermissionError):
            raise _denied(Path(error.__cause__.filename)) from error
        raise


def is_stopped(instance: Instance) -> bool:
    """Does nobody hold the lease? Then the repository may be read from its file."""
    newest = active(instance)
    return newest is None or epochs.holder_dead(newest)


def connect(instance: Instance, socket: str, *, timeout: float = 10.0, patience: float = PATIENCE) -> Control:
    """A connection to `socket` (such as "dispatch.sock") of the active node.

    While a node of this host stands by and the server was not stopped, a takeover is waited for, up to `patience`
    seconds. Raises Elsewhere, naming the active node, and NotRunning.
    """
    end = time.monotonic() + patience
    while True:
        try:
            return _connect(instance, socket, timeout)
        except Elsewhere:
            raise
        except NotRunning:
            if time.monotonic() >= end or marks.stopped(instance.ha) or not standing_by(instance):
                raise
            time.sleep(0.1)


def _connect(instance: Instance, socket: str, timeout: float) -> Control:
    newest = active(instance)
    if newest is None:
        raise NotRunning(f"the server of {instance.directory} has never run; `tec start` starts it")
    runtime = instance.runtime(newest.node)
    if not (runtime / "master.sock").exists() and not epochs.holder_dead(newest):
        if text := other_runtime(instance, newest.node, newest):
            raise Elsewhere(f"node {newest.node}: {text}")
        where = f" ({', '.join(newest.addresses)})" if newest.addresses else ""
        raise Elsewhere(f"the active node is {newest.node}{where}, which is not on this host: run the command there")
    try:
        return Control(runtime / socket, timeout)
    except NotRunning as error:
        if epochs.holder_dead(newest):
            text = unserved(instance) or f"the server of {instance.directory} is stopped; `tec start` starts it"
            raise NotRunning(text) from error
        raise


def unserved(instance: Instance) -> str:
    """Says that no node is active although nodes of this host run, where nobody holds the lease; "" when it was
    stopped, or none runs."""
    masters = [found for found in processes.find(instance.directory) if found.name == "tec_master"]
    if not masters or marks.stopped(instance.ha):
        return ""
    node = masters[0].node
    found = [master for master in masters if master.node == node]
    report = None
    with suppress(Denied):
        report = node_status(instance, node)
    text = f"its state is {report['state']}" if report else silent(instance, node, active(instance), found)
    return f"no node is active; node {node}: {text}"


def standing_by(instance: Instance) -> list[str]:
    """The nodes of this host, other than the active one, that have a living master."""
    newest = active(instance)
    living = []
    for node in instance.nodes():
        with suppress(Denied):
            if (newest is None or node != newest.node) and node_status(instance, node):
                living.append(node)
    return living


def other_runtime(instance: Instance, node: str, newest: epochs.EpochFile | None) -> str:
    """Says that a node runs on this machine where its sockets are not looked for; "" when that is not known."""
    pid, runtime = 0, instance.runtime(node)
    if newest is not None and newest.node == node and epochs.holder_here(newest):
        lock = runtime / "lock"
        if not lock.exists() or epochs.holder_dead(epochs.EpochFile(0, lock)):
            pid = newest.pid  # else it starts or ends here
    else:
        masters = (found.pid for found in processes.find(instance.directory) if _is_master(found, node))
        pid = next((pid for pid in masters if processes.runs_under(pid, runtime) is False), 0)
    if not pid:
        return ""
    return strangers(pid) or (
        f"pid {pid} runs, but not under this TEC_RUNTIME_DIR ({runtime_root()}); "
        f"set TEC_RUNTIME_DIR as that process has it; where that directory is gone, `kill {pid}` stops the node"
    )


def silent(instance: Instance, node: str, newest: epochs.EpochFile | None, found: list[processes.Found]) -> str:
    """Why a node that has the processes `found` does not answer, and what to do, as far as that can be told."""
    if hidden := other_runtime(instance, node, newest):
        return hidden
    master = next((process for process in found if _is_master(process, node)), None)
    if master is None:
        return "tec_master is gone and processes of it remain; `tec stop` ends them"
    if text := strangers(master.pid):
        return text
    if master.rejoins:
        why = endings.awaited(instance.logs(node) / "tec_master.log") or _gave_way(instance, node)
        text = "it gave way or was superseded, and stands by again when its disks can be written"
        return f"{text}: {why}" if why else text
    return (
        f"tec_master runs and does not answer (pid {master.pid}): it hangs, starts, or ends; if it stays so, "
        f"`tec stop --node {node}` ends it and `tec start --node {node}` starts it again"
    )


def node_status(instance: Instance, node: str, timeout: float = 3.0) -> dict[str, Any] | None:
    """What a node of this host says of itself; None when its master does not answer. Raises Denied."""
    socket = instance.runtime(node) / "master.sock"
    try:
        with Control(socket, timeout) as control:
            status: dict[str, Any] = control.call("status")
    except NotRunning as error:
        if isinstance(error.__cause__, PermissionError):
            raise Denied(
                f"node {node} cannot be asked: permission denied for user {user(os.geteuid())} ({socket}); "
                f"the server runs as user {user(_owner(socket))}"
            ) from error
        return None
    return status


def require_own(instance: Instance, node: str) -> None:
    """Raises Denied where this user cannot tell a node that does not run from one that it may not ask."""
    me = os.geteuid()
    pid = next((found.pid for found in processes.find(instance.directory) if _is_master(found, node)), None)
    owner = processes.owner_of(pid) if pid is not None else _owner(instance.ha)
    if me != 0 and owner not in (me, None):
        what = "the server runs as" if pid is not None else "the instance belongs to"
        raise Denied(f"node {node} cannot be asked: permission denied for user {user(me)}; {what} user {user(owner)}")


def user(uid: int | None) -> str:
    """A user's name, or the number where it has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name if uid is not None else "unknown"
    except KeyError:
        return str(uid)


def _is_master(found: processes.Found, node: str) -> bool:
    return found.name == "tec_master" and found.node == node


def strangers(pid: int) -> str:
    """Says that a process is another user's, which this one may neither ask nor end; "" when it is not."""
    me, owner = os.geteuid(), processes.owner_of(pid)
    if me == 0 or owner in (me, None):
        return ""
    return f"pid {pid} runs as user {user(owner)}, whom user {user(me)} may not ask: run the command as {user(owner)}"


def _owner(path: Path) -> int | None:
    """Whose a path is, or the nearest folder above it that shows its owner."""
    for each in (path, *path.parents):
        with suppress(OSError):
            return each.stat().st_uid
    return None


def _denied(path: Path) -> Denied:
    owner = user(_owner(path))
    return Denied(
        f"{path}: permission denied for user {user(os.geteuid())}; it belongs to user {owner}: "
        f"run the command as {owner}" + ("" if owner == "root" else ", or as root")
    )


def _gave_way(instance: Instance, node: str) -> str:
    """Why the node gave way the last time that it was active; "" when it left no word."""
    with suppress(OSError, LeaseDirectoryError):
        for number in reversed(epochs.numbers(instance.ha)):
            if epochs.read(instance.ha, number).node == node:
                return marks.gave_way(instance.ha, number)
    return ""
