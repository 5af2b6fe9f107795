"""How long nobody serves: the longest time between two acknowledgements of a steady sender, for each fault."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Final, Literal

from bench.events import RULE_BASE, texts
from tests.faults.client import Load, Sender
from tests.faults.harness import PATIENCE, Cluster, wait_for

RATE: Final = 200.0  # events a second of the steady sender
HANG: Final = 2.5  # seconds of SIGSTOP
_SETTLE: Final = 1.0  # seconds of calm before a fault, and behind a takeover

Fault = Literal["kill", "hang"]


def gaps(folder: Path, count: int) -> dict[Fault, list[float]]:
    """Seconds without service for `count` kills and as many hangs, in turn, of all five processes of the active node.

    Two nodes on one machine, the lease at `fast` (time-to-live 1 s). A fault comes only when a standby is ready.
    """
    made = texts(5000, 99)
    found: dict[Fault, list[float]] = {"kill": [], "hang": []}
    with Cluster(folder, ("black", "brown"), heartbeat="fast", rule_base=RULE_BASE) as cluster:
        cluster.start("black")
        cluster.start("brown")
        cluster.wait_up("black")
        sender = Sender(cluster.servers, lambda number: made[number % len(made)], name="steady", rate=RATE)
        with Load([sender]) as load:
            wait_for("the first acknowledgement", lambda: sender.acked)
            for _ in range(count):
                found["kill"].append(_gap(cluster, sender, "kill"))
                found["hang"].append(_gap(cluster, sender, "hang"))
            load.finish()
        if sender.violations:
            raise AssertionError(f"promises broken: {sender.violations}")
        cluster.stop()
    return found


def _gap(cluster: Cluster, sender: Sender, fault: Fault) -> float:
    active = cluster.wait_up()
    standby = cluster.wait_standby()
    time.sleep(_SETTLE)
    number = signal.SIGKILL if fault == "kill" else signal.SIGSTOP
    victims = cluster.five(active)
    begun = time.monotonic()
    for process in sorted(victims.values(), key=lambda process: "tec_master" not in process.title):
        process.signal(number)
    try:
        cluster.wait_up(standby)
        wait_for("an acknowledgement after the fault", lambda: sender.acks[-1][0] > begun + 0.1)
        time.sleep(_SETTLE)
        gap = sender.longest_gap(begun, time.monotonic())
        if fault == "hang":
            time.sleep(max(0.0, begun + HANG - time.monotonic()))
    finally:
        if fault == "hang":
            for process in victims.values():
                process.signal(signal.SIGCONT)
    _rejoin(cluster, active)
    return gap


def _rejoin(cluster: Cluster, node: str) -> None:
    """Have the victim stand by again: by itself if it lives, else it is started."""

    def settled() -> bool:
        return cluster.standby() == node or not any(f"--node {node}" in one.title for one in cluster.left())

    wait_for(f"{node} stands by or is gone", settled, PATIENCE)
    if cluster.standby() != node:
        cluster.start(node)
        cluster.wait_standby(node)
