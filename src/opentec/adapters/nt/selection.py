"""Which Windows events a line means: `Log=..;Source=..;EventId=..;EventType=..` (tec.md 4.1, PreFilter)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from opentec.adapters.nt.record import EVENT_TYPES, NtRecord, kind_of_name
from opentec.events.names import nearest, shown

KEYS: Final = ("Log", "Source", "EventId", "EventType")
_RANGE: Final = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Selection:
    """Every part that is given must hold; of its values one. Names are compared without regard to case, as Windows
    does, and a blank in a source equals `_`."""

    logs: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    ids: tuple[tuple[int, int], ...] = ()
    types: frozenset[str] = frozenset()

    def matches(self, record: NtRecord) -> bool:
        return (
            (not self.ids or any(low <= record.event_id <= high for low, high in self.ids))
            and (not self.logs or record.log.casefold() in self.logs)
            and (not self.sources or _source(record.source) in self.sources)
            and (not self.types or record.event_type in self.types)
        )


class SelectionError(ValueError):
    """A selection cannot be read; `hint` says what would be right."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def _source(name: str) -> str:
    return name.replace(" ", "_").casefold()


def parse_selection(text: str) -> Selection:
    """Read `Log=Application;Source=..;EventId=1000,2000-2010;EventType=Error`; raises SelectionError."""
    parts: dict[str, list[str]] = {}
    for part in text.split(";"):
        if not part.strip():
            continue
        name, equals, value = part.partition("=")
        key = next((key for key in KEYS if key.casefold() == name.strip().casefold()), "")
        if not equals or not key:
            near = nearest(name.strip(), KEYS)
            hint = f"did you mean {near!r}?" if equals and near else f"the form is {'=..;'.join(KEYS)}=.."
            raise SelectionError(f"{shown(part.strip())} is not {', '.join(KEYS)} with a value", hint)
        if key in parts:
            raise SelectionError(f"{key} is given twice", "write its values behind one another, with commas")
        parts[key] = [each.strip() for each in value.split(",")]
        if not all(parts[key]):
            raise SelectionError(f"{key} has an empty value")
    if not parts:
        raise SelectionError("nothing is selected", f"give at least one of {', '.join(KEYS)}")
    return Selection(
        frozenset(each.casefold() for each in parts.get("Log", ())),
        frozenset(_source(each) for each in parts.get("Source", ())),
        tuple(_ids(each) for each in parts.get("EventId", ())),
        frozenset(_type(each) for each in parts.get("EventType", ())),
    )


def _ids(text: str) -> tuple[int, int]:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise SelectionError(f"EventId {shown(text)} is neither a number nor a range", "such as 1000 or 1000-1010")
    low = int(match[1])
    high = int(match[2]) if match[2] else low
    if low > high or high > 0xFFFF:
        raise SelectionError(f"EventId {shown(text)} selects nothing", "event ids are 0 to 65535, the lower one first")
    return low, high


def _type(text: str) -> str:
    kind = kind_of_name(text)
    if not kind:
        near = nearest(text, EVENT_TYPES)
        raise SelectionError(
            f"EventType {shown(text)} is not known", f"did you mean {near!r}?" if near else ", ".join(EVENT_TYPES)
        )
    return kind
