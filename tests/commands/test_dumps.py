from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentec.commands.log import text_of
from opentec.commands.shown import event_text
from opentec.events.records import Disposition, name_of, position_of
from opentec.events.text import parse_event
from opentec.ha.lease import Lease
from opentec.server.errors import Refused
from tests.commands.rows import row
from tests.commands.running import FakeProcess, Runner, lines

Process = Callable[..., FakeProcess]
AT = position_of(2, 352)


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def record(**values: Any) -> dict[str, Any]:
    """A record as dispatch shows it."""
    return {
        "position": AT,
        "time": 1074080912_000000,
        "kind": 1,
        "disposition": Disposition.STORED,
        "reason": None,
        "date_reception": 1074080912,
        "event_handle": 3,
    } | values


EVENT = record(**{"class": "Su_Failure", "slots": {"source": "LOGFILE", "msg": "it's; so", "acl": ["a", "b c"]}})


@pytest.mark.usefixtures("utc")
def test_a_record_has_the_layout_of_old() -> None:
    assert text_of(EVENT, 4) == (
        "1~4~65537~1074080912(Jan 14 11:48:32 2004)\n"
        "### EVENT ###\n"
        "Su_Failure;\n"
        "source=LOGFILE;\n"
        "msg='it''s; so';\n"
        "acl=[a, 'b c'];\n"
        "END\n"
        "\n"
        "### END EVENT ###\n"
        "PROCESSED\n"
    )


@pytest.mark.parametrize(
    ("disposition", "reason", "last"),
    [
        (Disposition.WAITING, None, ["WAITING"]),
        (Disposition.STORED, None, ["PROCESSED"]),
        (Disposition.DROPPED, "dropped by rule a/b", ["PROCESSED"]),
        (Disposition.REJECTED, "Class X undefined", ["PARSING_FAILED", "ERROR: Class X undefined"]),
        (Disposition.FAILED, None, ["PARSING_FAILED", "ERROR: no reason is known"]),
        (Disposition.WAITING, "the record is damaged", ["PARSING_FAILED", "ERROR: the record is damaged"]),
        (Disposition.APPLIED, None, ["PROCESSED"]),
    ],
)
def test_dispositions(disposition: Disposition, reason: str | None, last: list[str]) -> None:
    text = text_of(EVENT | {"disposition": disposition, "reason": reason}, 1)
    assert lines(text.partition("### END EVENT ###\n")[2]) == last


def test_a_change_is_a_record_too() -> None:
    change = record(**{"class": "CHANGE", "slots": {"status": "ACK"}, "event": [1772352000, 1, 1], "user": "root"})
    assert "CHANGE;\nevent=1772352000.1;\nstatus=ACK;\nuser=root;\nEND\n" in text_of(change, 1)


def test_what_is_no_event_is_shown_on_one_line() -> None:
    text = text_of(record(text=b"\x03X;\n### END EVENT ###\nPROCESSED\x1b[2J\n\x01", disposition=3, reason="no"), 1)
    assert lines(text)[2] == "X;\\n### END EVENT ###\\nPROCESSED\\x1b[2J"
    assert lines(text)[-2:] == ["PARSING_FAILED", "ERROR: no"]
    assert "### EVENT ###\n\n\n### END" in text_of(record(reason="the record is damaged", disposition=0), 1)


@given(st.text(max_size=50))
def test_no_value_can_forge_a_line_of_the_layout(value: str) -> None:
    text = text_of(EVENT | {"slots": {"msg": value}}, 1)
    assert len(text.split("\n")) == 9
    assert len(re.findall(r"^###", text, flags=re.MULTILINE)) == 2


@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=50))
def test_the_text_of_an_event_reads_back(value: str) -> None:
    assert parse_event(event_text("C", {"msg": value, "l": [value]})) == ("C", {"msg": value, "l": [value]})


def test_the_log_comes_in_pages(tec: Runner, lease: Lease, process: Process) -> None:
    pages = {
        0: {"records": [EVENT], "next": 5},
        5: {"records": [], "next": 9},
        9: {"records": [EVENT | {"position": AT + 100}], "next": None},
    }
    dispatch = process("dispatch", lambda _, argument: pages[argument[0]])
    shown = [json.loads(line) for line in lines(tec("log", "--json").out)]
    assert [each["position"] for each in shown] == ["rx:2:352", "rx:2:452"]
    assert [argument[0] for _, argument in dispatch.calls] == [0, 5, 9]
    assert tec("log").out.count("### EVENT ###") == 2


