"""What is seen of rules, conditions, actions, timers, clauses and classes."""

from __future__ import annotations

import pytest

from opentec.rules.compiled import compile_rules
from opentec.rules.engine import Engine
from opentec.rules.profile import Profile
from opentec.rules.selectors.indexed import IndexedSelector
from opentec.rules.watching import Watchers
from opentec.testing.coverage import Coverage, fully_covered, percent
from opentec.testing.coverage_data import ACTION, BOTH, CLASS, CLAUSE, CONDITION, RULE, TIMER
from tests.rules.engine_kit import Kit
from tests.testing.coverage_kit import Covered, missing, texts

FILTER = """
rule: full: ( event: _e of_class 'Disk_Full'
    where [ hostname: _h equals h1, size: greater_than 10, drive: _d, msg: equals _d, sub_source: _h ],
  reception_action: say: ( set_event_message(_e, 'full') ) ).
"""


def test_nothing_was_seen_yet() -> None:
    kit = Covered(FILTER)
    data = kit.coverage.data()
    assert percent(data) == 0
    assert not fully_covered(data)
    assert missing(data, RULE) == {"full": ("fired",)}
    assert missing(data, ACTION) == {"reception_action say": ("ended",)}
    assert set(texts(data, CONDITION)) == {
        "of_class 'Disk_Full'",
        "hostname: equals 'h1'",
        "size: greater_than 10",
        "msg: equals _d",
        "sub_source: _h",  # the second time it asks for the same value; `drive: _d` asks nothing
    }


def test_each_condition_is_seen_true_and_false() -> None:
    kit = Covered(FILTER)
    both = ("true", "false")
    kit.event(0, "Disk_OK", hostname="h1")
    assert kit.missing(CONDITION)["of_class 'Disk_Full'"] == ("true",)
    assert kit.missing(CONDITION)["hostname: equals 'h1'"] == both
    kit.event(1, "Disk_Full", hostname="h2", size=11)  # the selector alone would not give it to the rule
    found = kit.missing(CONDITION)
    assert "of_class 'Disk_Full'" not in found
    assert found["hostname: equals 'h1'"] == ("true",)
    assert found["size: greater_than 10"] == both
    kit.event(2, "Disk_Full", hostname="h1", size=10)
    found = kit.missing(CONDITION)
    assert "hostname: equals 'h1'" not in found
    assert found["size: greater_than 10"] == ("true",)
    kit.event(3, "Disk_Full", hostname="h1", size=11, drive="C:", msg="D:")
    found = kit.missing(CONDITION)
    assert "size: greater_than 10" not in found
    assert found["msg: equals _d"] == ("true",)
    kit.event(4, "Disk_Full", hostname="h1", size=11, drive="C:", msg="C:", sub_source="x")
    assert kit.missing(CONDITION) == {"sub_source: _h": ("true",)}
    assert kit.missing(RULE)
    kit.event(5, "Disk_Full", hostname="h1", size=11, drive="C:", msg="C:", sub_source="h1")
    data = kit.coverage.data()
    assert (percent(data), fully_covered(data)) == (100, True)
    assert kit.values("msg")[-1] == "full"


def test_a_class_that_every_event_has_is_no_condition() -> None:
    kit = Covered("rule: any: ( event: _e of_class 'EVENT', action: ( true ) ).")
    assert texts(kit.coverage.data(), CONDITION) == []


def test_actions_that_began_and_did_not_end() -> None:
    kit = Covered("""
rule: two: ( event: _e of_class 'Disk' where [ ],
  reception_action: one: ( bo_get_slotval(_e, size, _n), _n > 5, drop_received_event ),
  reception_action: two: ( bo_get_slotval(_e, size, _n), ( _n > 7 ; _n < 0 ), commit_rule ),
  reception_action: three: ( true ) ).
""")
    kit.event(0, "Disk", size=1)
    assert kit.missing(ACTION) == {"reception_action one": ("ended",), "reception_action two": ("ended",)}
    report = "\n".join(kit.report())
    assert (
        "rule two: reception_action one never reached its end: it never came behind base/set1.rls:3: _n > 5" in report
    )
    assert (
        "reception_action two never reached its end: it never came behind base/set1.rls:4: (_n > 7) ; (_n < 0)"
        in report
    )
    kit.event(1, "Disk", size=6)
    kit.event(2, "Disk", size=8)
    assert kit.missing(ACTION) == {}
    assert fully_covered(kit.coverage.data())


