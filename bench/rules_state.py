"""Storms, pending timers, open counters, and what a cached event weighs."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Final

from bench.rules_world import LEAVES, PER_HOST, Run, base, classes, record, rules, settle, slots, tick
from opentec.events.records import Record
from opentec.rules.engine import Engine
from opentec.rules.selectors.indexed import IndexedSelector

STORM: Final = 100_000
MANY: Final = 100_000
FEW: Final = 100
OPERATIONS: Final = 1000
DAY: Final = 86_400

TIMERS: Final = """
rule: wait: ( event: _e of_class 'Wait' where [ code: _seconds ], action: ( set_timer(_e, _seconds, waiting) ) ).
rule: enough: ( event: _e of_class 'Enough' where [ hostname: _host, part: _part ],
  reception_action: ( drop_received_event,
    first_instance(event: _w of_class 'Wait' where [ hostname: equals _host, part: equals _part ]),
    cancel_all_timers(_w) ) ).
timer_rule: over: ( event: _e of_class 'Wait' where [ ], timer_info: equals 'waiting',
  action: ( set_event_administrator(_e, over) ) ).
"""
DUPLICATES: Final = """
rule: duplicate: ( event: _e of_class 'Part' where [ status: equals 'OPEN' ],
  reception_action: ( first_duplicate(_e, event: _d where [ status: outside ['CLOSED'] ], _e - 86400 - 0),
    add_to_repeat_count(_d, 1), drop_received_event, commit_set ) ).
"""
COUNTERS: Final = """
rule: count: ( event: _e of_class 'Count' where [ hostname: _host, part: _part ],
  reception_action: ( check_and_increment_count([_host, _part], _n), drop_received_event ) ).
"""

Say = Callable[[str], None]


def middle(values: list[float], digits: int = 2) -> str:
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def storm(text: str, parts: int, count: int) -> tuple[list[float], Run]:
    """Events a second in each tenth of a storm from one host, which reports so many different problems in turn."""
    run = Run(Engine(base(classes(), text, 5000), IndexedSelector()))
    every = count // 10
    tenths = []
    for tenth in range(10):
        made = []
        for n in range(tenth * every, (tenth + 1) * every):
            name = f"Part{n % parts % 10}"
            made.append(record(n + 1, n / 10_000, name, {**slots(n % parts, "web1"), "msg": f"failure {n}"}))
        gc.collect()
        tenths.append(every / run.process(made))
    return tenths, run


def counted(run: Run) -> int:
    """Events that a storm's survivors stand for."""
    return sum(1 + event.get("repeat_count") for event in run.engine._cache.events())


class Timers:
    """An engine with so many pending timers, and operations on it that leave it as it was."""

    def __init__(self, pending: int) -> None:
        self.pending = pending
        self.run = Run(Engine(base(classes(), TIMERS, 4 * MANY), IndexedSelector()))
        self.number = 0
        self.now = 0.0
        self.run.process(self._wait(n, DAY + n) for n in range(pending))
        self.run.inserted.clear()
        settle()

    def _wait(self, n: int, seconds: int, name: str = "Wait") -> Record:
        self.number += 1
        return record(self.number, self.now, name, {**slots(n, f"host{n // PER_HOST}"), "code": seconds})

    def round(self) -> dict[str, float]:
        """Microseconds to set one, to cancel one, to fire one; each with the event or the tick that does it."""
        fresh = range(10_000_000, 10_000_000 + OPERATIONS)
        times = {}
        for name in ("cancel", "fire"):
            made = [self._wait(n, 10 + n % 7) for n in fresh]
            gc.collect()
            times["set"] = self.run.process(made)
            if name == "cancel":
                made = [self._wait(n, 0, "Enough") for n in fresh]
            else:
                made = []
                for _ in range(20):
                    self.now += 1.0
                    self.number += 1
                    made.append(tick(self.number, self.now))
            changed = self.run.changed
            gc.collect()
            times[name] = self.run.process(made)
            assert len(self.run.engine._timers) == self.pending, len(self.run.engine._timers)
            assert name != "fire" or self.run.changed - changed == OPERATIONS
            self.run.forget()
        return {name: taken / OPERATIONS * 1e6 for name, taken in times.items()}


