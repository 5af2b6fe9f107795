"""What `python -m bench rules` works on: class tables, rules, records, and an engine whose cache is full of events."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from typing import Any, Final

from opentec.events.classes import ClassTable
from opentec.events.loader import classes_of
from opentec.events.records import EventPayload, Kind, Record, encode, position_of
from opentec.rules.ast import RuleSet
from opentec.rules.batching import BatchBuilder
from opentec.rules.engine import Engine
from opentec.rules.event import Event
from opentec.rules.parser import parse_rules
from opentec.rules.rulebase import RuleBase, Settings
from opentec.rules.selector import Selectable, Selector
from opentec.shipped import shipped

START: Final = 1_772_352_000  # 2026-03-01T08:00:00Z
LEAVES: Final = 223  # classes that rules name
ARRIVING: Final = 55  # of these classes are the events, whatever the rules: 500 rules name all of them
RULES_OF_A_CLASS: Final = 9  # and one for all
BATCH: Final = 1000
PER_HOST: Final = 20  # events of one host in a full cache
SEVERITIES: Final = ("WARNING", "MINOR", "CRITICAL", "FATAL")


def classes() -> ClassTable:
    lines = [shipped("rules", "default", "TEC_CLASSES", name).read_text() for name in ("root.baroc", "tec.baroc")]
    lines.append(
        "TEC_CLASS: Part ISA EVENT DEFINES { hostname: dup_detect = yes; part: STRING, dup_detect = yes;"
        " code: INTEGER; user: STRING; };"
    )
    lines += [f"TEC_CLASS: Part{n} ISA Part;" for n in range(LEAVES)]
    lines += ["TEC_CLASS: Wait ISA Part;", "TEC_CLASS: Enough ISA Part;", "TEC_CLASS: Count ISA Part;"]
    return classes_of("\n".join(lines))


@cache
def _parsed(text: str) -> RuleSet:
    return parse_rules(text, "bench.rls")


def base(table: ClassTable, text: str, cache_size: int) -> RuleBase:
    name = sha256(text.encode()).hexdigest()
    return RuleBase("bench", name, table, (_parsed(text),), Settings(cache_size=cache_size))


def rules(count: int) -> str:
    """`count` rules, ten of which concern one class at most: one for all that does the work, the others say no.

    Of the nine of a class six test texts, two a list of texts, one a number, which no selector can know.
    """
    made = [
        """rule: duplicate: ( event: _e of_class 'Part' where [ hostname: _host, part: _part, status: equals 'OPEN' ],
  reception_action: ( first_duplicate(_e, event: _d where [ status: outside ['CLOSED'] ], _e - 86400 - 0),
    add_to_repeat_count(_d, 1), drop_received_event, commit_set ),
  action: ( first_instance(event: _o of_class 'Part' where [ hostname: equals _host, part: equals _part ]),
    set_event_severity(_e, 'FATAL') ) )."""
    ]
    for n in range(count - 1):
        kind = n % RULES_OF_A_CLASS
        if kind < 6:
            where = f"severity: equals '{SEVERITIES[n % 4]}', user: equals 'user{n}', hostname: _host"
        elif kind < 8:
            where = f"user: within ['user{n}', 'admin{n}', 'root{n}'], hostname: _host"
        else:
            where = "code: greater_than 1000, hostname: _host"
        made.append(
            f"rule: r{n}: ( event: _e of_class 'Part{n // RULES_OF_A_CLASS}' where [ {where} ],"
            " action: ( set_event_administrator(_e, _host) ) )."
        )
    return "\n".join(made)


def slots(number: int, host: str) -> dict[str, Any]:
    return {
        "source": "LOGFILE",
        "sub_source": "syslog",
        "origin": "10.0.0.1",
        "hostname": host,
        "adapter_host": "gate1",
        "severity": SEVERITIES[number % 4],
        "msg": f"the part has failed with reason {number}",
        "part": f"part{number}",
        "code": number % 100,
        "user": "root",
    }


def record(number: int, at: float, class_name: str, values: Mapping[str, Any]) -> Record:
    """An event record; `at` in seconds since START."""
    position = position_of(1, 200 * number)
    payload = encode(EventPayload(class_name, dict(values)))
    return Record(position, position + 200, Kind.EVENT, 0, round((START + at) * 1_000_000), payload=payload)


def tick(number: int, at: float) -> Record:
    position = position_of(1, 200 * number)
    return Record(position, position + 200, Kind.TICK, 0, round((START + at) * 1_000_000))


class Switch:
    """A selector that another can take the place of: between rounds, in one engine."""

    name = "switch"

    def __init__(self, selector: Selector) -> None:
        self.use(selector)

    def use(self, selector: Selector) -> None:
        """From the next `load` on."""
        self._selector = selector
        self.select = selector.select

    def load(self, rules: Sequence[Selectable], ancestors: Mapping[str, tuple[str, ...]]) -> None:
        self._selector.load(rules, ancestors)


class Run:
    """An engine, and the building of rows behind it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.inserted: list[Event] = []
        self.changed = 0

    def process(self, records: Iterable[Record]) -> float:
        """Seconds of CPU for these records and their rows."""
        process, builder = self.engine.process, BatchBuilder(0)
        inserted, changed = [], 0
        begun = time.process_time()
        for number, one in enumerate(records, 1):
            effects = process(one)
            builder.add(effects)
            inserted.append(effects.inserted)
            changed += len(effects.changed)
            if number % BATCH == 0:
                builder.build()
        builder.build()
        taken = time.process_time() - begun
        self.inserted += [event for events in inserted for event in events]
        self.changed += changed
        return taken

    def forget(self) -> None:
        """Take out of the cache what came in since the last time, so that every round begins with the same cache."""
        for event in self.inserted:
            self.engine._cache.remove(event)
        self.inserted.clear()


def settle() -> None:
    """As the server does when it has primed: what is there stays, and is not looked at again."""
    gc.collect()
    gc.freeze()