def test_json_names_event_class_disposition_and_reason(tec: Runner, lease: Lease, process: Process) -> None:
    rejected = record(text=b"NO", disposition=3, reason="why", date_reception=0, event_handle=0)
    process("dispatch", lambda *_: {"records": [EVENT, rejected], "next": None})
    first, second = (json.loads(line) for line in lines(tec("log", "--json", "--after", "rx:1:0").out))
    assert first == {
        "source": "LOGFILE",
        "msg": "it's; so",
        "acl": ["a", "b c"],
        "event": "1074080912.3",
        "class": "Su_Failure",
        "disposition": "STORED",
        "reason": None,
        "position": "rx:2:352",
        "time": "2004-01-14T11:48:32Z",
    }
    assert (second["text"], second["event"], second["class"]) == ("NO", "rx:2:352", None)
    assert (second["disposition"], second["reason"]) == ("REJECTED", "why")


def test_a_wrong_position_is_usage(tec: Runner, lease: Lease) -> None:
    assert tec("log", "--after", "7").status == 2


def test_the_repository_is_dumped_in_pages(tec: Runner, lease: Lease, process: Process) -> None:
    dispatch = process(
        "dispatch", lambda _, wanted: [row(eid) for eid in range(wanted["after"] + 1, min(wanted["after"] + 3, 6))]
    )
    ran = tec("dump", "--json")
    assert [json.loads(line)["event"] for line in lines(ran.out)] == [f"{1772352000 + eid}.1" for eid in range(1, 6)]
    assert [wanted["after"] for _, wanted in dispatch.calls] == [0, 2, 4, 5]


def test_a_dumped_event_shows_all_slots(tec: Runner, lease: Lease, process: Process) -> None:
    process("dispatch", lambda _, wanted: [] if wanted["after"] else [row(1, slots='{"drive": "C:"}', msg="a\nb")])
    out = tec("dump").out
    assert out.startswith("TEC_Notice;\ndate_reception=1772352001;\nevent_handle=1;\nserver_handle=1;\n")
    assert "\nmsg='a\\nb';\n" in out
    assert out.endswith("\ndrive=C:;\nEND\n\n")


def why(tec: Runner, process: Process, answer: Any, *arguments: str, log: Sequence[dict[str, Any]] = ()) -> Any:
    """`log`: what a page of the log holds, wherever it begins."""
    process("dispatch", lambda operation, _: {"records": log, "next": None} if operation == "log" else answer)
    return tec("why", *arguments)


def outcome(disposition: Disposition, **values: Any) -> list[Any]:
    known = {"eid": None, "date": 1772352001, "handle": 1, "reason": None, "rules": None} | values
    return [AT, disposition, known["eid"], known["date"], known["handle"], known["reason"], known["rules"]]


def test_why_names_the_rules_and_what_they_did(tec: Runner, lease: Lease, process: Process) -> None:
    rules = [
        ["duplicates", "exact", ["count", "drop"], ["repeat_count of 1.1 is now 2", "dropped the event"], "", None],
        ["heartbeat", "missed", [], [], "1.1", "info"],
    ]
    answer = {"outcome": outcome(Disposition.DROPPED, reason="dropped", rules=json.dumps(rules)), "event": None}
    answer["later"] = []
    ran = why(tec, process, answer, "1772352001.1")
    assert lines(ran.out) == [
        "1772352001.1: DROPPED, log rx:2:352",
        "  dropped",
        "  rule duplicates/exact, count, drop",
        "    repeat_count of 1.1 is now 2",
        "    dropped the event",
        "  rule heartbeat/missed for 1.1 when its timer was due",
    ]
    shown = json.loads(tec("why", "--json", "1772352001.1").out)
    assert shown["rules"][0]["did"] == rules[0][3]
    assert shown["disposition"] == "DROPPED"


def test_why_of_a_stored_and_derived_event(tec: Runner, lease: Lease, process: Process) -> None:
    event = row(4, cause_date_reception=1772352000, cause_event_handle=2)
    answer = {"outcome": outcome(Disposition.STORED, eid=3), "event": event, "later": []}
    assert lines(why(tec, process, answer, "1772352004.1").out) == [
        "1772352004.1 TEC_Notice (OPEN): STORED, log rx:2:352",
        "  it was derived by a rule from the event of that record",
        "  its cause is 1772352000.2",
        "  no rule fired",
    ]


