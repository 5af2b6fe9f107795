"""Black and brown share a directory: kill, hang, planned switch; one notice each, and nothing lost or doubled."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.acceptance.test_commands import listed, wait_listed
from tests.faults import plans
from tests.faults.checker import check
from tests.faults.client import Load, Sender
from tests.faults.harness import ROOT, Cluster, wait_for


def sender_to(cluster: Cluster) -> Sender:
    return Sender(cluster.servers, lambda number: plans.PLAIN.text("steady", number), "steady", rate=200)


def wait_on(sender: Sender) -> None:
    before = sender.acked
    wait_for("the sender goes on", lambda: sender.acked > before)


def failovers(cluster: Cluster, count: int) -> list[dict[str, Any]]:
    return wait_listed(cluster, count, "--class", "TEC_Failover")


def finish(cluster: Cluster, load: Load) -> None:
    """Everything is acknowledged, the server stops, the checker is content, and no process had to complain."""
    assert load.finish(), [sender.trouble for sender in load.senders]
    cluster.stop()
    verdict = check(cluster.directory, load.senders)
    assert verdict.sound, verdict
    for output in (cluster.directory / "log").glob("*/output"):
        assert output.read_text() == "", f"{output} holds what no log took"


def test_the_active_server_is_killed(pair: Cluster) -> None:
    assert pair.tec("status", "--node", "brown").returncode == 4
    sender = sender_to(pair)
    with Load([sender]) as load:
        wait_on(sender)
        five = pair.five("black")
        killed = time.monotonic()
        for one in (five.pop("tec_master"), *five.values()):
            one.signal(signal.SIGKILL)
        pair.wait_up("brown")
        wait_on(sender)
        assert sender.longest_gap(killed, time.monotonic()) < 10
        (notice,) = failovers(pair, 1)
        assert (notice["from_node"], notice["to_node"], notice["epoch"]) == ("black", "brown", 2)
        wait_listed(pair, 1, "--class", "TEC_Recovered")
        started = pair.tec("start", node="black")
        assert (started.returncode, started.stdout) == (0, "standby ready (active: brown)\n")
        # and back again
        pair.process("brown", "tec_master").signal(signal.SIGKILL)
        pair.wait_up("black")
        wait_on(sender)
        assert {notice["epoch"] for notice in failovers(pair, 2)} == {2, 3}
        finish(pair, load)


def test_the_active_server_hangs_and_wakes_up(pair: Cluster) -> None:
    sender = sender_to(pair)
    with Load([sender]) as load:
        wait_on(sender)
        five = pair.five("black")
        for one in five.values():
            one.signal(signal.SIGSTOP)
        pair.wait_up("brown")
        wait_on(sender)
        for one in five.values():
            one.signal(signal.SIGCONT)
        wait_for("the stale processes end", lambda: not any(five[name].alive for name in five if name != "tec_master"))
        # it may have been killed for sitting on the database's lock; otherwise it stands by again by itself
        if not five["tec_master"].alive:
            pair.start("black")
        pair.wait_standby("black")
        wait_on(sender)
        (notice,) = failovers(pair, 1)
        assert notice["reason"].startswith("no beat for")
        finish(pair, load)


def test_a_node_that_gave_way_serves_again_like_any_other(pair: Cluster) -> None:
    """It begins anew in the same process: its processes must write their logs, and nothing but their logs."""
    master = pair.process("black", "tec_master")
    master.signal(signal.SIGSTOP)
    pair.wait_up("brown")
    master.signal(signal.SIGCONT)
    pair.wait_standby("black")
    assert master.alive
    pair.process("brown", "tec_master").signal(signal.SIGKILL)
    pair.wait_up("black")
    assert pair.process("black", "tec_master").pid == master.pid
    for name, line in (("reception", "log recovered"), ("rule", "primed at"), ("dispatch", "repository claimed")):
        log = (pair.directory / "log" / "black" / f"tec_{name}.log").read_text()
        assert log.count(line) == 2, log
    pair.stop()
    for output in (pair.directory / "log").glob("*/output"):
        assert output.read_text() == "", f"{output} holds what no log took"


def test_a_planned_switch_and_the_stop_of_one_node(pair: Cluster) -> None:
    sender = sender_to(pair)
    with Load([sender]) as load:
        wait_on(sender)
        pair.tec("switch", check=True)
        pair.wait_up("brown")
        pair.wait_standby("black")
        wait_on(sender)
        (notice,) = failovers(pair, 1)
        assert notice["reason"] == "planned switch"
        pair.tec("stop", "--node", "brown", check=True)
        pair.wait_up("black")
        wait_on(sender)
        assert pair.tec("status", "--node", "brown").returncode == 3
        assert len(failovers(pair, 2)) == 2
        pair.start("brown")
        finish(pair, load)


def test_a_switch_to_a_node_that_cannot_serve_leaves_the_first_at_work(pair: Cluster) -> None:
    sender = sender_to(pair)
    with Load([sender]) as load, socket.create_server(("127.0.0.1", pair.ports["brown"])):
        wait_on(sender)
        done = pair.tec("switch", node="black")
        assert done.returncode == 1
        assert "brown ended instead of taking over: log/brown/tec_master.log says why; node black serves" in done.stderr
        pair.wait_up("black")
        wait_on(sender)
        finish(pair, load)


def test_stop_rests_both_nodes_and_start_wakes_them(pair: Cluster) -> None:
    pair.stop()
    assert pair.start("brown")["state"] == "up"
    assert pair.wait_up("brown") == "brown"
    assert pair.start("black")["state"] == "standby"
    assert not listed(pair, "--class", "TEC_Failover")


@pytest.mark.parametrize("nodes", [("black", "black"), ("black", "brown")])
def test_simultaneous_starts_make_one_active_server(make_cluster: Any, nodes: tuple[str, str]) -> None:
    cluster = make_cluster("black", "brown")
    command = [sys.executable, "-m", "opentec.commands.main", "start", "-d", str(cluster.directory), "--node"]
    starts = [
        subprocess.Popen([*command, node], env=cluster.environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for node in nodes
    ]
    said = [start.communicate(timeout=90)[0] for start in starts]
    cluster.wait_up()
    assert sum(text.startswith("up") for text in said) == 1, said
    masters = [one for one in cluster.left() if one.title.startswith("tec_master")]
    assert len(masters) == len(set(nodes)), masters
    cluster.stop()
