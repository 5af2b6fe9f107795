"""The sender of a long-lived source: what stands in its disk buffer goes to the first server that takes it.

Acknowledged mode only (docs/protocol.md): an event leaves the buffer when a server has said that it is durable, and a
server that does not answer the greeting in time is not available. The order of the servers matters: the first is the
primary, and after each failure the next one is tried.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from opentec.eif.buffer import DiskBuffer
from opentec.eif.client import Server, why
from opentec.eif.control import MAX_FILE_NUMBER, File
from opentec.eif.errors import BufferFault
from opentec.eif.reading import Buffered
from opentec.eif.segment import FileRef
from opentec.eif.session import Acked, ClientSession, Closed, State, Welcomed

_log = logging.getLogger(__name__)
_AHEAD: Final = 256  # events read from the buffer at once
_Future = asyncio.Future[Any]
_LONGEST_PAUSE: Final = 60.0  # seconds, whatever a busy server asks for


class Counters(msgspec.Struct):
    """What a sender has done since it was made."""

    sent: int = 0
    acked: int = 0
    rejected: int = 0
    connections: int = 0  # greetings that were answered
    failures: int = 0  # servers that were tried in vain, and connections that broke
    longest_gap: float = 0.0  # seconds in which events waited and none was confirmed


class AckedSender:
    """Sends what `buffer` holds to one of `servers`, in order, at most `window` events under way.

    `greeting_timeout` limits connecting and greeting together, `ack_timeout` the wait for an acknowledgement while
    events are under way, `retry_interval` is the pause after all servers were tried in vain; in seconds of `clock`.
    `on_rejected(event, reason)` is called for each event that a server's classes refuse.

    All methods belong to one event loop; `buffer.append` and `flush` may run elsewhere, followed by `wake` here.
    """

    def __init__(
        self,
        buffer: DiskBuffer,
        servers: Sequence[Server],
        *,
        window: int = 256,
        greeting_timeout: float = 2.0,
        ack_timeout: float = 10.0,
        retry_interval: float = 1.0,
        on_rejected: Callable[[Buffered, str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not servers:
            raise ValueError("a sender needs at least one server (ServerLocation)")
        self.buffer = buffer
        self.servers = list(servers)
        self.window = window
        self.greeting_timeout = greeting_timeout
        self.ack_timeout = ack_timeout
        self.retry_interval = retry_interval
        self.counters = Counters()
        self.server: Server | None = None  # the one that has answered our greeting
        self.problem = ""  # why there is none
        self.clock = clock
        self._sleep = sleep
        self._on_rejected = on_rejected
        self._link: _Link | None = None
        self._waiting_since: float | None = None
        self._empty = asyncio.Event()

    # -- for the owner ------------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop` is set. What is not acknowledged then stays in the buffer."""
        stopping: _Future = asyncio.ensure_future(stop.wait())
        try:
            at = tried = 0
            while not stop.is_set():
                server = self.servers[at]
                greeted = self.counters.connections
                closed = await self._serve(server, stopping)
                self.server, self._link = None, None
                if closed is None:
                    break
                if closed.ahead:
                    _log.error("%s:%d: %s; going on under a new identity", *server, closed.reason)
                    self.buffer.renew()
                    continue
                self._failed(server, closed)
                at = (at + 1) % len(self.servers)
                tried = 1 if self.counters.connections > greeted else tried + 1
                if tried >= len(self.servers):
                    tried = 0
                    pause = max(self.retry_interval, (closed.retry_ms or 0) / 1000)
                    await self._first_of(stopping, self._sleep(min(pause, _LONGEST_PAUSE)))
        finally:
            stopping.cancel()
            self.server, self._link = None, None

    def wake(self) -> None:
        """Something was flushed: send it."""
        self._note_waiting()
        if self._link is not None:
            self._link.pump()

    async def drained(self) -> None:
        """Wait until everything that was appended is acknowledged."""
        self._note_waiting()
        await self._empty.wait()

    # -- for the connection -------------------------------------------------------------------------------------------

    def greeted(self, server: Server, answer: Welcomed) -> None:
        """A server has answered; what it had already is done with."""
        self.server, self.problem = server, ""
        self.counters.connections += 1
        _log.info("%s:%d answers in epoch %d, last event %d", *server, answer.epoch, answer.last)
        if not answer.known:
            _log.warning("%s:%d does not know this sender any more: events may be there twice", *server)
        self.confirmed(answer.last)

    def confirmed(self, sequence: int) -> None:
        """Everything up to `sequence` is durable."""
        count = sequence - self.buffer.acked
        if count <= 0:
            return
        self.counters.acked += count
        try:
            self.buffer.ack(sequence)
        except BufferFault as error:
            _log.error("%s", error)  # it is noted in memory; the next acknowledgement writes again
        now = self.clock()
        if self._waiting_since is not None:
            self.counters.longest_gap = max(self.counters.longest_gap, now - self._waiting_since)
            self._waiting_since = now
        self._note_waiting()

    def rejected(self, event: Buffered, reason: str) -> None:
        """The event is recorded, but the server's classes refuse it."""
        self.counters.rejected += 1
        if self._on_rejected is not None:
            self._on_rejected(event, reason)
        else:
            _log.warning("event %d was rejected: %s", event.sequence, reason)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _note_waiting(self) -> None:
        if self.buffer.pending:
            self._empty.clear()
            if self._waiting_since is None:
                self._waiting_since = self.clock()
        else:
            self._empty.set()
            self._waiting_since = None

    def _failed(self, server: Server, closed: Closed) -> None:
        self.counters.failures += 1
        problem = f"{server[0]}:{server[1]}: {closed.reason}"
        if problem != self.problem:
            _log.warning("%s", problem)
        self.problem = problem

    async def _serve(self, server: Server, stopping: _Future) -> Closed | None:
        """One connection from beginning to end; None when the sender was stopped."""
        self._note_waiting()
        link = self._link = _Link(self, server)
        connection: _Future = asyncio.ensure_future(link.connect())
        try:
            while not (link.over or connection.done() or stopping.done()):
                await self._first_of(stopping, self._sleep(link.patience()), connection)
                link.check()
        finally:
            connection.cancel()
            await asyncio.gather(connection, return_exceptions=True)
            link.close()
        return None if stopping.done() else link.closed

    async def _first_of(self, stopping: _Future, sleep: Awaitable[None], *more: asyncio.Future[None]) -> None:
        sleeping = asyncio.ensure_future(sleep)
        try:
            await asyncio.wait((stopping, sleeping, *more), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()


class _Link(asyncio.Protocol):
    """One connection to one server."""

    def __init__(self, sender: AckedSender, server: Server) -> None:
        self._sender = sender
        self._server = server
        self._buffer = sender.buffer
        self._session = ClientSession(self._buffer.sender, self._buffer.acked + 1, newest=self._buffer.given_out)
        self._transport: asyncio.Transport | None = None
        self._writable = True
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._numbers: dict[FileRef, int] = {}
        self._ahead: deque[Buffered] = deque()  # read, not sent
        self._under_way: deque[Buffered] = deque()
        self._progress = sender.clock()
        self.closed: Closed = Closed("the connection was not finished")

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it."""
        return self._over.done()

    async def connect(self) -> None:
        """Connect, and stay until the connection is over; `closed` says why."""
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, *self._server)
        except OSError as error:
            self.closed = Closed(why(error))
            return
        await self._over

    def patience(self) -> float:
        """Seconds until something should have happened."""
        waited = self._sender.clock() - self._progress
        return max(self._limit() - waited, 0.001)

    def check(self) -> None:
        """End the connection when the server has not done in time what it should."""
        if self.over or self._sender.clock() - self._progress < self._limit():
            return
        if self._session.state is State.GREETING:
            self._end(Closed(f"no answer to the greeting within {self._sender.greeting_timeout:g} s"))
        elif self._session.under_way:
            self._end(Closed(f"no acknowledgement within {self._sender.ack_timeout:g} s"))
        else:
            self._progress = self._sender.clock()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def pump(self) -> None:
        """Send what the window allows."""
        session, transport = self._session, self._transport
        if session.state is not State.READY or transport is None:
            return
        if not session.under_way:
            self._progress = self._sender.clock()
        while self._writable:
            room = min(session.room, self._sender.window - session.under_way)
            if room <= 0 or not (self._ahead or self._read()):
                return
            for _ in range(min(room, len(self._ahead))):
                event = self._ahead.popleft()
                number = 0
                if event.file is not None:
                    number = self._numbers.get(event.file) or self._declare(event.file)
                session.send(event.data, event.sequence, event.end_offset, number)
                self._under_way.append(event)
                self._sender.counters.sent += 1
            transport.write(session.to_send())

    def _limit(self) -> float:
        greeting = self._session.state is State.GREETING
        return self._sender.greeting_timeout if greeting else self._sender.ack_timeout

    def _read(self) -> bool:
        try:
            self._ahead.extend(self._buffer.read(self._session.sent, _AHEAD))
        except BufferFault as error:
            self._end(Closed(str(error)))
        return bool(self._ahead)

    def _declare(self, file: FileRef) -> int:
        if len(self._numbers) == MAX_FILE_NUMBER:
            self._numbers.clear()
        number = self._numbers[file] = len(self._numbers) + 1
        self._session.declare(File(number, file.scope, file.path, file.generation))
        return number

    def _end(self, closed: Closed) -> None:
        if not self.over:
            self.closed = closed
            self._over.set_result(None)
        self.close()

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        transport.write(self._session.to_send())

    def data_received(self, data: bytes) -> None:
        for event in self._session.received(data):
            if isinstance(event, Closed):
                self._end(event)
                return
            self._progress = self._sender.clock()
            if isinstance(event, Welcomed):
                self._sender.greeted(self._server, event)
            else:
                self._acknowledged(event)
        self.pump()

    def _acknowledged(self, ack: Acked) -> None:
        reasons = dict(ack.rejected)
        while self._under_way and self._under_way[0].sequence <= ack.sequence:
            event = self._under_way.popleft()
            reason = reasons.get(event.sequence)
            if reason is not None:
                self._sender.rejected(event, reason)
        self._sender.confirmed(ack.sequence)

    def connection_lost(self, exc: Exception | None) -> None:
        reason = why(exc) if isinstance(exc, OSError) else "the server closed the connection"
        self._end(Closed(reason))

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self.pump()
