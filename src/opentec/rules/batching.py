"""Effects of consecutive records to the plain rows of one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from opentec.events.image import EventRow
from opentec.rules.effects import Effects, Explained, Fired, Program, Timer
from opentec.rules.event import Event, to_json

OutcomeTuple = tuple[int, int, int | None, int, int, str | None, str | None]
TimerTuple = tuple[int, int, int, str]
OutboxTuple = tuple[str, int, int | None, str, str]

RULES_SIZE: Final = 256 * 1024  # characters of the rules that are kept with one outcome
_ENTRY_SIZE: Final = RULES_SIZE // 8
_FEW: Final = 64  # entries that are made into one text without looking at each
_CUT: Final = 400  # characters that are left of a text in an entry that is too long


class RuleBatch(msgspec.Struct, array_like=True):
    """Rows in the order that the repository takes them: field for field the shape of its batch.

    Outcomes are (position, disposition, eid, date_reception, event_handle, reason, rules); timers (id, due, eid, data);
    the outbox (id, position, eid, kind, data).
    """

    before: int
    after: int
    inserts: list[EventRow] = []
    updates: list[EventRow] = []
    outcomes: list[OutcomeTuple] = []
    timers_set: list[TimerTuple] = []
    timers_cancelled: list[int] = []
    outbox: list[OutboxTuple] = []
    state: dict[str, Any] = {}


def timer_data(timer: Timer) -> str:
    """What a timer's row says beside its columns, as JSON."""
    return to_json({"duration": timer.duration, "info": timer.info})


def timer_of_row(id_: int, due: int, eid: int, data: str) -> Timer:
    """The timer of a stored row."""
    said = msgspec.json.decode(data)
    return Timer(id_, due, eid, said["duration"], said["info"])


def outbox_kind(program: Program) -> str:
    """The kind of an outbox row, with the name that it is queued under: `program`, `task:NAME`, `forward:NAME`."""
    return f"{program.kind}:{program.name}" if program.name else program.kind


def outbox_data(program: Program) -> str:
    """What an outbox row says beside its columns, as JSON; what has nothing to say is left out."""
    data: dict[str, Any] = {"argv": program.argv, "environment": program.environment, "event": program.event}
    if program.time_limit:
        data["time_limit"] = program.time_limit
    if program.watch:
        data["watch"] = True
    if program.forward is not None:
        data["forward"] = program.forward
    return to_json(data)


def stored_rules(fired: Sequence[Fired]) -> str:
    """The rules of an outcome as JSON, of RULES_SIZE characters at most.

    Where that is too little, rules that did not fire are left out first, then the last that did; a last entry
    without a name says how many.
    """
    if len(fired) <= _FEW:
        text = to_json(fired)
        if len(text) <= RULES_SIZE:
            return text
    # a stable order: rules that fired before those that did not
    order = sorted(range(len(fired)), key=lambda number: type(fired[number]) is Explained and not fired[number].actions)
    room, kept = RULES_SIZE - _ENTRY_SIZE, {}
    for number in order:
        entry = _entry(fired[number])
        room -= len(entry) + 1
        if room < 0:
            break
        kept[number] = entry
    entries = [kept[number] for number in sorted(kept)]
    if len(kept) < len(fired):
        said = f"{len(fired) - len(kept)} more rules are left out: too much for one record"
        entries.append(to_json(Fired("", "", [], [said])))
    return f"[{','.join(entries)}]"


def _entry(fired: Fired) -> str:
    text = to_json(fired)
    if len(text) <= _ENTRY_SIZE:
        return text
    timer = None if fired.timer is None else to_json(fired.timer)[:_CUT]
    did = [sentence[:_CUT] for sentence in [*fired.did[: _ENTRY_SIZE // _CUT // 2], "... and more"]]
    head = fired.rule_set[:_CUT], fired.rule[:_CUT], fired.actions[:_CUT]
    if type(fired) is Explained:
        no = [sentence[:_CUT] for sentence in fired.no[:10]]
        return to_json(Explained(*head, did if fired.did else [], fired.event, timer, no))
    return to_json(Fired(*head, did, fired.event, timer))


class BatchBuilder:
    """Collects effects; `before` is the committed position that the batch builds on.

    Events are written as they are when the batch is closed: one inserted and changed in it is one insert, a hundred
    changes are one update, a timer set and gone in it is nothing. Close it before the engine goes on.
    """

    def __init__(self, before: int) -> None:
        self.before = before
        self._clear()

    def _clear(self) -> None:
        self.records = 0
        self.after = self.before
        self._inserted: dict[int, Event] = {}
        self._changed: dict[int, Event] = {}
        self._outcomes: list[OutcomeTuple] = []
        self._timers: dict[int, Timer] = {}
        self._cancelled: list[int] = []
        self._outbox: list[OutboxTuple] = []
        self._state: dict[str, Any] = {}

    @property
    def rows(self) -> int:
        """Rows that the batch would write now, to close it before it grows too large."""
        return (
            len(self._inserted)
            + len(self._changed)
            + len(self._outcomes)
            + len(self._timers)
            + len(self._cancelled)
            + len(self._outbox)
        )

    def add(self, effects: Effects) -> None:
        """Take in the effects of the next record."""
        self.records += 1
        self.after = effects.after
        inserted = self._inserted
        for event in effects.inserted:
            inserted[event.eid] = event
        for event in effects.changed:
            if event.eid not in inserted:
                self._changed[event.eid] = event
        outcome = effects.outcome
        if outcome is not None:
            date, handle = outcome.key[:2] if outcome.key else (0, 0)
            self._outcomes.append(
                (
                    effects.position,
                    outcome.disposition,
                    outcome.event.eid if outcome.event is not None else None,
                    date,
                    handle,
                    outcome.reason,
                    stored_rules(outcome.fired) if outcome.fired else None,
                )
            )
        for timer in effects.timers_set:
            self._timers[timer.id] = timer
        for id_ in effects.timers_cancelled:
            if self._timers.pop(id_, None) is None:
                self._cancelled.append(id_)
        for program in effects.programs:
            self._outbox.append((program.id, effects.position, program.eid, outbox_kind(program), outbox_data(program)))
        self._state.update(effects.state)

    def build(self) -> RuleBatch:
        """The batch so far; the next one begins where it ends."""
        batch = RuleBatch(
            before=self.before,
            after=self.after,
            inserts=[event.row() for event in self._inserted.values()],
            updates=[event.row() for event in self._changed.values()],
            outcomes=self._outcomes,
            timers_set=[(timer.id, timer.due, timer.eid, timer_data(timer)) for timer in self._timers.values()],
            timers_cancelled=self._cancelled,
            outbox=self._outbox,
            state=self._state,
        )
        self.before = self.after
        self._clear()
        return batch
