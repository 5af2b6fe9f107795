"""A rule base as lint looks at it: every body with where it stands, every goal, and what events variables may hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final, NamedTuple

from opentec.events.classes import ROOT, ClassTable
from opentec.rules.ast import (
    Action,
    Atom,
    Clause,
    Compound,
    Condition,
    EventArgument,
    EventFilter,
    ListTerm,
    Number,
    Place,
    Rule,
    RuleSet,
    Term,
    Text,
    Var,
)
from opentec.rules.clauses import ASSERTS, CONTROL_GOALS
from opentec.rules.rulebase import RuleBase
from opentec.testing.coverage_plan import author

Key = tuple[str, int]  # name and number of arguments
_DUPLICATES: Final = ("first_duplicate", "all_duplicates")
_ROUNDS: Final = 8  # calls of clauses within one another that classes are followed through


class Site(NamedTuple):
    """Where a body stands: an action of a rule, or a clause."""

    rule_set: RuleSet
    rule: Rule | None
    action: Action | None
    clause: Clause | None

    @property
    def body(self) -> Term | None:
        return self.action.body if self.action is not None else self.clause.body if self.clause is not None else None

    @property
    def name(self) -> str:
        """`RULE_SET/RULE`, or the clause's `name/arity`."""
        if self.rule is not None:
            return f"{self.rule_set.name}/{self.rule.name}"
        assert self.clause is not None
        name, arity = key_of(self.clause.head)
        return f"{name}/{arity}"


class Goal(NamedTuple):
    """A goal, wherever in a body it stands."""

    name: str
    args: tuple[Term, ...]
    place: Place
    site: Site

    @property
    def key(self) -> Key:
        return self.name, len(self.args)


class Model:
    """The active rule sets of a rule base, taken apart once for all checks."""

    def __init__(self, rule_base: RuleBase) -> None:
        self.base = rule_base
        self.table: ClassTable = rule_base.classes
        self.rules = [(rule_set, rule) for rule_set in rule_base.rule_sets for rule in rule_set.rules]
        # a correlation rule is two of them
        self.written = [(rule_set, rule) for rule_set, rule in self.rules if rule.name == author(rule)]
        self.sites = [
            *(Site(rule_set, rule, action, None) for rule_set, rule in self.rules for action in rule.actions),
            *(Site(rule_set, None, None, clause) for rule_set in rule_base.rule_sets for clause in rule_set.clauses),
        ]

    @cached_property
    def goals(self) -> list[Goal]:
        """Every goal of every body, those of asserted clauses and within other goals too."""
        return [
            Goal(*_taken(term), term.place, site)
            for site in self.sites
            if site.body is not None
            for term in goal_terms(site.body)
            if isinstance(term, (Atom, Compound))
        ]

    def calls(self, *names: str) -> Iterator[Goal]:
        """The goals of these names, with any number of arguments."""
        return (goal for goal in self.goals if goal.name in names)

    @cached_property
    def heirs(self) -> Mapping[str, frozenset[str]]:
        """Every class with all that inherit from it, itself included."""
        heirs: dict[str, set[str]] = {name: set() for name in self.table.classes}
        for name, above in self.table.ancestors.items():
            for ancestor in above:
                heirs[ancestor].add(name)
        return {name: frozenset(found) for name, found in heirs.items()}

    def classes(self, event: EventFilter) -> frozenset[str]:
        """Every class whose events a filter may take; without of_class every class."""
        if not event.classes:
            return self.heirs[ROOT]
        return frozenset().union(*[self.heirs[atom.value] for atom in event.classes])

    @cached_property
    def _environments(self) -> dict[int, dict[str, frozenset[str]]]:
        known = {id(site): self._own(site) for site in self.sites}
        procedures: dict[Key, list[Site]] = {}
        for site in self.sites:
            if site.clause is not None:
                procedures.setdefault(key_of(site.clause.head), []).append(site)
        for _ in range(_ROUNDS):
            news = False
            for goal in self.goals:
                news |= self._hand_on(goal, procedures, known)
            if not news:
                break
        return known

    def _hand_on(
        self, goal: Goal, procedures: Mapping[Key, list[Site]], known: dict[int, dict[str, frozenset[str]]]
    ) -> bool:
        """Give the classes of a call's arguments to the heads that it calls; says whether one of them is new."""
        news = False
        for number, argument in enumerate(goal.args):
            classes = known[id(goal.site)].get(argument.name) if isinstance(argument, Var) else None
            for site in procedures.get(goal.key, ()) if classes else ():
                assert site.clause is not None and isinstance(site.clause.head, Compound)
                head = site.clause.head.args[number]
                inside = known[id(site)]
                if classes and isinstance(head, Var) and not classes <= inside.get(head.name, frozenset()):
                    inside[head.name] = inside.get(head.name, frozenset()) | classes
                    news = True
        return news

    def _own(self, site: Site) -> dict[str, frozenset[str]]:
        known: dict[str, frozenset[str]] = {}
        if site.rule is not None:
            known[site.rule.event.variable.name] = self.classes(site.rule.event)
        for term in goal_terms(site.body) if site.body is not None else ():
            if not isinstance(term, Compound):
                continue
            for argument in term.args:
                if isinstance(argument, EventArgument):
                    event = argument.filter
                    first = term.args[0] if term.name in _DUPLICATES else None
                    like = known.get(first.name) if isinstance(first, Var) else None
                    found = like if like is not None and not event.classes else self.classes(event)
                    known[event.variable.name] = known.get(event.variable.name, frozenset()) | found
        return known

    def event_classes(self, goal: Goal, term: Term) -> frozenset[str] | None:
        """The classes that an event variable of a goal may have, None where they are not known."""
        return self._environments[id(goal.site)].get(term.name) if isinstance(term, Var) else None


