"""Causes and effects among events: the link of an effect to its cause, followed both ways (tec.md 2.3, 3.6).

Names are TEC's; the arguments are our choice, those of first_duplicate. Like every search these find cached events
only, and never the event under analysis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, Final

from opentec.events.classes import ClassTable
from opentec.rules.ast import Compound
from opentec.rules.cache import cause_of
from opentec.rules.evaluation import Evaluation
from opentec.rules.event import CLOSED, Event
from opentec.rules.filters import FilterCode
from opentec.rules.goals import Code
from opentec.rules.predicates.registry import Predicate
from opentec.rules.predicates.search import Candidates, compile_search
from opentec.rules.scope import Frame, Reader, Scope

_eid: Final = attrgetter("eid")
Find = Callable[[Evaluation, Event, bool], Iterable[Event]]


def _effects(run: Evaluation, event: Event, open_only: bool) -> Iterable[Event]:
    return run.cache.effects(event.key[:2], open_only)


def _cause(run: Evaluation, event: Event, open_only: bool) -> Iterable[Event]:
    date, handle = cause_of(event)
    found = run.cache.find((date, handle, event.slots["server_handle"])) if handle else None
    return () if found is None or (open_only and found.status == CLOSED) else (found,)


def _related(run: Evaluation, event: Event, open_only: bool) -> Iterable[Event]:
    """Its cause, its effects, and what else has its cause; newest first."""
    found = {*_cause(run, event, open_only), *_effects(run, event, open_only)}
    cause = cause_of(event)
    if cause[1]:
        found.update(run.cache.effects(cause, open_only))
    found.discard(event)
    return sorted(found, key=_eid, reverse=True)


def _compiler(find: Find) -> Callable[[ClassTable, Compound, Scope], Code]:
    def about(reference: Reader, code: FilterCode) -> Candidates:
        open_only = code.open_only

        def candidates(frame: Frame, run: Evaluation) -> Iterable[Event]:
            event: Any = reference(frame)
            return find(run, event, open_only)

        return candidates

    return lambda table, term, scope: compile_search(table, term, scope, about)


_KINDS: Final = (
    ("first_effect_event", "_cause", "Finds the newest event whose cause is this one.", "semidet", _effects),
    ("all_effect_events", "_cause", "Finds every event whose cause is this one, newest first.", "nondet", _effects),
    ("first_causal_event", "_effect", "Finds the event that this one was linked to as its cause.", "semidet", _cause),
    (
        "first_related_event",
        "_event",
        "Finds the newest among its cause, its effects, and the other effects of its cause.",
        "semidet",
        _related,
    ),
)
PREDICATES: Final = tuple(
    Predicate(
        name=name,
        modes=modes,
        signature=f"{name}({first}, event: _found of_class C where [...]{window})",
        effect=effect,
        determinism=determinism,
        example=f"{name}(_event, event: _found of_class 'EVENT' where [status: outside ['CLOSED']]{example})",
        compile=_compiler(find),
    )
    for name, first, effect, determinism, find in _KINDS
    for modes, window, example in (("et", "", ""), ("ett", ", _ref - before - after", ", _event - 600 - 600"))
)
