"""Declarations of user predicates as data: what the checker and the compiler need to know without running Python.

They are part of the compiled rule base, so a master, a standby and the commands never run a predicates.py.
"""

from __future__ import annotations

from typing import Final

import msgspec

NOW: Final = "now"  # type of a parameter that the engine fills in
EVENT: Final = "event"
VALUE: Final = "value"
LIST: Final = "list"
# types by name, as messages call them
TYPES: Final = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    VALUE: "a text, a number or a list",
    LIST: "a list",
    "list[str]": "a list of texts",
    "list[int]": "a list of whole numbers",
    "list[float]": "a list of numbers",
    EVENT: "an event",
}
# types of arguments as letters of predicates/registry.py; further checks are those of values.py
MODES: Final = {"str": "s", "int": "i", EVENT: "e"}


class Parameter(msgspec.Struct, frozen=True):
    """A parameter of the function; `type` is one of TYPES, or NOW."""

    name: str
    type: str


class Declaration(msgspec.Struct, frozen=True):
    """One user predicate: its arguments are the parameters, those of type NOW left out, and then the outputs."""

    name: str
    package: str  # the entry point it comes from; "" is the rule base's own predicates.py
    place: str  # `file:line` of the function, for messages
    parameters: tuple[Parameter, ...]
    outputs: tuple[str, ...]  # types
    determinism: str  # "det", "semidet" or "nondet", as in predicates/registry.py
    effect: str = ""  # the first line of its docstring

    @property
    def arguments(self) -> tuple[Parameter, ...]:
        """The parameters that rules give."""
        return tuple(parameter for parameter in self.parameters if parameter.type != NOW)

    @property
    def arity(self) -> int:
        return len(self.arguments) + len(self.outputs)

    @property
    def modes(self) -> str:
        return "".join(MODES.get(one.type, "v") for one in self.arguments) + "t" * len(self.outputs)

    @property
    def signature(self) -> str:
        """`name(argument, _result)`."""
        results = ["_result"] if len(self.outputs) == 1 else [f"_result{n}" for n in range(1, len(self.outputs) + 1)]
        names = [("_" if one.type == EVENT else "") + one.name for one in self.arguments]
        return f"{self.name}({', '.join([*names, *results])})" if names or results else self.name


class Installed(msgspec.Struct, frozen=True):
    """An entry point of the group `opentec.predicates` that a rule base names, with its package and version."""

    name: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.name!r} of {self.distribution} {self.version}"


class UserPredicates(msgspec.Struct, frozen=True):
    """The user predicates of a rule base: the text of its predicates.py ("" = none), packages, and declarations."""

    source: str = ""
    installed: tuple[Installed, ...] = ()
    declarations: tuple[Declaration, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.source or self.installed)
