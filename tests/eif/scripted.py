"""A server of the acknowledged mode for tests: one coroutine or thread a connection, doing what the test says."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import AsyncIterator, Awaitable, Callable

from opentec.eif.control import Ack, Control, File, Hello, Welcome, parse_control
from opentec.eif.frame import Frame, FrameReader


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._frames = FrameReader(strict=True)
        self._queue: list[Frame] = []

    async def frame(self) -> Frame:
        """The next frame; raises ConnectionError at the end."""
        while not self._queue:
            data = await self._reader.read(65536)
            if not data:
                raise ConnectionResetError
            self._frames.feed(data)
            self._queue += [frame for frame in self._frames.frames() if isinstance(frame, Frame)]
        return self._queue.pop(0)

    async def hello(self) -> Hello:
        control = parse_control(await self.frame())
        assert isinstance(control, Hello)
        return control

    def say(self, control: Control) -> None:
        self._writer.write(control.encode())

    def raw(self, data: bytes) -> None:
        self._writer.write(data)


class Server:
    """Accepts everything, in order, as protocol.md says; `store` is its memory, shared by a pair of servers."""

    def __init__(self, store: Store, window: int = 256) -> None:
        self.store, self.window = store, window
        self.connections = 0
        self.stop_after: int | None = None  # close the connection without a word after so many more events

    async def __call__(self, peer: Peer) -> None:
        self.connections += 1
        hello = await peer.hello()
        last = max(self.store.last.get(hello.sender, 0), hello.next - 1)
        peer.say(Welcome(1, last, self.window))
        files: dict[int, File] = {}
        while True:
            frame = await peer.frame()
            control = parse_control(frame)
            if control is not None:
                assert isinstance(control, File)
                files[control.number] = control
                continue
            assert frame.sequence <= last + 1, "a gap"
            if self.stop_after is not None:
                if not self.stop_after:
                    return
                self.stop_after -= 1
            if frame.sequence == last + 1:
                last += 1
                self.store.last[hello.sender] = last
                self.store.events.append((frame, files.get(frame.file)))
                if self.stop_after == 0:
                    return  # recorded, and the acknowledgement is lost
            reason = self.store.refuse(frame)
            peer.say(Ack(last, ((frame.sequence, reason),) if reason else ()))


class Store:
    """What a pair of servers remembers."""

    def __init__(self) -> None:
        self.last: dict[bytes, int] = {}
        self.events: list[tuple[Frame, File | None]] = []
        self.refuse: Callable[[Frame], str] = lambda frame: ""


@contextlib.asynccontextmanager
async def serving(behave: Callable[[Peer], Awaitable[None]]) -> AsyncIterator[tuple[str, int]]:
    """A listening server; each connection is given to `behave` and closed when that returns."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await behave(Peer(reader, writer))
        tasks.discard(task)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()[:2]
        yield host, port
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


class ManualClock:
    """A clock that stands until it is told to go."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self._count += 1
        self.slept.append(seconds)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, self._count, future))
        await future

    def advance(self, seconds: float) -> None:
        self.now += seconds
        while self._sleepers and self._sleepers[0][0] <= self.now:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition` holds; a test that hangs here is stopped after ten seconds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)
