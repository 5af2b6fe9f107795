"""Recordings that are text: a dump, and a log file through an adapter's format file.

They become the records that reception would have appended: events are checked against the classes of the rule base
that is replayed, and what these refuse is recorded as rejected. Positions are lines of the file, `rx:1:LINE`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Final, Literal, NamedTuple

from opentec.events.classes import ClassTable
from opentec.events.errors import EventRejected, SourceError, SourceErrors
from opentec.events.image import parse_key
from opentec.events.records import (
    ChangePayload,
    EventPayload,
    Kind,
    Record,
    RejectedPayload,
    Verdict,
    encode,
    position_of,
)
from opentec.testing.inputs import HOST, Dumped, LineReader, Slots, formats_in, iterate_dump, lines_of
from opentec.testing.replay_log import PAGE
from opentec.testing.replay_times import LineTimes, YearMissing, in_order

EPOCH: Final = 1
FIRST_KIB: Final = 1024  # bytes that are kept of a text that is rejected
_BLOCK: Final = 1 << 20


class Arrival(NamedTuple):
    """What came in: a line of the file, the time if it says one, and an event, a change, or what was rejected."""

    line: int
    time: int | None
    kind: Literal["event", "change", "rejected"]
    class_name: str
    slots: Slots
    text: str = ""
    reason: str = ""


class TextRecording(ABC):
    """A file as a Recording (opentec.testing.replay_log); `_arrivals` gives what is in it."""

    whole = True
    rule_base = ""  # no text says which rule base ruled
    quarantined: Mapping[int, str] = {}
    year: int | None = None

    def __init__(self, path: Path) -> None:
        """Raises SourceErrors where the file cannot be read."""
        self.place = str(path)
        self._path = path
        self.size = _count_lines(path)

    def pages(self, classes: ClassTable | None = None) -> Iterator[list[Record]]:
        """All records, checked against `classes`. May be asked for again. Raises SourceErrors."""
        assert classes is not None  # a replay of text has a rule base that was given
        page: list[Record] = []
        before: tuple[int, Arrival] | None = None
        for found in in_order(((one.time, one) for one in self._arrivals()), self.year):
            if before is not None:
                page.append(_record(*before, found[1].line, classes))
            before = found
            if len(page) == PAGE:
                yield page
                page = []
        if before is not None:
            yield [*page, _record(*before, self.size + 1, classes)]

    @abstractmethod
    def _arrivals(self) -> Iterator[Arrival]:
        """What arrives, in the order of the file. Raises SourceErrors."""


class DumpRecording(TextRecording):
    """What `tec log` (wtdumprl) or `tec dump` (wtdumper) printed."""

    def _arrivals(self) -> Iterator[Arrival]:
        empty = True
        for one in iterate_dump(self._path):
            empty = False
            yield _arrival(one)
        if empty:
            hint = "a dump is what `tec log` (wtdumprl) or `tec dump` (wtdumper) prints"
            raise SourceErrors([SourceError("the dump has no record", file=self.place, line=1, column=1, hint=hint)])


class LineRecording(TextRecording):
    """A log file through the formats of an adapter; `verdicts` counts what became of its lines."""

    def __init__(
        self, path: Path, format_file: Path, hostname: str = HOST, year: int | None = None, zone: tzinfo = UTC
    ) -> None:
        """`hostname` is the adapter's; `year` is that of the first line, `zone` of times that name none.

        Raises SourceErrors where the format file is wrong or a file cannot be read.
        """
        self._reader = LineReader(formats_in(format_file), hostname, str(path))
        super().__init__(path)
        self.year, self._zone = year, zone
        self.verdicts: Counter[str] = Counter()

    def _arrivals(self) -> Iterator[Arrival]:
        times = LineTimes(self.year, self._zone)
        self.verdicts.clear()
        for found in self._reader.read(lines_of(self._path)):
            self.verdicts[found.verdict] += 1
            if found.verdict != "event":
                continue
            try:
                time = times.read(found.time) if found.time else None
            except YearMissing as wrong:
                error = SourceError(
                    str(wrong),
                    file=self.place,
                    line=found.number,
                    column=found.line.find(found.time) + 1,
                    source_line=found.line,
                    hint="give --year, the year of the first line",
                )
                raise SourceErrors([error]) from wrong
            yield Arrival(found.number, time, "event", found.class_name, found.slots, found.line)


def _arrival(one: Dumped) -> Arrival:
    slots, reason, kind = one.slots, one.reason, one.kind
    if kind == "change":
        try:
            parse_key(str(slots["event"]))
        except ValueError as wrong:
            kind, reason = "rejected", str(wrong)
    return Arrival(one.line, one.time, kind, one.class_name, slots, one.text, reason)


def _record(time: int, arrival: Arrival, next_line: int, classes: ClassTable) -> Record:
    position, after = position_of(EPOCH, arrival.line), position_of(EPOCH, next_line)
    slots, reason = arrival.slots, arrival.reason
    if arrival.kind == "change":
        wanted = {name: value for name, value in slots.items() if name not in ("event", "user")}
        change = ChangePayload(parse_key(str(slots["event"])), wanted, str(slots["user"]))
        return Record(position, after, Kind.CHANGE, Verdict.ACCEPTED, time, payload=encode(change))
    if arrival.kind == "event":
        try:
            payload = encode(EventPayload(arrival.class_name, classes.check(arrival.class_name, slots)))
        except EventRejected as wrong:
            reason = str(wrong)
        else:
            return Record(position, after, Kind.EVENT, Verdict.ACCEPTED, time, payload=payload)
    text = arrival.text.encode("utf-8", "backslashreplace")
    rejected = RejectedPayload(reason, text[:FIRST_KIB], len(text))
    return Record(position, after, Kind.EVENT, Verdict.REJECTED, time, payload=encode(rejected))


def _count_lines(path: Path) -> int:
    """How many lines a file has; the last one need not end. Raises SourceErrors."""
    count, last = 0, b"\n"
    try:
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                count += block.count(b"\n")
                last = block[-1:]
    except OSError as wrong:
        raise SourceErrors(
            [SourceError(f"cannot be read: {wrong.strerror}", file=str(path), line=1, column=1)]
        ) from wrong
    return count + (last != b"\n")
