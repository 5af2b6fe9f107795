"""Change requests and the rules that may drop them (tec.md 3.2; docs/rule-engine.md, "Changes")."""

from __future__ import annotations

from typing import Any

import pytest

from opentec.events.errors import SourceErrors
from opentec.events.records import Disposition
from opentec.rules.effects import Effects, Fired
from tests.rules.engine_kit import START, Kit

KEY = (START, 1, 1)
NOTE = "generate_event('TEC_Notice', [msg=_m])"
LOG = (
    "change_rule: log: ( event: _e of_class 'Link' where [status: _was], sender: _s, attribute: _slot set_to _new, "
    f"action: ( sprintf(_m, '%s %s %s->%s', [_s, _slot, _was, _new]), {NOTE} ) )."
)
NEVER = "change_rule: never: ( event: _e of_class 'EVENT', action: ( drop_change_request ) )."
CLOSE = """rule: up: ( event: _e of_class 'Link_Up',
  action: ( all_instances(event: _d of_class 'Link_Down' where [status: outside ['CLOSED']]), %s ) )."""


def fired(effects: Effects) -> list[tuple[str, list[str], str]]:
    return [(one.rule, one.did, one.event) for one in effects.fired]


def entry(effects: Effects, rule: str) -> Fired:
    (found,) = [one for one in effects.fired if one.rule == rule]
    return found


def messages(kit: Kit) -> list[Any]:
    return kit.values("msg", "TEC_Notice")


# who asks


def test_a_change_rule_sees_an_operators_change_before_it_is_made() -> None:
    kit = Kit(LOG)
    kit.event(0, "Link_Down")
    effects = kit.change(5, KEY, status="CLOSED")
    assert effects.outcome is not None
    assert effects.outcome.disposition == Disposition.APPLIED
    assert messages(kit) == ["operator(ann) status OPEN->CLOSED"]
    assert kit.values("status", "Link_Down") == ["CLOSED"]
    assert fired(effects) == [("log", ["generated TEC_Notice"], f"{START}.1")]
    assert effects.outcome.fired is effects.fired


@pytest.mark.parametrize(
    ("goal", "seen"),
    [
        ("change_event_status(_d, 'CLOSED')", ["rule(set1) status OPEN->CLOSED"]),
        ("change_event_severity(_d, 'FATAL')", ["rule(set1) severity OPEN->FATAL"]),
        ("change_event_administrator(_d, bob)", ["rule(set1) administrator OPEN->bob"]),
        ("place_change_request(_d, msg, 'x')", ["rule(set1) msg OPEN->x"]),
        ("place_change_request(_d, repeat_count, '7')", ["rule(set1) repeat_count OPEN->7"]),
        ("set_event_status(_d, 'CLOSED')", []),
        ("bo_set_slotval(_d, severity, 'FATAL')", []),
        ("add_to_repeat_count(_d, 1)", []),
        ("change_event_severity(_d, 'CRITICAL')", []),  # what is there already is no change
    ],
)
def test_what_rules_ask_for_passes_change_rules_and_what_they_set_does_not(goal: str, seen: list[str]) -> None:
    kit = Kit(CLOSE % goal, LOG)
    kit.event(0, "Link_Down")
    kit.event(1, "Link_Up")
    assert messages(kit) == seen


def test_an_event_that_arrives_closed_asks_for_the_close_of_its_duplicate() -> None:
    kit = Kit(LOG)
    kit.event(0, "Link_Down")
    effects = kit.event(5, "Link_Down", status="CLOSED", administrator="bob")
    assert messages(kit) == ["closed_event status OPEN->CLOSED"]
    assert kit.values("administrator", "Link_Down") == ["bob"]
    assert effects.outcome is not None
    assert effects.outcome.reason == f"it arrived CLOSED and closed {START}.1"


def test_the_value_that_a_change_rule_sees_has_the_type_of_its_slot() -> None:
    kit = Kit(
        """change_rule: more: ( event: _e of_class 'Disk', attribute: size set_to _new greater_than 99,
        action: ( _twice is _new * 2, bo_set_slotval(_e, load, _twice) ) ).""",
        "rule: r: ( event: _e of_class 'Disk', action: ( place_change_request(_e, size, '100') ) ).",
    )
    kit.event(0, "Disk_Full", hostname="a", drive="C:")
    kit.change(1, KEY, size="100")
    kit.change(2, KEY, size=150)
    assert (kit.values("size"), kit.values("load")) == ([150], [300.0])


