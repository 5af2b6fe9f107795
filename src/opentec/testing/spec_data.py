"""What a specification says, as it was written; binding.py gives it the types of a rule base's classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from opentec.testing.document import Document, Mark

# what a step may expect, in the order in which failures are told, and what it is compared with
KINDS: Final[dict[str, str]] = {
    "expect": "event",
    "expect_no": "event",
    "expect_exact": "event",
    "notices": "notice",
    "no_notices": "notice",
    "actions": "action",
    "no_actions": "action",
    "forwarded": "forwarded",
    "no_forwarded": "forwarded",
    "timers": "timer",
    "no_timers": "timer",
    "state": "state",
    "no_state": "state",
}
NOTHING: Final = "nothing"  # is wanted, of a whole kind
ABSENT: Final = frozenset(kind for kind in KINDS if kind.startswith("no_") or kind == "expect_no")
# keys that say what something is, beside the event that it belongs to
FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "action": ("program", "task", "args", "watch", "event"),
    "forwarded": ("to", "event"),
    "timer": ("due_in", "info", "event"),
    "state": ("global", "counter", "fact", "recorded", "threshold", "args", "key", "value"),
}
STATES: Final = ("global", "counter", "fact", "recorded", "threshold")


class RawSlot(msgspec.Struct, frozen=True):
    """A slot as it was written; the classes of the rule base give its value a type."""

    value: str | list[str]
    mark: Mark


class Pattern(msgspec.Struct, frozen=True):
    """An event to send, or the slots that an expected event has. `class_name` None: of any class."""

    class_name: str | None
    class_mark: Mark
    slots: dict[str, RawSlot]
    mark: Mark
    exact: bool = False  # all other slots have their defaults


class Thing(msgspec.Struct, frozen=True):
    """Something expected that is no event: an action, a forwarded event, a timer, a value of the state."""

    fields: dict[str, Any]  # texts, and lists of them; due_in in microseconds
    event: Pattern | None
    mark: Mark


class Expectation(msgspec.Struct, frozen=True):
    """One of KINDS. Without patterns: there is nothing of its kind."""

    kind: str
    patterns: tuple[Pattern | Thing, ...]
    mark: Mark


class Arrival(msgspec.Struct, frozen=True):
    """An event that arrives some microseconds behind the beginning of its step."""

    after: int
    event: Pattern


class Change(msgspec.Struct, frozen=True):
    """What an operator asks of one event; `refused` is a part of the reason, "" for any, None where it is made."""

    event: Pattern
    slots: dict[str, RawSlot]
    user: str
    refused: str | None
    mark: Mark


class Failover(msgspec.Struct, frozen=True):
    """Another node takes over; `slots` are those of its notice that the test gives."""

    slots: dict[str, RawSlot]
    mark: Mark


class Step(msgspec.Struct, frozen=True):
    """What happens or is expected at one instant, or, with events that come one after the other, up to its end."""

    mark: Mark
    said: str  # the time as it was written
    at: int  # microseconds from the start of the test
    end: int  # when its last event arrives; expectations are looked at then
    arrivals: tuple[Arrival, ...] = ()  # in the order of time
    change: Change | None = None
    restart: bool = False
    failover: Failover | None = None
    reload: tuple[Path, Mark] | None = None
    expectations: tuple[Expectation, ...] = ()


class Case(msgspec.Struct, frozen=True):
    """One test."""

    file: str
    mark: Mark
    name: str
    start: int  # microseconds since 1970, UTC
    steps: tuple[Step, ...]


class Spec(msgspec.Struct, frozen=True):
    """One file."""

    path: Path
    document: Document  # to report what the rule base says is wrong
    rule_base: Path
    rule_base_mark: Mark
    cases: tuple[Case, ...]
