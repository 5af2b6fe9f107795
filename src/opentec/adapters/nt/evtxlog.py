"""One `.evtx` log: its generation, the position in it, and reading what is new.

The records of a log are numbered, and the numbers only rise until the log is cleared. So a position is a record
number, and a generation is named by the oldest record there was when reading began (its number and time). Two readers
that begin at the same record give a generation the same name, whatever the file's inode is: a copy of a log is the
same log.

What looks damaged or cleared may be a file that is just being written: several looks at it must agree, and damage at
the end is never passed over before something follows it. Where it stays open whether this is still the log that was
read, it is a new generation: perhaps twice, never not at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from zlib import crc32

from opentec.adapters.logfile.generation import open_log
from opentec.adapters.nt.chunks import (
    CHUNK,
    CHUNK_HEADER,
    FILE_HEADER,
    Chunk,
    Layout,
    look,
    read_chunk,
    read_file_header,
    walk,
)
from opentec.adapters.nt.decode import Decoder

CHECKS: Final = 8  # records whose number and time tell whether a log is the one that was read
SETTLED: Final = 5  # looks that must agree
NAMED: Final = 1000  # damaged chunks of one log that are remembered as told


class Found(NamedTuple):
    """A record as JSON."""

    number: int
    text: str


class Missing(NamedTuple):
    """Records `first` to `last` that cannot be read, and why; they take their place in the order of the records."""

    first: int
    last: int
    reason: str


class Damaged(NamedTuple):
    """A chunk that cannot be read, or whose checksum does not fit."""

    place: int
    check: int


Item = Found | Missing | Damaged


class Batch(NamedTuple):
    """What one poll of one log gave, in order."""

    path: str
    generation: str
    items: list[Item]


@dataclass(slots=True, eq=False)
class EvtxLog:
    """One log. `position` is the number of the last record that was given out, 0 before the first."""

    path: str
    decode: Decoder
    generation: str = ""
    position: int = 0
    checks: list[tuple[int, int]] = field(default_factory=list)  # number and time of records that were read
    named: dict[int, int] = field(default_factory=dict)  # damaged chunks that were told: index, checksum
    behind: bool = False  # whether the last poll left something to read, or to look at again
    is_empty: bool = False  # whether there was no chunk in use when it was last looked at
    _doubts: dict[Hashable, int] = field(default_factory=dict)  # looks that agreed
    _raised: dict[Hashable, int] = field(default_factory=dict)
    _pending: bool = False
    _quiet: int = 0  # looks in which the file was the same
    _was: object = None
    _seen: object = None
    _empty: set[int] = field(default_factory=set)
    _current: int = 0  # index of the newest chunk

    def poll(self, chunks: int, report: Callable[[str], None], catch_up: int = -1) -> Batch:
        """Read up to `chunks` chunks of what is new.

        `catch_up` says where a log without a position begins: -1 at its oldest record, 0 behind its newest, n with the
        n newest (tec.md 4.1, NumEventsToCatchUp). Raises OSError.
        """
        fd, info = open_log(self.path)
        try:
            header = read_file_header(fd, self.path)
            glance = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, header[:128], *self._glance(fd))
            if glance == self._seen and not self.behind:
                return Batch(self.path, self.generation, [])
            self._seen, self._raised, self._pending = glance, {}, False
            items: list[Item] = []
            self.is_empty = not header
            if header:
                layout = look(fd, info.st_size, self._empty)
                self.is_empty = not layout.chunks and not layout.damaged
                now = (glance, layout.damaged)
                self._quiet = self._quiet + 1 if now == self._was else 1
                self._was = now
                if layout.chunks:
                    self._current = layout.chunks[-1].number
                items = self._read(fd, header, layout, chunks, report, catch_up)
            self._doubts = self._raised
            return Batch(self.path, self.generation, items)
        finally:
            os.close(fd)

    def _glance(self, fd: int) -> tuple[bytes, bytes]:
        # where a log is written through a mapping, time and size of the file may stay as they are
        return (
            os.pread(fd, CHUNK_HEADER, FILE_HEADER + self._current * CHUNK),
            os.pread(fd, CHUNK_HEADER, FILE_HEADER + (self._current + 1) * CHUNK),
        )

    def _is_settled(self, doubt: Hashable) -> bool:
        """Whether enough looks found the same; else it must be looked at again."""
        self._raised[doubt] = looks = self._doubts.get(doubt, 0) + 1
        settled = max(looks, self._quiet) >= SETTLED
        self._pending = self._pending or not settled
        return settled

    def _read(
        self, fd: int, header: bytes, layout: Layout, budget: int, report: Callable[[str], None], catch_up: int
    ) -> list[Item]:
        items: list[Item] = []
        self.behind = False
        fresh = {index: check for index, check in layout.damaged.items() if self.named.get(index) != check}
        unsettled = [each for each in fresh.items() if not self._is_settled(("damaged", each))]
        settled = not unsettled
        chunks = layout.chunks
        if not chunks:
            if settled:
                self._tell(fresh, items)
        elif self._is_ready(fd, chunks, settled, items, report, catch_up):
            if settled:
                self._tell(fresh, items)
            for chunk in chunks:
                if chunk.last <= self.position:
                    continue
                if budget == 0:
                    self.behind = True
                    break
                budget -= 1
                if not self._read_chunk(fd, header, chunk, items):
                    break
        self.behind = self.behind or self._pending
        return items

    def _tell(self, fresh: dict[int, int], items: list[Item]) -> None:
        for index, check in fresh.items():
            self.named.pop(index, None)
            self.named[index] = check
            items.append(Damaged(FILE_HEADER + index * CHUNK, check))
        while len(self.named) > NAMED:
            del self.named[next(iter(self.named))]

    # which log this is

    def _is_ready(
        self,
        fd: int,
        chunks: list[Chunk],
        settled: bool,
        items: list[Item],
        report: Callable[[str], None],
        catch_up: int,
    ) -> bool:
        """Whether records may be read on from the position, which a new generation sets anew."""
        if not self.generation:
            # the oldest chunk may be the one that looks damaged, and it decides the name
            return settled and self._begin(fd, chunks, catch_up, items)
        verdict = self._compare(fd, chunks)
        if verdict == "same":
            return True
        if not self._is_settled((verdict, chunks[0].first, chunks[-1].last)):
            return False
        lost = chunks[0].first - self.position - 1
        before = self.position
        if not self._begin(fd, chunks, -1, items):
            return False
        if verdict == "unknown" and lost > 0:
            report(f"{self.path}: {lost} records were overwritten before they were read")
            items.append(Missing(before + 1, before + lost, "they were overwritten before they were read"))
        else:
            report(f"{self.path} was cleared, or is another log now; it is read from its oldest record")
        return True

    def _begin(self, fd: int, chunks: list[Chunk], catch_up: int, items: list[Item]) -> bool:
        contents = ((chunk, read_chunk(fd, chunk.number)) for chunk in chunks)
        oldest = next((record for chunk, data in contents for record in walk(data, chunk)), None)
        if oldest is None:
            checks = {chunk.number: crc32(read_chunk(fd, chunk.number)) for chunk in chunks}
            fresh = {index: check for index, check in checks.items() if self.named.get(index) != check}
            if self._is_settled(("nothing", *fresh.items())):
                self._tell(fresh, items)
            return False
        newest = chunks[-1].last
        start = oldest.number
        if catch_up >= 0:
            start = max(start, newest + 1 - catch_up)
        self.generation = f"{oldest.number}-{oldest.time:x}"
        if start > oldest.number:
            # its ranges are not those of a reader that began with the oldest record (docs/protocol.md)
            self.generation += f"@{start}"
            self.position = start - 1
        else:
            self.position = chunks[0].first - 1  # records in front of the oldest whole one are missing, and named so
        self.checks = [(oldest.number, oldest.time)]
        self._note(fd, chunks, self.position)
        return True

    def _note(self, fd: int, chunks: list[Chunk], number: int) -> None:
        for chunk in chunks:
            if chunk.first <= number <= chunk.last:
                self._remember(chunk, [each for each in walk(read_chunk(fd, chunk.number), chunk) if each[0] <= number])

    def _remember(self, chunk: Chunk, records: list[Any]) -> None:
        """Keep the last of `records` as a check, one for each chunk."""
        if not records:
            return
        if len(self.checks) > 1 and self.checks[-1][0] >= chunk.first:
            self.checks.pop()
        self.checks = [*self.checks, (records[-1].number, records[-1].time)][-CHECKS:]

    def _compare(self, fd: int, chunks: list[Chunk]) -> str:
        """Whether this is the log that was read: "same", "other" or, where none of its records is left, "unknown"."""
        for number, time in reversed(self.checks):
            for chunk in chunks:
                if chunk.first <= number <= chunk.last:
                    for record in walk(read_chunk(fd, chunk.number), chunk):
                        if record.number == number:
                            return "same" if record.time == time else "other"
        return "other" if chunks[-1].last < self.position else "unknown"

    # reading

    def _read_chunk(self, fd: int, header: bytes, chunk: Chunk, items: list[Item]) -> bool:
        """Give out the records of a chunk behind the position; False when something in front must settle first."""
        data = read_chunk(fd, chunk.number)
        check = crc32(data)
        place = f"the chunk at byte {chunk.place}"
        if not self._skip(chunk.first - 1, "the log does not hold them", items, ("gap", chunk.first)):
            return False
        records = walk(data, chunk)
        texts = self.decode(header, data, chunk, records)
        given = []
        for record in records:
            if record.number <= self.position or record.number not in texts:
                continue
            if not self._skip(record.number - 1, f"{place} is damaged", items, ("hole", record.number, check)):
                break
            self.position = record.number
            items.append(Found(record.number, texts[record.number]))
            given.append(record)
        else:
            self._remember(chunk, given)
            is_whole = len(records) == chunk.last - chunk.first + 1 == len(texts)
            if is_whole and chunk.number != self._current and crc32(data[CHUNK_HEADER : chunk.free]) != chunk.check:
                self._tell({chunk.number: check}, items)
            if chunk.number != self._current:
                return self._skip(chunk.last, f"{place} is damaged", items, ("hole", chunk.last + 1, check))
            # nothing waits behind it, and whoever writes the log may still put it right
            is_told = chunk.last == self.position or self.named.get(chunk.number) == check
            if not is_told and self._is_settled(("end", chunk.number, check)):
                self._tell({chunk.number: check}, items)
            return True
        self._remember(chunk, given)
        return False

    def _skip(self, last: int, reason: str, items: list[Item], doubt: Hashable) -> bool:
        """Go on behind record `last`, and name those in front that were not read."""
        if last <= self.position:
            return True
        if not self._is_settled(doubt):
            return False
        items.append(Missing(self.position + 1, last, reason))
        self.position = last
        return True

    # positions that survive

    def to_data(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "generation": self.generation,
            "position": self.position,
            "checks": [list(check) for check in self.checks],
            "named": [list(each) for each in self.named.items()],
        }

    @classmethod
    def from_data(cls, data: Any, decode: Decoder) -> EvtxLog:
        """Raises ValueError when `data` is not what `to_data` gives."""
        try:
            path, generation, position = data["path"], data["generation"], data["position"]
            checks = [(number, time) for number, time in data["checks"]]
            named = dict(data["named"])
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"a saved position is not complete: {error!r}") from None
        numbers = [position, *(part for check in checks for part in check), *named, *named.values()]
        if type(path) is not str or type(generation) is not str or any(type(each) is not int for each in numbers):
            raise ValueError("a saved position has a value of the wrong type")
        return cls(path, decode, generation, position, checks[-CHECKS:], named)
