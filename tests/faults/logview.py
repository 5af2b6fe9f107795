"""The reception log as docs/log-format.md describes it, read without any code of the server."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from tests.faults.msgpack import decode

EVENT, CHANGE, ACTIVATE, TICK, NOTICE, QUARANTINE = range(1, 7)
HAS_OUTCOME = (EVENT, CHANGE, NOTICE)

_PREAMBLE = struct.Struct("<8sIIQQIQII12x")
_RECORD = struct.Struct("<IIIBBHqQ16sQQQ")
_HEADER_AT = 2 * _PREAMBLE.size
_NAME = re.compile(r"rx\.(\d+)\.(\d+)")


class Record(NamedTuple):
    position: int
    after: int
    kind: int
    verdict: int
    time: int
    sender: bytes
    sequence: int
    file: int
    end_offset: int
    payload: bytes


@dataclass
class Segment:
    path: Path
    epoch: int
    number: int
    base: int
    salt: int
    records_at: int
    header: dict[str, Any]
    length: int | None = None  # sealed bytes of records; None: no later segment seals it


class LogView:
    """All segments of a directory. `problems` holds whatever contradicts the format."""

    def __init__(self, directory: Path, *, first_segments_may_be_gone: bool = False) -> None:
        self.problems: list[str] = []
        names = [(match, path) for path in directory.iterdir() if (match := _NAME.fullmatch(path.name))]
        self.segments = sorted(
            (self._segment(path, int(match[1]), int(match[2])) for match, path in names),
            key=lambda segment: (segment.epoch, segment.number),
        )
        self._seal()
        if not first_segments_may_be_gone:
            for segment in self.segments:
                if segment.number == 0 and segment.base != 0:
                    self.problems.append(f"{segment.path.name} begins at {segment.base}, not at 0")

    def _segment(self, path: Path, epoch: int, number: int) -> Segment:
        with path.open("rb") as file:
            copies = [file.read(_PREAMBLE.size) for _ in range(2)]
            good = [copy for copy in copies if len(copy) == 64 and _u32(copy, 48) == crc32(copy[:48])]
            if len(good) != 2 or good[0] != good[1]:
                self.problems.append(f"{path.name}: its two preambles are not both good and equal")
            magic, version, size, salt, own_epoch, own_number, base, header_crc, _ = _PREAMBLE.unpack(good[0])
            if (magic, version, own_epoch, own_number) != (b"TECRXLOG", 1, epoch, number):
                self.problems.append(f"{path.name}: the preamble says {magic!r} {version} {own_epoch}.{own_number}")
            encoded = file.read(size)
        if crc32(encoded) != header_crc:
            self.problems.append(f"{path.name}: the checksum of its header is wrong")
        return Segment(path, epoch, number, base, salt, _HEADER_AT + size, decode(encoded))

    def _seal(self) -> None:
        """Every header that seals a segment must say the same length, and bases must follow from the lengths."""
        by_name = {segment.path.name: segment for segment in self.segments}
        for sealing in self.segments:
            for name, length in sealing.header.get("sealed", {}).items():
                sealed = by_name.get(name)
                if sealed is None:
                    continue
                if sealed.length not in (None, length):
                    self.problems.append(
                        f"{name} is sealed at {sealed.length} and, by {sealing.path.name}, at {length}"
                    )
                sealed.length = length
        for before, after in zip(self.segments, self.segments[1:], strict=False):
            if before.length is None:
                self.problems.append(f"{before.path.name} is not sealed by any later segment")
            elif before.epoch == after.epoch and after.base != before.base + before.length:
                self.problems.append(
                    f"{after.path.name} begins at {after.base}, {before.base + before.length} expected"
                )
        instances = {segment.header.get("instance") for segment in self.segments}
        if len(instances) > 1:
            self.problems.append(f"segments of several instances: {instances}")

    def records(self) -> Iterator[Record]:
        """Every record that counts, in the order of the log."""
        time = 0
        for segment in self.segments:
            for record in self._records(segment):
                if record.time < time:
                    self.problems.append(f"log time goes back at {name_of(record.position)}")
                time = record.time
                yield record

    def _records(self, segment: Segment) -> Iterator[Record]:
        data = segment.path.read_bytes()[segment.records_at :]
        end = len(data) if segment.length is None else segment.length
        if end > len(data):
            self.problems.append(f"{segment.path.name} is sealed at {end} and holds {len(data)}")
            end = len(data)
        seed = crc32(struct.pack("<Q", segment.salt))
        at = 0
        while at + _RECORD.size <= end:
            offset = segment.base + at
            check, size, payload_check, kind, verdict, _, time, sequence, sender, file, covered, _ = (
                _RECORD.unpack_from(data, at)
            )
            if crc32(data[at + 4 : at + _RECORD.size], crc32(struct.pack("<Q", offset), seed)) != check:
                break
            payload = data[at + _RECORD.size : at + _RECORD.size + size]
            if len(payload) < size or crc32(payload) != payload_check:
                self.problems.append(f"{segment.path.name}: the payload at {offset} is damaged")
            position = segment.epoch << 44 | offset
            at += _RECORD.size + size
            yield Record(
                position, position + _RECORD.size + size, kind, verdict, time, sender, sequence, file, covered, payload
            )
        if segment.length is not None and at != segment.length:
            self.problems.append(f"{segment.path.name}: records end at {at}, it is sealed at {segment.length}")


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def name_of(position: int) -> str:
    return f"rx:{position >> 44}:{position & (1 << 44) - 1}"
