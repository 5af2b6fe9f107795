"""redo_analysis: plain rules run again over a stored event (tec.md 3.2)."""

from __future__ import annotations

import pytest

from opentec.events.records import Disposition
from opentec.rules.evaluation import DERIVED_LIMIT
from tests.rules.engine_kit import START, Kit


def note(text: str) -> str:
    return f"generate_event('TEC_Notice', [msg='{text}'])"


KINDS = f"""rule: kinds: ( event: _e of_class 'Link_Down' where [hostname: _h],
  reception_action: ( {note("reception")} ),
  action: ( {note("action")} ),
  redo_action: ( {note("redo")} ) ).
"""
AGAIN = """rule: again: ( event: _e of_class 'Link_Up',
  action: ( all_instances(event: _d of_class 'Link_Down' where []), redo_analysis(_d) ) ).
"""


def messages(kit: Kit) -> list[object]:
    return kit.values("msg", "TEC_Notice")


def test_a_new_event_runs_reception_actions_and_a_redo_runs_redo_actions() -> None:
    kit = Kit(KINDS + AGAIN)
    kit.event(0, "Link_Down")
    assert messages(kit) == ["reception", "action"]
    effects = kit.event(1, "Link_Up")
    assert messages(kit) == ["reception", "action", "action", "redo"]
    again, kinds = effects.fired
    assert (again.rule, again.did, again.event) == ("again", [f"asked for {START}.1 to be analysed again"], "")
    assert (kinds.rule, kinds.actions, kinds.event) == ("kinds", ["action_2", "action_3"], f"{START}.1")
    assert effects.outcome is not None
    assert effects.outcome.fired is effects.fired


def test_a_redo_waits_for_the_event_under_analysis_and_takes_its_turn_among_new_events() -> None:
    kit = Kit(
        f"""rule: up: ( event: _e of_class 'Link_Up',
          action: ( first_instance(event: _d of_class 'Link_Down' where []), {note("1")}, redo_analysis(_d),
            {note("2")}, set_event_message(_d, changed) ) ).
        rule: see: ( event: _e of_class 'Link_Down' where [msg: _m],
          redo_action: ( generate_event('TEC_Notice', [msg=_m]) ) ).
        rule: order: ( event: _e of_class 'TEC_Notice' where [msg: _m],
          action: ( all_instances(event: _d of_class 'Link_Down' where []), set_event_message(_d, _m) ) )."""
    )
    kit.event(0, "Link_Down")
    kit.event(1, "Link_Up")
    assert messages(kit) == ["1", "2", "1"], "the redo sees what the event before it did"


def test_the_event_under_analysis_may_be_analysed_again_once_it_is_stored() -> None:
    kit = Kit(
        """rule: r: ( event: _e of_class 'Link_Down',
          reception_action: ( redo_analysis(_e) ),
          redo_action: ( bo_get_slotval(_e, last_modified_time, _t), _t > 0, set_event_message(_e, again) ) )."""
    )
    effects = kit.event(0, "Link_Down")
    assert kit.values("msg") == ["again"]
    assert [event.get("msg") for event in effects.inserted] == ["again"]
    assert effects.changed == []


def test_a_dropped_event_is_not_analysed_again() -> None:
    kit = Kit(
        f"""rule: r: ( event: _e of_class 'Link_Down',
          reception_action: ( redo_analysis(_e), drop_received_event ), redo_action: ( {note("redo")} ) )."""
    )
    effects = kit.event(0, "Link_Down")
    assert effects.outcome is not None
    assert effects.outcome.disposition == Disposition.DROPPED
    assert kit.stored() == []


def test_a_redo_cannot_drop_its_event() -> None:
    kit = Kit(AGAIN + "rule: r: ( event: _e of_class 'Link_Down', redo_action: ( drop_received_event ) ).")
    kit.event(0, "Link_Down")
    kit.event(1, "Link_Up")
    assert len(kit.stored("Link_Down")) == 1
    (error,) = kit.values("msg", "TEC_Error")
    assert "only an event that was just received can be dropped" in error


