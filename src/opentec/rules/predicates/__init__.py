"""The predicates of the rule language, grouped by file, each with its documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentec.rules.control import CONTROL
from opentec.rules.predicates import (
    activity,
    causes,
    changes,
    classes,
    clearing,
    counters,
    criteria,
    execution,
    facts,
    forwarding,
    globals,
    lists,
    search,
    sequences,
    slots,
    terms,
    text,
    thresholds,
    time,
    timers,
    tracing,
)
from opentec.rules.predicates.refused import REFUSED
from opentec.rules.predicates.registry import Predicate

__all__ = ["GROUPS", "PREDICATES", "REFUSED", "REGISTRY"]

GROUPS: Final[Mapping[str, tuple[Predicate, ...]]] = {
    "event cache": search.PREDICATES,
    "changes": changes.PREDICATES,
    "slots and new events": slots.PREDICATES,
    "classes and settings": classes.PREDICATES,
    "causes and effects": causes.PREDICATES,
    "counters": counters.PREDICATES,
    "thresholds": thresholds.PREDICATES,
    "criteria": criteria.PREDICATES,
    "sequences": sequences.PREDICATES,
    "clearing events": clearing.PREDICATES,
    "event activity": activity.PREDICATES,
    "timers": timers.PREDICATES,
    "time": time.PREDICATES,
    "global variables": globals.PREDICATES,
    "facts and recorded values": facts.PREDICATES,
    "text": text.PREDICATES,
    "lists": lists.PREDICATES,
    "terms": terms.PREDICATES,
    "programs and tasks": execution.PREDICATES,
    "forwarding": forwarding.PREDICATES,
    "tracing": tracing.PREDICATES,
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
