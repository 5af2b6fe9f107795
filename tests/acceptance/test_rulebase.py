"""Rule bases loaded into a server that works: exactly at one record, whatever is killed meanwhile, and state stays."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from opentec.events.records import Kind, decode_activate, name_of, parse_position
from opentec.log.reader import iterate
from opentec.log.segments import segments
from opentec.rules.snapshots import CURRENT, read_mark
from tests.acceptance.conftest import MakeCluster
from tests.acceptance.test_commands import listed, wait_listed
from tests.faults.client import Load, Sender
from tests.faults.harness import Cluster, wait_for

ONE = "TEC_CLASS: Shop_Event ISA EVENT DEFINES { number: INTEGER, default = 0; };\n"
TWO = ONE + "TEC_CLASS: Shop_New ISA EVENT DEFINES { number: INTEGER, default = 0; };\n"
RULES = """
rule: count: ( event: _event of_class 'Shop_Event' where [msg: equals 'same'],
  reception_action: ( first_instance(event: _first of_class 'Shop_Event' where [msg: equals 'same']),
    add_to_repeat_count(_first, 1), drop_received_event, commit_set ) ).
rule: mark: ( event: _event of_class 'Shop_Event',
  reception_action: ( set_event_severity(_event, 'SEVERITY') ) ).
"""
SEVERITIES = {"one": "MINOR", "two": "CRITICAL"}


def rule_base(folder: Path, name: str, classes: str) -> Path:
    base = folder / name
    (base / "TEC_CLASSES").mkdir(parents=True)
    (base / "TEC_RULES").mkdir()
    (base / "TEC_CLASSES" / "shop.baroc").write_text(classes)
    (base / "TEC_RULES" / "shop.rls").write_text(RULES.replace("SEVERITY", SEVERITIES[name]))
    (base / "TEC_RULES" / "rule_sets").write_text("shop\n")
    return base


def complete(cluster: Cluster, base: Path) -> Path:
    """The same with the classes that every server needs, as the cluster's own rule base has them."""
    for name in ("root.baroc", "tec.baroc"):
        shutil.copy(cluster.rules / "TEC_CLASSES" / name, base / "TEC_CLASSES")
    (base / "TEC_CLASSES" / ".load_classes").write_text("root.baroc\ntec.baroc\nshop.baroc\n")
    return base


@pytest.fixture
def two(tmp_path: Path) -> Path:
    return rule_base(tmp_path, "two", TWO)


def load(cluster: Cluster, base: Path | str, *options: str) -> dict[str, Any]:
    done = cluster.tec("rulebase", "load", str(base), "--json", *options, check=True)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def called(name: str) -> str:
    """A snapshot is called as its content was called first: the cluster's own is `one` in its folder `rules`."""
    return {"rules": "one"}.get(name, name)


def active(cluster: Cluster) -> str:
    return called(json.loads(cluster.tec("rulebase", "current", "--json", check=True).stdout)["name"])


def log(cluster: Cluster) -> list[dict[str, Any]]:
    return [json.loads(line) for line in cluster.tec("log", "--json", check=True).stdout.splitlines()]


def activations(cluster: Cluster) -> list[tuple[int, str]]:
    """Position and name of every ACTIVATE record."""
    rx = cluster.directory / "rx"
    last = segments(rx)[-1]
    end = last.start + (last.path.stat().st_size - last.preamble.records_at)
    found = [record for page in iterate(rx, 0, end) for record in page if record.kind == Kind.ACTIVATE]
    return [(record.position, called(decode_activate(record.payload).name)) for record in found]


def shop_event(number: int) -> str:
    return f"Shop_{'New' if number % 2 else 'Event'};number={number};END"


