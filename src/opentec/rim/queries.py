"""What the repository is asked: the committed position, priming, and the rows behind `tec list`, `why`, `wtdumper`.

Every query runs on the connection that only reads and gives at most PAGE rows, so that no dump holds up ingest.
"""

from __future__ import annotations

import difflib
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from opentec.events.image import EventKey, EventRow, key_name
from opentec.events.records import Disposition
from opentec.rim.batch import OutcomeRow, TimerRow
from opentec.rim.driver import Driver
from opentec.rim.schema import EVENT_COLUMNS

PAGE: Final = 1000
STATE_BYTES: Final = 16 << 20  # of one page of the rule state

_EVENTS: Final = f"SELECT {EVENT_COLUMNS} FROM event"  # noqa: S608
_OUTCOMES: Final = "SELECT position, disposition, eid, date_reception, event_handle, reason, rules FROM outcome"
_BY_KEY: Final = "date_reception = ? AND event_handle = ? AND server_handle = ?"


class EventFilter(msgspec.Struct, frozen=True):
    """Which events a query wants; what is None is not asked about. Times are seconds since 1970, UTC."""

    classes: tuple[str, ...] | None = None  # exactly these; who wants subclasses names them
    statuses: tuple[str, ...] | None = None
    severity: str | None = None  # this one or a higher
    hostname: str | None = None
    since: int | None = None  # received at this time or later
    until: int | None = None  # received before this time


class Counts(msgspec.Struct):
    """A summary of the repository."""

    events: int
    dispositions: dict[Disposition, int]  # of the outcomes that are still kept
    classes: dict[str, dict[str, int]]  # class -> status -> events
    timers: int
    outbox: dict[str, int]  # status -> programs


