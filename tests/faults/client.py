"""Senders in acknowledged mode, written from docs/protocol.md alone: they share no code with the server.

What a sender was promised is all that it keeps: how far it is acknowledged, when, and which events were refused. The
checker holds the server to it.
"""

from __future__ import annotations

import asyncio
import struct
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

Address = tuple[str, int]

_HEADER = struct.Struct(">8sIIIIIII")
_MAGIC = b"<START>>"
_HIGH = 1 << 32
_LIMIT = 1 << 20  # bytes of one control frame


class Broken(Exception):
    """This connection is of no use any more; the next server of the list is tried."""


@dataclass(frozen=True)
class Patience:
    """How long a sender waits, in seconds, before it turns to the next server of its list."""

    greeting: float = 0.5
    acknowledgement: float = 1.0
    retry: float = 0.02


@dataclass(frozen=True)
class Tailed:
    """The tailed file that all events of a sender come from."""

    scope: str
    path: str
    generation: str
    end_offset: Callable[[int], int]


def frame(text: str, sequence: int = 0, end_offset: int = 0, number: int = 0) -> bytes:
    """One EIF frame around `CLASS;slot=value;...;END`."""
    data = b"\x03" + text.encode() + b"\n\x01"
    size = len(data)
    words = (sequence // _HIGH, sequence % _HIGH, end_offset // _HIGH, end_offset % _HIGH, number, size, size)
    return _HEADER.pack(_MAGIC, *words) + data


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, str, dict[str, str]]:
    """Sequence, class and slots of the next frame; raises Broken for bytes that are none."""
    magic, high, low, _, _, _, size, _ = _HEADER.unpack(await reader.readexactly(_HEADER.size))
    if magic != _MAGIC or size > _LIMIT:
        raise Broken(f"not a frame: {magic!r}, {size} bytes")
    name, slots = parse((await reader.readexactly(size)).lstrip(b"\x03").rstrip(b"\x01\n").decode())
    return high * _HIGH + low, name, slots


def parse(text: str) -> tuple[str, dict[str, str]]:
    """Class and slots of an event's text; values stay as they were written."""
    parts, part, quoted = [], "", False
    for character in text:
        if character == "'":
            quoted = not quoted
        if character == ";" and not quoted:
            parts.append(part)
            part = ""
        else:
            part += character
    if part.strip() != "END":
        raise Broken(f"a frame does not end with END: {text[-40:]!r}")
    slots = dict(item.split("=", 1) for item in parts[1:])
    return parts[0].strip(), {key.strip(): value for key, value in slots.items()}


def items(text: str) -> list[str]:
    """The items of a list value: `['12 a reason','13 another']`."""
    found, part, quoted, at = [], "", False, 0
    body = text.strip().removeprefix("[").removesuffix("]")
    while at < len(body):
        character = body[at]
        if character == "'" and quoted and body[at + 1 : at + 2] == "'":
            part, at = part + "'", at + 1
        elif character == "'":
            quoted = not quoted
        elif character == "," and not quoted:
            found.append(part.strip())
            part = ""
        else:
            part += character
        at += 1
    return [*found, part.strip()] if part.strip() else found


