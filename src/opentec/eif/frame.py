"""EIF frames: 36 bytes of header, then the data (docs/protocol.md "Frame"; tec.md 1.1).

`Frame.data` is what stands behind the header, unchanged: the UTF-8 flag 0x03 and the terminator are still there,
because the event parser wants to see the flag. `strip` and `text_of` take them away.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from opentec.eif.errors import FrameError

START: Final = b"<START>>"
HEADER: Final = struct.Struct(">8sQQIII")  # start, sequence, end offset, file, length, length again
HEADER_SIZE: Final = HEADER.size
UTF8_FLAG: Final = b"\x03"
TERMINATOR: Final = b"END\n\x01"

MAX_EVENT: Final = 64 * 1024
MAX_FRAME: Final = 16 * 1024 * 1024
MAX_JUNK: Final = 64 * 1024
FIRST_KIB: Final = 1024

_MIN_LENGTH: Final = 4  # no event text is shorter than `A;END`; old senders left the length 0
_GREETING: Final = (b"$HELLO;", b"\x03$HELLO;")


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One frame. In plain mode the three numbers mean nothing and are usually 0."""

    sequence: int
    end_offset: int
    file: int
    data: bytes


class Oversized(msgspec.Struct, frozen=True, gc=False):
    """A frame of more than `max_event` bytes that was skipped: the first KiB of its data, and how long the data was."""

    sequence: int
    end_offset: int
    file: int
    first_kib: bytes
    length: int


def encode_frame(data: bytes, sequence: int = 0, end_offset: int = 0, file: int = 0) -> bytes:
    """The frame around `data` (flag, text and terminator as `data_of` makes them)."""
    length = len(data)
    return HEADER.pack(START, sequence, end_offset, file, length, length) + data


def data_of(text: str | bytes) -> bytes:
    """Frame data of an event text: 0x03, the text (bytes are UTF-8 already), LF 0x01. The text ends with `END`."""
    raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
    return UTF8_FLAG + raw.rstrip(b"\n") + b"\n\x01"


def strip(data: bytes) -> bytes:
    """The event text's bytes, from the class to `END`: without the flag 0x03 and the closing LF 0x01."""
    return data.removeprefix(UTF8_FLAG).removesuffix(b"\x01").rstrip(b"\r\n")


def text_of(data: bytes) -> str:
    """The event text. With the flag 0x03 it is UTF-8 (bad bytes become U+FFFD); without, UTF-8 or else ISO 8859-1."""
    raw = strip(data)
    if data.startswith(UTF8_FLAG):
        return raw.decode("utf-8", "replace")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


