"""The client's side of the acknowledged mode, without any input or output (docs/protocol.md "Rules").

A driver connects, writes `to_send()`, feeds what it reads to `received()`, and acts on what that gives:

    GREETING --$WELCOME, $UNKNOWN--> READY --...--> CLOSED
        \\--$BUSY, $ERROR, anything else, end of stream--> CLOSED
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from opentec.eif.control import LONG, Ack, Busy, Error, File, Hello, Unknown, Welcome, parse_control
from opentec.eif.errors import FrameError, ProtocolError
from opentec.eif.frame import Frame, FrameReader, encode_frame

MAX_ANSWER: Final = 1024 * 1024  # bytes of one frame from a server; $ACK with its reasons stays far below


class State(Enum):
    """Where a session stands. From CLOSED nothing leads back: a new connection is a new session."""

    GREETING = "greeting"
    READY = "ready"
    CLOSED = "closed"


class Welcomed(msgspec.Struct, frozen=True):
    """The server knows us (`known`), or goes on from where we are; everything up to `last` is acknowledged."""

    epoch: int
    last: int
    window: int
    known: bool


class Acked(msgspec.Struct, frozen=True):
    """Everything up to `sequence` is durable; `rejected` are the (sequence, reason) among the newly acknowledged."""

    sequence: int
    rejected: tuple[tuple[int, str], ...]


class Closed(msgspec.Struct, frozen=True):
    """The session is over: close the connection.

    `retry_ms` is the server's wish when it was busy. `ahead` says that the server remembers sequences that this sender
    has never given out: the sender's memory is older than its last run, and it needs a new identity.
    """

    reason: str
    retry_ms: int | None = None
    ahead: bool = False


SessionEvent = Welcomed | Acked | Closed


class ClientSession:
    """One connection of a sender (`sender` = UUID, 16 bytes) whose first event not yet acknowledged is `next_sequence`.

    `newest` is the highest sequence that the sender has ever given out; without it, `next_sequence - 1` is not
    compared with what the server remembers.
    """

    def __init__(self, sender: bytes, next_sequence: int, *, kind: str = LONG, newest: int | None = None) -> None:
        self.state = State.GREETING
        self.acked = next_sequence - 1
        self.sent = next_sequence - 1
        self.window = 0
        self._newest = newest
        self._out: list[bytes] = [Hello(sender, next_sequence, kind).encode()]
        self._reader = FrameReader(max_event=MAX_ANSWER, max_frame=MAX_ANSWER, strict=True)

    @property
    def under_way(self) -> int:
        """Events that were sent and are not acknowledged."""
        return self.sent - self.acked

    @property
    def room(self) -> int:
        """How many events may be sent now."""
        return max(0, self.window - self.under_way) if self.state is State.READY else 0

    def to_send(self) -> bytes:
        """What must be written to the connection; each byte is given once."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def declare(self, file: File) -> None:
        """From here on, events may carry this file's number. Raises ProtocolError before the greeting is answered."""
        if self.state is not State.READY:
            raise ProtocolError(f"file {file.number} declared in a session that is {self.state.value}")
        self._out.append(file.encode())

    def send(self, data: bytes, sequence: int, end_offset: int = 0, file: int = 0) -> None:
        """Send one event; `data` as of `frame.data_of`. Raises ProtocolError when it is not this event's turn."""
        if sequence != self.sent + 1:
            raise ProtocolError(f"event {sequence} sent where {self.sent + 1} is next")
        if self.room == 0:
            raise ProtocolError(
                f"event {sequence} sent while {self.under_way} are under way in state {self.state.value}"
            )
        self.sent = sequence
        self._out.append(encode_frame(data, sequence, end_offset, file))

    def received(self, data: bytes) -> list[SessionEvent]:
        """Take what was read from the connection; b"" is the end of the stream. Nothing follows a Closed."""
        found: list[SessionEvent] = []
        if self.state is State.CLOSED:
            return found
        if not data:
            found.append(self._close("the server closed the connection"))
            return found
        self._reader.feed(data)
        try:
            while frames := self._reader.frames():
                for frame in frames:
                    event = self._answer(frame) if isinstance(frame, Frame) else None
                    if event is not None:
                        found.append(event)
                    if isinstance(event, Closed):
                        return found
        except (FrameError, ProtocolError) as error:
            found.append(self._close(f"not an answer of the acknowledged mode: {error}"))
        return found

    def _answer(self, frame: Frame) -> SessionEvent | None:
        control = parse_control(frame)
        match control:
            case Ack() if self.state is State.READY:
                return self._acknowledged(control)
            case Welcome() | Unknown() if self.state is State.GREETING:
                return self._greeted(control)
            case Busy() if self.state is State.GREETING:
                return self._close("the server is busy", retry_ms=control.retry_ms)
            case Error():
                return self._close(f"the server refuses: {control.reason}")
        what = "an event" if control is None else f"${type(control).__name__.upper()}"
        return self._close(f"the server sent {what} in state {self.state.value}")

    def _greeted(self, answer: Welcome | Unknown) -> SessionEvent:
        known = isinstance(answer, Welcome)
        if answer.last < self.acked or (not known and answer.last != self.acked):
            return self._close(
                f"the server wants event {answer.last + 1}, but everything up to {self.acked} has been acknowledged"
            )
        if self._newest is not None and answer.last > self._newest:
            return self._close(
                f"the server remembers event {answer.last}, but this sender has made no more than {self._newest}",
                ahead=True,
            )
        self.state = State.READY
        self.acked = self.sent = answer.last
        self.window = answer.window
        return Welcomed(answer.epoch, answer.last, answer.window, known)

    def _acknowledged(self, ack: Ack) -> SessionEvent | None:
        if ack.sequence > self.sent:
            return self._close(f"the server acknowledges event {ack.sequence}, but only {self.sent} were sent")
        rejected = tuple(item for item in ack.rejected if self.acked < item[0] <= ack.sequence)
        if ack.sequence <= self.acked:
            return None
        self.acked = ack.sequence
        return Acked(ack.sequence, rejected)

    def _close(self, reason: str, *, retry_ms: int | None = None, ahead: bool = False) -> Closed:
        self.state = State.CLOSED
        return Closed(reason, retry_ms, ahead)
