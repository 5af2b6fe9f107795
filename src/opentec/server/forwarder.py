"""Events for other servers: each is sent until it is acknowledged, in order for each destination (docs/tasks.md).

An event's sender is made from this instance and the outbox row, so a server that has taken it knows it again after any
restart or failover here, and acknowledges without taking it twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from opentec.eif.client import why
from opentec.eif.control import ONCE
from opentec.eif.frame import MAX_FRAME, data_of, encode_frame
from opentec.eif.session import Acked, ClientSession, Closed, Welcomed
from opentec.events.errors import EventError
from opentec.events.text import format_event
from opentec.rim.errors import Superseded
from opentec.rules.destinations import DESTINATIONS, FILE, Destination, parse_destinations
from opentec.server import hooks
from opentec.server.child import Context
from opentec.server.library import TaskRefused, nearest_text

_log = logging.getLogger("task")
HELD: Final = 50  # events of one destination that are claimed ahead
ALL_HELD: Final = HELD * DESTINATIONS
_ONCE: Final = 500  # of them that are claimed at once
GREETING: Final = 5.0  # seconds that a server may take to connect and to greet
ACKNOWLEDGE: Final = 15.0  # seconds that it may take to make the event durable
_PAUSES: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # seconds between passes over a destination's servers
_READ: Final = 65536
_CLOSE: Final = 1.0  # seconds
_KIND: Final = "forward:"

Finish = Callable[[str, bool, str], Awaitable[None]]


class Forward(msgspec.Struct):
    """A claimed row of the outbox."""

    id: str
    destination: str
    class_name: str
    slots: dict[str, Any]


class Forwarder:
    """The queues of all destinations, each with a worker of its own."""

    def __init__(
        self, context: Context, finish: Finish, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """`finish(row, done, reason)` records an end."""
        self._context, self._finish, self._sleep = context, finish, sleep
        self._queues: dict[str, deque[Forward]] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._found: dict[str, Destination] = {}
        self._found_of = ""
        self.own_name = f"{context.config.server.name}@{context.instance.uuid()[:8]}"
        self.problems: dict[str, str] = {}  # destination -> why nothing goes there now
        self.ended: Callable[[asyncio.Task[None]], None] = lambda task: None
        self.has_room: Callable[[], None] = lambda: None  # a queue has become short enough for more

    @property
    def room(self) -> int:
        """How many events may be claimed now."""
        return min(_ONCE, ALL_HELD - sum(map(len, self._queues.values())))

    def room_of_kinds(self) -> dict[str, int]:
        """The same for those destinations that have some already: none until half of them are gone."""
        return {
            _KIND + name: HELD - len(queue) if len(queue) <= HELD // 2 else 0 for name, queue in self._queues.items()
        }

    def take(self, row: str, kind: str, data: str) -> None:
        """Send a claimed row's event, behind those of its destination."""
        name = kind.removeprefix(_KIND)
        class_name, slots = msgspec.json.decode(data)["forward"]
        self._queues.setdefault(name, deque()).append(Forward(row, name, class_name, slots))
        if name not in self._workers:
            worker = self._workers[name] = asyncio.ensure_future(self._work(name))
            worker.add_done_callback(self.ended)

    async def close(self) -> None:
        for worker in self._workers.values():
            worker.cancel()
        await asyncio.gather(*self._workers.values(), return_exceptions=True)

    async def _work(self, name: str) -> None:
        queue = self._queues[name]
        while queue:
            await self._deliver(queue[0])
            queue.popleft()
            if len(queue) == HELD // 2:
                self.has_room()
        del self._queues[name], self._workers[name]

    async def _deliver(self, event: Forward) -> None:
        """Send one event until its end is known."""
        path = [str(entry) for entry in event.slots.get("server_path") or ()]
        if self.own_name in path:
            await self._finish(event.id, False, f"not forwarded: it has passed this server already ({', '.join(path)})")
            return
        slots = {**event.slots, "server_path": [*path, self.own_name]}
        tries = 0
        while True:
            try:
                destination = self._resolve(event.destination)
                data = data_of(format_event(event.class_name, slots))
                if len(data) > MAX_FRAME:  # the other server would close the connection, each time
                    raise EventError(f"it has {len(data)} bytes, a frame {MAX_FRAME} at most")
            except (TaskRefused, EventError) as error:
                await self._finish(event.id, False, f"not forwarded: {error}")
                return
            except OSError as error:
                problem = f"the active rule base cannot be read: {error.strerror}"
            else:
                problem = await self._pass(destination, event.id, data)
            if not problem:
                if self.problems.pop(event.destination, None):
                    _log.info("destination %s takes events again", event.destination)
                return
            if self.problems.get(event.destination) != problem:
                self.problems[event.destination] = problem
                _log.warning("events for %s wait: %s", event.destination, problem)
            await self._sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
            tries += 1

    async def _pass(self, destination: Destination, row: str, data: bytes) -> str:
        """Try each server once; "" when the event's end is recorded, else what is wrong."""
        problems = []
        for host, port in destination.servers:
            if self._context.superseded():
                raise Superseded(self._context.epoch, self._context.epoch + 1)
            try:
                if destination.acknowledged:
                    problem = await self._send(row, data, host, port)
                else:
                    problem = await self._send_plain(row, data, host, port)
            except TimeoutError:
                problem = "no answer in time"
            except OSError as error:
                problem = why(error)
            if not problem:
                return ""
            problems.append(f"{host}:{port}: {problem}")
        return "; ".join(problems)

    async def _send(self, row: str, data: bytes, host: str, port: int) -> str:
        """One try in acknowledged mode; never falls back to plain."""
        session = ClientSession(self.sender(row), 1, kind=ONCE, newest=1)
        async with asyncio.timeout(GREETING):  # not wait_for, which may swallow a cancellation before Python 3.12
            reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            writer.write(session.to_send())
            patience = GREETING
            while True:
                try:
                    async with asyncio.timeout(patience):
                        part = await reader.read(_READ)
                except ConnectionResetError:
                    part = b""
                for said in session.received(part):
                    match said:
                        case Welcomed(last=0):
                            session.send(data, 1)
                            writer.write(session.to_send())
                            patience = ACKNOWLEDGE
                        case Welcomed() | Acked(rejected=()):
                            hooks.reach("task.acknowledged")
                            await self._finish(row, True, f"acknowledged by {host}:{port}")
                            return ""
                        case Acked(rejected=rejected):
                            await self._finish(row, False, f"{host}:{port} rejects it: {rejected[0][1]}")
                            return ""
                        case Closed(reason=reason):
                            return reason
        finally:
            await _close(writer)

    async def _send_plain(self, row: str, data: bytes, host: str, port: int) -> str:
        """Plain EIF confirms nothing: the row is ended before the event leaves, so it is sent at most once."""
        async with asyncio.timeout(GREETING):
            _, writer = await asyncio.open_connection(host, port)
        try:
            await self._finish(row, True, f"handed to {host}:{port}, which confirms nothing")
            writer.write(encode_frame(data))
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(GREETING):
                    await writer.drain()
        finally:
            await _close(writer)
        return ""

    def sender(self, row: str) -> bytes:
        """The sender's identity for a row: the same after any restart, another one in every other instance."""
        return uuid.uuid5(uuid.UUID(self._context.instance.uuid()), row).bytes

    def _resolve(self, name: str) -> Destination:
        """The destination in the active rule base; raises TaskRefused, OSError."""
        bases = self._context.instance.rule_bases
        active = (bases / "current").read_text().strip()
        if active != self._found_of:
            try:
                text = (bases / active / FILE).read_text("utf-8", "replace")
            except FileNotFoundError:
                text = ""
            self._found, self._found_of = parse_destinations(text)[0], active
        found = self._found.get(name)
        if found is None:
            if not self._found:
                raise TaskRefused(
                    f"the active rule base has no destination in {FILE}; a ServerLocation there makes one"
                )
            raise TaskRefused(f"there is no destination {name!r} in {FILE}{nearest_text(name, self._found)}")
        return found


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_CLOSE):
            await writer.wait_closed()
