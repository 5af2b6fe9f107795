"""Counters: numbers that rules keep by a key."""

from __future__ import annotations

from typing import Final

from opentec.rules.predicates.registry import Predicate

PREDICATES: Final[tuple[Predicate, ...]] = ()
