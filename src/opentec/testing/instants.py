"""Times of a specification: lengths such as `1h30m`, steps such as `+5m`, starts with a zone. All in microseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from opentec.events.names import nearest, shown

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
    """Microseconds since 1970, UTC, of a time with its zone: `2026-03-01T08:00:00Z`, `2026-03-29 01:30 Europe/Berlin`.

    Raises ValueError, also for a local time that its zone skips or has twice.
    """
    local, _, zone = text.strip().rpartition(" ")
    named = bool(local) and zone[:1].isalpha()
    try:
        start = datetime.fromisoformat(local if named else text)
    except ValueError:
        forms = "2026-03-01T08:00:00Z or 2026-03-01 08:00 Europe/Berlin"
        raise ValueError(f"{text!r} is not a time; write it as {forms}") from None
    if named:
        if start.tzinfo is not None:
            raise ValueError(f"{text!r} has an offset and a time zone; keep one of them")
        start = _in_zone(start, zone)
    elif start.tzinfo is None:
        hint = f"write {text}Z for UTC, or an offset such as +01:00, or a zone such as {text} Europe/Berlin"
        raise ValueError(f"{text!r} has no time zone; {hint}")
    micros = (start - _EPOCH) // timedelta(microseconds=1)
    if not 0 <= micros <= LONGEST:
        raise ValueError(f"{text!r} is not between 1970 and 2069")
    return micros


def _in_zone(local: datetime, name: str) -> datetime:
    """The instant of a local time. Raises ValueError where there is none, or two."""
    import zoneinfo

    try:
        zone = zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        near = nearest(name, sorted(zoneinfo.available_timezones()))
        hint = f"did you mean {near!r}?" if near else "zones have names such as Europe/Berlin, and UTC"
        raise ValueError(f"there is no time zone {shown(name)}; {hint}") from None
    first, second = local.replace(tzinfo=zone, fold=0), local.replace(tzinfo=zone, fold=1)
    if first.utcoffset() == second.utcoffset():
        return first
    offsets = [one.isoformat() for one in (first, second)]
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0) != local:
        # clocks go forward over it; with the other offset it lies behind the gap
        late = first.astimezone(UTC).astimezone(zone).isoformat(sep=" ", timespec="minutes")
        raise ValueError(f"{local.isoformat(sep=' ')} does not exist in {name}: clocks go forward over it, to {late}")
    raise ValueError(
        f"{local.isoformat(sep=' ')} is twice in {name}: clocks go back over it; write {offsets[0]} or {offsets[1]}"
    )


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
