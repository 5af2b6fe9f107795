"""The sections of the fault plan: one function for each kind of fault, all with the same face.

A section takes a folder of its own, how many faults, a seed, and where to tell of each fault; it gives a Result. What
cannot run here raises Skipped with the reason.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.checker import Verdict

Say = Callable[[str], None]


class Skipped(Exception):
    """This machine cannot do that; the text says what is missing."""


@dataclass
class Result:
    """What a section did and found. `bad` says in words what must not have been, beside the verdict."""

    name: str
    faults: int = 0
    verdict: Verdict | None = None
    bad: list[str] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        return not self.bad and (self.verdict is None or self.verdict.sound)

    def summary(self) -> dict[str, Any]:
        """For the last line of a run."""
        found = self.verdict.summary() if self.verdict else {}
        return {
            "section": self.name,
            "faults": self.faults,
            "sound": self.sound,
            **found,
            **self.more,
            "bad": self.bad[:20],
        }

    def __str__(self) -> str:
        return "\n".join([str(self.summary()), *([str(self.verdict)] if self.verdict else [])])


@dataclass(frozen=True)
class Section:
    """How often in full, and how long one fault takes on two cores, in seconds, about."""

    run: Callable[[Path, int, random.Random, Say], Result]
    full: int
    each: float
    what: str


def each(count: int, say: Say, name: str, fault: Callable[[int], str]) -> int:
    """Inflict `count` faults, with a line for each; gives how many."""
    started = time.monotonic()
    for number in range(1, count + 1):
        told = fault(number)
        say(f"{name} {number}/{count}  {time.monotonic() - started:6.1f} s  {told}")
    return count


def registry() -> dict[str, Section]:
    """All sections by name, in the order of the plan."""
    from tests.faults import clocks, disks, flips, mixed, networks, points, power, starts

    return {
        "transactions": Section(points.transactions, 50, 7.5, "a stop inside a transaction of the repository"),
        "points": Section(points.points, 85, 5.0, "kill -9 at every named place, at each of its first five passes"),
        "calls": Section(points.calls, 300, 8.0, "kill -9 at the n-th write, sync, link or rename"),
        "disk-full": Section(disks.full, 20, 15.0, "ENOSPC from writes"),
        "disk-error": Section(disks.error, 20, 15.0, "EIO from writes and syncs"),
        "disk-read-only": Section(disks.read_only, 20, 15.0, "EROFS from writes and syncs"),
        "disk-slow": Section(disks.slow, 20, 12.0, "syncs that take 0.1 to 3 s"),
        "power": Section(power.cuts, 20, 10.0, "power cuts: of each file only what was synced is left"),
        "link-cut": Section(networks.link_cut, 100, 2.2, "the link between senders and nodes is cut"),
        "one-way": Section(networks.one_way, 100, 2.2, "one direction of the link drops everything"),
        "half-open": Section(networks.half_open, 100, 1.9, "senders are gone and the node is not told"),
        "reset": Section(networks.reset, 100, 2.0, "a reset in the middle of a frame"),
        "claims": Section(starts.claims, 1000, 0.03, "two processes claim the lease at the same moment"),
        "starts": Section(starts.starts, 20, 10.0, "two whole servers start at the same moment"),
        "clocks": Section(clocks.steps, 20, 4.0, "the wall clock of servers steps by an hour"),
        "flips-log": Section(flips.log, 1000, 0.02, "one bit of the reception log is another"),
        "mix": Section(
            mixed.mix, len(mixed.KINDS) * 10, 7.0, "one after the other of nearly all of these, on one server"
        ),
        "flips-buffer": Section(flips.buffer, 1000, 0.02, "one bit of an adapter's buffer is another"),
    }
