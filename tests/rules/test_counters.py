"""Counters by key, and the frequency of simple rules."""

from __future__ import annotations

import pytest

from opentec.rules.predicates import counters
from tests.rules.definitions_kit import TELL, DefinedKit


def test_a_counter_succeeds_from_its_limit_on() -> None:
    kit = DefinedKit("init_count(disks, 3)", "check_and_increment_count(disks)")
    assert [kit.hit(at, "Disk_OK") for at in range(5)] == [False, False, True, True, True]


def test_a_counter_tells_its_number_and_begins_with_nothing() -> None:
    kit = DefinedKit("true", f"check_and_increment_count([_hostname, 1], _n), inttoatom(_n, _text), {TELL}")
    for host in ("a", "b", "a", "a"):
        kit.event(1, "Disk_OK", hostname=host)
    assert kit.messages() == ["1", "1", "2", "3"]


def test_a_given_number_succeeds_exactly_then() -> None:
    kit = DefinedKit("true", "check_and_increment_count(_hostname, 2)")
    assert [kit.hit(at, "Disk_OK", hostname="a") for at in range(4)] == [False, True, False, False]


def test_keys_that_look_alike_are_different() -> None:
    kit = DefinedKit(
        "check_and_increment_count(1, _), check_and_increment_count('1', _), check_and_increment_count(['1'], _)",
        "check_and_increment_count('1', 2)",
    )
    assert kit.hit(1, "Disk_OK")
    assert len(kit.engine._store.section("counter")) == 3


def test_init_count_begins_again_and_reset_keeps_the_limit() -> None:
    kit = DefinedKit(
        "init_count(disks, 2)",
        """( _hostname == 'reset' -> reset_count(disks)
           ; _hostname == 'init' -> init_count(disks) ; check_and_increment_count(disks) ), _hostname == 'x'""",
    )
    hits = [kit.hit(at, "Disk_OK", hostname=host) for at, host in enumerate(["x", "x", "reset", "x", "x"])]
    assert hits == [False, True, False, False, True]
    kit.hit(9, "Disk_OK", hostname="init")
    kit.event(10, "Disk_OK", hostname="x")
    assert kit.errors() == ['counter "disks" has no limit; init_count(key, limit) gives it one']


def test_a_counter_without_a_limit_is_gone_when_it_is_reset() -> None:
    kit = DefinedKit("check_and_increment_count(disks, _), reset_count(disks)", "true")
    assert not kit.engine._store.section("counter")
    assert not any(key.startswith("counter:") for key in kit.repository.state)


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ("init_count(disks, 0)", "the limit of a counter is 1 or more, not 0"),
        ("init_count([a, f(b)])", "the key of a counter is text, a number or a list of them, not '[a, f(b)]'"),
        ("check_and_increment_count(_event, _n)", "the key of a counter is text, a number or a list of them, not '"),
        (f"check_and_increment_count('{'x' * 1100}', _n)", "the key of a counter is longer than 1024 bytes"),
    ],
)
def test_what_is_wrong_is_said(goal: str, message: str) -> None:
    assert DefinedKit(goal, "true").errors()[0].startswith(message)


def test_text_that_is_no_unicode_is_no_key() -> None:
    kit = DefinedKit("check_and_increment_count('\ud800', _n)", "true")
    assert kit.errors() == ["the key of a counter holds text that is no Unicode"]


def test_counters_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "COUNTER_LIMIT", 2)
    kit = DefinedKit("true", "check_and_increment_count(_hostname, _n)")
    for host in "abca":
        kit.event(1, "Disk_OK", hostname=host)
    assert kit.errors() == ["2 counters are open; reset_count those that are not needed any more"]
    assert kit.repository.state['counter:"a"'] == [2, 0]


def test_counters_survive_a_restart() -> None:
    kit = DefinedKit("init_count(disks, 3)", "check_and_increment_count(disks)")
    kit.hit(1, "Disk_OK")
    kit.restart()
    assert [kit.hit(at, "Disk_OK") for at in (2, 3)] == [False, True]


FREQUENCY = "'$frequency_exceeds'(_event, 'set/rule', 2, 60)"


def test_a_frequency_is_exceeded_by_one_more_than_the_number_and_begins_anew() -> None:
    kit = DefinedKit("true", FREQUENCY)
    hits = [kit.hit(at, "Disk_OK") for at in (0, 30, 60, 61, 62, 63)]
    assert hits == [False, False, True, False, False, True]


def test_a_frequency_looks_back_from_each_event() -> None:
    kit = DefinedKit("true", FREQUENCY)
    assert [kit.hit(at, "Disk_OK") for at in (0, 50, 61, 110)] == [False, False, False, True]


def test_an_event_is_counted_once_for_a_frequency() -> None:
    kit = DefinedKit("true", f"( {FREQUENCY} ; {FREQUENCY} )")
    assert [kit.hit(at, "Disk_OK") for at in (0, 1, 2)] == [False, False, True]


def test_a_frequency_survives_a_restart() -> None:
    kit = DefinedKit("true", FREQUENCY)
    kit.hit(0, "Disk_OK")
    kit.hit(1, "Disk_OK")
    kit.restart()
    assert kit.hit(2, "Disk_OK")


@pytest.mark.parametrize(("number", "seconds"), [(1000, 60), (-1, 60), (3, 0), (3, 10**9)])
def test_a_frequency_has_bounds(number: int, seconds: int) -> None:
    kit = DefinedKit(f"'$frequency_exceeds'(_event, r, {number}, {seconds})", "true")
    assert kit.errors() == ["frequency_exceeds takes 0 to 999 events within a second to ten years"]
