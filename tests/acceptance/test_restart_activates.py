"""A rule base that was edited before a start is at work behind it, also where a pair lacks its second node."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opentec.rules.snapshots import CURRENT, SEEN, read_mark
from tests.acceptance.conftest import MakeCluster
from tests.faults.harness import Cluster, wait_for


@pytest.fixture
def pair(make_cluster: MakeCluster) -> Cluster:
    """Black serves, brown was never started. A start that waits for the time to live says that it stands by."""
    found = make_cluster("black", "brown", heartbeat="slow")
    found.start("black")
    return found


def edit(cluster: Cluster, text: str) -> None:
    with (cluster.rules / "TEC_RULES/rule_sets").open("a") as file:
        file.write(f"# {text}\n")


def at_work(cluster: Cluster, node: str) -> str:
    status = cluster.status(node)
    assert status is not None
    found: str = status["rule_base"]
    return found


def mark(cluster: Cluster, name: str) -> str:
    return read_mark(cluster.directory / "rulebase", name)


def test_a_node_that_is_stopped_alone_and_started_serves_at_once_with_what_was_edited(pair: Cluster) -> None:
    """As a cluster manager restarts a node: `tec stop --node` leaves the lease to the other, which is not there."""
    before = at_work(pair, "black")
    pair.tec("stop", "--node", "black", check=True)
    edit(pair, "before the start")
    assert pair.start("black") == {
        "node": "black",
        "listen": f"127.0.0.1:{pair.ports['black']}",
        "state": "up",
        "epoch": 2,
    }
    edited = at_work(pair, "black")
    assert edited != before
    assert mark(pair, CURRENT)[:12] == mark(pair, SEEN)[:12] == edited
    pair.tec("stop", "--node", "black", check=True)
    pair.start("black")
    assert at_work(pair, "black") == edited


def test_a_node_that_stands_by_comes_before_one_that_starts(pair: Cluster, tmp_path: Path) -> None:
    before = at_work(pair, "black")
    pair.start("brown")
    edit(pair, "before the start")
    pair.tec("stop", "--node", "black", check=True)
    assert pair.start("black")["state"] == "standby"
    pair.wait_up("brown")
    assert at_work(pair, "brown") == before
    # the edit is not lost: the next start that finds nobody at work takes it
    pair.stop()
    word = pair.start("black")
    assert word["state"] == "up"
    wait_for("the rules are at work", lambda: at_work(pair, "black") not in ("", before))
    said = json.loads(pair.tec("rulebase", "current", "--json", check=True).stdout)
    assert said["hash"][:12] == at_work(pair, "black")
