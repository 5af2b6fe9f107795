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
        self._values = store.section(_SECTION)
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
        now, eid, queue = run.now, event.eid, self._queue
        old = self._values.get(key)
        if old is not None:
            if old[_END] < now or old[_MARK] != rate.mark:
                old = None
            elif old[_EVENT] == eid:
                answer: int = old[_ANSWER]
                return answer
        # every key has an entry in the queue, and some have more
        if queue and (queue[0][0] < now or len(queue) >= KEY_LIMIT):
            self._remove(now)
        value = rate.count(old, now, eid)
        self._store.put(_SECTION, key, value)
        if not self._values:
            self._values = self._store.section(_SECTION)  # the first one made it
        end, queued = value[_END], self._queued.get(key)
        if queued is None or end < queued:
            heappush(queue, (end, key))
            self._queued[key] = end
        return value[_ANSWER]  # type: ignore[no-any-return]

    def forget(self, key: str) -> None:
        """Let a key begin anew."""
        self._store.put(_SECTION, key, None)

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
        until = missed = 0
        if old is not None:
            until, missed = old[_QUIET], old[_MISSED]
            if now < until:
                return [self.mark, until + self.span, eid, 0, until, missed + 1, *self._empty()]
        if self.sliding:
            times = [now]
            if old is not None:
                oldest, kept = now - self.span, old[_WINDOW]
                if kept and kept[0] < oldest:
                    kept = [time for time in kept if time >= oldest]
                times = [*kept, now]
            if len(times) < self.number:
                return [self.mark, now + self.span, eid, 0, until, missed, times]
        else:
            start, count = (now, 1) if old is None else (old[_WINDOW], old[_WINDOW + 1] + 1)
            if count == 1 or now - start > self.span:
                start, count = now, 1
            if count < self.number:
                return [self.mark, start + self.span, eid, 0, until, missed, start, count]
        until = now + self.quiet
        return [self.mark, until + self.span, eid, self.number + missed, until, 0, *self._empty()]

    def _empty(self) -> list[Any]:
        return [[]] if self.sliding else [0, 0]
