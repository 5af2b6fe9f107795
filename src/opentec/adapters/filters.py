"""Event filters of adapters: `Filter:Class=NAME;slot=value;...` with FilterMode IN or OUT (tec.md 4.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

FilterMode = Literal["IN", "OUT"]

_PART: Final = re.compile(
    r"\s*([A-Za-z_]\w*)\s*=\s*(?:re:'((?:[^']|'')*)'|'((?:[^']|'')*)'|([^;']*))\s*(?:;|$)", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Filter:
    """One Filter line: an event matches when its class is exactly `class_name` and every condition holds.

    Conditions without a pattern compare exactly and by case; a pattern must fit the whole value.
    """

    class_name: str
    equals: tuple[tuple[str, str], ...] = ()
    patterns: tuple[tuple[str, re.Pattern[str]], ...] = ()

    def matches(self, class_name: str, slots: Mapping[str, str]) -> bool:
        return (
            class_name == self.class_name
            and all(slots.get(slot) == value for slot, value in self.equals)
            and all(slot in slots and pattern.fullmatch(slots[slot]) for slot, pattern in self.patterns)
        )


def parse_filter(text: str) -> Filter:
    """Read what stands behind `Filter:`; raises ValueError with what is wrong."""
    class_name = ""
    equals: list[tuple[str, str]] = []
    patterns: list[tuple[str, re.Pattern[str]]] = []
    at = 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            raise ValueError(f"{text[at:].strip()!r} is not slot=value")
        at = part.end()
        name, expression, quoted, bare = part.groups()
        value = quoted.replace("''", "'") if quoted is not None else (bare or "").strip()
        if name.casefold() == "class" and expression is None:
            class_name = value
        elif expression is None:
            equals.append((name, value))
        else:
            try:
                patterns.append((name, re.compile(expression.replace("''", "'"))))
            except re.error as error:
                raise ValueError(f"the expression for {name!r} is wrong: {error}") from None
    if not class_name:
        raise ValueError("the filter names no class")
    return Filter(class_name, tuple(equals), tuple(patterns))


def passes(filters: Sequence[Filter], mode: FilterMode, class_name: str, slots: Mapping[str, str]) -> bool:
    """Whether an event is sent: with OUT when no filter matches it, with IN when one does."""
    return any(each.matches(class_name, slots) for each in filters) == (mode == "IN")
