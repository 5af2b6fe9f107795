"""The predicates of the rule language, grouped by file, each with its documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentec.rules.control import CONTROL
from opentec.rules.predicates import changes, execution, search, slots, text, timers
from opentec.rules.predicates.registry import Predicate

GROUPS: Final[Mapping[str, tuple[Predicate, ...]]] = {
    "event cache": search.PREDICATES,
    "changes": changes.PREDICATES,
    "slots and events": slots.PREDICATES,
    "timers and time": timers.PREDICATES,
    "lists and texts": text.PREDICATES,
    "programs": execution.PREDICATES,
}

REGISTRY: Final[Mapping[tuple[str, int], Predicate]] = {
    (predicate.name, predicate.arity): predicate for group in GROUPS.values() for predicate in group
}


def _arities() -> dict[str, frozenset[int]]:
    arities: dict[str, set[int]] = {}
    for name, arity in (*CONTROL, *REGISTRY):
        arities.setdefault(name, set()).add(arity)
    return {name: frozenset(found) for name, found in arities.items()}


# what the checker needs: every name that may be a goal, with the numbers of arguments that it takes
PREDICATES: Final[Mapping[str, frozenset[int]]] = _arities()
