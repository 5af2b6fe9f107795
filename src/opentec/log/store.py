"""What the server needs of a reception log, and the directory of segments, which is the one store that there is."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from opentec.events.records import NO_SENDER, Record, position_of
from opentec.log import segments as files
from opentec.log.codec import parse_segment_name
from opentec.log.reader import LogReader, quarantined
from opentec.log.segments import Recovered
from opentec.log.table import SenderTable
from opentec.log.writer import Chunk, LogWriter, open_writer


class Extent(Protocol):
    """A piece of the log: positions that follow one another within one epoch."""

    @property
    def epoch(self) -> int: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int | None:
        """Position behind it; None while it may grow."""


class Reader(Protocol):
    """Records in order (`LogReader` says what each name means)."""

    position: int

    def read(self, limit: int, count: int = 512) -> list[Record]: ...
    def close(self) -> None: ...


class Writer(Protocol):
    """The one writer of an epoch (`LogWriter` says what each name means)."""

    epoch: int
    table: SenderTable
    rule_base: str
    time: int
    durable: int
    unsafe_skip_sync: bool
    superseded: Callable[[], bool]

    @property
    def end(self) -> int: ...
    def add(
        self,
        kind: int,
        time: int,
        payload: bytes = b"",
        *,
        verdict: int = 0,
        sender: bytes = NO_SENDER,
        sequence: int = 0,
        flags: int = 0,
        file: int = 0,
        end_offset: int = 0,
        path: int = 0,
    ) -> int: ...
    def activated(self, rule_base: str, name: str) -> None: ...
    def take(self) -> list[Chunk]: ...
    def write(self, chunks: list[Chunk]) -> int: ...
    def forget(self, names: list[str]) -> None: ...
    def close(self) -> None: ...


class LogStore(Protocol):
    """Where the log is kept. Each method may raise LogError and OSError.

    Only the holder of the lease may call `recover`, `open_writer` and `expire`.
    """

    def recover(self) -> Recovered:
        """Find the end, make everything before it durable, and rebuild the table. Raises LogMismatch."""

    def open_writer(self, epoch: int, recovered: Recovered, *, segment_size: int, free_reserve: int) -> Writer:
        """The writer of an epoch; its first record seals what was recovered. Both limits in bytes."""

    def reader(self, position: int) -> Reader:
        """Read from a position on; 0 = from the oldest record."""

    def quarantined(self, since: int, limit: int) -> dict[int, str]:
        """Positions that QUARANTINE records between two positions name, with the reasons."""

    def bytes_between(self, first: int, end: int) -> int:
        """Bytes of records between two positions."""

    def extents(self) -> Sequence[Extent]:
        """The pieces that are kept, in order."""

    def oldest(self) -> int:
        """Position of the first record that is kept; 0 when there is none."""

    def newest_epoch(self) -> int:
        """The newest epoch that got as far as a writer's first record; 0 when there is none."""

    def is_complete(self) -> bool:
        """Was nothing ever removed from the log's beginning?"""

    def oldest_rule_base(self) -> tuple[str, int] | None:
        """Hash of the rule base that ruled where the log begins, and the log time; None where that is not known."""

    def expire(self, committed: int, size: int, since: float) -> list[str]:
        """Remove what is committed, and too much (more than `size` bytes are kept) or older than `since` (seconds of
        the wall clock). Never what `committed` lies in, nor the newest two pieces. Gives names for `Writer.forget`.
        """

    def size(self) -> int:
        """Bytes that the log takes of its disk."""

    def disk(self) -> tuple[int, int]:
        """Bytes of the disk that the log lies on, and how many of them are free."""

    def damage(self) -> list[str]:
        """What is damaged and costs no record, one sentence each. Reads everything that `recover` did not need."""

    def place_of(self, position: int) -> str:
        """Where a position lies, for a person; "" where nothing is kept of it."""


class LogDirectory:
    """Segments in a directory (docs/log-format.md)."""

    def __init__(self, path: Path, uuid: str) -> None:
        """`uuid` of the instance that all segments must belong to."""
        self._path, self._uuid = path, uuid

    def recover(self) -> Recovered:
        return files.recover(self._path, self._uuid)

    def open_writer(self, epoch: int, recovered: Recovered, *, segment_size: int, free_reserve: int) -> LogWriter:
        for leftover in self._path.glob("rx.*.tmp"):
            key = parse_segment_name(leftover.stem)
            if key is not None and key[0] <= epoch:  # a later epoch's is at work
                leftover.unlink(missing_ok=True)
        return open_writer(
            self._path, self._uuid, epoch, recovered, segment_size=segment_size, free_reserve=free_reserve
        )

    def reader(self, position: int) -> LogReader:
        return LogReader(self._path, position)

    def quarantined(self, since: int, limit: int) -> dict[int, str]:
        return quarantined(self._path, since, limit)

    def bytes_between(self, first: int, end: int) -> int:
        return files.bytes_between(self._path, first, end)

    def extents(self) -> list[files.Segment]:
        return files.segments(self._path)

    def oldest(self) -> int:
        kept = files.segment_paths(self._path)
        if not kept:
            return 0
        preamble = files.read_preamble(kept[0])
        return position_of(preamble.epoch, preamble.base)

    def newest_epoch(self) -> int:
        keys = (parse_segment_name(path.name) for path in files.segment_paths(self._path))
        return max((key[0] for key in keys if key is not None), default=0)

    def is_complete(self) -> bool:
        kept = files.segment_paths(self._path)
        if not kept:
            return True
        preamble, header = files.read_head(kept[0])
        # epochs that ended before they wrote a segment do not count
        return preamble.base == 0 and header is not None and not header.sealed

    def oldest_rule_base(self) -> tuple[str, int] | None:
        kept = files.segment_paths(self._path)
        header = files.read_head(kept[0])[1] if kept else None
        return None if header is None else (header.rule_base, header.time)

    def expire(self, committed: int, size: int, since: float) -> list[str]:
        found = files.segments(self._path)
        total = sum(segment.length or 0 for segment in found)
        gone: list[str] = []
        for segment, following in itertools.pairwise(found[:-1]):
            # strictly behind the committed position, so that the log always reaches back to it
            if segment.end is None or segment.end >= committed or following.start > committed:
                break
            if total <= size and following.path.stat().st_mtime > since:
                break
            segment.path.unlink()
            segment.path.with_name(segment.name + ".bad").unlink(missing_ok=True)
            gone.append(segment.name)
            total -= segment.length or 0
        return gone

    def size(self) -> int:
        return sum(path.stat().st_blocks * 512 for path in files.segment_paths(self._path))

    def disk(self) -> tuple[int, int]:
        usage = shutil.disk_usage(self._path)
        return usage.total, usage.free

    def damage(self) -> list[str]:
        return files.damaged_heads(self._path)

    def place_of(self, position: int) -> str:
        return files.place_of(self._path, position)
