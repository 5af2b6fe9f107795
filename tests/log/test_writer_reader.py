"""Writing, sealing, recovering, reading: what was durable is read once, in order, across segments and epochs."""

from __future__ import annotations

import itertools
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opentec.events.records import (
    ActivatePayload,
    Kind,
    QuarantinePayload,
    encode,
    name_of,
    parse_position,
    position_of,
)
from opentec.log import writer as writer_module
from opentec.log.codec import DAMAGED
from opentec.log.errors import LogError, LogFull, LogMismatch, LogVersionError, LogWriteFailed
from opentec.log.reader import LogReader, quarantined
from opentec.log.segments import read_head, recover, segments
from opentec.log.writer import LogWriter
from tests.log.helper import INSTANCE, SENDER, add, read_all, writer_of


def test_records_come_back_in_order_across_segments(tmp_path: Path) -> None:
    writer = writer_of(tmp_path, 1, segment_size=1000)
    add(writer, 100)
    found = read_all(tmp_path, writer.durable)
    assert [record.sequence for record in found] == list(range(1, 101))
    assert [record.time for record in found] == list(range(1, 101))
    assert found[0].payload == b"payload1" and found[0].sender == SENDER
    assert all(a.after == b.position for a, b in itertools.pairwise(found))
    assert len(list(tmp_path.glob("rx.1.*"))) > 5


def test_nothing_behind_the_published_position_is_read(tmp_path: Path) -> None:
    writer = writer_of(tmp_path, 1)
    add(writer, 3)
    published = writer.durable
    add(writer, 3, first=4)
    assert len(read_all(tmp_path, published)) == 3


def test_reading_goes_on_where_it_was(tmp_path: Path) -> None:
    writer = writer_of(tmp_path, 1, segment_size=500)
    reader = LogReader(tmp_path, 0)
    seen: list[int] = []
    for first in range(1, 60, 3):
        add(writer, 3, first=first)
        while records := reader.read(writer.durable, 2):
            seen += [record.sequence for record in records]
    assert seen == list(range(1, 61))
    assert reader.read(writer.durable) == []
    reader.close()