def test_why_tells_what_happened_to_the_event_later(tec: Runner, lease: Lease, process: Process) -> None:
    fired = json.dumps([["duplicates", "exact", ["count"], ["repeat_count of 1772352001.1 is now 1"], "", None]])
    counted = outcome(Disposition.DROPPED, eid=1, date=1772352009, handle=4, rules=fired)
    change = outcome(Disposition.APPLIED, eid=1)
    answer = {"outcome": outcome(Disposition.STORED, eid=1), "event": row(1), "later": [change, counted]}
    assert lines(why(tec, process, answer, "1772352001.1").out)[1:] == [
        "  no rule fired",
        "  later a change: APPLIED, log rx:2:352",
        "  later 1772352009.4: DROPPED, log rx:2:352",
        "    rule duplicates/exact, count",
        "      repeat_count of 1772352001.1 is now 1",
    ]


def asked(**values: Any) -> dict[str, Any]:
    """A change, as a page of the log shows it."""
    return {"position": AT, "class": "CHANGE", "slots": {"status": "ACK"}, "user": "an\x07n"} | values


def test_why_says_who_changed_the_event(tec: Runner, lease: Lease, process: Process) -> None:
    changes = [outcome(Disposition.APPLIED, eid=1), outcome(Disposition.REFUSED, eid=1)]
    answer = {"outcome": outcome(Disposition.STORED, eid=1), "event": row(1), "later": changes}
    ran = why(tec, process, answer, "1772352001.1", log=[asked()])
    assert lines(ran.out)[2:] == [
        "  later a change by an\\x07n, status=ACK: APPLIED, log rx:2:352",
        "  later a change by an\\x07n, status=ACK: REFUSED, log rx:2:352",
    ]
    shown = json.loads(tec("why", "--json", "1772352001.1").out)
    assert "user" not in shown
    assert [(one["user"], one["asked"]) for one in shown["later"]] == [("an\x07n", {"status": "ACK"})] * 2


def test_why_of_a_change_says_who_asked(tec: Runner, lease: Lease, process: Process) -> None:
    found = [asked(user="ann", slots={"status": "CLOSED", "severity": "MINOR"})]
    ran = why(tec, process, outcome(Disposition.APPLIED), name_of(AT), log=found)
    assert lines(ran.out)[0] == "change of 1772352001.1 by ann, status=CLOSED, severity=MINOR: APPLIED, log rx:2:352"


@pytest.mark.parametrize("found", [[], [asked(position=AT + 8)], [{"position": AT, "class": "TEC_Notice"}]])
def test_why_where_the_log_is_no_longer_kept(
    tec: Runner, lease: Lease, process: Process, found: list[dict[str, Any]]
) -> None:
    ran = why(tec, process, outcome(Disposition.APPLIED), name_of(AT), log=found)
    assert lines(ran.out) == ["change of 1772352001.1: APPLIED, log rx:2:352", "  no rule fired"]


def test_why_where_the_log_cannot_be_read(tec: Runner, lease: Lease, process: Process) -> None:
    def answer(operation: str, argument: Any) -> Any:
        if operation == "log":
            assert argument == [AT, 1]
            raise Refused("log cannot be answered")
        return outcome(Disposition.APPLIED)

    process("dispatch", answer)
    ran = tec("why", name_of(AT))
    assert (ran.status, ran.err) == (0, "") and ran.out.startswith("change of 1772352001.1: APPLIED")


def test_why_of_what_came_of_a_timer(tec: Runner, lease: Lease, process: Process) -> None:
    fired = json.dumps([["heartbeat", "missed", ["say"], ["generated TEC_Notice"], "1772352000.1", "due"]])
    at_the_tick = [AT, Disposition.FIRED, None, 0, 0, None, fired]
    rules = ["    rule heartbeat/missed for 1772352000.1 when its timer was due, say", "      generated TEC_Notice"]
    derived = {"outcome": at_the_tick, "event": row(4), "later": []}
    before = {"outcome": outcome(Disposition.STORED, eid=1), "event": row(1), "later": [at_the_tick]}
    answers = {1772352004: derived, AT: at_the_tick, 1772352001: before}
    process("dispatch", lambda _, wanted: answers[wanted[0]])
    assert lines(tec("why", "1772352004.1").out) == [
        "1772352004.1 TEC_Notice (OPEN): FIRED, log rx:2:352",
        "  it was derived there: by a timer rule, or because a rule base was activated",
        *[line[2:] for line in rules],
    ]
    assert lines(tec("why", name_of(AT)).out)[:2] == ["rx:2:352: FIRED, log rx:2:352", rules[0][2:]]
    assert lines(tec("why", "1772352001.1").out)[2:] == ["  later: FIRED, log rx:2:352", *rules]


