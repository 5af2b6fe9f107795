"""What was recorded: segments of a reception log, read without a server and without changing a byte of them.

The order is the log's own. Which positions are quarantined is known before the first record is given, as the rule
process does it (spine: the rule process, poison).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final, Protocol

from opentec.events.classes import ClassTable
from opentec.events.records import Kind, Record, decode_activate, name_of
from opentec.log.codec import RECORD_SIZE, next_valid, parse_segment_name, scan
from opentec.log.errors import LogError
from opentec.log.reader import iterate, quarantined
from opentec.log.segments import Segment, marked_bad, read_head, segment_paths, segments

PAGE: Final = 512  # records


class Recording(Protocol):
    """Records in their order, and what must be known before the first of them."""

    place: str  # how messages name it
    size: int  # of all records, in the unit of `Record.after - Record.position`
    whole: bool  # it begins with the first record that its server ever wrote
    rule_base: str  # content hash of the one that is active where it begins, "" when that is not known
    quarantined: Mapping[int, str]  # positions that nobody processes, with the reasons

    def pages(self, classes: ClassTable | None = None) -> Iterator[list[Record]]:
        """All records. May be asked for again.

        `classes` are those of the rule base that is replayed: a recording that nobody has received yet is checked
        against them, as reception would.
        """
        ...


class SegmentLog:
    """A folder of segments, or one segment of it, up to the last record that can be read."""

    def __init__(self, path: Path, until: int | None = None) -> None:
        """`until`: the position to stop at, by default behind the last record.

        Raises LogError when there are no segments, one between others is missing, or one cannot be read; OSError.
        """
        self.place = str(path)
        one = path if path.is_file() else None
        self._directory = path if one is None else path.parent
        found = self._segments(one)
        first, last = found[0], found[-1]
        self.begins = first.start
        end = _end(last)
        self._limit = end if until is None else until
        header = read_head(first.path)[1]
        # the segment that every other one came after names none before it
        self.whole = first.preamble.base == 0 and header is not None and not header.sealed
        self.size = sum(max(0, min(part.end or self._limit, self._limit) - part.start) for part in found)
        # what names a position of before `until` may stand behind it
        self.quarantined: Mapping[int, str] = quarantined(self._directory, self.begins, end)
        self.rule_base = header.rule_base if header is not None else ""
        if not self.rule_base:
            self.rule_base = self._first_activated()

    def pages(self, classes: ClassTable | None = None) -> Iterator[list[Record]]:
        """All records, as reception has checked them when they came in."""
        return iterate(self._directory, self.begins, self._limit, PAGE)

    def _segments(self, one: Path | None) -> list[Segment]:
        if one is not None and parse_segment_name(one.name) is None:
            raise LogError(f"{one} is not a segment of a reception log; they are called rx.EPOCH.NUMBER")
        found = segments(self._directory)
        if not found:
            raise LogError(f"{self._directory} holds no segments of a reception log (rx.EPOCH.NUMBER)")
        if one is not None:
            return [segment for segment in found if segment.name == one.name]
        for before, segment in pairwise(found):
            if before.epoch == segment.epoch and before.end != segment.start:
                raise LogError(f"{self._directory}: between {before.name} and {segment.name} a segment is missing")
        _require_sealed(self._directory)
        return found

    def _first_activated(self) -> str:
        for page in self.pages():
            for record in page:
                if record.kind == Kind.ACTIVATE:
                    return decode_activate(record.payload).rule_base
        return ""


def _require_sealed(directory: Path) -> None:
    """Everything that the newest header names, from the oldest segment that is there, must be there."""
    paths = segment_paths(directory)
    oldest = parse_segment_name(paths[0].name)
    there = {path.name for path in paths}
    for path in reversed(paths):
        header = read_head(path)[1]
        if header is None:
            continue
        for name in header.sealed:
            key = parse_segment_name(name)
            if key is not None and oldest is not None and key > oldest and name not in there:
                raise LogError(f"{directory}: segment {name} is missing, which {path.name} names")
        return


def _end(segment: Segment) -> int:
    """Position behind the last whole record of a segment; of one that nothing seals it is looked for.

    What a killed server left behind its last record was never acknowledged; preallocated space is nothing but zeros.
    """
    if segment.end is not None:
        return segment.end
    bad = marked_bad(segment.path)
    with segment.path.open("rb") as file:
        file.seek(segment.preamble.records_at)
        data = file.read(-1 if bad is None else bad)
    used = memoryview(data)[: len(data.rstrip(b"\0")) + RECORD_SIZE]  # a record may end in zeros
    base, seed = segment.preamble.base, segment.preamble.seed
    at: int | None = 0
    end = 0
    while at is not None:
        for record in scan(used[at:], seed, base + at):
            at = record.after - base
            if record.whole:
                end = at
        at = next_valid(used, seed, base, at + 1)
    return segment.start + end


def describe(recording: SegmentLog) -> str:
    """What a person should know of a log that does not begin at the beginning, "" for one that does."""
    if recording.whole:
        return ""
    return (
        f"{recording.place} begins at {name_of(recording.begins)}: of what was before it, events, timers and what "
        "rules remembered, nothing is known here"
    )
