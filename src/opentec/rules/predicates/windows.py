"""How often something happened within a time, by key: what thresholds and simple rules count with.

Every key has one value in the store. It has an end, behind which it is worth nothing and read as if it were not there;
so those that ended can be removed at any time. A few are with every event, oldest end first: keys that a storm left
behind go as fast as new ones come, and which ones go depends on the state alone.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Any, Final

from opentec.rules.evaluation import MICROSECONDS, Evaluation
from opentec.rules.event import Event
from opentec.rules.store import Store

SLIDING_LIMIT: Final = 1_000  # times that one sliding window keeps
KEY_LIMIT: Final = 200_000  # keys in all; with more, the one whose end is nearest is forgotten
LONGEST: Final = 10 * 366 * 86_400  # seconds of a window
_SECTION: Final = "window"
_REMOVED: Final = 4  # ended keys that leave with each event
# a value is [mark, end, event, answer, quiet until, missed, start, count] or, sliding, [..., times]
_MARK, _END, _EVENT, _ANSWER, _QUIET, _MISSED, _WINDOW = range(7)


class Windows:
    """All windows: a view of the store that knows which ends first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: list[tuple[int, str]] = [(value[_END], key) for key, value in store.section(_SECTION).items()]
        heapify(self._queue)
        # the entry of the queue that stands for a key; its time is never behind the key's end
        self._queued: dict[str, int] = {key: end for end, key in self._queue}

    def __len__(self) -> int:
        return len(self._store.section(_SECTION))

    def count(self, run: Evaluation, key: str, event: Event, rate: Rate) -> int:
        """Count the event under the key. Gives 0, or how many events there were when the rate is reached.

        Then the key begins anew. The same event counts once: asked again, the answer is the same.
        """
        now = run.now
        old = self._store.get(_SECTION, key)
        if old is not None and (old[_END] < now or old[_MARK] != rate.mark):
            old = None
        if old is not None and old[_EVENT] == event.eid:
            answer: int = old[_ANSWER]
            return answer
        self._remove(now)
        value = rate.count(old, now, event.eid)
        self._put(key, value)
        return int(value[_ANSWER])

    def forget(self, key: str) -> None:
        """Let a key begin anew."""
        self._store.put(_SECTION, key, None)

    def _put(self, key: str, value: list[Any]) -> None:
        self._store.put(_SECTION, key, value)
        end, queued = value[_END], self._queued.get(key)
        if queued is None or end < queued:
            heappush(self._queue, (end, key))
            self._queued[key] = end

    def _remove(self, now: int) -> None:
        queue, queued, section = self._queue, self._queued, self._store.section(_SECTION)
        left = _REMOVED
        while left and queue and (queue[0][0] < now or len(section) >= KEY_LIMIT):
            end, key = heappop(queue)
            if queued.get(key) != end:
                continue
            del queued[key]
            value = section.get(key)
            if value is None:
                continue
            if value[_END] > end:
                # it was counted on since it was queued
                heappush(queue, (value[_END], key))
                queued[key] = value[_END]
                continue
            self._store.put(_SECTION, key, None)
            left -= 1


class Rate:
    """How a key counts: `number` events within `seconds`, then nothing for `quiet` seconds.

    A fixed window opens with the first event and ends after the seconds; a sliding one reaches back from each event.
    `mark` tells values apart that were counted under another definition.
    """

    __slots__ = ("mark", "number", "quiet", "sliding", "span")

    def __init__(self, mark: str, number: int, seconds: int, *, sliding: bool, quiet: int = 0) -> None:
        self.mark = mark
        self.number = number
        self.span = seconds * MICROSECONDS
        self.sliding = sliding
        self.quiet = quiet * MICROSECONDS

    def count(self, old: list[Any] | None, now: int, eid: int) -> list[Any]:
        """The value of a key after one more event; `old` is None for the first."""
        until, missed = (old[_QUIET], old[_MISSED]) if old is not None else (0, 0)
        if old is not None and now < until:
            return [self.mark, until + self.span, eid, 0, until, missed + 1, *self._empty()]
        window = self._slide(old, now) if self.sliding else self._fixed(old, now)
        if (len(window[0]) if self.sliding else window[1]) >= self.number:
            until = now + self.quiet
            return [self.mark, until + self.span, eid, self.number + missed, until, 0, *self._empty()]
        end = (now if self.sliding else window[0]) + self.span
        return [self.mark, end, eid, 0, until, missed, *window]

    def _empty(self) -> list[Any]:
        return [[]] if self.sliding else [0, 0]

    def _slide(self, old: list[Any] | None, now: int) -> list[Any]:
        oldest = now - self.span
        return [[*[time for time in old[_WINDOW] if time >= oldest], now] if old is not None else [now]]

    def _fixed(self, old: list[Any] | None, now: int) -> list[Any]:
        start, count = (old[_WINDOW], old[_WINDOW + 1]) if old is not None else (now, 0)
        return [start, count + 1] if count and now - start <= self.span else [now, 1]
