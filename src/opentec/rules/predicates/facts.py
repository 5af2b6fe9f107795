"""Facts and recorded values: what rules store under a name of their own."""

from __future__ import annotations

from typing import Final

from opentec.rules.predicates.registry import Predicate

PREDICATES: Final[tuple[Predicate, ...]] = ()
