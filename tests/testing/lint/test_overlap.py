"""L201 to L203: rules in each other's way."""

from __future__ import annotations

import pytest

from tests.testing.lint.kit import Look, lines, rule

DISK = "event: _event of_class 'Disk'"


def where(conditions: str, name: str = "Disk_Full") -> str:
    return f"event: _event of_class '{name}' where [{conditions}]"


def severity(value: str, more: str = "") -> str:
    return f"set_event_severity(_event, '{value}'){more}"


def test_two_rules_that_set_a_slot_otherwise(says: Look) -> None:
    text = rule("a", severity("MINOR")) + rule("b", severity("FATAL"), event=DISK)
    (one,) = says("L201", text)
    assert (one.line, one.severity) == (2, "warning")
    assert one.message == (
        "rule 'a' in line 1 takes the same events and sets severity to 'MINOR', this sets it to 'FATAL'"
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # the same value; the first ends the set; conditions that exclude each other; classes that do
        (rule("a", severity("FATAL")), rule("b", severity("FATAL"))),
        (rule("a", severity("MINOR", ", commit_set")), rule("b", severity("FATAL"))),
        (
            rule("a", severity("MINOR"), event=where("status: equals 'OPEN'")),
            rule("b", severity("FATAL"), event=where("status: equals 'ACK'")),
        ),
        (rule("a", severity("MINOR")), rule("b", severity("FATAL"), event="event: _event of_class 'Disk_OK'")),
        # an exception to the rule before; one that asks first
        (rule("a", severity("MINOR")), rule("b", severity("FATAL"), event=where("used: greater_than 90"))),
        (rule("a", severity("MINOR"), event=DISK), rule("b", severity("FATAL"))),
        (rule("a", severity("MINOR")), rule("b", f"global_exists(a, b), {severity('FATAL')}")),
        # not the event itself, and not a constant
        (
            rule("a", severity("MINOR")),
            rule("b", "all_instances(event: _o of_class 'Disk'), set_event_severity(_o, 'FATAL')"),
        ),
        (rule("a", severity("MINOR")), rule("b", "get_global_var(a, b, _x, c), set_event_severity(_event, _x)")),
    ],
)
def test_no_conflict(says: Look, first: str, second: str) -> None:
    assert says("L201", first + second) == []


def test_slots_are_set_in_several_ways(says: Look) -> None:
    text = rule("a", "bo_set_slotval(_event, msg, 'a')") + rule("b", "set_event_message(_event, 'b')")
    assert lines(says("L201", text)) == [("L201", 2)]


def test_a_condition_on_a_slot_that_no_common_class_has(says: Look) -> None:
    drive = "event: _event of_class within ['Disk_OK', 'TEC_Other'] where [drive: equals 'C:']"
    text = rule("a", severity("MINOR"), event=drive.replace("'Disk_OK', 'TEC_Other'", "'Disk_OK'"))
    assert says("L201", text + rule("b", severity("FATAL"))) == []


def test_what_is_done_for_a_dropped_event(says: Look) -> None:
    drop = rule("a", "first_duplicate(_event, event: _d where []), drop_received_event")
    make = "generate_event('Disk_OK', [])"
    assert lines(says("L201", drop + rule("b", make))) == [("L201", 2)]


@pytest.mark.parametrize(
    ("end", "begin"), [(", commit_set", ""), ("", "\\+ received_event_dropped, ")], ids=["ends the set", "asks"]
)
def test_a_drop_that_is_minded(says: Look, end: str, begin: str) -> None:
    drop = rule("a", f"first_duplicate(_event, event: _d where []), drop_received_event{end}")
    assert says("L201", drop + rule("b", f"{begin}generate_event('Disk_OK', [])")) == []


TAKES = where("severity: equals 'FATAL'")


