"""User predicates as the compiler sees them: goals that call a Python function.

Whatever a function does wrong fails the action as a RuleError that names the predicate and the line in its file; the
event is processed to the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn

from opentec.events.classes import ClassTable
from opentec.rules.ast import Compound, EventArgument, Term
from opentec.rules.evaluation import Evaluation
from opentec.rules.goals import Choice, Code, Goal, Step
from opentec.rules.predicates import REGISTRY
from opentec.rules.predicates.registry import Predicate
from opentec.rules.rulebase_sources import RuleBaseError
from opentec.rules.scope import NO_CONSTANT, Frame, Reader, Scope, constant, event_reader, reader, value_reader, wrong
from opentec.rules.terms import RuleError, undo, unify
from opentec.rules.user_predicates.declaration import EVENT, NOW, Declaration, UserPredicates
from opentec.rules.user_predicates.module import Function, line_in, read, told
from opentec.rules.user_predicates.values import Convert, Unfit, converter

Registry = Mapping[tuple[str, int], Predicate]
Call = Callable[[Frame, Evaluation], Any]


def load_registry(user: UserPredicates) -> Registry:
    """All predicates of a rule base, ready to run: runs its predicates.py in this process.

    Raises RuleBaseError when it does not declare what it declared when the rule base was checked.
    """
    if not user:
        return REGISTRY
    report, functions = read(user.source, user.installed)
    if report.faults:
        fault = report.faults[0]
        place = f"predicates.py:{fault.line}: " if not fault.package else ""
        raise RuleBaseError(f"the user predicates cannot be loaded on this node: {place}{fault.message}")
    if report.declarations != user.declarations:
        raise RuleBaseError(
            "the user predicates declare something else than when the rule base was checked; activate it again, and "
            "declare the same in every process and on every node"
        )
    return _with(zip(user.declarations, functions, strict=True))


def declared_registry(declarations: Sequence[Declaration]) -> Registry:
    """The same for checks: it compiles, and a predicate of the user must not be called."""
    return _with((declaration, _not_loaded) for declaration in declarations)


def _not_loaded(*args: Any) -> NoReturn:
    raise RuntimeError("this registry is for checks only")


def _with(user: Any) -> Registry:
    more = (user_predicate(declaration, function) for declaration, function in user)
    return {**REGISTRY, **{(one.name, one.arity): one for one in more}}


def user_predicate(declaration: Declaration, function: Function) -> Predicate:
    """The predicate that calls this function."""

    def compile(table: ClassTable, term: Compound, scope: Scope) -> Code:
        return _compile(declaration, function, term, scope)

    return Predicate(
        name=declaration.name,
        modes=declaration.modes,
        signature=declaration.signature,
        effect=declaration.effect,
        determinism=declaration.determinism,
        example=declaration.signature,
        many=declaration.determinism == "nondet",
        compile=compile,
    )


def _compile(declaration: Declaration, function: Function, term: Compound, scope: Scope) -> Code:
    place = f"{term.place.file}:{term.place.line}"
    takes = len(declaration.arguments)
    call = _call(declaration, function, term.args[:takes], scope)
    results = [reader(arg, scope) for arg in term.args[takes:]]
    if declaration.determinism == "nondet":
        return _many(declaration, function, call, results, place)
    return _one(declaration, call, results, place)


def _call(declaration: Declaration, function: Function, terms: Sequence[Term], scope: Scope) -> Call:
    """A function of frame and evaluation that reads the arguments, checks them and calls."""
    given = iter(enumerate(terms, 1))
    reads: list[tuple[Reader, Convert, str] | None] = []  # None: log time
    for parameter in declaration.parameters:
        if parameter.type == NOW:
            reads.append(None)
            continue
        number, term = next(given)
        what = f"argument {number} of {declaration.name} ({parameter.name})"
        reads.append((*_argument(parameter.type, what, term, scope), what))

    def call(frame: Frame, run: Evaluation) -> Any:
        arguments = []
        for one in reads:
            if one is None:
                arguments.append(run.seconds)
                continue
            read, convert, what = one
            try:
                arguments.append(convert(read(frame)))
            except Unfit as unfit:
                raise RuleError(f"{what}: {unfit}") from None
        try:
            return function(*arguments)
        except RecursionError:
            raise  # the engine's: the rule may nest too deeply, and not the function
        except (Exception, SystemExit) as error:  # a fault of the user's code is a fault of the rule
            raise _blamed(declaration, function, error) from error

    return call


def _argument(type_: str, what: str, term: Term, scope: Scope) -> tuple[Reader, Convert]:
    convert = converter(type_)
    if isinstance(term, EventArgument):
        wrong(f"{what} is a value, not an event filter", term.place, "search first, and give the variable of the event")
    if isinstance(term, Compound):
        wrong(f"{what} is not computed", term.place, "compute it first, with _x is ..., and give the variable")
    value = constant(term)
    if value is not NO_CONSTANT:
        try:
            convert(value)
        except Unfit as unfit:
            wrong(f"{what}: {unfit}", term.place, "give the variable of an event" if type_ == EVENT else "")
    return event_reader(term, scope, what) if type_ == EVENT else value_reader(term, scope), convert


def _blamed(declaration: Declaration, function: Function, error: BaseException) -> RuleError:
    file, _, first = declaration.place.rpartition(":")
    line = line_in(error.__traceback__, function.__code__.co_filename) or first
    return RuleError(f"{declaration.name}: {told(error)} ({file}:{line})")


def _results(declaration: Declaration) -> Callable[[Any], Sequence[Any]]:
    """A function from what the user's code gives to the values of all outputs; it raises RuleError."""
    name, place = declaration.name, declaration.place
    converts = [converter(type_) for type_ in declaration.outputs]

    def values(result: Any) -> Sequence[Any]:
        if len(converts) > 1:
            if type(result) is not tuple or len(result) != len(converts):
                raise RuleError(f"{name} must give a tuple of {len(converts)} values ({place})")
        else:
            result = (result,)
        try:
            return [convert(value) for convert, value in zip(converts, result, strict=True)]
        except Unfit as unfit:
            raise RuleError(f"{name} gives a wrong result: {unfit} ({place})") from None

    return values