# which rules are asked


ASKS = """rule: up: ( event: _e of_class 'Link_Up',
  action: ( first_instance(event: _d of_class 'Link_Down' where []), change_event_status(_d, 'CLOSED') ) ).
rule: start: ( event: _e of_class 'TEC_Start',
  action: ( first_instance(event: _d of_class 'Link_Down' where []), change_event_severity(_d, 'FATAL') ) )."""


def who_is_heard(condition: str) -> str:
    """The requests that a change rule with this condition is asked about, by letter."""
    heard = ""
    for letter in "abrsc":
        kit = Kit(
            ASKS,
            f"change_rule: c: ( event: _e of_class 'Link_Down', {condition}"
            " action: ( set_event_message(_e, heard) ) ).",
        )
        kit.event(0, "Link_Down")
        match letter:
            case "a":
                kit.change(1, KEY, status="CLOSED")
            case "b":
                kit.change(1, KEY, user="bob", status="ACK")
            case "r":
                kit.event(1, "Link_Up")
            case "s":
                kit.event(1, "TEC_Start")
            case "c":
                kit.event(1, "Link_Down", status="CLOSED")
        if kit.stored()[0].get("msg") == "heard":
            heard += letter
    return heard


@pytest.mark.parametrize(
    ("condition", "heard"),
    [
        ("", "abrsc"),
        ("sender: equals operator('ann'),", "a"),
        ("sender: operator('ann'),", "a"),
        ("sender: equals operator('eve'),", ""),
        ("sender: equals operator(_),", "ab"),
        ("sender: within [operator(_), closed_event],", "abc"),
        ("sender: _s within [closed_event, rule(_)],", "rsc"),
        ("sender: outside [rule(_), operator('ann')],", "bc"),
        ("sender: not_equals closed_event,", "abrs"),
        ("sender: _s within [operator(_), rule(_)] outside [operator('bob')],", "ars"),
        ("attribute: status,", "abrc"),
        ("attribute: 'severity',", "s"),
        ("attribute: msg,", ""),
        ("attribute: status set_to 'CLOSED',", "arc"),
        ("attribute: status set_to within ['ACK', 'CLOSED'],", "abrc"),
        ("attribute: severity set_to greater_than 'CRITICAL',", "s"),
        ("attribute: severity set_to greater_than 'FATAL',", ""),
        ("attribute: _slot set_to 'FATAL',", "s"),
        ("sender: equals rule('set1'), attribute: status set_to outside ['ACK'],", "r"),
    ],
)
def test_conditions_on_a_request(condition: str, heard: str) -> None:
    assert who_is_heard(condition) == heard


def test_a_sender_that_cannot_be_tested_so_is_refused() -> None:
    with pytest.raises(SourceErrors, match="greater_than"):
        Kit(
            "change_rule: c: ( event: _e of_class 'EVENT', sender: _s greater_than 'a', action: ( true ) ).",
            check=False,
        )


def test_variables_of_the_conditions_are_there_in_all_actions() -> None:
    kit = Kit(
        """change_rule: c: ( event: _e of_class 'Link' where [hostname: _host], sender: equals operator(_who),
        attribute: _slot set_to _new,
        action: ( fail ),
        action: ( sprintf(_m, '%s: %s sets %s to %s', [_host, _who, _slot, _new]), bo_set_slotval(_e, msg, _m) ) )."""
    )
    kit.event(0, "Link_Down", hostname="web1")
    kit.change(1, KEY, severity="MINOR")
    assert kit.values("msg") == ["web1: ann sets severity to MINOR"]


def test_a_variable_of_the_filter_may_stand_in_the_conditions() -> None:
    kit = Kit(
        """change_rule: own: ( event: _e of_class 'EVENT' where [administrator: _owner, status: equals 'ACK'],
        sender: not_equals operator(_owner), action: ( drop_change_request ) )."""
    )
    kit.event(0, "Link_Down")
    assert kit.change(1, KEY, status="ACK").outcome.disposition == Disposition.APPLIED  # type: ignore[union-attr]
    assert kit.change(2, KEY, user="bob", status="CLOSED").outcome.disposition == Disposition.REFUSED  # type: ignore[union-attr]
    assert kit.change(3, KEY, user="ann", status="CLOSED").outcome.disposition == Disposition.APPLIED  # type: ignore[union-attr]


