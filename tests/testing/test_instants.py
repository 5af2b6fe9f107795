from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentec.testing.instants import (
    LONGEST,
    SECOND,
    parse_at,
    parse_length,
    parse_start,
    show_instant,
    show_length,
)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("0s", 0),
        ("250ms", 250_000),
        ("90s", 90 * SECOND),
        ("5m", 300 * SECOND),
        ("2h", 7200 * SECOND),
        ("7d", 7 * 86_400 * SECOND),
        ("1h30m", 5400 * SECOND),
    ],
)
def test_lengths(text: str, micros: int) -> None:
    assert parse_length(text) == micros


@pytest.mark.parametrize("text", ["", "5", "5 s", "-5s", "5x", "s", "1.5s", "+5s", "5sm", "99999999999999s"])
def test_what_is_no_length(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a time; write 0s, \+30s"):
        parse_length(text)


def test_a_test_has_an_end() -> None:
    assert parse_length("36600d") == LONGEST
    with pytest.raises(ValueError, match="longer than a hundred years"):
        parse_length("36601d")
    with pytest.raises(ValueError, match="further than a hundred years"):
        parse_at("+1s", LONGEST)


def test_a_step_counts_from_the_start_or_from_the_step_before() -> None:
    assert parse_at("30s", 10 * SECOND) == 30 * SECOND
    assert parse_at("+30s", 10 * SECOND) == 40 * SECOND
    assert parse_at("10s", 10 * SECOND) == 10 * SECOND


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match=r"'9s' lies before the step above, which is at 10s; .* write \+9s"):
        parse_at("9s", 10 * SECOND)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-03-01T08:00:00Z", "2026-03-01T08:00:00Z"),
        ("2026-03-01T08:00:00+01:00", "2026-03-01T07:00:00Z"),
        ("2026-03-01T08:00:00.250Z", "2026-03-01T08:00:00.250Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ("2026-03-01 08:00 UTC", "2026-03-01T08:00:00Z"),
        ("2026-03-29 01:30 Europe/Berlin", "2026-03-29T00:30:00Z"),
        ("2026-03-29 03:00 Europe/Berlin", "2026-03-29T01:00:00Z"),
        ("2026-10-25T02:59:59+02:00", "2026-10-25T00:59:59Z"),
        ("2026-10-25 02:00+01:00", "2026-10-25T01:00:00Z"),
        ("2026-07-01 08:00:00.5 America/New_York", "2026-07-01T12:00:00.500Z"),
    ],
)
def test_starts(text: str, shown: str) -> None:
    assert show_instant(parse_start(text)) == shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("noon", "'noon' is not a time; write it as 2026-03-01T08:00:00Z"),
        ("soon Europe/Berlin", "'soon Europe/Berlin' is not a time; write it as"),
        ("2026-03-01 08:00 Europe/Berln", "no time zone 'Europe/Berln'; did you mean 'Europe/Berlin'?"),
        ("2026-03-01 08:00 Nowhere", "no time zone 'Nowhere'; zones have names such as Europe/Berlin, and UTC"),
        ("2026-03-01 08:00 a/../b", "no time zone 'a/../b'"),
        ("2026-03-01 08:00Z UTC", "has an offset and a time zone; keep one of them"),
        (
            "2026-03-29 02:30 Europe/Berlin",
            "2026-03-29 02:30:00 does not exist in Europe/Berlin: clocks go forward over it, to 2026-03-29 03:30",
        ),
        (
            "2026-10-25 02:30 Europe/Berlin",
            "is twice in Europe/Berlin: clocks go back over it; write 2026-10-25T02:30:00.02:00 or "
            "2026-10-25T02:30:00.01:00",
        ),
        ("2026-03-01T08:00:00", "has no time zone; write 2026-03-01T08:00:00Z for UTC"),
        ("1969-12-31T23:59:59Z", "is not between 1970 and 2069"),
        ("2222-01-01T00:00:00Z", "is not between 1970 and 2069"),
    ],
)
def test_what_is_no_start(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_start(text)


@given(st.integers(0, LONGEST // 1000).map(lambda millis: millis * 1000))
def test_a_length_is_shown_as_it_is_read(micros: int) -> None:
    assert parse_length(show_length(micros)) == micros


def test_a_length_before_the_start_has_its_sign() -> None:
    assert show_length(-1_500_000) == "-1s500ms"
