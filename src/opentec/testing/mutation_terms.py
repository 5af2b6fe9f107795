"""What may be broken in bodies, filters and values of a rule: each change gives the whole term with one piece changed.

The operators are named in docs/testing-rules.md, "Mutation". Goals and values are told apart: a comma between goals is
no list, and a `-` is arithmetic only where something is calculated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from opentec.events.classes import ClassTable
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
    Text,
    Var,
)
from opentec.rules.source_text import LONGEST, condition_text, goal_text, test_text

COMMITS: Final = ("commit_action", "commit_rule", "commit_set", "!")
_GOAL_ARGUMENTS: Final = {  # by name and arity: which arguments are goals
    (";", 2): (0, 1),
    ("->", 2): (0, 1),
    ("\\+", 1): (0,),
    ("not", 1): (0,),
    ("once", 1): (0,),
    ("ignore", 1): (0,),
    ("call", 1): (0,),
    ("findall", 3): (1,),
    ("forall", 2): (0, 1),
}
_NEGATED: Final = {
    "equals": "not_equals",
    "within": "outside",
    "greater_than": "smaller_or_equals",
    "smaller_than": "greater_or_equals",
    "=": "\\=",
    "==": "\\==",
    "=:=": "=\\=",
    "<": ">=",
    ">": "=<",
    "@<": "@>=",
    "@>": "@=<",
}
NEGATED: Final = _NEGATED | {after: before for before, after in _NEGATED.items()}
_BOUND: Final = {"greater_than": "greater_or_equals", "smaller_than": "smaller_or_equals", "<": "=<", ">": ">="}
BOUND: Final = _BOUND | {after: before for before, after in _BOUND.items()}
_ARITHMETIC: Final = {"+": "-", "-": "+", "*": "//", "//": "*", "min": "max", "max": "min"}
_CALCULATES: Final = ("is", "=:=", "=\\=", "<", ">", "=<", ">=")
_FIRST: Final = {
    "first_instance": "all_instances",
    "first_duplicate": "all_duplicates",
    "first_effect_event": "all_effect_events",
    "any_clear_target": "all_clear_targets",
}
FIRST_ALL: Final = _FIRST | {after: before for before, after in _FIRST.items()}
_NEXT: Final = {
    "UNKNOWN": "HARMLESS",
    "HARMLESS": "WARNING",
    "WARNING": "MINOR",
    "MINOR": "CRITICAL",
    "CRITICAL": "FATAL",
    "FATAL": "CRITICAL",
    "OPEN": "ACK",
    "RESPONSE": "ACK",
    "ACK": "OPEN",
    "CLOSED": "OPEN",
    "yes": "no",
    "no": "yes",
}
_ONLY_NAMES: Final = {("create_clearing_event", 4): 0}  # arguments that nothing refers to
_DOUBLED: Final = 10  # numbers from here on are doubled, smaller ones grow by one


class Change(NamedTuple):
    """One piece that is changed. `node` is its text, `before` and `after` those of the goal or condition it is in, or
    its own where these are too long to be shown; `shown` when they are final."""

    operator: str
    place: Place
    node: str
    before: str
    after: str
    term: Any  # the whole with the piece changed: what was given to the function, of its type
    shown: bool = True


class Pieces:
    """Finds the changes. `settled` are the global variables that have a value before any event arrives: what
    get_global_var gives when they have none is left alone."""

    def __init__(self, table: ClassTable, settled: frozenset[tuple[str, str]] = frozenset()) -> None:
        self._table = table
        self._settled = settled

    def body(self, body: Term, *, inner: bool = False) -> Iterator[Change]:
        """The changes of a body. `inner`: it is all that stands within a goal, and is dropped together with it; only
        its first solution counts."""
        goals = list(conjuncts(body))
        for index, goal in enumerate(goals):
            before, behind = goals[:index], goals[index + 1 :]
            name = _name(goal)
            if name != "true" and not (inner and len(goals) == 1):
                dropped = conjunction([*before, *behind], goal.place)
                operator = "drop-commit" if name in COMMITS else "drop-goal"
                text = goal_text(goal)
                yield Change(operator, goal.place, text, text, "true" if len(goals) == 1 else "", dropped)
            # a commit right behind it ends the search anyway
            first_only = inner or (bool(behind) and _name(behind[0]) in COMMITS)
            for change in self._goal(goal):
                if change.operator == "first-all" and first_only and change.node == goal_text(goal):
                    continue
                yield change._replace(term=conjunction([*before, change.term, *behind], goal.place))

    def _goal(self, goal: Term) -> Iterator[Change]:
        if not isinstance(goal, Compound):
            return
        key = goal.name, len(goal.args)
        if key == (";", 2):
            yield from self._alternatives(goal)
        elif key in (("\\+", 1), ("not", 1)):
            yield _changed("drop-negation", goal, goal.args[0])
        within = _GOAL_ARGUMENTS.get(key)
        if within is not None:
            for number in within:
                # `test -> then` is no goal of its own
                branches = key == (";", 2) and number == 0 and _name(goal.args[0]) == "->"
                inner = _is_inner(goal, number)
                part = self._goal(goal.args[0]) if branches else self.body(goal.args[number], inner=inner)
                for change in part:
                    yield change._replace(term=_with_argument(goal, number, change.term))
            return
        for operator, names in (("negate", NEGATED), ("shift-bound", BOUND), ("first-all", FIRST_ALL)):
            other = names.get(goal.name)
            if other is not None and (operator == "first-all" or len(goal.args) == 2):
                yield _changed(operator, goal, Compound(other, goal.args, place=goal.place))
        for change in self._arguments(goal):
            yield change if change.shown else _shown(change, goal_text(goal), goal_text(change.term))

    def _alternatives(self, goal: Compound) -> Iterator[Change]:
        first, second = goal.args
        if not (isinstance(first, Compound) and first.name == "->"):
            yield _changed("swap-alternatives", goal, Compound(";", (second, first), place=goal.place))
            return
        test, then = first.args
        if _name(test) not in NEGATED:  # else the comparison itself is negated
            swapped = Compound("->", (test, second), place=first.place)
            yield Change(
                "negate",
                goal.place,
                goal_text(test),
                goal_text(goal),
                goal_text(Compound(";", (swapped, then), place=goal.place)),
                Compound(";", (swapped, then), place=goal.place),
            )

    def _arguments(self, goal: Compound) -> Iterator[Change]:
        calculates = goal.name in _CALCULATES
        skipped = _ONLY_NAMES.get((goal.name, len(goal.args)), -1)
        if goal.name == "get_global_var" and len(goal.args) == 4 and self._is_settled(goal):
            skipped = 3
        for number, arg in enumerate(goal.args):
            if number != skipped:
                for change in self.value(arg, calculates=calculates):
                    yield change._replace(term=_with_argument(goal, number, change.term))

    def _is_settled(self, goal: Compound) -> bool:
        group, name = goal.args[0], goal.args[1]
        return isinstance(group, Atom) and isinstance(name, Atom) and (group.value, name.value) in self._settled

    def value(self, term: Term, *, calculates: bool = False) -> Iterator[Change]:
        """The changes of what is no goal."""
        if isinstance(term, Number):
            number = term.value + 1 if -_DOUBLED < term.value < _DOUBLED else term.value * 2
            yield _value("change-number", term, Number(number, place=term.place))
        elif isinstance(term, Atom):
            yield _value("change-text", term, Atom(_other_text(term.value), True, place=term.place))
        elif isinstance(term, Text):
            yield _value("change-text", term, Text(_other_text(term.value), place=term.place))
        elif isinstance(term, ListTerm):
            yield from self._list(term)
        elif isinstance(term, EventArgument):
            for change in self.filter(term.filter):
                yield change._replace(term=EventArgument(change.term, place=term.place))
        elif isinstance(term, Compound):
            other = _ARITHMETIC.get(term.name)
            if calculates and other is not None and len(term.args) == 2:
                yield _value("change-arithmetic", term, Compound(other, term.args, place=term.place))
            for number, arg in enumerate(term.args):
                if _is_window_end(term, number) and not calculates:
                    continue
                for change in self.value(arg, calculates=calculates):
                    yield change._replace(term=_with_argument(term, number, change.term))

    def _list(self, term: ListTerm) -> Iterator[Change]:
        for index, item in enumerate(term.items):
            before, behind = term.items[:index], term.items[index + 1 :]
            if not isinstance(item, (Var, Number)) and (len(term.items) > 1 or isinstance(item, Compound)):
                fewer = msgspec.structs.replace(term, items=(*before, *behind))
                yield Change("drop-element", item.place, goal_text(item), goal_text(item), "", fewer, False)
            for change in self.value(item):
                more = msgspec.structs.replace(term, items=(*before, change.term, *behind))
                yield change._replace(term=more)

    def filter(self, event: EventFilter, *, widen: bool = True) -> Iterator[Change]:
        """The changes of an event filter; with `widen` also to the classes above."""
        for change in self._classes(event.classes, widen=widen):
            yield change._replace(term=msgspec.structs.replace(event, classes=change.term))
        for index, condition in enumerate(event.conditions):
            before, behind = event.conditions[:index], event.conditions[index + 1 :]
            for change in self.condition(condition):
                changed = () if change.term is None else (change.term,)
                yield change._replace(term=msgspec.structs.replace(event, conditions=(*before, *changed, *behind)))

    def _classes(self, classes: Sequence[Atom], *, widen: bool) -> Iterator[Change]:
        text = f"of_class within [{', '.join(repr(one.value) for one in classes)}]"
        if len(classes) == 1:
            found = self._table.classes.get(classes[0].value)
            if widen and found is not None and found.parent is not None:
                above = Atom(found.parent, True, place=classes[0].place)
                before, after = f"of_class {found.name!r}", f"of_class {found.parent!r}"
                yield Change("widen-class", above.place, repr(found.name), before, after, (above,))
            return
        for index, one in enumerate(classes):
            fewer = (*classes[:index], *classes[index + 1 :])
            after = f"of_class within [{', '.join(repr(other.value) for other in fewer)}]"
            yield Change("drop-element", one.place, repr(one.value), text, after, fewer)

    def condition(self, condition: Condition) -> Iterator[Change]:
        """The changes of a condition; the term of one that is dropped whole is None."""
        text = condition_text(condition)
        if condition.tests and condition.variable is not None:
            bare = msgspec.structs.replace(condition, tests=())
            yield Change("drop-condition", condition.place, text, text, condition_text(bare), bare)
        else:
            yield Change("drop-condition", condition.place, text, text, "", None)
        for index, test in enumerate(condition.tests):
            before, behind = condition.tests[:index], condition.tests[index + 1 :]
            for change in self._test(test):
                changed = msgspec.structs.replace(condition, tests=(*before, change.term, *behind))
                shown = _shown(change._replace(node=change.node or text), text, condition_text(changed))
                yield shown._replace(term=changed)

    def _test(self, test: Test) -> Iterator[Change]:
        for operator, names in (("negate", NEGATED), ("shift-bound", BOUND)):
            other = names.get(test.operator)
            if other is not None:
                changed = Test(other, test.operand, place=test.place)
                yield Change(operator, test.place, "", test_text(test), test_text(changed), changed, False)
        for change in self.value(test.operand):
            yield change._replace(term=Test(test.operator, change.term, place=test.place))


def conjuncts(term: Term) -> Iterator[Term]:
    """The goals of a body, one after the other."""
    if isinstance(term, Compound) and term.name == "," and len(term.args) >= 2:
        for goal in term.args:
            yield from conjuncts(goal)
    else:
        yield term


def conjunction(goals: Sequence[Term], place: Place) -> Term:
    """The body of these goals; `true` when there are none."""
    if not goals:
        return Atom("true", place=place)
    body = goals[-1]
    for goal in reversed(goals[:-1]):
        body = Compound(",", (goal, body), place=goal.place)
    return body


def _is_inner(goal: Compound, number: int) -> bool:
    return len(goal.args) == 1 or (goal.name == "->" and number == 0)


def _name(term: Term) -> str:
    return term.name if isinstance(term, Compound) else term.value if isinstance(term, Atom) else ""


def _with_argument(term: Compound, number: int, arg: Term) -> Compound:
    return Compound(term.name, (*term.args[:number], arg, *term.args[number + 1 :]), place=term.place)


def _changed(operator: str, goal: Term, other: Term) -> Change:
    text = goal_text(goal)
    return Change(operator, goal.place, text, text, goal_text(other), other)


def _value(operator: str, term: Term, other: Term) -> Change:
    return Change(operator, term.place, goal_text(term), goal_text(term), goal_text(other), other, False)


def _shown(change: Change, before: str, after: str) -> Change:
    """The change in what it stands in, if all of that can be shown."""
    if len(before) >= LONGEST or len(after) >= LONGEST:
        return change._replace(shown=True)
    return change._replace(before=before, after=after, shown=True)


def _is_window_end(term: Compound, number: int) -> bool:
    """Whether this is the 0 of `_event - 60 - 0`: no event is newer than the one that is processed."""
    first, last = term.args[0], term.args[-1]
    return (
        number == 1
        and term.name == "-"
        and isinstance(first, Compound)
        and first.name == "-"
        and isinstance(last, Number)
        and last.value == 0
    )


def _other_text(value: str) -> str:
    return _NEXT.get(value) or (f"{value}_changed" if value else "changed")
