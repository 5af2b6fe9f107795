"""Timers and the time, which is log time: it stands still while rules run, and a timer fires at its own due time."""

from __future__ import annotations

from typing import Any, Final

from opentec.rules.evaluation import Evaluation
from opentec.rules.event import Event
from opentec.rules.predicates.registry import Predicate
from opentec.rules.terms import RuleError, Struct, show, unify

_INFO_LIMIT: Final = 4096  # characters of a timer's info


def _plain(info: Any) -> bool:
    return all(map(_plain, info)) if type(info) is list else type(info) not in (Struct, Event)


def _set(run: Evaluation, event: Event, seconds: int, info: Any) -> bool:
    if not _plain(info) or len(show(info)) > _INFO_LIMIT:
        raise RuleError(f"the info of a timer is text, a number or a list of them, up to {_INFO_LIMIT} characters")
    run.set_timer(event, seconds, info)
    run.note(f"set a timer of {seconds} s on {event}: {show(info)}"[:200])
    return True


def _cancel(run: Evaluation, event: Event, info: Any) -> bool:
    return _cancel_those(run, event, lambda timer_info: bool(timer_info == info))


def _cancel_all(run: Evaluation, event: Event) -> bool:
    return _cancel_those(run, event, lambda timer_info: True)


def _cancel_those(run: Evaluation, event: Event, wanted: Any) -> bool:
    mine = [timer for timer in run.timers.of_event(event) if wanted(timer.info)]
    for timer in mine:
        run.cancel_timer(timer)
    if mine:
        run.note(f"cancelled {len(mine)} timer{'s' if len(mine) > 1 else ''} of {event}")
    return True


def _time(run: Evaluation, seconds: Any) -> bool:
    return unify(seconds, run.seconds, run.trail)


PREDICATES: Final = (
    Predicate(
        name="set_timer",
        modes="eiv",
        signature="set_timer(_event, seconds, info)",
        effect="Lets timer rules see the event again after that time, a second at least.",
        determinism="det",
        example="set_timer(_event, 90, 'Level 1')",
        function=_set,
    ),
    Predicate(
        name="cancel_timer",
        modes="ev",
        signature="cancel_timer(_event, info)",
        effect="Cancels the event's timers with this info.",
        determinism="det",
        example="cancel_timer(_event, 'Level 1')",
        function=_cancel,
    ),
    Predicate(
        name="cancel_all_timers",
        modes="e",
        signature="cancel_all_timers(_event)",
        effect="Cancels all timers of the event.",
        determinism="det",
        example="cancel_all_timers(_event)",
        function=_cancel_all,
    ),
    Predicate(
        name="get_time",
        modes="t",
        signature="get_time(_seconds)",
        effect="Gives the log time in seconds since 1970.",
        determinism="semidet",
        example="get_time(_now)",
        function=_time,
    ),
)
