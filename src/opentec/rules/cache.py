"""The event cache: which stored events rules can see, and where they are found fast.

Membership is a function of two integers F2 <= F and the event alone: cached iff `eid >= F`, or `eid >= F2` and it is
not CLOSED (spine: the rule process). So the cache is rebuilt exactly from rows, and no row is written when it cleans.
Searches go newest first (tec.md 3.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import Any, Final

from opentec.events.image import EventKey
from opentec.rules.event import CLOSED, Event

CLEAN_PERCENT: Final = 5  # of the cache's size, removed when it is full (tec.md 3.1)
MANY_CLASSES: Final = 12  # from here on one pass over everything is cheaper than merging the classes

_eid: Final = attrgetter("eid")


class _Bucket(dict[int, Event]):
    """Events by eid, in ascending order unless `ordered` says otherwise."""

    __slots__ = ("last", "ordered")

    def __init__(self) -> None:
        self.last = -1
        self.ordered = True

    def put(self, event: Event) -> None:
        eid = event.eid
        if eid < self.last:
            self.ordered = False
        else:
            self.last = eid
        self[eid] = event

    def sort(self) -> None:
        # events that were closed or opened again come out of turn: put right when someone looks
        if not self.ordered:
            events = sorted(self.values(), key=_eid)
            self.clear()
            for event in events:
                self[event.eid] = event
            self.ordered = True


class _Index:
    """The same events under every key that searches use. Two of them: events that are CLOSED, and all others."""

    __slots__ = ("all", "by_class", "by_dup", "by_host")

    def __init__(self) -> None:
        self.all = _Bucket()
        # three kinds of key, each in its own index: class; class and host; class and dup_detect values
        self.by_class: dict[Any, _Bucket] = {}
        self.by_host: dict[Any, _Bucket] = {}
        self.by_dup: dict[Any, _Bucket] = {}

    def put(self, event: Event) -> None:
        self.all.put(event)
        name = event.shape.name
        for index, key in (
            (self.by_class, name),
            (self.by_host, (name, event.get("hostname"))),
            (self.by_dup, event.dup_key()),
        ):
            bucket = index.get(key)
            if bucket is None:
                bucket = index[key] = _Bucket()
            bucket.put(event)

    def remove(self, event: Event) -> None:
        del self.all[event.eid]
        name = event.shape.name
        for index, key in (
            (self.by_class, name),
            (self.by_host, (name, event.get("hostname"))),
            (self.by_dup, event.dup_key()),
        ):
            bucket = index[key]
            del bucket[event.eid]
            if not bucket:
                del index[key]


class EventCache:
    """Stored events, newest first. `size` is the number of events that it holds before it cleans."""

    def __init__(self, size: int, f2: int = 0, f: int = 0) -> None:
        self.size = size
        self.f2 = f2
        self.f = f
        self._open = _Index()
        self._closed = _Index()
        self._by_key: dict[EventKey, Event] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def __contains__(self, event: Event) -> bool:
        return event.eid in self._open.all or event.eid in self._closed.all

    def events(self) -> list[Event]:
        """All cached events, oldest first."""
        return sorted([*self._open.all.values(), *self._closed.all.values()], key=_eid)

    def belongs(self, event: Event) -> bool:
        """Whether F2 and F make this event a member."""
        return event.eid >= self.f or (event.eid >= self.f2 and event.get("status") != CLOSED)

    def add(self, event: Event) -> None:
        """Take an event in, if it belongs here."""
        status = event.get("status")
        if event.eid >= self.f or (event.eid >= self.f2 and status != CLOSED):
            (self._closed if status == CLOSED else self._open).put(event)
            self._by_key[event.key] = event

    def remove(self, event: Event) -> bool:
        """Take an event out, by the slots that it had when it was added; False if it was not cached."""
        index = self._open
        if event.eid not in index.all:
            index = self._closed
            if event.eid not in index.all:
                return False
        index.remove(event)
        del self._by_key[event.key]
        return True

    def find(self, key: EventKey) -> Event | None:
        return self._by_key.get(key)

    def duplicates(self, event: Event, open_only: bool) -> Iterable[Event]:
        """Events with the class and the dup_detect values of `event`, newest first, itself included.

        Lazy: the cache must not change while it is read.
        """
        key = event.dup_key()
        buckets = [self._open.by_dup.get(key)]
        if not open_only:
            buckets.append(self._closed.by_dup.get(key))
        return _newest(buckets)

    def instances(self, classes: Sequence[str] | None, host: Any, open_only: bool) -> Iterable[Event]:
        """At least all events of these concrete classes (None: of any) and, unless None, this host; newest first.

        Lazy: the cache must not change while it is read.
        """
        indexes = (self._open,) if open_only else (self._open, self._closed)
        if classes is None or len(classes) > MANY_CLASSES:
            return _newest([index.all for index in indexes])
        if host is None:
            return _newest([index.by_class.get(name) for index in indexes for name in classes])
        return _newest([index.by_host.get((name, host)) for index in indexes for name in classes])

    def clean(self) -> int:
        """Raise F over the oldest closed events, then F2 over the oldest others, until 5 % are gone.

        Gives the number of events that left.
        """
        wanted = max(1, self.size * CLEAN_PERCENT // 100, len(self) - self.size)
        closed = _oldest(self._closed, wanted)
        if closed:
            self.f = closed[-1].eid + 1
        others = _oldest(self._open, wanted - len(closed))
        if others:
            self.f2 = others[-1].eid + 1
            self.f = max(self.f, self.f2)
        leaving = [*closed, *others]
        for event in leaving:
            self.remove(event)
        return len(leaving)


def _oldest(index: _Index, count: int) -> list[Event]:
    index.all.sort()
    return list(islice(index.all.values(), count))


def _newest(buckets: Sequence[_Bucket | None]) -> Iterable[Event]:
    found = [bucket for bucket in buckets if bucket]
    if not found:
        return ()
    for bucket in found:
        if not bucket.ordered:
            bucket.sort()
    if len(found) == 1:
        return reversed(found[0].values())
    return merge(*[reversed(bucket.values()) for bucket in found], key=_eid, reverse=True)
