"""L601 to L603: timers and the rules that take them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from opentec.rules.ast import Compound, ListTerm, Rule, Term, Var
from opentec.rules.checker_report import conjuncts
from opentec.rules.source_text import goal_text
from opentec.testing.lint.diagnostics import Diagnostic, found
from opentec.testing.lint.model import Goal, Model, may_match


class _Taker(NamedTuple):
    rule: Rule
    name: str
    classes: frozenset[str]
    infos: list[Term] | None  # what timer_info asks for; None is anything


def check_timers(model: Model) -> Iterator[Diagnostic]:
    """Timers that nobody takes, and what waits for timers or cancels timers that nobody sets."""
    takers = [
        _Taker(rule, f"{rule_set.name}/{rule.name}", model.classes(rule.event), _infos(rule))
        for rule_set, rule in model.rules
        if rule.kind == "timer_rule"
    ]
    timers = [goal for goal in model.calls("set_timer") if len(goal.args) == 3]
    for goal in timers:
        if not any(_takes(model, taker, goal) for taker in takers):
            yield found(
                "L601",
                goal.place,
                f"no timer rule takes the timer {goal_text(goal.args[2])}",
                "write a timer_rule with timer_info: equals ... for the class of this event, or take the goal out",
            )
    for taker in takers:
        if not any(_takes(model, taker, goal) for goal in timers):
            yield found(
                "L602",
                taker.rule.place,
                f"nothing sets a timer that timer_rule {taker.rule.name!r} takes",
                "compare its class and its timer_info with the set_timer that it is for",
            )
    for goal in model.calls("cancel_timer"):
        if len(goal.args) == 2 and not any(may_match(goal.args[1], timer.args[2]) for timer in timers):
            yield found(
                "L603",
                goal.place,
                f"nothing sets a timer {goal_text(goal.args[1])}",
                "compare it with the info that set_timer is given",
            )


def _takes(model: Model, taker: _Taker, goal: Goal) -> bool:
    classes = model.event_classes(goal, goal.args[0]) if goal.site.rule is not None else None
    if classes is not None and not classes & taker.classes:
        return False
    return taker.infos is None or any(may_match(info, goal.args[2]) for info in taker.infos)


def _infos(rule: Rule) -> list[Term] | None:
    condition = rule.timer_info
    if condition is None:
        return None
    for test in condition.tests:
        if test.operator == "equals":
            return [test.operand]
        if test.operator == "within" and isinstance(test.operand, ListTerm) and test.operand.tail is None:
            return list(test.operand.items)
    return _taken_apart(rule, condition.variable) if condition.variable is not None and not condition.tests else None


def _taken_apart(rule: Rule, variable: Var) -> list[Term] | None:
    """What every action compares the info with, as in `timer_info: _info` and then `_info = ['notify', _how]`."""
    patterns: list[Term] = []
    for action in rule.actions:
        pattern = None
        for goal in conjuncts(action.body):
            if isinstance(goal, Compound) and goal.name in ("=", "=="):
                left, right = goal.args
                if isinstance(left, Var) and left.name == variable.name:
                    pattern = right
                elif isinstance(right, Var) and right.name == variable.name:
                    pattern = left
        if pattern is None:
            return None
        patterns.append(pattern)
    return patterns
