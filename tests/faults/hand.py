"""A sender that does one step at a time: for courses of events that a test forces."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tests.faults import plans
from tests.faults.client import Address, Broken, Sender, Tailed, frame, read_frame

T = TypeVar("T")
PATIENCE = 30.0


class Hand:
    """One connection at a time of the sender `promise`, which holds what it was promised. Blocking; not for threads.

    `last` is what the newest greeting was answered with. Hands may share a promise, as connections of one sender do.
    """

    def __init__(self, name: str = "hand", promise: Sender | None = None, tailed: Tailed | None = None) -> None:
        self.promise = promise or Sender([], lambda number: plans.PLAIN.text(name, number), name, tailed=tailed)
        self.last = 0
        self._loop = asyncio.new_event_loop()
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(asyncio.wait_for(work, PATIENCE))

    def greet(self, server: Address, following: int | None = None) -> int:
        """Connect and greet; gives the last sequence that the server has. Raises Broken, OSError, EOFError."""
        return self._run(self._greet(server, following))

    async def _greet(self, server: Address, following: int | None) -> int:
        if self._writer is not None:
            self._writer.close()
        promise = self.promise
        self._reader, self._writer = await asyncio.open_connection(*server)
        first = following or promise.acked + 1
        self._writer.write(frame(f"$HELLO;protocol=1;sender={promise.uuid.hex()};kind=long;next={first};END"))
        if told := promise.tailed:
            declared = f"scope='{told.scope}';path='{told.path}';generation='{told.generation}'"
            self._writer.write(frame(f"$FILE;number=1;{declared};END"))
        _, name, slots = await read_frame(self._reader)
        if name not in ("$WELCOME", "$UNKNOWN"):
            raise Broken(f"{name} {slots}")
        self.last = int(slots["last"])
        promise.epochs.append(int(slots["epoch"]))
        promise.acked = max(promise.acked, self.last)
        return self.last

    def send(self, first: int, last: int | None = None) -> None:
        """Send events `first` to `last`, and do not wait."""
        assert self._writer is not None
        promise = self.promise
        for number in range(first, (last or first) + 1):
            offset = promise.tailed.end_offset(number) if promise.tailed else 0
            self._writer.write(frame(promise.make(number), number, offset, 1 if promise.tailed else 0))
            promise.produced = max(promise.produced, number)
        with contextlib.suppress(OSError):
            self._run(self._writer.drain())

    def acknowledged(self, number: int) -> bool:
        """Wait until event `number` is acknowledged (True) or the server ends the connection (False)."""
        return self._run(self._acknowledged(number))

    async def _acknowledged(self, number: int) -> bool:
        promise = self.promise
        while True:
            try:
                sequence, name, _ = await read_frame(self._reader)
            except (EOFError, OSError):
                return False
            if name != "$ACK":
                return False
            promise.acked = max(promise.acked, sequence)
            if sequence >= number:
                return True

    def deliver(self, server: Address, last: int) -> None:
        """Greet, send everything up to `last` that the server has not got, and have it acknowledged."""
        had = self.greet(server)
        if had < last:
            self.send(had + 1, last)
            assert self.acknowledged(last), f"{self.promise.name}: {last} is not acknowledged"

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._run(self._ended(self._writer.wait_closed))
        self._loop.close()

    async def _ended(self, wait: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with contextlib.suppress(OSError):
            await wait()

    def __enter__(self) -> Hand:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
