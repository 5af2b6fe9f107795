"""Rules that are never reached: proven from the sources, or so in every test."""

from __future__ import annotations

import pytest

from opentec.testing.coverage_data import CoverageData, Dead, dead
from tests.testing.coverage_kit import Covered

TAKES = "action: ( commit_set )"
LATER = "rule: b: ( event: _e of_class 'Disk_Full' where [ {filter} ], reception_action: ( true ) )."


def found(*texts: str, **settings: bool) -> list[Dead]:
    """What is dead in these rule sets before any test."""
    return dead(Covered(*texts, **settings).coverage.data())


def shadowed(first: str, second: str, between: str = "") -> bool:
    """Whether a rule with the first filter, which commits the rule set, shadows one with the second."""
    one = f"rule: a: ( event: _e of_class 'Disk' where [ {first} ], {TAKES} )."
    return [dead.rule for dead in found(one + between + LATER.format(filter=second))] == ["set1/b"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("hostname: equals h1", "hostname: equals h1"),
        ("hostname: within [h1, h2]", "hostname: equals h2, size: greater_than 5"),
        ("hostname: within [h1, h2]", "hostname: within [h2]"),
        ("hostname: outside [h1]", "hostname: equals h2"),
        ("hostname: not_equals h1", "hostname: outside [h1, h2]"),
        ("hostname: _h", "hostname: equals h1"),
        ("size: greater_than 5", "size: greater_than 5"),
        ("size: outside [5]", "size: equals 6"),
    ],
)
def test_a_narrower_rule_behind_one_that_commits(first: str, second: str) -> None:
    assert shadowed(first, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("hostname: equals h1", "hostname: equals h2"),
        ("hostname: equals h1", ""),
        ("hostname: _h", ""),  # an event without a value
        ("hostname: within [h1]", "hostname: within [h1, h2]"),
        ("hostname: outside [h1, h2]", "hostname: outside [h1]"),
        ("hostname: equals h1, size: equals 5", "hostname: equals h1"),
        ("msg: _m, hostname: equals _m", "msg: equals h1, hostname: equals h1"),
        ("hostname: _h, msg: _h", "hostname: equals h1, msg: equals h1"),
        ("severity: outside ['WARNING']", "severity: equals 30"),  # a member and its number
        ("severity: greater_than 'WARNING'", "severity: equals 'FATAL'"),  # an order that is not known here
    ],
)
def test_one_that_may_take_others(first: str, second: str) -> None:
    assert not shadowed(first, second)


def test_rules_between_may_change_what_is_asked() -> None:
    change = "rule: m: ( event: _e of_class 'Disk' where [ ], action: ( bo_set_slotval(_e, hostname, h1) ) )."
    assert not shadowed("hostname: equals h1", "hostname: equals h1", change)
    quiet = change.replace("bo_set_slotval(_e, hostname, h1)", "set_timer(_e, 5, a), _x = 1, drop_received_event")
    assert shadowed("hostname: equals h1", "hostname: equals h1", quiet)
    clause = "p(_e). rule: m: ( event: _e of_class 'Disk' where [ ], action: ( p(_e) ) )."
    assert not shadowed("hostname: equals h1", "hostname: equals h1", clause)
    other = change.replace("'Disk'", "'Link'")
    assert shadowed("hostname: equals h1", "hostname: equals h1", other)


@pytest.mark.parametrize(
    ("body", "ends"),
    [
        ("drop_received_event, commit_set", True),
        ("commit_set, set_event_message(_e, x)", True),
        ("first_instance(event: _d of_class 'Link'), commit_set", False),
        ("\\+ received_event_dropped, commit_set", False),
        ("commit_rule", False),
        ("drop_received_event", False),
    ],
)
def test_what_ends_evaluation_for_certain(body: str, ends: bool) -> None:
    one = f"rule: a: ( event: _e of_class 'Disk' where [ msg: _m ], reception_action: ( {body} ) )."
    assert bool(found(one + LATER.format(filter="msg: equals x"))) is ends


def test_settings_say_what_ends_what() -> None:
    one = "rule: a: ( event: _e of_class 'Disk' where [ msg: _m ], reception_action: ( {} ) )."
    two = LATER.format(filter="msg: equals x")
    assert found(one.format("commit_rule") + two, commit_rule_ends_set=True)
    assert not found(one.format("commit_set"), two)  # another rule set goes on
    (dead,) = found(one.format("drop_received_event"), two, drop_ends=True)
    assert dead.why == "never reached: set1/a takes every such event and ends all rules before it"
    before = "rule: z: ( event: _e of_class 'Disk' where [ size: equals 5 ], action: ( commit_set ) )."
    assert not found(before + one.format("drop_received_event"), two, drop_ends=True)


