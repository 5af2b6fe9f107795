"""Times of the calendar: zones, summer time, C's conventions, and back."""

from __future__ import annotations

import time
import zoneinfo
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentec.rules.evaluation import Evaluation
from opentec.rules.predicates import REGISTRY
from opentec.rules.predicates.time import zone
from opentec.rules.rulebase import Settings
from opentec.rules.terms import Ref, RuleError, Trail, deref
from tests.rules.engine_kit import START
from tests.rules.goal_kit import solutions

BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        # 2026-03-01 08:00 UTC, a Sunday
        ("get_gm_time(_x)", "tm(0, 0, 8, 1, 2, 126, 0, 59, 0)"),
        ("get_local_time(_x)", "tm(0, 0, 9, 1, 2, 126, 0, 59, 0)"),
        ("convert_gm_time(0, _x)", "tm(0, 0, 0, 1, 0, 70, 4, 0, 0)"),
        ("convert_gm_time(-1, _x)", "tm(59, 59, 23, 31, 11, 69, 3, 364, 0)"),
        ("convert_local_time(0, _x)", "tm(0, 0, 1, 1, 0, 70, 4, 0, 0)"),
        ("convert_local_time(1782907200, _x)", "tm(0, 0, 14, 1, 6, 126, 3, 181, 1)"),
        ("get_time(_t), convert_local_time(_t, _a), convert_local_time(_x, _a)", str(START)),
        ("convert_gm_time(_x, tm(0, 0, 8, 1, 2, 126, _, _, _))", str(START)),
        # beyond their range the numbers count on, as in mktime
        ("convert_gm_time(_x, tm(0, 0, 8, 29, 1, 126, 0, 0, 0))", str(START)),
        ("convert_gm_time(_x, tm(0, 0, 8, 1, 14, 125, 0, 0, 0))", str(START)),
        ("convert_gm_time(_x, tm(-60, 1, 8, 1, -10, 127, 0, 0, 0))", str(START)),
        # 2026-10-25 02:30 is there twice, 2026-03-29 02:30 never
        ("convert_local_time(_x, tm(0, 30, 2, 25, 9, 126, 0, 0, 1))", "1792888200"),
        ("convert_local_time(_x, tm(0, 30, 2, 25, 9, 126, 0, 0, 0))", "1792891800"),
        ("convert_local_time(_x, tm(0, 30, 2, 25, 9, 126, 0, 0, -1))", "1792888200"),
        ("convert_local_time(_x, tm(0, 30, 2, 29, 2, 126, 0, 0, 0))", "1774747800"),
        ("convert_local_time(_x, tm(0, 30, 2, 29, 2, 126, 0, 0, 1))", "1774747800"),
        ("convert_ascii_time(1066137154, _x)", "Oct 14 15:12:34 2003"),
        ("convert_ascii_time(_x, 'Oct 14 15:12:34 2003')", "1066137154"),
        ("convert_ascii_time(_x, 'Tue Oct 14 15:12:34 2003')", "1066137154"),
        ("convert_ascii_time(_x, 'Feb  4 11:32:04 2004')", "1075890724"),
        ("convert_ascii_time(1075890724, _x)", "Feb 04 11:32:04 2004"),
        ("convert_ascii_time(1075890724, 'Feb 05 11:32:04 2004'), _x = 1", None),
        ("get_local_time(_t), resolve_time(_t, _, _, _x, _, _, _, _, _, _)", "9"),
        (
            "get_local_time(_t), resolve_time(_t, _a, _b, _c, _d, _e1, _f, _g, _h1, _i), "
            "_x = [_a, _b, _c, _d, _e1, _f, _g, _h1, _i]",
            "[0, 0, 9, 1, 2, 126, 0, 59, 0]",
        ),
        ("get_local_time(_t), resolve_time(_t, _, _, 10, _, _, _, _, _, _), _x = 1", None),
        # what is no time
        ("convert_gm_time(soon, _x)", "a time is a whole number of seconds since 1970, not 'soon'"),
        ("convert_gm_time(1.5, _x)", "a time is a whole number of seconds since 1970, not '1.5'"),
        ("convert_gm_time(999999999999, _x)", "999999999999 s since 1970 is outside of the years 1 to 9999"),
        ("convert_gm_time(_x, tm(0, 0, 0, 1, 0, 99999, 0, 0, 0))", "tm(0, 0, 0, 1, 0, 99999, 0, 0, 0) is outside of"),
        ("convert_gm_time(_x, tm(x, 0, 0, 1, 0, 70, 0, 0, 0))", "tm(x, 0, 0, 1, 0, 70, 0, 0, 0) is no calendar time:"),
        ("convert_gm_time(_x, tm(1, 2))", "tm(1, 2) is no calendar time; get_local_time"),
        ("resolve_time(5, _, _, _x, _, _, _, _, _, _)", "5 is no calendar time"),
        ("convert_ascii_time(_x, 'Okt 14 15:12:34 2003')", "'Okt 14 15:12:34 2003' is no time such as"),
        ("convert_ascii_time(_x, 5)", "'5' is no time such as"),
    ],
)
def test_times(body: str, expected: str | None) -> None:
    found = solutions(body, time_zone=BERLIN)
    assert [text[: len(expected or "")] for text in found] == ([expected] if expected else [])
    assert not found or len(found[0]) == len(expected or "") or " " in (expected or "")


