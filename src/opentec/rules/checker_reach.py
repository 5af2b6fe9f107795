"""Rules and actions that nothing ever reaches, because what stands before them takes every event and commits.

Only classes are looked at: a condition on a slot may hold for the later rule though it did not for the earlier one,
as rules between them may have changed the slot.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from opentec.events.classes import ClassTable
from opentec.rules.ast import Action, Atom, Compound, EventFilter, Rule, RuleSet, Term
from opentec.rules.checker_report import Report, conjuncts

_COMMIT_RULE: Final = 1
_COMMIT_SET: Final = 2
_COMMITS: Final = {"commit_rule": _COMMIT_RULE, "commit_set": _COMMIT_SET}
_NEW: Final = "new"  # an event is received or generated
_PHASES: Final = {"reception_action": (_NEW,), "redo_action": ("redo",), "action": (_NEW, "redo")}


class _Taker(NamedTuple):
    rule: Rule
    classes: frozenset[str]
    phases: frozenset[str]


def check_reach(rule_set: RuleSet, table: ClassTable, report: Report) -> None:
    """Report the rules and actions of a rule set that can never run."""
    takers: list[_Taker] = []
    for rule in rule_set.rules:
        committed = _actions(rule, report)
        classes = _classes(rule.event, table)
        if not classes:
            continue
        phases = {phase for action in rule.actions for phase in _phases(rule, action)}
        earlier = [taker for taker in takers if classes <= taker.classes]
        if phases and all(any(phase in taker.phases for taker in earlier) for phase in phases):
            taker = earlier[0]
            report.add(
                rule.place,
                f"{rule.kind} {rule.name!r} is never reached: {taker.rule.name!r} in line {taker.rule.place.line} "
                "takes every such event and commits the rule set",
                "put it before that rule",
            )
        if committed and _takes_all(rule):
            takers.append(_Taker(rule, classes, committed))


def _phases(rule: Rule, action: Action) -> tuple[str, ...]:
    return _PHASES[action.kind] if rule.kind == "rule" else (rule.kind,)


def _actions(rule: Rule, report: Report) -> frozenset[str]:
    """The phases in which the rule commits its rule set for certain; reports the actions behind a certain commit."""
    ended: dict[str, Action] = {}
    sets: set[str] = set()
    for action in rule.actions:
        phases = _phases(rule, action)
        if all(phase in ended for phase in phases):
            before = ended[phases[0]]
            report.add(
                action.place,
                f"action {action.name!r} is never reached: {before.name!r} in line {before.place.line} "
                "commits the rule before it",
                "put it before that action",
            )
        for phase in phases:
            level = _committed(action.body, phase)
            if level and phase not in ended:
                ended[phase] = action
                if level == _COMMIT_SET:
                    sets.add(phase)
    return frozenset(sets)


def _committed(body: Term, phase: str) -> int:
    """How far a body commits before any of its goals can fail."""
    level = 0
    for goal in conjuncts(body):
        name = goal.value if isinstance(goal, Atom) else goal.name if isinstance(goal, Compound) else ""
        if isinstance(goal, Compound) and goal.args:
            break
        harmless = name in ("true", "commit_action") or (name == "drop_received_event" and phase == _NEW)
        if name not in _COMMITS and not harmless:
            break
        level = max(level, _COMMITS.get(name, 0))
    return level


def _takes_all(rule: Rule) -> bool:
    """Whether the rule runs for every event of its classes: its conditions only give values to new variables."""
    if any((rule.timer_duration, rule.timer_info, rule.sender, rule.attribute, rule.set_to)):
        return False
    names = list(_variables(rule.event))
    return len(names) == len(set(names)) and not any(condition.tests for condition in rule.event.conditions)


def _variables(event: EventFilter) -> Iterator[str]:
    for var in (event.variable, event.class_variable, *(condition.variable for condition in event.conditions)):
        if var is not None and var.name != "_":
            yield var.name


def _classes(event: EventFilter, table: ClassTable) -> frozenset[str]:
    """Every class whose events the filter may take; empty where it names one that is not defined."""
    if not event.classes:
        return frozenset(table.classes)
    named = {atom.value for atom in event.classes}
    if not named <= set(table.classes):
        return frozenset()
    return frozenset(name for name, above in table.ancestors.items() if not named.isdisjoint(above))
