"""One connection of an event sender, in acknowledged or plain mode (docs/protocol.md)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from opentec.eif.control import Ack, Busy, Error, File, Hello, Unknown, Welcome, parse_control
from opentec.eif.errors import EifError, FrameError, ProtocolError
from opentec.eif.frame import Frame, FrameReader, Oversized
from opentec.log.codec import FLAG_ONCE
from opentec.log.table import generation_id, path_id
from opentec.server import hooks
from opentec.server.progress import boot_us

if TYPE_CHECKING:
    from opentec.server.intake import Intake

_log = logging.getLogger(__name__)
_BUSY_MS = 1000


class Connection(asyncio.Protocol):
    """Frames in, records to the intake; acknowledgements out when the intake says that they are durable."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader(intake.max_event, strict=None)
        self.sender: bytes | None = None  # set by the greeting: acknowledged mode
        self._flags = 0
        self.last = 0  # sequence that was added or found covered
        self.logged = 0  # sequence of the newest record of this sender in the log
        self._acknowledged = 0
        self._greeting: Hello | None = None
        self._unknown = False
        self._rejected: list[tuple[int, str]] = []
        self._files: dict[int, tuple[int, int]] = {}
        self.fenced = False
        self._unread = False  # the sender does not take its answers: it is not read either
        self.heard = boot_us()  # when something came last

    # -- asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not self._intake.admit(self):
            transport.write(Busy(_BUSY_MS).encode())
            transport.close()
        elif self._intake.paused:
            transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._intake.leave(self)
        self._transport = None

    def pause_writing(self) -> None:
        self._unread = True
        self.pause()

    def resume_writing(self) -> None:
        self._unread = False
        if not self._intake.paused:
            self.resume()

    def data_received(self, data: bytes) -> None:
        if self.fenced or self._transport is None:
            return
        self.heard = boot_us()
        self._reader.feed(data)
        try:
            while frames := self._reader.frames():
                for frame in frames:
                    self._frame(frame)
        except EifError as error:
            self._refuse(error)

    # -- frames -----------------------------------------------------------------------------------------------------

    def _frame(self, frame: Frame | Oversized) -> None:
        if self.sender is None:
            self._first_or_plain(frame)
            return
        if frame.sequence == 0:
            self._control(frame)
            return
        if frame.sequence != self.last + 1:
            if frame.sequence > self.last:
                raise ProtocolError(f"event {frame.sequence} came, {self.last + 1} was expected")
            self._intake.answer_later(self)  # sent again: its acknowledgement was lost
            return
        self._event(frame)

    def _first_or_plain(self, frame: Frame | Oversized) -> None:
        if self._reader.strict and isinstance(frame, Frame):
            greeting = parse_control(frame)
            if not isinstance(greeting, Hello):
                raise ProtocolError("the first frame of a connection is $HELLO, or else the connection is plain")
            self._greet(greeting)
        else:
            self._intake.add_event(frame)

    def _greet(self, greeting: Hello) -> None:
        self.sender = greeting.sender
        self._flags = FLAG_ONCE if greeting.kind == "once" else 0
        if not hooks.unsafe("no-sender-fencing"):
            self._intake.fence_others(self)
        known = self._intake.last_of(greeting.sender)
        if known is None and greeting.next > 1:
            self._unknown = True
            self._intake.notice_unknown(greeting.sender, greeting.next)
        # a known sender may be ahead of the log by events that were acknowledged as covered
        self.last = max(known or 0, greeting.next - 1)
        self.logged = known or 0
        self._acknowledged = self.last
        self._greeting = greeting
        self._intake.register(self)
        self._intake.answer_later(self)

    def _control(self, frame: Frame | Oversized) -> None:
        control = parse_control(frame) if isinstance(frame, Frame) else None
        if isinstance(control, File):
            self._files[control.number] = (
                generation_id(control.scope, control.path, control.generation),
                path_id(control.scope, control.path),
            )
        elif control is None:
            raise ProtocolError("an event without a sequence number")
        else:
            raise ProtocolError(f"a client does not send {type(control).__name__} here")

    def _event(self, frame: Frame | Oversized) -> None:
        assert self.sender is not None
        generation = path = 0
        if frame.file:
            known = self._files.get(frame.file)
            if known is None:
                raise ProtocolError(f"file number {frame.file} was not declared on this connection")
            generation, path = known
        self.last = frame.sequence
        if generation and frame.end_offset <= self._intake.covered(generation) and not hooks.unsafe("no-coverage"):
            self._intake.count_covered()
        else:
            reason = self._intake.add_event(
                frame, self.sender, frame.sequence, self._flags, generation, frame.end_offset, path
            )
            self.logged = frame.sequence
            if reason is not None:
                self._rejected.append((frame.sequence, reason))
        self._intake.answer_later(self)

    # -- answers ----------------------------------------------------------------------------------------------------

    @property
    def flags(self) -> int:
        return self._flags

    def acknowledge(self, sequence: int, epoch: int, window: int) -> None:
        """Everything up to `sequence` is durable and the epoch was checked since: say so."""
        if self._transport is None or self.fenced:
            return
        if self._greeting is not None:
            answer = Unknown if self._unknown else Welcome
            self._transport.write(answer(epoch=epoch, last=sequence, window=window).encode())
            self._greeting = None
        else:
            rejected = tuple(item for item in self._rejected if item[0] <= sequence)
            self._transport.write(Ack(sequence, rejected).encode())
        if self._rejected:
            self._rejected = [item for item in self._rejected if item[0] > sequence]
        self._intake.count_acked(sequence - self._acknowledged)
        self._acknowledged = sequence

    def _refuse(self, error: EifError) -> None:
        if self._transport is None:
            return
        peer = self._transport.get_extra_info("peername")
        _log.warning("connection from %s closed: %s", peer, error)
        if self._reader.strict or isinstance(error, ProtocolError) or not isinstance(error, FrameError):
            self._transport.write(Error(str(error)).encode())
        self._transport.close()

    def fence(self) -> None:
        """A newer connection of the same sender has greeted: nothing more is read from this one."""
        self.fenced = True
        if self._transport is not None:
            self._transport.close()

    def pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing() and not self._unread:
            self._transport.resume_reading()

    def close_idle(self, limit: float) -> None:
        """Nothing came for `limit` seconds: make room for others. Who has something to send connects again."""
        if self._transport is not None and not self._unread:
            peer = self._transport.get_extra_info("peername")
            _log.info("connection from %s closed: it sent nothing for %.0f s", peer, limit)
            self._transport.close()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
