"""Terms: their kind, their parts, their order."""

from __future__ import annotations

from typing import Final

from opentec.rules.predicates.registry import Predicate

PREDICATES: Final[tuple[Predicate, ...]] = ()
