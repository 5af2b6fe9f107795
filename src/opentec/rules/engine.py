"""The rule engine: a pure function from a record of the log to its effects (spine: the rule process).

It reads no clock, disk, socket or random number. What it knows is the event cache, timers and a few counters, all of
which come back from the repository's rows at the committed position (`prime`); what it does leaves as `Effects`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
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
from opentec.rules.compiled import CompiledRule, compile_rules
from opentec.rules.effects import Effects, Fired, Outcome, Timer
from opentec.rules.evaluation import COMMIT_RULE, COMMIT_SET, MICROSECONDS, Derived, Evaluation, digest
from opentec.rules.event import CLOSED, Event, Shape, Shapes
from opentec.rules.rulebase import RuleBase
from opentec.rules.scope import Frame
from opentec.rules.selector import Selector
from opentec.rules.store import SEPARATOR, Store
from opentec.rules.terms import RuleError, StepLimitError
from opentec.rules.timers import TimerTable

SERVER_HANDLE: Final = 1
NOTICE_SECONDS: Final = 60  # of log time between two TEC_Error notices about the same rule
CACHE_FULL: Final = "Rule Cache full: forced cleaning"  # tec.md 2.4
_COMPLAINT: Final = "notice"  # section of the store: when a rule was last complained of
_HALT: Final = COMMIT_SET + 1
# plain integers: a member of an enumeration costs a look-up each time
_EVENT: Final = int(Kind.EVENT)
_NOTICE_RECORD: Final = int(Kind.NOTICE)
_CHANGE: Final = int(Kind.CHANGE)
_ACTIVATE: Final = int(Kind.ACTIVATE)
_REJECTED: Final = int(Verdict.REJECTED)
_STORED: Final = int(Disposition.STORED)
_OWN_OUTCOME: Final = (_EVENT, _NOTICE_RECORD, _CHANGE)


class PrimeError(Exception):
    """The rows that the engine was primed with do not belong together."""


class Engine:
    """One rule base at work. Give it the records in their order, and nothing else.

    State keys in `Effects.state`: eid, timer (the next ones), handle (second and last event handle), f, f2 (cache),
    rule_base (hash, name, settings of the last ACTIVATE), and SECTION:NAME for what is in the store.
    Raises SourceErrors when a rule does not compile.
    """

    def __init__(self, rule_base: RuleBase, selector: Selector) -> None:
        self._selector = selector
        self._state: dict[str, Any] = {}
        self._quarantined: set[int] = set()
        self._next_eid = 1
        self._second = 0
        self._handle = 0
        self._load(rule_base)
        self._cache = EventCache(0)
        self._timers = TimerTable()
        self._store = Store()
        self._apply_settings()
        self._run = Evaluation(self._shapes, self._cache, self._timers, self._store)
        self._run.selecting = self._selecting
        self._begin(0)
        # counters as the last effects gave them
        self._told_eid = -1
        self._told = (-1, -1, -1)

    # state

    def _load(self, rule_base: RuleBase) -> None:
        rules = compile_rules(rule_base.rule_sets, rule_base.classes)
        self.rule_base = rule_base
        self._shapes = Shapes(rule_base.classes)
        self._plain = rules.plain
        self._timer_rules = rules.timer
        self._selecting = frozenset(test.slot for rule in rules.plain.values() for test in rule.filter.tests)
        self._selector.load([rule.selectable for rule in rules.plain.values()], rule_base.classes.ancestors)

    def _apply_settings(self) -> None:
        self._cache.size = self._setting("cache_size")
        self._step_limit: int = self._setting("step_limit")

    def _setting(self, name: str) -> Any:
        # the ACTIVATE record may say otherwise than the rule base, once that rule base is the one at work
        active = self._state.get("rule_base")
        if active is not None and active[0] == self.rule_base.content_hash and name in active[2]:
            return active[2][name]
        return getattr(self.rule_base.settings, name)

    def prime(self, events: Iterable[EventRow], timers: Iterable[Timer], state: Mapping[str, Any]) -> None:
        """Take the state of the repository at its committed position, in place of whatever was there.

        `events` must hold every row that the cache may hold (eid >= f, or eid >= f2 and not CLOSED) and every event
        that a timer names; further rows do no harm. Raises PrimeError when an event of a timer is missing.
        """
        self._state = {key: value for key, value in state.items() if SEPARATOR not in key}
        self._store = Store(state)
        self._next_eid = state.get("eid", 1)
        self._second, self._handle = state.get("handle", (0, 0))
        self._cache = EventCache(0, state.get("f2", 0), state.get("f", 0))
        self._apply_settings()
        self._timers = TimerTable()
        given = {row[0]: Event.from_row(row, self._shapes) for row in events}
        for eid in sorted(given):
            self._cache.add(given[eid])
        for timer in sorted(timers, key=lambda pending: pending.id):
            if timer.eid not in given:
                raise PrimeError(f"timer {timer.id} waits for event number {timer.eid}, whose row is not there")
            self._timers.set(timer, given[timer.eid])
        self._run = Evaluation(self._shapes, self._cache, self._timers, self._store)
        self._run.selecting = self._selecting
        self._run.next_timer = state.get("timer", 1)
        self._told_eid, self._told = -1, (-1, -1, -1)

    def activate(self, rule_base: RuleBase) -> None:
        """Go on with another rule base; events, timers and counters stay. Raises SourceErrors and changes nothing."""
        before = self._shapes
        try:
            self._load(rule_base)
        except BaseException:
            self._shapes = before
            raise
        self._apply_settings()
        self._run.shapes = self._shapes
        self._run.selecting = self._selecting
        cached = self._cache.events()
        held = {event.eid: event for event in (*cached, *self._timers.events())}
        for event in cached:
            self._cache.remove(event)
        for event in held.values():
            event.shape = self._shapes.of_stored(event.class_name, event.slots)
            event.defaults = event.shape.defaults
        for event in cached:
            self._cache.add(event)

    def quarantine(self, positions: Iterable[int]) -> None:
        """Name the records that must not be processed; they end FAILED."""
        self._quarantined.update(positions)

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
        self._fired: list[Fired] = []
        self._changes: dict[str, Any] = {}
        self._cleaned = False

    def process(self, record: Record, row: EventRow | None = None) -> Effects:
        """Everything that this record does, with the timers that are due before it.

        `row` is the stored event that `needs_row` asked for, or None when there is none. Exceptions are faults of
        this program, never of a rule: the engine is not to be used after one.
        """
        kind = record.kind
        if record.position in self._quarantined:
            outcome = Outcome(Disposition.FAILED, reason="quarantined") if kind in _OWN_OUTCOME else None
            return Effects(record.position, record.after, outcome)
        self._begin(record.position)
        run = self._run
        outcome = None
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
            said = decode_activate(record.payload)
            self._set_state("rule_base", [said.rule_base, said.name, said.settings])
            self._apply_settings()
        return self._effects(record, outcome)

    def _effects(self, record: Record, outcome: Outcome | None) -> Effects:
        run = self._run
        if outcome is not None:
            outcome.fired = self._fired
        inserted, changed = self._inserted, run.changed
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
            self._fired,
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
            self._receive_derived(record.time)
        return outcome

    def _dropped(self, event: Event) -> Outcome:
        counted, rule = self._run.counted, self._run.dropped
        if rule is not None:
            reason = f"dropped by rule {rule.full_name}"
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
        run.analyse(event, record.time, receiving=False)
        for slot, value in payload.slots.items():
            run.change(event, slot, value, payload.user)
        if "status" in payload.slots and event.status in ("ACK", CLOSED) and "administrator" not in payload.slots:
            run.assign(event, "administrator", payload.user)
        return Outcome(Disposition.APPLIED, event, key)

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
        run.analyse(event, now, receiving=True)
        if slots.get("status") == CLOSED:
            # closes the newest open duplicate and is not stored (tec.md 2.3; tec-2.md 3.5)
            self._close_duplicate(event)
            return event
        if run.steps >= 0:
            self._evaluate(event, "" if own else str(event))
        if run.dropped is not None:
            self._forget(event)
        else:
            self._keep(event)
        return event

    def _close_duplicate(self, event: Event) -> None:
        run = self._run
        newest = next(iter(self._cache.duplicates(event, open_only=True)), None)
        if newest is not None:
            run.change(newest, "status", CLOSED, event.get("administrator"))
            run.counted = newest

    def _keep(self, event: Event) -> None:
        event.slots["last_modified_time"] = event.slots["date_reception"]
        event.stored = True
        self._cache.add(event)
        self._inserted.append(event)
        if len(self._cache) > self._cache.size:
            self._cache.clean(event.eid)
            if not self._cleaned:
                self._cleaned = True
                self._notice("TEC_Notice", CACHE_FULL)

    def _forget(self, event: Event) -> None:
        """Undo what a dropped event left behind: its timers, and its name on programs."""
        run = self._run
        for timer in self._timers.of_event(event):
            run.cancel_timer(timer)
        for program in run.programs:
            if program.eid == event.eid:
                program.eid = None

    def _receive_derived(self, now: int) -> None:
        """Process what rules generated, and what that generates, oldest first."""
        run = self._run
        queue = run.derived
        at = 0
        while at < len(queue):
            derived = queue[at]
            at += 1
            self._receive(derived.shape, derived.slots, derived.ident, now, own=False)
        queue.clear()

    def _notice(self, class_name: str, message: str, **more: Any) -> None:
        """Queue an event of the engine's own; a rule base without that class does without."""
        shape = self._shapes.find(class_name)
        if shape is None:
            return
        run = self._run
        run.cause += 1
        said = {"source": "TEC", "sub_source": "tec_rule", "hostname": "TECServer", "msg": message[:1000], **more}
        slots = {slot: value for slot, value in said.items() if slot in shape.defaults}
        run.derived.append(Derived(shape, slots, digest(run.parent, class_name, run.cause)))

    # rules

    def _evaluate(self, event: Event, name: str) -> None:
        """Run every plain rule that concerns the event, in the order of the rule base."""
        run, rules, select = self._run, self._plain, self._selector.select
        class_name = event.shape.name
        candidates: Sequence[int] | None = select(class_name, event.slots, event.defaults)
        skipped = -1
        while candidates is not None:
            rest, candidates = candidates, None
            for index in rest:
                rule = rules[index]
                if rule.rule_set == skipped:
                    continue
                frame = rule.match(event, run)
                if frame is None:
                    continue
                commit = self._run_rule(rule, frame, name)
                if commit == COMMIT_SET:
                    skipped = rule.rule_set
                elif commit == _HALT:
                    return
                if run.analysed_changed:
                    # later rules see the event as it is now
                    run.analysed_changed = False
                    again = select(class_name, event.slots, event.defaults)
                    candidates = again[bisect_right(again, index) :]
                    break

    def _run_rule(self, rule: CompiledRule, frame: Frame, name: str) -> int:
        """Run the actions of a rule whose filter matched; tells how far it commits."""
        run = self._run
        run.rule = rule
        did: list[str] = []
        run.did = did
        ran: list[str] = []
        commit = 0
        for action in rule.actions:
            run.commit = 0
            run.succeeded = False
            before = len(did)
            try:
                action.step(frame, run)
            except RuleError as error:
                self._complain(rule, error.place, error.message)
            except RecursionError:
                self._complain(rule, "", f"action {action.name!r} nests too deeply")
            except StepLimitError:
                run.dropped = None  # what cannot be judged is kept
                text = f"action {action.name!r} was stopped after {self._step_limit} steps, the limit of a record"
                self._complain(rule, "", text)
                run.commit = _HALT
            run.trail.clear()
            if run.succeeded or len(did) > before:
                ran.append(action.name)
            if run.commit >= COMMIT_RULE:
                commit = run.commit
                break
        if ran:
            info = run.timer.info if run.timer is not None else None
            self._fired.append(Fired(rule.set_name, rule.name, ran, did, name, info))
        return commit

    def _complain(self, rule: CompiledRule, place: str, message: str) -> None:
        run = self._run
        place = place or rule.place
        run.note(f"failed at {place}: {message}"[:400])
        last = self._store.get(_COMPLAINT, rule.full_name)
        if last is None or run.seconds - last >= NOTICE_SECONDS:
            self._store.put(_COMPLAINT, rule.full_name, run.seconds)
            file, _, line = place.rpartition(":")
            text = f"{place}: rule {rule.full_name}: {message}"
            self._notice("TEC_Error", text, rule_set=rule.set_name, rule=rule.name, file=file, line=int(line))

    def _fire_timers(self, time: int) -> None:
        """Fire what is due, in (due, id) order, each at its own due time, with what it generates."""
        run = self._run
        while (found := self._timers.pop_due(time)) is not None:
            timer, event = found
            run.forget_timer(timer)
            run.steps = self._step_limit
            run.analyse(event, timer.due, receiving=False, timer=timer)
            skipped = -1
            for rule in self._timer_rules:
                if rule.rule_set == skipped:
                    continue
                frame = rule.match_timer(event, timer, run)
                if frame is None:
                    continue
                commit = self._run_rule(rule, frame, str(event))
                if commit == COMMIT_SET:
                    skipped = rule.rule_set
                elif commit == _HALT:
                    break
            self._receive_derived(timer.due)


def _key(payload: ChangePayload) -> EventKey:
    date, handle, server = payload.event
    return date, handle, server
