"""Changes of events. `set_event_*` writes the slot; `change_event_*` and `place_change_request` ask for the change, as
an operator does: change rules may drop it, and closing fills duration and administrator (tec.md 3.2, tec-2.md 3.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from opentec.rules.evaluation import Evaluation
from opentec.rules.event import Event
from opentec.rules.predicates.registry import Predicate
from opentec.rules.terms import RuleError, Struct, show

_REPEAT_MAX: Final = 2**31 - 1


def note_slot(run: Evaluation, event: Event, slot: str) -> None:
    run.note(f"{slot} of {event} is now {show(event.get(slot))}"[:200])


def _add_to_repeat_count(run: Evaluation, event: Event, number: int) -> bool:
    old = event.get("repeat_count")
    count = min(old + number, _REPEAT_MAX)
    # a number that grows fits, where there is one already
    if run.assign(event, "repeat_count", count) if count >= old else run.set_slot(event, "repeat_count", count):
        run.note(f"repeat_count of {event} is now {count}")
    if event is not run.event:
        run.counted = event
    return True


def _drop_received_event(run: Evaluation) -> bool:
    run.drop()
    return True


def _dropped(run: Evaluation) -> bool:
    return run.dropped is not None


def _setter(slot: str) -> Callable[[Evaluation, Event, Any], bool]:
    def set_slot(run: Evaluation, event: Event, value: Any) -> bool:
        if run.set_slot(event, slot, value):
            note_slot(run, event, slot)
        return True

    return set_slot


def _drop_change_request(run: Evaluation) -> bool:
    run.drop_request()
    return True


def _request(run: Evaluation, event: Event, slot: str, value: Any) -> bool:
    # a request that is dropped was placed all the same
    if run.request_change(event, slot, value, Struct("rule", (run.rule.set_name,))):
        note_slot(run, event, slot)
    return True


def _changer(slot: str) -> Callable[[Evaluation, Event, Any], bool]:
    return lambda run, event, value: _request(run, event, slot, value)


def _redo(run: Evaluation, event: Event) -> bool:
    run.redo(event)
    run.note(f"asked for {event} to be analysed again")
    return True


def _link(run: Evaluation, effect: Event, cause: Event) -> bool:
    if effect is cause:
        raise RuleError("an event cannot be its own cause")
    date, handle, _ = cause.key
    linked = run.assign(effect, "cause_date_reception", date)
    if run.assign(effect, "cause_event_handle", handle) or linked:
        run.note(f"{cause} is the cause of {effect}")
    return True


def _unlink(run: Evaluation, effect: Event) -> bool:
    unlinked = run.assign(effect, "cause_date_reception", 0)
    if run.assign(effect, "cause_event_handle", 0) or unlinked:
        run.note(f"{effect} has no cause any more")
    return True


def _re_mark(run: Evaluation, event: Event) -> bool:
    run.touch(event)
    return True


_EXAMPLES: Final = {"status": "'CLOSED'", "severity": "'FATAL'", "administrator": "'operator'", "message": "'done'"}
PREDICATES: Final = (
    Predicate(
        name="add_to_repeat_count",
        modes="ei",
        signature="add_to_repeat_count(_event, number)",
        effect="Adds the number to the event's repeat_count.",
        determinism="det",
        example="add_to_repeat_count(_dup, 1)",
        function=_add_to_repeat_count,
    ),
    Predicate(
        name="drop_received_event",
        modes="",
        signature="drop_received_event",
        effect="Marks the received event: it will not be stored. Rules go on until a commit says otherwise.",
        determinism="det",
        example="drop_received_event",
        function=_drop_received_event,
    ),
    Predicate(
        name="received_event_dropped",
        modes="",
        signature="received_event_dropped",
        effect="Succeeds when a rule has dropped the received event. `\\+ received_event_dropped` as the first goal "
        "of every action costs nothing.",
        determinism="semidet",
        example="drop_received_event, received_event_dropped",
        function=_dropped,
    ),
    *(
        Predicate(
            name=f"set_event_{word}",
            modes="ev",
            signature=f"set_event_{word}(_event, value)",
            effect=f"Sets the slot {slot}, and nothing else.",
            determinism="det",
            example=f"set_event_{word}(_event, {_EXAMPLES[word]})",
            function=_setter(slot),
        )
        for word, slot in (
            ("status", "status"),
            ("severity", "severity"),
            ("administrator", "administrator"),
            ("message", "msg"),
        )
    ),
    *(
        Predicate(
            name=f"change_event_{slot}",
            modes="ev",
            signature=f"change_event_{slot}(_event, value)",
            effect=f"Asks for a change of the slot {slot}: change rules may drop it; closing fills duration and "
            "administrator.",
            determinism="det",
            example=f"change_event_{slot}(_event, {_EXAMPLES[slot]})",
            function=_changer(slot),
        )
        for slot in ("status", "severity", "administrator")
    ),
    Predicate(
        name="place_change_request",
        modes="esv",
        signature="place_change_request(_event, slot, value)",
        effect="Asks for a change of any slot, as change_event_status does for status. It succeeds when the request is "
        "dropped, too.",
        determinism="det",
        example="place_change_request(_event, severity, 'FATAL')",
        function=_request,
    ),
    Predicate(
        name="drop_change_request",
        modes="",
        signature="drop_change_request",
        effect="In a change rule: the change that is asked for will not be made. Rules go on until a commit says "
        "otherwise.",
        determinism="det",
        example="drop_change_request",
        function=_drop_change_request,
    ),
    Predicate(
        name="redo_analysis",
        modes="e",
        signature="redo_analysis(_event)",
        effect="Runs the plain rules over a stored event again, redo_action and action, once the event under analysis "
        "is done.",
        determinism="det",
        example="redo_analysis(_event)",
        function=_redo,
    ),
    Predicate(
        name="link_effect_to_cause",
        modes="ee",
        signature="link_effect_to_cause(_effect, _cause)",
        effect="Points the effect's cause_date_reception and cause_event_handle to the cause.",
        determinism="det",
        example="link_effect_to_cause(_event, _down)",
        function=_link,
    ),
    Predicate(
        name="unlink_from_cause",
        modes="e",
        signature="unlink_from_cause(_effect)",
        effect="Takes the event's link to its cause away.",
        determinism="det",
        example="unlink_from_cause(_event)",
        function=_unlink,
    ),
    Predicate(
        name="re_mark_as_modified",
        modes="e",
        signature="re_mark_as_modified(_event)",
        effect="Marks the event as modified now, so that it is written again.",
        determinism="det",
        example="re_mark_as_modified(_event)",
        function=_re_mark,
    ),
    Predicate(
        name="re_mark_as_modified",
        modes="et",
        signature="re_mark_as_modified(_event, _)",
        effect="Marks the event as modified now; the second argument is not used.",
        determinism="det",
        example="re_mark_as_modified(_event, _)",
        function=lambda run, event, unused: _re_mark(run, event),
    ),
)
