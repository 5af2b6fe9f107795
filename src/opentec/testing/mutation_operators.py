"""Mutants of a rule set: the same rules with one thing broken, which a test should notice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from opentec.events.classes import ClassTable
from opentec.rules.ast import Atom, Clause, Compound, EventArgument, ListTerm, Place, Rule, RuleSet, Term
from opentec.rules.guards import without_guard
from opentec.rules.source_text import goal_text
from opentec.testing.mutation_terms import Change, Pieces, conjuncts

OPERATORS: Final = (
    "drop-rule",
    "drop-action",
    "drop-goal",
    "drop-commit",
    "drop-negation",
    "drop-condition",
    "drop-element",
    "negate",
    "shift-bound",
    "swap-alternatives",
    "first-all",
    "widen-class",
    "change-number",
    "change-text",
    "change-arithmetic",
)
LOADED: Final = "TEC_Rulebase_Loaded"
_CONDITIONS: Final = ("timer_duration", "timer_info", "sender", "set_to")


class Mutant(msgspec.Struct, frozen=True, kw_only=True):
    """A rule set in which one thing is broken."""

    name: str  # RULE_SET/RULE:OPERATOR@LINE:COLUMN, and #2 ... where that is not one
    operator: str
    rule: str  # RULE_SET/RULE, or RULE_SET/CLAUSE
    place: Place
    node: str  # the text of the piece that is changed
    before: str  # the goal, condition or rule that it is in
    after: str  # the same, changed; "" when nothing is left
    rule_set: RuleSet
    number: int = -1  # of the rule in the rule set that is broken, where only its actions are
    clause: str = ""  # the name of the clause, when it is one that is broken
    widens: bool = False  # the rule may take events that it did not take before

    @property
    def diff(self) -> list[str]:
        """What was there and what is there now, as lines that begin with - and +."""
        return [f"- {self.before}", *([f"+ {self.after}"] if self.after else [])]


def mutants(rule_set: RuleSet, table: ClassTable, rule_sets: Iterable[RuleSet] = ()) -> list[Mutant]:
    """Every mutant of a rule set, in the order of its lines, those that would not compile too.

    `rule_sets` are those of the rule base: the variables that they set before any event are known from them.
    """
    pieces = Pieces(table, settled(rule_sets))
    named: dict[str, int] = {}
    seen: set[RuleSet] = set()
    found = []
    for mutant in (*_of_rules(rule_set, pieces), *_of_clauses(rule_set, pieces)):
        if mutant.rule_set in seen:  # two operators may do the same
            continue
        seen.add(mutant.rule_set)
        number = named[mutant.name] = named.get(mutant.name, 0) + 1
        found.append(mutant if number == 1 else msgspec.structs.replace(mutant, name=f"{mutant.name}#{number}"))
    return sorted(found, key=lambda one: one.place[1:])


def settled(rule_sets: Iterable[RuleSet]) -> frozenset[tuple[str, str]]:
    """The global variables, by group and name, that get a value when the rule base is loaded."""
    found = set()
    for rule_set in rule_sets:
        bodies = [
            action.body
            for rule in rule_set.rules
            if [one.value for one in rule.event.classes] == [LOADED] and rule.kind == "rule"
            for action in rule.actions
        ]
        called = {name for body in bodies for name in _names(body)}
        bodies += [clause.body for clause in rule_set.clauses if clause.body is not None and _head(clause) in called]
        for body in bodies:
            for goal in conjuncts(body):
                if isinstance(goal, Compound) and goal.name == "set_global_var" and len(goal.args) == 3:
                    group, name = goal.args[:2]
                    if isinstance(group, Atom) and isinstance(name, Atom):
                        found.add((group.value, name.value))
    return frozenset(found)


def callers(rule_sets: Iterable[RuleSet], clause: str) -> frozenset[str]:
    """The rules, as RULE_SET/RULE, that may call a clause of this name, itself or through other clauses."""
    rule_sets = list(rule_sets)
    called_by: dict[str, set[str]] = {}
    for one in (clause for rule_set in rule_sets for clause in rule_set.clauses):
        for name in () if one.body is None else _names(one.body):
            called_by.setdefault(name, set()).add(_head(one))
    names, new = {clause}, {clause}
    while new:
        new = {caller for name in new for caller in called_by.get(name, ())} - names
        names |= new
    return frozenset(
        f"{rule_set.name}/{rule.name}"
        for rule_set in rule_sets
        for rule in rule_set.rules
        if not names.isdisjoint(name for action in rule.actions for name in _names(action.body))
    )


def _names(term: object) -> Iterator[str]:
    """Every name in a term: what it may call is among them."""
    if isinstance(term, Atom):
        yield term.value
    elif isinstance(term, Compound):
        yield term.name
        for arg in term.args:
            yield from _names(arg)
    elif isinstance(term, ListTerm):
        for item in (*term.items, term.tail):
            yield from _names(item)
    elif isinstance(term, EventArgument):
        return


def _head(clause: Clause) -> str:
    return clause.head.value if isinstance(clause.head, Atom) else clause.head.name


def _of_rules(rule_set: RuleSet, pieces: Pieces) -> Iterator[Mutant]:
    for index, rule in enumerate(rule_set.rules):
        full_name = f"{rule_set.name}/{rule.name}"

        def mutant(
            change: Change, rules: Sequence[Rule], *, widens: bool = False, number: int = index, name: str = full_name
        ) -> Mutant:
            changed = msgspec.structs.replace(rule_set, rules=tuple(rules))
            return _mutant(change, name, changed, number=-1 if widens else number, widens=widens)

        before, behind = rule_set.rules[:index], rule_set.rules[index + 1 :]
        text = f"{rule.source_kind or rule.kind}: {rule.name}"
        yield mutant(Change("drop-rule", rule.place, text, text, "", None), (*before, *behind))
        # where a simple rule or a correlation rule says what it is: of the goals that come of it only the numbers are
        # its author's
        made = rule.actions[0].place if rule.source_kind and rule.actions else None
        for change in (*_of_filters(rule, pieces), *_of_actions(rule, pieces)):
            if change.place != made or (change.operator == "change-number" and change.node != "0"):
                widens = _widens(rule, change.term)
                yield mutant(change, (*before, change.term, *behind), widens=widens)


def _of_filters(rule: Rule, pieces: Pieces) -> Iterator[Change]:
    # no event of another class has a timer with this information
    widen = rule.timer_info is None or not rule.timer_info.tests
    for change in pieces.filter(rule.event, widen=widen):
        yield change._replace(term=msgspec.structs.replace(rule, event=change.term))
    for name in _CONDITIONS:
        condition = getattr(rule, name)
        if condition is not None:
            for change in pieces.condition(condition):
                yield change._replace(term=msgspec.structs.replace(rule, **{name: change.term}))
    if rule.attribute is not None and isinstance(rule.attribute, Atom):
        text = f"attribute: {rule.attribute.value}"
        any_slot = msgspec.structs.replace(rule, attribute=None)
        yield Change("drop-condition", rule.attribute.place, text, text, "", any_slot)


def _of_actions(rule: Rule, pieces: Pieces) -> Iterator[Change]:
    for index, action in enumerate(rule.actions):
        before, behind = rule.actions[:index], rule.actions[index + 1 :]
        if len(rule.actions) > 1:
            text = f"{action.kind}: {action.name}"
            fewer = msgspec.structs.replace(rule, actions=(*before, *behind))
            yield Change("drop-action", action.place, text, text, "", fewer)
        for change in pieces.body(action.body):
            changed = msgspec.structs.replace(action, body=change.term)
            yield change._replace(term=msgspec.structs.replace(rule, actions=(*before, changed, *behind)))


def _widens(rule: Rule, changed: Rule) -> bool:
    """Whether the changed rule may be tried, or match, where it was not before."""
    if any(getattr(changed, name) != getattr(rule, name) for name in ("event", "attribute", *_CONDITIONS)):
        return True
    return len(changed.actions) == len(rule.actions) and _begins(changed) != _begins(rule)


def _begins(rule: Rule) -> list[list[Term]]:
    """The guards of a rule's actions: while they say no, the rule is not even tried."""
    begins = []
    for action in rule.actions:
        goals = list(conjuncts(action.body))
        begins.append(goals[: len(goals) - len(without_guard(action.body))])
    return begins


