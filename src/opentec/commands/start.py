"""`tec start`, wstartesvr: start a node of the server."""

from __future__ import annotations

from typing import Annotated

import typer

from opentec.commands.cli import Debug, Directory, Json, Node, Status, say, say_json, warn


def start(
    directory: Directory = None,
    node: Node = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay in the foreground, for service units and containers.")
    ] = False,
    accept_gap: Annotated[
        bool, typer.Option("--accept-gap", help="Go on although records between repository and log are missing.")
    ] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Start the server, or stand by for it.

    Returns when all five processes are up and the port is open, or when this node stands by for another that is
    active, or says why not. A node that runs already is left alone.
    """
    from opentec.server.instance import choose_node, find_instance
    from opentec.server.start import AlreadyRunning, run_foreground, start_daemon

    instance = find_instance(directory)
    name = choose_node(instance, node)
    try:
        if foreground:
            run_foreground(instance, name, warn, accept_gap=accept_gap)
        word = start_daemon(instance, name, warn, accept_gap=accept_gap)
    except AlreadyRunning as error:
        if foreground:
            raise
        word = {"state": "running", "text": str(error)}
    host, port = instance.nodes()[name]
    if json:
        say_json({"node": name, "listen": f"{host}:{port}", **word})
    elif word["state"] == "up":
        say(f"up: epoch {word['epoch']} on node {name}, listening on {_shown(host)}:{port}")
    elif word["state"] == "standby":
        say(f"standby ready (active: {word.get('active') or 'none yet'})")
    else:
        say(str(word["text"]))
    raise typer.Exit(Status.OK)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