# dropping


def test_an_operators_change_that_a_rule_drops_is_refused() -> None:
    kit = Kit(NEVER, LOG)
    kit.event(0, "Link_Down")
    effects = kit.change(1, KEY, status="CLOSED", severity="FATAL")
    assert effects.outcome is not None
    assert effects.outcome.disposition == Disposition.REFUSED
    assert effects.outcome.reason == "the change was dropped by rule set1/never"
    assert (kit.values("status", "Link_Down"), kit.values("severity", "Link_Down")) == (["OPEN"], ["CRITICAL"])
    assert entry(effects, "never").did == [f"dropped the change request for {START}.1"]
    assert len(messages(kit)) == 1, "rules behind the one that drops are asked all the same"


def test_an_operators_change_is_made_as_a_whole_or_not_at_all() -> None:
    kit = Kit("change_rule: c: ( event: _e of_class 'EVENT', attribute: severity, action: ( drop_change_request ) ).")
    kit.event(0, "Link_Down")
    kit.change(1, KEY, status="ACK", severity="FATAL")
    assert (kit.values("status"), kit.values("severity"), kit.values("administrator")) == (["OPEN"], ["CRITICAL"], [""])
    kit.change(1, KEY, severity="CRITICAL", status="ACK")  # the severity stays as it is: nobody is asked
    assert (kit.values("status"), kit.values("administrator")) == (["ACK"], ["ann"])


def test_who_takes_over_an_acknowledged_event_asks_for_its_administrator() -> None:
    kit = Kit(
        "change_rule: c: ( event: _e of_class 'EVENT', attribute: administrator, action: ( drop_change_request ) )."
    )
    kit.event(0, "Link_Down")
    kit.change(1, KEY, status="ACK")
    effects = kit.change(2, KEY, user="bob", status="ACK")
    assert effects.outcome is not None
    assert effects.outcome.disposition == Disposition.REFUSED
    assert kit.values("administrator") == ["ann"]


def test_a_goal_whose_change_is_dropped_succeeds_and_says_so() -> None:
    kit = Kit(CLOSE % "change_event_status(_d, 'CLOSED'), set_event_message(_d, 'went on')", NEVER)
    kit.event(0, "Link_Down")
    effects = kit.event(1, "Link_Up")
    assert (kit.values("status"), kit.values("msg")) == (["OPEN", "OPEN"], ["went on", ""])
    sentence = f"status of {START}.1 was not changed to CLOSED: rule set2/never dropped the request"
    assert entry(effects, "up").did == [sentence, f"msg of {START}.1 is now went on"]


def test_a_closing_that_a_rule_drops_leaves_the_duplicate_open() -> None:
    kit = Kit(NEVER)
    kit.event(0, "Link_Down")
    effects = kit.event(1, "Link_Down", status="CLOSED")
    assert effects.outcome is not None
    assert effects.outcome.disposition == Disposition.DROPPED
    assert effects.outcome.reason == (f"it arrived CLOSED, and rule set1/never dropped the request to close {START}.1")
    assert kit.values("status") == ["OPEN"]


@pytest.mark.parametrize("goal", ["drop_received_event", "drop_change_request"])
def test_dropping_what_is_not_there(goal: str) -> None:
    change = f"change_rule: c: ( event: _e of_class 'Link', action: ( {goal} ) )."
    plain = f"rule: r: ( event: _e of_class 'Link_Up', action: ( {goal} ) )."
    kit = Kit(change if goal == "drop_received_event" else plain, check=False)
    kit.event(0, "Link_Down")
    kit.event(1, "Link_Up")
    kit.change(2, KEY, status="ACK")
    (error,) = kit.values("msg", "TEC_Error")
    assert "drop" in error
    assert kit.values("status", "Link_Down") == ["ACK"]


# control flow and nesting

CR = "change_rule: {name}: ( event: _e of_class 'Link', {body} ). "


@pytest.mark.parametrize(
    ("commit", "ran"),
    [
        ("true", ["a1", "a2", "b", "c"]),
        ("commit_action", ["a1", "a2", "b", "c"]),
        ("commit_rule", ["a1", "b", "c"]),
        ("commit_set", ["a1", "c"]),
    ],
)
def test_how_far_a_commit_reaches(commit: str, ran: list[str]) -> None:
    def note(text: str) -> str:
        return f"generate_event('TEC_Notice', [msg={text}])"

    one = CR.format(name="a", body=f"action: ( {note('a1')}, {commit} ), action: ( {note('a2')} )")
    kit = Kit(
        one + CR.format(name="b", body=f"action: ( {note('b')} )"),
        CR.format(name="c", body=f"action: ( {note('c')} )"),
    )
    kit.event(0, "Link_Down")
    kit.change(1, KEY, severity="FATAL")
    assert messages(kit) == ran