class Counters:
    """An engine with so many open counters."""

    def __init__(self, opened: int) -> None:
        self.opened = opened
        self.run = Run(Engine(base(classes(), COUNTERS, 1000), IndexedSelector()))
        self.number = 0
        self._count(range(opened))
        settle()

    def _count(self, numbers: Iterable[int]) -> float:
        made = []
        for n in numbers:
            self.number += 1
            made.append(record(self.number, self.number / 1000, "Count", slots(n, f"host{n // PER_HOST}")))
        gc.collect()
        return self.run.process(made)

    def round(self) -> dict[str, float]:
        """Microseconds of an event that counts on, all over the table."""
        stride = max(1, self.opened // OPERATIONS)
        taken = self._count([n * stride % self.opened for n in range(OPERATIONS)])
        return {"increment": taken / OPERATIONS * 1e6}


def weight(count: int) -> float:
    """Bytes of the process for each cached event of ten slots, its places in the cache's indexes included."""
    run = Run(Engine(base(classes(), rules(10), 2 * count), IndexedSelector()))
    step, before = 5000, 0
    gc.collect()
    for start in range(0, count + step, step):
        if start == step:
            before = _resident()  # what the first events bring in is not theirs
        made = [
            record(n + 1, n / 1000, f"Part{n % LEAVES}", slots(n, f"host{n // PER_HOST}"))
            for n in range(start, start + step)
        ]
        run.process(made)
        run.inserted.clear()
    del made
    gc.collect()
    return (_resident() - before) / count


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(rounds: int, *, quick: bool, say: Say) -> tuple[list[str], list[str]]:
    """A report as lines of Markdown, and what is wrong."""
    lines, wrong = ["### State", "", "| what | microseconds | to 100 of them |", "| --- | --- | --- |"], []
    many = MANY // 10 if quick else MANY
    say("memory")
    bytes_each = weight(many)
    for kind in (Timers, Counters):
        say(f"{many:,} {kind.__name__.lower()}")
        few, full = kind(FEW), kind(many)
        small, large = [], []
        for _ in range(rounds):
            small.append(few.round())
            large.append(full.round())
        gc.unfreeze()
        for name in small[0]:
            ratio = [one[name] / other[name] for one, other in zip(large, small, strict=True)]
            what = f"{name}, {many:,} {'pending timers' if kind is Timers else 'open counters'}"
            lines.append(f"| {what} | {middle([one[name] for one in large], 1)} | {middle(ratio)} |")
            if median(ratio) > 2:
                wrong.append(f"{what}: {median(ratio):.2f} times the cost at {FEW}, at most 2")
    lines += ["", "### A storm from one host", ""]
    lines += ["| events | what | events/s, first tenth | last tenth | last to first |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    count = STORM // 10 if quick else STORM
    storms = [
        ("ten problems, duplicates counted", DUPLICATES, 10, count),
        ("all different, duplicates looked for", DUPLICATES, count, count),
        # each search looks at all cached events of the host: known, and no matter of the storm's length
        ("all different, and a search of the host for each", rules(100), count, count // 50),
    ]
    for what, text, parts, length in storms:
        say(f"storm of {length:,} events: {what}")
        runs = [storm(text, parts, length) for _ in range(min(rounds, 3))]
        for _, run in runs:
            assert parts == count or counted(run) == length, counted(run)
        ratio = [tenths[-1] / tenths[0] for tenths, _ in runs]
        first, last = [tenths[0] for tenths, _ in runs], [tenths[-1] for tenths, _ in runs]
        lines.append(f"| {length:,} | {what} | {middle(first, 0)} | {middle(last, 0)} | {middle(ratio)} |")
        if median(ratio) < 0.5 and text is DUPLICATES:
            wrong.append(f"storm, {what}: its last tenth has {median(ratio):.2f} of the first one's rate, at least 0.5")
    lines += ["", f"A cached event of ten slots takes {bytes_each:,.0f} bytes (resident memory at {many:,} events)."]
    if bytes_each > 6000:
        wrong.append(f"{bytes_each:.0f} bytes for a cached event, at most 6000")
    return lines, wrong
