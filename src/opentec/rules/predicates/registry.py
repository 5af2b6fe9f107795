"""What a predicate is. Each file of this package lists its own; the package puts them together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec


class Predicate(msgspec.Struct, frozen=True, kw_only=True):
    """A predicate of one name and arity.

    `modes` has a letter per argument: e an event, v any value, i a whole number, s text, t a term as it stands (an
    output is unified). `function(evaluation, *arguments)` gives True or False, or, when `many`, yields once per
    solution. A predicate that the compiler must see whole has `compile(table, goal, scope)` instead. An `internal` one
    is what other constructs are compiled to; nobody writes it, and the page of predicates leaves it out.
    """

    name: str
    modes: str
    signature: str
    effect: str
    determinism: str  # "det" always succeeds, "semidet" may fail, "nondet" may have several solutions
    example: str
    function: Callable[..., Any] = lambda run: True
    many: bool = False
    compile: Callable[..., Any] | None = None
    internal: bool = False

    @property
    def arity(self) -> int:
        return len(self.modes)
