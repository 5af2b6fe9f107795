"""The directory of segments as the server sees it: one object with what it needs of a log."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from opentec.events.records import Kind, QuarantinePayload, encode, position_of
from opentec.log.segments import segment_paths, segments
from opentec.log.store import LogDirectory, LogStore
from tests.log.helper import INSTANCE, SENDER, add, read_all, writer_of

RESERVE = {"segment_size": 2000, "free_reserve": 0}


@pytest.fixture
def log(tmp_path: Path) -> LogStore:
    return LogDirectory(tmp_path, INSTANCE)


def test_a_log_that_is_empty(log: LogStore) -> None:
    assert log.recover().end == log.oldest() == log.newest_epoch() == log.size() == 0
    assert log.is_complete() and log.oldest_rule_base() is None
    assert list(log.extents()) == log.damage() == log.expire(1 << 60, 0, 1e12) == []
    assert log.place_of(72) == "" and log.quarantined(0, 72) == {} and log.bytes_between(0, 0) == 0


def test_what_is_written_is_read(log: LogStore, tmp_path: Path) -> None:
    writer = log.open_writer(1, log.recover(), **RESERVE)
    writer.activated("hash", "name")
    for number in range(1, 61):
        writer.add(Kind.EVENT, number, b"payload%d" % number, sender=SENDER, sequence=number)
    writer.add(Kind.QUARANTINE, 61, encode(QuarantinePayload(position_of(1, 0), "poison")))
    end = writer.write(writer.take())
    writer.close()
    reader = log.reader(0)
    found = []
    while page := reader.read(end, 7):
        found += page
    reader.close()
    assert found == read_all(tmp_path, end) and len(found) == 61
    assert log.recover().end == end and log.newest_epoch() == 1 and log.oldest() == position_of(1, 0)
    assert log.quarantined(0, end) == {position_of(1, 0): "poison"}
    assert log.bytes_between(found[3].position, end) == end - found[3].position
    assert log.place_of(found[0].position).startswith("segment rx.1.0, byte ")
    assert log.size() == sum(path.stat().st_blocks * 512 for path in segment_paths(tmp_path))
    assert log.disk()[0] >= log.disk()[1] > 0
    assert log.damage() == []


def test_a_writer_clears_the_drafts_of_its_own_and_earlier_epochs_away(log: LogStore, tmp_path: Path) -> None:
    mine, later, odd = (tmp_path / f"rx.{name}.tmp" for name in ("2.0", "3.0", "x"))
    for path in (mine, later, odd):
        path.touch()
    log.open_writer(2, log.recover(), **RESERVE).close()
    assert not mine.exists() and later.exists() and odd.exists()


def test_what_begins_later_than_it_was_begun_is_not_complete(log: LogStore, tmp_path: Path) -> None:
    writer = writer_of(tmp_path, 2, segment_size=2000)  # an epoch before it wrote nothing
    writer.rule_base = "first"
    add(writer, 60)
    writer.close()
    assert log.is_complete()
    first, second, *_ = segments(tmp_path)
    first.path.unlink()
    assert not log.is_complete() and log.oldest() == second.start
    assert log.oldest_rule_base() == ("first", 24)
    data = bytearray(second.path.read_bytes())
    data[140] ^= 1
    second.path.write_bytes(data)
    assert log.oldest_rule_base() is None and not log.is_complete()
    assert log.damage() == [f"segment {second.name}: its header is damaged; a later one holds what it says"]


def test_what_may_be_removed(log: LogStore, tmp_path: Path) -> None:
    writer = writer_of(tmp_path, 1, segment_size=2000)
    add(writer, 110)
    writer.close()
    names = [segment.name for segment in segments(tmp_path)]
    assert len(names) == 5
    end, third = writer.durable, segments(tmp_path)[2]
    (tmp_path / "rx.1.0.bad").touch()
    assert log.expire(0, 0, 1e12) == [], "nothing is committed"
    assert log.expire(end, 1 << 30, 0.0) == [], "neither too much nor too old"
    assert log.expire(third.start, 0, 0.0) == names[:1], "up to the committed position, exclusively"
    assert not (tmp_path / "rx.1.0.bad").exists()
    for path in segment_paths(tmp_path):
        os.utime(path, (100, 100))
    assert log.expire(end, 1 << 30, 99.0) == []
    assert log.expire(end, 1 << 30, 100.0) == names[1:3], "too old, but the last two stay"
    assert log.expire(end, 0, 1e12) == []
