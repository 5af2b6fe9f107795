"""Event sequences: chains of problems from the root cause to the last effect, and what related events share.

The names that begin with create_ and attr_ are TEC's (tec.md 3.6), their arguments our choice. TEC asks sequences
through predicates whose public descriptions are lost; first_sequence_cause and all_sequence_effects are our own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from opentec.rules.evaluation import Evaluation
from opentec.rules.event import Event
from opentec.rules.predicates.criteria import YEAR, Criterion, criterion, newest, window_around
from opentec.rules.predicates.definitions import SEQUENCE, definitions, text_list
from opentec.rules.predicates.registry import Predicate
from opentec.rules.predicates.relations import Relation, read_relations
from opentec.rules.predicates.windows import LONGEST
from opentec.rules.terms import Ref, RuleError, Struct, deref, show, undo, unify

LINK_LIMIT: Final = 100  # criteria of one sequence


class _Sequence:
    __slots__ = ("classes", "links", "name", "relation", "seconds")

    def __init__(self, run: Evaluation, name: str, data: Any) -> None:
        self.name = name
        self.links: tuple[Criterion, ...] = tuple([criterion(run, one) for one in data["criteria"]])
        self.classes = frozenset().union(*[link.classes for link in self.links])
        self.relation = Relation(data["relations"])
        self.seconds: int = data["seconds"]

    def places(self, event: Event) -> list[int]:
        """Where in the chain the event may stand."""
        return [at for at, link in enumerate(self.links) if link.accepts(event)]

    def causes(self, run: Evaluation, effect: Event) -> Iterator[Event]:
        """Open events further up, those of the root first, newest first in each link."""
        window, holds = window_around(effect, self.seconds, self.seconds), self.relation.holds
        host = self.relation.host_of_first(effect)
        for link in self.links[: max(self.places(effect), default=0)]:
            accepts = link.accepts
            takes = lambda event, accepts=accepts: event is not effect and accepts(event) and holds(event, effect)  # noqa: E731
            yield from newest(run, link.ordered, host, True, window, takes)

    def effects(self, run: Evaluation, cause: Event) -> Iterator[Event]:
        """Open events further down, each once, those of the nearest link first, newest first in each link."""
        window, holds = window_around(cause, self.seconds, self.seconds), self.relation.holds
        host = self.relation.host_of_second(cause)
        seen: set[int] = set()
        for link in self.links[min(self.places(cause), default=len(self.links)) + 1 :]:
            accepts = link.accepts
            takes = lambda event, accepts=accepts: event is not cause and accepts(event) and holds(cause, event)  # noqa: E731
            for event in newest(run, link.ordered, host, True, window, takes):
                if event.eid not in seen:
                    seen.add(event.eid)
                    yield event


def _create(run: Evaluation, name: str, criteria: Any, relations: Any) -> bool:
    return _create_within(run, name, criteria, relations, YEAR)


def _create_within(run: Evaluation, name: str, criteria: Any, relations: Any, seconds: int) -> bool:
    what = f"event sequence {name!r}"
    names = text_list(criteria, f"the criteria of {what}")
    if not 2 <= len(names) <= LINK_LIMIT:
        raise RuleError(f"{what} is a list of 2 to {LINK_LIMIT} criteria, from the cause to the last effect")
    if not 0 <= seconds <= LONGEST:
        raise RuleError(f"{what}: the seconds between its events are 0 to ten years, not {seconds}")
    data = {"criteria": names, "relations": read_relations(relations, what), "seconds": seconds}
    made = _Sequence(run, name, data)
    for slots, links in ((made.relation.first_slots, made.links[:-1]), (made.relation.second_slots, made.links[1:])):
        for slot in slots:
            for link in links:
                link.check_slot(run, slot, what)
    definitions(run).put(run, SEQUENCE, name, data)
    return True


def _which(run: Evaluation, event: Event, name: Any) -> tuple[_Sequence, ...]:
    """The sequences to look at: the named one, or with an unbound name all that know the event's class."""
    known = definitions(run)
    name = deref(name)
    if type(name) is not Ref:
        one = show(name)
        return (known.compiled(run, (SEQUENCE, one), lambda: _Sequence(run, one, known.get(SEQUENCE, one))),)
    class_name = event.class_name

    def make() -> tuple[_Sequence, ...]:
        every = [_Sequence(run, one, known.get(SEQUENCE, one)) for one in known.names(SEQUENCE)]
        return tuple([sequence for sequence in every if class_name in sequence.classes])

    return known.compiled(run, (SEQUENCE, "of class", class_name), make)


