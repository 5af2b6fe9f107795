"""An adapter's sign of life: written beside the process id, read by whoever asks, and never a reason to end."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from opentec.adapters import sign as module
from opentec.adapters.sign import LifeSign, Sign, read_sign
from opentec.eif.buffer import DiskBuffer
from opentec.eif.errors import BufferLocked
from tests.eif.scripted import until

SECOND = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 100 * SECOND

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    file = tmp_path / "lock"
    file.write_text("7\n")
    return file


@pytest.fixture
def life(lock: Path, clock: Clock) -> Iterator[LifeSign]:
    with LifeSign(lock.parent, 5.0, clock) as found:
        yield found


def test_a_sign_is_there_from_the_beginning(life: LifeSign, lock: Path) -> None:
    assert read_sign(lock, 7) == Sign(100 * SECOND, 5.0, "reading", 0, False)
    assert lock.read_text().startswith("7\n")


def test_what_a_round_ended_with(life: LifeSign, lock: Path, clock: Clock) -> None:
    clock.now += 3 * SECOND
    life.completed(full=True, waiting=12, connected=True)
    life.write()
    assert read_sign(lock, 7) == Sign(103 * SECOND, 5.0, "full", 12, True)
    life.completed(full=False, waiting=2**62, connected=False)
    life.write()
    assert read_sign(lock, 7) == Sign(103 * SECOND, 5.0, "reading", 2**62, False)


def test_a_round_that_failed_is_none(life: LifeSign, lock: Path, clock: Clock) -> None:
    clock.now += 3 * SECOND
    life.failed()
    life.write()
    assert read_sign(lock, 7) == Sign(100 * SECOND, 5.0, "fault", 0, False)


def test_it_is_due_once_a_second_and_when_it_turns_ill_or_sound(life: LifeSign, clock: Clock) -> None:
    life.completed(full=True, waiting=1, connected=False)
    assert not life.due
    clock.now += SECOND - 1
    assert not life.due
    clock.now += 1
    assert life.due
    life.write()
    assert not life.due
    life.failed()
    assert life.due
    life.write()
    assert not life.due
    life.completed(full=False, waiting=1, connected=False)
    assert life.due


@pytest.mark.parametrize(("poll", "seconds"), [(0.1, 10.0), (3.0, 10.0), (5.0, 15.0), (120.0, 360.0)])
def test_patience_grows_with_the_interval(poll: float, seconds: float) -> None:
    assert Sign(0, poll, "reading", 0, False).patience == seconds


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw[:10],
        lambda raw: raw.replace(b"7\n", b"8\n", 1),
        lambda raw: raw.replace(b"reading", b"READING"),
        lambda raw: raw[:-3],
        lambda raw: b"",
        lambda raw: b"7\n",
    ],
)
def test_what_cannot_be_trusted_is_no_sign(life: LifeSign, lock: Path, spoil: object) -> None:
    assert callable(spoil)
    lock.write_bytes(spoil(lock.read_bytes()))
    assert read_sign(lock, 7) is None


@pytest.mark.parametrize(
    "body", [b"2 1 1 reading 0 0", b"1 1 1 reading 0", b"1 1 1 dancing 0 0", b"1 x 1 reading 0 0", b"1 1 1 \xff 0 0"]
)
def test_a_sign_of_another_version_is_none(lock: Path, body: bytes) -> None:
    body = body.ljust(80)
    lock.write_bytes(b"7\n".ljust(24) + b"%08x %b\n" % (module.crc32(body), body))
    assert read_sign(lock, 7) is None


def test_without_a_file_there_is_none(tmp_path: Path) -> None:
    assert read_sign(tmp_path / "lock", 7) is None
    with LifeSign(tmp_path, 1.0) as life:
        assert not life.due
        life.write()
        life.completed(full=False, waiting=0, connected=False)
    assert not (tmp_path / "lock").exists()


def test_it_is_taken_away_at_the_end(life: LifeSign, lock: Path) -> None:
    life.close()
    assert lock.read_text() == "7\n"
    life.write()
    life.close()
    assert lock.read_text() == "7\n"


def test_a_write_that_fails_leaves_none_and_is_tried_again(
    life: LifeSign, lock: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    clock.now += 2 * SECOND
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", refuse)
        life.write()
    assert lock.read_text() == "7\n", "no sign rather than an old one"
    assert not life.due
    clock.now += SECOND
    assert life.due
    life.write()
    assert read_sign(lock, 7) is not None


def test_the_process_id_is_still_read_by_who_finds_the_buffer_in_use(tmp_path: Path) -> None:
    with DiskBuffer(tmp_path), LifeSign(tmp_path, 1.0):
        assert read_sign(tmp_path / "lock", os.getpid()) is not None
        with pytest.raises(BufferLocked, match=f"in use by process {os.getpid()}: each"):
            DiskBuffer(tmp_path)
    with DiskBuffer(tmp_path):
        assert read_sign(tmp_path / "lock", os.getpid()) is None, "that of the one before"


async def test_work_that_waits_for_the_disk_shows(
    life: LifeSign, lock: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLOW", 0.01)
    held = threading.Event()
    work = asyncio.create_task(life.during(lambda: held.wait(30) and None))
    await until(lambda: (found := read_sign(lock, 7)) is not None and found.state == "disk")
    clock.now += SECOND
    held.set()
    await work
    found = read_sign(lock, 7)
    assert found is not None and found.round == 100 * SECOND, "no round was completed"
    life.completed(full=False, waiting=0, connected=False)
    assert life.due


async def test_what_work_raises_is_raised(life: LifeSign) -> None:
    def fail() -> None:
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        await life.during(fail)


def test_who_still_writes_keeps_the_file(life: LifeSign, lock: Path) -> None:
    with life._lock:
        life.close()
    life.write()
    assert read_sign(lock, 7) is not None
