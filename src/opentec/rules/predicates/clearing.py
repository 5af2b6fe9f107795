"""Clearing events: which event ends which problem.

The names, the arguments of all_clear_targets and its window of a year each way are TEC's (tec.md 3.6); the rest is our
choice. Problems are sought among events that are not CLOSED, recoveries among all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from operator import attrgetter
from typing import Any, Final

from opentec.rules.evaluation import Evaluation
from opentec.rules.event import Event
from opentec.rules.predicates.criteria import YEAR, Criterion, criterion, newest, window_around
from opentec.rules.predicates.definitions import CLEARING, definitions, text_list
from opentec.rules.predicates.registry import Predicate
from opentec.rules.predicates.relations import Relation, read_relations
from opentec.rules.terms import RuleError, unify

TARGET_LIMIT: Final = 100  # criteria of problems that one definition names
_eid: Final = attrgetter("eid")


class _Clearing:
    __slots__ = ("classes", "clearing", "ordered", "relation", "targets")

    def __init__(self, run: Evaluation, data: Any) -> None:
        self.clearing = criterion(run, data["clearing"])
        self.targets: tuple[Criterion, ...] = tuple([criterion(run, name) for name in data["targets"]])
        self.classes = frozenset().union(*[target.classes for target in self.targets])
        self.ordered = tuple(sorted(self.classes))
        self.relation = Relation(data["relations"])

    def is_target(self, event: Event) -> bool:
        return any(target.accepts(event) for target in self.targets)


def _create(run: Evaluation, name: str, clearing: str, targets: Any, relations: Any) -> bool:
    what = f"clearing event {name!r}"
    names = text_list(targets, f"the problems of {what}")
    if len(names) > TARGET_LIMIT:
        raise RuleError(f"{what} names more than {TARGET_LIMIT} problems")
    definition = {"clearing": clearing, "targets": names, "relations": read_relations(relations, what)}
    made = _Clearing(run, definition)
    for slot in made.relation.first_slots:
        made.clearing.check_slot(run, slot, what)
    for target in made.targets:
        for slot in made.relation.second_slots:
            target.check_slot(run, slot, what)
    definitions(run).put(run, CLEARING, name, definition)
    return True


def _all(run: Evaluation) -> tuple[_Clearing, ...]:
    known = definitions(run)
    return known.compiled(
        run,
        (CLEARING, "all"),
        lambda: tuple([_Clearing(run, known.get(CLEARING, name)) for name in known.names(CLEARING)]),
    )


def _which_clear(run: Evaluation, event: Event) -> list[_Clearing]:
    """The definitions by which the event ends something."""
    name, known = event.class_name, definitions(run)
    of_class: tuple[_Clearing, ...] | None = known.made(run).get((CLEARING, "clears", name))
    if of_class is None:
        of_class = known.compiled(
            run,
            (CLEARING, "clears", name),
            lambda: tuple([one for one in _all(run) if name in one.clearing.classes]),
        )
    return [one for one in of_class if one.clearing.accepts(event)]


def _which_end(run: Evaluation, event: Event) -> list[_Clearing]:
    """The definitions by which the event is a problem that something ends."""
    name = event.class_name
    of_class = definitions(run).compiled(
        run,
        (CLEARING, "ends", name),
        lambda: tuple([one for one in _all(run) if name in one.classes]),
    )
    return [one for one in of_class if one.is_target(event)]


def _targets(run: Evaluation, clear: Event, before: int, after: int) -> Iterator[Event]:
    window = window_around(clear, before, after)

    def of(one: _Clearing) -> Iterator[Event]:
        holds, is_target = one.relation.holds, one.is_target
        takes = lambda event: event is not clear and is_target(event) and holds(clear, event)  # noqa: E731
        return newest(run, one.ordered, one.relation.host_of_second(clear), True, window, takes)

    return _merged([of(one) for one in _which_clear(run, clear)])


def _recoveries(run: Evaluation, problem: Event, before: int, after: int) -> Iterator[Event]:
    window = window_around(problem, before, after)

    def of(one: _Clearing) -> Iterator[Event]:
        holds, accepts = one.relation.holds, one.clearing.accepts
        takes = lambda event: event is not problem and accepts(event) and holds(event, problem)  # noqa: E731
        clearing = one.clearing
        return newest(run, clearing.ordered, one.relation.host_of_first(problem), clearing.open_only, window, takes)

    return _merged([of(one) for one in _which_end(run, problem)])


def _merged(found: list[Iterator[Event]]) -> Iterator[Event]:
    """Newest first, each event once, and no further than is looked at."""
    if len(found) == 1:
        yield from found[0]
        return
    last = None
    for event in merge(*found, key=_eid, reverse=True):
        if event is not last:
            yield event
        last = event


def _first(run: Evaluation, found: Iterable[Event], term: Any) -> bool:
    return any(unify(term, event, run.trail) for event in found)


def _is_clearing(run: Evaluation, event: Event) -> bool:
    return bool(_which_clear(run, event))


def _clears(run: Evaluation, clear: Event, problem: Event) -> bool:
    return any(one.is_target(problem) and one.relation.holds(clear, problem) for one in _which_clear(run, clear))


def _any_target(run: Evaluation, clear: Event, target: Any, before: int = YEAR, after: int = YEAR) -> bool:
    return _first(run, _targets(run, clear, before, after), target)


def _all_targets(run: Evaluation, clear: Event, target: Any, before: int = YEAR, after: int = YEAR) -> Iterator[bool]:
    # a list: what follows closes the problems while we walk
    for event in list(_targets(run, clear, before, after)):
        if unify(target, event, run.trail):
            yield True


def _any_clearing(run: Evaluation, problem: Event, clear: Any, before: int = 0, after: int = YEAR) -> bool:
    return _first(run, _recoveries(run, problem, before, after), clear)


_WINDOWS: Final = (("", ""), (", before, after", "ii"))
PREDICATES: Final[tuple[Predicate, ...]] = (
    Predicate(
        name="create_clearing_event",
        modes="ssvv",
        signature="create_clearing_event(name, criterion, [problem, ...], [slot, ...])",
        effect="Defines that events of the criterion end problems of the other criteria which agree with them in the "
        "slots.",
        determinism="det",
        example="create_clearing_event(up, 'TEC_Start', ['TEC_Stop'], [hostname])",
        function=_create,
    ),
    Predicate(
        name="is_clearing_event",
        modes="e",
        signature="is_clearing_event(_event)",
        effect="Succeeds when the event ends problems by some definition, whether there are any or not.",
        determinism="semidet",
        example="is_clearing_event(_event)",
        function=_is_clearing,
    ),
    Predicate(
        name="clears",
        modes="ee",
        signature="clears(_clear, _problem)",
        effect="Succeeds when the first event ends the second by some definition, whenever they came.",
        determinism="semidet",
        example="clears(_event, _down)",
        function=_clears,
    ),
    *[
        Predicate(
            name="any_clear_target",
            modes="et" + modes,
            signature=f"any_clear_target(_clear, _target{window})",
            effect="Finds the newest problem in the cache, not CLOSED, that this event ends; a year before and after "
            "it unless seconds are given.",
            determinism="semidet",
            example="any_clear_target(_event, _target)" if not window else "any_clear_target(_event, _target, 600, 0)",
            function=_any_target,
        )
        for window, modes in _WINDOWS
    ],
    *[
        Predicate(
            name="all_clear_targets",
            modes="et" + modes,
            signature=f"all_clear_targets(_clear, _target{window})",
            effect="Finds every problem in the cache, not CLOSED, that this event ends, newest first; a year before "
            "and after it unless seconds are given.",
            determinism="nondet",
            example="all_clear_targets(_event, _target)" if not window else "all_clear_targets(_event, _tgt, 600, 0)",
            function=_all_targets,
            many=True,
        )
        for window, modes in _WINDOWS
    ],
    *[
        Predicate(
            name="any_clearing_event",
            modes="et" + modes,
            signature=f"any_clearing_event(_problem, _clear{window})",
            effect="Finds the newest event in the cache, in any status, that ends this problem; received with or after "
            "it unless seconds are given.",
            determinism="semidet",
            example="any_clearing_event(_down, _clear)" if not window else "any_clearing_event(_event, _clear, 10, 0)",
            function=_any_clearing,
        )
        for window, modes in _WINDOWS
    ],
)
