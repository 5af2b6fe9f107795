"""Event activity: how many events of which kind arrived."""

from __future__ import annotations

from typing import Final

from opentec.rules.predicates.registry import Predicate

PREDICATES: Final[tuple[Predicate, ...]] = ()
