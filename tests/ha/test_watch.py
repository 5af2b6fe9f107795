"""What makes a standby claim, on a fake clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opentec.ha import marks
from opentec.ha.lease import PRESETS, Lease, gc
from opentec.ha.watch import Watch
from tests.ha.fakes import FakeClock

PRESET = PRESETS["normal"]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Lease]:
    """Epoch 1, held by node black."""
    lease = Lease.claim(tmp_path, "black", [], 0)
    assert lease is not None
    yield lease
    lease.release()


@pytest.fixture
def watch(tmp_path: Path, clock: FakeClock) -> Watch:
    return Watch(tmp_path, "brown", PRESET, clock=clock)


def pass_time(watch: Watch, clock: FakeClock, microseconds: int, each: Callable[[], None] | None = None) -> list[str]:
    """Watch on, five looks a second; the reasons to claim that came."""
    reasons = []
    for _ in range(microseconds // 200_000):
        clock.now += 200_000
        if each:
            each()
        if decision := watch.decide():
            reasons.append(decision.reason)
    return reasons


def test_an_empty_directory_is_claimed(watch: Watch) -> None:
    decision = watch.decide()
    assert decision is not None
    assert (decision.expect, decision.reason, decision.holder) == (0, "no server has run here", None)


def test_a_beating_holder_is_left_alone(watch: Watch, held: Lease, clock: FakeClock) -> None:
    assert pass_time(watch, clock, 20_000_000, held.beat) == []


def test_a_free_lock_is_claimed_at_once(watch: Watch, held: Lease) -> None:
    assert watch.decide() is None
    held.release()
    decision = watch.decide()
    assert decision is not None
    assert decision.holder is not None
    assert (decision.expect, decision.reason, decision.holder.node) == (1, "lock free", "black")


def test_a_silent_holder_is_claimed_after_the_time_to_live(watch: Watch, held: Lease, clock: FakeClock) -> None:
    assert watch.decide() is None
    held.beat()
    assert pass_time(watch, clock, PRESET.ttl_us + 200_000) == []
    assert pass_time(watch, clock, 200_000) == ["no beat for 3.2 s"]


def test_one_beat_in_time_is_enough(watch: Watch, held: Lease, clock: FakeClock) -> None:
    for _ in range(5):
        assert pass_time(watch, clock, PRESET.ttl_us) == []
        held.beat()


def test_a_new_holder_has_its_own_time(tmp_path: Path, watch: Watch, held: Lease, clock: FakeClock) -> None:
    assert pass_time(watch, clock, PRESET.ttl_us) == []
    other = Lease.claim(tmp_path, "green", [], 1)
    assert other is not None
    assert pass_time(watch, clock, PRESET.ttl_us) == []
    other.release()


def test_who_was_away_has_not_watched(watch: Watch, held: Lease, clock: FakeClock) -> None:
    """Both were suspended: the one that wakes first must not take over from a holder that had no chance."""
    assert watch.decide() is None
    clock.now += 60_000_000
    assert watch.decide() is None
    assert pass_time(watch, clock, PRESET.ttl_us + 400_000) == ["no beat for 3.2 s", "no beat for 3.4 s"]


def test_without_locks_a_death_is_seen_as_a_hang(tmp_path: Path, held: Lease, clock: FakeClock) -> None:
    watch = Watch(tmp_path, "brown", PRESET, trust_locks=False, clock=clock)
    held.release()
    assert watch.decide() is None
    assert pass_time(watch, clock, PRESET.ttl_us + 200_000) == ["no beat for 3.2 s"]


def test_a_stopped_server_rests(tmp_path: Path, watch: Watch, held: Lease, clock: FakeClock) -> None:
    marks.mark_stopped(tmp_path, 1)
    held.release()
    assert pass_time(watch, clock, 60_000_000) == []
    assert marks.clear_stopped(tmp_path)
    decision = watch.decide()
    assert decision is not None
    assert decision.reason == "lock free"
    assert marks.ended_cleanly(tmp_path, 1)


def test_a_switch_to_another_node_is_left_to_it(tmp_path: Path, watch: Watch, held: Lease, clock: FakeClock) -> None:
    marks.request_switch(tmp_path, 1, "green")
    held.release()
    green = Watch(tmp_path, "green", PRESET, clock=clock)
    assert pass_time(watch, clock, PRESET.ttl_us) == []
    assert green.decide() is not None
    # green does not come: any node will do
    assert pass_time(watch, clock, 400_000) == ["lock free"]


def test_who_hands_over_does_not_take_back(tmp_path: Path, watch: Watch, held: Lease, clock: FakeClock) -> None:
    marks.request_switch(tmp_path, 1)
    black = Watch(tmp_path, "black", PRESET, clock=clock)
    held.release()
    assert black.decide() is None
    assert watch.decide() is not None
    assert pass_time(black, clock, PRESET.ttl_us) == []
    assert pass_time(black, clock, 400_000) == ["lock free", "lock free"]


def test_a_start_that_found_nobody_at_work_leaves_the_lease_for_a_moment_only(
    tmp_path: Path, held: Lease, clock: FakeClock
) -> None:
    """Whoever stands by claims within it; who is not there must not keep a server that is started from serving."""
    marks.request_switch(tmp_path, 1)
    held.release()
    starts = Watch(tmp_path, "black", PRESET, alone=True, clock=clock)
    assert starts.decide() is None and starts.undecided
    assert pass_time(starts, clock, 400_000) == [] and starts.undecided
    assert pass_time(starts, clock, 200_000) == ["lock free"] and not starts.undecided


def test_a_start_that_found_nobody_at_work_stands_by_when_another_node_was_faster(
    tmp_path: Path, held: Lease, clock: FakeClock
) -> None:
    marks.request_switch(tmp_path, 1, "brown")
    held.release()
    starts = Watch(tmp_path, "black", PRESET, alone=True, clock=clock)
    assert starts.decide() is None and starts.undecided
    second = Lease.claim(tmp_path, "brown", [], 1)
    assert second is not None
    assert starts.decide() is None and not starts.undecided
    # as a standby it leaves a later switch to whom it was meant for, as any other does
    marks.request_switch(tmp_path, 2, "green")
    second.release()
    assert pass_time(starts, clock, PRESET.ttl_us) == []
    assert not starts.undecided


def test_who_stands_by_is_never_undecided(tmp_path: Path, watch: Watch, held: Lease) -> None:
    marks.request_switch(tmp_path, 1, "green")
    assert watch.decide() is None and not watch.undecided
    held.release()
    assert watch.decide() is None and not watch.undecided


def test_marks_belong_to_their_epoch(tmp_path: Path, held: Lease) -> None:
    assert not marks.stopped(tmp_path)
    assert not marks.clear_stopped(tmp_path)
    marks.mark_stopped(tmp_path, 1)
    assert marks.stopped(tmp_path)
    assert marks.ended_cleanly(tmp_path, 1)
    second = Lease.claim(tmp_path, "brown", [], 1)
    assert second is not None
    assert not marks.stopped(tmp_path)
    assert not marks.ended_cleanly(tmp_path, 2)
    second.release()
    held.release()
    gc(tmp_path, keep=1)
    assert not marks.ended_cleanly(tmp_path, 1)


def test_marks_of_an_empty_directory(tmp_path: Path) -> None:
    assert not marks.stopped(tmp_path)
    assert not marks.clear_stopped(tmp_path)


def test_a_switch_is_asked_and_withdrawn(tmp_path: Path) -> None:
    assert marks.switch_requested(tmp_path, 3) is None
    marks.request_switch(tmp_path, 3)
    assert marks.switch_requested(tmp_path, 3) == ""
    marks.request_switch(tmp_path, 3, "brown")
    assert marks.switch_requested(tmp_path, 3) == "brown"
    assert marks.switch_requested(tmp_path, 4) is None
    marks.clear_switch(tmp_path, 3)
    marks.clear_switch(tmp_path, 3)
    assert marks.switch_requested(tmp_path, 3) is None
    assert list(tmp_path.iterdir()) == []


def test_a_mark_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(marks.os, "fsync", refuse)
    with pytest.raises(marks.LeaseDirectoryError, match=r"stopped\.1: No space left"):
        marks.mark_stopped(tmp_path, 1)
    assert list(tmp_path.iterdir()) == []


def test_nobody_takes_over_from_a_newer_version(tmp_path: Path, clock: FakeClock) -> None:
    newer = Lease.claim(tmp_path, "black", [], 0, version=3)
    assert newer is not None
    newer.release()
    older, same = (Watch(tmp_path, "brown", PRESET, version=version, clock=clock) for version in (2, 3))
    assert pass_time(older, clock, 10_000_000) == []
    assert older.newer is not None
    assert (older.newer.number, older.newer.version) == (1, 3)
    decision = same.decide()
    assert decision is not None
    assert decision.reason == "lock free"
    assert same.newer is None
