"""Log time never goes back; the sender table forgets in the right order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from opentec.log.clock import LogClock, boot_us, wall_us
from opentec.log.codec import FLAG_ONCE
from opentec.log.table import (
    FILE_HORIZON,
    LONG_HORIZON,
    MAX_ENTRIES,
    ONCE_HORIZON,
    SenderTable,
    generation_id,
    path_id,
)


class Clocks:
    def __init__(self, wall: int) -> None:
        self.wall, self.boot = wall, 5_000

    def pass_time(self, us: int, step: int = 0) -> None:
        self.boot += us
        self.wall += us + step


def _clock(clocks: Clocks, last: int = 0) -> LogClock:
    return LogClock(last, wall=lambda: clocks.wall, boot=lambda: clocks.boot)


def test_it_starts_at_the_later_of_wall_and_last_record() -> None:
    assert _clock(Clocks(1000), last=500).now() == 1000
    assert _clock(Clocks(1000), last=7000).now() == 7000


def test_it_follows_the_wall_clock() -> None:
    clocks = Clocks(1_000_000)
    clock = _clock(clocks)
    clocks.pass_time(300)
    assert clock.now() == 1_000_300


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(-(10**10), 10**10)), max_size=30))
def test_speed_is_between_half_and_double_and_it_never_goes_back(steps: list[tuple[int, int]]) -> None:
    clocks = Clocks(10**12)
    clock = _clock(clocks)
    last = clock.now()
    for passed, step in steps:
        clocks.pass_time(passed, step)
        now = clock.now()
        assert passed // 2 <= now - last <= 2 * passed
        last = now


def test_an_hour_ahead_is_made_up_for_at_half_speed() -> None:
    clocks = Clocks(10**12)
    clock = _clock(clocks)
    clocks.pass_time(0, -3_600_000_000)
    for _ in range(7200):
        clocks.pass_time(1_000_000)
        now = clock.now()
    assert now == clocks.wall


def test_real_clocks_move() -> None:
    assert wall_us() > 10**15 and boot_us() > 0
    assert LogClock(0).now() > 10**15


def test_senders_are_forgotten_beyond_their_horizon() -> None:
    table = SenderTable()
    table.saw(b"once", 1, 0, FLAG_ONCE)
    table.saw(b"long", 9, 0, 0)
    table.prune(ONCE_HORIZON)
    assert table.last(b"once") == 1
    table.prune(ONCE_HORIZON + 1)
    assert table.last(b"once") is None and table.last(b"long") == 9
    table.prune(LONG_HORIZON + 1)
    assert table.last(b"long") is None


def test_the_oldest_one_shot_senders_go_first() -> None:
    table = SenderTable()
    table.senders = {n.to_bytes(16): (1, n, FLAG_ONCE if n % 2 else 0) for n in range(MAX_ENTRIES + 100)}
    table.prune(MAX_ENTRIES)
    assert len(table.senders) == MAX_ENTRIES
    assert all((n).to_bytes(16) in table.senders for n in range(0, 1000, 2))
    assert (1).to_bytes(16) not in table.senders and (MAX_ENTRIES + 99).to_bytes(16) in table.senders


def test_four_generations_of_a_path_are_kept() -> None:
    table = SenderTable()
    path = path_id("node", "/var/log/x")
    for number in range(6):
        table.saw_file(generation_id("node", "/var/log/x", str(number)), path, 10, number)
    table.saw_file(77, 88, 5, 0)
    table.prune(10)
    assert len([entry for entry in table.files.values() if entry[1] == path]) == 4
    assert table.covered(generation_id("node", "/var/log/x", "5")) == 10
    assert table.covered(generation_id("node", "/var/log/x", "0")) == 0
    assert table.covered(77) == 5
    table.prune(FILE_HORIZON + 10)
    assert table.covered(77) == 0


def test_coverage_never_shrinks() -> None:
    table = SenderTable()
    table.saw_file(1, 2, 100, 0)
    table.saw_file(1, 2, 50, 1)
    assert table.covered(1) == 100