def test_all_phases_must_be_taken() -> None:
    one = "rule: a: ( event: _e of_class 'Disk' where [ msg: _m ], {}: ( commit_set ) )."
    two = "rule: b: ( event: _e of_class 'Disk' where [ msg: equals x ], {}: ( true ) )."
    assert not found(one.format("reception_action") + two.format("action"))
    assert not found(one.format("reception_action") + two.format("redo_action"))
    assert found(one.format("reception_action") + two.format("reception_action"))
    assert found(one.format("action") + two.format("redo_action"))


def test_timer_rules_and_change_rules() -> None:
    timer = "timer_rule: {}: ( event: _e of_class 'Disk' where [ ], timer_info: {}, action: ( commit_set ) )."
    assert found(timer.format("a", "within [x, y]") + timer.format("b", "equals x"))
    assert not found(timer.format("a", "equals x") + timer.format("b", "equals y"))
    change = (
        "change_rule: {}: ( event: _e of_class 'Disk' where [ ], sender: {}, attribute: {} set_to: {}, "
        "action: ( commit_set ) )."
    )
    anybody = change.format("a", "_s", "status", "within ['ACK', 'CLOSED']")
    assert not found(anybody + change.format("b", "_s", "status", "equals 'ACK'"))  # a sender is not looked into
    assert not found(anybody + change.format("b", "_s", "severity", "equals 'FATAL'"))


def test_the_place_and_the_reason() -> None:
    (dead,) = found(
        "rule: a: ( event: _e of_class 'Disk' where [ msg: _m ], action: ( commit_set ) ).\n"
        + LATER.format(filter="msg: equals x")
    )
    why = "never reached: set1/a takes every such event and ends the rule set before it"
    assert dead == Dead("set1/b", "base/set1.rls:2", "set1/a", why, proven=True)


OBSERVED = """
rule: a: ( event: _e of_class 'Disk' where [ size: greater_than 5 ], action: ( commit_set ) ).
rule: b: ( event: _e of_class 'Disk_Full' where [ msg: equals x ], action: ( true ) ).
rule: c: ( event: _e of_class 'Link' where [ ], action: ( true ) ).
"""


def reasons(data: CoverageData) -> dict[str, str]:
    return {one.rule: one.why for one in dead(data)}


def test_what_no_test_reached() -> None:
    kit = Covered(OBSERVED)
    assert reasons(kit.coverage.data()) == {}
    kit.event(0, "Disk_Full", size=6)
    why = "never reached: set1/a ended evaluation before it in every test that has an event for it"
    assert reasons(kit.coverage.data()) == {"set1/b": why}
    assert f"      base/set1.rls:3: rule b never fired: {why}" in kit.report()
    assert "      base/set1.rls:4: rule c never fired: there was no event for it" in kit.report()
    assert not any("msg: equals 'x'" in line for line in kit.report())  # one line says all
    kit.event(1, "Disk_Full", size=5)
    assert reasons(kit.coverage.data()) == {}
    assert any("msg: equals 'x' was never true" in line for line in kit.report())


def test_a_drop_that_ends_evaluation_ends_the_sets_behind() -> None:
    texts = (
        OBSERVED.replace("commit_set", "drop_received_event"),
        "rule: d: ( event: _e of_class 'Disk' where [ ], action: ( true ) ).",
    )
    kit = Covered(*texts, drop_ends=True)
    kit.event(0, "Disk_Full", size=6)
    assert set(reasons(kit.coverage.data())) == {"set1/b", "set2/d"}
    other = Covered(*texts)
    other.event(0, "Disk_Full", size=6)
    assert reasons(other.coverage.data()) == {}


def test_a_commit_of_another_kind_of_rule_ends_nothing() -> None:
    kit = Covered("""
change_rule: a: ( event: _e of_class 'Disk' where [ ], sender: _s, attribute: status set_to: _v,
  action: ( commit_set ) ).
rule: b: ( event: _e of_class 'Disk' where [ ], action: ( commit_rule ) ).
timer_rule: t: ( event: _e of_class 'Disk' where [ ], action: ( true ) ).
""")
    disk = kit.event(0, "Disk").inserted[0]
    kit.change(1, disk.key, status="ACK")
    assert reasons(kit.coverage.data()) == {}


def test_a_guard_that_never_held_is_named() -> None:
    kit = Covered("""
rule: a: ( event: _e of_class 'Disk' where [ size: equals 5 ], action: ( global_exists(s, on), true ),
  action: ( global_exists(s, on), fail ) ).
""")
    kit.event(0, "Disk", size=5)
    assert any(
        "there was no event for it while its first goals held: global_exists(s, on)" in line for line in kit.report()
    )
