"""What the engine says of one record: the only way anything leaves it.

`Effects` refers to the engine's own live events; the server turns them into rows when it closes a batch
(`BatchBuilder`), so an event that changes a hundred times in a batch is written once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from opentec.rules.event import Event


FIRED_LIMIT: Final = 10_000  # rules that fired, kept for one record: very many timers may be due at once


class Fired(msgspec.Struct, array_like=True):
    """One rule that fired, for `tec why`: where it stands, which of its actions ran and what they did."""

    rule_set: str
    rule: str
    actions: list[str]
    did: list[str]  # one short sentence per effect, e.g. "repeat_count of 1772352000.1 is now 2"
    event: str = ""  # the key of the event it fired for, when that is not the record's own
    timer: Any = None  # the info of the timer that made a timer rule fire


class Explained(Fired, array_like=True):
    """A rule of a traced event that did not fire, or not in all its actions; one that did not fire has no actions."""

    no: list[str] = []  # what said no, and where


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
    """What leaves through the outbox: a program, a task of the library, an event for another server."""

    id: str
    eid: int | None
    argv: list[str]  # an argument list, never a shell's line; of a task its arguments
    environment: dict[str, str]
    time_limit: int = 0  # seconds; 0: what the server allows
    kind: str = "program"  # program | task | forward
    name: str = ""  # of the task, or of the destination
    watch: bool = False  # its end becomes an event TEC_Task_Result
    event: str = ""  # the key of the event it was asked for
    forward: list[Any] | None = None  # class and slots of the event to be forwarded


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
