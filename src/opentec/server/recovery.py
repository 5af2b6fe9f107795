"""How a takeover's recovery goes: what the epoch before left in the log is replayed, and the shared page says how far.

The words belong to the rule process; they outlive it, so a successor goes on counting.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from opentec.events.records import Record
from opentec.log.store import LogStore
from opentec.server.progress import Progress, Word, boot_us
from opentec.server.report import recovery

_log = logging.getLogger("rule")
_TELL_US: Final = 1_000_000  # microseconds between two lines of the log


class Recovery:
    """Counts what is replayed, and says so in the log once a second."""

    def __init__(self, progress: Progress, log: LogStore, clock: Callable[[], int] = boot_us) -> None:
        self._progress, self._store, self._clock = progress, log, clock
        self._told = clock()

    @property
    def active(self) -> bool:
        """Is there something to replay, and not all of it done?"""
        return bool(self._progress[Word.REPLAY_BYTES]) and not self._progress[Word.REPLAY_ENDED]

    def begin(self, position: int, end: int) -> None:
        """The rule process begins at `position`; what lies before `end` was left behind by whoever worked before."""
        progress = self._progress
        if progress[Word.RECOVERED] or progress[Word.REPLAY_ENDED]:
            return
        if not progress[Word.REPLAY_BYTES]:
            progress[Word.REPLAY_END] = end
            progress[Word.REPLAY_SINCE] = self._clock()
            progress[Word.REPLAY_BYTES] = self._store.bytes_between(position, end)
            if progress[Word.REPLAY_BYTES]:
                _log.info("recovery: %.1f MB of the log to replay", progress[Word.REPLAY_BYTES] / 1e6)
            return
        # an earlier rule process had begun: what it had not committed is replayed again
        left = self._store.bytes_between(position, progress[Word.REPLAY_END])
        done, before = progress[Word.REPLAY_BYTES] - left, progress[Word.REPLAYED_BYTES]
        progress[Word.REPLAYED] = round(progress[Word.REPLAYED] * done / before) if before else 0
        progress[Word.REPLAYED_BYTES] = done

    def count(self, records: Sequence[Record]) -> None:
        """These were processed."""
        progress, end = self._progress, self._progress[Word.REPLAY_END]
        mine = [record for record in records if record.position < end]
        progress[Word.REPLAYED] += len(mine)
        progress[Word.REPLAYED_BYTES] += sum(record.after - record.position for record in mine)
        if self._clock() - self._told >= _TELL_US:
            self._told = self._clock()
            self._tell("recovery")

    def look(self) -> None:
        """Is all of it committed?"""
        if self.active and self._progress[Word.COMMITTED] >= self._progress[Word.REPLAY_END]:
            self._progress[Word.REPLAY_ENDED] = self._clock()
            self._tell("recovered")

    def _tell(self, what: str) -> None:
        state = recovery(self._progress, self._clock)
        assert state is not None
        _log.info(
            "%s: %d records replayed in %.1f s (%d a second), about %s to go",
            what,
            state["records"],
            state["seconds"],
            state["rate"],
            state["to_go"],
        )