def _one(declaration: Declaration, call: Call, results: Sequence[Reader], place: str) -> Goal:
    values = _results(declaration)
    test: Final = not declaration.outputs
    may_fail: Final = declaration.determinism == "semidet"

    def goal(frame: Frame, run: Evaluation) -> bool:
        try:
            result = call(frame, run)
            if test:
                if result is True or result is False:
                    return bool(result)
                kind = type(result).__name__
                raise RuleError(f"{declaration.name} must give True or False, not {kind} ({declaration.place})")
            if result is None and may_fail:
                return False
            found = values(result)
            return all(unify(read(frame), value, run.trail) for read, value in zip(results, found, strict=True))
        except RuleError as error:
            error.place = error.place or place
            raise

    return goal


def _many(declaration: Declaration, function: Function, call: Call, results: Sequence[Reader], place: str) -> Choice:
    values = _results(declaration)

    def every(frame: Frame, run: Evaluation) -> Iterator[Sequence[Any]]:
        found = call(frame, run)
        if not isinstance(found, (list, tuple)) and not hasattr(found, "__next__"):
            kind = type(found).__name__
            hint = "; sort it, its order differs from process to process" if isinstance(found, (set, frozenset)) else ""
            raise RuleError(f"{declaration.name} must yield or give a list, not {kind}{hint} ({declaration.place})")
        solutions = iter(found)
        while True:
            try:
                solution = next(solutions)
            except StopIteration:
                return
            except RecursionError:
                raise
            except (Exception, SystemExit) as error:  # as in a call
                raise _blamed(declaration, function, error) from error
            yield values(solution)

    def make(rest: Step) -> Step:
        def goal(frame: Frame, run: Evaluation) -> bool:
            mark = len(run.trail)
            try:
                outputs = None
                for found in every(frame, run):
                    run.count(1)
                    outputs = outputs or [read(frame) for read in results]
                    trail = run.trail
                    if all(unify(out, value, trail) for out, value in zip(outputs, found, strict=True)) and rest(
                        frame, run
                    ):
                        return True
                    undo(trail, mark)
            except RuleError as error:
                error.place = error.place or place
                raise
            return False

        return goal

    return Choice(make)
