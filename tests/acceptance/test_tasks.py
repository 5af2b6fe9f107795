"""Tasks and forwarded events with real servers: once each, whatever is killed meanwhile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.acceptance.conftest import MakeCluster
from tests.acceptance.test_commands import listed, wait_listed
from tests.faults.harness import Cluster, wait_for

CLASSES = "TEC_CLASS: Shop_Event ISA EVENT DEFINES { subject: STRING; };\n"
RULES = """
rule: restart: ( event: _event of_class 'Shop_Event' where [msg: equals 'restart', subject: _subject],
  reception_action: ( exec_task(_event, 'note', '%s', [_subject], 'YES') ) ).
rule: closed: ( event: _result of_class 'TEC_Task_Result' where [task_status: equals 'done', output: _out],
  reception_action: ( set_event_message(_result, _out) ) ).
rule: forward: ( event: _event of_class 'Shop_Event' where [msg: equals 'forward'],
  reception_action: ( forward_event(_event) ) ).
"""
TASKS = """
[task.note]
program = ["scripts/note.sh", "{1}", "{hostname}"]
description = "writes a line"
roles = ["rule", "admin"]
"""
NOTE = """#!/bin/sh
echo "$1 on $2" >>"$TEC_DIR/noted"
sleep 60 &
echo "noted $1 for $EVENT"
"""


def rule_base(folder: Path, forward: str = "") -> Path:
    base = folder / "base"
    (base / "TEC_CLASSES").mkdir(parents=True)
    (base / "TEC_RULES").mkdir()
    (base / "TEC_CLASSES" / "shop.baroc").write_text(CLASSES)
    (base / "TEC_RULES" / "shop.rls").write_text(RULES if forward else RULES.partition("rule: forward")[0])
    (base / "TEC_RULES" / "rule_sets").write_text("shop\n")
    if forward:
        (base / "TEC_RULES" / "tec_forward.conf").write_text(forward)
    return base


def post(cluster: Cluster, *words: str) -> None:
    cluster.tec("post", *words, "Shop_Event", "SHOP", check=True)


def rows(cluster: Cluster, *options: str) -> list[dict[str, Any]]:
    done = cluster.tec("task", "log", "--json", *options, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_rule_and_an_operator_run_a_task(make_cluster: MakeCluster, tmp_path: Path) -> None:
    server = make_cluster(rule_base=rule_base(tmp_path))
    script = server.directory / "scripts" / "note.sh"
    script.parent.mkdir()
    script.write_text(NOTE)
    script.chmod(0o755)
    (server.directory / "tasks.toml").write_text(TASKS)
    server.start()
    post(server, "-m", "restart", "hostname=web1", "subject=a b; c")
    (result,) = wait_listed(server, 1, "--class", "TEC_Task_Result")
    (event,) = listed(server, "--class", "Shop_Event")
    assert (result["task_name"], result["for_event"], result["msg"]) == (
        *("note", event["event"]),
        f"noted a b; c for {event['event']}\n",
    )
    assert result["seconds"] < 30, "what the program leaves behind is not waited for"
    ran = server.tec("task", "run", "note", "-e", event["event"], "from ann")
    assert (ran.returncode, ran.stdout) == (0, f"noted from ann for {event['event']}\n"), ran.stderr
    assert (server.directory / "noted").read_text() == "a b; c on web1\nfrom ann on web1\n"
    assert [(row["status"], row["name"], bool(row["operator"])) for row in rows(server, event["event"])] == [
        ("done", "note", True),
        ("done", "note", False),
    ]
    refused = server.tec("task", "run", "not")
    assert refused.returncode == 3 and "did you mean 'note'?" in refused.stderr
    assert "note" in server.tec("task", "list").stdout


def test_events_are_forwarded_once_though_tec_task_is_killed(make_cluster: MakeCluster, tmp_path: Path) -> None:
    far = make_cluster(rule_base=rule_base(tmp_path / "far"))
    conf = f"ServerLocation=127.0.0.1\nServerPort={far.ports['black']}\n"
    near = make_cluster(rule_base=rule_base(tmp_path / "near", conf))
    # each life of tec_task dies with its third event acknowledged and not yet recorded
    near.start(hooks="kill:task.acknowledged:3")
    for number in range(5):
        post(near, "-m", "forward", f"subject=s{number}")
    assert near.tec("status", check=True).stdout  # the other server is away: they wait
    wait_for("they are under way", lambda: {row["status"] for row in rows(near)} <= {"waiting", "claimed"})
    far.start()
    wait_for("all are forwarded", lambda: {row["status"] for row in rows(near)} == {"done"})
    found = listed(far, "--class", "Shop_Event")
    assert sorted(event["subject"] for event in found) == [f"s{number}" for number in range(5)]
    (path,) = {tuple(event["server_path"]) for event in found}
    assert len(path) == 1 and path[0].startswith("tec@")
    log = (near.directory / "log" / "black" / "tec_master.log").read_text()
    assert log.count("tec_task ended: killed by SIGKILL") >= 2, log
