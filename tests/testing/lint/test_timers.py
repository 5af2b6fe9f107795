"""L601 to L603: timers and who takes them."""

from __future__ import annotations

import pytest

from tests.testing.lint.kit import Look, lines, rule

CLASS = "bo_get_class_of(_event, _class)"


def taker(info: str, *, body: str = "commit_rule", name: str = "Disk_Full") -> str:
    return rule("t", body, kind="timer_rule", event=f"event: _e of_class '{name}'", clauses=info)


def test_nobody_takes_and_nobody_sets(says: Look) -> None:
    text = rule("s", "set_timer(_event, 60, 'late')") + taker("timer_info: equals 'latre',")
    found = says("L6", text)
    assert [(one.code, one.line, one.message) for one in found] == [
        ("L601", 1, "no timer rule takes the timer late"),
        ("L602", 2, "nothing sets a timer that timer_rule 't' takes"),
    ]


@pytest.mark.parametrize(
    ("sets", "takes"),
    [
        ("'late'", "timer_info: equals 'late',"),
        ("'late'", ""),
        ("'late'", "timer_info: _info,"),
        ("'late'", "timer_info: not_equals 'early',"),
        ("'late'", "timer_info: within ['early', 'late'],"),
        ("['late', _class]", "timer_info: equals ['late', 'Disk_Full'],"),
        ("_class", "timer_info: equals 'late',"),
        ("5", "timer_info: equals 5,"),
    ],
)
def test_they_fit(says: Look, sets: str, takes: str) -> None:
    assert says("L6", rule("s", f"{CLASS}, set_timer(_event, 60, {sets})") + taker(takes)) == []


@pytest.mark.parametrize(
    ("sets", "takes"),
    [
        ("'late'", "timer_info: within ['early', 'soon'],"),
        ("['late', 1]", "timer_info: equals ['late', 2],"),
        ("['late', 1]", "timer_info: equals ['late'],"),
        ("5", "timer_info: equals '5',"),
    ],
)
def test_they_do_not_fit(says: Look, sets: str, takes: str) -> None:
    found = says("L6", rule("s", f"set_timer(_event, 60, {sets})") + taker(takes))
    assert lines(found) == [("L601", 1), ("L602", 2)]


def test_an_event_of_another_class(says: Look) -> None:
    found = says("L6", rule("s", "set_timer(_event, 60, 'late')") + taker("timer_info: equals 'late',", name="Disk_OK"))
    assert lines(found) == [("L601", 1), ("L602", 2)]


@pytest.mark.parametrize("body", ["_info = ['late', _x], atom(_x)", "['late', _x] == _info, atom(_x)"])
def test_a_rule_that_takes_the_info_apart_takes_only_that(says: Look, body: str) -> None:
    takes = taker("timer_info: _info,", body=body)
    text = rule("s", "set_timer(_event, 60, 'late')") + rule("u", "set_timer(_event, 60, ['late', a])")
    assert lines(says("L6", text + takes)) == [("L601", 1)]


def test_a_timer_that_is_cancelled_and_never_set(says: Look) -> None:
    text = rule("s", "set_timer(_event, 60, 'late'), cancel_timer(_event, 'late'), cancel_timer(_event, 'lte')")
    (one,) = says("L6", text + taker(""))
    assert (one.code, one.message) == ("L603", "nothing sets a timer lte")


def test_clauses_set_timers_for_any_event(says: Look) -> None:
    text = "later(_e) :- set_timer(_e, 60, 'late').\n" + rule("s", "later(_event)")
    assert says("L6", text + taker("timer_info: equals 'late',", name="Disk_OK")) == []
