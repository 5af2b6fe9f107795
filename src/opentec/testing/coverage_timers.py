"""Which timers the rules of a rule base set, as far as it is written out: what a timer rule can be asked about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from opentec.rules.ast import Compound, EventFilter, RuleSet, Term, Test, Var
from opentec.rules.clauses import CONTROL_GOALS
from opentec.rules.compiled import CompiledRule
from opentec.rules.scope import NO_CONSTANT, constant

SET_TIMER: Final = ("set_timer", 3)
POSITIVE: Final = ("equals", "within")
NEGATIVE: Final = ("not_equals", "outside")


class Setter(NamedTuple):
    """A goal that sets timers."""

    classes: frozenset[str] | None  # of the events that they are set for; None: not known
    duration: Any  # NO_CONSTANT where it is computed
    info: Any


def setters(rule_sets: Iterable[RuleSet], rules: Iterable[CompiledRule]) -> list[Setter]:
    """Every goal of actions and clauses that sets a timer."""
    found = [
        _setter(goal, rule.source.event, rule.filter.classes)
        for rule in rules
        for action in rule.source.actions
        for goal in timer_goals(action.body)
    ]
    for rule_set in rule_sets:
        for clause in rule_set.clauses:
            if clause.body is not None:
                found += [_setter(goal, None, None) for goal in timer_goals(clause.body)]
    return found


def _setter(goal: Compound, event: EventFilter | None, classes: frozenset[str] | None) -> Setter:
    target, duration, info = goal.args
    own = event is not None and isinstance(target, Var) and target.name == event.variable.name
    return Setter(classes if own else None, constant(duration), constant(info))


def timer_goals(body: Term) -> Iterator[Compound]:
    """The goals of a body that set timers."""
    for goal in goals_of(body):
        if isinstance(goal, Compound) and (goal.name, len(goal.args)) == SET_TIMER:
            yield goal


def goals_of(body: Term) -> Iterator[Term]:
    """Every goal of a body, those within others too."""
    yield body
    if isinstance(body, Compound):
        for number in CONTROL_GOALS.get((body.name, len(body.args)), ()):
            yield from goals_of(body.args[number])


def all_of_class(found: Iterable[Setter], classes: frozenset[str]) -> bool:
    """Whether all timers are set for events of these classes, for certain."""
    return all(setter.classes is not None and setter.classes <= classes for setter in found)


def all_pass(found: Iterable[Setter], classes: frozenset[str] | None, slot: str, test: Test) -> bool:
    """Whether every timer that may be for an event of these classes passes a test of a timer rule, for certain."""
    wanted = constants(test)
    if wanted is None:
        return False
    for setter in found:
        if setter.classes is not None and classes is not None and setter.classes.isdisjoint(classes):
            continue
        value = setter.info if slot == "timer_info" else setter.duration
        if value is NO_CONSTANT or not comparable([value], wanted) or not passes(value, test.operator, wanted):
            return False
    return True


def constants(test: Test) -> list[Any] | None:
    """The texts and numbers that a test compares with; None where they are not all written out."""
    value = constant(test.operand)
    if value is NO_CONSTANT:
        return None
    values = value if isinstance(value, list) else [value]
    return values if all(type(item) in (str, int, float) for item in values) else None


def comparable(given: Iterable[Any], wanted: Iterable[Any]) -> bool:
    """Whether these are all texts, or all numbers: a number may also name a member of an enumeration."""
    kinds = {type(value) for value in (*given, *wanted)}
    return kinds <= {str} or kinds <= {int, float}


def passes(value: Any, operator: str, wanted: Sequence[Any]) -> bool:
    """Whether a value passes a test with constants, for certain; orders are not judged, enumerations have their own."""
    if operator in POSITIVE:
        return value in wanted
    return operator in NEGATIVE and value not in wanted
