"""Reaching the server from a command: which node is active, its sockets, and what to do when there is none."""

from __future__ import annotations

import time
from typing import Any, Final

from opentec.ha import epochs, marks
from opentec.server.control import Control
from opentec.server.errors import Elsewhere, NotRunning
from opentec.server.instance import Instance, runtime_root

PATIENCE: Final = 5.0  # seconds that a command waits while a node of this host takes over


def active(instance: Instance) -> epochs.EpochFile | None:
    """The newest epoch's file: it names the node that is, or was, active. None when no server has run."""
    return epochs.newest(instance.ha)


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
            raise NotRunning(f"the server of {instance.directory} is stopped; `tec start` starts it") from error
        raise


def standing_by(instance: Instance) -> list[str]:
    """The nodes of this host, other than the active one, that have a living master."""
    newest = active(instance)
    return [node for node in instance.nodes() if newest is None or node != newest.node if node_status(instance, node)]


def other_runtime(instance: Instance, node: str, newest: epochs.EpochFile | None) -> str:
    """Says that a node runs on this machine where its sockets are not looked for; "" when that is not so."""
    if newest is None or newest.node != node or not epochs.holder_here(newest):
        return ""
    lock = instance.runtime(node) / "lock"
    if lock.exists() and not epochs.holder_dead(epochs.EpochFile(0, lock)):
        return ""  # it starts or ends here
    return (
        f"pid {newest.pid} runs, but not under this TEC_RUNTIME_DIR ({runtime_root()}); "
        "set TEC_RUNTIME_DIR as that process has it"
    )


def node_status(instance: Instance, node: str, timeout: float = 3.0) -> dict[str, Any] | None:
    """What a node of this host says of itself; None when its master does not answer."""
    try:
        with Control(instance.runtime(node) / "master.sock", timeout) as control:
            status: dict[str, Any] = control.call("status")
    except NotRunning:
        return None
    return status
