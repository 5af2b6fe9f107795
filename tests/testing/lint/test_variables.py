"""L102: variables that stand once."""

from __future__ import annotations

import pytest

from tests.testing.lint.kit import Look, lines, rule


def test_a_slip_of_the_pen_is_told_with_the_name_that_is_near(says: Look) -> None:
    event = "event: _event of_class 'Disk' where [drive: _drive, used: _used]"
    (one,) = says("L102", rule("r", "set_event_message(_event, _drive), integer(_driv), _used > 1", event=event))
    assert "variable _driv stands only here" in one.message
    assert one.hint.startswith("did you mean _drive?")
    assert (one.end_column - one.column) == len("_driv")


@pytest.mark.parametrize(
    "body",
    [
        "first_instance(event: _other of_class 'Disk'), commit_rule",  # an event variable is part of a filter
        "get_global_var(g, n, _, none)",
        "get_global_var(g, n, __whatever, none)",
        "get_global_var(g, n, _x, none), ( _x = a ; _x = b )",
        "findall(_h, all_instances(event: _o of_class 'Disk' where [hostname: _h]), _l), length(_l, 3)",
    ],
)
def test_what_is_no_slip(says: Look, body: str) -> None:
    assert says("L102", rule("r", body)) == []


def test_what_the_filter_binds_may_be_used_in_any_action(says: Look) -> None:
    event = "event: _event of_class 'Disk' where [drive: _a, used: _b]"
    text = f"rule: r: ( {event}, action: x: ( atom(_a) ), action: y: ( _b > 1, _c is 1 ) ).\n"
    assert [one.message for one in says("L102", text)] == ["variable _c stands only here"]


def test_the_same_name_in_two_actions_stands_once_in_each(says: Look) -> None:
    event = "event: _event of_class 'Disk'"
    text = f"rule: r: ( {event},\n action: x: ( _c is 1 ),\n action: y: ( _c is 2 ) ).\n"
    assert lines(says("L102", text)) == [("L102", 2), ("L102", 3)]


def test_clauses_count_by_themselves(says: Look) -> None:
    text = "big(_x, _y) :- _x > 9.\nbig(0, _).\n" + rule("r", "big(1, 2)")
    assert [(one.line, one.message) for one in says("L102", text)] == [(1, "variable _y stands only here")]


def test_a_change_rule_may_name_its_sender(says: Look) -> None:
    event = "event: _event of_class 'Disk'"
    clauses = "sender: _sender within [operator(_name)], attribute: severity set_to _value,"
    text = rule("r", "drop_change_request", kind="change_rule", event=event, clauses=clauses)
    assert [one.message.split()[1] for one in says("L102", text)] == ["_name", "_value"]


def test_variables_that_a_correlation_rule_makes_are_not_looked_at(says: Look) -> None:
    text = "correlation_rule: c:\n  event_relation: Disk_Full causes Disk_OK\n  within: 10 minutes.\n"
    assert says("L102", text) == []