def test_an_action_behind_a_commit_is_never_begun() -> None:
    kit = Covered("""
rule: two: ( event: _e of_class 'Disk' where [ size: _n ],
  reception_action: one: ( _n > 5, commit_rule ), reception_action: two: ( true ) ).
""")
    kit.event(0, "Disk", size=6)
    assert any(line.endswith("rule two: reception_action two was never begun") for line in kit.report())


def test_an_action_that_always_fails_ends_where_it_fails() -> None:
    kit = Covered("""
rule: all: ( event: _e of_class 'Disk' where [ ],
  action: ( first_instance(event: _d of_class 'Disk_OK'), set_event_message(_d, 'x'), fail ) ).
""")
    kit.event(0, "Disk_Full")
    assert kit.missing(ACTION) == {"action action_1": ("ended",)}
    kit.event(1, "Disk_OK")
    kit.event(2, "Disk_Full")
    assert kit.missing(ACTION) == {}
    assert kit.missing(RULE) == {}


def test_what_a_rule_did_before_it_failed_is_firing() -> None:
    kit = Covered("""
rule: fails: ( event: _e of_class 'Disk' where [ ],
  action: ( set_event_message(_e, 'x'), bo_get_slotval(_e, msg, _m), _x is _m + 1 ) ).
""")
    kit.event(0, "Disk")
    assert kit.missing(RULE) == {}
    assert kit.missing(ACTION) == {"action action_1": ("ended",)}


def test_redo_actions_are_their_own() -> None:
    kit = Covered("""
rule: r: ( event: _e of_class 'Disk' where [ ],
  reception_action: first: ( true ), redo_action: again: ( true ), action: both: ( true ) ).
rule: back: ( event: _e of_class 'Link' where [ ],
  action: ( first_instance(event: _d of_class 'Disk'), redo_analysis(_d) ) ).
""")
    kit.event(0, "Disk")
    assert kit.missing(ACTION, "r") == {"redo_action again": ("ended",)}
    kit.event(1, "Link")
    assert kit.missing(ACTION) == {}


TIMERS = """
late(_e) :- set_timer(_e, 9, 'late').
rule: r: ( event: _e of_class 'Disk' where [ size: _n ],
  action: ( ( _n > 5 -> set_timer(_e, 5, 'a') ; set_timer(_e, 5, 'a') ) ),
  action: ( _n > 7, late(_e) ) ).
timer_rule: t: ( event: _e of_class 'Disk_Full' where [ ], timer_duration: equals 5, timer_info: equals 'a',
  action: ( true ) ).
"""


def test_each_goal_that_sets_a_timer_is_told_from_the_others() -> None:
    kit = Covered(TIMERS)
    items = [item for item in kit.coverage.data().items if item.kind == TIMER]
    assert [(item.rule, item.text, item.place) for item in items] == [
        ("r", "set_timer(_e, 5, a)", "base/set1.rls:4"),
        ("r", "set_timer(_e, 5, a)", "base/set1.rls:4"),
        ("", "set_timer(_e, 9, late)", "base/set1.rls:2"),
    ]
    seen = [(item.at, item.at + 1) for item in items]

    def state() -> list[tuple[int, int]]:
        sides = kit.coverage.data().seen
        return [(sides[was_set], sides[fired]) for was_set, fired in seen]

    kit.event(0, "Disk_Full", size=1)
    assert state() == [(0, 0), (1, 0), (0, 0)]
    kit.tick(5)
    assert state() == [(0, 0), (1, 1), (0, 0)]
    kit.event(6, "Disk_OK", size=8)
    assert state() == [(1, 0), (1, 1), (1, 0)]
    kit.tick(12)
    assert state() == [(1, 1), (1, 1), (1, 0)]
    assert kit.missing(TIMER) == {"set_timer(_e, 9, late)": ("fired",)}
    assert any(line.endswith("set1.rls:2: set_timer(_e, 9, late) never fired") for line in kit.report())
    kit.tick(16)
    assert kit.missing(TIMER) == {}
    assert kit.missing(CLAUSE) == {}