def check(cluster: Cluster, sender: Sender, bases: list[tuple[int, str]]) -> None:
    """Every record was taken by the classes and rules that its position says; every event is there once."""
    stored = {event["event"]: event for event in listed(cluster, "-n", "0")}
    seen: dict[int, str] = {}
    for entry in log(cluster):
        text = entry.get("text") or ""
        if "Shop_" not in (entry["class"] or text):
            continue
        number = int(entry["number"]) if entry["class"] else int(text.split("number=")[1].split(";")[0])
        assert number not in seen, f"event {number} is recorded twice"
        seen[number] = entry["disposition"]
        ruling = [name for position, name in bases if position < parse_position(entry["position"])][-1]
        if number % 2 and ruling != "two":
            assert entry["disposition"] == "REJECTED", (ruling, entry)
            continue
        assert entry["disposition"] == "STORED", (ruling, entry)
        if number % 2 == 0:
            assert stored[entry["event"]]["severity"] == SEVERITIES[ruling], (ruling, entry)
    assert sorted(seen) == list(range(1, sender.acked + 1)), "each acknowledged event has one disposition"
    assert sender.violations == []
    # the verdict of an event whose acknowledgement was lost is in the log only
    assert set(sender.rejected) <= {number for number, disposition in seen.items() if disposition == "REJECTED"}


def test_a_rule_base_is_loaded_without_a_restart(make_cluster: MakeCluster, tmp_path: Path, two: Path) -> None:
    server = make_cluster(rule_base=rule_base(tmp_path, "one", ONE))
    server.start()
    complete(server, two)

    def post(*words: str) -> subprocess.CompletedProcess[str]:
        return server.tec("post", *words, "SHOP")

    for _ in range(3):
        assert post("-m", "same", "Shop_Event").returncode == 0
    assert post("Shop_New").returncode == 3
    wait_for("the first is counted on", lambda: listed(server, "--class", "Shop_Event")[0]["repeat_count"] == 2)
    before = server.five("black")
    said = load(server, two)
    assert (said["result"], said["name"], said["rule_sets"], said["rules"]) == ("active", "two", 1, 2)
    assert [(one["kind"], one["change"], one["name"]) for one in said["changes"]] == [
        ("class", "added", "Shop_New"),
        ("rule", "changed", "shop.mark"),
    ]
    assert [name_of(position) for position, _ in activations(server)][-1] == said["position"]
    assert server.five("black") == before, "no process was started again"
    # classes, rules and queries are the new ones, what rules hold is as before
    assert post("Shop_New").returncode == 0
    assert post("-m", "same", "Shop_Event").returncode == 0
    assert post("-m", "other", "Shop_Event").returncode == 0
    (new,) = wait_listed(server, 1, "--class", "Shop_New")
    assert new["class"] == "Shop_New"
    other, same = wait_listed(server, 2, "--class", "Shop_Event")
    assert (same["repeat_count"], same["severity"], other["severity"]) == (3, "MINOR", "CRITICAL")
    assert server.status("black")["rule_base"] == said["hash"][:12]  # type: ignore[index]
    assert load(server, two)["result"] == "unchanged"
    # what does not compile changes nothing
    (two / "TEC_RULES" / "shop.rls").write_text("rule: broken: ( event: _e of_class 'Nothing' ).\n")
    broken = server.tec("rulebase", "load", str(two))
    assert broken.returncode == 2 and "'Nothing'" in broken.stderr, broken
    # it stays over a restart of reception and of the server, although the configured folder says otherwise
    server.process("black", "tec_reception").signal(signal.SIGKILL)
    wait_for("reception is back", lambda: post("Shop_New").returncode == 0)
    server.stop()
    server.start()
    assert post("Shop_New").returncode == 0
    assert active(server) == "two"
    # the way back is the hash of the one before
    assert called(load(server, said["before"][:12])["name"]) == "one"
    assert post("Shop_New").returncode == 3