def test_a_redo_repeats_the_selection_and_keeps_the_order_of_rules() -> None:
    kit = Kit(
        AGAIN + "rule: a: ( event: _e of_class 'Link_Down', redo_action: ( set_event_severity(_e, 'FATAL') ) )."
        "rule: b: ( event: _e of_class 'Link_Down' where [severity: equals 'FATAL'],"
        f" action: ( {note('b')}, commit_set ) )."
        f"rule: c: ( event: _e of_class 'Link_Down', action: ( {note('c')} ) ).",
        f"rule: d: ( event: _e of_class 'Link_Down', redo_action: ( {note('d')} ) ).",
    )
    kit.event(0, "Link_Down")
    kit.event(1, "Link_Up")
    assert messages(kit) == ["c", "b", "d"]


def test_a_rule_that_asks_for_itself_ends_at_the_limit() -> None:
    kit = Kit("rule: r: ( event: _e of_class 'Link_Down', action: ( redo_analysis(_e), add_to_repeat_count(_e, 1) ) ).")
    kit.event(0, "Link_Down")
    assert kit.values("repeat_count", "Link_Down") == [DERIVED_LIMIT]
    (error,) = kit.values("msg", "TEC_Error")
    assert f"one record may analyse {DERIVED_LIMIT} events again" in error


def test_timer_rules_and_change_rules_may_ask_for_it() -> None:
    kit = Kit(
        KINDS + "rule: t: ( event: _e of_class 'Link_Down', reception_action: ( set_timer(_e, 5, x) ) )."
        "timer_rule: r: ( event: _e of_class 'Link_Down', action: ( redo_analysis(_e) ) )."
        "change_rule: c: ( event: _e of_class 'Link_Down', action: ( redo_analysis(_e) ) ).",
    )
    kit.event(0, "Link_Down")
    effects = kit.tick(6)
    assert messages(kit)[2:] == ["action", "redo"]
    assert [one.rule for one in effects.fired] == ["r", "kinds"]
    kit.change(7, (START, 1, 1), status="ACK")
    kit.change(8, (START, 1, 1), status="OPEN")  # identities of what comes of it differ
    assert messages(kit)[4:] == ["action", "redo"] * 2


def test_two_timers_at_one_time_and_a_redo_for_each() -> None:
    kit = Kit(
        KINDS
        + "rule: t: ( event: _e of_class 'Link_Down', reception_action: ( set_timer(_e, 5, x), set_timer(_e, 5, y) ) )."
        "timer_rule: r: ( event: _e of_class 'Link_Down', action: ( redo_analysis(_e) ) ).",
    )
    kit.event(0, "Link_Down")
    kit.tick(6)
    assert messages(kit)[2:] == ["action", "redo"] * 2


def test_an_event_that_was_dropped_before_cannot_be_analysed_again() -> None:
    """A rule has no event in its hands that was dropped, but a user of the evaluation might."""
    kit = Kit("rule: r: ( event: _e of_class 'Link_Up', action: ( redo_analysis(_e) ) ).")
    kit.event(0, "Link_Up", status="CLOSED")
    event = kit.engine._run.event
    kit.event(1, "Link_Down")
    with pytest.raises(Exception, match="only a stored event"):
        kit.engine._run.redo(event)


def test_a_record_that_ran_out_of_steps_analyses_nothing_again() -> None:
    kit = Kit(
        """rule: r: ( event: _e of_class 'Link_Down', reception_action: ( redo_analysis(_e) ),
          reception_action: ( between_all ), redo_action: ( set_event_message(_e, again) ) ).""".replace(
            "between_all", ", ".join(f"member(_{n}, [1,2,3,4,5,6,7,8,9,0])" for n in range(4)) + ", fail"
        ),
        step_limit=1000,
    )
    kit.event(0, "Link_Down")
    assert kit.values("msg", "Link_Down") == [""]
    assert "1000 steps" in kit.values("msg", "TEC_Error")[0]
