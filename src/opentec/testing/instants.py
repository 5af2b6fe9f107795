"""Times of a specification: lengths such as `1h30m`, steps such as `+5m`, starts with a zone. All in microseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

SECOND: Final = 1_000_000
LONGEST: Final = 100 * 366 * 86_400 * SECOND  # a test is not longer than this
_UNITS: Final = {"ms": 1000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND, "d": 86_400 * SECOND}
_PIECE: Final = re.compile(r"(\d{1,12})(ms|s|m|h|d)")
_LENGTH: Final = re.compile(rf"(?:{_PIECE.pattern})+")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FORMS: Final = "write 0s, +30s, +5m or 2h; units are ms, s, m, h and d, and may be joined as in 1h30m"


def parse_length(text: str) -> int:
    """Microseconds of `90s`, `1h30m`, `250ms`. Raises ValueError with the forms that are known."""
    if not _LENGTH.fullmatch(text):
        raise ValueError(f"{text!r} is not a time; {FORMS}")
    length = sum(int(number) * _UNITS[unit] for number, unit in _PIECE.findall(text))
    if length > LONGEST:
        raise ValueError(f"{text!r} is longer than a hundred years, the most a test may last")
    return length


def parse_at(text: str, before: int) -> int:
    """The instant of a step, in microseconds from the start of its test.

    `+30s` counts from `before`, the step before it; `30s` from the start. Raises ValueError, also where time would
    run backwards.
    """
    if text.startswith("+"):
        at = before + parse_length(text[1:])
        if at > LONGEST:
            raise ValueError(f"{text!r} leads further than a hundred years from the start")
        return at
    at = parse_length(text)
    if at < before:
        raise ValueError(
            f"{text!r} lies before the step above, which is at {show_length(before)}; "
            f"put the steps in their order, or write +{text} to count from the step above"
        )
    return at


def parse_start(text: str) -> int:
    """Microseconds since 1970, UTC, of an ISO 8601 time with its zone. Raises ValueError."""
    try:
        start = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time; write it as 2026-03-01T08:00:00Z") from None
    if start.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write {text}Z for UTC, or an offset such as +01:00")
    micros = (start - _EPOCH) // timedelta(microseconds=1)
    if not 0 <= micros <= LONGEST:
        raise ValueError(f"{text!r} is not between 1970 and 2069")
    return micros


def show_length(length: int) -> str:
    """The length as a person writes it: `1h30m`, or `-1s` for what was before the start."""
    if length < 0:
        return "-" + show_length(-length)
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        number, length = divmod(length, _UNITS[unit])
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"


def show_instant(micros: int) -> str:
    """`2026-03-01T08:00:31Z`, with milliseconds where there are any."""
    instant = _EPOCH + timedelta(microseconds=micros)
    text = instant.isoformat(timespec="milliseconds" if instant.microsecond else "seconds")
    return text.replace("+00:00", "Z")