def _first_cause(run: Evaluation, effect: Event, name: Any, cause: Any) -> bool:
    for sequence in _which(run, effect, name):
        for event in sequence.causes(run, effect):
            mark = len(run.trail)
            if unify(cause, event, run.trail) and unify(name, sequence.name, run.trail):
                return True
            undo(run.trail, mark)
    return False


def _all_effects(run: Evaluation, cause: Event, name: Any, effect: Any) -> Iterator[bool]:
    # lists: what follows may change the cache while we walk
    found = [(sequence.name, list(sequence.effects(run, cause))) for sequence in _which(run, cause, name)]
    for called, events in found:
        for event in events:
            if unify(effect, event, run.trail) and unify(name, called, run.trail):
                yield True


def _condition(run: Evaluation, first: Event, second: Event, slots: Any) -> bool:
    return _related(first, second, Struct("attr_condition", (slots,)))


def _exception(run: Evaluation, first: Event, second: Event, slots: Any) -> bool:
    return _related(first, second, Struct("attr_exception", (slots,)))


def _sequence(run: Evaluation, first: Event, second: Event, slot: str, values: Any) -> bool:
    return _related(first, second, Struct("attr_sequence", (slot, values)))


def _related(first: Event, second: Event, relation: Struct) -> bool:
    return Relation(read_relations([relation], relation.name)).holds(first, second)


PREDICATES: Final[tuple[Predicate, ...]] = (
    Predicate(
        name="create_event_sequence",
        modes="svv",
        signature="create_event_sequence(name, [criterion, ...], [slot, ...])",
        effect="Defines a chain of problems, the cause first; events of it belong together when they agree in the "
        "slots.",
        determinism="det",
        example="create_event_sequence(outage, ['TEC_Stop', 'TEC_Notice'], [hostname])",
        function=_create,
    ),
    Predicate(
        name="create_event_sequence",
        modes="svvi",
        signature="create_event_sequence(name, [criterion, ...], [slot, ...], seconds)",
        effect="The same, for events that were received at most so many seconds apart; without them, a year.",
        determinism="det",
        example="create_event_sequence(outage, ['TEC_Stop', 'TEC_Notice'], [hostname], 600)",
        function=_create_within,
    ),
    Predicate(
        name="first_sequence_cause",
        modes="ett",
        signature="first_sequence_cause(_effect, name, _cause)",
        effect="Finds the newest event in the cache, not CLOSED, that stands nearest to the root of the chain above "
        "this event. An unbound name tries all sequences, sorted, and is bound.",
        determinism="semidet",
        example="first_sequence_cause(_event, outage, _cause)",
        function=_first_cause,
    ),
    Predicate(
        name="all_sequence_effects",
        modes="ett",
        signature="all_sequence_effects(_cause, name, _effect)",
        effect="Finds every event in the cache, not CLOSED, below this event in the chain, link by link, newest first. "
        "An unbound name tries all sequences, sorted, and is bound.",
        determinism="nondet",
        example="all_sequence_effects(_event, outage, _effect)",
        function=_all_effects,
        many=True,
    ),
    Predicate(
        name="attr_condition",
        modes="eev",
        signature="attr_condition(_first, _second, [slot, ...])",
        effect="Succeeds when both events have the same values in these slots; slot=slot compares two different ones. "
        "As attr_condition([slot, ...]) it stands among the slots of a definition.",
        determinism="semidet",
        example="attr_condition(_event, _down, [hostname, origin=hostname])",
        function=_condition,
    ),
    Predicate(
        name="attr_exception",
        modes="eev",
        signature="attr_exception(_first, _second, [slot, ...])",
        effect="Succeeds when both events have the same values in all slots with dup_detect that both have, but these. "
        "As attr_exception([slot, ...]) it stands among the slots of a definition.",
        determinism="semidet",
        example="attr_exception(_event, _down, [msg])",
        function=_exception,
    ),
    Predicate(
        name="attr_sequence",
        modes="eesv",
        signature="attr_sequence(_first, _second, slot, [value, ...])",
        effect="Succeeds when the first event's value stands before the second's in the list. "
        "As attr_sequence(slot, [value, ...]) it stands among the slots of a definition.",
        determinism="semidet",
        example="attr_sequence(_down, _event, severity, ['WARNING', 'MINOR', 'CRITICAL'])",
        function=_sequence,
    ),
)
