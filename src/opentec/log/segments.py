"""The segments of a directory: which there are, how far each is sealed, and their tables after a crash."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from opentec.events.records import Kind, decode_activate, epoch_of, position_of
from opentec.log.codec import (
    FLAG_GROUP,
    HEADER_AT,
    RECORD_SIZE,
    Preamble,
    RawRecord,
    SegmentHeader,
    decode_header,
    decode_preamble,
    decode_sealed,
    next_valid,
    parse_segment_name,
    scan,
    whole_preambles,
)
from opentec.log.errors import LogError, LogMismatch
from opentec.log.table import SenderTable

_log = logging.getLogger(__name__)
_BLOCK: Final = 4 << 20  # more than any record has zeros in a row
_SECTOR: Final = 512  # bytes that a disk writes whole or not at all
_UNWRITTEN: Final = 16  # zeros at the least, so that the end of a sector tells anything


class Segment(NamedTuple):
    """One segment file. `length` is the bytes of records it holds, None while that is not sealed."""

    path: Path
    preamble: Preamble
    length: int | None

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def epoch(self) -> int:
        return self.preamble.epoch

    @property
    def number(self) -> int:
        return self.preamble.number

    @property
    def start(self) -> int:
        """Position of its first record."""
        return position_of(self.preamble.epoch, self.preamble.base)

    @property
    def end(self) -> int | None:
        """Position behind its last record, None while that is not sealed."""
        return None if self.length is None else self.start + self.length


def segment_paths(directory: Path) -> list[Path]:
    """The segment files of a directory in the order of the log."""
    named = [(parse_segment_name(path.name), path) for path in directory.iterdir()]
    return [path for key, path in sorted((key, path) for key, path in named if key is not None)]


def read_preamble(path: Path) -> Preamble:
    """The preamble of a segment. Raises LogError, LogVersionError, OSError."""
    with path.open("rb") as file:
        return decode_preamble(file.read(HEADER_AT), path.name)


def read_head(path: Path) -> tuple[Preamble, SegmentHeader | None]:
    """Preamble and header of a segment; the header is None when damaged. Raises LogError, LogVersionError, OSError."""
    with path.open("rb") as file:
        preamble = decode_preamble(file.read(HEADER_AT), path.name)
        return preamble, decode_header(file.read(preamble.header_length), preamble)


def damaged_heads(directory: Path) -> list[str]:
    """What is damaged in front of the records of any segment, one sentence each; nothing is lost by it alone.

    Recovery reads only the newest head, since each may be large; this reads them all. One that the disk does not give
    is named too. Raises OSError where the folder cannot be read.
    """
    found = []
    for path in segment_paths(directory):
        try:
            with path.open("rb") as file:
                data = file.read(HEADER_AT)
                preamble = decode_preamble(data, path.name)
                header = decode_header(file.read(preamble.header_length), preamble)
        except FileNotFoundError:
            continue  # its time was over
        except LogError as error:
            found.append(str(error))
            continue
        except OSError as error:
            found.append(f"segment {path.name}: its head cannot be read: {error.strerror}")
            continue
        if whole_preambles(data) < 2:
            found.append(f"segment {path.name}: one copy of its preamble is damaged, the other is used")
        if header is None:
            found.append(f"segment {path.name}: its header is damaged; a later one holds what it says")
    return found


def marked_bad(path: Path) -> int | None:
    """Record bytes of a segment that count, when its writer marked it bad from there (docs/log-format.md)."""
    try:
        return int(path.with_name(path.name + ".bad").read_text())
    except (FileNotFoundError, ValueError):
        return None


def segments(directory: Path) -> list[Segment]:
    """All segments in order, each with its sealed length if a later one seals it.

    A header names every segment before its own, so only the newest readable one is read: each may hold a table of
    many megabytes. What it does not name was made behind its back by a server that had been superseded: nothing of
    that was ever acknowledged, and it holds nothing.
    """
    found = [(path, read_preamble(path)) for path in segment_paths(directory)]
    sealed: dict[str, int] = {}
    sealed_by = 0  # epoch of the header that `sealed` comes from
    for path, preamble in reversed(found):
        with path.open("rb") as file:
            file.seek(HEADER_AT)
            said = decode_sealed(file.read(preamble.header_length), preamble)
        if said is not None:
            sealed, sealed_by = said, preamble.epoch
            break
    result = []
    for index, (path, preamble) in enumerate(found):
        length = sealed.get(path.name)
        if length is None and preamble.epoch < sealed_by:
            length = 0
        elif length is None and index + 1 < len(found):
            following = found[index + 1][1]
            if following.epoch == preamble.epoch:  # the header that sealed it is damaged, the bases still tell
                length = following.base - preamble.base
        result.append(Segment(path, preamble, length))
    return result


class Recovered(NamedTuple):
    """The log as a new writer finds it."""

    segments: list[Segment]  # every one with its length
    table: SenderTable
    time: int  # log time of the newest record
    rule_base: str
    rule_base_name: str
    end: int  # position behind the last record; 0 for an empty log
    discarded: int  # bytes behind `end` that are no record: a write that was cut short, or the last record damaged


def recover(directory: Path, instance: str) -> Recovered:
    """Find the end of every unsealed segment, make it durable, and rebuild the table.

    Only a process that holds the lease may call this. Raises LogMismatch when the segments belong to another
    instance, LogVersionError, LogError, OSError.
    """
    table, time, rule_base, rule_base_name, end, discarded = SenderTable(), 0, "", "", 0, 0
    found = segments(directory)
    # the newest readable header holds everything up to its own start
    first = 0
    for index in range(len(found) - 1, -1, -1):
        header = read_head(found[index].path)[1]
        if header is not None:
            if header.instance != instance:
                raise LogMismatch(
                    f"{found[index].path} belongs to instance {header.instance}, "
                    f"this directory is instance {instance}: segments of another server were put here"
                )
            table, time, first = SenderTable.from_header(header), header.time, index
            rule_base, rule_base_name = header.rule_base, header.rule_base_name
            break
        _log.error("segment %s: its table is damaged; it is rebuilt from the segment before", found[index].name)
    complete: list[Segment] = []
    for index, segment in enumerate(found):
        if segment.length is not None and index < first:
            complete.append(segment)
            end = segment.start + segment.length
            continue
        length, last, lost = _finish(segment, table)
        if last is not None:
            time = max(time, last.time)
            if last.active:
                rule_base, rule_base_name = last.active
        discarded += lost
        complete.append(segment._replace(length=length))
        end = segment.start + length
    return Recovered(complete, table, time, rule_base, rule_base_name, end, discarded)


class _Last(NamedTuple):
    time: int
    active: tuple[str, str] | None


def _finish(segment: Segment, table: SenderTable) -> tuple[int, _Last | None, int]:
    """Length of a segment, what its last records said, and bytes of an unfinished tail."""
    size = segment.path.stat().st_size - segment.preamble.records_at
    if size <= 0:
        return 0, None, 0
    limit = segment.length
    if limit is None:
        bad = marked_bad(segment.path)
        limit = None if bad is None else min(bad, size)
    with segment.path.open("r+b") as file:
        file.seek(segment.preamble.records_at)
        data = _used(file, size) if limit is None else file.read(limit)
        if segment.length is None:
            os.fdatasync(file.fileno())
    length, last, lost = _walk(segment, memoryview(data), table, limit)
    return length, last, lost


def _used(file: BinaryIO, size: int) -> bytes:
    """What an unsealed segment holds: up to the first block that is nothing but preallocated space."""
    blocks: list[bytes] = []
    while size > 0 and (block := file.read(min(_BLOCK, size))):
        if not block.strip(b"\0"):
            break
        blocks.append(block)
        size -= len(block)
    return b"".join(blocks)


def _walk(segment: Segment, data: memoryview, table: SenderTable, limit: int | None) -> tuple[int, _Last | None, int]:
    base, seed, sealed = segment.preamble.base, segment.preamble.seed, limit is not None
    used = len(bytes(data).rstrip(b"\0")) if not sealed else len(data)
    searchable = data[: used + RECORD_SIZE]  # a record may end in zeros, preallocated space is nothing but zeros
    at = length = 0
    time: int | None = None
    active: tuple[str, str] | None = None
    torn = False
    while not torn:
        for record in scan(data[at:], seed, base + at):
            if not record.whole and not sealed:
                after = record.after - base
                following = next_valid(searchable, seed, base, after)
                if following is None:
                    break  # the last record of an unsealed segment: a torn tail, as far as anybody can tell
                if torn := _torn(segment, searchable, after - record.payload_length, following):
                    break
            time, length = record.time, record.after - base
            _note(record, table)
            if record.kind == Kind.ACTIVATE and record.whole:
                payload = decode_activate(bytes(data[at + record.payload_at :][: record.payload_length]))
                active = (payload.rule_base, payload.name)
        # behind damage in the middle, later records are still there
        following = next_valid(searchable, seed, base, max(length, at) + 1)
        if following is None:
            break
        if torn := torn or (not sealed and _torn(segment, searchable, max(length, at), following)):
            _log.warning(
                "segment %s: its last group was not written whole, from offset %d", segment.name, base + length
            )
            break
        _log.error("segment %s: damaged from offset %d to %d", segment.name, base + length, base + following)
        at = following
    discarded = 0 if sealed else max(0, used - length)
    return length if limit is None else limit, None if time is None else _Last(time, active), discarded


def _torn(segment: Segment, data: memoryview, start: int, end: int) -> bool:
    """Whether the bytes that are no record were never written, while later ones of the same group were.

    Power failed before the group's fdatasync came back, so none of it was acknowledged; to take its later part would
    pass over what senders still hold. Bit rot changes what is there; what was never written is preallocated zeros, up
    to the end of a sector. A later group exists only when this one is durable.
    """
    at = segment.preamble.records_at
    while start < end:
        stop = start + _SECTOR - (at + start) % _SECTOR
        # what shares its sector with a record was written together with it, though it may be zeros
        if _UNWRITTEN <= stop - start <= end - start and not bytes(data[start:stop]).strip(b"\0"):
            return not _group_follows(segment, data, end)
        start = stop
    return False


def _group_follows(segment: Segment, data: memoryview, at: int) -> bool:
    """Whether a group begins at or behind `at`."""
    base, seed = segment.preamble.base, segment.preamble.seed
    following: int | None = at
    while following is not None:
        at = following
        for record in scan(data[at:], seed, base + at):
            if record.flags & FLAG_GROUP:
                return True
            at = record.after - base
        following = next_valid(data, seed, base, at + 1)
    return False


def _note(record: RawRecord, table: SenderTable) -> None:
    if record.sequence:
        table.saw(record.sender, record.sequence, record.time, record.flags)
    if record.file:
        table.saw_file(record.file, record.path, record.end_offset, record.time)


def place_of(directory: Path, position: int) -> str:
    """Where a position lies, for a person: the segment and the byte of its file; "" where no segment has it.

    Raises LogError, OSError.
    """
    for segment in reversed(segments(directory)):
        if segment.start <= position:
            if segment.epoch != epoch_of(position):
                break
            return f"segment {segment.name}, byte {segment.preamble.records_at + position - segment.start}"
    return ""


def bytes_between(directory: Path, first: int, end: int) -> int:
    """Bytes of records between two positions, which may lie in different epochs."""
    if end <= first:
        return 0
    if epoch_of(first) == epoch_of(end):
        return end - first
    total = 0
    for segment in segments(directory):
        upto = min(end, segment.end) if segment.end is not None else end
        total += max(0, upto - max(first, segment.start))
    return total
