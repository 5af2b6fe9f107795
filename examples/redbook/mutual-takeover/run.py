"""Redbook 4.7: two servers on two nodes, each the other's standby; black dies, comes back, and brown dies."""

import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))

import interpreter  # noqa: F401
from stage import Server, Stage, perform, wait_acknowledged

from tests.faults.client import Load, Sender


def main() -> int:
    return perform("mutual takeover", play)


def play(stage: Stage) -> int:
    stage.say("two servers, tec and second; each has a directory of its own, and both nodes run both")
    servers = {name: stage.server(name) for name in ("tec", "second")}
    start(servers, {"tec": ("black", "brown"), "second": ("brown", "black")})
    senders = {name: server.sender() for name, server in servers.items()}
    with Load(list(senders.values())) as load:
        told(stage, servers, {"tec": "black", "second": "brown"})
        gaps = [lose(stage, servers, senders, "black", "brown")]
        told(stage, servers, {"tec": "brown", "second": "brown"})
        stage.say("black comes back and stands by for both; nothing moves by itself. tec goes home by a planned move")
        start(servers, {"tec": ("black",), "second": ("black",)})
        for server in servers.values():
            server.wait_for("black", "standby")
        begun = time.monotonic()
        stage.run(servers["tec"], "tec", "switch", node="black")
        servers["tec"].wait_for("black", "up")
        wait_acknowledged(senders["tec"])
        moved = senders["tec"].longest_gap(begun, time.monotonic())
        told(stage, servers, {"tec": "black", "second": "brown"})
        gaps.append(lose(stage, servers, senders, "brown", "black"))
        told(stage, servers, {"tec": "black", "second": "black"})
        if not load.finish():
            stage.check(f"the senders are done: {[one.trouble for one in senders.values()]}", False)
    stage.gap("tec, when black dies", gaps[0], 1.0)
    stage.gap("tec, planned move", moved, 0.5)
    stage.gap("second, when brown dies", gaps[1], 1.0)
    for name, server in servers.items():
        server.wait_idle()
        lost, doubled = server.sums(senders[name].acked)
        stage.check(
            f"{name}: {senders[name].acked} test events acknowledged, {lost} lost, {doubled} doubled",
            not lost + doubled,
        )
        server.stop()
    return stage.verdict("either node runs both servers when the other is dead; nothing was lost, nothing doubled")


def start(servers: Mapping[str, Server], nodes: Mapping[str, tuple[str, ...]]) -> None:
    """Start servers on nodes; the first to be started serves."""
    for name, order in nodes.items():
        for node in order:
            servers[name].start(node)


def lose(stage: Stage, servers: Mapping[str, Server], senders: Mapping[str, Sender], dead: str, heir: str) -> float:
    """A node dies; gives the gap of the server that it was serving, in seconds."""
    (moving,) = (name for name, server in servers.items() if len(server.of(dead)) == 5)
    begun = time.monotonic()
    number = sum(server.signal(dead, signal.SIGKILL) for server in servers.values())
    stage.say(f"{dead} dies: kill -9 of its {number} processes")
    servers[moving].wait_for(heir, "up")
    wait_acknowledged(senders[moving])
    return senders[moving].longest_gap(begun, time.monotonic())


def told(stage: Stage, servers: Mapping[str, Server], homes: Mapping[str, str]) -> None:
    """Show who runs what, and see that each server is where it belongs, with all five processes."""
    stage.show("server    black       brown       (processes: 5 serve, 1 stands by)")
    holds = True
    for name, server in servers.items():
        counts = {node: len(server.of(node)) for node in ("black", "brown")}
        stage.show(f"{name:8} {counts['black']:6} {counts['brown']:11}")
        server.wait_for(homes[name], "up")
        holds = holds and len(server.of(homes[name])) == 5
    stage.check(", ".join(f"{name} serves on {node}" for name, node in homes.items()), holds)


if __name__ == "__main__":
    sys.exit(main())
