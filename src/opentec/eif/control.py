"""Control frames: greeting and answers, file declarations, acknowledgements (docs/protocol.md "Control frames")."""

from __future__ import annotations

from typing import Final

import msgspec

from opentec.eif.errors import ProtocolError
from opentec.eif.frame import Frame, encode_frame, text_of
from opentec.events.errors import EventSyntaxError
from opentec.events.text import format_event, parse_event

PROTOCOL_VERSION: Final = 1
LONG: Final = "long"
ONCE: Final = "once"
MAX_FILE_NUMBER: Final = 65535
MAX_REASON: Final = 512  # characters; a longer reason is cut
REJECTED_PER_FRAME: Final = 64

_Slots = dict[str, str | list[str]]


class Hello(msgspec.Struct, frozen=True):
    """`$HELLO`: who sends (UUID, 16 bytes), for long or once, and the sequence of the first event it will send."""

    sender: bytes
    next: int
    kind: str = LONG

    def encode(self) -> bytes:
        return _frame(
            "$HELLO", {"protocol": _VERSION, "sender": self.sender.hex(), "kind": self.kind, "next": str(self.next)}
        )


class Welcome(msgspec.Struct, frozen=True):
    """`$WELCOME`: everything up to `last` is acknowledged; at most `window` events may be under way."""

    epoch: int
    last: int
    window: int

    def encode(self) -> bytes:
        return _frame("$WELCOME", _welcome_slots(self))


class Unknown(msgspec.Struct, frozen=True):
    """`$UNKNOWN`: as Welcome, from a server that has no memory of a sender that has sent before."""

    epoch: int
    last: int
    window: int

    def encode(self) -> bytes:
        return _frame("$UNKNOWN", _welcome_slots(self))


class Busy(msgspec.Struct, frozen=True):
    """`$BUSY`: not now; come again after `retry_ms` milliseconds."""

    retry_ms: int

    def encode(self) -> bytes:
        return _frame("$BUSY", {"retry_ms": str(self.retry_ms)})


class File(msgspec.Struct, frozen=True):
    """`$FILE`: frames of this connection that carry `number` come from this generation of this file."""

    number: int
    scope: str
    path: str
    generation: str

    def encode(self) -> bytes:
        return _frame(
            "$FILE",
            {"number": str(self.number), "scope": self.scope, "path": self.path, "generation": self.generation},
        )


class Ack(msgspec.Struct, frozen=True):
    """`$ACK`: everything up to `sequence` is durable; `rejected` names what the classes refused, in ascending order."""

    sequence: int
    rejected: tuple[tuple[int, str], ...] = ()

    def encode(self) -> bytes:
        """One frame; with many rejected events several, each acknowledging up to the last one that it names."""
        frames = []
        rejected = self.rejected
        while len(rejected) > REJECTED_PER_FRAME:
            part, rejected = rejected[:REJECTED_PER_FRAME], rejected[REJECTED_PER_FRAME:]
            frames.append(_ack(part[-1][0], part))
        frames.append(_ack(self.sequence, rejected))
        return b"".join(frames)


class Error(msgspec.Struct, frozen=True):
    """`$ERROR`: the server closes the connection because of `reason`."""

    reason: str

    def encode(self) -> bytes:
        return _frame("$ERROR", {"reason": self.reason[:MAX_REASON]})


Control = Hello | Welcome | Unknown | Busy | File | Ack | Error

_VERSION: Final = str(PROTOCOL_VERSION)
_PLAIN_ACK: Final = b"$ACK;END\n\x01"


def is_control(frame: Frame) -> bool:
    """Whether the frame's class begins with `$`."""
    return frame.data.startswith((b"$", b"\x03$"))


