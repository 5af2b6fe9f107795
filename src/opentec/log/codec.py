"""Bytes of segments and records (docs/log-format.md). Nothing here touches a file."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

from opentec.events.records import NO_SENDER, OFFSET_BITS, Record
from opentec.log.errors import LogError, LogVersionError

VERSION: Final = 1
MAGIC: Final = b"TECRXLOG"
PREAMBLE_SIZE: Final = 64
HEADER_AT: Final = 2 * PREAMBLE_SIZE
MAX_HEADER: Final = 64 << 20
MAX_PAYLOAD: Final = 32 << 20
FLAG_ONCE: Final = 1  # its sender sends one event only
FLAG_GROUP: Final = 2  # the first record of what one fdatasync made durable

_preamble = struct.Struct("<8sIIQQIQII")
_record = struct.Struct("<IIIBBHqQ16sQQQ")
_body = struct.Struct("<IIBBHqQ16sQQQ")  # the record header without its own checksum
_offset = struct.Struct("<Q")
RECORD_SIZE: Final = _record.size
assert RECORD_SIZE == 72

DAMAGED: Final = 0  # the kind of the stand-in for a record that cannot be read


class SegmentHeader(msgspec.Struct, forbid_unknown_fields=False):
    """The encoded header of a segment."""

    instance: str
    sealed: dict[str, int] = {}
    senders: dict[bytes, tuple[int, int, int]] = {}  # uuid -> last sequence, log time, 1 = one-shot
    files: dict[int, tuple[int, int, int]] = {}  # generation -> covered offset, path, log time
    rule_base: str = ""
    rule_base_name: str = ""
    time: int = 0


class Preamble(NamedTuple):
    """The fixed part at the start of a segment."""

    header_length: int
    salt: int
    epoch: int
    number: int
    base: int
    header_crc: int

    @property
    def records_at(self) -> int:
        """File offset of the first record."""
        return HEADER_AT + self.header_length

    @property
    def seed(self) -> int:
        return seed_of(self.salt)


def seed_of(salt: int) -> int:
    """The checksum that every record header of a segment continues."""
    return crc32(_offset.pack(salt))


_header_decoder = msgspec.msgpack.Decoder(SegmentHeader)
_header_encoder = msgspec.msgpack.Encoder()


def encode_segment_head(header: SegmentHeader, *, salt: int, epoch: int, number: int, base: int) -> bytes:
    """Both preambles and the encoded header: everything before the first record."""
    encoded = _header_encoder.encode(header)
    fixed = _preamble.pack(MAGIC, VERSION, len(encoded), salt, epoch, number, base, crc32(encoded), 0)[:48]
    preamble = (fixed + struct.pack("<I", crc32(fixed))).ljust(PREAMBLE_SIZE, b"\0")
    return preamble + preamble + encoded


def decode_preamble(data: bytes, name: str) -> Preamble:
    """Read the first undamaged of the two preambles; raises LogVersionError, LogError."""
    for start in (0, PREAMBLE_SIZE):
        block = data[start : start + PREAMBLE_SIZE]
        if len(block) < PREAMBLE_SIZE or block[:8] != MAGIC:
            continue
        _, version, length, salt, epoch, number, base, header_crc, own_crc = _preamble.unpack_from(block)
        if crc32(block[:48]) != own_crc:
            continue
        if version != VERSION:
            raise LogVersionError(
                f"segment {name} has format version {version}; this program reads version {VERSION}: "
                "use the opentec that wrote it"
            )
        if length > MAX_HEADER:
            continue
        return Preamble(length, salt, epoch, number, base, header_crc)
    raise LogError(f"segment {name} begins with no readable preamble")


def whole_preambles(data: bytes) -> int:
    """How many of the two copies at the beginning of a segment are undamaged."""
    blocks = (data[:PREAMBLE_SIZE], data[PREAMBLE_SIZE:HEADER_AT])
    return sum(block[48:52] == struct.pack("<I", crc32(block[:48])) and not any(block[52:]) for block in blocks)


def decode_header(encoded: bytes, preamble: Preamble) -> SegmentHeader | None:
    """The encoded header, or None when it is damaged."""
    if crc32(encoded) != preamble.header_crc:
        return None
    try:
        return _header_decoder.decode(encoded)
    except msgspec.DecodeError:
        return None


class _Seals(msgspec.Struct):
    sealed: dict[str, int] = {}


_seals_decoder = msgspec.msgpack.Decoder(_Seals)


def decode_sealed(encoded: bytes, preamble: Preamble) -> dict[str, int] | None:
    """What an encoded header seals, without its table, which may be large; None when the header is damaged."""
    if crc32(encoded) != preamble.header_crc:
        return None
    try:
        return _seals_decoder.decode(encoded).sealed
    except msgspec.DecodeError:
        return None


def encode_record(
    seed: int,
    offset: int,
    kind: int,
    verdict: int,
    time: int,
    payload: bytes,
    sender: bytes = NO_SENDER,
    sequence: int = 0,
    flags: int = 0,
    file: int = 0,
    end_offset: int = 0,
    path: int = 0,
) -> bytes:
    """One record as it lies on disk. `offset` is its offset within the epoch."""
    body = _body.pack(
        len(payload), crc32(payload), kind, verdict, flags, time, sequence, sender, file, end_offset, path
    )
    return crc32(body, crc32(_offset.pack(offset), seed)).to_bytes(4, "little") + body + payload


class RawRecord(NamedTuple):
    """What recovery needs of a record: its identities, without its payload."""

    offset: int
    after: int
    kind: int
    flags: int
    time: int
    sequence: int
    sender: bytes
    file: int
    end_offset: int
    path: int
    payload_at: int  # index into the scanned bytes
    payload_length: int
    whole: bool  # the payload's checksum is right


def scan(data: bytes | memoryview, seed: int, offset: int) -> Iterator[RawRecord]:
    """Records from the start of `data`, whose first byte has `offset` within the epoch.

    Ends at the first place that holds no valid record header. A damaged payload comes out with `whole` False.
    """
    at, size = 0, len(data)
    unpack, pack, head = _record.unpack_from, _offset.pack, RECORD_SIZE
    view = memoryview(data)
    while at + head <= size:
        crc, length, payload_crc, kind, _verdict, flags, time, sequence, sender, file, end, path = unpack(view, at)
        if length > MAX_PAYLOAD or crc32(view[at + 4 : at + head], crc32(pack(offset), seed)) != crc:
            return
        end_at = at + head + length
        if end_at > size:
            return
        whole = crc32(view[at + head : end_at]) == payload_crc
        after = offset + head + length
        yield RawRecord(offset, after, kind, flags, time, sequence, sender, file, end, path, at + head, length, whole)
        at, offset = end_at, after


# kind, verdict and flags of a plausible record header: what a search for the next one looks for
_plausible = re.compile(rb"[\x01-\x0f][\x00\x01][\x00-\x03]\x00", re.DOTALL)
_KIND_AT: Final = 12


def next_valid(data: bytes | memoryview, seed: int, offset: int, start: int) -> int | None:
    """Index of the next valid record header at or after `start`; `offset` belongs to index 0. None if there is none."""
    view = memoryview(data)
    search_from, limit = start + _KIND_AT, len(view) - RECORD_SIZE
    while match := _plausible.search(view, search_from):
        at = match.start() - _KIND_AT
        if at > limit:
            return None
        crc, length = int.from_bytes(view[at : at + 4], "little"), int.from_bytes(view[at + 4 : at + 8], "little")
        if (
            length <= MAX_PAYLOAD
            and crc32(view[at + 4 : at + RECORD_SIZE], crc32(_offset.pack(offset + at), seed)) == crc
        ):
            return at
        search_from = match.start() + 1
    return None


def decode_records(
    data: bytes | memoryview, seed: int, offset: int, epoch: int, *, limit: int = 1 << 30, last: bool = True
) -> tuple[list[Record], int]:
    """Up to `limit` records of `data` and the number of bytes they take.

    With `last`, `data` ends where the readable log ends, so what is no record there is damage: it comes out as a
    record of kind DAMAGED that reaches to the next valid header (or to the end). Without, reading stops there.
    """
    records: list[Record] = []
    append = records.append
    at, size, high = 0, len(data), epoch << OFFSET_BITS
    unpack, pack, head = _record.unpack_from, _offset.pack, RECORD_SIZE
    time = 0
    raw = bytes(data)
    while at < size and len(records) < limit:
        length = MAX_PAYLOAD + 1
        if at + head <= size:
            crc, length, payload_crc, kind, verdict, _, time_, sequence, sender, file, end, _ = unpack(raw, at)
        position = high + offset + at
        if length > MAX_PAYLOAD or crc32(raw[at + 4 : at + head], crc32(pack(offset + at), seed)) != crc:
            if not last:
                break
            found = next_valid(raw, seed, offset, at + 1)
            end_at = size if found is None else found
            append(Record(position, high + offset + end_at, DAMAGED, 0, time))
            at = end_at
            continue
        end_at = at + head + length
        if end_at > size:
            if not last:
                break
            append(Record(position, high + offset + size, DAMAGED, 0, time_))
            at = size
            continue
        payload = raw[at + head : end_at]
        time = time_
        if crc32(payload) != payload_crc:
            append(Record(position, high + offset + end_at, DAMAGED, 0, time))
        else:
            append(Record(position, high + offset + end_at, kind, verdict, time, sender, sequence, file, end, payload))
        at = end_at
    return records, at


def segment_name(epoch: int, number: int) -> str:
    return f"rx.{epoch}.{number}"


def parse_segment_name(name: str) -> tuple[int, int] | None:
    """(epoch, number) of a segment's file name, None for any other name."""
    parts = name.split(".")
    if len(parts) != 3 or parts[0] != "rx" or not (parts[1].isdigit() and parts[2].isdigit()):
        return None
    return int(parts[1]), int(parts[2])
