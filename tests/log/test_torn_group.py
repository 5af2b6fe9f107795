"""Power that fails in the middle of a group: what the disk kept of it is not taken, bit rot is told apart.

One fdatasync makes a group durable, and the disk may write its sectors in any order. Nothing of a group that was not
confirmed was acknowledged, so recovery takes none of it from the first gap on.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from opentec.events.records import Kind, offset_of
from opentec.log import segments as module
from opentec.log.segments import recover, segments
from opentec.log.writer import LogWriter
from tests.log.helper import INSTANCE, SENDER, add, read_all, writer_of

SECTOR = 512


def _groups(directory: Path) -> tuple[LogWriter, Path, list[int]]:
    """Three groups of forty records; gives the file and where each group begins in it."""
    writer = writer_of(directory, 1)
    starts = []
    for group in range(3):
        starts.append(offset_of(writer.durable))
        add(writer, 40, first=group * 40 + 1)
    writer.close()
    segment = segments(directory)[0]
    return writer, segment.path, [segment.preamble.records_at + start for start in starts]


def _zero(path: Path, sector: int) -> None:
    data = bytearray(path.read_bytes())
    data[sector * SECTOR : (sector + 1) * SECTOR] = bytes(SECTOR)
    path.write_bytes(data)


def _sectors(first: int, end: int) -> range:
    """The whole sectors between two places of the file."""
    return range(-(-first // SECTOR), end // SECTOR)


def _end(path: Path) -> int:
    return len(path.read_bytes().rstrip(b"\0"))


@pytest.mark.parametrize("seed", range(20))
def test_a_gap_in_the_last_group_ends_the_log_there(tmp_path: Path, seed: int) -> None:
    _, path, starts = _groups(tmp_path)
    _zero(path, random.Random(seed).choice(_sectors(starts[2], _end(path) - SECTOR)))
    recovered = recover(tmp_path, INSTANCE)
    kept = [record.sequence for record in read_all(tmp_path, recovered.end)]
    assert 80 <= len(kept) < 120
    assert kept == list(range(1, len(kept) + 1))
    assert recovered.table.last(SENDER) == len(kept)  # the sender sends the rest again
    assert recovered.discarded > 0


@pytest.mark.parametrize("seed", range(20))
def test_a_gap_in_an_earlier_group_is_damage_and_costs_what_is_in_it(tmp_path: Path, seed: int) -> None:
    writer, path, starts = _groups(tmp_path)
    _zero(path, random.Random(seed).choice(_sectors(starts[0], starts[2] - SECTOR)))
    recovered = recover(tmp_path, INSTANCE)
    assert recovered.end == writer.durable
    assert recovered.table.last(SENDER) == 120


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_in_the_last_group_is_no_gap(tmp_path: Path, seed: int) -> None:
    writer, path, starts = _groups(tmp_path)
    chance = random.Random(seed)
    data = bytearray(path.read_bytes())
    data[chance.randrange(starts[2], _end(path) - 100)] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    recovered = recover(tmp_path, INSTANCE)
    assert recovered.end == writer.durable
    assert recovered.table.last(SENDER) == 120


@pytest.mark.parametrize("shift", range(0, SECTOR, 8))
def test_a_record_that_is_nearly_all_zeros_is_no_gap(tmp_path: Path, shift: int) -> None:
    """Of a TICK the last 48 bytes are zeros; wherever a sector ends in it, what lies behind it was written with it."""
    writer = writer_of(tmp_path, 1)
    add(writer, 1, payload=b"x" * (SECTOR + shift))
    tick = offset_of(writer.add(Kind.TICK, 2))
    add(writer, 2, first=3)  # one group with the TICK
    writer.close()
    segment = segments(tmp_path)[0]
    data = bytearray(segment.path.read_bytes())
    data[segment.preamble.records_at + tick + 12] ^= 128
    segment.path.write_bytes(data)
    recovered = recover(tmp_path, INSTANCE)
    assert recovered.end == writer.durable
    assert recovered.table.last(SENDER) == 4


def test_a_gap_inside_one_long_payload(tmp_path: Path) -> None:
    writer = writer_of(tmp_path, 1)
    add(writer, 3)
    add(writer, 3, first=4, payload=b"x" * 3000)
    writer.close()
    segment = segments(tmp_path)[0]
    text = segment.path.read_bytes()
    _zero(segment.path, text.index(b"x" * 2000) // SECTOR + 2)
    recovered = recover(tmp_path, INSTANCE)
    assert recovered.table.last(SENDER) == 3


def test_without_the_check_a_gap_loses_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_torn", lambda *args: False)
    _, path, starts = _groups(tmp_path)
    _zero(path, _sectors(starts[2], _end(path) - SECTOR)[1])
    recovered = recover(tmp_path, INSTANCE)
    kept = [record.sequence for record in read_all(tmp_path, recovered.end) if record.sequence]
    # the sender is told that all is there, and it is not
    assert recovered.table.last(SENDER) == 120 and len(kept) < 120
