"""Bodies to closures: compiled once per rule base, nothing is interpreted per event.

A goal becomes a step that calls the step behind it once per solution, so backtracking is the return of a call and a
body drives all its solutions (tec-2.md 3.5). A step tells by True that the search is over: a commit, or the first
solution where one is enough. Goals with at most one solution are plain functions, run in a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from opentec.events.classes import ClassTable
from opentec.events.names import nearest
from opentec.rules.ast import Atom, Compound, Term
from opentec.rules.control import CONTROL
from opentec.rules.evaluation import Evaluation
from opentec.rules.goals import Choice, Code, Goal, Step
from opentec.rules.predicates import REGISTRY
from opentec.rules.predicates.registry import Predicate
from opentec.rules.scope import Frame, Reader, Scope, event_reader, reader, value_reader, wrong
from opentec.rules.terms import RuleError, show, undo


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