def test_conditions_of_timer_rules() -> None:
    kit = Covered(TIMERS)
    kit.event(0, "Disk_Full", size=8)
    kit.tick(5)
    assert kit.missing(CONDITION, "t") == {
        "of_class 'Disk_Full'": ("false",),
        "timer_duration: equals 5": ("false",),
        "timer_info: equals 'a'": ("false",),
    }
    kit.tick(9)
    kit.event(10, "Disk_OK", size=1)
    kit.tick(15)
    assert kit.missing(CONDITION, "t") == {"timer_info: equals 'a'": ("false",)}


@pytest.mark.parametrize(
    ("other", "must_fail"),
    [
        ("true, ( true, true, true )", []),
        ("set_timer(_e, 7, 'b')", []),
        ("set_timer(_e, 6, 'a')", ["timer_duration"]),
        ("set_timer(_e, 5, 'c')", ["timer_info"]),
        ("set_timer(_e, 5, [a])", ["timer_info"]),
        ("bo_get_slotval(_e, size, _n), set_timer(_e, _n, 'a')", ["timer_duration"]),
        ("later(_e)", ["of_class"]),
        ("first_instance(event: _d of_class 'EVENT'), set_timer(_d, 5, 'a')", ["of_class"]),
    ],
)
def test_what_all_timers_meet_need_not_be_seen_false(other: str, must_fail: list[str]) -> None:
    clause = "later(_e) :- set_timer(_e, 5, 'a')." if other.startswith("later") else ""
    kit = Covered(f"""
{clause}
rule: r: ( event: _e of_class 'Disk_Full' where [ ], action: ( set_timer(_e, 5, 'a') ), action: ( {other} ) ).
timer_rule: t: ( event: _e of_class 'Disk' where [ ], timer_duration: within [5, 7],
  timer_info: outside ['c'], action: ( true ) ).
""")
    items = [item for item in kit.coverage.data().items if item.kind == CONDITION and item.rule == "t"]
    assert [item.text.partition(":")[0].partition(" ")[0] for item in items if item.sides == BOTH] == must_fail


def test_timers_of_other_classes_are_not_asked() -> None:
    kit = Covered("""
rule: r: ( event: _e of_class 'Disk_Full' where [ ], action: ( set_timer(_e, 5, 'a') ) ).
rule: l: ( event: _e of_class 'Link' where [ ], action: ( set_timer(_e, 5, 'b') ) ).
timer_rule: t: ( event: _e of_class 'Disk' where [ ], timer_info: equals 'a', action: ( true ) ).
timer_rule: v: ( event: _e of_class 'Link' where [ ], timer_info: _i, timer_duration: smaller_than 6,
  action: ( true ) ).
""")
    kit.event(0, "Disk_Full")
    kit.tick(5)
    assert kit.missing(CONDITION, "t") == {"of_class 'Disk'": ("false",)}
    kit.event(6, "Link")
    kit.tick(11)
    assert kit.missing(CONDITION, "t") == {}
    # an order is not judged beforehand
    assert kit.missing(CONDITION, "v") == {"timer_duration: smaller_than 6": ("false",)}


def test_a_test_that_begins_forgets_the_timers_of_the_one_before() -> None:
    kit = Covered(TIMERS)
    kit.event(0, "Disk_Full", size=1)
    kit.coverage.begin()
    kit.tick(5)
    assert kit.missing(TIMER)["set_timer(_e, 5, a)"]


