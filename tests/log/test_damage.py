"""Bit rot: each damaged place is named, only the damaged record is lost, every later one is read."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from opentec.events.records import Kind, QuarantinePayload, encode, position_of
from opentec.log.codec import DAMAGED
from opentec.log.errors import LogError
from opentec.log.reader import quarantined
from opentec.log.segments import damaged_heads, place_of, read_head, recover, segments
from tests.log.helper import INSTANCE, SENDER, add, read_all, writer_of


def _log(directory: Path) -> int:
    writer = writer_of(directory, 1, segment_size=2000)
    add(writer, 60)
    writer.close()
    writer = writer_of(directory, 2, segment_size=2000)  # seals all of epoch 1
    add(writer, 1, first=61)
    writer.close()
    return writer.durable


@pytest.mark.parametrize("seed", range(60))
def test_one_flipped_bit_costs_one_record_at_most(tmp_path: Path, seed: int) -> None:
    end = _log(tmp_path)
    whole = [record.sequence for record in read_all(tmp_path, end)]
    chance = random.Random(seed)
    segment = chance.choice([s for s in segments(tmp_path) if s.epoch == 1])
    data = bytearray(segment.path.read_bytes())
    at = chance.randrange(segment.preamble.records_at, len(data))
    data[at] ^= 1 << chance.randrange(8)
    segment.path.write_bytes(data)
    found = read_all(tmp_path, end)
    damaged = [record for record in found if record.kind == DAMAGED]
    assert len(damaged) == 1
    kept = [record.sequence for record in found if record.kind != DAMAGED]
    assert len(kept) == len(whole) - 1 and set(kept) < set(whole)
    recovered = recover(tmp_path, INSTANCE)
    assert recovered.end == end and recovered.table.last(SENDER) == 61


@pytest.mark.parametrize("seed", range(40))
def test_damage_in_an_unsealed_segment_keeps_what_follows(tmp_path: Path, seed: int) -> None:
    writer = writer_of(tmp_path, 1)
    add(writer, 30)
    writer.close()
    segment = segments(tmp_path)[0]
    data = bytearray(segment.path.read_bytes())
    start = segment.preamble.records_at
    chance = random.Random(seed)
    length = writer.durable & ((1 << 44) - 1)
    at = start + chance.randrange(length - 100)  # not in the last record: that would be a torn tail
    data[at] ^= 1 << chance.randrange(8)
    segment.path.write_bytes(data)
    recovered = recover(tmp_path, INSTANCE)
    assert recovered.end == writer.durable
    assert recovered.table.last(SENDER) == 30


def test_a_damaged_preamble_has_a_copy(tmp_path: Path) -> None:
    end = _log(tmp_path)
    segment = segments(tmp_path)[0].path
    data = bytearray(segment.read_bytes())
    data[0:64] = bytes(64)
    segment.write_bytes(data)
    assert len(read_all(tmp_path, end)) == 61


def test_a_damaged_table_is_rebuilt_from_the_segment_before(tmp_path: Path) -> None:
    end = _log(tmp_path)
    newest = segments(tmp_path)[-1]
    data = bytearray(newest.path.read_bytes())
    data[130] ^= 255
    newest.path.write_bytes(data)
    assert read_head(newest.path)[1] is None
    recovered = recover(tmp_path, INSTANCE)
    assert recovered.table.last(SENDER) == 61 and recovered.end == end
    with pytest.raises(LogError, match="no later segment seals"):
        read_all(tmp_path, end)
    add(writer_of(tmp_path, 3), 1, first=62)  # the next writer seals them all again
    assert len(read_all(tmp_path, end)) == 61


def test_a_file_that_lost_its_end_is_damage_not_a_crash(tmp_path: Path) -> None:
    end = _log(tmp_path)
    segment = [s for s in segments(tmp_path) if s.epoch == 1][1]
    with segment.path.open("r+b") as file:
        file.truncate(segment.preamble.records_at + 100)
    found = read_all(tmp_path, end)
    assert DAMAGED in [record.kind for record in found]
    assert found[-1].sequence == 61


@pytest.mark.parametrize("seed", range(60))
def test_a_flipped_bit_in_front_of_the_records_is_named_and_costs_nothing(tmp_path: Path, seed: int) -> None:
    end = _log(tmp_path)
    whole = read_all(tmp_path, end)
    assert damaged_heads(tmp_path) == []
    chance = random.Random(seed)
    segment = chance.choice(segments(tmp_path)[:-1])
    data = bytearray(segment.path.read_bytes())
    data[chance.randrange(segment.preamble.records_at)] ^= 1 << chance.randrange(8)
    segment.path.write_bytes(data)
    (said,) = damaged_heads(tmp_path)
    assert segment.name in said
    assert read_all(tmp_path, end) == whole


def test_a_head_that_the_disk_does_not_give_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _log(tmp_path)
    bad = segments(tmp_path)[0].path
    usual = Path.open

    def failing(self: Path, *arguments: str) -> object:
        if self == bad:
            raise OSError(5, "Input/output error")
        return usual(self, *arguments)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", failing)
    assert damaged_heads(tmp_path) == [f"segment {bad.name}: its head cannot be read: Input/output error"]


@pytest.mark.parametrize("hit", [1, 20], ids=["header", "payload"])
def test_damage_hides_no_later_record_that_was_set_aside(tmp_path: Path, hit: int) -> None:
    writer = writer_of(tmp_path, 1)
    positions = [writer.end]
    add(writer, 1)
    for reason in ("before", "behind"):
        writer.add(Kind.QUARANTINE, 2, encode(QuarantinePayload(positions[0], reason)))
        positions.append(writer.end)
        add(writer, 1, first=len(positions) + 1)
    writer.close()
    segment = segments(tmp_path)[0]
    data = bytearray(segment.path.read_bytes())
    data[segment.preamble.records_at + positions[1] - segment.start + hit] ^= 1
    segment.path.write_bytes(data)
    assert quarantined(tmp_path, 0, writer.durable) == {positions[0]: "behind"}


def test_the_place_of_a_position_for_a_person(tmp_path: Path) -> None:
    end = _log(tmp_path)
    for segment in segments(tmp_path):
        at = segment.preamble.records_at
        assert place_of(tmp_path, segment.start) == f"segment {segment.name}, byte {at}"
        assert place_of(tmp_path, segment.start + 100) == f"segment {segment.name}, byte {at + 100}"
    assert place_of(tmp_path, position_of(3, 0)) == ""
    segments(tmp_path)[0].path.unlink()
    assert place_of(tmp_path, 0) == "" and place_of(tmp_path, end) != ""
