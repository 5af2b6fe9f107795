"""A rule base from text, records from slots, and a repository of dicts: what the tests of the engine share."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from opentec.events.classes import ClassTable
from opentec.events.image import COLUMNS, EventKey, EventRow
from opentec.events.loader import classes_of
from opentec.events.records import (
    ActivatePayload,
    ChangePayload,
    EventPayload,
    Kind,
    Record,
    RejectedPayload,
    Verdict,
    encode,
    position_of,
)
from opentec.rules.batching import BatchBuilder, RuleBatch, timer_of_row
from opentec.rules.checker import check_rules
from opentec.rules.effects import Effects
from opentec.rules.engine import Engine
from opentec.rules.event import Event
from opentec.rules.parser import parse_rules
from opentec.rules.predicates import PREDICATES
from opentec.rules.rulebase import RuleBase, Settings
from opentec.rules.selector import Selector
from opentec.rules.selectors.indexed import IndexedSelector

START = 1_772_352_000  # 2026-03-01T08:00:00Z
CLASSES = """
TEC_CLASS: Disk ISA EVENT DEFINES {
  hostname: dup_detect = yes; drive: STRING, dup_detect = yes; size: INTEGER; load: REAL; tags: LIST_OF STRING; };
TEC_CLASS: Disk_Full ISA Disk DEFINES { owner: STRING, default = root; };
TEC_CLASS: Disk_OK ISA Disk;
TEC_CLASS: Link ISA EVENT;
TEC_CLASS: Link_Down ISA Link DEFINES { severity: default = CRITICAL; };
TEC_CLASS: Link_Up ISA Link;
"""


def shipped_classes() -> str:
    """The text of the classes that every rule base has."""
    folder = Path(__file__).parents[2] / "rules/default/TEC_CLASSES"
    return "".join((folder / name).read_text(encoding="utf-8") + "\n" for name in ("root.baroc", "tec.baroc"))


@cache
def classes() -> ClassTable:
    return classes_of(shipped_classes() + CLASSES)


def rule_base(*texts: str, check: bool = True, name: str = "test", content_hash: str = "", **settings: Any) -> RuleBase:
    """Rule sets set1, set2 ... from their texts."""
    sets = tuple(parse_rules(text, f"set{n}.rls") for n, text in enumerate(texts, 1))
    if check:
        errors = check_rules(sets, classes(), PREDICATES)
        assert not errors, errors
    return RuleBase(name, content_hash or "0" * 64, classes(), sets, Settings(**settings))


class Log:
    """Makes records, one after the other."""

    def __init__(self, epoch: int = 1) -> None:
        self.epoch = epoch
        self.offset = 0

    def record(self, kind: Kind, at: float, payload: Any = None, verdict: Verdict = Verdict.ACCEPTED) -> Record:
        self.offset += 100
        position = position_of(self.epoch, self.offset)
        data = b"" if payload is None else encode(payload)
        return Record(position, position + 100, kind, verdict, round((START + at) * 1_000_000), payload=data)

    def event(self, at: float, class_name: str, **slots: Any) -> Record:
        return self.record(Kind.EVENT, at, EventPayload(class_name, slots))

    def notice(self, at: float, class_name: str, **slots: Any) -> Record:
        return self.record(Kind.NOTICE, at, EventPayload(class_name, slots))

    def rejected(self, at: float, reason: str) -> Record:
        return self.record(Kind.EVENT, at, RejectedPayload(reason, b"X", 1), Verdict.REJECTED)

    def change(self, at: float, key: EventKey, user: str = "ann", **slots: Any) -> Record:
        return self.record(Kind.CHANGE, at, ChangePayload(key, slots, user))

    def tick(self, at: float) -> Record:
        return self.record(Kind.TICK, at)

    def activate(self, at: float, base: RuleBase, **settings: Any) -> Record:
        return self.record(Kind.ACTIVATE, at, ActivatePayload(base.content_hash, base.name, settings))


class Repository:
    """What dispatch would have written: rows, timers and state as dicts."""

    def __init__(self) -> None:
        self.position = 0
        self.rows: dict[int, EventRow] = {}
        self.timers: dict[int, tuple[int, int, int, str]] = {}
        self.state: dict[str, Any] = {}
        self.outcomes: list[tuple[Any, ...]] = []
        self.outbox: dict[str, tuple[Any, ...]] = {}

    def commit(self, batch: RuleBatch) -> None:
        # through bytes, as between the processes
        batch = msgspec.msgpack.decode(msgspec.msgpack.encode(batch), type=RuleBatch)
        assert batch.before == self.position
        for row in batch.inserts:
            assert row[0] not in self.rows
            assert all(row[2] != other[2] for other in self.rows.values()), "an identity was used twice"
            self.rows[row[0]] = tuple(row)
        for row in batch.updates:
            assert row[0] in self.rows
            self.rows[row[0]] = tuple(row)
        for timer in batch.timers_set:
            assert timer[0] not in self.timers
            self.timers[timer[0]] = tuple(timer)
        for id_ in batch.timers_cancelled:
            del self.timers[id_]
        for entry in batch.outbox:
            assert entry[0] not in self.outbox
            self.outbox[entry[0]] = tuple(entry)
        self.outcomes += batch.outcomes
        for name, value in batch.state.items():
            if value is None:
                self.state.pop(name, None)
            else:
                self.state[name] = value
        self.position = batch.after

    def by_key(self, key: EventKey) -> EventRow | None:
        return next((row for row in self.rows.values() if key_of(row) == key), None)

    def cached(self) -> list[EventRow]:
        """The rows that an engine is primed with, and no others."""
        f, f2 = self.state.get("f", 0), self.state.get("f2", 0)
        waiting = {timer[2] for timer in self.timers.values()}
        status = COLUMNS.index("status")
        return [
            row
            for row in self.rows.values()
            if row[0] >= f or (row[0] >= f2 and row[status] != "CLOSED") or row[0] in waiting
        ]

    def prime(self, engine: Engine) -> Engine:
        engine.prime(self.cached(), [timer_of_row(*timer) for timer in self.timers.values()], self.state)
        return engine


def key_of(row: EventRow) -> EventKey:
    at = COLUMNS.index("date_reception")
    return row[at], row[at + 1], row[at + 2]


class Kit:
    """An engine on some rules with its log and its repository."""

    def __init__(self, *texts: str, selector: Selector | None = None, check: bool = True, **settings: Any) -> None:
        self.base = rule_base(*texts, check=check, **settings)
        self.engine = Engine(self.base, selector or IndexedSelector())
        self.log = Log()
        self.repository = Repository()
        self.effects: list[Effects] = []

    def process(self, record: Record) -> Effects:
        """Process one record and commit it alone."""
        key = self.engine.needs_row(record)
        effects = self.engine.process(record, self.repository.by_key(key) if key else None)
        builder = BatchBuilder(self.repository.position)
        builder.add(effects)
        self.repository.commit(builder.build())
        self.effects.append(effects)
        return effects

    def event(self, at: float, class_name: str, **slots: Any) -> Effects:
        return self.process(self.log.event(at, class_name, **slots))

    def tick(self, at: float) -> Effects:
        return self.process(self.log.tick(at))

    def change(self, at: float, key: EventKey, user: str = "ann", **slots: Any) -> Effects:
        return self.process(self.log.change(at, key, user, **slots))

    def stored(self, class_name: str = "") -> list[Event]:
        """The events of the repository, oldest first."""
        events = [Event.from_row(row, self.engine._shapes) for row in self.repository.rows.values()]
        return [event for event in events if not class_name or event.class_name == class_name]

    def values(self, slot: str, class_name: str = "") -> list[Any]:
        return [event.get(slot) for event in self.stored(class_name)]


def dispositions(effects: Iterable[Effects]) -> list[int]:
    return [one.outcome.disposition for one in effects if one.outcome is not None]
