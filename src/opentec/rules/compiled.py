"""Compiled rules: the filter and the actions of each, ready to run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from opentec.events.classes import ClassTable
from opentec.events.errors import SourceError, SourceErrors
from opentec.rules.ast import Action, Atom, Condition, ListTerm, Rule, RuleSet, Var
from opentec.rules.compiler import Compiler
from opentec.rules.effects import Timer
from opentec.rules.evaluation import Evaluation
from opentec.rules.event import Event
from opentec.rules.filters import FilterCode, Match, compile_conditions, compile_filter
from opentec.rules.goals import Step, link
from opentec.rules.guards import Guard, guard_of, without_guard
from opentec.rules.predicates import REGISTRY
from opentec.rules.predicates.registry import Predicate
from opentec.rules.scope import GROUND, Frame, Reader, Scope, reader, wrong
from opentec.rules.selector import Selectable
from opentec.rules.terms import undo, unify

Registry = Mapping[tuple[str, int], Predicate]

NEW_EVENT_ACTIONS: Final = ("reception_action", "action")
REDO_ACTIONS: Final = ("redo_action", "action")


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


class ChangeView:
    """A change request that looks like an event, for the conditions of a change rule (tec.md 3.3)."""

    __slots__ = ("defaults", "numbers", "shape", "slots")

    def __init__(self, event: Event, slot: str, value: Any, sender: Any) -> None:
        self.slots = {"attribute": slot, "set_to": value, "sender": sender}
        self.defaults: dict[str, Any] = {}
        self.shape = self
        found = event.shape.numbers.get(slot)
        self.numbers = {} if found is None else {"set_to": found}  # so that severities compare as in event filters

    def get(self, slot: str) -> Any:
        return self.slots.get(slot)


class CompiledAction(NamedTuple):
    kind: str
    name: str
    step: Step
    guard: Guard | None = None  # closed: the step would do nothing


class CompiledRule:
    """One rule, ready to run. `index` is its place in the rule base, `rule_set` that of its set."""

    def __init__(self, rule: Rule, index: int, rule_set: int, set_name: str, compiler: Compiler) -> None:
        table = compiler.table
        self.source = rule
        self.index = index
        self.rule_set = rule_set
        self.set_name = set_name
        self.name = rule.name
        self.full_name = f"{set_name}/{rule.name}"
        self.place = f"{rule.place.file}:{rule.place.line}"
        scope = Scope()
        self.filter = compile_filter(rule.event, scope, table)
        self._classes, self._checks = self.filter.classes, tuple(self.filter.checks)
        self._binds = tuple(self.filter.binds)
        timer = [condition for condition in (rule.timer_duration, rule.timer_info) if condition is not None]
        self.timer_filter = compile_conditions(timer, scope, table) if timer else None
        self._match_timer = self.timer_filter.match() if self.timer_filter is not None else None
        # of a change rule: the one slot that it is about; the engine asks it for no other
        self.attribute = rule.attribute.value if isinstance(rule.attribute, Atom) else None
        # and what it asks of the sender first, then of the rest of a request
        self.match_sender: Match | None = None
        self.request_filter: FilterCode | None = None
        if rule.kind == "change_rule":
            self.match_sender, self.request_filter = _compile_request(rule, scope, table)
        request = self.request_filter
        matches = (self.match_sender, request.match() if request is not None else None)
        self._match_change = tuple(match for match in matches if match is not None)
        actions = [_compile_action(action, compiler, scope.branch()) for action in rule.actions]
        self.guard = guard_of([action.body for action in rule.actions])  # closed: the rule would do nothing
        self.actions = tuple(action for action in actions if action.kind in NEW_EVENT_ACTIONS)
        self.redo_actions = tuple(action for action in actions if action.kind in REDO_ACTIONS)
        self._frame: Frame = [None] * scope.size

    @property
    def selectable(self) -> Selectable:
        return Selectable(self.index, self.rule_set, self.filter.roots or ("EVENT",), tuple(self.filter.tests))

    def match(self, event: Event, run: Evaluation) -> Frame | None:
        """A frame with the filter's variables, or None when the rule does not concern the event."""
        classes = self._classes
        if classes is not None and event.shape.name not in classes:
            return None
        for check in self._checks:
            if not check(event):
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

    def match_change(self, event: Event, request: ChangeView, run: Evaluation) -> Frame | None:
        """The same for a change rule and the change that is asked for."""
        frame = self.match(event, run)
        if frame is not None:
            view: Any = request
            for matches in self._match_change:
                if not matches(view, frame, run):
                    return None
        return frame


