"""Thresholds: numbers of events within a time, by key; and what is kept of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentec.rules.predicates import windows
from opentec.rules.predicates.windows import Rate, Windows
from opentec.rules.store import Store
from tests.rules.definitions_kit import TELL, DefinedKit, error_of

FIXED = "create_threshold(storm, 'Link_Down', [hostname], 3, 60)"


def sliding(number: int, seconds: int, quiet: int = 0) -> str:
    return f"create_threshold(storm, 'Link_Down', [hostname], {number}, {seconds}, sliding, {quiet})"


def hits(kit: DefinedKit, *times: float, host: str = "h1") -> list[bool]:
    return [kit.hit(at, "Link_Down", hostname=host) for at in times]


def test_it_is_reached_by_the_event_that_makes_the_number_full_and_begins_anew() -> None:
    kit = DefinedKit(FIXED, "check_threshold(_event, storm)")
    assert hits(kit, 0, 1, 2, 3, 4, 5) == [False, False, True, False, False, True]


def test_a_fixed_window_opens_with_the_first_event() -> None:
    kit = DefinedKit(FIXED, "check_threshold(_event, storm)")
    # the first window ends at 60, the second begins at 61
    assert hits(kit, 0, 59, 61, 62, 121) == [False, False, False, False, True]


def test_a_sliding_window_reaches_back_from_each_event() -> None:
    kit = DefinedKit(sliding(3, 60), "check_threshold(_event, storm)")
    assert hits(kit, 0, 59, 61, 62, 63) == [False, False, False, True, False]


def test_the_last_second_of_a_window_is_in_it() -> None:
    for definition in (FIXED, sliding(3, 60)):
        kit = DefinedKit(definition, "check_threshold(_event, storm)")
        assert hits(kit, 0, 1, 60) == [False, False, True]
        kit = DefinedKit(definition, "check_threshold(_event, storm)")
        assert hits(kit, 0, 1, 60.000001) == [False, False, False]


def test_every_key_counts_for_itself_and_the_criterion_decides_who_counts() -> None:
    kit = DefinedKit(
        """create_event_criteria(grave, 'Link', yes, [[severity, greater_or_equals, 'CRITICAL']]),
           create_threshold(storm, grave, [hostname, msg], 2, 60)""",
        "check_threshold(_event, storm)",
    )
    seen = [
        kit.hit(1, "Link_Down", hostname=host, msg=message, severity=severity)
        for host, message, severity in (
            ("a", "x", "FATAL"),
            ("b", "x", "FATAL"),
            ("a", "y", "FATAL"),
            ("a", "x", "MINOR"),
            ("a", "x", "CRITICAL"),
        )
    ]
    assert seen == [False, False, False, False, True]
    assert not kit.hit(2, "Disk_OK", hostname="a", msg="x", severity="FATAL")


def test_an_event_without_a_slot_of_the_key_is_not_counted() -> None:
    kit = DefinedKit(
        "create_threshold(t, 'EVENT', [drive], 1, 60)", "check_threshold(_event, t), reset_threshold(_event, t)"
    )
    assert not kit.hit(1, "Link_Up")
    assert kit.hit(1, "Disk_OK")
    assert not kit.engine._store.section("window")


@pytest.mark.parametrize("slots", ["[class, hostname]", "[hostname, class]", "[class, hostname, status]"])
def test_class_among_the_slots_is_the_name_of_the_class(slots: str) -> None:
    kit = DefinedKit(f"create_threshold(t, 'EVENT', {slots}, 2, 60)", "check_threshold(_event, t)")
    seen = [
        kit.hit(at, name, hostname=host)
        for at, (name, host) in enumerate([("Link_Up", "a"), ("Link_Down", "a"), ("Link_Up", "b"), ("Link_Up", "a")])
    ]
    assert seen == [False, False, False, True]


def test_class_alone_counts_events_of_all_hosts() -> None:
    kit = DefinedKit("create_threshold(t, 'EVENT', [class], 2, 60)", "check_threshold(_event, t)")
    seen = [kit.hit(at, name, hostname=str(at)) for at, name in enumerate(["Link_Up", "Link_Down", "Link_Up"])]
    assert seen == [False, False, True]


@pytest.mark.parametrize("name", ["t", "\u00fcber"])
@pytest.mark.parametrize("slots", ["[hostname]", "[class, hostname]"])
def test_values_of_any_kind_count_apart(slots: str, name: str) -> None:
    kit = DefinedKit(f"create_threshold('{name}', 'EVENT', {slots}, 2, 60)", f"check_threshold(_event, '{name}')")
    hosts = ["a", "\u00e4", "", '"', "a=", "x" * 600, "x" * 601, "[", "a/b"]
    assert not any(hits(kit, 0, host=host)[0] for host in hosts)
    assert all(hits(kit, 1, host=host)[0] for host in hosts)


def test_a_key_that_is_too_long_is_an_error() -> None:
    kit = DefinedKit("create_threshold(t, 'EVENT', [hostname], 2, 60)", "check_threshold(_event, t)")
    kit.event(1, "Link_Up", hostname="x" * 1100)
    assert kit.errors() == ["the key of threshold 't' is longer than 1024 bytes"]


@pytest.mark.parametrize("mode", ["fixed", "sliding"])
def test_it_is_quiet_for_a_time(mode: str) -> None:
    kit = DefinedKit(
        f"create_threshold(storm, 'Link', [], 2, 10, {mode}, 100)",
        f"check_threshold(_event, storm, _n), inttoatom(_n, _text), {TELL}",
    )
    # reached at 1, quiet until 101; the window of the event at 101 is over at 120
    assert hits(kit, 0, 1, 2, 3, 100.9, 101, 120, 125) == [False, True, False, False, False, False, False, True]
    # what there was in the quiet time is forgotten with that window
    assert kit.messages() == ["2", "2"]


def test_events_of_the_quiet_time_are_told_with_the_next() -> None:
    kit = DefinedKit(sliding(2, 10, 5), "check_threshold(_event, storm, _n), set_event_message(_event, _n)")
    hits(kit, 0, 1, 2, 3, 7, 8)
    assert kit.values("msg", "Link_Down") == ["", "2", "", "", "", "4"]


def test_a_given_number_must_be_the_right_one() -> None:
    kit = DefinedKit(FIXED, "check_threshold(_event, storm, 4)")
    assert hits(kit, 0, 1, 2, 3) == [False] * 4


def test_an_event_counts_once_however_often_it_is_checked() -> None:
    kit = DefinedKit(FIXED, "( check_threshold(_event, storm), fail ; check_threshold(_event, storm) )")
    assert hits(kit, 0, 1, 2, 3) == [False, False, True, False]


def test_all_thresholds_count_even_behind_a_commit() -> None:
    kit = DefinedKit(
        """create_threshold(b, 'Link_Down', [], 1, 60), create_threshold(a, 'Link', [], 2, 60),
           create_threshold(c, 'Disk', [], 1, 60)""",
        f"check_all_thresholds(_event, _text), {TELL}, commit_action",
    )
    hits(kit, 0, 1)
    assert kit.messages() == ["b", "a"]
    kit.hit(3, "Disk_OK")
    assert kit.messages() == ["b", "a", "c"]


def test_all_thresholds_that_are_reached_are_solutions() -> None:
    kit = DefinedKit(
        "create_threshold(b, 'Link_Down', [], 1, 60), create_threshold(a, 'Link', [], 1, 60)",
        "check_all_thresholds(_event, _name), atomconcat('at ', _name, _text), " + TELL,
    )
    hits(kit, 0)
    assert kit.messages() == ["at a", "at b"]


def test_reset_as_a_whole_and_for_one_key() -> None:
    kit = DefinedKit(
        FIXED,
        """( bo_get_slotval(_event, msg, 'all') -> reset_threshold(storm), fail
           ; bo_get_slotval(_event, msg, 'one') -> reset_threshold(_event, storm), fail
           ; check_threshold(_event, storm) )""",
    )
    for host in ("a", "b"):
        assert hits(kit, 0, 0.5, host=host) == [False, False]
    kit.hit(1, "Link_Down", hostname="a", msg="one")
    assert hits(kit, 2, host="b") == [True]
    assert hits(kit, 3, 4, host="a") == [False, False]
    kit.hit(5, "Link_Down", hostname="x", msg="all")
    assert hits(kit, 6, 7, 8, host="a") == [False, False, True]


def test_the_same_definition_keeps_counts_and_another_does_not() -> None:
    kit = DefinedKit(
        "create_threshold(storm, 'Link_Down', [], 2, 60)",
        """( bo_get_slotval(_event, msg, 'same') -> create_threshold(storm, 'Link_Down', [], 2, 60)
           ; bo_get_slotval(_event, msg, 'other') -> create_threshold(storm, 'Link_Down', [], 2, 61) ; true ),
           check_threshold(_event, storm)""",
    )
    seen = [kit.hit(at, "Link_Down", msg=message) for at, message in enumerate(["", "same", "", "other", ""])]
    assert seen == [False, True, False, False, True]


def test_a_criterion_that_changes_is_followed() -> None:
    kit = DefinedKit(
        "create_event_criteria(what, 'Link_Up', yes, []), create_threshold(storm, what, [], 1, 60)",
        """( bo_get_slotval(_event, msg, 'now') -> create_event_criteria(what, 'Link_Down', yes, []) ; true ),
           check_threshold(_event, storm)""",
    )
    assert not kit.hit(1, "Link_Down")
    assert kit.hit(2, "Link_Down", msg="now")


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ("create_threshold(t, 'Lnk', [], 1, 60)", "event criterion 'Lnk' is not defined; did you mean 'Link'?"),
        (
            "create_threshold(t, 'Link', [hostnam], 1, 60)",
            "threshold 't': no event of 'Link' has a slot 'hostnam'; did you mean 'hostname'?",
        ),
        (
            "create_threshold(t, 'Link', hostname, 1, 60)",
            "threshold 't': the slots to count by are a list of at most 10, such as [hostname], or []",
        ),
        ("create_threshold(t, 'Link', [], 0, 60)", "threshold 't': the number of events is 1 to 1000000000 in a fixed"),
        (
            "create_threshold(t, 'Link', [], 1001, 60, sliding, 0)",
            "threshold 't': the number of events is 1 to 1000 in a sliding window, not 1001",
        ),
        (
            "create_threshold(t, 'Link', [], 1, 60, slide, 0)",
            "threshold 't': a window is fixed or sliding, not 'slide'",
        ),
        ("create_threshold(t, 'Link', [], 1, 0)", "threshold 't': a time is a second to ten years; the quiet time may"),
        ("create_threshold(t, 'Link', [], 1, 1, fixed, -1)", "threshold 't': a time is a second to ten years; the qui"),
        ("create_threshold('', 'Link', [], 1, 1)", "the name of this threshold has 1 to 256 characters"),
        (
            "create_threshold(storm, 'Link', [], 1, 60), check_threshold(_event, strom)",
            "threshold 'strom' is not defined; did you mean 'storm'?",
        ),
        (
            "reset_threshold(storm)",
            "threshold 'storm' is not defined; create_threshold defines it, in a rule on TEC_Rulebase_Loaded",
        ),
    ],
)
def test_what_is_wrong_is_said(goal: str, message: str) -> None:
    assert error_of(goal).startswith(message)


@pytest.mark.parametrize("definition", [FIXED, sliding(3, 60), sliding(3, 60, 300)])
def test_a_restart_forgets_nothing(definition: str) -> None:
    one = DefinedKit(definition, "check_threshold(_event, storm)")
    other = DefinedKit(definition, "check_threshold(_event, storm)")
    for at in (0, 1, 30, 50, 100, 101, 102, 103, 350, 402, 403, 404):
        for host in ("a", "b"):
            other.restart()
            assert hits(one, at, host=host) == hits(other, at, host=host)
    assert one.engine.state_hash() == other.engine.state_hash()


# what is kept


def test_keys_that_a_storm_left_behind_go_as_new_ones_come() -> None:
    kit = DefinedKit(FIXED, "check_threshold(_event, storm)")
    for number in range(100):
        hits(kit, 1 + number / 100, host=f"host{number}")
    assert len(kit.engine._store.section("window")) == 100
    for number in range(40):
        hits(kit, 100 + number / 100, host="h1")
    assert len(kit.engine._store.section("window")) == 1
    assert sum(key.startswith("window:") for key in kit.repository.state) == 1


def test_a_sliding_window_keeps_no_more_times_than_it_needs() -> None:
    kit = DefinedKit(sliding(3, 60), "check_threshold(_event, storm)")
    for at in range(10):
        kit.hit(at, "Link_Down")
        (value,) = kit.engine._store.section("window").values()
        assert len(value[-1]) < 3


def test_with_too_many_keys_the_one_that_ends_first_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "KEY_LIMIT", 3)
    kit = DefinedKit(FIXED, "check_threshold(_event, storm)")
    for at, host in enumerate("abcd"):
        hits(kit, at, host=host)
    assert sorted(key[-1] for key in kit.engine._store.section("window")) == ["b", "c", "d"]


class _Run:
    """As much of an evaluation as windows look at."""

    def __init__(self) -> None:
        self.now = 0


class _Event:
    def __init__(self, eid: int) -> None:
        self.eid = eid


def test_a_key_whose_end_comes_nearer_goes_by_its_new_end() -> None:
    run: Any = _Run()
    counted = Store().view(Windows)
    events: list[Any] = [_Event(eid) for eid in range(4)]
    counted.count(run, "k", events[0], Rate("long", 9, 100, sliding=False))
    counted.count(run, "k", events[1], Rate("short", 9, 10, sliding=False))
    run.now = 50_000_000
    counted.count(run, "other", events[2], Rate("x", 9, 1000, sliding=False))
    assert len(counted) == 1
    run.now = 101_000_000
    counted.count(run, "other", events[3], Rate("x", 9, 1000, sliding=False))
    assert len(counted) == 1


RATES = [
    Rate("a", 2, 5, sliding=False),
    Rate("b", 3, 20, sliding=True),
    Rate("c", 2, 1, sliding=True, quiet=7),
    Rate("d", 2, 50, sliding=False),
]
STEPS = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from("pqrstuvw"), st.integers(0, len(RATES) - 1), st.booleans()),
    max_size=80,
)


@given(STEPS, st.integers(2, 9), st.integers(1, 2))
def test_what_is_kept_depends_on_the_state_alone(steps: list[Any], limit: int, removed: int) -> None:
    """Whenever the windows are made anew from the store, they count and remove as those that were never."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "KEY_LIMIT", limit)
        patch.setattr(windows, "_REMOVED", removed)
        run: Any = _Run()
        first = Store()
        kept = first.view(Windows)
        second = Store()
        for eid, (wait, key, rate, forget) in enumerate(steps):
            run.now += wait * 1_000_000
            event: Any = _Event(eid)
            second = Store(msgspec.msgpack.decode(msgspec.msgpack.encode(dict(second.items()))))
            made = second.view(Windows)
            if forget and wait == 0:
                kept.forget(key)
                made.forget(key)
            assert kept.count(run, key, event, RATES[rate]) == made.count(run, key, event, RATES[rate])
            assert dict(first.items()) == dict(second.items())
            assert len(kept) <= limit


