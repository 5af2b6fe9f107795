"""The event cache: which stored events rules can see, and where they are found fast.

Membership is a function of two integers F2 <= F and the event alone: cached iff `eid >= F`, or `eid >= F2` and it is
not CLOSED (spine: the rule process). So the cache is rebuilt exactly from rows, and no row is written when it cleans.
Searches go newest first (tec.md 3.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import merge
from itertools import islice, takewhile
from operator import attrgetter
from typing import Any, Final

from opentec.events.image import EventKey
from opentec.rules.event import CLOSED, Event

CLEAN_PERCENT: Final = 5  # of the cache's size, removed when it is full (tec.md 3.1)
MANY_CLASSES: Final = 12  # with more, classes are not looked up one by one, but left to the filter
FEW: Final = 64  # up to here sorting them all is cheaper than merging, even if only the first is looked at

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


_ByKey = dict[Any, _Bucket | Event]


class _Index:
    """The same events under every key that searches use. Two of them: events that are CLOSED, and all others.

    Most keys have one event: it stands there itself, and a bucket comes with the second.
    """

    __slots__ = ("all", "by_cause", "by_class", "by_dup", "by_host")

    def __init__(self) -> None:
        self.all = _Bucket()
        self.by_class: _ByKey = {}
        self.by_host: dict[Any, _ByKey] = {}  # host, then class
        self.by_dup: _ByKey = {}  # class and dup_detect values
        self.by_cause: _ByKey = {}  # date_reception and event_handle of the event that caused it

    def put(self, event: Event) -> None:
        name, host = event.shape.name, event.get("hostname")
        self.all.put(event)
        _put(self.by_class, name, event)
        of_host = self.by_host.get(host)
        if of_host is None:
            self.by_host[host] = {name: event}
        else:
            _put(of_host, name, event)
        event.dup = event.dup_key()
        _put(self.by_dup, event.dup, event)
        if event.slots.get("cause_event_handle"):
            _put(self.by_cause, cause_of(event), event)

    def remove(self, event: Event) -> None:
        eid, name, host = event.eid, event.shape.name, event.get("hostname")
        del self.all[eid]
        _take(self.by_class, name, eid)
        of_host = self.by_host[host]
        _take(of_host, name, eid)
        if not of_host:
            del self.by_host[host]
        _take(self.by_dup, event.dup, eid)
        if event.slots.get("cause_event_handle"):
            _take(self.by_cause, cause_of(event), eid)

    def of_host(self, host: Any, classes: Sequence[str] | None) -> list[_Bucket | Event]:
        """What there is of one host: of these classes, or all of it."""
        there = self.by_host.get(host)
        if there is None:
            return []
        return list(there.values()) if classes is None else [there[name] for name in classes if name in there]

    def oldest(self, count: int, before: int) -> list[Event]:
        """The oldest events, `count` at most, with an eid below `before`."""
        self.all.sort()
        return list(takewhile(lambda event: event.eid < before, islice(self.all.values(), count)))


def cause_of(event: Event) -> tuple[int, int]:
    """The date_reception and event_handle of the event that caused this one; the handle is 0 when none did."""
    return event.get("cause_date_reception") or 0, event.get("cause_event_handle") or 0


def _put(index: _ByKey, key: Any, event: Event) -> None:
    there = index.get(key)
    if there is None:
        index[key] = event
    elif type(there) is _Bucket:
        there.put(event)
    else:
        index[key] = bucket = _Bucket()
        bucket.put(there)  # type: ignore[arg-type]  # what is no bucket is an event
        bucket.put(event)


def _take(index: _ByKey, key: Any, eid: int) -> None:
    there = index[key]
    if type(there) is _Bucket:
        del there[eid]
        if there:
            return
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
        found = self._open.by_dup.get(key)
        if not open_only:
            return _newest((found, self._closed.by_dup.get(key)))
        return _reversed(found) if found is not None else ()

    def instances(self, classes: Sequence[str] | None, host: Any, open_only: bool) -> Iterable[Event]:
        """At least all events of these concrete classes (None: of any) and, unless None, this host; newest first.

        Lazy: the cache must not change while it is read.
        """
        indexes = (self._open,) if open_only else (self._open, self._closed)
        if classes is not None and len(classes) > MANY_CLASSES:
            classes = None
        if host is not None:
            return _newest([found for index in indexes for found in index.of_host(host, classes)])
        if classes is None:
            return _newest([index.all for index in indexes])
        return _newest([index.by_class.get(name) for index in indexes for name in classes])

    def effects(self, cause: tuple[int, int], open_only: bool) -> Iterable[Event]:
        """Events that name this one, by date_reception and event_handle, as their cause; newest first.

        Lazy: the cache must not change while it is read.
        """
        indexes = (self._open,) if open_only else (self._open, self._closed)
        return _newest([index.by_cause.get(cause) for index in indexes])

    def clean(self, newest: int) -> int:
        """Raise F over the oldest closed events, then F2 over the oldest others, until 5 % are gone.

        Both spare the last `size / 2` events up to the eid `newest` while there is anything else to remove: what was
        closed a moment ago is what clearing and duplicate rules look for. Gives the number of events that left.
        """
        before = len(self)
        wanted = max(1, self.size * CLEAN_PERCENT // 100, before - self.size)
        spared = newest - self.size // 2
        closed = self._closed.oldest(wanted, spared)
        if closed:
            self.f = closed[-1].eid + 1
        others = self._open.oldest(wanted - len(closed), spared)
        if others:
            self.f2 = others[-1].eid + 1
            self.f = max(self.f, self.f2)
        leaving = [*closed, *others]
        if len(leaving) < wanted:
            leaving = self.events()[:wanted]
            self.f = self.f2 = leaving[-1].eid + 1
        for event in leaving:
            self.remove(event)
        return len(leaving)


def _newest(found: Sequence[_Bucket | Event | None]) -> Iterable[Event]:
    present = [there for there in found if there]
    if len(present) == 1:
        return _reversed(present[0])
    if not present:
        return ()
    if sum([len(there) if type(there) is _Bucket else 1 for there in present]) > FEW:
        return merge(*map(_reversed, present), key=_eid, reverse=True)
    events: list[Event] = []
    for there in present:
        events.extend(_reversed(there))
    events.sort(key=_eid, reverse=True)
    return events


def _reversed(there: _Bucket | Event) -> Iterable[Event]:
    if type(there) is not _Bucket:
        return (there,)  # type: ignore[return-value]  # what is no bucket is an event
    if not there.ordered:
        there.sort()
    return reversed(there.values())
