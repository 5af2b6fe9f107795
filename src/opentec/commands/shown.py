"""Events as commands show them: rows of the repository as slots, keys, times."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from opentec.commands.cli import visible
from opentec.events.image import BASE_SLOTS, COLUMNS, JSON_COLUMNS, key_name
from opentec.events.text import format_multiline

_AT: Final = {name: index for index, name in enumerate(COLUMNS)}


def slots_of(row: list[Any]) -> dict[str, Any]:
    """All slots of a row: the base slots, then the class's own."""
    slots: dict[str, Any] = {name: _typed(name, row[_AT[name]]) for name in BASE_SLOTS}
    return slots | (_typed("slots", row[_AT["slots"]]) or {})


def column(row: list[Any], name: str) -> Any:
    """One column of a row, as COLUMNS orders them."""
    return row[_AT[name]]


def key_of(row: list[Any]) -> str:
    """The event's name for people."""
    return key_name((column(row, "date_reception"), column(row, "event_handle"), column(row, "server_handle")))


def object_of(row: list[Any]) -> dict[str, Any]:
    """The JSON object of an event: `event`, `class`, and the slots by name."""
    named = {"event": key_of(row), "class": column(row, "class")}
    return named | slots_of(row) | named  # first in the line, and no slot can take their place


def utc(seconds: float) -> str:
    """A time in UTC to the second, ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _typed(name: str, value: Any) -> Any:
    if name in JSON_COLUMNS:
        return json.loads(value) if value else ({} if name == "slots" else [])
    return value


def event_text(class_name: str, slots: dict[str, Any]) -> str:
    """An event with a line for each slot, as TEC dumps it; control characters are shown, as \\n or \\x07."""
    return format_multiline(class_name, {name: _one_line(value) for name, value in slots.items()})


def _one_line(value: Any) -> Any:
    if isinstance(value, list):
        return [_one_line(item) for item in value]
    return visible(value) if isinstance(value, str) else value