def test_the_rule_that_asks_goes_on_as_if_nothing_had_happened() -> None:
    """Bindings, choices, what it did, its event and its commits are its own, whatever the change rules do."""
    kit = Kit(
        """rule: r: ( event: _e of_class 'Link_Up' where [hostname: _h],
        reception_action: ( member(_x, [1, 2]), member(_y, [a, b]),
          change_event_severity(_e, 'MINOR'), change_event_severity(_e, 'FATAL'),
          sprintf(_t, '%s%d%s', [_h, _x, _y]), generate_event('TEC_Notice', [msg=_t]) ),
        action: ( drop_received_event ) ).
        rule: after: ( event: _e of_class 'Link_Up', action: ( generate_event('TEC_Notice', [msg=after]) ) ).""",
        """change_rule: c: ( event: _d of_class 'Link' where [severity: _old], sender: _s, set_to: _new,
        action: ( member(_x, [7, 8]), _y = 9, all_instances(event: _other of_class 'EVENT' where []), fail ),
        action: ( commit_set ) ).""",
    )
    kit.event(0, "Link_Down")
    kit.event(1, "Link_Up", hostname="h")
    assert messages(kit) == ["h1a", "h1b", "h2a", "h2b", "after"]
    assert kit.values("severity", "Link_Up") == []


def test_the_rule_that_asks_keeps_its_event_its_name_and_the_event_it_counted_on() -> None:
    kit = Kit(
        """rule: up: ( event: _e of_class 'Link_Up',
          action: ( first_instance(event: _d of_class 'Link_Down' where []), add_to_repeat_count(_d, 1),
            change_event_severity(_d, 'MINOR'), change_event_status(_d, 'ACK'), drop_received_event ) ).
        rule: start: ( event: _e of_class 'TEC_Start', reception_action: ( redo_analysis(_e) ),
          redo_action: ( first_instance(event: _d of_class 'Link_Down' where []), change_event_severity(_d, 'FATAL'),
            first_instance(event: _s of_class 'TEC_Start' where []), set_event_message(_s, 'found itself') ) ).""",
        """change_rule: c: ( event: _d of_class 'Link', sender: _s, set_to: _new,
          action: ( first_instance(event: _other of_class 'Disk' where []), add_to_repeat_count(_other, 1),
            sprintf(_m, '%s', [_s]), set_event_message(_d, _m) ) ).""",
    )
    kit.event(0, "Link_Down")
    kit.event(1, "Disk_Full", hostname="h")
    effects = kit.event(2, "Link_Up")
    assert effects.outcome is not None
    assert effects.outcome.reason == "dropped by rule set1/up"
    assert effects.outcome.event is not None
    assert effects.outcome.event.key == KEY
    assert kit.values("repeat_count") == [1, 2]
    assert kit.values("msg", "Link_Down") == ["rule(set1)"]
    kit.event(3, "TEC_Start")
    assert kit.values("severity", "Link_Down") == ["FATAL"]
    assert kit.values("msg", "TEC_Start") == ["TEC Event Server Initialized"]


def test_a_request_stays_dropped_when_the_rule_that_dropped_it_asks_for_something_else() -> None:
    kit = Kit(
        """change_rule: c: ( event: _e of_class 'Link', attribute: status,
          action: ( drop_change_request, place_change_request(_e, msg, tried) ) ).
        change_rule: d: ( event: _e of_class 'Link', attribute: msg, action: ( true ) )."""
    )
    kit.event(0, "Link_Down")
    kit.change(1, KEY, status="ACK")
    assert (kit.values("status"), kit.values("msg")) == (["OPEN"], ["tried"])


def test_a_change_rule_cannot_drop_the_event_whose_rule_asks() -> None:
    kit = Kit(CLOSE % "change_event_status(_d, 'CLOSED')", NEVER.replace("drop_change_request", "drop_received_event"))
    kit.event(0, "Link_Down")
    kit.event(1, "Link_Up")
    assert kit.values("status", "Link_Up") == ["OPEN"]
    assert "drop_change_request" in kit.values("msg", "TEC_Error")[0]


