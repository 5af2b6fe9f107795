"""Duplicates, storms, recoveries and causes of the shipped rule base: what must hold whatever comes, and restarts."""

from __future__ import annotations

import random
import re
from pathlib import Path

import msgspec
import pytest

from opentec.events.records import Disposition
from opentec.shipped import shipped
from tests.rules_default.site_kit import default_base, site_base
from tests.rules_default.test_site_rules import Server

RULES = shipped("rules", "default", "TEC_RULES")
COUNTED = ("duplicates/exact_duplicate", "storm/storm_of_host", "storm/storm_of_class")
PAIRS = {"NT_Disk_OK": ("NT_Disk_Full", "drive"), "NFS_OK": ("NFS_No_Response", "server")}


def server() -> Server:
    return Server(default_base())


def filter_classes(rule_set: str, rule: str) -> set[str]:
    """The classes in the event filter of a rule."""
    text = (Path(RULES) / f"{rule_set}.rls").read_text(encoding="utf-8")
    found = re.search(rf"rule: {rule}: .*?of_class within \[(.*?)\]", text, re.DOTALL)
    assert found
    return set(re.findall(r"'(\w+)'", found[1]))


def test_the_rule_base_is_configured_without_an_error() -> None:
    assert server().stored("TEC_Error") == []


def test_the_filters_name_what_is_configured() -> None:
    """The two rules that name their classes for speed miss none of those that are declared."""
    table = default_base().classes
    clearing = (Path(RULES) / "clearing.rls").read_text(encoding="utf-8")
    declared = set(re.findall(r"create_clearing_event\(\w+, '(\w+)'", clearing))
    named = filter_classes("clearing", "recovery")
    assert len(declared) == 7
    assert all(any(table.classes[one].is_a(name) for name in named) for one in declared | {"Server_OK"})
    facts = re.findall(r"^dependency\('(\w+)', '(\w+)'", (Path(RULES) / "dependency.rls").read_text(), re.MULTILINE)
    assert len(facts) == 4
    assert {name for fact in facts for name in fact} == filter_classes("dependency", "dependency")


@pytest.mark.parametrize("seed", range(5))
def test_every_drop_is_counted_once_or_named_and_no_recovery_is_swallowed(seed: int) -> None:
    chance, at = random.Random(seed), 0.0
    subject = Server(site_base("storm"))
    counted = 0
    for number in range(400):
        at += chance.choice((0, 0.1, 1, 3, 40 if chance.random() < 0.1 else 0))
        subject.until(at)
        host, part = f"web{chance.randrange(5)}", f"part{chance.randrange(3)}"
        name = chance.choice(["NT_Disk_Full", "NFS_No_Response", "Daemon_Exited", "Logfile_Message", *PAIRS])
        slot = {"Daemon_Exited": "process", "Logfile_Message": "msg", "NT_Disk_Full": "drive", "NT_Disk_OK": "drive"}
        effects = subject.event(at, name, hostname=host, **{slot.get(name, "server"): part})
        outcome = effects.outcome
        assert outcome is not None
        if outcome.disposition == Disposition.DROPPED:
            reason = (outcome.reason or "").removeprefix("dropped by rule ")
            assert reason in (*COUNTED, "clearing/recovery")
            counted += reason in COUNTED
        assert sum(subject.values("repeat_count")) == counted, number
        if name in PAIRS:
            problem, key = PAIRS[name]
            same = [
                event for event in subject.stored(problem) if (event.get("hostname"), event.get(key)) == (host, part)
            ]
            assert all(event.status == "CLOSED" for event in same)
    assert counted > 50
    assert len(subject.stored("TEC_Storm")) > 1
    subject.restart()


def test_a_storm_goes_on_and_ends_after_a_restart() -> None:
    subject = Server(site_base("storm"))
    for number in range(6):
        subject.event(0, "Logfile_Message", hostname="web1", msg=str(number))
        subject.restart()
    assert subject.values("repeat_count", "TEC_Storm") == [3]
    subject.until(19)
    assert subject.statuses("TEC_Storm") == ["OPEN"]
    subject.restart()
    subject.until(20)
    assert subject.statuses("TEC_Storm") == ["CLOSED"]
    subject.event(21, "Logfile_Message", hostname="web1", msg="new")
    assert len(subject.stored("Logfile_Message")) == 4


def test_a_storm_that_an_operator_closed_ends_once_and_frees_the_way() -> None:
    subject = Server(site_base("storm"))
    for number in range(4):
        subject.event(0, "Logfile_Message", hostname="web1", msg=str(number))
    (storm,) = subject.stored("TEC_Storm")
    subject.change(1, storm.key, status="CLOSED")
    subject.until(60)
    assert subject.values("administrator", "TEC_Storm") == ["ann"]
    assert subject.repository.state['global:["storm","active"]'] == "no"


def test_thresholds_count_on_after_a_restart_and_a_reload() -> None:
    subject = server()
    for number in range(11):
        subject.event(number, "Daemon_Exited", hostname="web1", process=str(number))
        subject.restart()
        if number == 5:
            subject.reload(number, msgspec.structs.replace(subject.base, content_hash="1" * 64))
    assert subject.values("severity", "Daemon_Exited") == ["MINOR"] * 10 + ["CRITICAL"]


def test_effects_are_released_when_an_operator_closes_their_cause() -> None:
    subject = server()
    subject.event(0, "NT_System_Stop", hostname="web1")
    subject.event(1, "NT_Service_Failed", hostname="web1", service="DNS")
    subject.restart()
    (cause,) = subject.stored("NT_System_Stop")
    subject.change(2, cause.key, status="CLOSED")
    subject.restart()
    subject.until(61)
    assert subject.values("severity", "NT_Service_Failed") == ["HARMLESS"]
    subject.restart()
    subject.until(62)
    assert subject.values("severity", "NT_Service_Failed") == ["CRITICAL"]
    assert not [name for name in subject.repository.state if name.startswith('global:["dependency ')]


def test_a_cause_that_is_open_again_keeps_its_effects() -> None:
    subject = server()
    subject.event(0, "NT_System_Stop", hostname="web1")
    subject.event(1, "NT_Service_Failed", hostname="web1", service="DNS")
    (cause,) = subject.stored("NT_System_Stop")
    subject.change(2, cause.key, status="CLOSED")
    subject.change(3, cause.key, status="OPEN")
    subject.until(200)
    assert subject.values("severity", "NT_Service_Failed") == ["HARMLESS"]
    subject.change(200, cause.key, status="CLOSED")
    subject.until(260)
    assert subject.values("severity", "NT_Service_Failed") == ["CRITICAL"]


def test_a_severity_that_somebody_gave_meanwhile_stays() -> None:
    subject = server()
    subject.event(0, "NT_System_Stop", hostname="web1")
    subject.event(1, "NT_Service_Failed", hostname="web1", service="DNS")
    (effect,) = subject.stored("NT_Service_Failed")
    subject.change(2, effect.key, severity="MINOR")
    subject.event(3, "NT_System_Start", hostname="web1")
    subject.until(100)
    assert subject.values("severity", "NT_Service_Failed") == ["MINOR"]
