"""The rule engine: a pure function from a record of the log to its effects (spine: the rule process).

It reads no clock, disk, socket or random number. What it knows is the event cache, timers and a few counters, all of
which come back from the repository's rows at the committed position (`prime`); what it does leaves as `Effects`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import Any, Final

import msgspec

from opentec.events.image import EventKey, EventRow, key_name
from opentec.events.records import (
    ChangePayload,
    Disposition,
    Kind,
    Record,
    Verdict,
    decode_activate,
    decode_change,
    decode_event,
    decode_rejected,
    epoch_of,
    name_of,
)
from opentec.rules.cache import EventCache
from opentec.rules.changes import refuse_change
from opentec.rules.effects import Effects, Outcome, Timer
from opentec.rules.evaluation import CLOSED_EVENT, MICROSECONDS, Evaluation, Redo, operator
from opentec.rules.event import CLOSED, Event, Shape, Shapes
from opentec.rules.rulebase import RuleBase
from opentec.rules.running import Running
from opentec.rules.selector import Selector
from opentec.rules.store import SEPARATOR, Store
from opentec.rules.timers import TimerTable
from opentec.rules.traced import Traced, TraceError, TraceRequest
from opentec.rules.watching import Watcher

SERVER_HANDLE: Final = 1
CACHE_FULL: Final = "Rule Cache full: forced cleaning"  # tec.md 2.4
LOADED: Final = "TEC_Rulebase_Loaded"  # derived when another rule base becomes active; rule sets configure on it
# plain integers: a member of an enumeration costs a look-up each time
_EVENT: Final = int(Kind.EVENT)
_NOTICE_RECORD: Final = int(Kind.NOTICE)
_CHANGE: Final = int(Kind.CHANGE)
_ACTIVATE: Final = int(Kind.ACTIVATE)
_REJECTED: Final = int(Verdict.REJECTED)
_STORED: Final = int(Disposition.STORED)
_SIGN: Final = 256  # timers that fire between two signs of life
_OWN_OUTCOME: Final = (_EVENT, _NOTICE_RECORD, _CHANGE)


class PrimeError(Exception):
    """The rows that the engine was primed with do not belong together."""


class Engine:
    """One rule base at work. Give it the records in their order, and nothing else.

    State keys in `Effects.state`: eid, timer (the next ones), handle (second and last event handle), f, f2 (cache),
    rule_base (hash, name, settings of the last ACTIVATE), trace (names, each with the time until which it is traced),
    and SECTION:NAME for what is in the store. `watcher`, where there is one, wraps every rule.
    Raises SourceErrors when a rule does not compile.
    """

    def __init__(self, rule_base: RuleBase, selector: Selector, watcher: Watcher | None = None) -> None:
        self._selector = selector
        self._watcher = watcher
        # called now and then while very many timers fire for one record, as after an outage of days
        self.alive: Callable[[], None] = lambda: None
        self._explain_all = False
        self._state: dict[str, Any] = {}
        self._quarantined: dict[int, str] = {}
        self._next_eid = 1
        self._second = 0
        self._handle = 0
        self._load(rule_base)
        self._cache = EventCache(0)
        self._timers = TimerTable()
        self._attach(Store())
        self._begin(0)

    # state

    def _load(self, rule_base: RuleBase) -> None:
        rules = Running(rule_base, self._selector, self._watcher)
        self.rule_base = rule_base
        self._shapes = Shapes(rule_base.classes)
        self._rules = rules

    def _attach(self, store: Store) -> None:
        """Begin an evaluation of its own on the state that is there now."""
        self._store = store
        self._run = Evaluation(self._shapes, self._cache, self._timers, store)
        self._apply_settings()
        self._rules.attach(self._run)
        self._trace()
        # counters as the last effects gave them
        self._told_eid, self._told = -1, (-1, -1, -1)

    def _apply_settings(self) -> None:
        settings = self.rule_base.settings
        # the ACTIVATE record may say otherwise than the rule base, once that rule base is the one at work
        active = self._state.get("rule_base")
        if active is not None and active[0] == self.rule_base.content_hash:
            known = {name: value for name, value in active[2].items() if name in settings.__struct_fields__}
            settings = msgspec.structs.replace(settings, **known)
        self._run.settings = settings
        self._cache.size = settings.cache_size
        self._step_limit = settings.step_limit

    def explain(self, everything: bool) -> None:
        """Whether the effects also tell of every event, traced or not, which rules did not fire and why.

        It is not part of the state, and changes nothing else.
        """
        self._explain_all = everything
        self._trace()

    def _trace(self) -> None:
        """Take what is traced from the state."""
        self._traced = Traced(dict(self._state.get("trace", ())), self.rule_base.classes.ancestors)
        wants = self._traced.wants if self._traced.until else None
        self._rules.explain((lambda event: True) if self._explain_all else wants)

    def _set_trace(self, until: Mapping[str, int]) -> None:
        if until:
            self._set_state("trace", [[name, until[name]] for name in sorted(until)])
        elif self._state.pop("trace", None) is not None:
            self._changes["trace"] = None
        self._trace()

    def prime(self, events: Iterable[EventRow], timers: Iterable[Timer], state: Mapping[str, Any]) -> None:
        """Take the state of the repository at its committed position, in place of whatever was there.

        `events` must hold every row that the cache may hold (eid >= f, or eid >= f2 and not CLOSED) and every event
        that a timer names; further rows do no harm. Raises PrimeError when an event of a timer is missing.
        """
        self._state = {key: value for key, value in state.items() if SEPARATOR not in key}
        self._next_eid = state.get("eid", 1)
        self._second, self._handle = state.get("handle", (0, 0))
        self._cache = EventCache(0, state.get("f2", 0), state.get("f", 0))
        self._timers = TimerTable()
        given = {row[0]: Event.from_row(row, self._shapes) for row in events}
        for eid in sorted(given):
            self._cache.add(given[eid])
        for timer in sorted(timers, key=lambda pending: pending.id):
            if timer.eid not in given:
                raise PrimeError(f"timer {timer.id} waits for event number {timer.eid}, whose row is not there")
            self._timers.set(timer, given[timer.eid])
        self._attach(Store(state))
        self._run.next_timer = state.get("timer", 1)

    def activate(self, rule_base: RuleBase) -> None:
        """Go on with another rule base; events, timers and counters stay. Raises SourceErrors and changes nothing."""
        self._load(rule_base)
        self._run.shapes = self._shapes
        self._apply_settings()
        self._rules.attach(self._run)
        self._trace()
        cached = self._cache.events()
        held = {event.eid: event for event in (*cached, *self._timers.events())}
        for event in cached:
            self._cache.remove(event)
        for event in held.values():
            event.take_shape(self._shapes.of_stored(event.class_name, event.slots))
        for event in cached:
            self._cache.add(event)

    def quarantine(self, reasons: Mapping[int, str]) -> None:
        """Name the records that must not be processed, by position, and why; they end FAILED with that reason."""
        self._quarantined.update(reasons)

    def next_due(self) -> int | None:
        """When the first timer is due, in microseconds of log time."""
        return self._timers.next_due()

    def needs_row(self, record: Record) -> EventKey | None:
        """The event whose row `process` needs for this record: that of a CHANGE which is not in memory."""
        if record.kind != _CHANGE:
            return None
        key = _key(decode_change(record.payload))
        return key if self._find(key) is None else None

    def state_hash(self) -> str:
        """A digest of all state, equal for engines that will behave alike."""
        held = {event.eid: event for event in (*self._cache.events(), *self._timers.events())}
        rows = [held[eid].row() for eid in sorted(held)]
        timers = sorted((timer.id, timer.due, timer.eid, timer.duration, timer.info) for timer in self._timers)
        state = sorted({**self._state, **self._counters(), **dict(self._store.items())}.items())
        return sha256(msgspec.msgpack.encode([self.rule_base.content_hash, rows, timers, state])).hexdigest()

    def _counters(self) -> dict[str, Any]:
        return {
            "eid": self._next_eid,
            "timer": self._run.next_timer,
            "handle": [self._second, self._handle],
            "f": self._cache.f,
            "f2": self._cache.f2,
        }

    def _find(self, key: EventKey) -> Event | None:
        return self._cache.find(key) or self._timers.find(key)

    # records

    def _begin(self, position: int) -> None:
        self._run.reset(position)
        self._inserted: list[Event] = []
        self._changes: dict[str, Any] = {}
        self._cleaned = False

    def process(self, record: Record, row: EventRow | None = None) -> Effects:
        """Everything that this record does, with the timers that are due before it.

        `row` is the stored event that `needs_row` asked for, or None when there is none. Exceptions are faults of
        this program, never of a rule: the engine is not to be used after one.
        """
        kind = record.kind
        if record.position in self._quarantined:
            reason = f"set aside: {self._quarantined[record.position]}"
            outcome = Outcome(Disposition.FAILED, reason=reason) if kind in _OWN_OUTCOME else None
            return Effects(record.position, record.after, outcome)
        self._begin(record.position)
        run = self._run
        outcome = None
        traced = self._traced
        if traced.ends and record.time >= traced.ends:
            self._set_trace({name: until for name, until in traced.until.items() if until > record.time})
        # looked up before timers fire: what they generate may push the event out of the cache
        target = self._find(_key(decode_change(record.payload))) if kind == _CHANGE else None
        due = self._timers.next_due()
        if due is not None and due <= record.time:
            self._fire_timers(record.time)
        run.steps = self._step_limit
        if kind in (_EVENT, _NOTICE_RECORD):
            outcome = self._arrive(record)
        elif kind == _CHANGE:
            outcome = self._change(record, target, row)
        elif kind == _ACTIVATE:
            outcome = self._activated(record)
        return self._effects(record, outcome)

    def _effects(self, record: Record, outcome: Outcome | None) -> Effects:
        run = self._run
        inserted, changed, fired = self._inserted, run.changed, run.fired
        if outcome is not None:
            outcome.fired = fired
        elif fired or inserted:
            outcome = Outcome(Disposition.FIRED, fired=fired)
        if changed:
            for event in inserted:
                changed.pop(event.eid, None)
        return Effects(
            record.position,
            record.after,
            outcome,
            inserted,
            list(changed.values()),
            list(run.timers_set.values()),
            run.timers_cancelled,
            run.programs,
            self._changed_state(),
            fired,
        )

    def _changed_state(self) -> dict[str, Any]:
        changes, state, cache, run = self._changes, self._state, self._cache, self._run
        if self._told_eid != self._next_eid:
            self._told_eid = state["eid"] = changes["eid"] = self._next_eid
            state["handle"] = changes["handle"] = [self._second, self._handle]
        told = run.next_timer, cache.f, cache.f2
        if self._told != told:
            for name, value in zip(("timer", "f", "f2"), told, strict=True):
                if state.get(name) != value:
                    state[name] = changes[name] = value
            self._told = told
        changes.update(self._store.take_changes())
        return changes

    def _set_state(self, name: str, value: Any) -> None:
        self._state[name] = self._changes[name] = value

    def _arrive(self, record: Record) -> Outcome:
        if record.verdict == _REJECTED:
            return Outcome(Disposition.REJECTED, reason=decode_rejected(record.payload).reason)
        payload = decode_event(record.payload)
        shape = self._shapes.find(payload.class_name)
        if shape is None:
            reason = f"class {payload.class_name!r} is not defined in the rule base {self.rule_base.name!r}"
            return Outcome(Disposition.REJECTED, reason=reason)
        if not shape.slots.issuperset(payload.slots):
            lost = min(payload.slots.keys() - shape.defaults.keys())
            reason = f"class {shape.name} has no slot {lost!r} in the rule base {self.rule_base.name!r}"
            return Outcome(Disposition.REJECTED, reason=reason)
        ident = name_of(record.position)
        if record.kind == _NOTICE_RECORD and payload.class_name == "TEC_Failover":
            # one per epoch, whoever writes it (spine: lease and failover)
            ident = f"failover:{epoch_of(record.position)}"
        event = self._receive(shape, payload.slots, ident, record.time, own=True)
        outcome = Outcome(_STORED, event, event.key) if event.stored else self._dropped(event)
        if self._run.derived:
            self._process_derived(record.time)
        return outcome

    def _dropped(self, event: Event) -> Outcome:
        run = self._run
        counted, rule = run.counted, run.dropped
        if rule is not None:
            reason = f"dropped by rule {rule.full_name}"
        elif run.refused is not None:
            reason = f"it arrived CLOSED, and rule {run.refused.full_name} dropped the request to close {counted}"
        elif counted is not None:
            reason = f"it arrived CLOSED and closed {counted}"
        else:
            reason = "it arrived CLOSED, and no duplicate is open"
        return Outcome(Disposition.DROPPED, counted, event.key, reason)

    def _change(self, record: Record, target: Event | None, row: EventRow | None) -> Outcome:
        payload = decode_change(record.payload)
        key = _key(payload)
        event = self._find(key) or target
        if event is None:
            if row is None:
                return Outcome(Disposition.REFUSED, key=key, reason=f"there is no event {key_name(key)}")
            event = Event.from_row(row, self._shapes)
        reason = refuse_change(event, payload)
        if reason:
            return Outcome(Disposition.REFUSED, event, key, reason)
        run = self._run
        # the same event may be changed again: what this change derives has an identity of its own
        run.analyse(event, record.time, f"{event.ident}@{record.position}", receiving=False)
        wanted = {slot: event.cls.value(slot, value) for slot, value in payload.slots.items()}
        if wanted.get("status") == event.status == "ACK":
            wanted.setdefault("administrator", payload.user)  # another operator takes it over
        outcome = self._request(event, key, wanted, payload.user)
        if run.derived:
            self._process_derived(record.time)
        return outcome

    def _request(self, event: Event, key: EventKey, wanted: dict[str, Any], user: str) -> Outcome:
        """An operator's change of several slots is made as a whole, or not at all."""
        run = self._run
        for slot, value in wanted.items():
            if event.get(slot) != value:
                refused = run.ask(event, slot, value, operator(user))
                if refused is not None:
                    reason = f"the change was dropped by rule {refused.full_name}"
                    return Outcome(Disposition.REFUSED, event, key, reason)
        # an administrator who is named stays, whatever the order of the slots
        for slot, value in sorted(wanted.items(), key=lambda item: item[0] == "administrator"):
            run.change(event, slot, value, user)
        return Outcome(Disposition.APPLIED, event, key)

    def _activated(self, record: Record) -> Outcome | None:
        """A rule base is active. That is told to rules, unless it was active before and only its settings changed.

        What is traced goes on, unless the settings say otherwise; then the record has an outcome.
        """
        said = decode_activate(record.payload)
        settings = dict(said.settings)
        trace = settings.pop("trace", None)
        before = self._state.get("rule_base")
        self._set_state("rule_base", [said.rule_base, said.name, settings])
        self._apply_settings()
        self._rules.apply_settings()
        if before is None or before[0] != said.rule_base:
            self._run.begin(record.time, name_of(record.position))
            message = f"rule base {said.name} is active"
            self._run.notice(LOADED, message, rule_base=said.rule_base, name=said.name)
            self._process_derived(record.time)
        return None if trace is None else self._change_trace(trace, record.time)

    def _change_trace(self, wanted: Any, now: int) -> Outcome:
        try:
            if type(wanted) is not dict:
                raise TraceError("a trace has names and hours")
            self._set_trace(TraceRequest(wanted.get("names"), wanted.get("hours")).applied(self._traced.until, now))
        except TraceError as wrong:
            return Outcome(Disposition.REFUSED, reason=str(wrong))
        return Outcome(Disposition.APPLIED, reason=f"traced: {', '.join(self._traced.until) or 'nothing'}")

    def _fire_timers(self, time: int) -> None:
        """Fire what is due, in (due, id) order, each at its own due time, with what it generates."""
        run, fired = self._run, 0
        while (found := self._timers.pop_due(time)) is not None:
            fired += 1
            if fired % _SIGN == 0:
                self.alive()
            timer, event = found
            run.forget_timer(timer)
            run.steps = self._step_limit
            run.refill()
            # a timer's number keeps two firings for one event apart
            run.analyse(event, timer.due, f"{event.ident}#{timer.id}", receiving=False, timer=timer)
            self._rules.timer(event, timer)
            self._process_derived(timer.due)

    # events

    def _receive(self, shape: Shape, slots: dict[str, Any], ident: str, now: int, *, own: bool) -> Event:
        """Make the event, run the rules over it, and store it unless it was dropped."""
        second = now // MICROSECONDS
        if second != self._second:
            self._second, self._handle = second, 0
        self._handle += 1
        slots["date_reception"] = second
        slots["event_handle"] = self._handle
        slots["server_handle"] = SERVER_HANDLE
        run = self._run
        event = Event(self._next_eid, run.position, ident, shape, slots)
        self._next_eid += 1
        run.analyse(event, now, ident, receiving=True)
        if slots.get("status") == CLOSED:
            # closes the newest open duplicate and is not stored (tec.md 2.3; tec-2.md 3.5)
            self._close_duplicate(event)
            return event
        if run.steps >= 0:
            self._rules.plain(event, "" if own else str(event))
        if run.dropped is not None:
            self._forget(event)
        else:
            self._keep(event)
        return event

    def _close_duplicate(self, event: Event) -> None:
        run = self._run
        newest = next(iter(self._cache.duplicates(event, open_only=True)), None)
        if newest is not None:
            run.counted = newest
            run.refused = run.ask(newest, "status", CLOSED, CLOSED_EVENT)
            if run.refused is None:
                run.change(newest, "status", CLOSED, event.get("administrator"))

    def _keep(self, event: Event) -> None:
        event.slots["last_modified_time"] = event.slots["date_reception"]
        event.stored = True
        self._cache.add(event)
        self._inserted.append(event)
        if len(self._cache) > self._cache.size:
            self._cache.clean(event.eid)
            if not self._cleaned:
                self._cleaned = True
                self._run.notice("TEC_Notice", CACHE_FULL)

    def _forget(self, event: Event) -> None:
        """Undo what a dropped event left behind: its timers, and its name on programs."""
        run = self._run
        for timer in self._timers.of_event(event):
            run.cancel_timer(timer)
        for program in run.programs:
            if program.eid == event.eid:
                program.eid = None

    def _process_derived(self, now: int) -> None:
        """Process what rules generated or want analysed again, and what comes of that, oldest first."""
        run = self._run
        queue = run.derived
        at = 0
        while at < len(queue):
            derived = queue[at]
            at += 1
            if isinstance(derived, Redo):
                self._redo(derived.event, derived.ident, now)
            else:
                self._receive(derived.shape, derived.slots, derived.ident, now, own=False)
        queue.clear()

    def _redo(self, event: Event, ident: str, now: int) -> None:
        """Run the plain rules over a stored event again, redo actions in place of reception actions (tec.md 3.2)."""
        run = self._run
        if event.stored and run.steps >= 0:
            run.analyse(event, now, ident, receiving=False)
            self._rules.plain(event, str(event), again=True)


def _key(payload: ChangePayload) -> EventKey:
    date, handle, server = payload.event
    return date, handle, server
