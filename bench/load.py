"""`python -m bench.load`: a process that sends events in acknowledged mode and says how that went.

Written for speed from docs/protocol.md: events are made before, one header is packed for each. Its orders come as one
JSON object on standard input, its report goes as one to standard output. Times are CLOCK_MONOTONIC, so that they can
be compared with those of other processes.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import time
import uuid
from collections import deque
from functools import partial
from typing import Any, Final

from bench.events import texts

_HEADER: Final = struct.Struct(">8sIIIIIII")
_MAGIC: Final = b"<START>>"
_TICK: Final = 0.002  # seconds between two looks at what is due
_MADE: Final = 20_000  # event texts of one connection, sent round and round
_BURST: Final = 64  # events that share one moment of sending
PATIENCE: Final = 60.0


class Connection(asyncio.Protocol):
    """One sender: at most `window` events under way; `rate` events a second, None as fast as it goes."""

    def __init__(self, number: int, window: int, rate: float | None) -> None:
        self.sender = uuid.uuid4().bytes
        self.window, self.rate = window, rate
        self.bodies = [b"\x03" + text.encode() + b"\n\x01" for text in texts(_MADE, number)]
        self.sent = self.acked = self.rejected = 0
        self.latencies: list[tuple[float, int]] = []  # seconds, how many events
        self.marks: list[tuple[int, float]] = []  # sequence, when it was due
        self.ready = asyncio.get_running_loop().create_future()
        self.drained = asyncio.Event()
        self.begun = 0.0
        self.stopped = False
        self._way: deque[tuple[int, float]] = deque()  # last sequence of a burst, its moment
        self._data = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(high=1 << 22)
        transport.write(_frame(f"$HELLO;protocol=1;sender={self.sender.hex()};kind=long;next=1;END".encode(), 0))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionResetError("no greeting"))
        if not self.drained.is_set():
            self.stopped = True

    def data_received(self, data: bytes) -> None:
        data = self._data + data if self._data else data
        at, size, highest = 0, len(data), -1
        while size - at >= 36:
            _, high, low, _, _, _, length, _ = _HEADER.unpack_from(data, at)
            if size - at < 36 + length:
                break
            body = data[at + 36 : at + 36 + length]
            at += 36 + length
            if body.startswith(b"$ACK", 1) or body.startswith(b"$ACK"):
                highest = high << 32 | low
                self.rejected += b"rejected" in body
            elif b"$WELCOME" in body[:10]:
                self.ready.set_result(None)
            else:
                raise RuntimeError(body[:200])
        self._data = data[at:]
        if highest > self.acked:
            self._acknowledge(highest)

    def _acknowledge(self, sequence: int) -> None:
        now, way = time.monotonic(), self._way
        while way and way[0][0] <= sequence:
            last, at = way.popleft()
            self.latencies.append((now - at, last - self.acked))
            self.acked = last
        if way and self.acked < sequence:
            self.latencies.append((now - way[0][1], sequence - self.acked))
            self.acked = sequence
        if self.stopped and self.acked >= self.sent:
            self.drained.set()
        elif self.rate is None:
            self.fill()

    def begin(self) -> None:
        self.begun = time.monotonic()
        self.fill()

    def fill(self) -> None:
        """Send what is due and what the window allows."""
        now = time.monotonic()
        wanted = self.sent + self.window
        if self.rate is not None:
            wanted = int((now - self.begun) * self.rate)
        wanted = min(wanted, self.acked + self.window)
        bodies, made = self.bodies, []
        while not self.stopped and self.sent < wanted:
            first = self.sent
            for sequence in range(first + 1, min(first + _BURST, wanted) + 1):
                made.append(_frame(bodies[sequence % _MADE], sequence))
            self.sent = min(first + _BURST, wanted)
            # with a rate an event's time runs from when it was due, sent or not
            due = now if self.rate is None else self.begun + (first + self.sent + 1) / 2 / self.rate
            self._way.append((self.sent, due))
            self.marks.append((self.sent, due))
        if made:
            self._transport.write(b"".join(made))


def _frame(body: bytes, sequence: int) -> bytes:
    if not sequence:
        body = b"\x03" + body + b"\n\x01"
    size = len(body)
    return _HEADER.pack(_MAGIC, sequence >> 32, sequence & 0xFFFFFFFF, 0, 0, 0, size, size) + body


def _itself(sender: Connection) -> Connection:
    return sender


async def run(orders: dict[str, Any]) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    count, rate = orders["connections"], orders.get("rate")
    each = rate / count if rate else None
    senders = [Connection(number, orders["window"], each) for number in range(count)]
    for sender in senders:
        await loop.create_connection(partial(_itself, sender), "127.0.0.1", orders["port"])
    await asyncio.gather(*(sender.ready for sender in senders))
    begun, cpu = time.monotonic(), time.process_time()
    for sender in senders:
        sender.begin()
    end = begun + orders["seconds"]
    while time.monotonic() < end:
        await asyncio.sleep(_TICK if each else 0.05)
        if each:
            for sender in senders:
                sender.fill()
    acked_in_time, stopped = sum(sender.acked for sender in senders), time.monotonic()
    for sender in senders:
        sender.stopped = True
        if sender.acked >= sender.sent:
            sender.drained.set()
    await asyncio.wait_for(asyncio.gather(*(sender.drained.wait() for sender in senders)), PATIENCE)
    return {
        "begun": begun,
        "seconds": stopped - begun,
        "acked_in_time": acked_in_time,
        "acked": sum(sender.acked for sender in senders),
        "rejected": sum(sender.rejected for sender in senders),
        "cpu": time.process_time() - cpu,
        "latencies": [pair for sender in senders for pair in sender.latencies],
        "marks": {sender.sender.hex(): sender.marks for sender in senders},
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(json.load(sys.stdin)))))
