from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opentec.commands import status, task
from opentec.ha.lease import Lease
from opentec.rules.destinations import parse_destinations
from opentec.server.errors import Refused
from opentec.server.instance import Instance
from opentec.server.library import load_library
from tests.commands.running import FakeProcess, Runner, lines
from tests.rules.engine_kit import rule_base

Process = Callable[..., FakeProcess]
LIBRARY: dict[str, Any] = {
    "tasks": [
        {
            "name": "restart",
            "program": ["scripts/restart.sh", "{hostname}", "{1}"],
            "description": "restarts a service",
            "roles": ["admin", "rule"],
            "time_limit": 60.0,
            "concurrency": 1,
            "environment": ["LANG"],
            "arguments": 1,
        },
        {
            "name": "x",
            "program": ["true"],
            "description": "",
            "roles": [],
            "time_limit": None,
            "concurrency": None,
            "environment": [],
            "arguments": 0,
        },
    ],
    "roles": {},
}


def row(**values: Any) -> dict[str, Any]:
    return {
        "id": "ab" * 16,
        "kind": "task",
        "name": "restart",
        "arguments": ["nginx"],
        "event": "1772352000.1",
        "operator": "ann",
        "class": "Disk_Full",
        "status": "done",
        "exit_status": 0,
        "output": "stopping\nstarted \x1b[1mnginx\n",
        "node": "black",
        "epoch": 1,
        "claimed_at": 1772352000_000000,
        "finished_at": 1772352001_500000,
        "position": 7,
    } | values


def library(operation: str, argument: Any) -> Any:
    assert operation == "tasks"
    return LIBRARY


def test_the_library_is_listed(tec: Runner, lease: Lease, process: Process) -> None:
    process("dispatch", library)
    ran = tec("task", "list")
    assert (ran.status, ran.err) == (0, "")
    assert lines(ran.out) == [
        "TASK     ROLES        ARGUMENTS  DESCRIPTION",
        "restart  admin, rule  1          restarts a service",
        "x        rule, super  0",
    ]
    assert [json.loads(line) for line in lines(tec("task", "list", "--json").out)] == LIBRARY["tasks"]


def test_an_empty_library_says_how_to_fill_it(tec: Runner, lease: Lease, process: Process) -> None:
    process("dispatch", lambda *_: {"tasks": [], "roles": {}})
    ran = tec("task", "list")
    assert (ran.status, ran.out) == (0, "") and "tasks.toml" in ran.err


def test_a_task_is_shown(tec: Runner, lease: Lease, process: Process) -> None:
    process("dispatch", library)
    assert lines(tec("task", "show", "restart").out) == [
        "task         restart",
        "description  restarts a service",
        "program      'scripts/restart.sh' '{hostname}' '{1}'",
        "roles        admin, rule",
        "time limit   60 s",
        "at a time    1",
        "environment  LANG",
    ]
    assert lines(tec("task", "show", "x").out) == [
        "task         x",
        "program      'true'",
        "roles        rule, super",
        "time limit   that of the server",
        "at a time    as many as the server runs",
    ]
    assert json.loads(tec("task", "show", "x", "--json").out) == LIBRARY["tasks"][1]
    ran = tec("task", "show", "restrat")
    assert ran.status == 3 and "there is no task 'restrat' in tasks.toml; did you mean 'restart'?" in ran.err


def test_the_library_of_a_stopped_server_is_read_from_its_file(tec: Runner, instance: Instance) -> None:
    (instance.directory / "tasks.toml").write_text('[task.hello]\nprogram = ["true"]\n')
    ran = tec("task", "list")
    assert ran.status == 0 and "hello" in ran.out and "the server is stopped" in ran.err
    assert tec("task", "log").err.endswith("nothing\n")
    (instance.directory / "tasks.toml").write_text("[task.hello]\n")
    assert tec("task", "list").status == 3
    ran = tec("config", "check")
    assert ran.status == 1 and "task.hello.program: a list of texts is needed" in ran.err


