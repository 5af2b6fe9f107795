"""What senders send, and what must have become of each event: the oracle of the fault tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

REPEATS = 5  # events of one subject in a row


class Fate(Enum):
    """What becomes of an event when no process ever dies."""

    STORED = "stored"
    COUNTED = "counted on the first of its subject"
    REJECTED = "rejected"
    PROBLEM = "stored, then closed by the next event"
    RECOVERY = "stored, closes the one before, derives one event"
    PROGRAM = "stored, runs one program"
    REMEMBERED = "stored, with what rules remember of those before (tests.faults.memory)"


@dataclass(frozen=True)
class Plan:
    """The events of one sender: `text(name, number)` and `fate(number)`."""

    text: Callable[[str, int], str]
    fate: Callable[[int], Fate]


def _head(class_name: str, name: str, number: int) -> str:
    return f"{class_name};sender={name};number={number};hostname={name};"


def subject(name: str, number: int) -> str:
    """What REPEATS events in a row are about."""
    return f"{name}-{(number - 1) // REPEATS}"


def pair(name: str, number: int) -> str:
    """What a problem and its recovery are about."""
    return f"{name}-{(number - 1) // 2}"


def _plain(name: str, number: int) -> str:
    return _head("Load_Event", name, number) + f"msg='event {number} of {name}';END"


def _repeat(name: str, number: int) -> str:
    return _head("Load_Repeat", name, number) + f"subject='{subject(name, number)}';END"


def _problem(name: str, number: int) -> str:
    class_name = "Load_Problem" if number % 2 else "Load_Recovery"
    return _head(class_name, name, number) + f"subject='{pair(name, number)}';END"


def _wrong(name: str, number: int) -> str:
    return _head("Load_Evnet" if number % 10 == 0 else "Load_Event", name, number) + "END"


def _state(name: str, number: int) -> str:
    return _head("Load_State", name, number) + "END"


PLAIN = Plan(_plain, lambda number: Fate.STORED)
REPEATED = Plan(_repeat, lambda number: Fate.STORED if number % REPEATS == 1 else Fate.COUNTED)
REMEMBERED = Plan(_state, lambda number: Fate.REMEMBERED)
PROBLEMS = Plan(_problem, lambda number: Fate.PROBLEM if number % 2 else Fate.RECOVERY)
WRONG = Plan(_wrong, lambda number: Fate.REJECTED if number % 10 == 0 else Fate.STORED)


def programs(folder: str) -> Plan:
    """Each event runs a program that leaves one new file in `folder`."""

    def text(name: str, number: int) -> str:
        return _head("Load_Program", name, number) + f"template='{folder}/{name}-{number}.XXXXXX';END"

    return Plan(text, lambda number: Fate.PROGRAM)
