"""What the engine says of one record: the only way anything leaves it.

`Effects` refers to the engine's own live events; the server turns them into rows when it closes a batch
(`BatchBuilder`), so an event that changes a hundred times in a batch is written once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from opentec.rules.event import Event


class Fired(msgspec.Struct, array_like=True):
    """One rule that fired, for `tec why`: where it stands, which of its actions ran and what they did."""

    rule_set: str
    rule: str
    actions: list[str]
    did: list[str]  # one short sentence per effect, e.g. "repeat_count of 1772352000.1 is now 2"
    event: str = ""  # the key of the event it fired for, when that is not the record's own
    timer: Any = None  # the info of the timer that made a timer rule fire


class Outcome(msgspec.Struct):
    """The disposition of the record's own event or change."""

    disposition: int
    event: Event | None = None  # stored, or the event a dropped one was counted on
    key: tuple[int, int, int] | None = None  # the key the received event was given, dropped or not
    reason: str | None = None
    fired: list[Fired] = []


class Timer(msgspec.Struct):
    """A pending timer. `id` grows with every timer set, so (due, id) is a total order."""

    id: int
    due: int  # microseconds of log time
    eid: int
    duration: int  # seconds, as set_timer was given
    info: Any


class Program(msgspec.Struct):
    """A program to run through the outbox: an argument list, never a shell."""

    id: str
    eid: int | None
    argv: list[str]
    environment: dict[str, str]
    time_limit: int = 300  # seconds


class Effects(msgspec.Struct):
    """Everything that processing one record (with the timers due before it) did."""

    position: int
    after: int
    outcome: Outcome | None = None  # None for TICK, ACTIVATE, QUARANTINE
    inserted: list[Event] = []  # new events in order of their eid: received, derived, notices of the engine
    changed: list[Event] = []  # stored events whose slots changed, each once
    timers_set: list[Timer] = []
    timers_cancelled: list[int] = []  # stored timers that are gone: cancelled, or fired
    programs: list[Program] = []
    state: dict[str, Any] = {}  # rule state by key; None deletes
    fired: list[Fired] = []  # every rule that fired, timer rules included; the outcome's list is the same one
