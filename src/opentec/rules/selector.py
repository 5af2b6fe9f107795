"""Which rules can an event concern: the narrow interface behind which durable-rules and its twin live.

A selector may over-select, never miss: the engine evaluates every filter itself afterwards (spine: the rule process).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec


class EqualTo(msgspec.Struct, frozen=True):
    """The event's slot must be one of these constants (a STRING or enumeration slot)."""

    slot: str
    values: tuple[str, ...]


class Selectable(msgspec.Struct, frozen=True):
    """What a selector may know of a rule: its classes and the equality tests of its filter, nothing else."""

    index: int  # place in the rule base, all rule sets in order: the order of evaluation
    rule_set: int
    classes: tuple[str, ...]  # any of these, or a class that inherits from one
    tests: tuple[EqualTo, ...]  # all of these


class Selector(Protocol):
    """Made once per rule base, after the fork; used by one thread."""

    name: str

    def load(self, rules: Sequence[Selectable], ancestors: Mapping[str, tuple[str, ...]]) -> None:
        """Learn the rules. `ancestors` gives each class its own name and those of all it inherits from."""

    def select(self, class_name: str, slots: Mapping[str, Any], defaults: Mapping[str, Any]) -> Sequence[int]:
        """Indexes of the rules that may concern an event, ascending.

        A slot's value is `slots[slot]`, else `defaults[slot]`, else there is none.
        """
