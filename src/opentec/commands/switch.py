"""`tec switch`: a planned switch to the standby, after which the node that was active stands by."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from opentec.commands import processes
from opentec.commands.cli import Debug, Directory, Failure, Json, Status, say, say_json, warn
from opentec.commands.link import active, node_status, standing_by
from opentec.commands.stop import stop_server
from opentec.ha import epochs, marks
from opentec.server.instance import Instance, choose_node, find_instance


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

    instance = find_instance(directory)
    if to is not None:
        choose_node(instance, to)
    before = active(instance)
    if before is None or epochs.holder_dead(before):
        raise Failure("no node is active: `tec start` starts one", Status.NO_SERVER)
    if to == before.node:
        say_json({"active": to, "switched": False}) if json else say(f"node {to} is active already")
        return
    ready = [node for node in standing_by(instance) if to in (None, node)]
    if not ready:
        if len(instance.nodes()) < 2:
            raise Failure(f"{before.node} is the only node of tec_server.toml: there is nobody to hand over to")
        others = [to] if to is not None else [node for node in instance.nodes() if node != before.node]
        missing = f"node {to} does not stand by" if to is not None else "no node stands by"
        starts = " or ".join(f"`tec start --node {node}`" for node in others)
        raise Failure(f"{missing} on this host: start it with {starts}")
    if to is not None:
        marks.request_switch(instance.ha, before.number, to)
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
