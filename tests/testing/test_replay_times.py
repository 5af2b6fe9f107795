"""Log time of lines: from their own times where they have any, and never backwards."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import repeat
from zoneinfo import ZoneInfo

import pytest

from opentec.testing.instants import show_instant
from opentec.testing.replay_times import LOOKED_AT, LineTimes, YearMissing, in_order

T = 1_772_352_000_000_000  # 2026-03-01T08:00:00Z
S = 1_000_000


def shown(times: LineTimes, *texts: str) -> list[str | None]:
    found = [times.read(text) for text in texts]
    return [None if time is None else show_instant(time) for time in found]


def test_times_of_syslog_take_the_year_that_is_given() -> None:
    assert shown(LineTimes(2026), "Mar  1 08:00:00", "mar 01 08:00:01", "Mar  1 08:00:01") == [
        "2026-03-01T08:00:00Z",
        "2026-03-01T08:00:01Z",
        "2026-03-01T08:00:01Z",
    ]
    with pytest.raises(YearMissing, match="'Mar 1 08:00:00' says no year"):
        LineTimes().read("Mar  1 08:00:00")


def test_the_year_changes_at_new_year() -> None:
    times = LineTimes(2025)
    assert shown(times, "Dec 31 23:59:59", "Jan  1 00:00:00", "Dec 31 23:59:58", "Feb  2 00:00:00") == [
        "2025-12-31T23:59:59Z",
        "2026-01-01T00:00:00Z",
        "2025-12-31T23:59:58Z",
        "2026-02-02T00:00:00Z",
    ]


def test_iso_times_say_their_year_and_may_say_their_zone() -> None:
    berlin = LineTimes(zone=ZoneInfo("Europe/Berlin"))
    assert shown(berlin, "2026-03-01T08:00:00", "2026-07-01 08:00:00,25", "2026-03-01T08:00:00.5-0500") == [
        "2026-03-01T07:00:00Z",
        "2026-07-01T06:00:00.250Z",
        "2026-03-01T13:00:00.500Z",
    ]
    assert shown(LineTimes(2026, ZoneInfo("America/New_York")), "Mar  1 08:00:00") == ["2026-03-01T13:00:00Z"]


def test_what_no_time_can_be_is_none() -> None:
    wrong = ("Foo  1 08:00:00", "Feb 29 08:00:00", "Mar  1 25:00:00", "2026-02-30T00:00:00Z", "x")
    assert shown(LineTimes(2026), *wrong, "1969-12-31T00:00:00Z", "2999-01-01T00:00:00Z") == [None] * 7


def test_log_time_never_goes_back() -> None:
    items = [(T, "a"), (T - S, "b"), (None, "c"), (T + S, "d"), (None, "e")]
    assert list(in_order(items)) == [(T, "a"), (T, "b"), (T, "c"), (T + S, "d"), (T + S, "e")]


def test_what_stands_before_the_first_time_has_that_time() -> None:
    assert [time for time, _ in in_order([(None, 1), (None, 2), (T, 3), (None, 4)])] == [T] * 4


def test_without_any_time_everything_is_a_second_apart() -> None:
    at = round(datetime(2030, 1, 1, tzinfo=UTC).timestamp()) * S
    assert [time for time, _ in in_order([(None, 1), (None, 2), (None, 3)], 2030)] == [at, at + S, at + 2 * S]
    (first, _), *_ = in_order([(None, 1)])
    assert show_instant(first) == "2000-01-01T00:00:00Z"
    assert list(in_order([])) == []


def test_a_time_that_comes_late_holds_from_there_on() -> None:
    items = [*zip(repeat(None, LOOKED_AT), range(LOOKED_AT), strict=True), (T, "late"), (None, "last")]
    *_, before, late, last = [time for time, _ in in_order(items)]
    assert (late, last) == (T, T)
    assert show_instant(before) == "2000-01-01T00:16:39Z"
