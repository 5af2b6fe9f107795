"""Filters that cannot be tested, and what must not be left behind by an evaluation that ended early."""

from __future__ import annotations

import pytest

from opentec.events.loader import classes_of
from opentec.events.records import Disposition
from opentec.rules.engine import Engine
from opentec.rules.rulebase import RuleBase
from opentec.rules.selectors.indexed import IndexedSelector
from tests.rules import engine_kit
from tests.rules.engine_kit import START, Kit, shipped_classes

UNBOUND = """
change_rule: r: ( event: _e of_class 'Disk', sender: within [rule(_), operator(_who), closed_event],
  attribute: administrator set_to not_equals _who, action: ( drop_change_request ) ).
rule: asks: ( event: _e of_class 'Link_Down' where [],
  action: ( first_instance(event: _d of_class 'Disk' where []), change_event_administrator(_d, 'me') ),
  action: ( set_event_message(_e, 'goes on'), drop_received_event ) ).
"""
CANNOT = "the filter cannot be tested: a variable is used before it has a value"


@pytest.mark.parametrize("explained", [False, True])
def test_a_filter_that_cannot_be_tested_does_not_match_and_is_told(explained: bool) -> None:
    kit = Kit(UNBOUND, check=False)
    kit.engine.explain(explained)
    kit.event(0, "Disk")
    effects = kit.event(1, "Link_Down")
    assert kit.values("administrator", "Disk") == ["me"]  # the request was not dropped
    (error,) = kit.values("msg", "TEC_Error")
    assert error == f"set1.rls:2: rule set1/r: {CANNOT}"
    # the rule that asked went on with its own event
    assert effects.outcome is not None
    assert (effects.outcome.disposition, effects.outcome.reason) == (Disposition.DROPPED, "dropped by rule set1/asks")
    assert [fired.rule for fired in effects.fired if fired.actions] == ["asks"]
    if explained:
        assert [CANNOT] in [getattr(fired, "no", []) for fired in effects.fired]


def test_a_change_of_an_operator_passes_such_a_filter() -> None:
    rules = UNBOUND.replace("rule(_), operator(_who)", "operator(_), rule(_who)")
    kit = Kit(rules, check=False)
    kit.event(0, "Disk")
    effects = kit.change(1, (START, 1, 1), administrator="ann")
    assert effects.outcome is not None
    assert effects.outcome.disposition == Disposition.APPLIED
    assert len(kit.stored("TEC_Error")) == 1


def test_a_timer_rule_with_such_a_filter_does_not_fire() -> None:
    kit = Kit(
        """rule: r: ( event: _e of_class 'Link_Down' where [], action: ( set_timer(_e, 1, x) ) ).
        timer_rule: t: ( event: _e of_class 'EVENT' where [ hostname: equals f(_h, _) ],
          action: ( set_event_message(_e, fired) ) ).""".replace("f(_h, _)", "_unknown"),
        check=False,
    )
    kit.event(0, "Link_Down", hostname="web1")
    kit.tick(5)
    assert kit.values("msg", "Link_Down") == ["fired"]  # `equals` with a new variable binds it


@pytest.mark.parametrize("operator", ["greater_than", "smaller_than", "greater_or_equals", "smaller_or_equals"])
@pytest.mark.parametrize("value", ["f(1)", "_e", "[1]", "'1'"])
@pytest.mark.parametrize("slot", ["repeat_count", "severity", "msg", "acl"])
def test_what_has_no_order_fails_the_condition(operator: str, value: str, slot: str) -> None:
    kit = Kit(
        f"""rule: r: ( event: _e of_class 'Link_Down' where [],
          action: ( _x = {value}, first_instance(event: _d of_class 'Disk' where [ {slot}: {operator} _x ]),
            set_event_message(_d, found) ) ).""",
        check=False,
    )
    kit.event(0, "Disk", msg="0", repeat_count=0)
    kit.event(1, "Link_Down")
    found = slot == "msg" and value == "'1'" and operator.startswith("smaller")
    assert kit.values("msg") == ["found" if found else "0", ""]


def test_a_sender_has_no_order() -> None:
    kit = Kit(
        """change_rule: r: ( event: _e of_class 'EVENT', sender: _s, attribute: severity set_to greater_than _s,
          action: ( drop_change_request ) ).""",
        check=False,
    )
    kit.event(0, "Disk")
    kit.change(1, (START, 1, 1), severity="FATAL")
    assert kit.values("severity") == ["FATAL"]


