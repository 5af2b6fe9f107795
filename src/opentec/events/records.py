"""What one record of the reception log says, apart from how it lies on disk.

The log (`opentec.log`) writes and reads these, the engine (`opentec.rules`) is a pure function of them.
A position names a record for ever: `epoch << 44 | offset`, where the offset counts bytes over all segments
of that epoch. Positions order all records of a server. People see it as `rx:EPOCH:OFFSET`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

import msgspec

OFFSET_BITS: Final = 44
OFFSET_MASK: Final = (1 << OFFSET_BITS) - 1
NO_SENDER: Final = b"\0" * 16


class Kind(IntEnum):
    """The kinds of record (spine: the reception log)."""

    EVENT = 1  # received from a sender
    CHANGE = 2  # an operator's change request
    ACTIVATE = 3  # a rule base becomes active
    TICK = 4  # nothing but the time
    NOTICE = 5  # an event of the server's own (TEC_Start, TEC_Failover, TEC_Notice)
    QUARANTINE = 6  # names the position of a record that must not be processed


class Verdict(IntEnum):
    """What reception found when it checked an event."""

    ACCEPTED = 0
    REJECTED = 1


class Disposition(IntEnum):
    """How a position of the log ended. Exactly one per EVENT, NOTICE and CHANGE record, at most one for others."""

    WAITING = 0  # not committed yet; never stored
    STORED = 1
    DROPPED = 2
    REJECTED = 3  # PARSING_FAILED in TEC's dumps
    FAILED = 4  # quarantined
    APPLIED = 5  # a CHANGE that was made, or an ACTIVATE that turned a trace on or off
    REFUSED = 6  # one that was not
    FIRED = 7  # a record without an event of its own, TICK or ACTIVATE, at which rules fired or events were derived


class Record(msgspec.Struct, gc=False):
    """One record. Times are integer microseconds UTC; `after` is the position just behind it."""

    position: int
    after: int
    kind: int
    verdict: int
    time: int
    sender: bytes = NO_SENDER
    sequence: int = 0
    file: int = 0  # identity of a tailed file's generation, 0 = none
    end_offset: int = 0  # bytes of that file up to and including this event
    payload: bytes = b""


class EventPayload(msgspec.Struct, array_like=True, gc=False):
    """Payload of EVENT and NOTICE: the class and the slots that were sent, typed; defaults are the reader's."""

    class_name: str
    slots: dict[str, Any]


class RejectedPayload(msgspec.Struct, array_like=True, gc=False):
    """Payload of a rejected EVENT: why, and what was sent (cut to its first KiB when over the limit)."""

    reason: str
    text: bytes
    length: int  # bytes that were sent


class ChangePayload(msgspec.Struct, array_like=True):
    """Payload of CHANGE: what an operator asks for one event."""

    event: tuple[int, int, int]  # date_reception, event_handle, server_handle
    slots: dict[str, Any]  # slot -> new value, e.g. {"status": "ACK"}
    user: str


class ActivatePayload(msgspec.Struct, array_like=True):
    """Payload of ACTIVATE: the rule base by content hash, and every input of the engine that is not the log."""

    rule_base: str
    name: str
    settings: dict[str, Any] = {}  # cache_size, step_limit, time_zone, ...


class QuarantinePayload(msgspec.Struct, array_like=True):
    """Payload of QUARANTINE: the position that readers skip, and why."""

    position: int
    reason: str


_event = msgspec.msgpack.Decoder(EventPayload)
_rejected = msgspec.msgpack.Decoder(RejectedPayload)
_change = msgspec.msgpack.Decoder(ChangePayload)
_activate = msgspec.msgpack.Decoder(ActivatePayload)
_quarantine = msgspec.msgpack.Decoder(QuarantinePayload)

encode: Final = msgspec.msgpack.Encoder().encode
decode_event: Final = _event.decode
decode_rejected: Final = _rejected.decode
decode_change: Final = _change.decode
decode_activate: Final = _activate.decode
decode_quarantine: Final = _quarantine.decode


def position_of(epoch: int, offset: int) -> int:
    return epoch << OFFSET_BITS | offset


def epoch_of(position: int) -> int:
    return position >> OFFSET_BITS


def offset_of(position: int) -> int:
    return position & OFFSET_MASK


def name_of(position: int) -> str:
    """The name that people see, `rx:EPOCH:OFFSET`."""
    return f"rx:{position >> OFFSET_BITS}:{position & OFFSET_MASK}"


def parse_position(name: str) -> int:
    """Read `rx:EPOCH:OFFSET`; raises ValueError with the form that is expected."""
    parts = name.split(":")
    if len(parts) != 3 or parts[0] != "rx" or not (parts[1].isdigit() and parts[2].isdigit()):
        raise ValueError(f"{name!r} is not a log position; the form is rx:EPOCH:OFFSET, for example rx:3:4096")
    return position_of(int(parts[1]), int(parts[2]))