CHANGES = """
change_rule: c: ( event: _e of_class 'Disk' where [ ], sender: _s within [operator(_)], attribute: status
  set_to: equals 'ACK', action: ( drop_change_request ) ).
rule: ask: ( event: _e of_class 'Link_Down' where [ ],
  action: ( all_instances(event: _d of_class 'EVENT'), change_event_status(_d, 'ACK') ) ).
rule: raise: ( event: _e of_class 'Link_Up' where [ ], action: ( change_event_severity(_e, 'FATAL') ) ).
"""


def change_conditions(kit: Covered) -> dict[str, tuple[str, ...]]:
    return {text.partition(":")[0].partition(" ")[0]: sides for text, sides in kit.missing(CONDITION, "c").items()}


def test_conditions_of_change_rules() -> None:
    both = ("true", "false")
    kit = Covered(CHANGES)
    disk, other = (kit.event(0, "Disk", hostname=name).inserted[0] for name in ("h1", "h2"))
    assert change_conditions(kit) == {"attribute": both, "of_class": both, "sender": both, "set_to": both}
    kit.change(1, disk.key, status="RESPONSE")  # refused before any rule is asked
    assert change_conditions(kit)["of_class"] == both
    kit.change(1, disk.key, status="CLOSED")
    assert change_conditions(kit) == {
        "attribute": ("false",),
        "of_class": ("false",),
        "sender": ("false",),
        "set_to": ("true",),
    }
    kit.change(2, other.key, status="ACK")
    kit.event(3, "Link_Down")
    assert change_conditions(kit) == {"attribute": ("false",), "of_class": ("false",)}
    kit.event(3, "Link_Down")  # asks for a change of the one before
    assert change_conditions(kit) == {"attribute": ("false",)}
    kit.event(4, "Link_Up")  # no change rule is about severities
    assert change_conditions(kit) == {}
    assert kit.missing(RULE) == {}


def test_an_operator_and_a_clearing_event_ask_too() -> None:
    kit = Covered(CHANGES.replace("attribute: status\n  set_to: equals 'ACK'", "attribute: severity"))
    disk = kit.event(0, "Disk", hostname="h1").inserted[0]
    kit.event(1, "Disk", hostname="h1", status="CLOSED")
    assert change_conditions(kit)["attribute"] == ("true",)
    other = Covered(CHANGES.replace("attribute: status\n  set_to: equals 'ACK'", "attribute: severity"))
    other.event(0, "Disk", hostname="h1")
    other.change(1, disk.key, status="ACK")
    assert change_conditions(other)["attribute"] == ("true",)


def test_the_rules_of_a_correlation_rule_are_one() -> None:
    kit = Covered("""
correlation_rule: cr: description: 'why' event_relation: Link_Down causes Disk_Full
  when: [ Link_Down.hostname equals Disk_Full.hostname, Disk_Full.size greater_than 5 ].
""")
    data = kit.coverage.data()
    assert texts(data, RULE) == ["cr"]
    assert texts(data, ACTION) == ["what is done when Disk_Full arrives", "what is done when Link_Down arrives"]
    kit.event(0, "Link_Down", hostname="h1")
    kit.event(1, "Disk_Full", hostname="h1", size=6)
    assert kit.missing(RULE) == {}
    assert kit.missing(ACTION) == {"what is done when Link_Down arrives": ("ended",)}


def test_classes_that_rules_mention() -> None:
    kit = Covered("""
find(_d) :- first_instance(event: _d of_class 'Link_Down').
rule: r: ( event: _e of_class 'Disk' where [ ],
  action: ( find(_), all_instances(event: _l of_class within ['Link_Up']), generate_event('Disk_OK', [msg = x]) ) ).
""")
    assert set(kit.missing(CLASS)) == {"Disk", "Link_Down", "Link_Up", "Disk_OK"}
    kit.event(0, "Link_Down")
    kit.event(1, "Link_Up")
    assert set(kit.missing(CLASS)) == {"Disk", "Disk_OK"}
    kit.event(2, "Disk_Full")  # is a Disk
    assert kit.missing(CLASS) == {}  # it was generated


