"""What rules must have remembered, worked out from the numbers of the events alone.

Event n of a sender bears the number before it (as a global variable and as a recorded value kept it), of an even n the
odd number of a fact, a count that begins again behind 10, and how often a change rule was asked. So whatever was
forgotten or done twice at any moment stands in the first event behind it.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

CLASS = "Load_State"
DERIVED = ("Load_Tenth", "Load_Rang")
TENTH, WOKEN, REFUSED = 10, 20, 3  # each so many events: an event is derived, a timer set, a change refused

Number = tuple[str, int]  # an event: sender and number


def expected(number: int) -> dict[str, Any]:
    """The slots of event `number` when nothing was forgotten and nothing done twice."""
    return {
        "before": number - 1,
        "kept": number - 1,
        "paired": 0 if number % 2 else number - 1,
        "counted": (number - 1) % TENTH + 1,
        "asked": number,
        "severity": "MINOR" if number % REFUSED else "HARMLESS",
    }


class Memory:
    """Collects what the repository says, and judges it."""

    def __init__(self) -> None:
        self._found: dict[Number, dict[str, Any]] = {}
        self._numbers: dict[int, Number] = {}  # by eid
        self._derived: dict[str, Counter[Number]] = {name: Counter() for name in DERIVED}
        self.waiting: Counter[Number] = Counter()  # timers
        self.problems: list[str] = []

    def take(self, eid: int, class_name: str, severity: str, slots: Mapping[str, Any]) -> bool:
        """Note a row; True when it is one that rules made, and no sender."""
        event = slots.get("sender", ""), slots.get("number", 0)
        if class_name == CLASS:
            self._numbers[eid] = event
            self._found[event] = {"severity": severity, **slots}
        if class_name not in DERIVED:
            return False
        self._derived[class_name][event] += 1
        return True

    def read_timers(self, connection: sqlite3.Connection, end: int, finished: bool) -> None:
        """`end` is the log time of the last record; behind that, timers may wait."""
        for eid, due in connection.execute("SELECT eid, due FROM timer"):
            event = self._numbers.get(eid)
            if event is None:
                self.problems.append(f"a timer waits for event {eid}, which set none")
                continue
            self.waiting[event] += 1
            if finished and due <= end:
                self.problems.append(f"the timer of {_name(event)} was due and has not fired")

    def judge(self, stored: Iterable[Number]) -> tuple[list[str], list[str]]:
        """What of these events was lost, and what was doubled."""
        lost: list[str] = []
        doubled: list[str] = []
        wanted = sorted(set(stored))
        for event in wanted:
            slots, number = self._found.get(event), event[1]
            if slots is None:
                continue  # that it is not there is said elsewhere
            for slot, value in expected(number).items():
                if slots.get(slot, 0) != value:
                    lost.append(f"what rules knew at {_name(event)}: {slot} is {slots.get(slot, 0)}, not {value}")
            _count(
                lost, doubled, f"the tenth at {_name(event)}", self._derived["Load_Tenth"][event], number % TENTH == 0
            )
            rang = self._derived["Load_Rang"][event] + self.waiting[event]
            _count(lost, doubled, f"the timer of {_name(event)}", rang, number % WOKEN == 0)
        known = set(wanted)
        for name, found in self._derived.items():
            self.problems += [f"{name} for {_name(event)}, which is not there" for event in found if event not in known]
        return lost, doubled


def _count(lost: list[str], doubled: list[str], what: str, found: int, wanted: int) -> None:
    if found < wanted:
        lost.append(what)
    if found > wanted:
        doubled.append(f"{what}: {found} times, {int(wanted)} expected")


def _name(event: Number) -> str:
    return f"{event[0]} {event[1]}"
