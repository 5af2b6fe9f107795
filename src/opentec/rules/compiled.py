"""Compiled rules: the filter and the actions of each, ready to run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from opentec.events.classes import ClassTable
from opentec.events.errors import SourceError, SourceErrors
from opentec.rules.ast import Rule, RuleSet
from opentec.rules.compiler import Compiler
from opentec.rules.effects import Timer
from opentec.rules.evaluation import Evaluation
from opentec.rules.event import Event
from opentec.rules.filters import compile_conditions, compile_filter
from opentec.rules.goals import Step, link
from opentec.rules.scope import Frame, Scope
from opentec.rules.selector import Selectable

NEW_EVENT_ACTIONS: Final = ("reception_action", "action")  # of plain rules; redo_action waits for redo_analysis


class TimerView:
    """A timer that looks like an event, for the conditions of a timer rule."""

    __slots__ = ("defaults", "shape", "slots")
    numbers: Final[dict[str, Any]] = {}

    def __init__(self, timer: Timer) -> None:
        self.slots = {"timer_duration": timer.duration, "timer_info": timer.info}
        self.defaults: dict[str, Any] = {}
        self.shape = self

    def get(self, slot: str) -> Any:
        return self.slots.get(slot)


class CompiledAction(NamedTuple):
    kind: str
    name: str
    step: Step


class CompiledRule:
    """One rule, ready to run. `index` is its place in the rule base, `rule_set` that of its set."""

    def __init__(self, rule: Rule, index: int, rule_set: int, set_name: str, table: ClassTable) -> None:
        self.index = index
        self.rule_set = rule_set
        self.set_name = set_name
        self.name = rule.name
        self.full_name = f"{set_name}/{rule.name}"
        self.place = f"{rule.place.file}:{rule.place.line}"
        scope = Scope()
        self.filter = compile_filter(rule.event, scope, table)
        self._accepts = self.filter.accepts()
        self._binds = tuple(self.filter.binds)
        timer = [condition for condition in (rule.timer_duration, rule.timer_info) if condition is not None]
        self._match_timer = compile_conditions(timer, scope, table).match() if timer else None
        compiler = Compiler(table)
        self.actions = tuple(
            CompiledAction(action.kind, action.name, link(compiler.sequence(action.body, scope.branch()), _end))
            for action in rule.actions
            if action.kind in NEW_EVENT_ACTIONS
        )
        self._frame: Frame = [None] * scope.size

    @property
    def selectable(self) -> Selectable:
        return Selectable(self.index, self.rule_set, self.filter.roots or ("EVENT",), tuple(self.filter.tests))

    def match(self, event: Event, run: Evaluation) -> Frame | None:
        """A frame with the filter's variables, or None when the rule does not concern the event."""
        if not self._accepts(event):
            return None
        frame = self._frame.copy()
        frame[self.filter.place] = event
        for bind in self._binds:
            if not bind(event, frame, run):
                return None
        return frame

    def match_timer(self, event: Event, timer: Timer, run: Evaluation) -> Frame | None:
        """The same for a timer rule and the timer that fired."""
        frame = self.match(event, run)
        if frame is not None and self._match_timer is not None:
            view: Any = TimerView(timer)
            if not self._match_timer(view, frame, run):
                return None
        return frame


def _end(frame: Frame, run: Evaluation) -> bool:
    run.succeeded = True
    return False


class CompiledRules(NamedTuple):
    """All rules of a rule base, in their order; indexes of both kinds count together."""

    plain: dict[int, CompiledRule]
    timer: tuple[CompiledRule, ...]


def compile_rules(rule_sets: Iterable[RuleSet], table: ClassTable) -> CompiledRules:
    """Compile every rule. Raises SourceErrors with all that is wrong, at most one error per rule."""
    plain: dict[int, CompiledRule] = {}
    timer: list[CompiledRule] = []
    errors: list[SourceError] = []
    index = 0
    for number, rule_set in enumerate(rule_sets):
        for rule in rule_set.rules:
            try:
                compiled = CompiledRule(rule, index, number, rule_set.name, table)
            except SourceError as error:
                errors.append(error)
                continue
            if rule.kind == "timer_rule":
                timer.append(compiled)
            else:
                plain[index] = compiled
            index += 1
    if errors:
        raise SourceErrors(errors)
    return CompiledRules(plain, tuple(timer))
