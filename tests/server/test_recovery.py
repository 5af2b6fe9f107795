"""Recovery counts what it replays and says how far it is; the page outlives the process that counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from opentec.events.records import Kind, Record, position_of
from opentec.log.store import LogDirectory
from opentec.server.progress import Progress, Word
from opentec.server.recovery import Recovery
from opentec.server.report import disk, recovery
from tests.server.kit import UUID


class Clock:
    def __init__(self) -> None:
        self.now = 5_000_000

    def __call__(self) -> int:
        return self.now


def records(first: int, count: int, size: int = 100) -> list[Record]:
    at = position_of(1, 0)
    return [
        Record(at + number * size, at + (number + 1) * size, Kind.EVENT, 0, 0) for number in range(first, first + count)
    ]


def test_progress_rate_and_what_is_to_go(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    clock, progress = Clock(), Progress()
    assert recovery(progress, clock) is None
    counting = Recovery(progress, LogDirectory(tmp_path, UUID), clock)
    counting.begin(position_of(1, 0), position_of(1, 1000))
    assert counting.active and recovery(progress, clock) == {
        "done": False,
        "records": 0,
        "to_go": None,
        "bytes": 0,
        "bytes_to_go": 1000,
        "rate": 0,
        "seconds": 0.0,
    }
    clock.now += 900_000
    counting.count(records(0, 2))
    assert "recovery: 2" not in caplog.text
    clock.now += 1_100_000
    counting.count(records(2, 2))
    assert "recovery: 4 records replayed in 2.0 s (2 a second), about 6 to go" in caplog.text
    # what came in meanwhile is not replay
    counting.count(records(4, 8))
    progress[Word.COMMITTED] = position_of(1, 999)
    counting.look()
    assert counting.active
    progress[Word.COMMITTED] = position_of(1, 1200)
    counting.look()
    clock.now += 60_000_000
    found = recovery(progress, clock)
    assert found is not None and found["done"] and found["seconds"] == 2.0
    assert (found["records"], found["to_go"], found["bytes_to_go"]) == (10, 0, 0)
    assert not counting.active and "recovered: 10 records" in caplog.text


def test_a_rule_process_that_begins_anew_goes_on_counting(tmp_path: Path) -> None:
    clock, progress = Clock(), Progress()
    first = Recovery(progress, LogDirectory(tmp_path, UUID), clock)
    first.begin(position_of(1, 0), position_of(1, 1000))
    first.count(records(0, 8))
    second = Recovery(progress, LogDirectory(tmp_path, UUID), clock)
    second.begin(position_of(1, 400), position_of(1, 5000))  # half of that was committed, and the log has grown
    found = recovery(progress, clock)
    assert found is not None and (found["records"], found["bytes"], found["bytes_to_go"]) == (4, 400, 600)
    progress[Word.COMMITTED] = position_of(1, 1000)
    second.look()
    third = Recovery(progress, LogDirectory(tmp_path, UUID), clock)
    third.begin(position_of(1, 1000), position_of(1, 6000))
    assert not third.active, "that was no takeover"


def test_nothing_to_replay(tmp_path: Path) -> None:
    progress = Progress()
    counting = Recovery(progress, LogDirectory(tmp_path, UUID))
    counting.begin(position_of(1, 10), position_of(1, 10))
    counting.look()
    assert not counting.active and recovery(progress) is None
    progress[Word.RECOVERED] = 1
    counting.begin(position_of(1, 10), position_of(1, 99))
    assert not counting.active


def test_a_slow_disk_is_told_with_its_age() -> None:
    progress = Progress()
    assert disk(progress) == {"sync_ms": 0.0, "slow_ms": None, "slow_ago": None}
    progress[Word.SYNC_LAST], progress[Word.SLOW_SYNC], progress[Word.SLOW_SYNC_AT] = 1500, 2_000_000, 1_000_000
    assert disk(progress, lambda: 8_000_000) == {"sync_ms": 1.5, "slow_ms": 2000, "slow_ago": 7}
