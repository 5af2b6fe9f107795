"""The server of one test: a reception log, the engine, and what its repository would hold.

Records are those of a real log: positions count bytes in their epoch, times are log time. Nothing leaves: programs,
tasks and events for other servers are kept as rules asked for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import msgspec

from opentec.events.image import COLUMNS, EventRow
from opentec.events.records import (
    ActivatePayload,
    ChangePayload,
    Disposition,
    EventPayload,
    Kind,
    Record,
    Verdict,
    encode,
    offset_of,
    position_of,
)
from opentec.log.codec import RECORD_SIZE
from opentec.rules.batching import BatchBuilder, RuleBatch, timer_of_row
from opentec.rules.effects import Effects, Program, Timer
from opentec.rules.engine import Engine
from opentec.rules.event import CLOSED, Event, Shapes
from opentec.rules.rulebase import RuleBase

Saw = Callable[[Record, Effects], None]
_STATUS: Final = COLUMNS.index("status")
_STORED: Final = int(Disposition.STORED)
_ACCEPTED: Final = int(Verdict.ACCEPTED)
_batches: Final = msgspec.msgpack.Decoder(RuleBatch)


class Rows:
    """What a repository keeps, as rows; each record is a batch of its own, so that what it forgets is missed."""

    def __init__(self, other: Rows | None = None) -> None:
        """Empty, or as another one is now."""
        self._builder = BatchBuilder(0)
        self.events: dict[int, EventRow] = {} if other is None else dict(other.events)
        self._timers: dict[int, tuple[int, int, int, str]] = {} if other is None else dict(other._timers)
        self._state: dict[str, bytes] = {} if other is None else dict(other._state)

    def take(self, effects: Effects) -> None:
        """Write the effects of a record, by the bytes that the rule process sends to dispatch."""
        self._builder.add(effects)
        batch = _batches.decode(encode(self._builder.build()))
        for row in (*batch.inserts, *batch.updates):
            self.events[row[0]] = row
        for timer in batch.timers_set:
            self._timers[timer[0]] = timer
        for number in batch.timers_cancelled:
            self._timers.pop(number, None)
        for key, value in batch.state.items():
            if value is None:
                self._state.pop(key, None)
            else:
                self._state[key] = encode(value)

    def prime(self, engine: Engine) -> dict[int, Timer]:
        """Give an engine what the rule process is primed with (spine: the rule process); gives the pending timers."""
        state = self.state()
        f2, f = state.get("f2", 0), state.get("f", 0)
        timers = [timer_of_row(*self._timers[number]) for number in sorted(self._timers)]
        waiting = {timer.eid for timer in timers}
        cached = [
            row
            for eid, row in self.events.items()
            if eid in waiting or eid >= f or (eid >= f2 and row[_STATUS] != CLOSED)
        ]
        engine.prime(cached, timers, state)
        return {timer.id: timer for timer in timers}

    def state(self) -> dict[str, Any]:
        """What rules remember, as it is stored."""
        return {key: msgspec.msgpack.decode(self._state[key]) for key in sorted(self._state)}

    def read(self, shapes: Shapes) -> dict[int, Event]:
        """The events as they are stored, by eid."""
        return {eid: Event.from_row(row, shapes) for eid, row in self.events.items()}


class Begun(msgspec.Struct, frozen=True):
    """A server on which its rule base became active: tests that begin at the same time share it."""

    rows: Rows
    record: Record
    effects: Effects
    state: dict[str, Any]
    programs: list[Program]


class Parts(Protocol):
    """What servers are made of, which is too costly to be made for each test."""

    def spare(self, base: RuleBase) -> Engine:
        """The engine that is not at work, with this rule base: after a restart nothing is left of the one before."""
        ...

    def shapes(self, base: RuleBase) -> Shapes:
        """What makes events of rows."""
        ...


class Server:
    """One server, from its first record to the end of a test; `keep` has to be set when it will begin anew in it."""

    def __init__(self, engine: Engine, parts: Parts, saw: Saw | None, *, keep: bool) -> None:
        self.engine = engine
        self._parts = parts
        self._saw = saw
        self._rows = Rows() if keep else None
        self._offset = 0
        self.epoch = 1
        self.events: dict[int, Event] = {}
        self.own: set[int] = set()  # events of the activation of a rule base, by eid
        self.timers: dict[int, Timer] = {}
        self.state: dict[str, Any] = {}
        self.programs: list[Program] = []  # asked for, in their order
        self.made: list[int] = []  # events that no sender sent, by eid
        self._last: tuple[Record, Effects] | None = None
        engine.prime([], [], {})

    def begun(self) -> Begun:
        """What this server is, whose only record was the activation of its rule base. It must keep its rows."""
        assert self._rows is not None
        assert self._last is not None
        return Begun(Rows(self._rows), *self._last, dict(self.state), list(self.programs))

    def begin(self, begun: Begun) -> None:
        """Become a server that has begun like that, without running the rules of the activation again."""
        if self._rows is not None:
            self._rows = Rows(begun.rows)
        self.timers = begun.rows.prime(self.engine)
        self.events = begun.rows.read(self._parts.shapes(self.engine.rule_base))
        self.own = set(self.events)
        self.state = dict(begun.state)
        self.programs = list(begun.programs)
        self._offset = offset_of(begun.record.after)
        if self._saw is not None:
            self._saw(begun.record, begun.effects)

    def process(self, kind: int, time: int, payload: bytes) -> Effects:
        """Append a record and process it."""
        position = position_of(self.epoch, self._offset)
        self._offset += RECORD_SIZE + len(payload)
        after = position_of(self.epoch, self._offset)
        record = Record(position, after, kind, _ACCEPTED, time, payload=payload)
        key = self.engine.needs_row(record) if kind == Kind.CHANGE else None
        row = None if key is None else next((event.row() for event in self.events.values() if event.key == key), None)
        effects = self.engine.process(record, row)
        if self._saw is not None:
            self._saw(record, effects)
        self._last = record, effects
        self._take(kind, effects)
        return effects

    def _take(self, kind: int, effects: Effects) -> None:
        if self._rows is not None:
            self._rows.take(effects)
        events = self.events
        if effects.inserted:
            outcome = effects.outcome
            sent = outcome.event if kind == Kind.EVENT and outcome and outcome.disposition == _STORED else None
            for event in effects.inserted:
                events[event.eid] = event
                if event is not sent:
                    self.made.append(event.eid)
        for event in effects.changed:
            events[event.eid] = event
        for timer in effects.timers_set:
            self.timers[timer.id] = timer
        for number in effects.timers_cancelled:
            self.timers.pop(number, None)
        self.programs += effects.programs
        self.state.update(effects.state)

    def activate(self, base: RuleBase, time: int) -> Effects:
        """A rule base becomes active; the events that come of it are not those of the test."""
        if base.content_hash != self.engine.rule_base.content_hash:
            self.engine.activate(base)
        payload = ActivatePayload(base.content_hash, base.name, msgspec.to_builtins(base.settings))
        effects = self.process(Kind.ACTIVATE, time, encode(payload))
        new = {event.eid for event in effects.inserted}
        self.own |= new
        self.made = [eid for eid in self.made if eid not in new]
        return effects

    def change(self, event: Event, slots: dict[str, Any], user: str, time: int) -> Effects:
        """An operator asks for a change of an event."""
        return self.process(Kind.CHANGE, time, encode(ChangePayload(event.key, slots, user)))

    def restart(self) -> None:
        """The rule process begins anew, with what the repository has and nothing else."""
        assert self._rows is not None
        engine = self._parts.spare(self.engine.rule_base)
        self.timers = self._rows.prime(engine)
        self.engine = engine
        # what is looked at is what was stored, too
        self.events = self._rows.read(self._parts.shapes(engine.rule_base))
        self.state = self._rows.state()

    def take_over(self) -> None:
        """The same on another node, in an epoch of its own; its first record is still to come."""
        self.restart()
        self.epoch += 1
        self._offset = 0

    def notice(self, class_name: str, slots: dict[str, Any], time: int) -> Effects:
        """An event of the server's own."""
        return self.process(Kind.NOTICE, time, encode(EventPayload(class_name, slots)))

    def visible(self) -> list[Event]:
        """The events of the test, in their order."""
        own = self.own
        return [self.events[eid] for eid in sorted(self.events) if eid not in own]

    def named(self, eids: Iterable[int]) -> list[Event]:
        """Events by number, those of an activation left out."""
        return [self.events[eid] for eid in eids if eid not in self.own]
