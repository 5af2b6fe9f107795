"""The layout of chunks, and what damage in them leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from opentec.adapters.nt.chunks import (
    CHUNK,
    CHUNK_HEADER,
    NotAnEventLog,
    bridged,
    look,
    parse_chunk_header,
    read_file_header,
    walk,
)
from tests.adapters.nt.evtx_files import chunk, record, write_log


def test_a_header_says_what_the_chunk_holds() -> None:
    header = parse_chunk_header(chunk(5, 9)[:CHUNK_HEADER], 3)
    assert header is not None
    assert (header.number, header.first, header.last, header.sound) == (3, 5, 9, True)
    assert header.place == 4096 + 3 * CHUNK


@pytest.mark.parametrize(
    ("at", "data"),
    [(0, b"x"), (24, b"\xff"), (32, b"\x01\x00"), (30, b"\xff\xff"), (48, b"\0\0\0\0"), (48, b"\xff\xff\xff\xff")],
)
def test_what_cannot_be_a_header(at: int, data: bytes) -> None:
    header = bytearray(chunk(5, 9)[:CHUNK_HEADER])
    header[at : at + len(data)] = data
    assert parse_chunk_header(bytes(header), 0) is None
    assert parse_chunk_header(bytes(header[:100]), 0) is None


def test_records_of_an_earlier_round_of_the_ring_are_passed_over() -> None:
    """They lie behind the newest record, and a torn one may make them look like the next."""
    parts = [record(number) for number in (100, 101)]
    data = chunk(100, 102, records=[*parts, record(7), record(102)])
    header = parse_chunk_header(data[:CHUNK_HEADER], 0)
    assert header is not None
    assert [each.number for each in walk(data, header)] == [100, 101, 102]


def test_records_behind_the_end_are_not_read() -> None:
    data = chunk(1, 3)
    header = parse_chunk_header(data[:CHUNK_HEADER], 0)
    assert header is not None
    assert [each.number for each in walk(data, header._replace(free=header.free - 1))] == [1, 2]


def test_a_bridge_spans_the_damage() -> None:
    parts = [record(number) for number in range(1, 6)]
    parts[0] = parts[2] = b"\xff" * len(parts[2])
    data = chunk(1, 5, records=parts)
    header = parse_chunk_header(data[:CHUNK_HEADER], 0)
    assert header is not None
    records = walk(data, header)
    patched = bridged(data, records)
    found, at = [], CHUNK_HEADER
    while at < header.free:
        found.append(int.from_bytes(patched[at + 8 : at + 16], "little"))
        at += int.from_bytes(patched[at + 4 : at + 8], "little")
    assert found == [0, 2, 4, 5]


def test_a_file_that_is_no_log(tmp_path: Path) -> None:
    path = tmp_path / "x.evtx"
    path.write_bytes(b"something")
    with path.open("rb") as file, pytest.raises(NotAnEventLog):
        read_file_header(file.fileno(), str(path))


def test_unused_chunks_are_looked_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.evtx"
    write_log(path, chunk(1, 2), bytes(CHUNK))
    empty: set[int] = set()
    with path.open("rb") as file:
        for _ in range(2):
            layout = look(file.fileno(), path.stat().st_size, empty)
            assert (len(layout.chunks), layout.damaged, empty) == (1, {}, {1})