class Queries:
    """The reading half of a repository."""

    _driver: Driver

    async def position(self) -> int:
        """The committed log position."""
        return int((await self._driver.read("SELECT position FROM repository WHERE id = 1"))[0][0])

    async def epoch(self) -> int:
        """The epoch that may write; 0 when none has claimed yet."""
        return int((await self._driver.read("SELECT epoch FROM repository WHERE id = 1"))[0][0])

    async def cached_events(self, f2: int, f: int, after_eid: int = 0, limit: int = PAGE) -> list[EventRow]:
        """One page of the event cache (spine: the rule process): eid >= f, or eid >= f2 and not CLOSED; by eid.

        The next page begins after the last row's eid; an empty page is the end.
        """
        return await self._driver.read(
            f"{_EVENTS} WHERE eid > ? AND eid >= ? AND (eid >= ? OR status <> 'CLOSED') ORDER BY eid LIMIT ?",
            (after_eid, min(f2, f), f, _page(limit)),
        )

    async def timers(self, after_id: int = 0, limit: int = PAGE) -> list[TimerRow]:
        """One page of the pending timers, by id; the next page begins after the last one's id."""
        rows = await self._driver.read(
            "SELECT id, due, eid, data FROM timer WHERE id > ? ORDER BY id LIMIT ?", (after_id, _page(limit))
        )
        return [TimerRow(*row) for row in rows]

    async def rule_state(self, after: str = "", limit: int = PAGE) -> dict[str, Any]:
        """One page of the rule state by key, as it was given in batches, in the order of the keys.

        The next page begins after the last key; an empty page is the end. Values of more than STATE_BYTES together
        are more than one page.
        """
        rows = await self._driver.read(
            "SELECT key, value FROM rule_state WHERE key > ? ORDER BY key LIMIT ?", (after, _page(limit))
        )
        page: dict[str, Any] = {}
        size = 0
        for key, value in rows:
            size += len(key) + len(value)
            if page and size > STATE_BYTES:
                break
            page[key] = msgspec.msgpack.decode(value)
        return page

    async def rule_value(self, key: str) -> Any:
        """One value of the rule state; None when there is none."""
        rows = await self._driver.read("SELECT value FROM rule_state WHERE key = ?", (key,))
        return msgspec.msgpack.decode(rows[0][0]) if rows else None

    async def event_by_key(self, key: EventKey) -> EventRow | None:
        """The event that a key names."""
        rows = await self._driver.read(f"{_EVENTS} WHERE {_BY_KEY}", key)
        return rows[0] if rows else None

    async def event_row(self, eid: int) -> EventRow | None:
        """The event with this eid."""
        rows = await self._driver.read(f"{_EVENTS} WHERE eid = ?", (eid,))
        return rows[0] if rows else None

    async def list_events(
        self, wanted: EventFilter | None = None, *, before_eid: int | None = None, limit: int = PAGE
    ) -> list[EventRow]:
        """One page of events, newest first; the next page is asked with `before_eid` = the last row's eid.

        Raises ValueError when the filter's severity is none of the repository's, with the nearest that is.
        """
        where, values = await self._where(wanted)
        if before_eid is not None:
            where, values = [*where, "eid < ?"], [*values, before_eid]
        clause = f" WHERE {' AND '.join(where)}" if where else ""
        return await self._driver.read(f"{_EVENTS}{clause} ORDER BY eid DESC LIMIT ?", (*values, _page(limit)))

    async def dump_events(self, wanted: EventFilter | None = None) -> AsyncIterator[list[EventRow]]:
        """All events in pages, oldest first (wtdumper). Each page is a query of its own: changes meanwhile may show."""
        where, values = await self._where(wanted)
        clause = " AND ".join([*where, "eid > ?"])
        last = -1
        while page := await self._driver.read(f"{_EVENTS} WHERE {clause} ORDER BY eid LIMIT ?", (*values, last, PAGE)):
            yield page
            last = page[-1][0]

    async def outcome(self, position: int) -> OutcomeRow | None:
        """How a log position ended; None while it is not committed, has no outcome of its own, or was pruned."""
        rows = await self._driver.read(f"{_OUTCOMES} WHERE position = ?", (position,))
        return OutcomeRow(*rows[0]) if rows else None

    async def outcomes(self, first: int, end: int, limit: int = PAGE) -> list[OutcomeRow]:
        """One page of the outcomes of first <= position < end, in order; the next begins behind the last position."""
        rows = await self._driver.read(
            f"{_OUTCOMES} WHERE position >= ? AND position < ? ORDER BY position LIMIT ?", (first, end, _page(limit))
        )
        return [OutcomeRow(*row) for row in rows]

    async def outcome_of_event(self, key: EventKey) -> OutcomeRow | None:
        """The outcome of the record that made the event `key`, stored or not.

        A derived event has the outcome of the record it was derived from, whose `eid` is then another.
        """
        rows = (
            await self._driver.read(
                f"{_OUTCOMES} WHERE position = (SELECT position FROM event WHERE {_BY_KEY})",  # noqa: S608
                key,
            )
            or await self._driver.read(
                f"{_OUTCOMES} WHERE disposition <> 1 AND event_handle > 0 AND date_reception = ? AND event_handle = ?",
                key[:2],
            )
        )
        return OutcomeRow(*rows[0]) if rows else None

    async def later_outcomes(self, key: EventKey, position: int, limit: int = 10) -> list[OutcomeRow]:
        """Outcomes behind `position` whose rules name this event, or that are changes of it; newest first.

        It looks through the outcomes that are kept: for people who ask about one event.
        """
        # as a word of a sentence, or as a text of its own; a key is digits and a point
        named = f'*[ "]{key_name(key)}[ ":;,]*'
        rows = await self._driver.read(
            f"{_OUTCOMES} WHERE position > ? AND ((date_reception = ? AND event_handle = ?) OR rules GLOB ?) "
            "ORDER BY position DESC LIMIT ?",
            (position, *key[:2], named, _page(limit)),
        )
        return [OutcomeRow(*row) for row in rows]

    async def counts(self) -> Counts:
        """A summary. It reads the whole of the event and outcome tables: for people, not for every second."""
        ended = await self._driver.read("SELECT disposition, count(*) FROM outcome GROUP BY disposition")
        classes: dict[str, dict[str, int]] = {}
        total = 0
        for name, status, number in await self._driver.read(
            'SELECT "class", status, count(*) FROM event GROUP BY "class", status ORDER BY "class", status'
        ):
            classes.setdefault(name, {})[status] = number
            total += number
        timers = await self._driver.read("SELECT count(*) FROM timer")
        outbox = await self._driver.read("SELECT status, count(*) FROM outbox GROUP BY status")
        return Counts(
            events=total,
            dispositions={Disposition(kind): number for kind, number in ended},
            classes=classes,
            timers=int(timers[0][0]),
            outbox=dict(outbox),
        )

    async def integrity_check(self) -> list[str]:
        """What the database finds wrong with itself, one sentence each; empty when it is sound. Reads everything."""
        return await self._driver.integrity_check()

    async def _where(self, wanted: EventFilter | None) -> tuple[list[str], list[Any]]:
        if wanted is None:
            return [], []
        where: list[str] = []
        values: list[Any] = []
        severities = None if wanted.severity is None else await self._at_least(wanted.severity)
        for column, among in (("class", wanted.classes), ("status", wanted.statuses), ("severity", severities)):
            if among is not None:
                where.append(f'"{column}" IN ({", ".join("?" * len(among))})')
                values.extend(among)
        for test, value in (
            ("hostname = ?", wanted.hostname),
            ("date_reception >= ?", wanted.since),
            ("date_reception < ?", wanted.until),
        ):
            if value is not None:
                where.append(test)
                values.append(value)
        return where, values

    async def _at_least(self, severity: str) -> tuple[str, ...]:
        numbers: dict[str, int] = dict(await self._driver.read("SELECT name, number FROM severity ORDER BY number"))
        if severity not in numbers:
            near = difflib.get_close_matches(severity.upper(), numbers, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(numbers)}"
            raise ValueError(f"{severity!r} is not a severity; {hint}")
        return tuple(name for name, number in numbers.items() if number >= numbers[severity])


def _page(limit: int) -> int:
    return max(0, min(limit, PAGE))
