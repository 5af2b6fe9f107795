"""`tec stop`, wstopesvr: stop the logical server, or one node of it."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer

from opentec.commands import processes
from opentec.commands.cli import Debug, Directory, Failure, Json, Status, say, say_json, warn
from opentec.commands.link import active, instance_of, other_runtime, strangers
from opentec.ha import epochs, marks
from opentec.ha.errors import LeaseDirectoryError
from opentec.server.control import Control
from opentec.server.errors import NotRunning, Refused
from opentec.server.instance import Instance, choose_node

_ANSWER: Final = 3.0  # seconds that a master may take to answer
_LAST_WAIT: Final = 5.0  # seconds for killed processes to go
_ENDING: Final = 0.5  # seconds between the end of a master's lock and that of its lease
_LOOK: Final = 0.02


def stop(
    directory: Directory = None,
    node: Annotated[
        str | None,
        typer.Option("--node", metavar="NODE", help="Stop only this node; the standby takes over.  [default: all]"),
    ] = None,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long to wait before processes that remain are killed.")
    ] = 60.0,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Stop the server, or one node of it.

    Events in the log are finished, then the processes end on every node. Returns when none is left on this
    host. Harmless when repeated.
    """
    instance = instance_of(directory)
    if node is not None:
        choose_node(instance, node)
    ran = stop_server(instance, node, timeout)
    what = f"node {node}" if node else "the server"
    if json:
        say_json({"stopped": ran, "node": node})
    else:
        say(f"{what} is stopped" if ran else f"{what} was not running")


def stop_server(instance: Instance, node: str | None, timeout: float) -> bool:
    """Stop all nodes of this host, or one; True when there was something to stop.

    Raises Failure when the active node is on another host or under another runtime directory, when the server refuses
    or the user may not ask it, when no mark can be written for the standby, or when a process remains.
    """
    if not _running(instance, node):
        newest = active(instance)
        if newest is not None and node in (None, newest.node) and not epochs.holder_dead(newest):
            raise _elsewhere(instance, newest)
        return False
    if node is not None and not _ask(instance, node, "node"):
        _require_in_reach(instance, node)
        _end_silent(instance, node)
    handled = {0}
    end, killed = time.monotonic() + timeout, False
    while running := _running(instance, node):
        newest = active(instance)
        # a standby may have taken over in between: then it is the one to stop
        if node is None and newest is not None and newest.number not in handled:
            handled.add(newest.number)
            _stop_epoch(instance, newest)
        if time.monotonic() >= end:
            names = ", ".join(f"{process.name} ({process.pid}, node {process.node})" for process in running)
            if killed:
                raise Failure(f"still running, though killed: {names}; look for processes in state D")
            warn(f"not ended in time and killed: {names}")
            processes.kill(running)
            killed, end = True, time.monotonic() + _LAST_WAIT
        time.sleep(_LOOK)
    return True


def _require_in_reach(instance: Instance, node: str) -> None:
    """Before a node that does not answer is killed: raises Failure when it is looked for at the wrong place, or is
    another user's."""
    end = time.monotonic() + _ENDING
    while text := other_runtime(instance, node, active(instance)):
        if time.monotonic() >= end:
            raise Failure(f"node {node} is not stopped: {text}", Status.NO_SERVER)
        time.sleep(_LOOK)
    for process in _running(instance, node):
        if text := strangers(process.pid):
            raise Failure(f"node {node} is not stopped: {text}", Status.REFUSED)


def _stop_epoch(instance: Instance, newest: epochs.EpochFile) -> None:
    """Stop the active node; what stands by rests when it sees the mark, and what cannot see it yet is ended."""
    if epochs.holder_dead(newest):
        _mark(instance, newest)
        processes.kill([process for process in _running(instance, None) if process.rejoins])
        return
    if not _ask(instance, newest.node, None):
        if not _running(instance, newest.node):
            raise _elsewhere(instance, newest)
        _require_in_reach(instance, newest.node)
        _mark(instance, newest)
        _end_silent(instance, newest.node)


def _mark(instance: Instance, newest: epochs.EpochFile) -> None:
    """Before anything is ended, as the master itself does (`opentec.server.leaving`): without its mark a stop would be
    a failover where there is another node, and the only node can be stopped on a disk that takes no mark, too."""
    try:
        marks.mark_stopped(instance.ha, newest.number)
    except LeaseDirectoryError as error:
        nodes = list(instance.nodes())
        if len(nodes) > 1:
            # the active one last: nobody is left then to take over
            each = sorted({process.node for process in _running(instance, None)}, key=lambda node: node == newest.node)
            commands = ", then ".join(f"`tec stop --node {node}`" for node in each)
            raise Failure(
                f"not stopped, since a standby would take over: {error}; or stop the nodes one by one: {commands}"
            ) from error
        warn(f"stopped without a mark, so the next start will look like a failover: {error}")


def _elsewhere(instance: Instance, newest: epochs.EpochFile) -> Failure:
    if text := other_runtime(instance, newest.node, newest):
        return Failure(f"node {newest.node} is not stopped: {text}", Status.NO_SERVER)
    return Failure(f"node {newest.node} is active and not on this host: run `tec stop` there", Status.NO_SERVER)


def _end_silent(instance: Instance, node: str) -> None:
    warn(f"tec_master of node {node} does not answer; its processes are killed")
    processes.kill(_running(instance, node))


def _running(instance: Instance, node: str | None) -> list[processes.Found]:
    return [process for process in processes.find(instance.directory) if node in (None, process.node)]


def _ask(instance: Instance, node: str, what: str | None) -> bool:
    """Ask a node's master to stop; False when it does not answer."""
    try:
        with Control(instance.runtime(node) / "master.sock", timeout=_ANSWER) as control:
            control.call("stop", what)
    except NotRunning as error:
        if isinstance(error.__cause__, PermissionError):
            raise Failure(f"node {node} is not stopped: {error}", Status.REFUSED) from error
        return False
    except Refused as error:
        raise Failure(f"node {node}: {error}", Status.REFUSED) from error
    return True
