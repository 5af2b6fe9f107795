"""`tec switch`: a planned switch to the standby, after which the node that was active stands by."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Annotated

import typer

from opentec.commands import processes
from opentec.commands.cli import Debug, Directory, Failure, Json, Status, say, say_json, warn
from opentec.commands.link import active, instance_of, node_status, other_runtime, silent, standing_by, unserved
from opentec.commands.stop import stop_server
from opentec.ha import epochs, marks
from opentec.ha.errors import LeaseDirectoryError
from opentec.server.instance import Instance, choose_node


def switch(
    to: Annotated[
        str | None, typer.Option("--to", metavar="NODE", help="Which node.  [default: whichever stands by]")
    ] = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=1, help="How long the other node may take.")] = 30.0,
    directory: Directory = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Hand the server over to its standby.

    Both nodes are on this host; the one that was active stands by afterwards. Where the other does not
    take over, it serves again.
    """
    from opentec.server.start import start_daemon

    instance = instance_of(directory)
    if to is not None:
        choose_node(instance, to)
    before = active(instance)
    if before is None or epochs.holder_dead(before):
        raise Failure(unserved(instance) or "no node is active: `tec start` starts one", Status.NO_SERVER)
    if to == before.node:
        say_json({"active": to, "switched": False}) if json else say(f"node {to} is active already")
        return
    answers = (instance.runtime(before.node) / "master.sock").exists()
    if not answers and (text := other_runtime(instance, before.node, before)):
        raise Failure(f"node {before.node}: {text}", Status.NO_SERVER)
    ready = _ready(instance, before, to)
    _try_out(instance, before)
    try:
        # also without --to: the master must not be the first to find out that no mark can be written
        marks.request_switch(instance.ha, before.number, to or "")
    except LeaseDirectoryError as error:
        raise _untaken(before, str(error)) from error
    try:
        stop_server(instance, before.node, timeout)
    except Exception:
        # whoever dies in this epoch later on dies, and hands nothing over
        if not epochs.holder_dead(before):
            marks.clear_switch(instance.ha, before.number)
        raise
    try:
        now_active = _wait(instance, ready, timeout)
    except Failure as failed:
        word = start_daemon(instance, before.node, warn)
        again = "serves again" if word["state"] == "up" else "stands by"
        raise Failure(f"{failed}; node {before.node} {again}") from failed
    start_daemon(instance, before.node, warn)
    if json:
        say_json({"active": now_active, "standby": before.node, "switched": True})
    else:
        say(f"node {now_active} is active, node {before.node} stands by")


def _ready(instance: Instance, before: epochs.EpochFile, to: str | None) -> list[str]:
    """The nodes that may take over; raises Failure when there is none, and says what each of them lacks."""
    others = [to] if to is not None else [node for node in instance.nodes() if node != before.node]
    if not others:
        raise Failure(f"{before.node} is the only node of tec_server.toml: there is nobody to hand over to")
    ready, unfit, mute = [], [], []
    for node in standing_by(instance):
        if node in others:
            reasons = (node_status(instance, node) or {}).get("reasons", ())
            if reasons:
                unfit.append(f"node {node}: {'; '.join(reasons)}")
            else:
                ready.append(node)
    if ready:
        return ready
    if unfit:
        raise Failure(f"{'; '.join(unfit)}; node {before.node} goes on")
    for node in others:
        found = [process for process in processes.find(instance.directory) if process.node == node]
        if found:
            mute.append(f"node {node} does not stand by: {silent(instance, node, before, found)}")
    if mute:
        raise Failure("; ".join(mute))
    missing = f"node {to} does not stand by" if to is not None else "no node stands by"
    starts = " or ".join(f"`tec start --node {node}`" for node in others)
    raise Failure(f"{missing} on this host: start it with {starts}")


def _try_out(instance: Instance, before: epochs.EpochFile) -> None:
    """Whoever takes over writes an epoch's file: raises Failure where the disk has no room for as much as that."""
    draft = instance.ha / f"{epochs.DRAFT}switch.{os.getpid()}"
    try:
        with draft.open("wb") as file:
            file.write(bytes(epochs.BLOCK))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _untaken(before, f"{instance.ha}: {error.strerror}; check its mount, owner and free space") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _untaken(before: epochs.EpochFile, why: str) -> Failure:
    return Failure(f"no node could take over, so node {before.node} goes on: {why}")


def _wait(instance: Instance, nodes: list[str], timeout: float) -> str:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        for node in nodes:
            status = node_status(instance, node)
            if status is not None and status["state"] == "up":
                return node
        if not {found.node for found in processes.find(instance.directory)} & set(nodes):
            logs = ", ".join(f"log/{node}/tec_master.log" for node in nodes)
            raise Failure(f"node {' and '.join(nodes)} ended instead of taking over: {logs} says why")
        time.sleep(0.05)
    raise Failure(f"no standby took over within {timeout:g} s; `tec status` says how the nodes are")