def test_the_reason_of_an_event_that_arrives_closed_is_its_own() -> None:
    """A timer's event may have asked for a close before it, in the same record, and a rule dropped that."""
    kit = Kit(
        """
        rule: r: ( event: _e of_class 'Disk' where [], action: ( set_timer(_e, 1, x) ) ).
        timer_rule: t: ( event: _e of_class 'EVENT' where [],
          action: ( generate_event('Link_Up', [status='CLOSED']) ) ).
        change_rule: c: ( event: _e of_class 'Link_Up', sender: equals closed_event,
          action: ( drop_change_request ) )."""
    )
    kit.event(0, "Link_Up")
    kit.event(0, "Disk")
    outcome = kit.event(5, "Link_Down", status="CLOSED").outcome
    assert outcome is not None
    assert outcome.reason == "it arrived CLOSED, and no duplicate is open"


def test_defaults_that_change_with_the_rule_base_change_no_event() -> None:
    """Live and after a restart, whatever the slots of an event were when it was written."""

    def base(number: int, severity: str, owner: str) -> RuleBase:
        text = engine_kit.CLASSES.replace("default = CRITICAL", f"default = {severity}")
        text = text.replace("default = root", f"default = {owner}")
        text = text.replace("Link ISA EVENT", f"Link ISA EVENT DEFINES {{ server_path: default = ['{owner}']; }}")
        return RuleBase(f"base{number}", f"{number:064}", classes_of(shipped_classes() + text), (), first.settings)

    first = engine_kit.rule_base("")
    bases = [
        base(1, "CRITICAL", "root"),
        base(2, "FATAL", "boss"),
        base(3, "MINOR", "nobody"),
        base(4, "FATAL", "root"),
    ]
    for restarts in range(8):
        kit = Kit("")
        for number, one in enumerate(bases):
            kit.engine.activate(one)
            kit.process(kit.log.activate(10 * number, one))
            kit.event(10 * number, "Link_Down")
            kit.event(10 * number, "Link_Down", severity="FATAL", server_path=["boss"])
            kit.event(10 * number, "Disk_Full", drive=f"{number}")
            kit.event(10 * number, "Disk_Full", drive=f"{number}", owner="boss")
            again = kit.repository.prime(Engine(one, IndexedSelector()))
            assert again.state_hash() == kit.engine.state_hash()
            if restarts & 1 << number:
                kit.engine = again
            live = kit.engine._cache.events()
            owners = [event.get("owner") for event in live if event.class_name == "Disk_Full"]
            severities = [event.get("severity") for event in live if event.class_name == "Link_Down"]
            paths = [event.get("server_path") for event in live if event.class_name == "Link_Down"]
            assert owners[1::2] == ["boss"] * (number + 1)
            # a slot of the base is written as it was; another one only where it was said
            assert owners[0::2] == [one.classes.classes["Disk_Full"].defaults["owner"]] * (number + 1)
            assert severities[0::2] == ["CRITICAL", "FATAL", "MINOR", "FATAL"][: number + 1]
            assert severities[1::2] == ["FATAL"] * (number + 1)
            assert paths[0::2] == [["root"], ["boss"], ["nobody"], ["root"]][: number + 1]


def test_signs_of_life_while_very_many_timers_fire() -> None:
    kit = Kit(
        """rule: r: ( event: _e of_class 'Disk' where [], action: ( set_timer(_e, 1, x) ) ).
        timer_rule: t: ( event: _e of_class 'EVENT' where [], action: ( set_timer(_e, 1, x) ) )."""
    )
    signs: list[int] = []
    kit.engine.alive = lambda: signs.append(1)
    kit.event(0, "Disk")
    kit.tick(200)
    assert signs == []
    kit.tick(1000)
    assert len(signs) == 800 // 256


def test_a_change_that_was_granted_is_made_even_when_change_rules_put_out_all_they_may() -> None:
    kit = Kit(
        """change_rule: c: ( event: _e of_class 'EVENT', sender: _s, attribute: msg set_to _v,
          action: ( between(1, 1000, _i), assert(f(_i, _v)) ) ).""",
        step_limit=10_000_000,
    )
    kit.event(0, "Disk")
    kit.change(1, (START, 1, 1), msg="x" * 60_000)
    assert kit.values("msg")[0] == "x" * 60_000
    assert "may store and send" in kit.values("msg", "TEC_Error")[0]


@pytest.mark.parametrize("explained", [False, True])
def test_a_list_that_holds_itself_fails_the_goal_that_needs_it_and_no_mark(explained: bool) -> None:
    kit = Kit(
        """rule: r: ( event: _e of_class 'Disk' where [],
          action: ( _l = [a | _l], set_event_message(_e, 'goes on'), length(_l, _) ) ).""",
        check=False,
    )
    kit.engine.explain(explained)
    kit.event(0, "Disk")
    assert kit.values("msg", "Disk") == ["goes on"]
    (complaint,) = kit.values("msg", "TEC_Error")
    assert complaint == "set1.rls:2: rule set1/r: a list has at most 100000 items"