def test_an_event_that_was_dropped_or_rejected() -> None:
    kit = Covered("""
rule: r: ( event: _e of_class 'Disk' where [ ], action: ( drop_received_event ) ).
rule: l: ( event: _e of_class 'Link' where [ ], action: ( true ) ).
""")
    kit.event(0, "Disk")
    assert set(kit.missing(CLASS)) == {"Link"}
    kit.event(1, "Link", nonsense="x")
    kit.process(kit.log.rejected(2, "why"))
    assert set(kit.missing(CLASS)) == {"Link"}


def test_clauses_are_called_and_what_is_called_at_run_time_does_not_count() -> None:
    kit = Covered("""
small(_n) :- _n < 5.
big(_n) :- _n > 5.
big(_n, _x) :- _g = ( _x is _n + 1 ), call(_g).
fact(1).
rule: r: ( event: _e of_class 'Disk' where [ size: _n ], action: ( fact(1), small(_n), big(_n, _) ) ).
""")
    assert texts(kit.coverage.data(), CLAUSE) == ["small(_n)", "big(_n)", "big(_n, _x)"]
    kit.event(0, "Disk", size=1)
    assert kit.missing(CLAUSE) == {"big(_n)": ("called",)}
    assert any(line.endswith("set1.rls:3: big(_n) was never called") for line in kit.report())


MIXED = (FILTER, TIMERS, CHANGES, "rule: z: ( event: _e of_class 'EVENT', action: ( true ) ).")


def scenario(kit: Kit) -> None:
    kit.process(kit.log.activate(-1, kit.base))
    for at, size in enumerate((1, 6, 8, 12)):
        kit.event(at, "Disk_Full", hostname="h1", size=size, drive="C:", msg="C:", sub_source="h1")
        kit.event(at, "Disk_OK", hostname="h2", size=size)
    kit.event(5, "Link_Down")
    kit.tick(20)
    kit.event(21, "Link_Up")
    kit.event(22, "Disk_Full", hostname="h1", status="CLOSED")


@pytest.mark.parametrize("explained", [False, True])
def test_it_changes_nothing(explained: bool) -> None:
    plain, kit = Kit(*MIXED), Covered(*MIXED)
    for one in (plain, kit):
        one.engine.explain(explained)
        scenario(one)
    assert kit.engine.state_hash() == plain.engine.state_hash()
    assert kit.repository.outcomes == plain.repository.outcomes
    assert kit.repository.rows == plain.repository.rows
    assert (percent(kit.coverage.data()) > 50) is not explained  # what is explained is not watched


def test_with_other_watchers_it_is_the_first() -> None:
    kit = Kit(FILTER)
    profile, coverage = Profile(lambda: 0), Coverage(kit.base)
    kit.engine = Engine(kit.base, IndexedSelector(), Watchers(coverage, profile))
    kit.event(0, "Disk_Full", hostname="h1", size=11, drive="C:", msg="C:", sub_source="h1")
    assert [cost.rule for cost in profile.costs()] == ["set1/full"]
    assert missing(coverage.data(), RULE) == {}
    with pytest.raises(ValueError, match="must be the first"):
        Engine(kit.base, IndexedSelector(), Watchers(profile, coverage))


def test_another_rule_base_is_not_watched() -> None:
    kit, other = Covered(FILTER), Kit(TIMERS, content_hash="1" * 64)
    rules = compile_rules(other.base.rule_sets, other.base.classes)
    assert kit.coverage.watch(rules) is rules
    kit.engine.activate(other.base)
    kit.event(0, "Disk_Full", size=1)
    kit.engine.activate(kit.base)
    kit.event(1, "Disk_Full", hostname="h1", size=11, drive="C:", msg="C:", sub_source="h1")
    assert kit.missing(RULE) == {}