def test_why_of_a_traced_event_says_what_did_not_fire(tec: Runner, lease: Lease, process: Process) -> None:
    rules = [
        ["disk", "wait", ["wait"], ["set a timer"], "", None, ["action count ended at disk.rls:5: fail"]],
        ["disk", "closed", [], [], "", None, ["status: equals 'CLOSED' said no: it was 'OPEN'"]],
        ["disk", "late", [], [], "1.1", "x", ["not tried", "a\x07"]],
        ["", "", [], ["9 more rules are left out"], "", None],
    ]
    tick = [AT, Disposition.FIRED, None, 0, 0, None, json.dumps(rules[2:3])]
    answer = {"outcome": outcome(Disposition.STORED, eid=1, rules=json.dumps(rules)), "event": row(1), "later": [tick]}
    ran = why(tec, process, answer, "1772352001.1")
    late = ["  rule disk/late for 1.1 when its timer was due", "    not tried", "    a\\x07"]
    assert lines(ran.out)[1:] == [
        "  rule disk/wait, wait",
        "    set a timer",
        "    action count ended at disk.rls:5: fail",
        "    9 more rules are left out",
        "  did not fire:",
        "    rule disk/closed",
        "      status: equals 'CLOSED' said no: it was 'OPEN'",
        *[f"  {line}" for line in late],
        "  later: FIRED, log rx:2:352",
        "    did not fire:",
        *[f"    {line}" for line in late],
    ]
    shown = json.loads(tec("why", "--json", "1772352001.1").out)
    assert [rule["rule"] for rule in shown["rules"]] == ["wait", ""]
    assert shown["rules"][0]["ended"] == ["action count ended at disk.rls:5: fail"]
    assert shown["did_not_fire"][0] == {
        "rule_set": "disk",
        "rule": "closed",
        "event": "",
        "timer": None,
        "no": ["status: equals 'CLOSED' said no: it was 'OPEN'"],
    }
    assert shown["later"][0]["did_not_fire"][0]["timer"] == "x"


def test_why_of_changes_that_a_rule_dropped(tec: Runner, lease: Lease, process: Process) -> None:
    dropped = [["guard", "no", ["action_1"], ["dropped the change request for 1772352001.1"], "1772352001.1", None]]
    reason = "the change was dropped by rule guard/no"
    refused = outcome(Disposition.REFUSED, eid=1, reason=reason, rules=json.dumps(dropped))
    answer = {"outcome": outcome(Disposition.STORED, eid=1), "event": row(1), "later": [refused]}
    assert lines(why(tec, process, answer, "1772352001.1").out)[2:] == [
        "  later a change: REFUSED, log rx:2:352",
        f"    {reason}",
        "    rule guard/no for 1772352001.1, action_1",
        "      dropped the change request for 1772352001.1",
    ]


def test_why_of_a_trace(tec: Runner, lease: Lease, process: Process) -> None:
    answer = outcome(Disposition.APPLIED, reason="traced: Disk", date=0, handle=0)
    ran = why(tec, process, answer, name_of(AT))
    assert lines(ran.out) == ["change of what is traced: APPLIED, log rx:2:352", "  traced: Disk"]


def test_why_of_a_position(tec: Runner, lease: Lease, process: Process) -> None:
    answer = outcome(Disposition.REFUSED, reason="there is no event 1.1", date=1)
    ran = why(tec, process, answer, name_of(AT))
    assert lines(ran.out)[:2] == ["change of 1.1: REFUSED, log rx:2:352", "  there is no event 1.1"]


def test_why_of_what_was_rejected(tec: Runner, lease: Lease, process: Process) -> None:
    answer = outcome(Disposition.REJECTED, reason="class\x07", date=0, handle=0)
    assert lines(why(tec, process, answer, name_of(AT)).out) == ["rx:2:352: REJECTED, log rx:2:352", "  class\\x07"]


@pytest.mark.parametrize("name", ["1.1", "rx:1:1"])
def test_why_of_nothing(tec: Runner, lease: Lease, process: Process, name: str) -> None:
    ran = why(tec, process, None, name)
    assert ran.status == 3
    assert f"no outcome of {name} is known" in ran.err


@pytest.mark.parametrize("name", ["1", "rx:1", "x"])
def test_why_of_no_name_is_usage(tec: Runner, lease: Lease, name: str) -> None:
    assert tec("why", name).status == 2
