"""A short way to write a predicate down, for files that have many small ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentec.rules.predicates.registry import Predicate


def define(
    signature: str, modes: str, effect: str, example: str, function: Callable[..., Any], determinism: str = "semidet"
) -> Predicate:
    """A predicate that has its name before the bracket of the signature; a nondet one is a generator."""
    return Predicate(
        name=signature.partition("(")[0],
        modes=modes,
        signature=signature,
        effect=effect,
        determinism=determinism,
        example=example,
        function=function,
        many=determinism == "nondet",
    )