def parse_control(frame: Frame) -> Control | None:
    """The control frame that this is, or None if it is an event.

    Raises ProtocolError when the class is not one of protocol.md, a slot is missing or wrong, or a greeting speaks
    another protocol version. Slots that are not named in protocol.md are ignored.
    """
    if not is_control(frame):
        return None
    if frame.data == _PLAIN_ACK:
        return Ack(frame.sequence)
    try:
        name, slots = parse_event(text_of(frame.data)[1:])  # a `$` begins no name of an event class
    except EventSyntaxError as error:
        raise ProtocolError(f"malformed control frame: {error}") from error
    name = "$" + name
    match name:
        case "$ACK":
            return Ack(frame.sequence, _rejected(slots))
        case "$HELLO":
            _check_version(name, slots)
            return _hello(slots)
        case "$WELCOME" | "$UNKNOWN":
            _check_version(name, slots)
            kind = Welcome if name == "$WELCOME" else Unknown
            return kind(
                _number(name, slots, "epoch"), _number(name, slots, "last"), _number(name, slots, "window", least=1)
            )
        case "$FILE":
            number = _number(name, slots, "number", least=1, most=MAX_FILE_NUMBER)
            return File(
                number, _text(name, slots, "scope"), _text(name, slots, "path"), _text(name, slots, "generation")
            )
        case "$BUSY":
            return Busy(_number(name, slots, "retry_ms"))
        case "$ERROR":
            return Error(_text(name, slots, "reason"))
    raise ProtocolError(f"{name} is not a control frame of protocol version {PROTOCOL_VERSION}")


def _frame(name: str, slots: _Slots, sequence: int = 0) -> bytes:
    text = "$" + format_event(name[1:], slots)
    return encode_frame(text.encode("utf-8", "replace") + b"\n\x01", sequence)


def _ack(sequence: int, rejected: tuple[tuple[int, str], ...]) -> bytes:
    if not rejected:
        return encode_frame(_PLAIN_ACK, sequence)
    return _frame("$ACK", {"rejected": [f"{number} {reason[:MAX_REASON]}" for number, reason in rejected]}, sequence)


def _welcome_slots(answer: Welcome | Unknown) -> _Slots:
    return {
        "protocol": _VERSION,
        "epoch": str(answer.epoch),
        "last": str(answer.last),
        "window": str(answer.window),
    }


def _check_version(name: str, slots: _Slots) -> None:
    version = _text(name, slots, "protocol")
    if version != _VERSION:
        raise ProtocolError(f"{name}: protocol version {version} is not spoken here, only version {_VERSION}")


def _hello(slots: _Slots) -> Hello:
    name = "$HELLO"
    text = _text(name, slots, "sender")
    try:
        sender = bytes.fromhex(text)
    except ValueError:
        sender = b""
    if len(sender) != 16 or len(text) != 32 or not any(sender):
        raise ProtocolError(f"{name}: sender {text[:64]!r} is not a UUID of 32 hex digits")
    kind = _text(name, slots, "kind")
    if kind not in (LONG, ONCE):
        raise ProtocolError(f"{name}: kind {kind[:64]!r} is neither {LONG!r} nor {ONCE!r}")
    return Hello(sender, _number(name, slots, "next", least=1), kind)


def _rejected(slots: _Slots) -> tuple[tuple[int, str], ...]:
    items = slots.get("rejected", [])
    found = []
    for item in [items] if isinstance(items, str) else items:
        number, _, reason = item.partition(" ")
        if not (number.isascii() and number.isdigit()):
            raise ProtocolError(f"$ACK: {item[:64]!r} in rejected is not SEQUENCE REASON")
        found.append((int(number), reason))
    return tuple(found)


def _text(name: str, slots: _Slots, slot: str) -> str:
    value = slots.get(slot)
    if not isinstance(value, str):
        raise ProtocolError(
            f"{name}: slot {slot!r} is missing" if value is None else f"{name}: slot {slot!r} is a list"
        )
    return value


def _number(name: str, slots: _Slots, slot: str, *, least: int = 0, most: int = 2**63 - 1) -> int:
    text = _text(name, slots, slot)
    value = int(text) if text.isascii() and text.isdigit() and len(text) <= 19 else -1
    if not least <= value <= most:
        raise ProtocolError(f"{name}: {slot} {text[:64]!r} is not a number from {least} to {most}")
    return value