def test_what_a_change_rule_does_to_the_event_under_analysis_repeats_the_selection() -> None:
    kit = Kit(
        """rule: start: ( event: _e of_class 'TEC_Start', reception_action: ( redo_analysis(_e) ),
          redo_action: ( first_instance(event: _d of_class 'Link_Down' where []),
            change_event_severity(_d, 'FATAL') ) ).
        rule: seen: ( event: _e of_class 'TEC_Start' where [status: equals 'ACK'],
          redo_action: ( set_event_message(_e, seen) ) ).""",
        """change_rule: c: ( event: _d of_class 'Link',
          action: ( first_instance(event: _s of_class 'TEC_Start' where []), set_event_status(_s, 'ACK') ) ).""",
    )
    kit.event(0, "Link_Down")
    kit.event(1, "TEC_Start")
    assert kit.values("msg", "TEC_Start") == ["seen"]


def test_the_change_of_the_event_under_analysis_repeats_the_selection() -> None:
    kit = Kit(
        "rule: r: ( event: _e of_class 'Link', action: ( change_event_severity(_e, 'FATAL') ) )."
        "rule: fatal: ( event: _e of_class 'Link' where [severity: equals 'FATAL', status: equals 'ACK'],"
        " action: ( set_event_message(_e, seen) ) ).",
        # a change rule changes it as well
        "change_rule: c: ( event: _e of_class 'Link', action: ( set_event_status(_e, 'ACK') ) ).",
    )
    kit.event(0, "Link_Down")
    assert kit.values("msg") == ["seen"]


def test_change_rules_may_ask_for_changes_themselves() -> None:
    kit = Kit(
        """change_rule: sev: ( event: _e of_class 'Link', attribute: status set_to 'ACK',
          action: ( change_event_severity(_e, 'MINOR') ) ).
        change_rule: msg: ( event: _e of_class 'Link', sender: _s, attribute: severity,
          action: ( sprintf(_m, '%s', [_s]), place_change_request(_e, msg, _m) ) )."""
    )
    kit.event(0, "Link_Down")
    effects = kit.change(1, KEY, status="ACK")
    (event,) = kit.stored()
    assert [event.get(slot) for slot in ("status", "severity", "msg")] == ["ACK", "MINOR", "rule(set1)"]
    assert [one.rule for one in effects.fired] == ["msg", "sev"]


def test_requests_within_one_another_end_eight_deep() -> None:
    kit = Kit(
        """change_rule: on: ( event: _e of_class 'Link', attribute: repeat_count set_to _n,
          action: ( _more is _n + 1, place_change_request(_e, repeat_count, _more) ) )."""
    )
    kit.event(0, "Link_Down")
    effects = kit.change(1, KEY, repeat_count=1)
    assert effects.outcome is not None
    assert effects.outcome.disposition == Disposition.APPLIED
    (error,) = kit.values("msg", "TEC_Error")
    assert "more than 8 deep" in error
    assert error.startswith("set1.rls:2: rule set1/on: ")
    # the inmost change is made first, and what was asked for first last
    assert kit.values("repeat_count", "Link_Down") == [1]
    assert kit.engine._run.requests == 0


RUNAWAY = """change_rule: away: ( event: _e of_class 'Link', action: ( drop_change_request,
  member(_a, [1,2,3,4,5,6,7,8,9,0]), member(_b, [1,2,3,4,5,6,7,8,9,0]), member(_c, [1,2,3,4,5,6,7,8,9,0]), fail ) )."""


def test_change_rules_have_no_more_steps_than_their_record() -> None:
    kit = Kit(RUNAWAY, step_limit=1000)
    kit.event(0, "Link_Down")
    effects = kit.change(1, KEY, status="ACK")
    assert effects.outcome is not None
    assert effects.outcome.disposition == Disposition.APPLIED, "what cannot be judged is changed as it was asked"
    (error,) = kit.values("msg", "TEC_Error")
    assert "rule set1/away" in error
    assert "1000 steps" in error


