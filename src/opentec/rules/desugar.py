"""Simple rules and correlation rules as plain rules: the engine knows no others.

The new nodes have the places of the words that they stand for, so every later error points into the source. What TEC's
public pages leave open is decided here (tec-2.md 3.2) and told in docs/rule-language.md, "Our choices".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

from opentec.events.errors import SourceError
from opentec.rules.ast import (
    Action,
    Atom,
    Compound,
    Condition,
    EventArgument,
    EventFilter,
    ListTerm,
    Number,
    Place,
    Rule,
    Term,
    Test,
    Var,
)
from opentec.rules.parser_kinds import Comparison, CorrelationRule, SimpleRule, SlotOf

if TYPE_CHECKING:
    from opentec.rules.predicates.registry import Predicate

FREQUENCY: Final = "$frequency_exceeds"  # (_event, 'SET/RULE', number, seconds): predicates/counters.py
DUPLICATE: Final = "_duplicate"  # what `when: duplicate` found
_ACTION: Final = "action_1"
_CONTROL: Final = (",", ";", "->", "\\+", "not", "once", "ignore")
_FLIPPED: Final = {
    "greater_than": "smaller_than",
    "smaller_than": "greater_than",
    "greater_or_equals": "smaller_or_equals",
    "smaller_or_equals": "greater_or_equals",
}
# the class before the relation, and the one behind it
_ROLES: Final = {"causes": ("_cause", "_effect"), "clears": ("_clearing", "_problem")}


def plain_simple(simple: SimpleRule, rule_set: str, registry: Mapping[tuple[str, int], Predicate]) -> Rule:
    """The plain rule of a simple rule: one reception_action that begins with what `when` asks.

    Goals get the event as their first argument where a predicate takes one there. Raises SourceError where a variable
    has the name of one that is made here.
    """
    place, event = simple.when_place, simple.event.variable.name
    made = (event, DUPLICATE) if simple.when == "duplicate" else (event,)
    for condition in simple.event.conditions:
        for var in (condition.variable, *(test.operand for test in condition.tests)):
            if isinstance(var, Var) and var.name in made:
                what = "the event itself" if var.name == event else "the duplicate"
                raise _error(f"{var.name} is {what} in a simple rule", var.place, "give the variable another name")
    body = _with_event(simple.goals, event, simple.when == "duplicate", registry)
    if simple.when == "frequency_exceeds":
        assert simple.number is not None and simple.seconds is not None
        name = Atom(f"{rule_set}/{simple.name}", True, place=place)
        numbers = (Number(simple.number, place=place), Number(simple.seconds, place=place))
        body = _and(Compound(FREQUENCY, (Var(event, place=place), name, *numbers), place=place), body)
    elif simple.when == "duplicate":
        found = EventFilter(Var(DUPLICATE, place=place), (), None, (_not_closed(place),), place=place)
        args = (Var(event, place=place), EventArgument(found, place=place), *_window(event, simple.seconds, place))
        body = _and(Compound("first_duplicate", args, place=place), body)
    return Rule(
        kind="rule",
        name=simple.name,
        event=simple.event,
        description=simple.description,
        directives=simple.directives,
        actions=(Action("reception_action", _ACTION, body, place=place),),
        source_kind="simple_rule",
        place=simple.place,
    )


def _with_event(term: Term, event: str, duplicate: bool, registry: Mapping[tuple[str, int], Predicate]) -> Term:
    """The goal with the event put first where its predicate takes one and none is there."""
    name, args = term.value if isinstance(term, Atom) else "", tuple[Term, ...]()
    if isinstance(term, Compound):
        name, args = term.name, term.args
        if name in _CONTROL:
            inner = tuple(_with_event(arg, event, duplicate, registry) for arg in args)
            return Compound(name, inner, place=term.place)
    if args and isinstance(args[0], Var) and args[0].name in (event, DUPLICATE):
        return term
    predicate = registry.get((name, len(args) + 1))
    if predicate is None or not predicate.modes.startswith("e"):
        return term
    # the number of repeats belongs to the event that stays
    first = DUPLICATE if duplicate and name == "add_to_repeat_count" else event
    return Compound(name, (Var(first, place=term.place), *args), place=term.place)


def plain_correlation(rule: CorrelationRule) -> tuple[Rule, ...]:
    """The plain rules of a correlation rule.

    `A causes B`: one rule for B, which looks for the newest open A, and NAME (2) for A, which looks for every open B;
    an effect that has a cause already keeps it, and an event that was dropped is neither (our choice: it is not
    stored, its duplicate is). `A clears B`: one rule for A, which closes every open B.
    """
    if rule.relation == "clears":
        return (_correlated(rule, 0, rule.name),)
    return _correlated(rule, 1, rule.name), _correlated(rule, 0, f"{rule.name} (2)")


def _correlated(rule: CorrelationRule, received: Literal[0, 1], name: str) -> Rule:
    """The rule that runs when an event of this side is received and looks for events of the other."""
    place, roles = rule.relation_place, _ROLES[rule.relation]
    first, second = Var(roles[received], place=place), Var(roles[1 - received], place=place)
    own, others = _conditions(rule.comparisons, received, roles)
    others = (_not_closed(place), *others)
    if rule.relation == "clears":
        action = Compound("change_event_status", (second, Atom("CLOSED", True, place=place)), place=place)
        search = "all_instances"
    else:
        cause, effect = Var(roles[0], place=place), Var(roles[1], place=place)
        action = Compound("link_effect_to_cause", (effect, cause), place=place)
        search = "first_instance" if received == 1 else "all_instances"
        if received == 1:
            own = (_without_cause(place), *own)
        else:
            others = (_without_cause(place), *others)
    found = EventFilter(second, (rule.classes[1 - received],), None, others, place=place)
    window = _window(first.name, rule.seconds, place)
    body = _and(Compound(search, (EventArgument(found, place=place), *window), place=place), action)
    if rule.relation != "clears":
        dropped = Atom("received_event_dropped", place=place)
        body = _and(Compound("\\+", (dropped,), place=place), body)
    return Rule(
        kind="rule",
        name=name,
        event=EventFilter(first, (rule.classes[received],), None, own, place=place),
        description=rule.description,
        directives=rule.directives,
        actions=(Action("reception_action", _ACTION, body, place=place),),
        source_kind="correlation_rule",
        place=rule.place,
    )


def _conditions(
    comparisons: tuple[Comparison, ...], received: Literal[0, 1], roles: tuple[str, str]
) -> tuple[tuple[Condition, ...], tuple[Condition, ...]]:
    """The conditions on the received event, and those on the ones looked for.

    A slot that the other side of a comparison needs is bound to a variable first.
    """
    bound: tuple[dict[str, Condition], dict[str, Condition]] = ({}, {})
    tests: tuple[list[Condition], list[Condition]] = ([], [])

    def bind(slot: SlotOf) -> Var:
        var = Var(f"{roles[slot.side]}_{slot.slot}", place=slot.place)
        bound[slot.side].setdefault(slot.slot, Condition(slot.slot, var, place=slot.place))
        return var

    for left, test, right in comparisons:
        operator, tested = test.operator, left
        operand: Term = test.operand
        if right is not None:
            if left.side == received and right.side != received:
                # the slot of the event that is looked for is the one that is tested
                tested, operator, operand = right, _FLIPPED.get(operator, operator), bind(left)
            else:
                operand = bind(right)
        found = Test(operator, operand, place=test.place)
        tests[tested.side].append(Condition(tested.slot, None, (found,), place=tested.place))
    conditions = [(*bound[side].values(), *tests[side]) for side in (0, 1)]
    return conditions[received], conditions[1 - received]


def _window(event: str, seconds: int | None, place: Place) -> tuple[Term, ...]:
    if seconds is None:
        return ()
    before = Compound("-", (Var(event, place=place), Number(seconds, place=place)), place=place)
    return (Compound("-", (before, Number(0, place=place)), place=place),)


def _not_closed(place: Place) -> Condition:
    closed = ListTerm((Atom("CLOSED", True, place=place),), place=place)
    return Condition("status", None, (Test("outside", closed, place=place),), place=place)


def _without_cause(place: Place) -> Condition:
    none = Test("equals", Number(0, place=place), place=place)
    return Condition("cause_date_reception", None, (none,), place=place)


def _and(left: Term, right: Term) -> Term:
    return Compound(",", (left, right), place=left.place)


def _error(message: str, place: Place, hint: str) -> SourceError:
    return SourceError(message, file=place.file, line=place.line, column=place.column, hint=hint)
