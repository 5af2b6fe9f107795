"""Claiming, beating, losing and releasing the lease; what remains in the directory."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentec.ha import epochs, process
from opentec.ha import lease as lease_module
from opentec.ha.clock import boottime_us
from opentec.ha.errors import LeaseDirectoryError, LeaseLost
from opentec.ha.lease import PRESETS, EpochFile, Lease, gc, holder_dead, newest, superseded
from tests.ha.fakes import FakeClock


def claim(directory: Path, expect: int, node: str = "black", **more: int) -> Lease:
    got = Lease.claim(directory, node, ["127.0.0.1:5529"], expect, **more)
    assert got is not None
    return got


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def test_the_first_claim_says_who_holds(tmp_path: Path) -> None:
    assert newest(tmp_path) is None
    held = claim(tmp_path, 0)
    assert newest(tmp_path) == EpochFile(
        number=1,
        path=tmp_path / "epoch.1",
        counter=0,
        node="black",
        pid=os.getpid(),
        start_time=process.start_time(os.getpid()) or -1,
        boot_id=process.boot_id(),
        pid_namespace=process.pid_namespace(),
        addresses=("127.0.0.1:5529",),
    )
    assert names(tmp_path) == ["epoch.1"]
    held.release()


def test_one_winner_per_number(tmp_path: Path) -> None:
    first = claim(tmp_path, 0)
    assert Lease.claim(tmp_path, "brown", [], 0) is None
    second = claim(tmp_path, 1, "brown")
    assert (first.epoch, second.epoch) == (1, 2)
    assert names(tmp_path) == ["epoch.1", "epoch.2"]
    first.release()
    second.release()


def test_a_race_lost_at_the_link_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = claim(tmp_path, 0)
    monkeypatch.setattr(epochs, "numbers", lambda _directory: [])  # looked before the other linked
    assert Lease.claim(tmp_path, "brown", [], 0) is None
    assert names(tmp_path) == ["epoch.1"]
    first.release()


def test_a_claimant_that_slept_through_many_epochs_gives_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        claim(tmp_path, number).release()
    gc(tmp_path, keep=2)
    looks = iter([[1], [2, *epochs.numbers(tmp_path)]])
    monkeypatch.setattr(epochs, "numbers", lambda _directory: next(looks))
    # number 2 is free again, but 9 holds
    assert Lease.claim(tmp_path, "brown", [], 1) is None
    assert names(tmp_path) == ["epoch.8", "epoch.9"]


def test_a_draft_that_was_cleared_away_is_a_lost_race(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def cleared(draft: Path, target: Path) -> None:
        draft.unlink()
        link(draft, target)

    monkeypatch.setattr(os, "link", cleared)
    assert Lease.claim(tmp_path, "brown", [], 0) is None
    assert names(tmp_path) == []


def test_the_repository_knows_of_lost_files(tmp_path: Path) -> None:
    old = claim(tmp_path, 0)
    new = claim(tmp_path, 1, repository_epoch=7)
    assert new.epoch == 8
    # epoch 1 does not look for epoch 8; it must learn of it all the same
    assert old.superseded()
    assert superseded(tmp_path, 1)
    assert not superseded(tmp_path, 8)
    assert names(tmp_path) == ["epoch.8"]
    old.release()
    new.release()


def test_superseded(tmp_path: Path) -> None:
    first = claim(tmp_path, 0)
    assert not first.superseded()
    assert not superseded(tmp_path, 1)
    second = claim(tmp_path, 1)
    assert first.superseded()
    assert superseded(tmp_path, 1)
    assert not second.superseded()
    (tmp_path / "epoch.2").unlink()
    assert second.superseded()
    assert superseded(tmp_path, 2)
    second.release()
    assert second.superseded()
    assert superseded(tmp_path / "gone", 1)
    first.release()


def test_a_beat_changes_the_counter_and_nothing_else(tmp_path: Path) -> None:
    held = claim(tmp_path, 0)
    before = newest(tmp_path)
    size = (tmp_path / "epoch.1").stat().st_size
    for count in range(1, 12):
        held.beat()
        now = newest(tmp_path)
        assert before is not None
        assert now is not None
        assert now.counter == count
        assert (now.node, now.pid, now.addresses) == (before.node, before.pid, before.addresses)
    assert (tmp_path / "epoch.1").stat().st_size == size == epochs.BLOCK
    held.release()


@given(old=st.integers(0, 10**19), new=st.integers(0, 10**19), cut=st.integers(0, epochs.COUNTER_WIDTH))
def test_half_a_beat_is_still_a_document(old: int, new: int, cut: int) -> None:
    block = bytearray(epochs.encode({"node": "ü", "addresses": []}))
    width = epochs.COUNTER_WIDTH
    for value, first, last in ((old, 0, width), (new, 0, cut)):
        digits = b"%0*d" % (width, value)
        block[epochs.COUNTER_AT + first : epochs.COUNTER_AT + last] = digits[first:last]
    assert json.loads(block)["node"] == "ü"


def test_no_beat_after_another_took_over(tmp_path: Path) -> None:
    first = claim(tmp_path, 0)
    second = claim(tmp_path, 1)
    with pytest.raises(LeaseLost, match="epoch 1 is superseded"):
        first.beat()
    first.release()
    second.release()


def test_the_holder_steps_down_at_two_thirds(tmp_path: Path) -> None:
    clock = FakeClock()
    held = Lease.claim(tmp_path, "black", [], 0, clock=clock)
    assert held is not None
    clock.now += 2_000_000
    assert not held.overdue(PRESETS["normal"])
    clock.now += 1
    assert held.overdue(PRESETS["normal"])
    held.beat()
    assert not held.overdue(PRESETS["normal"])
    held.release()


def test_a_holder_is_dead_when_its_lock_is_free(tmp_path: Path) -> None:
    held = claim(tmp_path, 0)
    file = newest(tmp_path)
    assert file is not None
    assert not holder_dead(file)
    copy = os.dup(held.fileno())  # as a child that has not forgotten yet
    held.release()
    assert holder_dead(file)
    os.close(copy)
    held.release()
    file.path.unlink()
    assert not holder_dead(file)


def test_to_forget_is_not_to_release(tmp_path: Path) -> None:
    held = claim(tmp_path, 0)
    file = newest(tmp_path)
    assert file is not None
    copy = os.dup(held.fileno())
    held.forget()
    held.forget()
    assert not holder_dead(file)
    os.close(copy)
    assert holder_dead(file)


def test_gc_removes_the_oldest_and_what_belongs_to_them(tmp_path: Path) -> None:
    leases = [claim(tmp_path, n) for n in range(6)]
    for name in ("stopped.2", "clean.5", "switch.1", "stopped.x", "note.1", ".claim.1.dead"):
        (tmp_path / name).touch()
    for held in leases[:-1]:
        fcntl.flock(held.fileno(), fcntl.LOCK_UN)  # as if they had ended
    assert gc(tmp_path, keep=3) == [1, 2, 3]
    assert names(tmp_path) == ["clean.5", "epoch.4", "epoch.5", "epoch.6", "note.1", "stopped.x"]
    assert gc(tmp_path, keep=0) == [4, 5]
    assert [held.superseded() for held in leases] == [True] * 5 + [False]
    assert superseded(tmp_path, 1)
    for held in leases:
        held.release()
    assert gc(tmp_path, keep=9) == []


def test_gc_leaves_a_holder_that_is_not_dead_and_all_behind_it(tmp_path: Path) -> None:
    """It may keep the database locked: whoever waits for it must be able to say who that is, and to fence it."""
    for number in range(1, 8):
        epochs.path_of(tmp_path, number).touch()
    frozen = os.open(epochs.path_of(tmp_path, 3), os.O_RDWR)
    fcntl.flock(frozen, fcntl.LOCK_EX)
    assert gc(tmp_path, keep=2) == [1, 2]
    assert epochs.numbers(tmp_path) == [3, 4, 5, 6, 7]
    os.close(frozen)
    assert gc(tmp_path, keep=2) == [3, 4, 5]


def test_gc_of_an_empty_directory(tmp_path: Path) -> None:
    assert gc(tmp_path) == []


@pytest.mark.parametrize("name", ["epoch.x", "epoch.", "epoch.007", "epoch.-1", "epoch.١", "epoch.3.bak", "xepoch.9"])
def test_other_files_are_no_epochs(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert epochs.numbers(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"junk", b"[]", b'{"counter": "1"}', b"\xff" * 50])
def test_a_damaged_file_still_counts(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "epoch.4").write_bytes(content)
    assert newest(tmp_path) == EpochFile(4, tmp_path / "epoch.4")
    held = claim(tmp_path, 4)
    assert held.epoch == 5
    held.release()


def test_a_file_that_gc_removes_meanwhile_is_looked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = claim(tmp_path, 0)
    looks = iter([[1, 2], [1]])
    monkeypatch.setattr(epochs, "numbers", lambda _directory: next(looks))
    found = newest(tmp_path)
    assert found is not None
    assert found.number == 1
    held.release()


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LeaseDirectoryError, match="mounted"):
        newest(tmp_path / "none")
    with pytest.raises(LeaseDirectoryError, match="mounted"):
        Lease.claim(tmp_path / "none", "black", [], 0)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "epoch.1").mkdir()
    with pytest.raises(LeaseDirectoryError, match=r"epoch\.1"):
        newest(tmp_path)


@pytest.mark.parametrize("call", ["open", "link", "fsync"])
def test_a_file_system_that_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def refuse(*_arguments: object, **_more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lease_module.os, call, refuse)
    with pytest.raises(LeaseDirectoryError, match=r"No space left on device.*hard links and flock"):
        Lease.claim(tmp_path, "black", [], 0)
    monkeypatch.undo()
    assert names(tmp_path) == []


def test_too_many_addresses(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds 4095"):
        Lease.claim(tmp_path, "black", ["address"] * 1000, 0)


def test_the_presets_keep_their_promise() -> None:
    assert {name: (preset.beat_us, preset.ttl_us) for name, preset in PRESETS.items()} == {
        "slow": (2_000_000, 10_000_000),
        "normal": (600_000, 3_000_000),
        "fast": (200_000, 1_000_000),
    }
    for preset in PRESETS.values():
        # three beats may fail before the holder gives up, and it gives up before a standby claims
        assert preset.beat_us * 3 <= preset.step_down_us < preset.ttl_us


def test_the_clock_counts_microseconds() -> None:
    first = boottime_us()
    assert first > 0
    assert 0 <= boottime_us() - first < 60_000_000


def test_a_file_system_that_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the draft, which is not there, cannot be removed: that must not hide what was wrong."""

    def refuse(*_arguments: object, **_options: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(LeaseDirectoryError, match="cannot be claimed: Read-only file system"):
        Lease.claim(tmp_path, "black", [], 0)