def test_change_rules_that_run_away_stop_the_rule_that_asked() -> None:
    kit = Kit(
        "rule: r: ( event: _e of_class 'Link', action: ( change_event_status(_e, 'ACK'), drop_received_event ) )."
        "rule: s: ( event: _e of_class 'Link', action: ( drop_received_event ) ).",
        RUNAWAY,
        step_limit=1000,
    )
    effects = kit.event(0, "Link_Down")
    assert effects.outcome is not None
    assert effects.outcome.disposition == Disposition.STORED
    assert kit.values("status", "Link_Down") == ["ACK"]
    assert len(kit.values("msg", "TEC_Error")) == 2


def test_every_timer_has_steps_and_new_events_of_its_own() -> None:
    kit = Kit(
        "rule: r: ( event: _e of_class 'Link', action: ( set_timer(_e, 5, x) ) )."
        "timer_rule: t: ( event: _e of_class 'Link', action: ( member(_a, [1,2,3,4,5,6,7,8,9,0]),"
        " member(_b, [1,2,3,4,5,6,7,8]), member(_c, [1,2,3,4,5]), generate_event('TEC_Notice', [msg=x]) ) )."
    )
    for n in range(3):
        kit.event(n / 10, "Link_Down")
    kit.tick(10)
    assert len(messages(kit)) == 1200
    assert kit.values("msg", "TEC_Error") == []


def test_timer_rules_ask_too() -> None:
    kit = Kit(
        "rule: r: ( event: _e of_class 'Link', action: ( set_timer(_e, 5, x) ) )."
        "timer_rule: t: ( event: _e of_class 'Link', timer_info: equals x,"
        " action: ( change_event_status(_e, 'CLOSED') ) ).",
        LOG,
    )
    kit.event(0, "Link_Down")
    effects = kit.tick(10)
    assert messages(kit) == ["rule(set1) status OPEN->CLOSED"]
    assert [(one.rule, one.timer) for one in effects.fired] == [("log", None), ("t", "x")]
    assert kit.values("duration", "Link_Down") == [5]


# what else may happen meanwhile


def test_what_change_rules_derive_has_an_identity_for_every_change() -> None:
    kit = Kit(LOG)
    kit.event(0, "Link_Down")
    for severity in ("FATAL", "MINOR", "FATAL"):
        kit.change(1, KEY, severity=severity)  # the repository of the kit refuses an identity that comes twice
    assert len(messages(kit)) == 3


def test_requests_of_a_dropped_event_stay() -> None:
    kit = Kit(CLOSE % "change_event_status(_d, 'CLOSED'), set_timer(_e, 5, x), drop_received_event", LOG)
    kit.event(0, "Link_Down")
    kit.event(1, "Link_Up")
    assert kit.values("status", "Link_Down") == ["CLOSED"]
    assert len(messages(kit)) == 1
    assert kit.engine.next_due() is None


def test_a_change_of_an_event_that_is_in_the_repository_only() -> None:
    kit = Kit(
        "change_rule: c: ( event: _e of_class 'Link' where [hostname: equals old], attribute: status,"
        " action: ( set_timer(_e, 3, x), set_event_message(_e, seen) ) ).",
        cache_size=2,
    )
    kit.event(0, "Link_Down", hostname="old")
    for n in range(4):
        kit.event(1 + n, "Link_Down")
    assert kit.engine.needs_row(kit.log.change(6, KEY, status="ACK")) == KEY
    kit.change(6, KEY, status="ACK")
    assert (kit.stored()[0].get("msg"), kit.stored()[0].get("status")) == ("seen", "ACK")
    assert kit.engine.next_due() == (START + 9) * 1_000_000
    again = kit.repository.prime(type(kit.engine)(kit.base, kit.engine._selector))
    assert again.state_hash() == kit.engine.state_hash()


def test_a_change_rule_whose_filter_does_not_take_the_event_is_not_asked() -> None:
    kit = Kit("change_rule: c: ( event: _e of_class 'Disk', action: ( drop_change_request ) ).")
    kit.event(0, "Link_Down")
    effects = kit.change(1, KEY, status="ACK")
    assert effects.outcome is not None
    assert effects.outcome.disposition == Disposition.APPLIED
    assert effects.fired == []


def test_the_parts_of_the_key_cannot_be_asked_for() -> None:
    kit = Kit("rule: r: ( event: _e of_class 'Link', action: ( place_change_request(_e, event_handle, 5) ) ).", LOG)
    kit.event(0, "Link_Down")
    (error,) = kit.values("msg", "TEC_Error")
    assert "part of the event's key" in error
    assert messages(kit) == []
