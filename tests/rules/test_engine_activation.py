"""What an ACTIVATE record does, outcomes of records without an event, and the two settings of the language."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from opentec.events.loader import classes_of
from opentec.events.records import Disposition, name_of
from opentec.rules.engine import LOADED, Engine
from opentec.rules.rulebase import RuleBase
from opentec.rules.selectors.indexed import IndexedSelector
from tests.rules.engine_kit import START, Kit, Log, rule_base

CONFIGURE = f"""rule: configure: ( event: _e of_class '{LOADED}' where [name: _name],
  action: ( generate_event('TEC_Notice', [msg=_name]) ) )."""


# TEC_Rulebase_Loaded


def test_an_activation_is_an_event_that_rules_see_and_that_is_stored() -> None:
    kit = Kit(CONFIGURE)
    record = kit.log.activate(0, kit.base)
    effects = kit.process(record)
    loaded, notice = kit.stored()
    assert loaded.class_name == LOADED
    assert loaded.key == (START, 1, 1)
    assert loaded.position == record.position
    assert [loaded.get(slot) for slot in ("rule_base", "name", "severity", "source", "status")] == [
        kit.base.content_hash,
        "test",
        "HARMLESS",
        "TEC",
        "OPEN",
    ]
    assert notice.get("msg") == "test"
    assert effects.outcome is not None
    assert (effects.outcome.disposition, effects.outcome.key) == (Disposition.FIRED, None)
    (fired,) = effects.outcome.fired
    assert (fired.rule, fired.event) == ("configure", f"{START}.1")


def test_only_another_rule_base_is_told() -> None:
    kit = Kit(CONFIGURE)
    kit.process(kit.log.activate(0, kit.base))
    effects = kit.process(kit.log.activate(1, kit.base, cache_size=7))
    assert effects.outcome is None
    assert effects.inserted == []
    assert kit.engine._cache.size == 7
    assert kit.engine._run.settings.cache_size == 7
    other = rule_base(CONFIGURE, name="other", content_hash="1" * 64)
    kit.engine.activate(other)
    kit.process(kit.log.activate(2, other))
    kit.engine.activate(kit.base)
    kit.process(kit.log.activate(3, kit.base))
    assert kit.values("name", LOADED) == ["test", "other", "test"]
    assert len({event.ident for event in kit.stored()}) == 6


def test_a_restart_does_not_tell_it_again() -> None:
    kit = Kit(CONFIGURE)
    kit.process(kit.log.activate(0, kit.base))
    kit.engine = kit.repository.prime(Engine(kit.base, IndexedSelector()))
    assert kit.process(kit.log.activate(1, kit.base)).inserted == []


def test_a_rule_base_without_the_class_does_without_the_event() -> None:
    root = (Path(__file__).parents[2] / "rules/default/TEC_CLASSES/root.baroc").read_text(encoding="utf-8")
    bare = classes_of(root)
    base = RuleBase("bare", "2" * 64, bare, (), rule_base("").settings)
    effects = Engine(base, IndexedSelector()).process(Log().activate(0, base))
    assert (effects.outcome, effects.inserted) == (None, [])
    assert effects.state["rule_base"] == ["2" * 64, "bare", {}]


# outcomes of records without an event


def test_a_tick_at_which_a_rule_fired_has_an_outcome() -> None:
    kit = Kit(
        "rule: set: ( event: _e of_class 'Link', action: ( set_timer(_e, 5, x) ) )."
        "timer_rule: due: ( event: _e of_class 'Link', action: ( set_event_severity(_e, 'FATAL') ) )."
    )
    kit.event(0, "Link_Down")
    assert kit.tick(4).outcome is None
    record = kit.log.tick(5)
    effects = kit.process(record)
    assert effects.outcome is not None
    assert effects.outcome.disposition == Disposition.FIRED
    assert kit.tick(6).outcome is None
    position, disposition, eid, date, handle, reason, rules = kit.repository.outcomes[-1]
    assert (name_of(position), disposition, eid, date, handle, reason) == (
        name_of(record.position),
        7,
        None,
        0,
        0,
        None,
    )
    (fired,) = json.loads(rules)
    assert fired == ["set1", "due", ["action_1"], [f"severity of {START}.1 is now FATAL"], f"{START}.1", "x"]


def test_a_timer_before_an_event_is_told_with_the_event() -> None:
    kit = Kit(
        "rule: set: ( event: _e of_class 'Link', action: ( set_timer(_e, 5, x) ) )."
        "timer_rule: due: ( event: _e of_class 'Link', action: ( set_event_severity(_e, 'FATAL') ) )."
    )
    kit.event(0, "Link_Down")
    effects = kit.event(9, "Link_Down")
    assert effects.outcome is not None
    assert effects.outcome.disposition == Disposition.STORED
    assert [one.rule for one in effects.outcome.fired] == ["due", "set"]


def test_what_fired_at_one_record_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opentec.rules.running.FIRED_LIMIT", 2)
    kit = Kit(
        "rule: set: ( event: _e of_class 'Link', action: ( set_timer(_e, 5, x) ) )."
        "timer_rule: due: ( event: _e of_class 'Link', action: ( true ) )."
    )
    for n in range(4):
        kit.event(n / 10, "Link_Down")
    effects = kit.tick(9)
    assert [one.did for one in effects.fired] == [[], ["... and rules behind this one"]]
    assert kit.repository.timers == {}


# the two settings of the language

TWO_SETS = (
    """rule: a: ( event: _e of_class 'Link', action: one: ( %s, generate_event('TEC_Notice', [msg=a1]) ),
  action: two: ( generate_event('TEC_Notice', [msg=a2]) ) ).
