"""One segment of the disk buffer: how its header and its records lie on disk, and how damage in it is passed over.

A segment is named after the number of its first record, 16 digits and `.seg`. It begins with two equal copies of

    0   8  `TECEVBUF`        12  4  salt, random           24  4  zero
    8   4  format version    16  8  first record's number  28  4  CRC-32 of bytes 0 to 27

and goes on with records. A record's header is

    0   4  `TBRe` event, `TBRf` file declaration       16  8  number (0 in declarations)
    4   4  CRC-32 of bytes 8 to 43, continued from     24  8  time, microseconds UTC
           CRC-32 of (salt, place in the file, 0 to 3) 32  8  end offset in the tailed file
    8   4  length of the payload                       40  4  file, as declared in this segment; 0 = none
    12  4  CRC-32 of the payload

followed by the payload: frame data, or the MessagePack of `[scope, path, generation]` whose number is in `file`. A
declaration's end offset is the highest that was buffered for that file before it. Integers are little-endian.

The salt and the place make a header valid at its own place in its own segment only, so that after damage the next
valid one can be searched for; a damaged payload costs its own record (as in docs/log-format.md).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final
from zlib import crc32

import msgspec

FORMAT_VERSION: Final = 1
EVENT: Final = b"TBRe"
DECLARATION: Final = b"TBRf"
MAX_FILES: Final = 60_000  # declarations in one segment; the next one then goes into a new segment

_MAGIC: Final = b"TECEVBUF"
_COPY: Final = struct.Struct("<8sIIQI")
_CRC: Final = struct.Struct("<I")
_COPY_SIZE: Final = _COPY.size + _CRC.size
SEGMENT_HEADER: Final = 2 * _COPY_SIZE
_RECORD: Final = struct.Struct("<4sIIIQQQI")
RECORD_HEADER: Final = _RECORD.size
_SEALED: Final = struct.Struct("<IIQQQI")
_PLACE: Final = struct.Struct("<IQ4s")


class FileRef(msgspec.Struct, frozen=True):
    """A generation of a tailed file (docs/protocol.md "Tailed files")."""

    scope: str
    path: str
    generation: str


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A record as found: `payload` is None when it is damaged, `after` the place behind it."""

    kind: bytes
    at: int
    after: int
    number: int
    time: int
    end_offset: int
    file: int
    payload: bytes | None


class Hole(msgspec.Struct, frozen=True, gc=False):
    """Bytes from `at` to `after` in which no record's header is valid."""

    at: int
    after: int


class Cut(msgspec.Struct, frozen=True, gc=False):
    """From `at` on, the segment ends within a record or in zeros: its last write was torn."""

    at: int
    after: int


def encode_segment_header(salt: int, first: int) -> bytes:
    copy = _COPY.pack(_MAGIC, FORMAT_VERSION, salt, first, 0)
    return (copy + _CRC.pack(crc32(copy))) * 2


def read_segment_header(data: bytes) -> tuple[int, int, int, bool] | None:
    """(version, salt, first number, both copies are good) of the segment that begins with `data`; None = no copy is."""
    found, good = None, 0
    for at in (0, _COPY_SIZE):
        copy = data[at : at + _COPY.size]
        if data[at + _COPY.size : at + _COPY_SIZE] == _CRC.pack(crc32(copy)) and copy.startswith(_MAGIC):
            _, version, salt, first, _ = _COPY.unpack(copy)
            found = found or (version, salt, first)
            good += 1
    return None if found is None else (*found, good == 2)


def encode_record(
    salt: int, at: int, kind: bytes, payload: bytes, number: int, time: int, end_offset: int, file: int
) -> bytes:
    """The record at place `at`, header and payload."""
    sealed = _SEALED.pack(len(payload), crc32(payload), number, time, end_offset, file)
    return kind + _CRC.pack(crc32(sealed, crc32(_PLACE.pack(salt, at, kind)))) + sealed + payload


def entries(data: bytes, salt: int, at: int, base: int = 0) -> Iterator[Entry | Hole | Cut]:
    """Walk over the records in `data` from index `at`; `base` is the place of `data[0]` in the segment.

    Ends without a word at the end of the last whole record, else with a Cut (or with a Hole, where damage reaches up to
    the end). `data` that was read while the segment is being written ends in a Cut that the reader ignores.
    """
    size = len(data)
    unpack, place = _RECORD.unpack_from, _PLACE.pack
    while size - at >= RECORD_HEADER:
        kind, check, length, payload_check, number, time, end_offset, file = unpack(data, at)
        begin = at + RECORD_HEADER
        if (kind != EVENT and kind != DECLARATION) or check != crc32(
            data[at + 8 : begin], crc32(place(salt, base + at, kind))
        ):
            after = _next_header(data, salt, at + 1, base)
            if after == size and not any(data[at:]):
                break
            yield Hole(base + at, base + after)
            at = after
            continue
        after = begin + length
        if after > size:
            # no later header can be valid inside a record that is merely cut; damage to the file's length can hide one
            break
        payload: bytes | None = data[begin:after]
        if crc32(data[begin:after]) != payload_check:
            payload = None
        yield Entry(kind, base + at, base + after, number, time, end_offset, file, payload)
        at = after
    if at < size:
        yield Cut(base + at, base + size)


def _next_header(data: bytes, salt: int, at: int, base: int) -> int:
    """Index of the next valid record header from `at` on, or the end of `data`."""
    while True:
        at = data.find(b"TBR", at)
        if at < 0 or len(data) - at < RECORD_HEADER:
            return len(data)
        kind = data[at : at + 4]
        if kind in (EVENT, DECLARATION):
            check = crc32(data[at + 8 : at + RECORD_HEADER], crc32(_PLACE.pack(salt, base + at, kind)))
            if data[at + 4 : at + 8] == _CRC.pack(check):
                return at
        at += 1
