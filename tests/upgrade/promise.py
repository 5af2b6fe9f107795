"""What senders of an older version had been promised when it was killed."""

from __future__ import annotations

import msgspec


class SenderPromise(msgspec.Struct, frozen=True):
    """One sender: how far it was acknowledged, how far it had sent, and which of its events were refused."""

    name: str
    uuid: str
    acked: int
    produced: int
    rejected: list[int]
    epochs: list[int]


class Promise(msgspec.Struct, frozen=True):
    """All senders, the events that operators changed, and the lines that wait in the adapter's buffer."""

    senders: list[SenderPromise]
    acknowledged: list[str]
    closed: list[str]
    lines: int

    def encoded(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self))
