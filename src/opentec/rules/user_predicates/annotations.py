"""From a marked function to its declaration: what its annotations mean, and what is wrong with them."""

from __future__ import annotations

import ast
import inspect
import re
import types
import typing
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Final

from opentec.rules.user_predicates.api import EventView, Mark, Seconds
from opentec.rules.user_predicates.declaration import EVENT, LIST, NOW, VALUE, Declaration, Parameter

_NAME: Final = re.compile(r"[a-zA-Z]\w*", re.ASCII)
_MANY: Final = (Iterator, Iterable, Generator)
_SIMPLE: Final[dict[Any, str]] = {
    str: "str",
    int: "int",
    float: "float",
    list: LIST,
    EventView: EVENT,
    Any: VALUE,
    object: VALUE,
    Seconds: NOW,
}
_PARAMETER_HINT: Final = "a parameter is str, int, float, list, list[str], list[int], list[float], Value, EventView"
_RESULT_HINT: Final = (
    "-> bool holds or does not; -> str, int, float, list, list[str] ... gives one value, with | None maybe none; "
    "-> tuple[str, int] gives two; -> Iterator[str] any number"
)


class Problem(typing.NamedTuple):
    """One thing that is wrong with a declaration; `line` and `column` count from 1."""

    line: int
    column: int
    message: str
    hint: str = ""


class Places:
    """Where the functions of a source and their parameters stand."""

    def __init__(self, tree: ast.AST | None) -> None:
        self._nodes: dict[int, ast.FunctionDef | ast.AsyncFunctionDef] = {}
        for node in ast.walk(tree) if tree is not None else ():
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                self._nodes[first] = node

    def find(self, function: Callable[..., Any], parameter: str = "") -> tuple[int, int]:
        """Line and column of the function, or of one of its parameters."""
        line: int = function.__code__.co_firstlineno
        node = self._nodes.get(line)
        if node is None:
            return line, 1
        arguments = node.args
        found = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        at = next((one for one in found if one is not None and one.arg == parameter), node)
        return at.lineno, at.col_offset + 1


def declare(mark: Mark, package: str, file: str, places: Places) -> Declaration | list[Problem]:
    """The declaration of one marked function, or everything that is wrong with it."""
    function, name = mark
    problems: list[Problem] = []
    place = places.find(function)
    if not _NAME.fullmatch(name):
        hint = "a name is a letter and then letters, digits and _; what begins with _ is a variable in rules"
        problems.append(Problem(*place, f"{name!r} is not a name for a predicate", hint))
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return [*problems, Problem(*place, f"{name} is async", "a predicate computes and never waits: take async out")]
    try:
        hints = typing.get_type_hints(function)
    except Exception as error:  # whatever an annotation raises is said, with its place
        text = f"the annotations of {name} cannot be read: {error}"
        return [*problems, Problem(*place, text, "import or define what they name")]
    parameters = []
    for parameter in inspect.signature(function).parameters.values():
        at = places.find(function, parameter.name)
        what = f"parameter {parameter.name!r} of {name}"
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.POSITIONAL_ONLY):
            problems.append(Problem(*at, f"{what} is not a plain one", "name every argument: no *, no **"))
        elif parameter.default is not parameter.empty:
            problems.append(Problem(*at, f"{what} has a default", "rules give every argument: take the default out"))
        elif parameter.name not in hints:
            problems.append(Problem(*at, f"{what} has no type", _PARAMETER_HINT))
        elif not (type_ := _type(hints[parameter.name])):
            problems.append(Problem(*at, f"{what} has a type that rules do not have", _PARAMETER_HINT))
        else:
            parameters.append(Parameter(parameter.name, type_))
    if "return" not in hints:
        problems.append(Problem(*place, f"{name} does not say what it gives", _RESULT_HINT))
    elif (result := _result(hints["return"])) is None:
        problems.append(Problem(*place, f"{name} gives what rules do not have", _RESULT_HINT))
    elif not problems:
        outputs, determinism = result
        effect = (inspect.getdoc(function) or "").partition("\n")[0]
        at_line = f"{file}:{place[0]}"
        return Declaration(name, package, at_line, tuple(parameters), outputs, determinism, effect)
    return problems


def _type(hint: Any) -> str:
    """The type of an annotation, "" when it is none of the rule language."""
    if typing.get_origin(hint) is list:
        (item,) = typing.get_args(hint)
        item_type = _type(item)
        return f"list[{item_type}]" if item_type in ("str", "int", "float") else LIST if item_type == VALUE else ""
    return _SIMPLE.get(hint, "") if isinstance(hint, typing.Hashable) else ""


def _result(hint: Any) -> tuple[tuple[str, ...], str] | None:
    """Outputs and determinism of a return annotation; None when it is not one of those that a predicate has."""
    if hint is bool:
        return (), "semidet"
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    determinism = "det"
    if origin in _MANY:
        hint, determinism = args[0], "nondet"
    elif origin in (typing.Union, types.UnionType) and len(args) == 2 and types.NoneType in args:
        hint, determinism = next(arg for arg in args if arg is not types.NoneType), "semidet"
    outputs = tuple(_type(one) for one in typing.get_args(hint)) if typing.get_origin(hint) is tuple else (_type(hint),)
    if not outputs or any(one in ("", EVENT, NOW) for one in outputs):
        return None
    return outputs, determinism
