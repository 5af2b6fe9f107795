"""A newcomer's first quarter of an hour: start, post, look, acknowledge, stop; with the exit statuses for scripts."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.acceptance.conftest import MakeCluster
from tests.faults.harness import PROCESSES, Cluster, wait_for


def listed(cluster: Cluster, *options: str) -> list[dict[str, Any]]:
    done = cluster.tec("list", "--json", *options, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def wait_listed(cluster: Cluster, count: int, *options: str) -> list[dict[str, Any]]:
    """Posting means durable; it is listed once it is committed."""
    found: list[dict[str, Any]] = wait_for(
        f"{count} events are listed", lambda: (f := listed(cluster, *options)) and len(f) >= count and f
    )
    return found


def test_start_stop_status(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    assert cluster.tec("status").returncode == 3
    done = cluster.tec("start")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"up: epoch 1 on node black, listening on 127.0.0.1:{cluster.ports['black']}"
    assert cluster.tec("status").returncode == 0
    again = cluster.tec("start")
    assert again.returncode == 0, again.stderr
    table = subprocess.run(["ps", "-eww", "-o", "pid,args"], capture_output=True, text=True, check=True).stdout
    mine = [line.split()[1] for line in table.splitlines() if str(cluster.directory) in line]
    assert sorted(mine) == sorted(PROCESSES)
    cluster.stop()
    assert cluster.tec("status").returncode == 3
    repeated = cluster.tec("stop")
    assert repeated.returncode == 0, repeated.stderr
    # after a clean stop it starts, and does not fail over
    assert cluster.start()["epoch"] == 2
    classes = [event["class"] for event in wait_listed(cluster, 3)]
    assert classes == ["TEC_Start", "TEC_Rulebase_Loaded", "TEC_Start"]  # the rule base is the same at the second start


def test_post_and_what_becomes_of_it(server: Cluster) -> None:
    def post(*words: str) -> subprocess.CompletedProcess[str]:
        return server.tec("post", *words)

    assert post("-r", "MINOR", "-m", "it is full", "hostname=web1", "Load_Event", "TEST").returncode == 0
    wrong = post("Load_Evnt", "TEST")
    assert wrong.returncode == 3
    assert "Load_Event" in wrong.stderr, "a suggestion"
    for words in (("-r", "MINRO", "Load_Event", "TEST"), ("=x", "Load_Event", "TEST"), ("Load_Event",)):
        assert post(*words).returncode == 2, words
    (event,) = wait_listed(server, 1, "--class", "Load_Event")
    assert (event["class"], event["severity"], event["msg"], event["hostname"], event["status"]) == (
        "Load_Event",
        "MINOR",
        "it is full",
        "web1",
        "OPEN",
    )
    assert server.tec("ack", event["event"]).returncode == 0
    assert listed(server, "--class", "Load_Event")[0]["status"] == "ACK"
    assert server.tec("close", event["event"]).returncode == 0
    assert listed(server, "--class", "Load_Event")[0]["status"] == "CLOSED"
    assert server.tec("close", "1.1").returncode == 3
    dumped = [json.loads(line) for line in server.tec("log", "--json", check=True).stdout.splitlines()]
    assert [entry["disposition"] for entry in dumped if entry.get("reason")] == ["REJECTED", "REFUSED"]
    assert server.tec("why", event["event"]).returncode == 0
    server.stop()
    assert post("Load_Event", "TEST").returncode == 4
    assert server.tec("ack", event["event"]).returncode == 4
    assert listed(server, "--class", "Load_Event")[0]["event"] == event["event"], "also with the server stopped"


def test_rules_at_work(server: Cluster) -> None:
    for words in (["subject=a", "Load_Repeat"], ["subject=a", "Load_Repeat"], ["subject=a", "Load_Problem"]):
        assert server.tec("post", *words, "TEST").returncode == 0
    assert server.tec("post", "subject=a", "Load_Recovery", "TEST").returncode == 0
    wait_listed(server, 1, "--class", "Load_Closed")
    (repeat,) = listed(server, "--class", "Load_Repeat")
    assert repeat["repeat_count"] == 1
    (problem,) = listed(server, "--class", "Load_Problem")
    assert problem["status"] == "CLOSED"