rule: b: ( event: _e of_class 'Link', action: ( generate_event('TEC_Notice', [msg=b]) ) ).""",
    "rule: c: ( event: _e of_class 'Link', action: ( generate_event('TEC_Notice', [msg=c]) ) ).",
)


@pytest.mark.parametrize(
    ("goal", "settings", "ran"),
    [
        ("drop_received_event", {}, ["a1", "a2", "b", "c"]),
        ("drop_received_event", {"drop_ends": True}, ["a1"]),
        ("commit_rule", {}, ["a1", "b", "c"]),
        ("commit_rule", {"commit_rule_ends_set": True}, ["a1", "c"]),
        ("commit_action", {"commit_rule_ends_set": True, "drop_ends": True}, ["a1", "a2", "b", "c"]),
        ("commit_set", {"commit_rule_ends_set": True, "drop_ends": True}, ["a1", "c"]),
        ("commit_rule, drop_received_event", {"commit_rule_ends_set": True}, ["a1", "c"]),
        ("commit_rule, drop_received_event", {"drop_ends": True}, ["a1"]),
    ],
)
def test_how_far_drop_and_commit_rule_reach(goal: str, settings: dict[str, Any], ran: list[str]) -> None:
    kit = Kit(TWO_SETS[0] % goal, TWO_SETS[1], **settings)
    effects = kit.event(0, "Link_Down")
    assert kit.values("msg", "TEC_Notice") == ran
    assert effects.outcome is not None
    assert effects.outcome.disposition == (Disposition.DROPPED if "drop" in goal else Disposition.STORED)


def test_an_activation_may_turn_them() -> None:
    kit = Kit(TWO_SETS[0] % "drop_received_event", TWO_SETS[1])
    kit.process(kit.log.activate(0, kit.base, drop_ends=True))
    kit.event(1, "Link_Down")
    assert kit.values("msg", "TEC_Notice") == ["a1"]
    again = kit.repository.prime(Engine(kit.base, IndexedSelector()))
    assert again._run.settings.drop_ends


def test_where_a_drop_ends_evaluation_the_action_itself_goes_on() -> None:
    kit = Kit(
        """rule: r: ( event: _e of_class 'Link', action: ( member(_x, [1, 2]), drop_received_event,
          sprintf(_m, '%d', [_x]), generate_event('TEC_Notice', [msg=_m]) ) ).""",
        drop_ends=True,
    )
    kit.event(0, "Link_Down")
    assert kit.values("msg") == ["1", "2"]


def test_commit_rule_ends_the_set_for_timers_and_changes_too() -> None:
    body = "event: _e of_class 'Link', action: ( generate_event('TEC_Notice', [msg={}]), commit_rule )"
    rules = "rule: set: ( event: _e of_class 'Link', action: ( set_timer(_e, 5, x) ) )." + "".join(
        f"{kind}: {name}: ( {body.format(name)} )."
        for kind, name in (("timer_rule", "t1"), ("timer_rule", "t2"), ("change_rule", "c1"), ("change_rule", "c2"))
    )
    for ends, ran in ((False, ["t1", "t2", "c1", "c2"]), (True, ["t1", "c1"])):
        kit = Kit(rules, commit_rule_ends_set=ends)
        kit.event(0, "Link_Down")
        kit.tick(5)
        kit.change(6, (START, 1, 1), severity="FATAL")
        assert kit.values("msg", "TEC_Notice") == ran


def test_activation_of_a_rule_base_brings_its_settings_and_its_change_rules() -> None:
    kit = Kit(TWO_SETS[0] % "commit_rule", TWO_SETS[1])
    kit.process(kit.log.activate(0, kit.base))
    other = rule_base(
        TWO_SETS[0] % "commit_rule",
        TWO_SETS[1] + "change_rule: never: ( event: _e of_class 'EVENT', action: ( drop_change_request ) ).",
        content_hash="1" * 64,
        commit_rule_ends_set=True,
    )
    kit.engine.activate(other)
    kit.process(kit.log.activate(1, other))
    kit.event(2, "Link_Down")
    assert kit.values("msg", "TEC_Notice") == ["a1", "c"]
    effects = kit.change(3, (START + 2, 1, 1), status="ACK")
    assert effects.outcome is not None
    assert effects.outcome.disposition == Disposition.REFUSED


def test_where_a_drop_ends_evaluation_all_change_rules_are_asked_all_the_same() -> None:
    kit = Kit(
        """rule: r: ( event: _e of_class 'Link_Up', action: ( drop_received_event,
          first_instance(event: _down of_class 'Link_Down' where []), change_event_status(_down, 'CLOSED') ) ).
        change_rule: first: ( event: _e of_class 'Link', action: ( generate_event('TEC_Notice', [msg=asked]) ) ).
        change_rule: second: ( event: _e of_class 'Link', action: ( drop_change_request ) ).""",
        drop_ends=True,
    )
    kit.event(0, "Link_Down")
    kit.event(1, "Link_Up")
    assert kit.values("status", "Link_Down") == ["OPEN"]
