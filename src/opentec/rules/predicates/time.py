"""Times of the calendar, from log time and the time zone of the rule base."""

from __future__ import annotations

from typing import Final

from opentec.rules.predicates.registry import Predicate

PREDICATES: Final[tuple[Predicate, ...]] = ()
