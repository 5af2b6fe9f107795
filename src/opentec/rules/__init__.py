"""Rule bases: the rule language, its compiler, and the engine.

`from opentec.rules import predicate` is what a predicates.py begins with (docs/user-predicates.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentec.rules.user_predicates.api import EventView, Seconds, Value, predicate

__all__ = ["EventView", "Seconds", "Value", "predicate"]


def __getattr__(name: str) -> Any:
    # on demand: client commands import this package and must start quickly
    if name in __all__:
        from opentec.rules.user_predicates import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
