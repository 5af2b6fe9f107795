"""How a `.evtx` file is laid out, as far as its reader must know it to find what is new and what is damaged.

A header block of 4,096 bytes is followed by chunks of 64 KiB. The file is a ring: the oldest chunk may lie anywhere, so
chunks are ordered by the record numbers in their headers, never by their place. The library that decodes records reads
a chunk up to its first bad record and says nothing of the ones behind it; what is missing is therefore found here.
"""

from __future__ import annotations

import os
import struct
from typing import Final, NamedTuple
from zlib import crc32

FILE_MAGIC: Final = b"ElfFile\0"
FILE_HEADER: Final = 4096
CHUNK: Final = 65_536
CHUNK_HEADER: Final = 512

_CHUNK_MAGIC: Final = b"ElfChnk\0"
_RECORD_MAGIC: Final = b"**\0\0"
_NUMBERS: Final = struct.Struct("<QQIIII")  # first and last record, header size, last record's place, free, checksum
_RECORD: Final = struct.Struct("<4sIQQ")
_SIZE: Final = struct.Struct("<I")
_SMALLEST_RECORD: Final = _RECORD.size + _SIZE.size
_MOST_RECORDS: Final = CHUNK // _SMALLEST_RECORD


class NotAnEventLog(OSError):
    """A source that is named `.evtx` does not begin as such a file does."""


class Chunk(NamedTuple):
    """The header of one chunk. `free` is where its records end, `check` the checksum of them; `sound` says whether the
    header's own checksum fits."""

    number: int
    first: int
    last: int
    free: int
    check: int
    sound: bool

    @property
    def place(self) -> int:
        """Where the chunk begins in the file, in bytes."""
        return FILE_HEADER + self.number * CHUNK


class RawRecord(NamedTuple):
    """A whole record: its number, its time (100 ns since 1601) and where in the chunk it lies."""

    number: int
    time: int
    at: int
    size: int


def parse_chunk_header(data: bytes, index: int) -> Chunk | None:
    """The header in the first 512 bytes of a chunk; None when it cannot be one."""
    if len(data) < CHUNK_HEADER or not data.startswith(_CHUNK_MAGIC):
        return None
    first, last, _, _, free, records = _NUMBERS.unpack_from(data, 24)
    if not 0 < first <= last < 1 << 63 or last - first >= _MOST_RECORDS or not CHUNK_HEADER <= free <= CHUNK:
        return None
    check = crc32(data[128:CHUNK_HEADER], crc32(data[:120]))
    return Chunk(index, first, last, free, records, check == _SIZE.unpack_from(data, 124)[0])


def walk(data: bytes, chunk: Chunk) -> list[RawRecord]:
    """The whole records of a chunk, in order; bytes that are none are passed over.

    A record counts when its number is one of the chunk's and higher than the one before: behind the newest record
    lie older ones that the ring has not overwritten yet.
    """
    records: list[RawRecord] = []
    at, number = CHUNK_HEADER, chunk.first - 1
    while at + _SMALLEST_RECORD <= chunk.free:
        record = _record_at(data, at, number + 1, chunk)
        if record is None:
            at = data.find(_RECORD_MAGIC, at + 1, chunk.free)
            if at < 0:
                break
            continue
        records.append(record)
        at, number = at + record.size, record.number
    return records


def _record_at(data: bytes, at: int, least: int, chunk: Chunk) -> RawRecord | None:
    if at + _SMALLEST_RECORD > chunk.free:
        return None
    magic, size, number, time = _RECORD.unpack_from(data, at)
    if magic != _RECORD_MAGIC or not _SMALLEST_RECORD <= size <= chunk.free - at or not least <= number <= chunk.last:
        return None
    return RawRecord(number, time, at, size) if _SIZE.unpack_from(data, at + size - 4)[0] == size else None


def bridged(data: bytes, records: list[RawRecord]) -> bytes:
    """The chunk with damaged bytes made part of the record in front of them, so that a reader finds what follows."""
    patched = bytearray(data)
    at = CHUNK_HEADER
    before: RawRecord | None = None
    for record in records:
        if record.at > at:
            if before is not None:
                _SIZE.pack_into(patched, before.at + 4, record.at - before.at)
            elif record.at - at >= _SMALLEST_RECORD:
                _RECORD.pack_into(patched, at, _RECORD_MAGIC, record.at - at, 0, 0)
        before, at = record, record.at + record.size
    return bytes(patched)


class Layout(NamedTuple):
    """What one look at a file found: readable chunks in the order of their records, and the damaged ones with a
    checksum of their content."""

    chunks: list[Chunk]
    damaged: dict[int, int]


def read_file_header(fd: int, path: str) -> bytes:
    """The header block; raises NotAnEventLog, b"" for a file that is still empty."""
    data = os.pread(fd, FILE_HEADER, 0)
    if data and not data.startswith(FILE_MAGIC[: len(data)]):
        raise NotAnEventLog(0, "it is not a Windows event log (.evtx)", path)
    return data if len(data) == FILE_HEADER else b""


def read_chunk(fd: int, index: int) -> bytes:
    """The bytes of a chunk, as if zeros followed where the file ends within it."""
    return os.pread(fd, CHUNK, FILE_HEADER + index * CHUNK).ljust(CHUNK, b"\0")


def look(fd: int, size: int, empty: set[int]) -> Layout:
    """Read the headers of all chunks. `empty` remembers chunks that were never used, to read them once only."""
    chunks: list[Chunk] = []
    damaged: dict[int, int] = {}
    for index in range(-(-max(0, size - FILE_HEADER) // CHUNK)):
        header = os.pread(fd, CHUNK_HEADER, FILE_HEADER + index * CHUNK)
        chunk = parse_chunk_header(header, index)
        if chunk is not None:
            chunks.append(chunk)
            if chunk.sound:
                continue
        elif not any(header):
            # files grow by more than they use: chunks of zeros are room, not damage
            if index in empty:
                continue
            if not any(read_chunk(fd, index)):
                empty.add(index)
                continue
        empty.discard(index)
        damaged[index] = crc32(read_chunk(fd, index))
    return Layout(sorted(chunks, key=lambda each: (each.first, each.last, each.number)), damaged)
