"""Values of the command line without pydantic, whose import would cost a client half of its start.

Typer checks values with pydantic from 0.28 on. The types that the commands use are simple, so they get a check of
their own here. Where typer has no such place (before 0.28), or a type is not known here, typer's own check stays.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import typer


def _number(kind: Callable[[str], Any], name: str) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        try:
            number = kind(value)
        except (ValueError, OverflowError):
            raise ValueError(f"{value!r} is not {name}") from None
        if number != number or number in (float("inf"), float("-inf")):
            raise ValueError(f"{value!r} is not {name}")
        return number

    return convert


_CONVERT: Final[dict[Any, Callable[[Any], Any]]] = {
    str: str,
    Path: Path,
    bool: bool,
    int: _number(int, "a whole number"),
    float: _number(float, "a number"),
}


class _Simple:
    """Stands where typer keeps the check of one parameter."""

    def __init__(self, convert: Callable[[Any], Any], least: float | None, most: float | None) -> None:
        self._convert, self._least, self._most = convert, least, most

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value as its type; raises typer.BadParameter."""
        is_many = param.multiple or param.nargs == -1
        if value is None:
            return () if is_many else None
        return [self._one(item, param, ctx) for item in value] if is_many else self._one(value, param, ctx)

    def _one(self, value: Any, param: Any, ctx: Any) -> Any:
        try:
            converted = self._convert(value)
        except ValueError as error:
            raise typer.BadParameter(str(error), ctx=ctx, param=param) from None
        if self._least is not None and converted < self._least:
            raise typer.BadParameter(f"{value} is less than {self._least:g}", ctx=ctx, param=param)
        if self._most is not None and converted > self._most:
            raise typer.BadParameter(f"{value} is more than {self._most:g}", ctx=ctx, param=param)
        return converted


def simplify(command: Any) -> None:
    """Give the parameters of a command, and of those below it, checks that need no pydantic."""
    # --help is a parameter that the command makes for a context, and then keeps
    for parameter in command.get_params(typer.Context(command, **command.context_settings)):
        descriptor = getattr(parameter, "type_descriptor", None)
        if descriptor is None or getattr(parameter, "_runtime_param", parameter) is not None:
            continue
        annotation = descriptor.annotation
        inner = annotation.__args__[0] if getattr(annotation, "__origin__", None) is list else annotation
        if inner in _CONVERT:
            least, most = (getattr(descriptor.parameter_info, name, None) for name in ("min", "max"))
            parameter._runtime_param = _Simple(_CONVERT[inner], least, most)
    for below in getattr(command, "commands", {}).values():
        simplify(below)