def test_a_rule_behind_one_that_takes_all_of_it(says: Look) -> None:
    text = rule("a", "drop_received_event, commit_set", event=TAKES)
    text += rule("b", "commit_rule", event=where("severity: equals 'FATAL', status: equals 'OPEN'"))
    (one,) = says("L202", text)
    assert one.line == 2
    assert one.message == "rule 'b' is never reached: 'a' in line 1 takes every such event and commits the rule set"


@pytest.mark.parametrize(
    ("first", "between"),
    [
        (rule("a", "global_exists(x, y), commit_set", event=TAKES), ""),  # may fail
        (rule("a", "drop_received_event, commit_rule", event=TAKES), ""),  # ends itself only
        (rule("a", "commit_set", event=where("severity: equals 'MINOR'")), ""),
        (rule("a", "commit_set", event=where("severity: equals 'FATAL', drive: equals 'C:'")), ""),
        (rule("a", "commit_set", event=TAKES), rule("x", severity("FATAL"))),  # may be FATAL since
        (
            rule("a", "commit_set", event=TAKES),
            "mine(_e) :- set_event_severity(_e, 'FATAL').\n" + rule("x", "mine(_event)"),
        ),
        (rule("a", "commit_set", event=TAKES), rule("x", "bo_set_slotval(_event, severity, 'FATAL')")),
        (rule("a", "commit_set", event=TAKES), rule("x", "bo_reset_default_slotval(_event, severity)")),
        (rule("a", "commit_set", event=where("severity: _s equals 'FATAL', msg: equals _s")), ""),
    ],
)
def test_a_rule_that_may_be_reached(says: Look, first: str, between: str) -> None:
    assert says("L202", first + between + rule("b", "commit_rule", event=TAKES)) == []


@pytest.mark.parametrize(("first", "second"), [("reception_action", "redo_action"), ("reception_action", "action")])
def test_a_redo_action_may_be_reached_all_the_same(says: Look, first: str, second: str) -> None:
    text = rule("a", "commit_set", event=TAKES).replace("reception_action", first)
    assert says("L202", text + rule("b", "commit_rule", event=TAKES).replace("reception_action", second)) == []


def test_an_action_in_both_phases_takes_both(says: Look) -> None:
    text = rule("a", "commit_set", event=TAKES).replace("reception_action", "action")
    found = says("L202", text + rule("b", "commit_rule", event=TAKES).replace("reception_action", "redo_action"))
    assert lines(found) == [("L202", 2)]


def test_an_action_that_may_end_the_rule_before(says: Look) -> None:
    early = "reception_action: x: ( global_exists(a, b), commit_rule ), reception_action: y"
    text = rule("a", "commit_set", event=TAKES).replace("reception_action", early)
    assert says("L202", text + rule("b", "commit_rule", event=TAKES)) == []


def test_a_rule_that_was_copied(says: Look) -> None:
    text = rule("a", "global_exists(a, b), commit_rule") + rule("b", "global_exists(a, 'b'),\n commit_rule")
    assert lines(says("L203", text)) == [("L203", 2)]


def test_rules_that_differ_in_a_word(says: Look) -> None:
    text = rule("a", "global_exists(a, b)") + rule("b", "global_exists(a, c)")
    text += rule("c", "commit_rule", kind="timer_rule", clauses="timer_info: equals 'a',")
    text += rule("d", "commit_rule", kind="timer_rule", clauses="timer_info: equals 'b',")
    assert says("L203", text) == []


def test_filters_that_compare_two_slots_take_less_than_they_seem_to(says: Look) -> None:
    same = where("hostname: _h, drive: _h")
    text = rule("a", "commit_set", event=same) + rule("b", "commit_rule", event=where("hostname: _h, drive: _d"))
    assert says("L202", text) == []


def test_a_slot_that_is_only_read_asks_for_nothing(says: Look) -> None:
    text = rule("a", "commit_set", event=where("severity: _s equals 'FATAL', drive: _d"))
    assert lines(says("L202", text + rule("b", "commit_rule", event=TAKES))) == [("L202", 2)]