@dataclass
class Sender:
    """One sender of events: keeps at most `window` of them under way, and sends again what was not acknowledged.

    `make` gives the text of event number 1, 2, 3, ...; `rate` is events a second, None as fast as it goes.
    """

    servers: Sequence[Address]
    make: Callable[[int], str]
    name: str = "sender"
    rate: float | None = None
    limit: int | None = None
    window: int = 64
    patience: Patience = Patience()
    tailed: Tailed | None = None
    uuid: bytes = field(default_factory=lambda: uuid.uuid4().bytes)

    # what the server promised
    acked: int = 0
    acks: list[tuple[float, int]] = field(default_factory=list)
    rejected: dict[int, str] = field(default_factory=dict)
    epochs: list[int] = field(default_factory=list)  # of each greeting that was answered
    violations: list[str] = field(default_factory=list)
    produced: int = 0
    trouble: str = ""  # why the last connection ended

    def __post_init__(self) -> None:
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._room = asyncio.Event()
        self._finish = False
        self._base = 0.0

    # -- from any thread --------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Make no new events; `run` returns when everything is acknowledged."""
        self._finish = True

    @property
    def drained(self) -> bool:
        return (self._finish or self.produced == self.limit) and not self._waiting

    # -- sending ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send until finished and drained, whatever happens to the servers meanwhile."""
        at = 0
        while not self.drained:
            try:
                await self.session(self.servers[at % len(self.servers)])
            except (OSError, TimeoutError, EOFError, Broken) as error:
                self.trouble = f"{self.servers[at % len(self.servers)]}: {error!r}"
                at += 1
                await asyncio.sleep(self.patience.retry)

    async def session(self, server: Address) -> None:
        """One connection, to its end."""
        async with asyncio.timeout(self.patience.greeting):  # not wait_for, which may swallow a cancellation
            reader, writer = await asyncio.open_connection(*server)
        try:
            await self._greet(reader, writer)
            work = [asyncio.ensure_future(self._read(reader)), asyncio.ensure_future(self._write(writer))]
            try:
                done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in work:
                    task.cancel()
                await asyncio.gather(*work, return_exceptions=True)
        finally:
            writer.close()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        following = self._waiting[0][0] if self._waiting else self.produced + 1
        hello = f"$HELLO;protocol=1;sender={self.uuid.hex()};kind=long;next={following};END"
        writer.write(frame(hello))
        if self.tailed:
            told = self.tailed
            declared = f"scope='{told.scope}';path='{told.path}';generation='{told.generation}'"
            writer.write(frame(f"$FILE;number=1;{declared};END"))
        async with asyncio.timeout(self.patience.greeting):
            _, name, slots = await read_frame(reader)
        if name == "$BUSY":
            await asyncio.sleep(int(slots["retry_ms"]) / 1000)
        if name not in ("$WELCOME", "$UNKNOWN"):
            raise Broken(f"{name} {slots}")
        epoch, last = int(slots["epoch"]), int(slots["last"])
        if self.epochs and epoch < self.epochs[-1]:
            self.violations.append(f"{self.name}: greeted by epoch {epoch} after epoch {self.epochs[-1]}")
            raise Broken(self.violations[-1])
        self.epochs.append(epoch)
        if name == "$UNKNOWN" and self.acked:
            self.violations.append(f"{self.name}: unknown in epoch {epoch} though {self.acked} were acknowledged")
        if last < self.acked or last > self.produced:
            self.violations.append(f"{self.name}: epoch {epoch} has {last}, {self.acked} to {self.produced} expected")
        self._acknowledge(last)
        writer.write(b"".join(data for _, data in self._waiting))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while not self.drained:
            try:
                async with asyncio.timeout(self.patience.acknowledgement):
                    sequence, name, slots = await read_frame(reader)
            except TimeoutError:
                if not self._waiting:
                    continue
                raise
            if name != "$ACK":
                raise Broken(f"{name} {slots}")
            for item in items(slots.get("rejected", "[]")):
                number, _, reason = item.partition(" ")
                self.rejected[int(number)] = reason
            self._acknowledge(sequence)

    def _acknowledge(self, sequence: int) -> None:
        while self._waiting and self._waiting[0][0] <= sequence:
            self._waiting.popleft()
        if sequence > self.acked:
            self.acked = sequence
            self.acks.append((time.monotonic(), sequence))
        self._room.set()

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        while not self.drained:
            made = self._make_due()
            if made:
                writer.write(b"".join(made))
                await writer.drain()
            self._room.clear()
            pause = 0.2
            if self.rate and len(self._waiting) < self.window:
                pause = max(0.0, self._base + 1 / self.rate - time.monotonic())
                await asyncio.sleep(min(pause, 0.2))
                continue
            try:
                async with asyncio.timeout(pause):
                    await self._room.wait()
            except TimeoutError:
                continue

    def _make_due(self) -> list[bytes]:
        made = []
        now = time.monotonic()
        if self.rate:
            self._base = max(
                self._base, now - max(0.1, 1 / self.rate)
            )  # what an outage kept from being made is not made up for
        while len(self._waiting) < self.window and not self._finish and self.produced != self.limit:
            if self.rate:
                if self._base + 1 / self.rate > now:
                    break
                self._base += 1 / self.rate
            self.produced += 1
            number = self.produced
            offset = self.tailed.end_offset(number) if self.tailed else 0
            data = frame(self.make(number), number, offset, 1 if self.tailed else 0)
            self._waiting.append((number, data))
            made.append(data)
        return made

    def longest_gap(self, since: float, until: float) -> float:
        """The longest time without an acknowledgement between two moments (monotonic seconds)."""
        times = [since, *(moment for moment, _ in self.acks if since < moment < until), until]
        return max(after - before for before, after in pairwise(times))


class Load:
    """Senders at work in a thread of their own, so that tests may block. A context manager."""

    def __init__(self, senders: Sequence[Sender], *, enter: Callable[[], None] | None = None) -> None:
        """`enter` is called in the thread before it opens its first connection."""
        self.senders = list(senders)
        self._enter = enter
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._main, name="load", daemon=True)
        self.failed: BaseException | None = None

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            if self._enter is not None:
                self._enter()
            self._loop.run_until_complete(self._all())
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self.failed = error
        finally:
            self._loop.close()

    async def _all(self) -> None:
        self._task = asyncio.current_task()
        await asyncio.gather(*(sender.run() for sender in self.senders))

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def finish(self, patience: float = 30.0) -> bool:
        """Wait until all is acknowledged, with no new events of senders that have no limit; False when that takes
        longer than `patience`, in seconds."""
        for sender in self.senders:
            if sender.limit is None:
                sender.finish()
        self._thread.join(patience)
        if self.failed:
            raise self.failed
        return not self._thread.is_alive()

    def __exit__(self, *_: object) -> None:
        for sender in self.senders:
            sender.finish()
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())
            self._thread.join(5)

    @property
    def acked(self) -> int:
        return sum(sender.acked for sender in self.senders)