def test_the_zone_is_that_of_the_rule_base() -> None:
    hour = "get_local_time(_t), resolve_time(_t, _, _, _x, _, _, _, _, _, _)"
    assert solutions(hour) == ["8"]
    assert solutions(hour, time_zone="Asia/Tokyo") == ["17"]
    assert solutions(hour, time_zone="America/New_York") == ["3"]


@pytest.mark.parametrize("name", ["Nowhere/City", "../../etc/passwd", "/etc/localtime", "Europe", ""])
def test_a_zone_that_does_not_exist_is_a_rule_error(name: str) -> None:
    with pytest.raises(RuleError, match="is not in the package tzdata"):
        zone(name)


def test_zones_come_from_the_package_and_not_from_the_system(tmp_path: Path) -> None:
    (tmp_path / "Europe").mkdir()
    wrong = files("tzdata").joinpath("zoneinfo", "Asia", "Tokyo").read_bytes()
    (tmp_path / "Europe/Madrid").write_bytes(wrong)
    zone.cache_clear()
    zoneinfo.reset_tzpath([str(tmp_path)])
    try:
        day = datetime(2026, 7, 1)
        assert ZoneInfo.no_cache("Europe/Madrid").utcoffset(day) == timedelta(hours=9)
        assert zone("Europe/Madrid").utcoffset(day) == timedelta(hours=2)
    finally:
        zoneinfo.reset_tzpath()


class _Run:
    """As much of an evaluation as these predicates look at."""

    def __init__(self, name: str) -> None:
        self.settings = Settings(time_zone=name)
        self.trail = Trail()


@given(st.integers(0, 4_000_000_000), st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "UTC"]))
def test_seconds_come_back_and_agree_with_c(seconds: int, name: str) -> None:
    run: Evaluation = _Run(name)  # type: ignore[assignment]
    for which in ("local", "gm"):
        convert = REGISTRY[f"convert_{which}_time", 2].function
        structure, back = Ref(), Ref()
        assert convert(run, seconds, structure)
        assert convert(run, back, structure)
        assert deref(back) == seconds
    assert deref(structure).args == _as_c(time.gmtime(seconds))
    local = datetime.fromtimestamp(seconds, UTC).astimezone(ZoneInfo(name))
    REGISTRY["convert_local_time", 2].function(run, seconds, structure := Ref())
    assert deref(structure).args == _as_c(local.timetuple())


def _as_c(tm: time.struct_time) -> tuple[int, ...]:
    date = (tm.tm_sec, tm.tm_min, tm.tm_hour, tm.tm_mday, tm.tm_mon - 1, tm.tm_year - 1900)
    return (*date, (tm.tm_wday + 1) % 7, tm.tm_yday - 1, max(0, tm.tm_isdst))
