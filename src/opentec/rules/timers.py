"""Pending timers, in the order in which they fire, with the events that they hold alive."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Final

from opentec.events.image import EventKey
from opentec.rules.effects import Timer
from opentec.rules.event import Event

_SLACK: Final = 64  # cancelled timers that the heap may hold beyond half its size


class TimerTable:
    """Timers by id, by event and by (due, id). An event with a timer stays known here when the cache lets it go."""

    def __init__(self) -> None:
        self._timers: dict[int, Timer] = {}
        self._heap: list[tuple[int, int]] = []
        self._by_eid: dict[int, dict[int, None]] = {}
        self._events: dict[int, Event] = {}
        self._by_key: dict[EventKey, Event] = {}

    def __len__(self) -> int:
        return len(self._timers)

    def __iter__(self) -> Iterator[Timer]:
        return iter(self._timers.values())

    def events(self) -> list[Event]:
        return list(self._events.values())

    def find(self, key: EventKey) -> Event | None:
        """The event of that key, if a timer waits for it."""
        return self._by_key.get(key)

    def set(self, timer: Timer, event: Event) -> None:
        self._timers[timer.id] = timer
        heappush(self._heap, (timer.due, timer.id))
        self._by_eid.setdefault(timer.eid, {})[timer.id] = None
        self._events[timer.eid] = event
        self._by_key[event.key] = event

    def of_event(self, event: Event) -> list[Timer]:
        """The event's timers in the order in which they were set."""
        return [self._timers[id_] for id_ in self._by_eid.get(event.eid, ())]

    def cancel(self, timer: Timer) -> None:
        """Forget a pending timer."""
        self._forget(timer)
        if len(self._heap) > 2 * len(self._timers) + _SLACK:
            self._heap = [(pending.due, pending.id) for pending in self._timers.values()]
            heapify(self._heap)

    def next_due(self) -> int | None:
        """Microseconds of log time of the first timer, or None."""
        while self._heap and self._heap[0][1] not in self._timers:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, time: int) -> tuple[Timer, Event] | None:
        """Take out the first timer that is due at or before `time`."""
        due = self.next_due()
        if due is None or due > time:
            return None
        timer = self._timers[heappop(self._heap)[1]]
        event = self._events[timer.eid]
        self._forget(timer)
        return timer, event

    def _forget(self, timer: Timer) -> None:
        del self._timers[timer.id]
        mine = self._by_eid[timer.eid]
        del mine[timer.id]
        if not mine:
            del self._by_eid[timer.eid]
            del self._by_key[self._events.pop(timer.eid).key]
