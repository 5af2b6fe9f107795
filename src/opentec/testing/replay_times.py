"""Log time of recorded lines and of records that say no time of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from typing import Final, TypeVar

from opentec.testing.instants import LONGEST, SECOND

LOOKED_AT: Final = 1000  # records among which one with a time is looked for
WITHOUT_YEAR: Final = 2000  # the year in which records begin that say no time at all, unless another one is given
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_SYSLOG: Final = re.compile(r"([A-Za-z]{3})[ \t]+(\d{1,2})[ \t]+(\d{1,2}):(\d{2}):(\d{2})", re.ASCII)
_HALF: Final = 6  # months: the year has changed where the month jumps by more
Item = TypeVar("Item")


class YearMissing(ValueError):
    """A time as syslog writes it says no year, and none was given."""


class LineTimes:
    """Reads the times of one file, in the order of its lines."""

    def __init__(self, year: int | None = None, zone: tzinfo = UTC) -> None:
        """`year` is that of the first line, `zone` that of times that name none."""
        self._year, self._zone = year, zone
        self._month = 0  # of the line before
        self._last: tuple[str, int | None] = ("", None)

    def read(self, text: str) -> int | None:
        """Microseconds since 1970 of a time as a format's %t finds it; None where it is no time that can be.

        Raises YearMissing.
        """
        if text == self._last[0]:
            return self._last[1]
        found = _SYSLOG.fullmatch(text)
        try:
            when = self._syslog(*found.groups()) if found else datetime.fromisoformat(text)
        except YearMissing:
            raise
        except ValueError:
            return None
        if when.tzinfo is None:
            when = when.replace(tzinfo=self._zone)
        micros = (when - _EPOCH) // _MICROSECOND
        self._last = text, micros if 0 <= micros <= LONGEST else None
        return self._last[1]

    def _syslog(self, month_name: str, day: str, hour: str, minute: str, second: str) -> datetime:
        month = _MONTHS.index(month_name.lower()) + 1
        if self._year is None:
            raise YearMissing(f"the time '{month_name} {day} {hour}:{minute}:{second}' says no year")
        year = self._year
        if self._month and month < self._month - _HALF:
            year += 1
        elif self._month and month > self._month + _HALF:
            year -= 1  # a line of the old year behind those of the new one
        when = datetime(year, month, int(day), int(hour), int(minute), int(second))
        if year >= self._year:
            self._year, self._month = year, month
        return when


def in_order(items: Iterable[tuple[int | None, Item]], year: int | None = None) -> Iterator[tuple[int, Item]]:
    """Each item with its log time, in place of the time that it says, or None; log time never goes back.

    One without a time has that of the one before it, or, at the beginning, of the first that has any. Where none of
    the first LOOKED_AT has one, they are a second apart, from the first of January of `year` on.
    """
    rest = iter(items)
    begin = list(islice(rest, LOOKED_AT))
    known = [time for time, _ in begin if time is not None]
    start = (datetime(year or WITHOUT_YEAR, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
    step, now = (0, known[0]) if known else (SECOND, start - SECOND)
    for source in (begin, rest):
        for time, item in source:
            if time is None:
                now += step
            else:
                step = 0
                now = max(now, time)
            yield now, item
