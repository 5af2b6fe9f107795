"""What the actions of a rule do to the event that they run for, as far as the text says it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from opentec.rules.ast import Action, Atom, Compound, Place, Rule, Term, Var
from opentec.rules.checker_report import conjuncts
from opentec.rules.predicates import REGISTRY
from opentec.testing.lint.model import constant, goal_terms

NEW: Final = "new"  # a phase: an event is received or generated
REDO: Final = "redo"
_PHASES: Final = {"reception_action": (NEW,), "redo_action": (REDO,), "action": (NEW, REDO)}
COMMITS: Final = {"commit_rule": 1, "commit_set": 2}
_VERBS: Final = ("set_event_", "change_event_")
_BY_SLOT: Final = ("bo_set_slotval", "place_change_request")
_CHANGES: Final = ("ement_slot", "_begin", "_end", "remove_from_slotval", "default_slotval")  # a slot, by some amount
_OUTSIDE: Final = ("generate_event", "exec_program", "exec_program_local", "exec_task", "exec_task_local")


class Stored(NamedTuple):
    """A goal that gives a slot of the rule's own event a value; `value` is None where it is not a constant."""

    slot: str  # "" when the goal does not say which
    value: str | int | float | None
    place: Place
    certain: bool  # no goal before it can fail


class Deeds(NamedTuple):
    """One action, looked at."""

    action: Action
    phases: tuple[str, ...]
    stored: tuple[Stored, ...]  # on the way through the body, not within alternatives
    drops: bool
    commits: int  # the furthest commit that it holds anywhere: 1 the rule, 2 the rule set
    sure: int  # the furthest commit that no goal before it can prevent
    outside: Place | None  # the first goal that makes an event, or runs or sends something
    asks_dropped: bool


def deeds(rule: Rule, action: Action) -> Deeds:
    """What an action does; goals in alternatives count for `commits`, `drops` and `outside` only."""
    event, certain, sure = rule.event.variable.name, True, 0
    stored: list[Stored] = []
    for goal in conjuncts(action.body):
        one = _stored(goal, event, certain)
        if one is not None:
            stored.append(one)
        if certain:
            sure = max(sure, COMMITS.get(_name(goal), 0))
            certain = _never_fails(goal)
    inside = list(goal_terms(action.body))
    names = [_name(goal) for goal in inside]
    return Deeds(
        action,
        _PHASES[action.kind] if rule.kind == "rule" else (rule.kind,),
        tuple(stored),
        "drop_received_event" in names,
        max((COMMITS.get(name, 0) for name in names), default=0),
        sure,
        next((goal.place for goal, name in zip(inside, names, strict=True) if name in _OUTSIDE), None),
        "received_event_dropped" in names,
    )


def written_slots(rule: Rule) -> Iterator[str]:
    """Every slot that the rule may give its own event another value in; "" stands for any."""
    event = rule.event.variable.name
    for action in rule.actions:
        for goal in goal_terms(action.body):
            one = _stored(goal, event, False)
            if one is not None:
                yield one.slot
            elif isinstance(goal, Compound) and goal.name not in REGISTRY_NAMES:
                # a clause of one's own may write whatever it is given
                if any(isinstance(argument, Var) and argument.name == event for argument in goal.args):
                    yield ""
            elif isinstance(goal, Compound) and goal.name.endswith(_CHANGES):
                yield ""


REGISTRY_NAMES: Final = frozenset(name for name, _ in REGISTRY) | {",", ";", "->", "\\+", "not", "is", "="}


def _stored(goal: Term, event: str, certain: bool) -> Stored | None:
    if not isinstance(goal, Compound) or not goal.args:
        return None
    first = goal.args[0]
    if not isinstance(first, Var) or first.name != event:
        return None
    if goal.name in _BY_SLOT and len(goal.args) == 3:
        return Stored(str(constant(goal.args[1]) or ""), constant(goal.args[2]), goal.place, certain)
    for verb in _VERBS:
        if goal.name.startswith(verb) and len(goal.args) == 2:
            slot = goal.name.removeprefix(verb).replace("message", "msg")
            return Stored(slot, constant(goal.args[1]), goal.place, certain)
    return None


def _name(goal: Term) -> str:
    return goal.value if isinstance(goal, Atom) else goal.name if isinstance(goal, Compound) else ""


def _never_fails(goal: Term) -> bool:
    if isinstance(goal, Atom):
        return goal.value in COMMITS or _is_det(goal.value, 0)
    return isinstance(goal, Compound) and _is_det(goal.name, len(goal.args))


def _is_det(name: str, arity: int) -> bool:
    predicate = REGISTRY.get((name, arity))
    return name in ("true", "commit_action") or (predicate is not None and predicate.determinism == "det")
