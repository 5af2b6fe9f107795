from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from opentec.commands import names, processes
from opentec.commands.processes import Found
from opentec.ha import marks
from opentec.ha.lease import Lease
from opentec.server.instance import Instance
from tests.commands.running import FakeProcess, Runner

Process = Callable[..., FakeProcess]


def report(**values: Any) -> dict[str, Any]:
    """What a healthy master says."""
    return {
        "server": "redbook",
        "node": "black",
        "state": "up",
        "healthy": True,
        "reasons": [],
        "epoch": 1,
        "processes": {"tec_master": {"pid": 11, "beat": 0.0}, "tec_rule": {"pid": 0, "beat": 0.1}},
        "durable": "rx:1:500",
        "committed": "rx:1:352",
        "waiting_bytes": 148,
        "connections": 2,
        "acknowledged": 7,
        "rejected": 1,
        "log_bytes": 16_777_216,
        "rule_base": "60e89f93c0fb",
        "uptime": 12.3,
    } | values


@pytest.fixture(autouse=True)
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Found]]:
    """The processes that are found on this host."""
    found: list[Found] = []
    monkeypatch.setattr(processes, "find", lambda directory: list(found))
    yield found


def test_healthy_is_0(tec: Runner, lease: Lease, process: Process) -> None:
    process("master", lambda *_: report())
    ran = tec("status")
    assert ran.status == 0
    for words in ("redbook", "black", "pid 11", "not running", "durable rx:1:500", "148 bytes", "60e89f93c0fb"):
        assert words in ran.out


def test_unhealthy_is_1_with_the_reasons(tec: Runner, lease: Lease, process: Process) -> None:
    process("master", lambda *_: report(healthy=False, reasons=["tec_rule is not running"]))
    ran = tec("status")
    assert ran.status == 1
    assert "up, unhealthy" in ran.out
    assert "tec_rule is not running" in ran.out


def test_stopped_is_3(tec: Runner, instance: Instance) -> None:
    ran = tec("status")
    assert ran.status == 3
    assert "stopped" in ran.out
    assert json.loads(tec("status", "--json").out)["state"] == "stopped"


def test_a_server_that_died_is_stopped_and_says_so(tec: Runner, instance: Instance, lease: Lease) -> None:
    lease.release()
    ran = tec("status")
    assert ran.status == 3
    assert "it died, or was killed" in ran.out
    marks.mark_stopped(instance.ha, lease.epoch)
    assert "died" not in tec("status").out


def test_a_standby_is_4(tec: Runner, lease: Lease, process: Process) -> None:
    process("master", lambda *_: report())
    process("master", lambda *_: report(node="brown", state="standby", healthy=False, epoch=None), node="brown")
    ran = tec("status", "--node", "brown")
    assert ran.status == 4
    assert "active      black" in ran.out
    chosen = json.loads(tec("status", "--json").out)
    assert (chosen["node"], chosen["nodes"]) == ("black", {"black": "up", "brown": "standby"})
    assert "node brown   standby" in tec("status").out


def test_the_standby_is_shown_where_the_active_node_is_elsewhere(tec: Runner, lease: Lease, process: Process) -> None:
    process("master", lambda *_: report(node="brown", state="standby", healthy=False), node="brown")
    assert json.loads(tec("status", "--json").out)["node"] == "brown"


def test_an_active_node_elsewhere_is_4(tec: Runner, lease: Lease) -> None:
    ran = tec("status")
    assert ran.status == 4
    assert "the active node is black, which is not on this host" in ran.err


@pytest.mark.parametrize(
    ("left", "said"),
    [(["tec_master", "tec_rule"], "does not answer"), (["tec_rule"], "tec_master is gone and processes of it remain")],
)
def test_processes_without_an_answer_are_1(
    tec: Runner, lease: Lease, running: list[Found], left: list[str], said: str
) -> None:
    running += [Found(100 + number, name, "black") for number, name in enumerate(left)]
    ran = tec("status")
    assert ran.status == 1
    assert said in ran.out
    assert json.loads(tec("status", "--json").out)["processes"][left[0]] == {"pid": 100}


def test_a_backlog_of_an_epoch_before_is_not_counted_in_bytes(tec: Runner, lease: Lease, process: Process) -> None:
    process("master", lambda *_: report(durable="rx:2:10", waiting_bytes=1 << 44))
    assert "committed rx:1:352, records of an epoch before wait" in tec("status").out


def test_nothing_waits(tec: Runner, lease: Lease, process: Process) -> None:
    process("master", lambda *_: report(committed="rx:1:500", waiting_bytes=0))
    assert "committed rx:1:500, nothing waits" in tec("status").out


def test_an_unknown_node_is_usage(tec: Runner, instance: Instance) -> None:
    ran = tec("status", "--node", "blak")
    assert ran.status == 2
    assert "black, brown" in ran.err


def test_tec_names_status_too(tec: Runner, instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["wstatesvr"])
    assert tec.entry(names.wstatesvr).status == 3
