"""Guards change nothing but the time that a rule takes: every rule does what it does without."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opentec.rules.ast import Term
from opentec.rules.engine import Engine
from opentec.rules.guards import Guard, guard_of, without_guard
from opentec.rules.parser import parse_rules
from opentec.rules.predicates.globals import Globals
from opentec.rules.selectors.indexed import IndexedSelector
from opentec.rules.source_text import goal_text
from tests.rules.engine_kit import Kit

RULES = """
rule: set: ( event: _e of_class 'Disk' where [ msg: _msg outside [''] ],
  reception_action: ( _msg == erase, erase_globals(g, a) ),
  reception_action: ( _msg \\== erase, set_global_var(g, a, _msg) ),
  action: ( {0} global_exists(g, a), set_event_administrator(_e, behind) ) ).
rule: drop: ( event: _e of_class 'Link' where [ severity: equals 'FATAL' ],
  reception_action: ( drop_received_event ) ).
rule: yes: ( event: _e of_class 'EVENT' where [ hostname: _host ],
  reception_action: ( {0} get_global_var(g, a, yes, no), bo_set_slotval(_e, sub_source, yes) ),
  action: ( {0} get_global_var(g, a, no, no), bo_set_slotval(_e, origin, no) ) ).
rule: there: ( event: _e of_class 'EVENT',
  reception_action: ( {0} \\+ received_event_dropped, global_exists(g, a), set_timer(_e, 5, tell) ),
  redo_action: ( {0} not(received_event_dropped), set_event_administrator(_e, again) ) ).
change_rule: watch: ( event: _e of_class 'EVENT', attribute: severity,
  action: ( {0} global_exists(g, a), drop_change_request ) ).
timer_rule: tell: ( event: _e of_class 'EVENT', timer_info: equals tell,
  action: ( {0} global_exists(g, a), redo_analysis(_e), change_event_severity(_e, 'FATAL'), erase_globals(g, a) ) ).
"""
GUARDED, PLAIN = RULES.format(""), RULES.format("true,")  # a guard is what stands first


def body(text: str) -> Term:
    (rule,) = parse_rules(f"rule: r: ( event: _e of_class 'EVENT', action: ( {text} ) ).", "r.rls").rules
    return rule.actions[0].body


@pytest.mark.parametrize(
    ("text", "goals", "rest"),
    [
        ("global_exists(g, a), true", 1, ["true"]),
        ("get_global_var(g, a, yes, no)", 1, []),
        ("\\+ received_event_dropped, (global_exists(g, a), not(received_event_dropped)), true, global_exists(g, b)", 3,
         ["true", "global_exists(g, b)"]),
        ("true, global_exists(g, a)", 0, ["true", "global_exists(g, a)"]),
        ("get_global_var(g, a, _x, no)", 0, ["get_global_var(g, a, _x, no)"]),
        ("global_exists(g, 1)", 0, ["global_exists(g, 1)"]),
        ("received_event_dropped", 0, ["received_event_dropped"]),
        ("\\+ global_exists(g, a)", 0, ["\\+ global_exists(g, a)"]),
    ],
)  # fmt: skip
def test_what_is_a_guard(text: str, goals: int, rest: list[str]) -> None:
    guard = guard_of([body(text)])
    assert (guard is None) == (goals == 0)
    assert [goal_text(goal) for goal in without_guard(body(text))] == rest


def test_a_rule_has_what_its_actions_have_in_common() -> None:
    both = "\\+ received_event_dropped, global_exists(g, a)"
    assert guard_of([]) is None
    assert guard_of([body(both), body("true")]) is None
    common = guard_of([body(both), body("\\+ received_event_dropped, global_exists(g, b)")])
    assert isinstance(common, Guard)
    assert common.undropped
    kit = Kit("rule: r: ( event: _e of_class 'EVENT', action: ( true ) ).")
    kit.event(0, "Link_Up")
    common.watch(kit.engine._store.view(Globals))
    assert not common.closed(kit.engine._run)


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.sampled_from(["Disk_Full", "Disk_OK", "Link_Down", "change", "restart", "explain", "activate"]),
        st.sampled_from(["", "yes", "no", "erase"]),
        st.sampled_from(["FATAL", "MINOR"]),
    ),
    max_size=15,
)


def run(text: str, steps: list[Any]) -> tuple[list[Any], dict[str, Any]]:
    kit, at = Kit(text), 0
    for wait, what, message, severity in steps:
        at += wait
        match what:
            case "change":
                for event in kit.stored()[:1]:
                    kit.change(at, event.key, severity=severity)
            case "restart":
                kit.engine = kit.repository.prime(Engine(kit.base, IndexedSelector()))
            case "explain":
                kit.engine.explain(message == "yes")
            case "activate":
                kit.engine.activate(kit.base)
            case _:
                kit.event(at, what, msg=message, severity=severity)
    kit.tick(at + 10)
    outcomes = [(*outcome[:6],) for outcome in kit.repository.outcomes]
    return [list(kit.repository.rows.values()), outcomes, kit.repository.timers], kit.repository.state


@settings(max_examples=60)
@given(EVENTS)
def test_guards_change_nothing(steps: list[Any]) -> None:
    assert run(GUARDED, steps) == run(PLAIN, steps)


def test_the_rules_of_this_test_do_something() -> None:
    kit = Kit(GUARDED)
    kit.event(0, "Disk_OK", msg="yes")
    kit.event(1, "Link_Down", severity="FATAL")
    assert kit.values("administrator") == ["behind"], "an action sees what the one before it set"
    assert kit.values("sub_source") == ["yes"], "and so does the rule behind"
    assert len(kit.repository.timers) == 1, "the event that was dropped has none"
    kit.tick(6)
    assert kit.values("administrator") == ["again"]
    assert kit.values("severity") == ["WARNING"], "the change rule drops the request"
    assert 'global:["g","a"]' not in kit.repository.state
    kit.event(7, "Link_Up")
    assert kit.values("origin") == ["no", "no"]
    assert not kit.repository.timers


def test_why_a_guarded_rule_did_not_fire_is_told() -> None:
    kit = Kit(GUARDED)
    kit.engine.explain(True)
    outcome = kit.event(0, "Link_Up").outcome
    assert outcome is not None
    told = {one.rule: getattr(one, "no", []) for one in outcome.fired}
    assert told["there"] == ["action action_1 ended at set1.rls:12: global_exists(g, a)"]
    assert told["yes"] == ["action action_1 ended at set1.rls:9: get_global_var(g, a, yes, no)"]
    dropped = kit.event(1, "Link_Down", severity="FATAL").outcome
    assert dropped is not None
    told = {one.rule: getattr(one, "no", []) for one in dropped.fired}
    assert told["there"] == ["action action_1 ended at set1.rls:12: \\+ received_event_dropped"]