@given(
    cuts=st.lists(st.integers(1, 25), min_size=1, max_size=6),
    size=st.integers(200, 3000),
    same_epoch=st.lists(st.booleans(), min_size=6, max_size=6),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
def test_epochs_and_restarts_keep_every_record(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], size: int, same_epoch: list[bool]
) -> None:
    directory = tmp_path_factory.mktemp("rx")
    epoch, following, positions = 1, 1, []
    for count, same in zip(cuts, same_epoch, strict=False):
        writer = writer_of(directory, epoch, segment_size=size)
        add(writer, count, first=following)
        following += count
        positions.append(writer.durable)
        writer.close()
        epoch += 0 if same else 1
    found = read_all(directory, positions[-1])
    assert [record.sequence for record in found] == list(range(1, following))
    recovered = recover(directory, INSTANCE)
    assert recovered.end == positions[-1]
    assert recovered.table.last(SENDER) == following - 1
    assert recovered.time == following - 1
    # from any record on, the rest is the same
    for start in found[:: max(1, len(found) // 5)]:
        assert [r.sequence for r in read_all(directory, positions[-1], start.position)] == list(
            range(start.sequence, following)
        )


def test_an_unfinished_tail_is_discarded_and_said(tmp_path: Path) -> None:
    writer = writer_of(tmp_path, 1, segment_size=4096)
    add(writer, 5)
    end = writer.durable
    writer.add(Kind.EVENT, 6, b"never finished" * 20, sender=SENDER, sequence=6)
    data = b"".join(writer.take()[0].data)
    segment = next(tmp_path.glob("rx.1.0"))
    at = segments(tmp_path)[0].preamble.records_at + (end - position_of(1, 0))
    for cut in range(1, len(data)):
        with segment.open("r+b") as file:
            file.seek(at)
            file.write(data[:cut])
            file.write(bytes(len(data) - cut))
        recovered = recover(tmp_path, INSTANCE)
        assert recovered.end == end, cut
        assert recovered.table.last(SENDER) == 5
        assert recovered.discarded > 0


def test_a_payload_that_ends_in_zeros_survives(tmp_path: Path) -> None:
    writer = writer_of(tmp_path, 1)
    writer.add(Kind.EVENT, 1, b"x" + bytes(50), sender=SENDER, sequence=1)
    writer.write(writer.take())
    assert recover(tmp_path, INSTANCE).end == writer.durable
    writer.add(Kind.TICK, 2)
    writer.write(writer.take())
    assert recover(tmp_path, INSTANCE).end == writer.durable


def test_what_a_stale_writer_appends_behind_the_seal_is_never_read(tmp_path: Path) -> None:
    old = writer_of(tmp_path, 1)
    add(old, 3)
    new = writer_of(tmp_path, 2)
    add(new, 2, first=4)
    add(old, 5, first=100)
    assert [record.sequence for record in read_all(tmp_path, new.durable)] == [1, 2, 3, 4, 5]
    third = writer_of(tmp_path, 3)
    add(third, 1, first=6)
    assert [record.sequence for record in read_all(tmp_path, third.durable)] == [1, 2, 3, 4, 5, 6]


def test_the_table_of_a_header_holds_no_record_behind_it(tmp_path: Path) -> None:
    """A table that were ahead of the records would make the server acknowledge what it does not have."""
    writer = writer_of(tmp_path, 1, segment_size=300)
    for number in range(1, 20):
        writer.add(Kind.EVENT, number, b"p", sender=SENDER, sequence=number)
    chunks = writer.take()
    writer.write(chunks[:3])  # as if the process died in the middle
    recovered = recover(tmp_path, INSTANCE)
    found = read_all(tmp_path, recovered.end)
    assert recovered.table.last(SENDER) == found[-1].sequence


def test_the_active_rule_base_is_found_again(tmp_path: Path) -> None:
    writer = writer_of(tmp_path, 1, segment_size=500)
    writer.add(Kind.ACTIVATE, 1, encode(ActivatePayload("hash1", "default")))
    writer.activated("hash1", "default")
    writer.write(writer.take())
    assert recover(tmp_path, INSTANCE).rule_base == "hash1"
    add(writer, 30, first=2)
    recovered = recover(tmp_path, INSTANCE)
    assert (recovered.rule_base, recovered.rule_base_name) == ("hash1", "default")


def test_quarantined_positions_are_collected_from_headers(tmp_path: Path) -> None:
    writer = writer_of(tmp_path, 1, segment_size=400)
    add(writer, 10)
    writer.add(Kind.QUARANTINE, 11, encode(QuarantinePayload(77, "poison")))
    writer.write(writer.take())
    add(writer, 5, first=12)
    assert quarantined(tmp_path, 0, writer.durable) == {77: "poison"}
    assert quarantined(tmp_path, writer.durable, writer.durable) == {}


def test_segments_of_another_instance_are_refused(tmp_path: Path) -> None:
    add(writer_of(tmp_path, 1), 1)
    with pytest.raises(LogMismatch, match="belongs to instance 0000"):
        recover(tmp_path, "f" * 32)


def test_another_format_version_is_refused_by_name(tmp_path: Path) -> None:
    from zlib import crc32

    add(writer_of(tmp_path, 1), 1)
    segment = tmp_path / "rx.1.0"
    data = bytearray(segment.read_bytes())
    for start in (0, 64):
        data[start + 8 : start + 12] = (9).to_bytes(4, "little")
        data[start + 48 : start + 52] = crc32(data[start : start + 48]).to_bytes(4, "little")
    segment.write_bytes(data)
    with pytest.raises(LogVersionError, match="format version 9"):
        segments(tmp_path)


def test_a_position_outside_the_log_is_a_mismatch(tmp_path: Path) -> None:
    writer = writer_of(tmp_path, 1, segment_size=400)
    add(writer, 20)
    end = writer.durable
    second = writer_of(tmp_path, 2)
    add(second, 1, first=21)
    with pytest.raises(LogMismatch, match="ahead of the log"):
        LogReader(tmp_path, end + 10).read(second.durable)
    (tmp_path / "rx.1.0").unlink()
    with pytest.raises(LogMismatch, match="records between are missing"):
        LogReader(tmp_path, position_of(1, 0) + 1).read(second.durable)


def test_no_room_for_a_segment_is_told_and_can_be_tried_again(tmp_path: Path) -> None:
    writer = writer_of(tmp_path, 1, free_reserve=1 << 60)
    writer.add(Kind.EVENT, 1, b"p", sender=SENDER, sequence=1)
    chunks = writer.take()
    with pytest.raises(LogFull, match=r"rx\.1\.0"):
        writer.write(chunks)
    assert list(tmp_path.iterdir()) == []
    writer._free_reserve = 0
    writer.write(chunks)
    assert len(read_all(tmp_path, writer.durable)) == 1


def test_a_failed_fdatasync_marks_the_segment_bad_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = writer_of(tmp_path, 1)
    add(writer, 3)
    end = writer.durable

    def broken(fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        with pytest.raises(LogWriteFailed, match="Input/output error"):
            add(writer, 3, first=4)
    assert writer.durable == end
    assert (tmp_path / "rx.1.0.bad").exists()
    assert recover(tmp_path, INSTANCE).end == end


@pytest.mark.parametrize("superseded", [False, True])
def test_where_the_mark_fails_too_the_segment_is_cut_back_by_its_owner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, superseded: bool
) -> None:
    writer = writer_of(tmp_path, 1)
    writer.superseded = lambda: superseded
    add(writer, 3)
    end = writer.durable

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        patch.setattr(writer_module, "fsync_directory", broken)
        with pytest.raises(LogWriteFailed):
            add(writer, 3, first=4)
    (tmp_path / "rx.1.0.bad").unlink()
    assert (recover(tmp_path, INSTANCE).end == end) == (not superseded)


def test_what_a_successor_sealed_is_not_taken_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This node stood still in fdatasync; the other one found the record and sealed it; then the sync fails."""
    writer = writer_of(tmp_path, 1)
    add(writer, 3)
    sealed: list[int] = []

    def late(fd: int) -> None:
        monkeypatch.undo()
        successor = writer_of(tmp_path, 2)
        add(successor, 1, first=7)
        sealed.append(successor.durable)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", late)
    with pytest.raises(LogWriteFailed):
        add(writer, 3, first=4)
    assert [record.sequence for record in read_all(tmp_path, sealed[0])] == [1, 2, 3, 4, 5, 6, 7]


def test_unused_space_is_given_back(tmp_path: Path) -> None:
    writer = writer_of(tmp_path, 1, segment_size=1 << 20)
    add(writer, 1)
    assert (tmp_path / "rx.1.0").stat().st_size > 1 << 20
    add(writer_of(tmp_path, 2, segment_size=1 << 20), 1, first=2)
    assert (tmp_path / "rx.1.0").stat().st_size < 1000
    assert stat.S_IMODE((tmp_path / "rx.2.0").stat().st_mode) == 0o640


def test_forgotten_segments_are_not_sealed_again(tmp_path: Path) -> None:
    writer = writer_of(tmp_path, 1, segment_size=300)
    add(writer, 10)
    first, second = segments(tmp_path)[:2]
    first.path.unlink()
    writer.forget([first.name])
    add(writer, 10, first=11)
    found = read_all(tmp_path, writer.durable)
    assert found[0].position == second.start and found[-1].sequence == 20
    header = read_head(segments(tmp_path)[-1].path)[1]
    assert header is not None and first.name not in header.sealed and second.name in header.sealed


def test_bytes_without_a_preamble_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "rx.1.0").write_bytes(b"nonsense" * 100)
    with pytest.raises(LogError, match="no readable preamble"):
        segments(tmp_path)


def test_position_names() -> None:
    position = position_of(3, 4096)
    assert name_of(position) == "rx:3:4096"
    assert parse_position("rx:3:4096") == position
    for wrong in ("rx:3", "rx:a:1", "tx:1:2", ""):
        with pytest.raises(ValueError, match="rx:EPOCH:OFFSET"):
            parse_position(wrong)


def test_waiting_and_end(tmp_path: Path) -> None:
    writer: LogWriter = writer_of(tmp_path, 1)
    assert not writer.waiting
    writer.add(Kind.TICK, 1)
    assert writer.waiting and writer.end == position_of(1, 72)
    assert read_all(tmp_path, writer.durable) == []
    assert DAMAGED == 0
