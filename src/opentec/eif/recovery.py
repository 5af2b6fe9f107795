"""Opening a disk buffer: find its segments, walk over their records, name what is damaged."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from opentec.eif.errors import BufferUnusable
from opentec.eif.identity import version_message
from opentec.eif.reading import Damage, Segment
from opentec.eif.segment import (
    DECLARATION,
    FORMAT_VERSION,
    RECORD_HEADER,
    SEGMENT_HEADER,
    Cut,
    FileRef,
    Hole,
    encode_segment_header,
    entries,
    read_segment_header,
)

SMALLEST_EVENT: Final = RECORD_HEADER + 8


class Recovered(msgspec.Struct):
    """What was found. `appendable`: the last segment's end is known, so that it may grow."""

    segments: list[Segment]
    next_number: int
    positions: dict[FileRef, int]
    appendable: bool
    torn: int  # bytes of an unfinished write that were cut off; they were never flushed
    unknown: bool  # how many events were lost behind the end is not known: sequences may have been used


def recover(directory: Path, report: Callable[[Damage], None], acked: int) -> Recovered:
    """Walk over all segments of `directory`; a torn end of the last one is cut off.

    `acked` is the highest record that is known to be acknowledged. Raises BufferUnusable for another format version,
    OSError when a segment cannot be read.
    """
    for leftover in directory.glob("*.tmp"):
        leftover.unlink()
    paths = sorted(path for path in directory.glob("*.seg") if path.stem.isdigit())
    found = Recovered([], 1, {}, True, 0, False)
    for index, path in enumerate(paths):
        following = int(paths[index + 1].stem) if index + 1 < len(paths) else None
        if following is not None and following <= acked + 1 and path.stat().st_size == SEGMENT_HEADER:
            path.unlink()  # nothing is missing: it was emptied to make room, and the next one was begun
            continue
        _recover_segment(found, path, following, report)
    return found


def _recover_segment(found: Recovered, path: Path, following: int | None, report: Callable[[Damage], None]) -> None:
    first = int(path.stem)
    data = path.read_bytes()
    header = read_segment_header(data[:SEGMENT_HEADER])
    if header is None or header[2] != first:
        if following is None:
            # nothing says how many events were in it: its name is kept free, and one number stands for them all
            path.rename(path.with_suffix(".bad"))
            report(Damage(path, 0, "both copies of the segment's header are damaged (kept as .bad)", first, first))
            found.next_number, found.appendable, found.unknown = first + 1, False, True
            return
        report(Damage(path, 0, "both copies of the segment's header are damaged", first, following - 1))
        segment = Segment(path, first, 0, len(data))
        segment.readable = False
        found.segments.append(segment)
        found.next_number = following
        return
    version, salt, _, whole = header
    if version != FORMAT_VERSION:
        raise BufferUnusable(version_message(path, version), path)
    segment = Segment(path, first, salt, len(data))
    found.segments.append(segment)
    if not whole:
        report(Damage(path, 0, "one copy of the segment's header is damaged (repaired)"))
        _write_at(path, encode_segment_header(salt, first), 0)
    _walk(found, segment, data, following, report)


def _walk(
    found: Recovered, segment: Segment, data: bytes, following: int | None, report: Callable[[Damage], None]
) -> None:
    expected = segment.first
    hole: Hole | Cut | None = None  # damage whose loss the next record tells
    last = following is None
    for entry in entries(data, segment.salt, SEGMENT_HEADER):
        if isinstance(entry, Cut) and last:
            _truncate(segment.path, entry.at)
            segment.size = entry.at
            found.torn = entry.after - entry.at
            continue
        if isinstance(entry, (Hole, Cut)):
            found.appendable = not last  # as above: what is damaged may be a declaration
            hole = hole or entry
            continue
        if entry.kind == DECLARATION:
            if not _declared(found, segment, entry.file, entry.end_offset, entry.payload):
                found.appendable = not last  # its number must not be given to another file
                report(Damage(segment.path, entry.at, "a damaged file declaration"))
            continue
        if not last and following is not None and entry.number >= following:
            break  # a write that failed; it was repeated in the next segment
        if hole is not None or entry.number > expected:
            at = entry.at if hole is None else hole.at
            report(Damage(segment.path, at, "a damaged record", expected, entry.number - 1))
            hole = None
        expected = entry.number + 1
        if entry.payload is None:
            report(Damage(segment.path, entry.at, "a damaged event", entry.number, entry.number))
        elif entry.file in segment.files:
            file = segment.files[entry.file]
            found.positions[file] = max(entry.end_offset, found.positions.get(file, 0))
    if last:
        found.next_number = expected
        if hole is not None:
            # these bytes may have held several events, and they may have been sent: their numbers are not used again
            lost = max(1, (hole.after - hole.at) // SMALLEST_EVENT)
            report(Damage(segment.path, hole.at, "a damaged end", expected, expected + lost - 1))
            found.next_number = expected + lost
        return
    assert following is not None
    if hole is not None or expected < following:
        at = segment.size if hole is None else hole.at
        report(Damage(segment.path, at, "a damaged record", expected, following - 1))
    found.next_number = following


def _declared(found: Recovered, segment: Segment, number: int, position: int, payload: bytes | None) -> bool:
    if payload is None:
        return False
    file = FileRef(*msgspec.msgpack.decode(payload, type=tuple[str, str, str]))
    segment.declare(number, file)
    found.positions[file] = max(position, found.positions.get(file, 0))
    return True


def _truncate(path: Path, size: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.ftruncate(handle, size)
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_at(path: Path, data: bytes, at: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(handle, data, at)
        os.fsync(handle)
    finally:
        os.close(handle)
