"""What one transaction of the repository writes (spine: dispatch)."""

from __future__ import annotations

from typing import Any

import msgspec

from opentec.events.image import EventRow


class OutcomeRow(msgspec.Struct, array_like=True, gc=False):
    """How one log position ended. `rules` is the JSON text of what fired, or None."""

    position: int
    disposition: int
    eid: int | None = None  # the event that was stored; for a DROPPED event the one it was counted on, if any
    date_reception: int = 0
    event_handle: int = 0
    reason: str | None = None
    rules: str | None = None


class TimerRow(msgspec.Struct, array_like=True, gc=False):
    """One pending timer; `due` in microseconds of log time."""

    id: int
    due: int
    eid: int
    data: str  # JSON: rule-language info and duration


class OutboxRow(msgspec.Struct, array_like=True, gc=False):
    """One program or task to run, at most once, or one event for another server."""

    id: str  # hash(position, rule, n): the same action of the same record is the same row
    position: int
    eid: int | None
    kind: str  # program | task:NAME | forward:DESTINATION
    data: str  # JSON: argv, environment, event, and what its kind needs


class Batch(msgspec.Struct, array_like=True):
    """The effects of consecutive log records, as plain rows.

    `before` must equal the committed position of the repository, and `epoch` its epoch, or nothing is written.
    """

    before: int
    after: int
    inserts: list[EventRow] = []
    updates: list[EventRow] = []
    outcomes: list[OutcomeRow] = []
    timers_set: list[TimerRow] = []
    timers_cancelled: list[int] = []
    outbox: list[OutboxRow] = []
    state: dict[str, Any] = {}  # rule state by key; None deletes the key
