"""What a superseded writer does behind the seal, what a stranger may fill the log's headers with, and failing disks."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from opentec.events.records import Kind, epoch_of, position_of
from opentec.log import segments as module
from opentec.log import table as table_module
from opentec.log.errors import LogWriteFailed
from opentec.log.segments import recover, segments
from opentec.log.table import FILE_HORIZON, SenderTable
from tests.log.helper import INSTANCE, SENDER, add, read_all, writer_of


def test_a_segment_that_a_superseded_writer_makes_after_the_takeover_holds_nothing(tmp_path: Path) -> None:
    stale = writer_of(tmp_path, 1, segment_size=4096)
    add(stale, 3)
    new = writer_of(tmp_path, 2, segment_size=4096)
    add(new, 2, first=4)
    add(stale, 60, first=4, payload=b"x" * 100)  # wakes up: the rest of its segment, and another one
    assert [path.name for path in module.segment_paths(tmp_path)][1:] == ["rx.1.1", "rx.1.2", "rx.2.0"]
    assert [record.sequence for record in read_all(tmp_path, new.durable)] == [1, 2, 3, 4, 5]
    recovered = recover(tmp_path, INSTANCE)
    assert recovered.table.last(SENDER) == 5 and recovered.end == new.durable
    newest = writer_of(tmp_path, 3)
    add(newest, 1, first=6)
    assert [record.sequence for record in read_all(tmp_path, newest.durable)] == [1, 2, 3, 4, 5, 6]
    add(new, 40, first=6, payload=b"x" * 100)
    assert [record.sequence for record in read_all(tmp_path, newest.durable)] == [1, 2, 3, 4, 5, 6]
    for writer in (stale, new, newest):
        writer.close()


def test_listing_the_segments_reads_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = writer_of(tmp_path, 1, segment_size=4096)
    add(writer, 200)
    monkeypatch.setattr(module, "decode_header", None)
    found = segments(tmp_path)
    assert len(found) > 2 and [segment.length is None for segment in found] == [False] * (len(found) - 1) + [True]
    writer.close()


def test_a_damaged_newest_header_leaves_the_one_before_to_seal(tmp_path: Path) -> None:
    writer = writer_of(tmp_path, 1, segment_size=4096)
    add(writer, 200)
    before = segments(tmp_path)
    with before[-1].path.open("r+b") as file:
        file.seek(128)
        file.write(b"\xff" * 20)
    assert segments(tmp_path) == before
    writer.close()


def test_files_count_against_the_limit_of_the_table_as_senders_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "MAX_ENTRIES", limit := 5000)
    table = SenderTable()
    now = 1_000_000
    table.senders = {n.to_bytes(16, "big"): (1, n, n % 2) for n in range(1000)}
    table.files = {n: (1, n, n) for n in range(limit)}
    table.prune(now)
    assert len(table.senders) + len(table.files) == limit
    assert not any(once for _, _, once in table.senders.values()), "one-shot senders go first"
    oldest_file, oldest_sender = min(table.files.values())[2], min(time for _, time, _ in table.senders.values())
    assert abs(oldest_file - oldest_sender) <= 1, "then the oldest, whichever they are"
    table.prune(now + FILE_HORIZON)
    assert len(table.files) == 0


def test_a_writer_with_nothing_to_write_keeps_the_segment_s_header_for_later(tmp_path: Path) -> None:
    writer = writer_of(tmp_path, 1)
    assert writer.take() == []
    assert writer.write([]) == position_of(1, 0)
    add(writer, 2)
    assert len(read_all(tmp_path, writer.durable)) == 2
    assert writer.take() == []
    writer.close()


def test_a_disk_that_takes_neither_cut_nor_mark_is_still_a_failed_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = writer_of(tmp_path, 1)
    add(writer, 1)

    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    for name in ("fdatasync", "ftruncate", "fsync"):
        monkeypatch.setattr(os, name, fails)
    monkeypatch.setattr(Path, "write_text", fails)
    writer.add(Kind.TICK, 9)
    with pytest.raises(LogWriteFailed, match="Input/output error; nothing of it is acknowledged"):
        writer.write(writer.take())
    assert epoch_of(writer.durable) == 1 and len(read_all(tmp_path, writer.durable)) == 1
    writer.close()