def _of_clauses(rule_set: RuleSet, pieces: Pieces) -> Iterator[Mutant]:
    for index, clause in enumerate(rule_set.clauses):
        before, behind = rule_set.clauses[:index], rule_set.clauses[index + 1 :]
        name = _head(clause)
        text = f"clause of {name}"
        dropped = Change("drop-rule", clause.place, text, text, "", None)
        changes = [dropped._replace(term=(*before, *behind))]
        if isinstance(clause.head, Compound):
            for number, arg in enumerate(clause.head.args):
                for change in pieces.value(arg):
                    args = (*clause.head.args[:number], change.term, *clause.head.args[number + 1 :])
                    head = Compound(name, args, place=clause.head.place)
                    changed = msgspec.structs.replace(clause, head=head)
                    changes.append(_in_head(change, clause, changed)._replace(term=(*before, changed, *behind)))
        if clause.body is not None:
            for change in pieces.body(clause.body):
                changed = msgspec.structs.replace(clause, body=change.term)
                changes.append(change._replace(term=(*before, changed, *behind)))
        for change in changes:
            clauses = msgspec.structs.replace(rule_set, clauses=change.term)
            yield _mutant(change, f"{rule_set.name}/{name}", clauses, clause=name)


def _in_head(change: Change, clause: Clause, changed: Clause) -> Change:
    return change._replace(before=goal_text(clause.head), after=goal_text(changed.head))


def _mutant(
    change: Change, rule: str, rule_set: RuleSet, *, number: int = -1, clause: str = "", widens: bool = False
) -> Mutant:
    place = change.place
    return Mutant(
        name=f"{rule}:{change.operator}@{place.line}:{place.column}",
        operator=change.operator,
        rule=rule,
        place=place,
        node=change.node,
        before=change.before,
        after=change.after,
        rule_set=rule_set,
        number=number,
        clause=clause,
        widens=widens,
    )
