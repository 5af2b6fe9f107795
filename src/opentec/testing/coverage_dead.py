"""Rules that can never be reached: an earlier one takes every event that they would, and ends evaluation.

Only what is certain is told. The earlier rule's conditions must follow from those of the later one, and no rule
between them may change what they ask; what it does must end evaluation before any of its goals can fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from opentec.rules.ast import Atom, Compound, Condition, Rule, Test
from opentec.rules.compiled import CompiledRule
from opentec.rules.control import CONTROL
from opentec.rules.predicates import GROUPS
from opentec.rules.rulebase import Settings
from opentec.testing.coverage_data import Dead
from opentec.testing.coverage_plan import author, leaves_of
from opentec.testing.coverage_timers import NEGATIVE, POSITIVE, comparable, constants, goals_of, passes

_NOTHING, _SET, _ALL = 0, 1, 2  # what is ended
_PHASES: Final = {"reception_action": ("new",), "redo_action": ("redo",), "action": ("new", "redo")}
# what changes no slot of the event under analysis
_QUIET_GROUPS: Final = ("event cache", "classes and settings", "timers", "time", "global variables", "text", "lists")
_QUIET: Final = frozenset(
    ("drop_received_event", "received_event_dropped", "drop_change_request", ","),
).union(
    (name for name, _ in CONTROL if name != "call"),
    (predicate.name for group in _QUIET_GROUPS for predicate in GROUPS[group]),
)


def shadowed(rules: Sequence[CompiledRule], settings: Settings, folder: Path) -> list[Dead]:
    """The rules of a rule base, in its order, that none of its events can reach."""
    found: dict[str, Dead] = {}
    reached: set[str] = set()
    for number, rule in enumerate(rules):
        name = f"{rule.set_name}/{author(rule.source)}"
        earlier = [other for other in rules[:number] if other.source.kind == rule.source.kind]
        taker = _taker(rule, earlier, settings)
        if taker is None:
            reached.add(name)
            continue
        by = f"{taker.set_name}/{author(taker.source)}"
        what = "the rule set" if taker.rule_set == rule.rule_set else "all rules"
        why = f"never reached: {by} takes every such event and ends {what} before it"
        found.setdefault(name, Dead(name, f"{folder / rule.source.place.file}:{rule.source.place.line}", by, why, True))
    return [one for one in found.values() if one.rule not in reached]


def _taker(rule: CompiledRule, earlier: Sequence[CompiledRule], settings: Settings) -> CompiledRule | None:
    phases = set(_phases(rule.source))
    for number, other in enumerate(earlier):
        if not _follows(other, rule):
            continue
        if other.rule_set != rule.rule_set and _may_be_skipped(other, earlier[:number]):
            continue
        if phases and all(_ends(other.source, phase, settings) >= _needed(other, rule) for phase in phases):
            between = [one for one in earlier[number + 1 :] if _overlap(one, rule)]
            if not _tests(other) or all(map(_is_quiet, between)):
                return other
    return None


def _needed(other: CompiledRule, rule: CompiledRule) -> int:
    return _SET if other.rule_set == rule.rule_set else _ALL


def _may_be_skipped(rule: CompiledRule, earlier: Iterable[CompiledRule]) -> bool:
    """Whether a rule before it may commit its rule set, so that it is not tried."""
    return any(
        one.rule_set == rule.rule_set and isinstance(goal, Atom) and goal.value in ("commit_rule", "commit_set")
        for one in earlier
        for action in one.source.actions
        for goal in goals_of(action.body)
    )


def _phases(rule: Rule) -> Iterator[str]:
    for action in rule.actions:
        yield from _PHASES[action.kind] if rule.kind == "rule" else (rule.kind,)


def _ends(rule: Rule, phase: str, settings: Settings) -> int:
    """What the rule ends in this phase for certain, whatever its goals find."""
    for action in rule.actions:
        phases = _PHASES[action.kind] if rule.kind == "rule" else (rule.kind,)
        if phase not in phases:
            continue
        committed = ""
        for goal in leaves_of(action.body):
            name = goal.value if isinstance(goal, Atom) else ""
            if name == "drop_received_event" and phase == "new":
                if settings.drop_ends:
                    return _ALL
            elif name == "commit_set":
                return _SET
            elif name == "commit_rule":
                committed = name
            elif name not in ("true", "commit_action"):
                break
        if committed:  # the actions behind are not run
            return _SET if settings.commit_rule_ends_set else _NOTHING
    return _NOTHING


def _overlap(one: CompiledRule, other: CompiledRule) -> bool:
    first, second = one.filter.classes, other.filter.classes
    return first is None or second is None or not first.isdisjoint(second)


def _is_quiet(rule: CompiledRule) -> bool:
    return all(
        (goal.name if isinstance(goal, Compound) else goal.value if isinstance(goal, Atom) else "") in _QUIET
        for action in rule.source.actions
        for goal in goals_of(action.body)
    )


def _conditions(rule: Rule) -> Iterator[Condition]:
    yield from rule.event.conditions
    for condition in (rule.timer_duration, rule.timer_info, rule.set_to):
        if condition is not None:
            yield condition


def _tests(rule: CompiledRule) -> list[Condition]:
    return list(_conditions(rule.source))


def _follows(earlier: CompiledRule, later: CompiledRule) -> bool:
    """Whether every event that the later rule takes is one that the earlier rule takes, as far as can be proven."""
    one, two = earlier.source, later.source
    classes = earlier.filter.classes
    if classes is not None and (later.filter.classes is None or not later.filter.classes <= classes):
        return False
    if one.sender is not None or (one.attribute is not None and earlier.attribute != later.attribute):
        return False
    names = [var.name for var in (one.event.variable, one.event.class_variable) if var is not None]
    names += [condition.variable.name for condition in _conditions(one) if condition.variable is not None]
    named = [name for name in names if name != "_"]
    if len(named) != len(set(named)):  # a variable that stands twice is a test
        return False
    later_conditions = list(_conditions(two))
    return all(_implied(condition, later_conditions) for condition in _conditions(one))


def _implied(condition: Condition, by: Iterable[Condition]) -> bool:
    """Whether the condition holds wherever these do."""
    same = [other for other in by if other.slot == condition.slot]
    # any condition on the slot but a negative one with no other asks that it has a value; these do too (filters.py)
    return bool(same) and all(
        _test_implied(test, [found for other in same for found in other.tests]) for test in condition.tests
    )


def _test_implied(test: Test, by: Sequence[Test]) -> bool:
    wanted = constants(test)
    if wanted is None:
        return False
    for other in by:
        given = constants(other)
        if given is None or not comparable(given, wanted):
            continue
        if other.operator in POSITIVE and all(passes(value, test.operator, wanted) for value in given):
            return True
        if other.operator in NEGATIVE and test.operator in NEGATIVE and set(wanted) <= set(given):
            return True
        if other.operator == test.operator and given == wanted:
            return True
    return False
