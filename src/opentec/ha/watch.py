"""What a standby looks at: is the holder of the lease dead, hung, or told to hand over?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from opentec.ha import marks
from opentec.ha.clock import boottime_us
from opentec.ha.epochs import EpochFile, holder_dead, newest
from opentec.ha.lease import Preset

_READY_US: Final = 500_000  # what a node that stands by needs at most to claim: it looks about twenty times a second


@dataclass(frozen=True, slots=True)
class Decision:
    """Claim now: `Lease.claim(..., expect=decision.expect)`."""

    expect: int
    reason: str  # "lock free", "no beat for 3.1 s", "no server has run here"
    holder: EpochFile | None  # the one to take over from


class Watch:
    """One standby's observation. Only this node's own clock counts, and only changes of the counter, so clocks of nodes
    need not agree. Call `decide` once per beat or more often."""

    def __init__(
        self,
        directory: Path,
        node: str,
        preset: Preset,
        *,
        trust_locks: bool = True,
        version: int | None = None,
        alone: bool = False,
        clock: Callable[[], int] = boottime_us,
    ) -> None:
        """`trust_locks` is False where flock does not work between the nodes: then death and a planned move are seen as
        a hang is.

        `version` is that of what this node would write; from a holder that wrote a higher one it does not take over.
        `alone`: this node is being started and found nobody at work, so of the epoch that it finds it does not leave
        the lease for the time to live to a node that may not run at all, but only for as long as one needs that does.
        """
        self._directory, self._node, self._preset = directory, node, preset
        self._trust_locks, self._version, self._clock = trust_locks, version, clock
        self.newer: EpochFile | None = None  # the holder that this node is too old to take over from
        self.undecided = False  # a node that starts `alone` may still become the server: it does not stand by yet
        self._alone, self._first = alone, 0  # the epoch that was found
        self._seen: tuple[int, int] | None = None
        self._since = self._looked = clock()
        self._free: tuple[int, int] | None = None  # epoch, since when its lock is free

    def decide(self) -> Decision | None:
        """Look once. Raises LeaseDirectoryError when the directory cannot be read."""
        current = newest(self._directory)
        now = self._clock()
        if current is None:
            return Decision(0, "no server has run here", None)
        away, self._looked = now - self._looked, now
        self.undecided = False
        self._first = self._first or current.number
        self.newer = current if self._version is not None and current.version > self._version else None
        if self.newer is not None:
            return None
        # who was stopped or suspended himself has not watched, so what he missed proves nothing
        if (current.number, current.counter) != self._seen or away > self._preset.ttl_us // 2:
            self._seen, self._since = (current.number, current.counter), now
        if (self._directory / f"stopped.{current.number}").exists():
            return None
        if self._trust_locks and holder_dead(current):
            return self._claim_free(current, now)
        silent = now - self._since
        if silent > self._preset.ttl_us:
            return Decision(current.number, f"no beat for {silent / 1_000_000:.1f} s", current)
        return None

    def _claim_free(self, current: EpochFile, now: int) -> Decision | None:
        if self._free is None or self._free[0] != current.number:
            self._free = (current.number, now)
        wanted = marks.switch_requested(self._directory, current.number)
        another = wanted is not None and (wanted != self._node if wanted else current.node == self._node)
        # a planned switch gives the node that was meant the time to live; if that one is dead, any will do
        starts = self._alone and current.number == self._first
        patience = min(_READY_US, self._preset.ttl_us) if starts else self._preset.ttl_us
        if another and now - self._free[1] <= patience:
            self.undecided = starts
            return None
        return Decision(current.number, "lock free", current)
