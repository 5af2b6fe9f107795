"""Bodies to closures: compiled once per rule base, nothing is interpreted per event.

A goal becomes a step that calls the step behind it once per solution, so backtracking is the return of a call and a
body drives all its solutions (tec-2.md 3.5). A step tells by True that the search is over: a commit, or the first
solution where one is enough. Goals with at most one solution are plain functions, run in a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

from opentec.events.classes import ClassTable
from opentec.events.errors import SourceError
from opentec.events.names import nearest
from opentec.rules.ast import Atom, Compound, RuleSet, Term, Var
from opentec.rules.clauses import Program
from opentec.rules.control import CONTROL
from opentec.rules.evaluation import Evaluation
from opentec.rules.facts import Key
from opentec.rules.goals import Choice, Code, Goal, Step
from opentec.rules.predicates import REFUSED, REGISTRY
from opentec.rules.predicates.facts import WITH_PROGRAM
from opentec.rules.predicates.registry import Predicate
from opentec.rules.scope import MAYBE, Frame, Reader, Scope, constant, event_reader, reader, value_reader, wrong
from opentec.rules.terms import RuleError, show, undo


class Compiler:
    """Compiles the bodies of one rule base.

    `rule_sets` gives the predicates of the rule base's own: clauses, and what any body asserts. What is wrong with
    the clauses is in `errors`. `registry` has the language's predicates, and those that users wrote in Python.
    """

    def __init__(
        self,
        table: ClassTable,
        rule_sets: Iterable[RuleSet] = (),
        registry: Mapping[Key, Predicate] = REGISTRY,
    ) -> None:
        self.table = table
        self.registry = registry
        self.program = Program(self, rule_sets)
        self.program.compile_clauses()

    @property
    def errors(self) -> list[SourceError]:
        return self.program.errors

    def is_language(self, key: Key) -> bool:
        """Whether this is no predicate of a rule base's clauses."""
        return key == (",", 2) or key in CONTROL or key in self.registry

    def takes_values(self, key: Key) -> bool:
        """Whether the goal is the same whatever its arguments are: nothing in them is compiled."""
        if key in CONTROL or key == (",", 2):
            return False
        predicate = self.registry.get(key)
        return predicate is None or predicate.compile is None

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
        if isinstance(term, Var) and scope.known(term) == MAYBE:  # a slot's value is never a goal
            return [self.program.call_term(term, scope)]
        if not isinstance(term, Compound):
            wrong("this is not a goal", term.place, "a goal is a predicate, a test, or several of them with commas")
        key = (term.name, len(term.args))
        control = CONTROL.get(key)
        if control is not None:
            return control(self, term, scope)
        predicate = self.registry.get(key)
        if predicate is None:
            procedure = self.program.procedures.get(key)
            if procedure is None:
                self._unknown(term)
            return [self.program.call(procedure, term, scope)]
        if predicate.compile is not None:
            return [predicate.compile(self.table, term, scope)]
        function = partial(predicate.function, self.program) if key in WITH_PROGRAM else predicate.function
        return [_call(predicate, function, term, scope)]

    def _unknown(self, term: Compound) -> NoReturn:
        known = [*CONTROL, *self.registry, *self.program.procedures]
        arities = sorted({arity for name, arity in known if name == term.name})
        if arities:
            takes, plural = " or ".join(map(str, arities)), "" if arities == [1] else "s"
            wrong(f"{term.name} takes {takes} argument{plural}, not {len(term.args)}", term.place)
        if term.name in REFUSED:
            wrong(f"predicate {term.name!r} is refused: {REFUSED[term.name]}", term.place)
        near = nearest(term.name, [name for name, _ in known])
        hint = f"did you mean {near!r}?" if near else ""
        wrong(f"predicate {term.name!r} is not defined", term.place, hint)


def _call(predicate: Predicate, function: Callable[..., Any], term: Compound, scope: Scope) -> Code:
    args = [
        _argument(predicate, mode, number, arg, scope)
        for number, (mode, arg) in enumerate(zip(predicate.modes, term.args, strict=True), 1)
    ]
    place = f"{term.place.file}:{term.place.line}"
    return _many(function, args, place) if predicate.many else _once(function, args, place)


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
    if type(constant(term)) is kind:
        return read

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