def key_of(head: Atom | Compound) -> Key:
    return (head.value, 0) if isinstance(head, Atom) else (head.name, len(head.args))


def _taken(term: Atom | Compound) -> tuple[str, tuple[Term, ...]]:
    return (term.value, ()) if isinstance(term, Atom) else (term.name, term.args)


def goal_terms(body: Term) -> Iterator[Term]:
    """Every goal of a body, in the order of the text: connectives are gone through, what `findall` calls too."""
    if not isinstance(body, Compound):
        yield body
        return
    inner = CONTROL_GOALS.get((body.name, len(body.args)))
    if inner is None or body.name in ("findall", "forall", "once", "ignore", "call"):
        yield body
    if body.name in ASSERTS and len(body.args) == 1:
        clause = body.args[0]
        if isinstance(clause, Compound) and clause.name == ":-" and len(clause.args) == 2:
            yield from goal_terms(clause.args[1])
    for number in range(len(body.args)) if body.name == "," else inner or ():
        yield from goal_terms(body.args[number])


def conditions_of(rule: Rule) -> Iterator[Condition]:
    """The conditions of a rule beside those of its event filter."""
    for condition in (rule.timer_duration, rule.timer_info, rule.sender, rule.set_to):
        if condition is not None:
            yield condition


def all_terms(terms: Iterable[Term]) -> Iterator[Term]:
    """These terms and everything within them, also in event filters."""
    waiting = list(terms)
    while waiting:
        term = waiting.pop()
        yield term
        if isinstance(term, Compound):
            waiting += term.args
        elif isinstance(term, ListTerm):
            waiting += term.items
            if term.tail is not None:
                waiting.append(term.tail)
        elif isinstance(term, EventArgument):
            waiting += filter_terms(term.filter)


def filter_terms(event: EventFilter) -> Iterator[Term]:
    """The classes, variables and operands of a filter, its event variable left out."""
    yield from event.classes
    if event.class_variable is not None:
        yield event.class_variable
    for condition in event.conditions:
        yield from condition_terms(condition)


def condition_terms(condition: Condition) -> Iterator[Term]:
    if condition.variable is not None:
        yield condition.variable
    for test in condition.tests:
        yield test.operand


def constant(term: Term) -> str | int | float | None:
    """The value of a constant, None of anything else."""
    return term.value if isinstance(term, (Atom, Text, Number)) else None


def may_match(one: Term, other: Term) -> bool:
    """Whether two terms could be the same once their variables have values."""
    if isinstance(one, Var) or isinstance(other, Var):
        return True
    if isinstance(one, Compound) or isinstance(other, Compound):
        both = isinstance(one, Compound) and isinstance(other, Compound)
        return both and one.name == other.name and _all_match(one.args, other.args)  # type: ignore[union-attr]
    if isinstance(one, ListTerm) and isinstance(other, ListTerm):
        if one.tail is not None or other.tail is not None:
            return all(map(may_match, one.items, other.items))
        return _all_match(one.items, other.items)
    value = constant(one)
    return value is not None and value == constant(other)


def _all_match(ones: tuple[Term, ...], others: tuple[Term, ...]) -> bool:
    return len(ones) == len(others) and all(map(may_match, ones, others))


def shape(node: Any) -> Any:
    """A syntax tree without its places, to compare with others."""
    if isinstance(node, (tuple, list)):
        return tuple(map(shape, node))
    fields = getattr(node, "__struct_fields__", None)
    if fields is None:
        return node
    kind = "text" if isinstance(node, (Atom, Text)) else type(node).__name__
    return kind, *[shape(getattr(node, name)) for name in fields if name not in ("place", "quoted")]