class Dispatch:
    """Takes a task and shows its row as it is each time."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.asked: Any = None
        self.rows = list(rows)

    def __call__(self, operation: str, argument: Any) -> Any:
        if operation == "task-run":
            self.asked = argument
            return argument["id"]
        assert operation == "outbox" and argument == {"id": self.asked["id"]}
        return [self.rows.pop(0) if len(self.rows) > 1 else self.rows[0]]


def test_a_task_is_run_and_waited_for(
    tec: Runner, lease: Lease, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "_POLL", 0.001)
    dispatch = Dispatch(row(status="waiting"), row(status="claimed"), row())
    process("dispatch", dispatch)
    ran = tec("task", "run", "restart", "-e", "1772352000.1", "nginx", "--", "-f")
    assert (ran.status, ran.out, ran.err) == (0, "stopping\nstarted \\x1b[1mnginx\n", "")
    assert len(dispatch.asked.pop("id")) == 32
    assert dispatch.asked == {"task": "restart", "arguments": ["nginx", "-f"], "event": [1772352000, 1, 1]}
    assert json.loads(tec("task", "run", "restart", "--json").out) == row()


@pytest.mark.parametrize(
    ("found", "status", "said"),
    [
        (row(status="failed", exit_status=3, output=""), 1, "restart: failed, exit status 3\n"),
        (row(status="failed", exit_status=None, output="no"), 1, "restart: failed\n"),
        (row(status="interrupted", exit_status=None, output=None), 1, "restart: interrupted\n"),
        (row(status="claimed", output=None), 5, f"restart: claimed; `tec task log --id {'ab' * 16}` says"),
    ],
)
def test_how_it_ended_is_the_exit_status(
    tec: Runner, lease: Lease, process: Process, found: dict[str, Any], status: int, said: str
) -> None:
    process("dispatch", Dispatch(found))
    ran = tec("task", "run", "restart", "--wait", "0")
    assert ran.status == status and ran.err.startswith(said)


def test_a_refusal_is_3(tec: Runner, lease: Lease, process: Process) -> None:
    def refuse(operation: str, argument: Any) -> Any:
        raise Refused("ann may not run task restart")

    process("dispatch", refuse)
    ran = tec("task", "run", "restart")
    assert ran.status == 3 and "ann may not run task restart" in ran.err


def test_a_server_that_goes_away_may_have_taken_it(tec: Runner, lease: Lease, process: Process) -> None:
    def away(operation: str, argument: Any) -> Any:
        raise ConnectionError

    process("dispatch", away)
    ran = tec("task", "run", "restart")
    assert ran.status == 5 and "says whether it was taken" in ran.err


def test_without_a_server_nothing_is_run(tec: Runner, instance: Instance) -> None:
    assert tec("task", "run", "restart").status == 4
    assert tec("task", "run", "restart", "-e", "x").status == 2


def test_the_outbox_is_listed(tec: Runner, lease: Lease, process: Process, instance: Instance) -> None:
    found = [row(), row(kind="forward", name="far", event=None, status="waiting", exit_status=None, finished_at=None)]
    found[1]["output"] = None
    dispatch = process("dispatch", lambda *_: found)
    ran = tec("task", "log")
    why = instance.directory / "log/black/tec_task.log"
    assert (ran.status, ran.err) == (0, f"events wait for another server; if they go on to wait, {why} says why\n")
    assert lines(ran.out) == [
        f"{'ID':32}  ENDED                 EVENT         KIND     NAME     STATUS   EXIT  OUTPUT",
        f"{'ab' * 16}  2026-03-01T08:00:01Z  1772352000.1  task     restart  done     0     started \\x1b[1mnginx",
        f"{'ab' * 16}                                      forward  far      waiting",
    ]
    ran = tec("task", "log", "--json")
    assert ([json.loads(line) for line in lines(ran.out)], ran.err) == (found, "")
    tec("task", "log", "1772352000.1", "--status", "done", "-n", "7")
    assert dispatch.calls[-1] == (
        "outbox",
        {"event": [1772352000, 1, 1], "id": None, "status": "done", "before": None, "limit": 8},
    )


def test_pages_follow_one_another(tec: Runner, lease: Lease, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "PAGE", 2)
    rows = [row(id=str(number), position=number) for number in range(5, 0, -1)]

    def page(operation: str, argument: Any) -> Any:
        before = argument["before"]
        behind = [found for found in rows if before is None or [found["position"], found["id"]] < before]
        return behind[: argument["limit"]]

    process("dispatch", page)
    assert len(lines(tec("task", "log", "-n", "0", "--json").out)) == 5
    ran = tec("task", "log", "-n", "3")
    assert len(lines(ran.out)) == 4 and ran.err == "there are more; -n 0 shows all\n"
    assert len(lines(tec("task", "log", "-n", "5", "--json").out)) == 5


def test_what_is_not_there(tec: Runner, lease: Lease, process: Process) -> None:
    process("dispatch", lambda _, argument: None if argument["event"] else [])
    assert tec("task", "log", "1.1").status == 3
    assert tec("task", "log", "--id", "x").status == 3
    assert tec("task", "log").err == "nothing\n"
    ran = tec("task", "log", "--status", "failde")
    assert ran.status == 2 and "waiting, claimed, done, failed, interrupted; did you mean 'failed'?" in ran.err
    ran = tec("task", "log", "--status", "zzz")
    assert ran.status == 2 and ran.err.endswith("failed, interrupted\n")
    assert tec("task", "log", "x").status == 2


@pytest.mark.parametrize(
    ("programs", "forwards", "said"),
    [
        (0, 0, "nothing waits"),
        (2, 0, "2 programs wait or run; `tec task log` shows more"),
        (1, 3, "1 program waits or runs, 3 events wait for another server; `tec task log` shows more"),
        (0, 1, "1 event waits for another server; `tec task log` shows more"),
    ],
)
def test_status_says_what_waits(programs: int, forwards: int, said: str) -> None:
    assert status._outbox({"programs_waiting": programs, "forwards_waiting": forwards}) == said


def test_the_examples_of_the_page_are_right(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/tasks.md").read_text()
    blocks = [textwrap.dedent(block) for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", page, re.M)]
    (rule,) = [block for block in blocks if block.strip().startswith("rule:")]
    (library,) = [block for block in blocks if block.strip().startswith("[roles]")]
    (conf,) = [block for block in blocks if "ServerLocation" in block]
    rule_base(rule)
    (tmp_path / "tasks.toml").write_text(library)
    assert load_library(tmp_path / "tasks.toml").task("restart_service").arguments == 1
    assert set(parse_destinations(conf)[0]) == {"default", "archive"} and not parse_destinations(conf)[1]
