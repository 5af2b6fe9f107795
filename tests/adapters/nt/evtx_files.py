"""Event logs for tests: chunks as Windows lays them out, with JSON where Windows has its own encoding, so that a
decoder of three lines stands in for the library."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any
from zlib import crc32

from opentec.adapters.nt.chunks import CHUNK, CHUNK_HEADER, FILE_HEADER, Chunk, RawRecord

EPOCH = 130_000_000_000_000_000


def event_json(number: int, **system: Any) -> str:
    head = {
        "Provider": {"#attributes": {"Name": "Some Source"}},
        "EventID": 42,
        "Level": 4,
        "EventRecordID": number,
        "Channel": "Application",
        "Computer": "web1",
    }
    return json.dumps({"Event": {"System": {**head, **system}, "EventData": {"n": str(number)}}})


def record(number: int, time: int = EPOCH, text: str | None = None) -> bytes:
    body = (event_json(number) if text is None else text).encode()
    size = -(-(24 + len(body) + 4) // 8) * 8
    head = struct.pack("<4sIQQ", b"**\0\0", size, number, time + number)
    return (head + body).ljust(size - 4, b" ") + struct.pack("<I", size)


def chunk(first: int, last: int, time: int = EPOCH, records: list[bytes] | None = None) -> bytes:
    """A chunk with the records `first` to `last`; `records` takes the place of their bytes."""
    parts = [record(number, time) for number in range(first, last + 1)] if records is None else records
    body = b"".join(parts)
    free = CHUNK_HEADER + len(body)
    header = bytearray(CHUNK_HEADER)
    struct.pack_into("<8sQQQQIIII", header, 0, b"ElfChnk\0", first, last, first, last, 128, 0, free, crc32(body))
    struct.pack_into("<I", header, 124, crc32(header[128:], crc32(header[:120])))
    return (bytes(header) + body).ljust(CHUNK, b"\0")


def write_log(path: Path, *chunks: bytes) -> None:
    path.write_bytes(b"ElfFile\0".ljust(FILE_HEADER, b"\0") + b"".join(chunks))


def decode(_header: bytes, data: bytes, _chunk: Chunk, records: list[RawRecord]) -> dict[int, str]:
    """What the library does, for these files."""
    return {each.number: data[each.at + 24 : each.at + each.size - 4].decode().rstrip() for each in records}