@given(st.lists(st.integers(0, 30), max_size=40), st.integers(1, 5), st.integers(1, 40), st.booleans())
def test_windows_count_as_a_list_of_times_would(waits: list[int], number: int, seconds: int, slides: bool) -> None:
    run: Any = _Run()
    counted = Store().view(Windows)
    rate = Rate("m", number, seconds, sliding=slides)
    times: list[int] = []
    for eid, wait in enumerate(waits):
        run.now += wait * 1_000_000
        if slides:
            times = [time for time in times if run.now - time <= seconds * 1_000_000]
        elif times and run.now - times[0] > seconds * 1_000_000:
            times = []
        times.append(run.now)
        reached = len(times) >= number
        if reached:
            times = []
        event: Any = _Event(eid)
        assert counted.count(run, "k", event, rate) == (number if reached else 0)


def test_definitions_of_an_earlier_load_are_gone_with_the_next() -> None:
    kit = DefinedKit(
        """( bo_get_class_of(_event, 'TEC_Start') -> create_threshold(stays, 'Link', [], 1, 60)
           ; bo_get_slotval(_event, msg, first) -> create_threshold(old, 'Link', [], 1, 60),
             create_threshold(both, 'Link', [], 2, 60)
           ; create_threshold(both, 'Link', [], 2, 60) )""",
        "check_all_thresholds(_event, _text), " + TELL,
    )
    kit.event(1, "TEC_Rulebase_Loaded", msg="first")
    kit.hit(2, "Link_Down")
    assert kit.messages() == ["old", "stays"]
    kit.event(3, "TEC_Rulebase_Loaded", msg="second")
    kit.restart()
    kit.hit(4, "Link_Down")
    # the one that was defined again went on counting
    assert kit.messages()[2:] == ["both", "stays"]
