"""Segments as a running buffer sees them, and reading their records."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from opentec.eif.segment import Cut, Entry, FileRef, Hole, entries
from opentec.events.text import format_event

_PIECE: Final = 512 * 1024


class Buffered(msgspec.Struct, frozen=True, gc=False):
    """An event of the buffer. `data` goes into a frame as it is; `time` is in microseconds UTC."""

    sequence: int
    time: int
    file: FileRef | None
    end_offset: int
    data: bytes


class Damage(msgspec.Struct, frozen=True):
    """One damaged place. Records `first` to `last` of the buffer are lost by it; none when `last < first`."""

    path: Path
    at: int
    what: str
    first: int = 1
    last: int = 0

    def __str__(self) -> str:
        lost = self.last - self.first + 1
        text = f"{self.path}: {self.what} at byte {self.at}"
        if lost <= 0:
            return f"{text}; no event is lost"
        return f"{text}; lost: event {self.first}" + (f" to {self.last}" if lost > 1 else "") + " of the buffer"


class Segment:
    """A segment as far as the buffer must know it. `size` counts durable bytes."""

    def __init__(self, path: Path, first: int, salt: int, size: int) -> None:
        self.path = path
        self.first = first
        self.salt = salt
        self.size = size
        self.readable = True  # False: both copies of its header are damaged
        self.files: dict[int, FileRef] = {}
        self.numbers: dict[FileRef, int] = {}

    def declare(self, number: int, file: FileRef) -> None:
        self.files[number] = file
        self.numbers[file] = number


def damaged_event(path: Path, sequence: int) -> str:
    """The event that takes the place of a damaged one in segment `path`, so that the sequence has no gap."""
    message = f"event {sequence} of the disk buffer {path} was damaged on disk and is lost"
    slots = {"source": "EIF", "sub_source": "BUFFER", "file": str(path), "records": 1, "msg": message}
    return format_event("TEC_BufferDamaged", slots)


def read_entries(segment: Segment, at: int, size: int, report: Callable[[Damage], None]) -> Iterator[Entry]:
    """The records of a segment from place `at` up to `size`, read in pieces; what is no record is reported."""
    if not segment.readable:
        return
    try:
        handle = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        report(Damage(segment.path, 0, f"the segment cannot be opened ({error.strerror})"))
        return
    try:
        piece = _PIECE
        while at < size:
            wanted = min(piece, size - at)
            data = os.pread(handle, wanted, at)
            begin, end = at, at + len(data)
            last = end >= size or len(data) < wanted
            for entry in entries(data, segment.salt, 0, begin):
                open_end = isinstance(entry, Cut) or (isinstance(entry, Hole) and entry.after == end)
                if open_end and not last:
                    break
                at = entry.after
                if isinstance(entry, Entry):
                    yield entry
                else:
                    report(Damage(segment.path, entry.at, "a damaged record"))
            if last:
                if len(data) < wanted:
                    report(Damage(segment.path, end, "the segment is shorter than it was"))
                return
            if at == begin:
                piece = size  # a record or a hole reaches beyond the piece
    finally:
        os.close(handle)
