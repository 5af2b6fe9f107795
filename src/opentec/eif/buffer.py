"""The disk buffer of a sender: what is appended and flushed stays until it is acknowledged.

    BufEvtPath/
      lock                    held by the process that uses the buffer
      identity                who sends: UUID, machine
      ack                     up to where everything is acknowledged
      0000000000000001.seg    segments, named after their first record (`opentec.eif.segment`)

Records have numbers that never start again; a *sequence*, as it goes over the wire, is a record's number minus the
number at which the sender's identity began. The last segment always stays, even when everything in it is
acknowledged: it says which numbers have been used.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec

from opentec.eif.client import new_sender
from opentec.eif.errors import BufferFault, BufferFull, BufferUnusable
from opentec.eif.frame import MAX_EVENT, data_of
from opentec.eif.identity import (
    AckFile,
    Identity,
    lock_directory,
    machine_identity,
    read_identity,
    write_durably,
    write_identity,
)
from opentec.eif.reading import Buffered, Damage, Segment, damaged_event, read_entries
from opentec.eif.recovery import Recovered, recover
from opentec.eif.segment import (
    EVENT,
    FORMAT_VERSION,
    MAX_FILES,
    RECORD_HEADER,
    SEGMENT_HEADER,
    FileRef,
    encode_segment_header,
)
from opentec.eif.writing import encode_batch, encode_declaration, write_behind

DEFAULT_MAX_SIZE: Final = 65536 * 1024
SEGMENT_SIZE: Final = 4 * 1024 * 1024
_FLUSH_BY_ITSELF: Final = 1024 * 1024  # bytes in memory
_RESTATED_FILES: Final = 1000
_KEPT_DAMAGES: Final = 1000
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _now() -> int:
    return time.time_ns() // 1000


class DiskBuffer:
    """The buffer in the directory `path` (BufEvtPath), made if it is not there.

    `max_size` is in bytes (BufEvtMaxSize is in KB). When the machine is another one than the buffer's, it is a copy and
    gets a new sender, unless `adopt` says that the buffer has moved (a shared disk that fails over). `on_damage` is
    called for each damaged place, when opening and later; `placeholder(segment, sequence)` gives the event that is sent
    in place of each lost one.

    `append`, `flush` and `read` may be called from different threads, `flush` from a worker; `ack` and `renew` from the
    thread that reads. Raises BufferLocked and BufferUnusable.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_size: int = DEFAULT_MAX_SIZE,
        max_event: int = MAX_EVENT,
        adopt: bool = False,
        clock: Callable[[], int] = _now,
        machine: str | None = None,
        on_damage: Callable[[Damage], None] | None = None,
        placeholder: Callable[[Path, int], str | bytes] = damaged_event,
    ) -> None:
        if max_size < 4 * max_event:
            raise ValueError(
                f"a buffer of {max_size // 1024} KB is too small for events of up to {max_event} bytes: "
                f"BufEvtMaxSize must be at least {-(-4 * max_event // 1024)}"
            )
        self.path = path
        self.max_size = max_size
        self.max_event = max_event
        self.damages: list[Damage] = []
        self.damaged_places = 0
        self._segment_size = min(SEGMENT_SIZE, max_size // 4)
        # a new segment begins with declarations of up to an eighth of its size
        self._limit = max_size - self._segment_size // 4
        self._clock = clock
        self._machine = machine_identity() if machine is None else machine
        self._on_damage = on_damage
        self._placeholder = placeholder
        self._lock = threading.Lock()  # the lists and numbers below
        self._flushing = threading.Lock()
        self._waiting: list[Buffered] = []  # with the record's number in place of the sequence
        self._waiting_size = 0
        self._no_room = False
        self._handle: int | None = None  # of the last segment
        self._cursor: tuple[Segment, int, int] | None = None  # segment, place, number of the record there
        self._named: set[tuple[Path, int]] = set()
        with contextlib.ExitStack() as closing:
            closing.callback(os.close, lock_directory(path))
            closing.callback(self._close_segment)
            self._open(adopt, closing)
            self._closing = closing.pop_all()

    # -- opening ------------------------------------------------------------------------------------------------------

    def _open(self, adopt: bool, closing: contextlib.ExitStack) -> None:
        try:
            identity, whole = read_identity(self.path / "identity")
            self._ack = ack = AckFile(self.path / "ack")
            closing.callback(ack.close)
            self._acked = max(ack.number, identity.base if identity else 0)
            found = recover(self.path, self._report, self._acked)
        except PermissionError as error:
            raise BufferUnusable(
                f"no permission to use {error.filename}: change its owner, or choose another BufEvtPath", self.path
            ) from error
        except OSError as error:
            raise BufferUnusable(f"the buffer {self.path} cannot be read: {error.strerror}", self.path) from error
        self._segments, self._positions, self.torn = found.segments, found.positions, found.torn
        if not whole:
            self._report(Damage(self.path / "identity", 0, "a damaged line"))
        if ack.damaged:
            self._report(Damage(self.path / "ack", 0, "a damaged slot (repaired)"))
        self._find_start(ack, found)
        no_segments = identity is not None and not found.segments and not found.unknown
        if no_segments:
            self._report(Damage(self.path, 0, "all segments are missing"))
        self._next = max(found.next_number, self._acked + 1)
        self._durable = self._given_out = self._next - 1
        with self._disk_errors():
            if ack.damaged or not ack.found:
                ack.number = self._acked
                ack.repair()
            moved = identity is not None and identity.machine not in ("", self._machine)
            if identity is None or no_segments or found.unknown or (moved and not adopt):
                self.renew()
            else:
                self._identity = identity
                if not whole or identity.machine != self._machine:
                    self._identify(msgspec.structs.replace(identity, machine=self._machine))
            if found.segments and found.appendable and self._next == found.next_number:
                self._handle = os.open(self._segments[-1].path, os.O_WRONLY | os.O_CLOEXEC)
            else:
                self._new_segment(self._next)
            self._purge()

    def _find_start(self, ack: AckFile, found: Recovered) -> None:
        """Segments go only when all of them is acknowledged, so the first one that is left says a lower bound."""
        oldest = found.segments[0].first if found.segments else found.next_number
        if oldest <= self._acked + 1:
            return
        if ack.found and not ack.damaged and not found.unknown:
            what = "the segments before this one are missing"
            self._report(Damage(self.path / f"{oldest:016d}.seg", 0, what, self._acked + 1, oldest - 1))
        else:
            self._acked = oldest - 1

    def renew(self) -> None:
        """Take a new sender: what is not acknowledged gets the sequences 1, 2, 3, ... of the new one."""
        self._identify(Identity(FORMAT_VERSION, new_sender().hex(), self._machine, self._acked))
        self._given_out = self._acked

    def _identify(self, identity: Identity) -> None:
        write_identity(self.path / "identity", identity)
        self._identity = identity

    # -- what it holds ------------------------------------------------------------------------------------------------

    @property
    def sender(self) -> bytes:
        """The sender's UUID, 16 bytes."""
        return bytes.fromhex(self._identity.sender)

    @property
    def acked(self) -> int:
        """The highest sequence that is acknowledged, 0 at first."""
        return self._acked - self._identity.base

    @property
    def durable(self) -> int:
        """The highest sequence that is on disk, and so may be sent."""
        return self._durable - self._identity.base

    @property
    def next_sequence(self) -> int:
        """The sequence that the next event will get."""
        return self._next - self._identity.base

    @property
    def given_out(self) -> int:
        """The highest sequence that may have been sent: what stood here at opening, and what `read` gave since.

        A server that knows a higher one has seen a later state of this buffer, which was restored from a copy.
        """
        return self._given_out - self._identity.base

    @property
    def pending(self) -> int:
        """Events that were appended and are not acknowledged."""
        return self._next - 1 - self._acked

    @property
    def size(self) -> int:
        """Bytes that count against `max_size`: the segments, and what waits for `flush`."""
        return sum(segment.size for segment in self._segments) + self._waiting_size

    @property
    def full(self) -> bool:
        """Whether an event of the greatest size would be refused: the producer should stop, nothing is dropped."""
        return self._no_room or self.size + RECORD_HEADER + self.max_event > self._limit

    def positions(self) -> dict[FileRef, int]:
        """The highest end offset that is durably buffered, of each file of which the buffer knows."""
        return dict(self._positions)

    # -- writing ------------------------------------------------------------------------------------------------------

    def append(self, text: str | bytes, file: FileRef | None = None, end_offset: int = 0) -> int:
        """Take one event text; gives its sequence. It is durable when a `flush` after it has returned.

        Raises BufferFull when there is no room for it, ValueError when it is longer than `max_event` bytes. When more
        than 1 MiB waits in memory, or the disk was full, it flushes by itself and raises what `flush` raises; then too
        the event was not taken.
        """
        data = data_of(text)
        if len(data) > self.max_event:
            raise ValueError(f"an event of {len(data)} bytes: at most {self.max_event} are buffered, cut it first")
        if self._no_room or self._waiting_size > min(_FLUSH_BY_ITSELF, self.max_size // 8):
            self.flush()
        size = RECORD_HEADER + len(data)
        if self.size + size > self._limit:
            raise BufferFull(
                f"the buffer {self.path} is full: {self.pending} events wait (BufEvtMaxSize {self.max_size // 1024})",
                self.path,
            )
        with self._lock:
            number = self._next
            self._next += 1
            self._waiting.append(Buffered(number, self._clock(), file, end_offset, data))
            self._waiting_size += size
        return number - self._identity.base

    def flush(self) -> None:
        """Make durable what was appended before the call.

        On a disk that has too little room it makes durable what fits, so that this can be sent and its space come
        free. Raises BufferFull when the disk has no room for the rest, BufferFault when it fails; then what is not
        durable stays in memory, and the next `flush` tries again.
        """
        with self._flushing, self._disk_errors():
            most: int | None = None  # events in one write
            while self._waiting:
                with self._lock:
                    batch = self._waiting[:most]
                try:
                    done = self._write(batch)
                except OSError as error:
                    if error.errno not in _NO_ROOM:
                        raise
                    most = len(batch) // 2 or None
                    if most is None and not self._make_room():
                        raise
                    continue
                with self._lock:
                    del self._waiting[:done]
                    self._waiting_size -= sum(RECORD_HEADER + len(event.data) for event in batch[:done])
                    self._durable = batch[done - 1].sequence
            self._no_room = False

    def _make_room(self) -> bool:
        """Free the space of the last segment if all in it is acknowledged; the next write begins a new one.

        It stays, and `ack` is durable first: one of them must say which numbers have been used.
        """
        segment = self._segments[-1]
        if self._ack.number < self._durable or segment.first > self._durable or segment.size == SEGMENT_HEADER:
            return False
        self._ack.sync()
        self._close_segment()
        os.truncate(segment.path, SEGMENT_HEADER)
        segment.size = SEGMENT_HEADER
        return True

    def _write(self, events: list[Buffered]) -> int:
        """Write and sync as much of `events` as fits into one segment; gives how many events that were."""
        segment = self._segments[-1]
        if self._handle is None or segment.size >= self._segment_size or len(segment.files) >= MAX_FILES:
            segment = self._new_segment(events[0].sequence)
        batch = encode_batch(segment, events, self._declaration, max_size=self._segment_size, max_files=MAX_FILES)
        self._write_durably(segment, batch.data)
        with self._lock:
            segment.size = batch.end
            for file, number in batch.declared.items():
                segment.declare(number, file)
                # the files used last stay at the end: a new segment restates those
                self._positions[file] = self._positions.pop(file, 0)
        for event in events[: batch.taken]:
            if event.file is not None and event.end_offset > self._positions[event.file]:
                self._positions[event.file] = event.end_offset
        return batch.taken

    def _write_durably(self, segment: Segment, data: bytes) -> None:
        assert self._handle is not None
        write_behind(self._handle, data, segment.size)
        try:
            os.fdatasync(self._handle)
        except OSError:
            # what the kernel still holds of this file is not known any more: the events go into another segment
            handle, self._handle = self._handle, None
            with contextlib.suppress(OSError):
                os.ftruncate(handle, segment.size)
            os.close(handle)
            raise

    def _new_segment(self, first: int) -> Segment:
        salt = int.from_bytes(os.urandom(4), "little")
        path = self.path / f"{first:016d}.seg"
        parts = [encode_segment_header(salt, first)]
        size = SEGMENT_HEADER
        files: list[FileRef] = []
        for file in reversed(list(self._positions)[-_RESTATED_FILES:]):
            part = self._declaration(salt, size, file, len(files) + 1)
            if size + len(part) > SEGMENT_HEADER + self._segment_size // 8:
                break
            parts.append(part)
            files.append(file)
            size += len(part)
        write_durably(path, b"".join(parts))
        self._close_segment()
        self._handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        segment = Segment(path, first, salt, size)
        for number, file in enumerate(files, 1):
            segment.declare(number, file)
        with self._lock:
            if self._segments and self._segments[-1].first == first:
                self._segments.pop()  # nothing in it had become durable
            self._segments.append(segment)
        self._positions = {file: self._positions[file] for file in reversed(files)}
        return segment

    def _declaration(self, salt: int, at: int, file: FileRef, number: int) -> bytes:
        return encode_declaration(salt, at, file, number, self._positions.get(file, 0), self._clock())

    # -- reading ------------------------------------------------------------------------------------------------------

    def read(self, after: int, limit: int = 256) -> list[Buffered]:
        """The durable events behind the sequence `after`, in order and without a gap, at most `limit`.

        A damaged one is replaced by the placeholder event; what is acknowledged is not given again. Raises BufferFault
        when the disk fails.
        """
        number = max(after + self._identity.base, self._acked) + 1
        found: list[Buffered] = []
        with self._disk_errors():
            while number <= self._durable and len(found) < limit:
                number = self._read_segment(number, limit, found)
        self._given_out = max(self._given_out, number - 1)
        return found

    def _read_segment(self, number: int, limit: int, found: list[Buffered]) -> int:
        """Append what one segment gives from record `number` on; gives the number that comes next."""
        with self._lock:
            segments, durable = self._segments, self._durable
            index = max(0, bisect_right(segments, number, key=lambda segment: segment.first) - 1)
            segment = segments[index]
            end = segments[index + 1].first - 1 if index + 1 < len(segments) else durable
            size = segment.size
        cursor = self._cursor
        known = cursor is not None and cursor[0] is segment and cursor[2] == number
        at = cursor[1] if known and cursor is not None else SEGMENT_HEADER
        base, files = self._identity.base, segment.files
        for entry in read_entries(segment, at, size, self._report):
            if entry.number < number or entry.kind != EVENT:
                continue
            if entry.number > end:
                break
            number = self._fill(segment, number, min(entry.number, number + limit - len(found)), found)
            if len(found) >= limit:
                return number
            at = entry.after
            number += 1
            if entry.payload is None:
                self._report(Damage(segment.path, entry.at, "a damaged event", entry.number, entry.number))
                self._fill(segment, entry.number, number, found)
            else:
                found.append(
                    Buffered(entry.number - base, entry.time, files.get(entry.file), entry.end_offset, entry.payload)
                )
            if len(found) >= limit or entry.number == end:
                self._cursor = (segment, at, number)
                return number
        return self._fill(segment, number, min(end + 1, number + limit - len(found)), found)

    def _fill(self, segment: Segment, number: int, to: int, found: list[Buffered]) -> int:
        """Put placeholders for the records from `number` up to, not including, `to`; gives `to`."""
        for lost in range(number, to):
            sequence = lost - self._identity.base
            data = data_of(self._placeholder(segment.path, sequence))
            found.append(Buffered(sequence, self._clock(), None, 0, data))
        return max(number, to)

    # -- acknowledging ------------------------------------------------------------------------------------------------

    def ack(self, sequence: int) -> None:
        """Everything up to `sequence` is acknowledged. Segments that are done with go, after that is durable.

        Raises ValueError for a sequence that is not durable yet, BufferFault when the disk fails.
        """
        number = sequence + self._identity.base
        if number > self._durable:
            raise ValueError(f"event {sequence} cannot be acknowledged: the newest on disk is {self.durable}")
        if number <= self._acked:
            return
        self._acked = number
        with self._disk_errors():
            self._ack.write(number)
            self._purge()

    def _purge(self) -> None:
        done = 0
        while done + 1 < len(self._segments) and self._segments[done + 1].first <= self._acked + 1:
            done += 1
        if not done:
            return
        self._ack.sync()
        with self._lock:
            gone, self._segments = self._segments[:done], self._segments[done:]
        for segment in gone:
            if segment.readable:
                segment.path.unlink(missing_ok=True)
            else:
                segment.path.rename(segment.path.with_suffix(".bad"))

    # -- the rest -----------------------------------------------------------------------------------------------------

    def _report(self, damage: Damage) -> None:
        if damage.first <= damage.last:
            damage = msgspec.structs.replace(damage, first=max(damage.first, self._acked + 1))
        place = (damage.path, damage.at)
        if place in self._named:
            return
        self._named.add(place)
        self.damaged_places += 1
        if len(self.damages) < _KEPT_DAMAGES:
            self.damages.append(damage)
        if self._on_damage is not None:
            self._on_damage(damage)

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _NO_ROOM:
                self._no_room = True
                raise BufferFull(
                    f"no room for the buffer {self.path}: {error.strerror}; free some space, nothing buffered is lost",
                    self.path,
                ) from error
            raise BufferFault(f"the buffer {self.path} cannot be used: {error.strerror}", self.path) from error

    def close(self) -> None:
        """Give the buffer free. What was not flushed is lost."""
        self._closing.close()

    def _close_segment(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> DiskBuffer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
