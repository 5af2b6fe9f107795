"""Reading the log forward, from any position up to what was published."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from opentec.events.records import OFFSET_MASK, Kind, Record, decode_quarantine, epoch_of, name_of, offset_of
from opentec.log.codec import decode_records, next_valid, scan, segment_name
from opentec.log.errors import LogError, LogMismatch
from opentec.log.segments import Segment, segments

_CHUNK: Final = 1 << 20


class LogReader:
    """Records in order. Never reads past the position it is given; crosses segments and epochs by itself."""

    def __init__(self, directory: Path, position: int) -> None:
        """`position`: where to go on, as the repository committed it; 0 = from the oldest segment."""
        self.directory, self.position = directory, position
        self._segments: list[Segment] = []
        self._index = 0
        self._fd = -1

    def read(self, limit: int, count: int = 512) -> list[Record]:
        """Up to `count` records before position `limit` (what was published); [] when there is none.

        A place that cannot be read comes out as a record of kind DAMAGED. Raises LogMismatch when the position lies
        before the oldest segment or beyond a sealed length.
        """
        if self.position >= limit:
            return []
        while True:
            if self._stale(limit):
                self._reload()
            if not self._segments:
                return []
            segment = self._segments[self._index]
            if segment.end is None and epoch_of(limit) > segment.epoch:
                raise LogError(f"no later segment seals {segment.name}: the log must be recovered before it is read")
            self.position = max(self.position, segment.start)
            end = limit if segment.end is None else min(limit, segment.end)
            if self.position < end:
                break
            if self._index + 1 == len(self._segments):
                known = len(self._segments)
                self._reload()
                if len(self._segments) == known:
                    return []
            else:
                self.close()
                self._index += 1
        records = self._decode(segment, end, count)
        if records:
            self.position = records[-1].after
        return records

    def _stale(self, limit: int) -> bool:
        """Has the segment that was the last one been sealed since the list was made?"""
        if not self._segments:
            return True
        segment = self._segments[self._index]
        if segment.end is not None:
            return False
        following = self.directory / segment_name(segment.epoch, segment.number + 1)
        return epoch_of(limit) > segment.epoch or following.exists()

    def _decode(self, segment: Segment, end: int, count: int) -> list[Record]:
        if self._fd < 0:
            self._fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        offset = offset_of(self.position)
        at = segment.preamble.records_at + offset - segment.preamble.base
        size = min(_CHUNK, end - self.position)
        while True:
            data = os.pread(self._fd, size, at)
            last = self.position + size >= end
            if last and len(data) < size:  # the file is shorter than what was published: damage up to there
                data = data.ljust(size, b"\0")
            records, _ = decode_records(data, segment.preamble.seed, offset, segment.epoch, limit=count, last=last)
            if records or last:
                return records
            size = min(2 * size, end - self.position)

    def _reload(self) -> None:
        self.close()
        self._segments = segments(self.directory)
        self._index = 0
        if self.position == 0 or not self._segments:
            return
        first = self._segments[0]
        if self.position < first.start:
            raise LogMismatch(
                f"the log goes back to {name_of(first.start)}, but the repository wants to go on at "
                f"{name_of(self.position)}: records between are missing"
            )
        for index, segment in enumerate(self._segments):
            if segment.start > self.position:
                break
            self._index = index
        segment = self._segments[self._index]
        if segment.end is not None and segment.epoch == epoch_of(self.position) and self.position > segment.end:
            raise LogMismatch(
                f"the repository stands at {name_of(self.position)}, but segment {segment.name} was sealed at "
                f"{name_of(segment.end)}: the repository is ahead of the log"
            )

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def quarantined(directory: Path, since: int, limit: int) -> dict[int, str]:
    """Positions that QUARANTINE records between `since` and `limit` name, with the reasons (spine: poison)."""
    found: dict[int, str] = {}
    for segment in segments(directory):
        end = limit if segment.end is None else min(segment.end, limit)
        if end <= segment.start or (segment.end is not None and segment.end <= since):
            continue
        data = memoryview(_records_of(segment, end))
        seed, base = segment.preamble.seed, segment.preamble.base
        following: int | None = 0
        while following is not None:  # behind damage, later ones are still there
            start = at = following
            for record in scan(data[start:], seed, base + start):
                if record.kind == Kind.QUARANTINE and record.whole:
                    payload = decode_quarantine(bytes(data[start + record.payload_at :][: record.payload_length]))
                    found[payload.position] = payload.reason
                at = record.after - base
            following = next_valid(data, seed, base, at + 1)
    return found


def _records_of(segment: Segment, end: int) -> bytes:
    with segment.path.open("rb") as file:
        file.seek(segment.preamble.records_at)
        return file.read((end & OFFSET_MASK) - segment.preamble.base)


def iterate(directory: Path, since: int, limit: int, count: int = 512) -> Iterator[list[Record]]:
    """All records between two positions, in lists; for dumps and tests."""
    reader = LogReader(directory, since)
    try:
        while records := reader.read(limit, count):
            yield records
    finally:
        reader.close()
