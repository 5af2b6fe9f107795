"""What is expected, typed: events by their slots, and things that are no events by their fields.

Whatever is compared has a `class_name`, a `cls` and a `get` where it is an event, and `fields` where it is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from opentec.events.classes import EventClass
from opentec.events.errors import EventRejected
from opentec.rules.event import FIXED_SLOTS, Event
from opentec.rules.terms import RuleError, show
from opentec.testing.document import Mark
from opentec.testing.instants import show_length

# what the server sets of every event: an exact expectation needs not name it
_SET: Final = FIXED_SLOTS | {"last_modified_time"}
_BLANKS: Final = re.compile(r"\s*([][(),|])\s*")  # that mean nothing in a term
_QUOTED: Final = re.compile(r"'((?:[^']|'')*)'")
Differences = dict[str, tuple[Any, Any]]  # by slot or field: wanted and actual


class Subject(Protocol):
    """An event as it is compared: a live one, or what was said of one when a program was asked for."""

    @property
    def class_name(self) -> str: ...
    @property
    def cls(self) -> EventClass: ...
    @property
    def slots(self) -> Mapping[str, Any]: ...
    def get(self, slot: str) -> Any: ...


class Said:
    """An event of which only some slots are known, or only their texts (`as_text`)."""

    def __init__(self, cls: EventClass, slots: Mapping[str, Any], *, as_text: bool = False) -> None:
        self.cls = cls
        self.class_name = cls.name
        self.slots = slots
        self.as_text = as_text

    def get(self, slot: str) -> Any:
        """The slot's value, or its default."""
        return self.slots[slot] if slot in self.slots else self.cls.defaults.get(slot)


class Wanted(msgspec.Struct, frozen=True):
    """An expected event: a class or None for any, and values for the slots that were named."""

    class_name: str | None
    values: dict[str, Any]
    mark: Mark
    exact: bool = False  # every slot that is not named has its default

    def differences(self, event: Subject) -> Differences:
        """Wanted and actual value of each named slot (and `class`) that differs."""
        found: Differences = {}
        if self.class_name is not None and event.class_name != self.class_name:
            found["class"] = self.class_name, event.class_name
        for slot, value in self.values.items():
            actual, wanted = event.get(slot), self.value(event, slot, value)
            if actual != wanted:
                found[slot] = wanted, actual
        if self.exact:
            found |= {slot: (event.cls.defaults.get(slot), event.get(slot)) for slot in self._further(event)}
        return found

    def matches(self, event: Subject) -> bool:
        """Whether the event has everything that was named."""
        if self.class_name is not None and event.class_name != self.class_name:
            return False
        if not all(event.get(slot) == self.value(event, slot, value) for slot, value in self.values.items()):
            return False
        return not (self.exact and self._further(event))

    def _further(self, event: Subject) -> list[str]:
        """Slots that are not named and have no default."""
        defaults = event.cls.defaults
        if isinstance(event, Said) and event.as_text:  # beside the slots it has the words CLASS_NAME and EVENT
            return [
                slot
                for slot, value in event.slots.items()
                if slot in defaults and slot not in self.values and slot not in _SET and value != show(defaults[slot])
            ]
        return [
            slot
            for slot, value in event.slots.items()
            if slot not in self.values and slot not in _SET and value != defaults.get(slot)
        ]

    def value(self, event: Subject, slot: str, value: Any) -> Any:
        """The value as that event's class types it; with a class of its own the pattern is typed already."""
        if self.class_name is None:
            try:
                value = event.cls.value(slot, value)
            except EventRejected:
                return value
        return show(value) if isinstance(event, Said) and event.as_text else value

    def __str__(self) -> str:
        slots = [f"{slot}={show_value(value)}" for slot, value in self.values.items()]
        return " ".join([self.class_name or "any class", *slots, *(["and nothing else"] if self.exact else [])])


class Found(msgspec.Struct, frozen=True):
    """A thing that is there: an action, a forwarded event, a pending timer, a value of the state."""

    title: str
    fields: dict[str, Any]
    event: Event | Said | None = None


class WantedThing(msgspec.Struct, frozen=True):
    """A thing that is expected; only the fields that were named are compared."""

    fields: dict[str, Any]
    event: Wanted | None
    mark: Mark

    def differences(self, found: Found) -> Differences:
        """Wanted and actual value of each named field, and of each slot of its event, that differs."""
        differences: Differences = {}
        for field, value in self.fields.items():
            actual = found.fields.get(field)
            if not same(value, actual):
                differences[field] = show_field(field, value), show_field(field, actual)
        if self.event is not None:
            if found.event is None:
                differences["event"] = str(self.event), None
            else:
                of_event = self.event.differences(found.event)
                differences |= {f"event.{slot}": both for slot, both in of_event.items()}
        return differences

    def matches(self, found: Found) -> bool:
        """Whether the thing has everything that was named."""
        if not all(same(value, found.fields.get(field)) for field, value in self.fields.items()):
            return False
        return self.event is None or (found.event is not None and self.event.matches(found.event))

    def __str__(self) -> str:
        said = [f"{field}={show_value(show_field(field, value))}" for field, value in self.fields.items()]
        return " ".join([*said, *([f"event=({self.event})"] if self.event is not None else [])])


def show_value(value: Any) -> str:
    """A value in a sentence."""
    return repr(value) if isinstance(value, str) else str(value)


def show_field(field: str, value: Any) -> Any:
    """A field as the test says it."""
    if field == "due_in" and type(value) is int:
        return show_length(value)
    return _plain(value)


def _plain(value: Any) -> Any:
    """A term of the rule language as plain data, for messages and JSON."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
    try:
        return show(value)
    except RuleError:
        return "a large term"


def same(written: Any, actual: Any) -> bool:
    """Whether a value of the rule language is what was written: by type where it is a list or a number, else by text.

    `_` stands for any value. A term or a list may be written as the rule language does, as text.
    """
    if written == "_":
        return actual is not None
    if isinstance(written, list):
        if not isinstance(actual, list | tuple) or len(written) != len(actual):
            return False
        return all(same(one, other) for one, other in zip(written, actual, strict=True))
    if type(actual) is str or actual is None or type(written) is not str:
        return bool(written == actual)
    if type(actual) is int or type(actual) is float:
        try:
            # beyond 2 ** 53 a float has no room for every whole number
            return (int(written) if written.lstrip("+-").isdigit() else float(written)) == actual
        except ValueError:
            return False
    try:
        text = show(list(actual) if isinstance(actual, tuple) else actual)
    except RuleError:
        return False
    text = _BLANKS.sub(r"\1", text)
    written = written.strip()
    # terms are shown without the quotes that the rule language needs for some of their texts
    bare = _QUOTED.sub(lambda quoted: quoted[1].replace("''", "'"), written)
    return text in (_BLANKS.sub(r"\1", written), _BLANKS.sub(r"\1", bare))
