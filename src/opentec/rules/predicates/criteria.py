"""Event criteria, which are named predicates on events, and named searches of the event cache.

The names are TEC's (tec.md 3.6); the arguments are our choice, since no public page shows them. Where a criterion is
asked for, the name of a class does as well, with all that inherit from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from opentec.events.classes import ClassTable
from opentec.events.errors import EventRejected, SourceError
from opentec.events.names import nearest, shown
from opentec.rules.ast import (
    Atom,
    Compound,
    Condition,
    EventArgument,
    EventFilter,
    ListTerm,
    Number,
    Place,
    Term,
    Test,
    Var,
)
from opentec.rules.evaluation import Evaluation
from opentec.rules.event import Event
from opentec.rules.filters import compile_filter
from opentec.rules.goals import Code
from opentec.rules.predicates.definitions import CRITERIA, SEARCH, definitions, text_list
from opentec.rules.predicates.registry import Predicate
from opentec.rules.predicates.relations import Relation, read_relations
from opentec.rules.scope import Frame, Reader, Scope, value_reader, wrong
from opentec.rules.terms import RuleError, show, unify

OPERATORS: Final = (
    *("equals", "not_equals", "within", "outside"),
    *("greater_than", "smaller_than", "greater_or_equals", "smaller_or_equals"),
)
CONDITION_LIMIT: Final = 100  # conditions of one criterion
YEAR: Final = 365 * 86_400  # seconds: the window of searches that name none (tec.md 3.6, all_clear_targets)
_SCAN: Final = 16  # events looked at for one step of the step limit
_NOWHERE: Final = Place("", 0, 0)


class Criterion:
    """A compiled criterion: the concrete classes that it takes, and `accepts`, the whole of it."""

    __slots__ = ("accepts", "classes", "name", "open_only", "ordered")

    def __init__(self, name: str, classes: frozenset[str], accepts: Callable[[Event], bool], open_only: bool) -> None:
        self.name = name
        self.classes = classes
        self.ordered = tuple(sorted(classes))
        self.accepts = accepts
        self.open_only = open_only

    def check_slot(self, run: Evaluation, slot: str, what: str) -> None:
        """Raises RuleError when no event of the criterion has the slot."""
        slots = slots_of(run, self.classes)
        if self.classes and slot not in slots:
            near = nearest(slot, sorted(slots))
            hint = f"; did you mean {near!r}?" if near else ""
            raise RuleError(f"{what}: no event of {self.name!r} has a slot {shown(slot)}{hint}")


def slots_of(run: Evaluation, classes: Iterable[str]) -> frozenset[str]:
    """The slots that some of these classes have."""
    return frozenset().union(*[shape.slots for name in classes if (shape := run.shapes.find(name)) is not None])


def criterion(run: Evaluation, name: str) -> Criterion:
    """The criterion of that name, or that of the class of that name. Raises RuleError when there is neither."""
    known = definitions(run)
    return known.compiled(run, (CRITERIA, name), lambda: _compile_named(run, name))


def _compile_named(run: Evaluation, name: str) -> Criterion:
    known = definitions(run)
    data = known.find(CRITERIA, name)
    if data is not None:
        return _compile(run, name, data)
    if run.shapes.find(name) is None:
        raise RuleError(known.missing(CRITERIA, name, [*known.names(CRITERIA), *run.shapes.table.classes]))
    return _compile(run, name, {"classes": [name], "inherit": True, "conditions": []})


def _compile(run: Evaluation, name: str, data: Any) -> Criterion:
    conditions = tuple(
        Condition(slot, None, (Test(operator, _term(value), place=_NOWHERE),), place=_NOWHERE)
        for slot, operator, value in data["conditions"]
    )
    classes = tuple(Atom(one, place=_NOWHERE) for one in data["classes"])
    source = EventFilter(Var("_event", place=_NOWHERE), classes, None, conditions, place=_NOWHERE)
    try:
        code = compile_filter(source, Scope(), run.shapes.table)
    except SourceError:
        # a class is gone since it was defined: such events do not come any more
        return Criterion(name, frozenset(), lambda event: False, open_only=False)
    if not data["inherit"]:
        code.classes = frozenset(data["classes"])
    return Criterion(name, code.classes or frozenset(), code.accepts(), code.open_only)


def _term(value: Any) -> Term:
    if type(value) is list:
        return ListTerm(tuple(map(_term, value)), place=_NOWHERE)
    if type(value) is str:
        return Atom(value, quoted=True, place=_NOWHERE)
    return Number(value, place=_NOWHERE)


def newest(
    run: Evaluation,
    classes: tuple[str, ...],
    host: str | None,
    open_only: bool,
    window: tuple[int, int],
    takes: Callable[[Event], bool],
) -> Iterator[Event]:
    """The cached events of these concrete classes that `takes` accepts, newest first, never the one under analysis.

    `window` are the earliest and the latest date_reception. Lazy: the cache must not change while it is read.
    """
    earliest, latest = window
    for looked, event in enumerate(run.cache.instances(classes, host, open_only), 1):
        date = event.slots["date_reception"]
        if date < earliest:
            return
        if looked % _SCAN == 0:
            run.count(1)
        if date <= latest and event is not run.event and takes(event):
            yield event


def window_around(event: Event, before: int, after: int) -> tuple[int, int]:
    """The dates of reception from `before` to `after` seconds around that of the event. Raises RuleError below 0."""
    if before < 0 or after < 0:
        raise RuleError("the seconds of a time window are not negative")
    date = event.slots["date_reception"]
    return date - before, date + after


# event criteria


def _create(run: Evaluation, name: str, classes: Any, inherit: str, conditions: Any) -> bool:
    if inherit.lower() not in ("yes", "no"):
        raise RuleError(f"whether {name!r} takes classes that inherit is yes or no, not {shown(inherit)}")
    if type(conditions) is not list:
        raise RuleError("the conditions of a criterion are a list of [slot, operator, value]")
    return _define(run, name, classes, inherit.lower() == "yes", conditions)


def _define(run: Evaluation, name: str, classes: Any, inherit: bool, conditions: list[Any]) -> bool:
    what = f"event criterion {name!r}"
    names = text_list(classes, f"the classes of {what}")
    found = []
    for one in names:
        if run.shapes.find(one) is None:
            near = nearest(one, run.shapes.table.classes)
            hint = f"; did you mean {near!r}?" if near else ""
            raise RuleError(f"{what}: class {shown(one)} is not defined{hint}")
        found += [cls for cls in run.shapes.table.classes.values() if cls.is_a(one) and (inherit or cls.name == one)]
    if len(conditions) > CONDITION_LIMIT:
        raise RuleError(f"{what} has more than {CONDITION_LIMIT} conditions")
    whole = Criterion(name, frozenset(cls.name for cls in found), lambda event: True, open_only=False)
    typed = []
    for condition in conditions:
        slot, operator, value = _parts(condition, what)
        whole.check_slot(run, slot, what)
        having = next(cls for cls in found if slot in cls.slots)
        typed.append([slot, operator, _typed(having, slot, operator, value, what)])
    data = {"classes": names, "inherit": inherit, "conditions": typed}
    definitions(run).put(run, CRITERIA, name, data)
    return True


def _parts(condition: Any, what: str) -> tuple[str, str, Any]:
    if type(condition) is not list or len(condition) != 3:
        raise RuleError(f"{what}: {show(condition)} is not [slot, operator, value]")
    slot, operator, value = condition
    if operator not in OPERATORS:
        near = nearest(operator, OPERATORS) if type(operator) is str else ""
        hint = f"did you mean {near!r}?" if near else f"there are {', '.join(OPERATORS)}"
        raise RuleError(f"{what}: {show(operator)} is not an operator; {hint}")
    return show(slot), operator, value


def _typed(cls: Any, slot: str, operator: str, value: Any, what: str) -> Any:
    """The value as the slot holds it, so that '5' is a number where the slot is one. Raises RuleError."""
    try:
        if operator not in ("within", "outside"):
            return cls.value(slot, value)
        if type(value) is not list:
            raise RuleError(f"{what}: {operator} takes a list, not {show(value)}")
        return [cls.value(slot, item) for item in value]
    except EventRejected as unfit:
        raise RuleError(f"{what}: {unfit}") from None


def _compile_create(table: ClassTable, term: Compound, scope: Scope) -> Code:
    """The form with an event filter: its constants are checked when the rule base is loaded."""
    name = value_reader(term.args[0], scope)
    argument = term.args[1]
    if not isinstance(argument, EventArgument):
        wrong("create_event_criteria needs an event filter here", argument.place, "write event: _e of_class 'C' where")
    source = argument.filter
    if source.class_variable is not None:
        wrong("a criterion names its classes", source.class_variable.place, "write of_class 'EVENT' for all of them")
    classes = [atom.value for atom in source.classes] or ["EVENT"]
    parts: list[tuple[str, str, Reader]] = []
    for condition in source.conditions:
        if condition.variable is not None:
            hint = f"write {condition.slot}: equals with its value"
            wrong("a criterion is kept and binds no variable", condition.variable.place, hint)
        parts += [(condition.slot, test.operator, value_reader(test.operand, scope)) for test in condition.tests]
    # the classes and constants of the filter are checked as those of any other
    compile_filter(source, scope.branch(), table)
    place = f"{term.place.file}:{term.place.line}"

    def create(frame: Frame, run: Evaluation) -> bool:
        try:
            called = name(frame)
            if type(called) is not str:
                raise RuleError(f"the name of an event criterion is text, not {show(called)!r}")
            return _define(run, called, classes, True, [[slot, test, value(frame)] for slot, test, value in parts])
        except RuleError as error:
            error.place = error.place or place
            raise

    return create


def _check(run: Evaluation, event: Event, name: str) -> bool:
    return criterion(run, name).accepts(event)


# searches


class _Search:
    __slots__ = ("after", "before", "found", "relation")

    def __init__(self, run: Evaluation, data: Any) -> None:
        self.found = criterion(run, data["criteria"])
        self.relation = Relation(data["relations"])
        self.before: int = data["before"]
        self.after: int = data["after"]


def _create_search(run: Evaluation, name: str, of: str, relations: Any, before: int, after: int) -> bool:
    found = criterion(run, of)
    if before < 0 or after < 0:
        raise RuleError("the seconds of a time window are not negative")
    what = f"cache search criterion {name!r}"
    read = read_relations(relations, what)
    for slot in Relation(read).second_slots:
        found.check_slot(run, slot, what)
    data = {"criteria": of, "relations": read, "before": before, "after": after}
    definitions(run).put(run, SEARCH, name, data)
    return True


def _search(run: Evaluation, event: Event, name: str, target: Any) -> Iterator[bool]:
    known = definitions(run)
    search = known.compiled(run, (SEARCH, name), lambda: _Search(run, known.get(SEARCH, name)))
    criteria, relation = search.found, search.relation
    takes = lambda found: found is not event and criteria.accepts(found) and relation.holds(event, found)  # noqa: E731
    window = window_around(event, search.before, search.after)
    # a list: what follows may change the cache while we walk
    for found in list(newest(run, criteria.ordered, relation.host_of_second(event), criteria.open_only, window, takes)):
        if unify(target, found, run.trail):
            yield True


PREDICATES: Final[tuple[Predicate, ...]] = (
    Predicate(
        name="create_event_criteria",
        modes="svsv",
        signature="create_event_criteria(name, class, yes|no, [[slot, operator, value], ...])",
        effect="Defines a criterion: events of the class, or of several in a list, with those that inherit or without, "
        "for which every condition holds. Operators are those of event filters.",
        determinism="det",
        example="create_event_criteria(full, 'EVENT', yes, [[status, outside, ['CLOSED']]])",
        function=_create,
    ),
    Predicate(
        name="create_event_criteria",
        modes="st",
        signature="create_event_criteria(name, event: _e of_class C where [...])",
        effect="Defines a criterion by an event filter, which binds no variables.",
        determinism="det",
        example="create_event_criteria(full, event: _e of_class 'EVENT' where [status: outside ['CLOSED']])",
        compile=_compile_create,
    ),
    Predicate(
        name="check_event_criteria",
        modes="es",
        signature="check_event_criteria(_event, name)",
        effect="Succeeds when the criterion takes the event.",
        determinism="semidet",
        example="check_event_criteria(_event, full)",
        function=_check,
    ),
    Predicate(
        name="create_cache_search_criteria",
        modes="ssvii",
        signature="create_cache_search_criteria(name, criterion, [slot, ...], before, after)",
        effect="Defines a search: events of the criterion that agree with a given one in the slots, received at most "
        "so many seconds before or after it.",
        determinism="det",
        example="create_cache_search_criteria(before, 'EVENT', [hostname], 600, 0)",
        function=_create_search,
    ),
    Predicate(
        name="search_cache",
        modes="est",
        signature="search_cache(_event, name, _found)",
        effect="Finds every event in the cache that the named search takes for this event, newest first.",
        determinism="nondet",
        example="search_cache(_event, before, _found)",
        function=_search,
        many=True,
    ),
)
