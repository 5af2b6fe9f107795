"""The names that rules give to what they start: tasks, programs, and servers that events are forwarded to.

What shall not be there under a wrong name is never there, and such a test cannot fail. So a name that no rule of the
rule base uses is an error, where the rules say all their names in plain words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from opentec.events.names import nearest, shown
from opentec.rules.ast import Atom, Compound, Term
from opentec.rules.clauses import ASSERTS
from opentec.rules.destinations import DEFAULT
from opentec.rules.rulebase import RuleBase
from opentec.testing.lint.model import constant, goal_terms

ANY: Final = "_"  # an expectation's word for every value
# by the field of an expectation: the goals, and the place of the name among their arguments
_GOALS: Final[Mapping[str, tuple[tuple[str, ...], int]]] = {
    "task": (("exec_task", "exec_task_local"), 1),
    "program": (("exec_program", "exec_program_local"), 1),
    "to": (("forward_event",), 1),
}
_SAYS: Final = {"task": "starts the task", "program": "starts the program", "to": "forwards events to"}


def names_of(bases: Iterable[RuleBase]) -> dict[str, frozenset[str] | None]:
    """By field the names that rules of these rule bases use; None where a rule makes a name, or a goal, as it runs."""
    found: dict[str, set[str] | None] = {field: set() for field in _GOALS}
    for base in bases:
        for goal in _goals(base):
            if _is_made(goal):
                return dict.fromkeys(_GOALS)
            for field, (goals, at) in _GOALS.items():
                names = found[field]
                if names is None or not isinstance(goal, Compound) or goal.name not in goals:
                    continue
                # forward_event(_event) is for the destination that has no name
                name = constant(goal.args[at]) if len(goal.args) > at else DEFAULT
                if isinstance(name, str):
                    names.add(name)
                else:
                    found[field] = None
    return {field: None if names is None else frozenset(names) for field, names in found.items()}


def _goals(base: RuleBase) -> Iterator[Term]:
    for rule_set in base.rule_sets:
        for rule in rule_set.rules:
            for action in rule.actions:
                yield from goal_terms(action.body)
        for clause in rule_set.clauses:
            if clause.body is not None:
                yield from goal_terms(clause.body)


def _is_made(goal: Term) -> bool:
    """Whether only a run can say what the goal does: `call(_goal)`, `assert(_clause)`."""
    if isinstance(goal, Compound) and goal.name in ASSERTS:
        return not isinstance(goal.args[0], Atom | Compound)
    return not isinstance(goal, Atom | Compound)


def unused(field: str, name: object, known: Mapping[str, frozenset[str] | None]) -> tuple[str, str] | None:
    """What is wrong with a name that shall not be there, and a hint; None where it may be right."""
    names = known[field]
    if names is None or not isinstance(name, str) or name == ANY or name in names:
        return None
    near = nearest(name, sorted(names))
    if near:
        hint = f"did you mean {near!r}?"
    else:
        hint = f"rules name {', '.join(sorted(names))}" if names else "rules name none; take it out"
    return f"no rule ever {_SAYS[field]} {shown(name)}", hint