def _compile_action(action: Action, compiler: Compiler, scope: Scope) -> CompiledAction:
    codes = [code for goal in without_guard(action.body) for code in compiler.sequence(goal, scope)]
    return CompiledAction(action.kind, action.name, link(codes, _end), guard_of([action.body]))


def _compile_request(rule: Rule, scope: Scope, table: ClassTable) -> tuple[Match | None, FilterCode | None]:
    """The conditions of a change rule on the request, in the order in which their variables get values."""
    sender = _compile_sender(rule.sender, scope) if rule.sender is not None else None
    conditions = []
    if isinstance(rule.attribute, Var):
        conditions.append(Condition("attribute", rule.attribute, place=rule.attribute.place))
    if rule.set_to is not None:
        conditions.append(rule.set_to)
    return sender, compile_conditions(conditions, scope, table) if conditions else None


def _compile_sender(condition: Condition, scope: Scope) -> Match:
    """Senders are terms, `operator(_name)`: compared by unification, so that a condition may bind what is in them."""
    tests: list[tuple[list[Reader], bool]] = []
    whole, known = condition.variable, None
    place = 0
    if whole is not None:
        known = reader(whole, scope) if scope.known(whole) else None
        place = scope.define(whole, GROUND)
    for test in condition.tests:
        positive = test.operator in ("equals", "within")
        if not positive and test.operator not in ("not_equals", "outside"):
            wrong(f"a sender cannot be tested with {test.operator}", test.place, "write within, outside or equals")
        patterns = test.operand.items if isinstance(test.operand, ListTerm) else (test.operand,)
        inner = scope if positive else scope.branch()
        tests.append(([reader(pattern, inner) for pattern in patterns], positive))

    def matches(event: Event, frame: Frame, run: Evaluation) -> bool:
        sender, trail = event.get("sender"), run.trail
        if known is not None and not unify(known(frame), sender, trail):
            return False
        if whole is not None:
            frame[place] = sender
        for readers, positive in tests:
            # all are read first: each may make variables that the rest of the rule mentions
            found = False
            for pattern in [read(frame) for read in readers]:
                mark = len(trail)
                found = unify(pattern, sender, trail)
                if found and positive:
                    break
                undo(trail, mark)
                if found:
                    break
            if found is not positive:
                return False
        return True

    return matches


def _end(frame: Frame, run: Evaluation) -> bool:
    run.succeeded = True
    return False


class CompiledRules(NamedTuple):
    """All rules of a rule base, in their order; indexes of all kinds count together."""

    plain: dict[int, CompiledRule]
    timer: tuple[CompiledRule, ...]
    change: tuple[CompiledRule, ...]
    compiler: Compiler


def compile_rules(rule_sets: Iterable[RuleSet], table: ClassTable, registry: Registry = REGISTRY) -> CompiledRules:
    """Compile every rule. Raises SourceErrors with all that is wrong, at most one error per rule and clause.

    `registry` has the predicates of the language, and those that users wrote in Python.
    """
    rule_sets = tuple(rule_sets)
    compiler = Compiler(table, rule_sets, registry)
    plain: dict[int, CompiledRule] = {}
    timer: list[CompiledRule] = []
    change: list[CompiledRule] = []
    errors: list[SourceError] = list(compiler.errors)
    index = 0
    for number, rule_set in enumerate(rule_sets):
        for rule in rule_set.rules:
            try:
                compiled = CompiledRule(rule, index, number, rule_set.name, compiler)
            except SourceError as error:
                errors.append(error)
                continue
            if rule.kind == "timer_rule":
                timer.append(compiled)
            elif rule.kind == "change_rule":
                change.append(compiled)
            else:
                plain[index] = compiled
            index += 1
    if errors:
        raise SourceErrors(errors)
    return CompiledRules(plain, tuple(timer), tuple(change), compiler)
