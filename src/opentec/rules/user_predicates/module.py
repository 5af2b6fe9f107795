"""Runs a predicates.py, once and in a namespace of its own, and reads what it declares."""

from __future__ import annotations

import ast
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Final, NamedTuple

import msgspec

from opentec.rules.user_predicates import packages
from opentec.rules.user_predicates.annotations import Places, Problem, declare
from opentec.rules.user_predicates.api import MARKS, Mark
from opentec.rules.user_predicates.declaration import Declaration, Installed
from opentec.rules.user_predicates.purity import impurities

FILE: Final = "predicates.py"
_SHOWN: Final = 300  # characters of an exception's text
NOWHERE: Final = Places(None)
_TASKS: Final = Path("/proc/self/task")

Function = Callable[..., Any]


class Fault(msgspec.Struct, frozen=True):
    """A problem and whose: of predicates.py at a place ("" and a line), or of a package (line 0)."""

    package: str
    line: int
    column: int
    message: str
    hint: str = ""


class Report(msgspec.Struct, frozen=True):
    """What the user predicates of a rule base are, and what is wrong with them."""

    declarations: tuple[Declaration, ...] = ()
    faults: tuple[Fault, ...] = ()
    wrong: tuple[str, ...] = ()  # names of predicates whose declaration is wrong
    complete: bool = True  # every name is in declarations or `wrong`; not so when Python could not be run


class _Ran(NamedTuple):
    """A module that was run, or was not because of its problems."""

    marks: list[Mark]
    problems: list[Problem]
    places: Places = NOWHERE
    names: tuple[str, ...] | None = ()  # of predicates that it would have declared; None = not known


def read(source: str, installed: Iterable[Installed]) -> tuple[Report, list[Function]]:
    """Run predicates.py and import the packages; the functions are in the order of the declarations."""
    declarations: list[Declaration] = []
    functions: list[Function] = []
    faults: list[Fault] = []
    wrong: list[str] = []
    complete = True
    for package, ran in _run_all(source, installed):
        problems = ran.problems
        complete &= ran.names is not None
        wrong += ran.names or ()
        for mark in ran.marks:
            found = declare(mark, package, mark.function.__module__ if package else FILE, ran.places)
            if isinstance(found, list):
                problems += found
                wrong.append(mark.name)
                continue
            earlier = next((one for one in declarations if (one.name, one.arity) == (found.name, found.arity)), None)
            if earlier is not None:
                message = f"{found.name} with {found.arity} arguments is declared twice"
                problems.append(Problem(*ran.places.find(mark.function), message, f"the first is at {earlier.place}"))
                continue
            declarations.append(found)
            functions.append(mark.function)
        faults += [_fault(package, problem) for problem in problems]
    return Report(tuple(declarations), tuple(faults), tuple(wrong), complete), functions


def _run_all(source: str, installed: Iterable[Installed]) -> Iterator[tuple[str, _Ran]]:
    for one in installed:
        yield one.name, _package(one)
    if source:
        yield "", _own(source)


def _fault(package: str, problem: Problem) -> Fault:
    if package:
        return Fault(package, 0, 0, f"predicates {package!r}: {problem.message}", problem.hint)
    return Fault("", problem.line, problem.column, problem.message, problem.hint)


def _package(installed: Installed) -> _Ran:
    try:
        with _no_threads():
            module = packages.load(installed)
        marks = list(getattr(module, MARKS, ()))
        return _Ran(marks, [] if marks else [Problem(0, 0, "there is no @predicate in it")])
    except packages.PackageError as error:
        return _Ran([], [Problem(0, 0, str(error))], names=None)
    except (Exception, SystemExit) as error:  # the import of a stranger's module may raise anything
        return _Ran([], [Problem(0, 0, f"it cannot be imported: {told(error)}")], names=None)


def _own(source: str) -> _Ran:
    try:
        tree = ast.parse(source, FILE)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return _Ran([], [_syntax(error)], names=None)
    problems = impurities(tree)
    if problems:  # not run: what it would do is what is refused
        return _Ran([], problems, names=decorated(tree))
    try:
        with _no_threads():
            module = execute(source)
    except (Exception, SystemExit) as error:  # so may this one, and each is an error of the rule base
        line = line_in(error.__traceback__, FILE) or 1
        hint = "predicates.py is one file; what it imports must be installed on every node"
        problem = Problem(line, 1, told(error), hint if isinstance(error, ImportError) else "")
        return _Ran([], [problem], names=decorated(tree))
    return _Ran(list(getattr(module, MARKS, ())), [], Places(tree))


def decorated(tree: ast.AST) -> tuple[str, ...]:
    """The names that @predicate gives in a source which is not run, so that rules may use them without an error."""
    names = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef):
            continue
        for mark in node.decorator_list:
            called = mark.func if isinstance(mark, ast.Call) else mark
            if (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) == "predicate":
                given = [word.value.value for word in getattr(mark, "keywords", ()) if hasattr(word.value, "value")]
                names.append(str(given[0]) if given else node.name)
    return tuple(names)


def execute(source: str) -> ModuleType:
    """The module of this source, run once. Raises whatever it raises."""
    module = ModuleType("predicates")
    module.__file__ = FILE
    module.__package__ = ""  # it is in none: a relative import says so
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module  # dataclasses look their module up while they are made
    try:
        exec(compile(source, FILE, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - the operator's own code
    finally:
        if before is None:
            del sys.modules[module.__name__]
        else:
            sys.modules[module.__name__] = before
    return module


@contextmanager
def _no_threads() -> Iterator[None]:
    """Refuse code that leaves threads behind, those of extensions too: the processes of a server are forked."""
    before = set(threading.enumerate())
    native = _tasks()
    yield
    new = [thread.name for thread in threading.enumerate() if thread not in before]
    if new or _tasks() > native:
        raise RuntimeError(f"it starts threads ({', '.join(new) or 'of an extension'}), which do not survive a fork")


def _tasks() -> int:
    return len(list(_TASKS.iterdir())) if _TASKS.is_dir() else 0


def _syntax(error: BaseException) -> Problem:
    if isinstance(error, SyntaxError):
        return Problem(error.lineno or 1, max(1, error.offset or 1), error.msg)
    return Problem(1, 1, f"it cannot be read: {told(error)}")


def told(error: BaseException) -> str:
    """An exception as a person reads it, cut; its own text may be broken, too."""
    try:
        text = str(error)
    except Exception as broken:
        text = f"its text raises {type(broken).__name__}"
    if isinstance(error, KeyError) and len(error.args) == 1:
        text = str(error.args[0])
    return f"{type(error).__name__}: {text}"[:_SHOWN] if text else type(error).__name__


def line_in(traceback: TracebackType | None, file: str) -> int:
    """The line of the innermost frame of that file, 0 when there is none."""
    line = 0
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == file:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line
