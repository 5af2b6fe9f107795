"""Rules to closures: compiled once per rule base, nothing is interpreted per event.

A goal becomes a step that calls the step behind it once per solution, so backtracking is the return of a call and a
body drives all its solutions (tec-2.md 3.5). A step tells by True that the search is over: a commit, or the first
solution where one is enough. Goals with at most one solution are plain functions, run in a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from opentec.events.classes import ClassTable
from opentec.events.errors import SourceError, SourceErrors
from opentec.events.names import nearest
from opentec.rules.ast import Atom, Compound, Rule, RuleSet, Term
from opentec.rules.control import CONTROL
from opentec.rules.effects import Timer
from opentec.rules.evaluation import Evaluation
from opentec.rules.event import Event
from opentec.rules.filters import compile_conditions, compile_filter
from opentec.rules.goals import Choice, Code, Goal, Step, link
from opentec.rules.predicates import REGISTRY
from opentec.rules.predicates.registry import Predicate
from opentec.rules.scope import Frame, Reader, Scope, event_reader, reader, value_reader, wrong
from opentec.rules.selector import Selectable
from opentec.rules.terms import RuleError, show, undo

NEW_EVENT_ACTIONS: Final = ("reception_action", "action")  # of plain rules; redo_action waits for redo_analysis


class Compiler:
    """Compiles the bodies of one rule base."""

    def __init__(self, table: ClassTable) -> None:
        self.table = table

    def sequence(self, term: Term, scope: Scope) -> list[Code]:
        """The code of a body, in order. Raises SourceError."""
        codes: list[Code] = []
        while isinstance(term, Compound) and term.name == "," and len(term.args) >= 2:
            for goal in term.args[:-1]:
                codes.extend(self.sequence(goal, scope))
            term = term.args[-1]
        codes.extend(self._goal(term, scope))
        return codes

    def _goal(self, term: Term, scope: Scope) -> list[Code]:
        if isinstance(term, Atom):
            term = Compound(term.value, (), place=term.place)
        if not isinstance(term, Compound):
            wrong("this is not a goal", term.place, "a goal is a predicate, a test, or several of them with commas")
        key = (term.name, len(term.args))
        control = CONTROL.get(key)
        if control is not None:
            return control(self, term, scope)
        predicate = REGISTRY.get(key)
        if predicate is None:
            arities = sorted(arity for name, arity in (*CONTROL, *REGISTRY) if name == term.name)
            if arities:
                wrong(f"{term.name} takes {' or '.join(map(str, arities))} arguments, not {key[1]}", term.place)
            near = nearest(term.name, [name for name, _ in (*CONTROL, *REGISTRY)])
            hint = f"did you mean {near!r}?" if near else ""
            wrong(f"predicate {term.name!r} is not defined", term.place, hint)
        if predicate.compile is not None:
            return [predicate.compile(self.table, term, scope)]
        return [_call(predicate, term, scope)]


def _call(predicate: Predicate, term: Compound, scope: Scope) -> Code:
    args = [
        _argument(predicate, mode, number, arg, scope)
        for number, (mode, arg) in enumerate(zip(predicate.modes, term.args, strict=True), 1)
    ]
    place = f"{term.place.file}:{term.place.line}"
    return _many(predicate.function, args, place) if predicate.many else _once(predicate.function, args, place)


def _argument(predicate: Predicate, mode: str, number: int, term: Term, scope: Scope) -> Reader:
    """Modes: e an event, v any value, i a whole number, s text, t a term as it stands."""
    if mode == "t":
        return reader(term, scope)
    what = f"argument {number} of {predicate.name}"
    if mode == "e":
        return event_reader(term, scope, what)
    read = value_reader(term, scope)
    if mode == "v":
        return read
    kind, name = (int, "a whole number") if mode == "i" else (str, "text")

    def checked(frame: Frame) -> Any:
        value = read(frame)
        if type(value) is not kind:
            raise RuleError(f"{what} must be {name}, not {show(value)!r}")
        return value

    return checked


def _once(function: Callable[..., Any], args: Sequence[Reader], place: str) -> Goal:
    if len(args) == 2:
        first, second = args

        def call_two(frame: Frame, run: Evaluation) -> bool:
            try:
                return function(run, first(frame), second(frame))  # type: ignore[no-any-return]
            except RuleError as error:
                error.place = error.place or place
                raise

        return call_two

    def call(frame: Frame, run: Evaluation) -> bool:
        try:
            return function(run, *[arg(frame) for arg in args])  # type: ignore[no-any-return]
        except RuleError as error:
            error.place = error.place or place
            raise

    return call


def _many(function: Callable[..., Any], args: Sequence[Reader], place: str) -> Choice:
    def make(rest: Step) -> Step:
        def solutions(frame: Frame, run: Evaluation) -> bool:
            mark = len(run.trail)
            try:
                for _ in function(run, *[arg(frame) for arg in args]):
                    run.count(1)
                    if rest(frame, run):
                        return True
                    undo(run.trail, mark)
            except RuleError as error:
                error.place = error.place or place
                raise
            undo(run.trail, mark)
            return False

        return solutions

    return Choice(make)


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
