"""Times of the calendar, from log time and the time zone of the rule base (names: tec.md 3.6; the term is ours).

A calendar time is the term `tm(sec, min, hour, mday, mon, year, wday, yday, isdst)` with the numbers of C's struct tm:
mon 0 to 11, year since 1900, wday 0 (Sunday) to 6, yday 0 to 365, isdst 1 in summer time. The zone's rules come from
the tzdata package and never from the operating system: two nodes with the same packages agree.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final
from zoneinfo import ZoneInfo

from opentec.rules.evaluation import Evaluation
from opentec.rules.predicates.registry import Predicate
from opentec.rules.terms import Ref, RuleError, Struct, deref, resolve, show, unify

FIELDS: Final = 9  # of tm()
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ASCII: Final = re.compile(r"(?:\w{3} )?(\w{3}) +(\d{1,2}) (\d{2}):(\d{2}):(\d{2}) (\d{4})", re.ASCII)
_ZONE_NAME: Final = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=64)
def zone(name: str) -> tzinfo:
    """The time zone of that name, from the tzdata package; raises RuleError when there is none."""
    try:
        if not _ZONE_NAME.fullmatch(name):
            raise LookupError
        with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
            return ZoneInfo.from_file(file, key=name)
    except (LookupError, OSError, ValueError):
        raise RuleError(f"the time zone {name!r} of the rule base is not in the package tzdata") from None


def _local(run: Evaluation) -> tzinfo:
    return zone(run.settings.time_zone)


def _gm(run: Evaluation) -> tzinfo:
    return UTC


def _moment(seconds: Any, where: tzinfo) -> datetime:
    """The calendar time of seconds since 1970. Raises RuleError when they are no such number."""
    if type(seconds) is not int:
        raise RuleError(f"a time is a whole number of seconds since 1970, not {show(seconds)!r}")
    try:
        return (_EPOCH + timedelta(seconds=seconds)).astimezone(where)
    except (OverflowError, ValueError):
        raise RuleError(f"{seconds} s since 1970 is outside of the years 1 to 9999") from None


def _structure(moment: datetime) -> Struct:
    date = moment.timetuple()
    summer = 1 if moment.dst() else 0
    fields = (moment.second, moment.minute, moment.hour, moment.day, moment.month - 1, moment.year - 1900)
    return Struct("tm", (*fields, moment.isoweekday() % 7, date.tm_yday - 1, summer))


def _fields(structure: Any) -> tuple[Any, ...]:
    structure = deref(structure)
    if type(structure) is not Struct or structure.name != "tm" or len(structure.args) != FIELDS:
        raise RuleError(f"{show(structure)} is no calendar time; get_local_time and convert_local_time give one")
    return structure.args


def _seconds(structure: Any, where: tzinfo) -> int:
    """Seconds since 1970 of a calendar time, as mktime: days, hours ... beyond their range count on.

    Of the two times that a clock shows twice, isdst takes one; a time that a clock leaves out is read as if it had
    not been put forward yet.
    """
    second, minute, hour, day, month, year = (resolve(field) for field in _fields(structure)[:6])
    summer = deref(_fields(structure)[8])
    if any(type(field) is not int for field in (second, minute, hour, day, month, year)):
        raise RuleError(f"{show(structure)} is no calendar time: second to year are whole numbers")
    try:
        first = datetime(year + 1900 + month // 12, month % 12 + 1, 1)
        naive = first + timedelta(days=day - 1, hours=hour, minutes=minute, seconds=second)
        moment = naive.replace(tzinfo=where)
        later = moment.replace(fold=1)
        shown_twice = later.utcoffset() < moment.utcoffset()  # type: ignore[operator]  # both are aware
        if shown_twice and summer == 0 and moment.dst():
            moment = later
        return (moment - _EPOCH) // timedelta(seconds=1)
    except (OverflowError, ValueError):
        raise RuleError(f"{show(structure)} is outside of the years 1 to 9999") from None


def _now(where: Any) -> Any:
    return lambda run, structure: unify(structure, _structure(_moment(run.seconds, where(run))), run.trail)


def _convert(where: Any) -> Any:
    def convert(run: Evaluation, seconds: Any, structure: Any) -> bool:
        seconds = deref(seconds)
        if type(seconds) is Ref:
            return unify(seconds, _seconds(structure, where(run)), run.trail)
        return unify(structure, _structure(_moment(seconds, where(run))), run.trail)

    return convert


def _ascii(run: Evaluation, seconds: Any, text: Any) -> bool:
    seconds = deref(seconds)
    if type(seconds) is Ref:
        return unify(seconds, _of_ascii(text, _local(run)), run.trail)
    moment = _moment(seconds, _local(run))
    shown = f"{_MONTHS[moment.month - 1]} {moment.day:02} {moment:%H:%M:%S} {moment.year:04}"
    return unify(text, shown, run.trail)


def _of_ascii(text: Any, where: tzinfo) -> int:
    text = resolve(text)
    found = _ASCII.fullmatch(text.strip()) if type(text) is str else None
    if found is None or found[1] not in _MONTHS:
        raise RuleError(f"{show(text)[:80]!r} is no time such as 'Oct 14 15:12:34 2003'")
    day, hour, minute, second, year = map(int, found.groups()[1:])
    month = _MONTHS.index(found[1])
    return _seconds(Struct("tm", (second, minute, hour, day, month, year - 1900, 0, 0, -1)), where)


def _resolve_time(run: Evaluation, structure: Any, *fields: Any) -> bool:
    return unify(list(fields), list(_fields(structure)), run.trail)


_ZONES: Final = (("local", "in the time zone of the rule base", _local), ("gm", "in UTC", _gm))
PREDICATES: Final = (
    *(
        Predicate(
            name=f"get_{name}_time",
            modes="t",
            signature=f"get_{name}_time(_time)",
            effect=f"Gives the log time as a calendar time {zone_of}.",
            determinism="semidet",
            example=f"get_{name}_time(_time)",
            function=_now(where),
        )
        for name, zone_of, where in _ZONES
    ),
    *(
        Predicate(
            name=f"convert_{name}_time",
            modes="tt",
            signature=f"convert_{name}_time(_seconds, _time)",
            effect=f"Turns seconds since 1970 into a calendar time {zone_of}, or that into seconds.",
            determinism="semidet",
            example=f"convert_{name}_time(86400, _time)",
            function=_convert(where),
        )
        for name, zone_of, where in _ZONES
    ),
    Predicate(
        name="convert_ascii_time",
        modes="tt",
        signature="convert_ascii_time(_seconds, _text)",
        effect="Turns seconds since 1970 into local time as text, as in the slot date, or that text into seconds.",
        determinism="semidet",
        example="convert_ascii_time(_seconds, 'Oct 14 15:12:34 2003')",
        function=_ascii,
    ),
    Predicate(
        name="resolve_time",
        modes="t" * (1 + FIELDS),
        signature="resolve_time(_time, _sec, _min, _hour, _mday, _mon, _year, _wday, _yday, _isdst)",
        effect="Takes a calendar time apart: month from 0, year since 1900, weekday from 0 for Sunday, day from 0.",
        determinism="semidet",
        example="get_local_time(_time), resolve_time(_time, _, _, _hour, _, _, _, _wday, _, _), _hour >= 8",
        function=_resolve_time,
    ),
)