class FrameReader:
    """Cuts a byte stream into frames.

    `strict` is True for the acknowledged mode (whatever is not a frame is an error), False for plain (it finds its
    place again). None, the server's choice, lets the first frame decide: a greeting makes the connection strict; then
    `strict` holds what was decided.

    Feed what was read, then call `frames()` until it gives an empty list: an error is raised by the call after the one
    that gave the good frames in front of it. A frame longer than `max_event` comes out as `Oversized` and is never
    held; one longer than `max_frame` is an error.
    """

    def __init__(self, max_event: int = MAX_EVENT, max_frame: int = MAX_FRAME, *, strict: bool | None = None) -> None:
        self.max_event = min(max_event, max_frame)
        self.max_frame = max_frame
        self.strict = strict
        self._chunks: list[bytes] = []
        self._size = 0
        self._need = 1  # joining the chunks is not worth it below this size
        self._junk = 0
        self._error: FrameError | None = None
        self._long: _Skip | _Scan | None = None

    @property
    def pending(self) -> int:
        """Bytes that were fed and are not yet a frame; more than 0 at the end of a stream means that it was cut."""
        return self._size + (self._long.taken if self._long else 0)

    def feed(self, data: bytes) -> None:
        """Take what was read from the connection. Nothing is parsed before `frames()`."""
        self._chunks.append(data)
        self._size += len(data)

    def frames(self) -> list[Frame | Oversized]:
        """The frames that are complete, in order. Raises FrameError when the stream cannot go on."""
        if self._error is not None:
            raise self._error
        if self._size < self._need:
            return []
        buffer = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        found: list[Frame | Oversized] = []
        self._need = 0
        at = 0
        try:
            while not self._need:
                at = self._whole(buffer, at, found)
                at = self._unusual(buffer, at, found)
        except FrameError as error:
            self._error = error
            if not found:
                raise
        rest = buffer[at:]
        self._chunks, self._size = [rest] if rest else [], len(rest)
        return found

    def _whole(self, buffer: bytes, at: int, found: list[Frame | Oversized]) -> int:
        """The main path: take frames of the usual size; give the index of the first byte that is none."""
        if self._long is not None:
            return at
        unpack, append, strict, limit, size = HEADER.unpack_from, found.append, self.strict, self.max_event, len(buffer)
        while size - at >= HEADER_SIZE:
            start, sequence, end_offset, file, length, _ = unpack(buffer, at)
            begin = at + HEADER_SIZE
            end = begin + length
            if start != START or end > size or not _MIN_LENGTH <= length <= limit:
                break
            data = buffer[begin:end]
            if not strict:
                if strict is None:
                    self.strict = strict = data.startswith(_GREETING)
                if not strict and not data.endswith(TERMINATOR) and TERMINATOR in data:
                    # an old sender's length may run into its next frame
                    data = data[: data.index(TERMINATOR) + len(TERMINATOR)]
                    end = begin + len(data)
                self._junk = 0
            append(Frame(sequence, end_offset, file, data))
            at = end
        return at

    def _unusual(self, buffer: bytes, at: int, found: list[Frame | Oversized]) -> int:
        """At `at` is no whole frame of the usual size: wait (set `_need`), skip, or find the place again."""
        if self._long is not None:
            at = self._long.take(buffer, at)
            if self._long.done is None:
                self._need = 1
            else:
                found.append(self._long.done)
                self._long = None
                self.strict = bool(self.strict)
            return at
        mark = buffer[at : at + len(START)]
        if not START.startswith(mark):
            return self._resync(buffer, at)
        if len(buffer) - at < HEADER_SIZE:
            self._need = HEADER_SIZE
            return at
        _, sequence, end_offset, file, length, _ = HEADER.unpack_from(buffer, at)
        if _MIN_LENGTH <= length <= self.max_event:
            self._need = HEADER_SIZE + length
            return at
        if _MIN_LENGTH <= length <= self.max_frame:
            self._long = _Skip(sequence, end_offset, file, length)
        elif self.strict:
            raise FrameError(f"a frame says that it has {length} bytes; allowed are {_MIN_LENGTH} to {self.max_frame}")
        else:
            self._long = _Scan(sequence, end_offset, file, self.max_event, self.max_frame)
        self._junk = 0
        return at + HEADER_SIZE

    def _resync(self, buffer: bytes, at: int) -> int:
        """What stands here is not the beginning of a frame: in plain mode go to the next `<START>>`."""
        if self.strict:
            raise FrameError(f"not an EIF frame: {buffer[at : at + 16]!r} stands where {START.decode()} is expected")
        to = buffer.find(START, at)
        if to < 0:
            # the last bytes may be the beginning of one
            to = max(at, len(buffer) - len(START) + 1)
            self._need = len(buffer) - to + 1
        self._junk += to - at
        if self._junk > MAX_JUNK:
            raise FrameError(f"more than {MAX_JUNK} bytes without {START.decode()}: this is not an EIF sender")
        return to


class _Skip:
    """A frame between `max_event` and `max_frame`: kept are its first KiB only."""

    def __init__(self, sequence: int, end_offset: int, file: int, length: int) -> None:
        self._numbers = (sequence, end_offset, file)
        self._length = length
        self._first = b""
        self.taken = 0
        self.done: Frame | Oversized | None = None

    def take(self, buffer: bytes, at: int) -> int:
        """Use the bytes from `at` on; give the index behind them. `done` is set when the frame is complete."""
        end = min(len(buffer), at + self._length - self.taken)
        if len(self._first) < FIRST_KIB:
            self._first += buffer[at : min(end, at + FIRST_KIB - len(self._first))]
        self.taken += end - at
        if self.taken == self._length:
            self.done = Oversized(*self._numbers, self._first, self._length)
        return end


class _Scan:
    """A plain frame whose length cannot be true: it ends at `END` LF 0x01 (tec.md 1.1)."""

    def __init__(self, sequence: int, end_offset: int, file: int, max_event: int, max_frame: int) -> None:
        self._numbers = (sequence, end_offset, file)
        self._max_event, self._max_frame = max_event, max_frame
        self._held = bytearray()  # of a long frame: its first KiB, then nothing more
        self._tail = b""  # the terminator may be cut by a read
        self.taken = 0
        self.done: Frame | Oversized | None = None

    def take(self, buffer: bytes, at: int) -> int:
        """As `_Skip.take`; raises FrameError when `max_frame` bytes hold no terminator."""
        joint = self._tail + buffer[at:]
        found = joint.find(TERMINATOR)
        end = len(buffer) if found < 0 else at + found + len(TERMINATOR) - len(self._tail)
        self.taken += end - at
        if self.taken > self._max_frame:
            raise FrameError(f"no END within {self._max_frame} bytes of a frame whose length is not plausible")
        if len(self._held) <= self._max_event:
            self._held += buffer[at:end]
        if found >= 0:
            if self.taken <= self._max_event:
                self.done = Frame(*self._numbers, bytes(self._held))
            else:
                self.done = Oversized(*self._numbers, bytes(self._held[:FIRST_KIB]), self.taken)
        else:
            self._tail = joint[1 - len(TERMINATOR) :]
        return end
