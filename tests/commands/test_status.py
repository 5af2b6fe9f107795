from __future__ import annotations

import fcntl
import json
import os
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


def died(tec: Runner, lease: Lease) -> str:
    lease.release()
    (reason,) = json.loads(tec("status", "--json").out)["reasons"]
    return str(reason)


def test_a_server_that_died_says_its_last_error(tec: Runner, instance: Instance, lease: Lease) -> None:
    log = instance.logs("black") / "tec_master.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    old, last = "2026-03-01T08:00:00.000 ERROR old", "2026-03-01T08:00:01.000 ERROR the rule base\x1b is gone"
    log.write_text(f"{old}\n{last}\n2026-03-01T08:00:02.000 INFO no ERROR here\n" + "x" * 60_000)
    said = died(tec, lease)
    assert f"it died, or was killed; the last error in {log}: 2026-03-01T08:00:01.000 ERROR the rule base" in said
    assert "\x1b" not in said and "old" not in said


def test_a_log_without_an_error_in_its_end_is_named(tec: Runner, instance: Instance, lease: Lease) -> None:
    log = instance.logs("black") / "tec_master.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("2026-03-01T08:00:01.000 ERROR long ago\n" + "x\n" * 40_000)
    assert died(tec, lease) == f"it was not stopped with `tec stop`: it died, or was killed; its log is {log}"


def test_a_node_under_another_runtime_directory(tec: Runner, instance: Instance, running: list[Found]) -> None:
    held = Lease.claim(instance.ha, "black", [], 0)
    assert held is not None
    said = f"pid {os.getpid()} runs, but not under this TEC_RUNTIME_DIR ({os.environ['TEC_RUNTIME_DIR']})"
    for found in (None, Found(os.getpid(), "tec_master", "black")):
        running += [found] if found else []
        ran = tec("status", "--node", "black")
        assert ran.status == 1 and said in ran.out
    ran = tec("probe", "--node", "black")
    assert ran.status == 1 and said in ran.out
    ran = tec("task", "run", "x")
    assert said in ran.err and "not on this host" not in ran.err
    runtime = instance.runtime("black")
    runtime.mkdir()
    with (runtime / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "tec_master runs and does not answer" in tec("status", "--node", "black").out, "it is this one"
    held.release()
    running.clear()
    assert tec("probe", "--node", "black").out == "stopped: node black does not run\n"
    (instance.ha / "epoch.1").unlink()
    instance.ha.rename(instance.directory / "away")
    assert tec("probe", "--node", "black").status == 3, "nothing of the lease is needed to say so"


def test_a_standby_is_4(tec: Runner, lease: Lease, process: Process) -> None:
    process("master", lambda *_: report())
    process("master", lambda *_: report(node="brown", state="standby", healthy=False, epoch=None), node="brown")
    ran = tec("status", "--node", "brown")
    assert ran.status == 4
    assert "active      black" in ran.out
    chosen = json.loads(tec("status", "--json").out)
    assert (chosen["node"], chosen["nodes"]) == ("black", {"black": "up", "brown": "standby"})
    assert "node brown   standby" in tec("status").out


def test_that_no_other_node_runs_is_said(tec: Runner, lease: Lease, process: Process) -> None:
    process("master", lambda *_: report())
    assert "node brown   does not run on this host\n" in tec("status").out
    lease.release()


def test_of_a_stopped_server_the_other_nodes_are_not_listed(tec: Runner, instance: Instance) -> None:
    assert "node brown" not in tec("status").out


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