def test_killed_at_any_moment_one_rule_base_or_the_other_rules(
    make_cluster: MakeCluster, tmp_path: Path, two: Path
) -> None:
    places = {
        "rx.activating": "tec_reception",
        "rx.activated": "tec_reception",
        "rx.synced": "tec_reception",
        "rx.activate-durable": "tec_reception",
        "rx.activate-remembered": "tec_reception",
        "rule.activating": "tec_rule",
        "rule.activated": "tec_rule",
        "dispatch.before-commit": "tec_dispatch",
        "dispatch.committed": "tec_dispatch",
    }
    server = make_cluster(rule_base=rule_base(tmp_path, "one", ONE), hang_after=20)
    one = complete(server, rule_base(tmp_path / "again", "one", ONE))
    complete(server, two)
    server.start(hooks=",".join(f"pause:{place}:{tmp_path / place}" for place in places))
    bases = [one, two]
    assert load(server, one)["result"] == "unchanged"
    sender = Sender(server.servers, shop_event, rate=100)
    with Load([sender]) as senders:
        for number, (place, name) in enumerate(places.items(), 1):
            wait_for("events go on", lambda at=sender.acked: sender.acked > at + 5)
            base = bases[number % 2]
            pause = tmp_path / place
            results: list[dict[str, Any]] = []
            loading = threading.Thread(target=lambda base=base, results=results: results.append(load(server, base)))
            if place.startswith(("rx.synced", "dispatch.")):
                loading.start()  # these are reached all the time: it is killed somewhere in the middle
            pause.with_name(f"{place}.armed").touch()
            if not loading.is_alive():
                loading.start()
            wait_for(f"{place} is reached", pause.with_name(f"{place}.reached").exists)
            assert server.process("black", name).signal(signal.SIGKILL)
            pause.touch()
            loading.join(60)
            (said,) = results
            assert said["result"] in ("active", "unchanged"), (place, said)
            assert active(server) == base.name == activations(server)[-1][1], place
        wait_for("events go on", lambda at=sender.acked: sender.acked > at + 5)
        assert senders.finish()
    wait_for("all is committed", lambda: (s := server.status("black")) and s["committed"] == s["durable"])
    found = activations(server)
    assert [name for _, name in found] == [bases[number % 2].name for number in range(len(places) + 1)]
    check(server, sender, found)


@pytest.mark.parametrize("place", ["rx.activating", "rx.activate-durable", "rule.activating"])
def test_a_takeover_goes_on_with_the_rule_base_that_the_log_names_last(
    make_cluster: MakeCluster, tmp_path: Path, two: Path, place: str
) -> None:
    pair = make_cluster("black", "brown", rule_base=rule_base(tmp_path, "one", ONE))
    pause = tmp_path / place
    pair.start("black", hooks=f"pause:{place}:{pause}")
    pair.start("brown")
    complete(pair, two)
    before = read_mark(pair.directory / "rulebase", CURRENT)
    sender = Sender(pair.servers, shop_event, rate=100)
    with Load([sender]) as senders:
        wait_for("events go on", lambda: sender.acked > 5)
        pause.with_name(f"{place}.armed").touch()
        results: list[subprocess.CompletedProcess[str]] = []
        loading = threading.Thread(target=lambda: results.append(pair.tec("rulebase", "load", str(two), "--json")))
        loading.start()
        wait_for(f"{place} is reached", pause.with_name(f"{place}.reached").exists)
        if place != "rule.activating":  # reception may have come so far by then
            assert read_mark(pair.directory / "rulebase", CURRENT) == before
        for process in pair.five("black").values():
            process.signal(signal.SIGKILL)
        pair.wait_up("brown")
        loading.join(60)
        assert results[0].returncode == 0, results
        wait_for("events go on", lambda at=sender.acked: sender.acked > at + 10)
        assert senders.finish()
    wait_for("all is committed", lambda: (s := pair.status("brown")) and s["committed"] == s["durable"])
    found = activations(pair)
    assert [name for _, name in found] == ["one", "two"]
    assert active(pair) == "two"
    hash_of = json.loads(pair.tec("rulebase", "current", "--json").stdout)["hash"]
    (failover,) = listed(pair, "--class", "TEC_Failover")
    assert failover["rule_base"] == (before if place == "rx.activating" else hash_of)
    check(pair, sender, found)
