"""The one writer of an epoch: append, make durable, and nothing else may be acknowledged."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from opentec.events.records import NO_SENDER, OFFSET_BITS
from opentec.log.codec import (
    FLAG_GROUP,
    RECORD_SIZE,
    SegmentHeader,
    encode_record,
    encode_segment_head,
    seed_of,
    segment_name,
)
from opentec.log.errors import LogFull, LogWriteFailed
from opentec.log.segments import Recovered, Segment
from opentec.log.table import SenderTable

SEGMENT_SIZE: Final = 16 << 20  # a takeover reads one unsealed segment, so its size is part of the gap


class Chunk(msgspec.Struct):
    """Bytes of consecutive records that belong to one segment; `header` when that segment is still to be made."""

    data: list[bytes]
    base: int
    salt: int
    header: SegmentHeader | None


class LogWriter:
    """Appends records of one epoch. `add` only collects; `take` and `write` make what was collected durable.

    `add` and `take` belong to one thread (the loop); `write` may run in another, one at a time. The owner keeps the
    order of the spine: write, then check the epoch, then publish and acknowledge.
    """

    def __init__(
        self,
        directory: Path,
        instance: str,
        epoch: int,
        recovered: Recovered,
        *,
        base: int = 0,
        segment_size: int = SEGMENT_SIZE,
        free_reserve: int = 0,
    ) -> None:
        """`base`: record bytes of this epoch's earlier segments, after a restart of reception.

        `free_reserve`: bytes of the disk that must stay free when a segment is made.
        """
        self.directory, self.instance, self.epoch = directory, instance, epoch
        self.table: SenderTable = recovered.table
        self.rule_base, self.rule_base_name = recovered.rule_base, recovered.rule_base_name
        self.time = recovered.time
        self._sealed = {segment.name: segment.length or 0 for segment in recovered.segments}
        self._segment_size, self._free_reserve = segment_size, free_reserve
        self._base, self._offset = base, base
        self._salt = secrets.randbits(64)
        self._seed = seed_of(self._salt)
        self._chunks = [Chunk([], base, self._salt, self._header())]
        # of the segment being written, used by `write` only
        self._fd = -1
        self._fd_name, self._fd_base, self._fd_at, self._fd_written = "", 0, 0, 0
        self.durable = epoch << OFFSET_BITS | base
        self.unsafe_skip_sync = False  # negative control of the tests only
        self.superseded: Callable[[], bool] = lambda: False  # whether another epoch may have sealed this log

    @property
    def end(self) -> int:
        """Position behind the last record that was added."""
        return self.epoch << OFFSET_BITS | self._offset

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
    ) -> int:
        """Collect one record; gives its position."""
        size = RECORD_SIZE + len(payload)
        if self._offset + size - self._base > self._segment_size and self._offset > self._base:
            self._break(time)
        offset = self._offset
        if not self._chunks[-1].data:
            flags |= FLAG_GROUP
        self._chunks[-1].data.append(
            encode_record(
                self._seed, offset, kind, verdict, time, payload, sender, sequence, flags, file, end_offset, path
            )
        )
        self._offset = offset + size
        self.time = time
        if sequence:
            self.table.saw(sender, sequence, time, flags)
        if file:
            self.table.saw_file(file, path, end_offset, time)
        return self.epoch << OFFSET_BITS | offset

    def activated(self, rule_base: str, name: str) -> None:
        """The ACTIVATE record that was just added names this rule base: headers repeat it."""
        self.rule_base, self.rule_base_name = rule_base, name

    def _break(self, time: int) -> None:
        self.table.prune(time)
        self._base = self._offset
        self._salt = secrets.randbits(64)
        self._seed = seed_of(self._salt)
        self._chunks.append(Chunk([], self._base, self._salt, self._header()))

    def _header(self) -> SegmentHeader:
        return SegmentHeader(
            instance=self.instance,
            senders=dict(self.table.senders),
            files=dict(self.table.files),
            rule_base=self.rule_base,
            rule_base_name=self.rule_base_name,
            time=self.time,
        )

    @property
    def waiting(self) -> bool:
        """Is anything collected that `take` would give?"""
        return any(chunk.data for chunk in self._chunks)

    def take(self) -> list[Chunk]:
        """Everything that was collected, for `write`; [] when there is nothing."""
        if not self.waiting:
            return []  # the header of a segment that is still to be made stays for its first record
        chunks = self._chunks
        self._chunks = [Chunk([], self._base, self._salt, None)]
        return chunks

    def write(self, chunks: list[Chunk]) -> int:
        """Append and fdatasync; gives the position up to which the log is durable now.

        Chunks leave the list as they become durable. Raises LogFull when a segment cannot be made: the same list may be
        given again later. Raises LogWriteFailed when appending or fdatasync failed, which is final: the segment was
        marked bad from its last durable offset on (or cut back to there).
        """
        while chunks:
            chunk = chunks[0]
            if chunk.header is not None:
                self._make_segment(chunk)
                chunk.header = None
            if chunk.data:
                self._append(b"".join(chunk.data))
            del chunks[0]
        self.durable = self.epoch << OFFSET_BITS | (self._fd_base + self._fd_written)
        return self.durable

    def _append(self, data: bytes) -> None:
        at, view = self._fd_at + self._fd_written, memoryview(data)
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._fd, view[written:], at + written)
            if not self.unsafe_skip_sync:
                os.fdatasync(self._fd)
        except OSError as error:
            self._mark_bad()
            raise LogWriteFailed(
                f"{self.directory / self._fd_name}: {error.strerror}; nothing of it is acknowledged"
            ) from error
        self._fd_written += len(data)

    def _mark_bad(self) -> None:
        """Say in a file beside the segment what is durable of it; where even that fails, cut the segment back.

        Not the other way round: who took over meanwhile, while this node stood still, has sealed the segment with what
        it found there and acknowledged that. It looks at a seal first, and at this file where there is none.
        """
        path = self.directory / f"{self._fd_name}.bad"
        try:
            with path.open("w") as file:
                file.write(str(self._fd_written))
                file.flush()
                os.fsync(file.fileno())
            fsync_directory(self.directory)
        except OSError:
            if self.superseded():
                return
            # a disk that takes neither must not hide that writing failed: the node gives way all the same
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._fd_at + self._fd_written)
                os.fsync(self._fd)

    def _make_segment(self, chunk: Chunk) -> None:
        number = self._next_number()
        name = segment_name(self.epoch, number)
        header = chunk.header
        assert header is not None
        header.sealed = dict(self._sealed)
        if self._fd >= 0:
            header.sealed[self._fd_name] = self._fd_written
        head = encode_segment_head(header, salt=chunk.salt, epoch=self.epoch, number=number, base=chunk.base)
        path, temporary = self.directory / name, self.directory / f"{name}.tmp"
        fd = -1
        try:
            free = shutil.disk_usage(self.directory).free
            if free < self._free_reserve + self._segment_size:
                raise OSError(errno.ENOSPC, f"only {free >> 20} MiB free")
            fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
            os.pwrite(fd, head, 0)
            os.posix_fallocate(fd, 0, len(head) + self._segment_size)
            os.fsync(fd)
            temporary.rename(path)
            fsync_directory(self.directory)
        except OSError as error:
            if fd >= 0:
                os.close(fd)
            with contextlib.suppress(OSError):  # what is read-only cannot be tidied up, and says so below
                temporary.unlink(missing_ok=True)
            kind = LogFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else LogWriteFailed
            raise kind(f"cannot make segment {path}: {error.strerror}") from error
        self._sealed = header.sealed
        self._release()
        self._fd, self._fd_name, self._fd_base = fd, name, chunk.base
        self._fd_at, self._fd_written = len(head), 0

    def _next_number(self) -> int:
        mine = [name for name in (*self._sealed, self._fd_name) if name.startswith(f"rx.{self.epoch}.")]
        return max((int(name.rsplit(".", 1)[1]) + 1 for name in mine), default=0)

    def _release(self) -> None:
        """Give back the space that the segment before was preallocated and did not use."""
        if self._fd >= 0:
            os.ftruncate(self._fd, self._fd_at + self._fd_written)
            os.close(self._fd)
            self._fd = -1

    def forget(self, names: list[str]) -> None:
        """These segments were deleted by retention: later headers need not seal them."""
        for name in names:
            self._sealed.pop(name, None)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def open_writer(
    directory: Path,
    instance: str,
    epoch: int,
    recovered: Recovered,
    *,
    segment_size: int = SEGMENT_SIZE,
    free_reserve: int = 0,
) -> LogWriter:
    """The writer of `epoch` over a recovered log: releases the unused space of what it will seal.

    Goes on within the epoch when reception was restarted.
    """
    base = 0
    for segment in recovered.segments:
        _trim(segment)
        if segment.epoch == epoch:
            base = segment.preamble.base + (segment.length or 0)
    return LogWriter(
        directory, instance, epoch, recovered, base=base, segment_size=segment_size, free_reserve=free_reserve
    )


def _trim(segment: Segment) -> None:
    wanted = segment.preamble.records_at + (segment.length or 0)
    if segment.path.stat().st_size > wanted:
        os.truncate(segment.path, wanted)


def fsync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
