"""What a server stored while it was used, hit and killed is what a replay of its log comes to, row by row."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.acceptance.conftest import MakeCluster
from tests.acceptance.test_commands import listed, wait_listed
from tests.faults.client import Load, Sender
from tests.faults.harness import Cluster, wait_for

CLASSES = """
TEC_CLASS: Shop ISA EVENT DEFINES { source: default = SHOP; subject: STRING, dup_detect = yes; number: INTEGER; }; END
TEC_CLASS: Shop_Problem ISA Shop DEFINES { severity: default = WARNING; }; END
TEC_CLASS: Shop_Recovery ISA Shop; END
TEC_CLASS: Shop_Summary ISA Shop; END
"""
RULES = """
rule: again: (
  event: _event of_class 'Shop_Problem' where [],
  reception_action: count: (
    first_duplicate(_event, event: _first where [status: outside ['CLOSED']]),
    add_to_repeat_count(_first, 1), drop_received_event, commit_rule ),
  reception_action: wait: ( set_timer(_event, 1, 'late') )
).
timer_rule: late: (
  event: _event of_class 'Shop_Problem' where [status: outside ['CLOSED']], timer_info: equals 'late',
  action: ( set_event_severity(_event, 'CRITICAL'), generate_event('Shop_Summary', [msg='late']) )
).
rule: clear: (
  event: _event of_class 'Shop_Recovery' where [subject: _subject],
  reception_action: close: (
    first_instance(event: _problem of_class 'Shop_Problem'
      where [subject: equals _subject, status: outside ['CLOSED']]),
    change_event_status(_problem, 'CLOSED'), link_effect_to_cause(_event, _problem) ),
  reception_action: tally: (
    (recorded(closed, _count) -> true ; _count = 0), _next is _count + 1, rerecord(closed, _next) )
).
rule: run: (
  event: _event of_class 'Shop' where [msg: equals 'run'],
  reception_action: ( exec_program(_event, 'true', '%s', ['x'], 'NO') )
).
change_rule: keep: (
  event: _event of_class 'Shop' where [msg: equals 'run'],
  sender: operator(_who), attribute: status set_to 'CLOSED',
  action: ( drop_change_request )
).
"""


def rule_base(folder: Path, rules: str = RULES) -> Path:
    base = folder / "base"
    (base / "TEC_CLASSES").mkdir(parents=True)
    (base / "TEC_RULES").mkdir()
    (base / "TEC_CLASSES" / "shop.baroc").write_text(CLASSES)
    (base / "TEC_RULES" / "shop.rls").write_text(rules)
    (base / "TEC_RULES" / "rule_sets").write_text("shop\n")
    (base / "rulebase.toml").write_text("cache_size = 60\n")  # so that operators change what has left the cache
    return base


def text(name: str, number: int) -> str:
    """Twelve in a row are about one subject: a problem, its repeats, then its recovery; one in a hundred is wrong."""
    kind = "Shop_Recovery" if number % 12 == 11 else "Shop_Problem" if number % 12 < 6 else "Shop"
    if number % 100 == 99:
        kind = "Shop_Prolbem"
    message = "run" if number % 50 == 0 else f"event {number}"
    return f"{kind};subject='{name}-{number // 12}';number={number};hostname={name};msg='{message}';END"


def change(cluster: Cluster) -> None:
    """An operator takes the newest problem over, and closes the oldest event, which has left the cache."""
    events = listed(cluster, "-n", "0", "--status", "OPEN")
    shop = [event for event in events if event["class"].startswith("Shop")]
    assert len(shop) > 60
    assert cluster.tec("ack", shop[0]["event"]).returncode in (0, 3)  # closed by now, it may be
    for event in shop[-3:]:
        assert cluster.tec("close", event["event"]).returncode == (3 if event["msg"] == "run" else 0)


def course(cluster: Cluster) -> None:
    """A few hundred events; in their midst the rule process is killed, then all five."""
    senders = [
        Sender(cluster.servers, lambda number, name=name: text(name, number), name, rate=60)  # type: ignore[misc]
        for name in ("web1", "web2", "web3")
    ]
    with Load(senders) as load:
        wait_for("events are acknowledged", lambda: load.acked > 300)
        victim = cluster.process("black", "tec_rule")
        victim.signal(signal.SIGKILL)
        wait_for("another rule process", lambda: (s := cluster.status("black")) and s["healthy"])
        assert not victim.alive
        change(cluster)
        cluster.kill_all()
        cluster.start()
        reached = load.acked
        wait_for("senders go on", lambda: load.acked > reached + 100)
        change(cluster)
        assert load.finish(), [sender.trouble for sender in senders]
    wait_listed(cluster, 1, "--class", "Shop_Summary")


def replay(cluster: Cluster, *arguments: object) -> tuple[int, str]:
    done = cluster.tec("replay", *map(str, arguments))
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout or done.stderr


def test_a_replay_comes_to_what_the_server_stored(make_cluster: MakeCluster, tmp_path: Path) -> None:
    cluster = make_cluster(rule_base=rule_base(tmp_path))
    cluster.start()
    status, said = replay(cluster, "--verify", cluster.directory)
    assert (status, "stop it first" in said) == (2, True), said
    course(cluster)
    cluster.stop()
    status, said = replay(cluster, "--verify", cluster.directory)
    assert status == 0, said
    _, summary = replay(cluster, "--log", cluster.directory, "--recorded", "--json")
    counted = json.loads(summary)
    for part, names in (
        ("outcomes", ("STORED", "DROPPED", "REJECTED", "APPLIED", "FIRED")),
        ("rules", ("shop/again", "shop/late", "shop/clear", "shop/run")),
        ("notices", ("TEC_Notice: Rule Cache full: forced cleaning",)),
        ("outbox", ("program true",)),
    ):
        assert all(counted[part].get(name) for name in names), (part, counted[part])
    assert replay(cluster, "--log", cluster.directory, "--recorded", "--json")[1] == summary
    spoilt(cluster)
    other_rules(cluster, tmp_path)


def spoilt(cluster: Cluster) -> None:
    """A single row that is not as it was stored is found, whichever table it is in."""
    found: list[dict[str, Any]] = []
    with closing(sqlite3.connect(cluster.repository)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    kept = cluster.repository.read_bytes()
    for statement in (
        "UPDATE event SET severity = 'FATAL' WHERE eid = (SELECT max(eid) FROM event)",
        "DELETE FROM event WHERE eid = (SELECT min(eid) FROM event)",
        "UPDATE outcome SET rules = NULL WHERE position = (SELECT max(position) FROM outcome WHERE rules IS NOT NULL)",
        "INSERT INTO timer VALUES (1000000, 1, 1, '{}')",
        "UPDATE rule_state SET value = x'07' WHERE key = 'eid'",
        "DELETE FROM outbox WHERE id = (SELECT min(id) FROM outbox)",
    ):
        with closing(sqlite3.connect(cluster.repository)) as connection, connection:
            assert connection.execute(statement).rowcount == 1, statement
        status, said = replay(cluster, "--verify", cluster.directory, "--json")
        *lines, end = map(json.loads, said.splitlines())
        assert (status, end["same"], len(lines)) == (1, False, 1), said
        found += lines
        cluster.repository.write_bytes(kept)
    assert [one["table"] for one in found] == ["event", "event", "outcome", "timer", "state", "outbox"]


def other_rules(cluster: Cluster, folder: Path) -> None:
    """A rule base that is not the one that ruled: what it would have made of the same events."""
    new = folder / "new"
    shutil.copytree(cluster.rules, new)
    same, said = replay(cluster, "--log", cluster.directory, "--rules", new, "--diff")
    assert same == 0, said
    file = new / "TEC_RULES" / "shop.rls"
    file.write_text(file.read_text().replace("'CRITICAL'", "'FATAL'"))
    differs, said = replay(cluster, "--log", cluster.directory, "--rules", new, "--diff")
    assert differs == 1
    assert "severity CRITICAL -> FATAL" in said
    assert "shop/late" in said
