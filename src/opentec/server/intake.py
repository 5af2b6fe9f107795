"""The heart of reception: append, make durable, check the epoch, publish and acknowledge. Never another order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from opentec.eif.frame import FIRST_KIB, Frame, Oversized
from opentec.events.classes import ClassTable
from opentec.events.errors import EventError
from opentec.events.parser import EventParser
from opentec.events.records import NO_SENDER, EventPayload, Kind, RejectedPayload, Verdict, encode
from opentec.log.clock import LogClock
from opentec.log.errors import LogError, LogFull
from opentec.log.store import Writer
from opentec.log.writer import Chunk
from opentec.server import hooks
from opentec.server.progress import Progress, Word, boot_us
from opentec.server.receiver import Connection

_log = logging.getLogger(__name__)
_FULL_RETRY: Final = 1.0  # seconds


class Intake:
    """Collects records of all connections and commits them in groups. One event loop owns it."""

    def __init__(
        self,
        writer: Writer,
        clock: LogClock,
        classes: ClassTable,
        progress: Progress,
        superseded: Callable[[], bool],
        *,
        max_event: int,
        max_connections: int,
        window: int,
        backlog: int,
        slow: float = 1.0,
    ) -> None:
        """`superseded` is asked after every fdatasync; when it says yes, `run` raises Superseded.

        `slow`: seconds from which on making records durable counts as slow.
        """
        self.writer, self.clock, self.classes, self.progress = writer, clock, classes, progress
        self.parser = EventParser(classes)
        self._superseded, self._slow_us = superseded, round(slow * 1e6)
        self.max_event, self._max_connections, self._window, self._backlog = max_event, max_connections, window, backlog
        self._connections: set[Connection] = set()
        self._of_sender: dict[bytes, Connection] = {}
        self._answers: dict[Connection, None] = {}
        self._waiters: list[tuple[int, asyncio.Future[int]]] = []
        self._bytes = 0
        self._held = ""  # why sockets are paused for longer than a moment, "" = they are not
        self._wake = asyncio.Event()
        self._pool = ThreadPoolExecutor(1, "rx")
        self.published: Callable[[int], None] = lambda position: None
        self.covered_events = 0

    def use(self, classes: ClassTable) -> None:
        """Check from here on against these classes: what was added before was checked against those before."""
        self.classes, self.parser = classes, EventParser(classes)

    # -- what connections ask ---------------------------------------------------------------------------------------

    def admit(self, connection: Connection) -> bool:
        if len(self._connections) >= self._max_connections:
            return False
        self._connections.add(connection)
        self.progress[Word.CONNECTIONS] = len(self._connections)
        return True

    def leave(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self.progress[Word.CONNECTIONS] = len(self._connections)
        if connection.sender is not None and self._of_sender.get(connection.sender) is connection:
            del self._of_sender[connection.sender]

    def fence_others(self, connection: Connection) -> None:
        assert connection.sender is not None
        older = self._of_sender.get(connection.sender)
        if older is not None and older is not connection:
            older.fence()

    def register(self, connection: Connection) -> None:
        assert connection.sender is not None
        self._of_sender[connection.sender] = connection

    def last_of(self, sender: bytes) -> int | None:
        return self.writer.table.last(sender)

    def covered(self, generation: int) -> int:
        return self.writer.table.covered(generation)

    def count_covered(self) -> None:
        self.covered_events += 1

    def count_acked(self, count: int) -> None:
        self.progress[Word.ACKED] += count

    @property
    def paused(self) -> bool:
        return bool(self._held) or self._bytes > self._backlog

    def notice_unknown(self, sender: bytes, following: int) -> None:
        self.try_notice(
            "TEC_Notice",
            {
                "msg": f"sender {sender.hex()} is not remembered; its events before {following} may repeat",
                "severity": "WARNING",
            },
        )

    # -- records ----------------------------------------------------------------------------------------------------

    def add_event(
        self,
        frame: Frame | Oversized,
        sender: bytes = NO_SENDER,
        sequence: int = 0,
        flags: int = 0,
        generation: int = 0,
        end_offset: int = 0,
        path: int = 0,
    ) -> str | None:
        """Add one received event; gives the reason when it is recorded as rejected."""
        verdict, reason = Verdict.ACCEPTED, None
        if isinstance(frame, Frame):
            try:
                name, slots = self.parser.parse(frame.data)
                payload = encode(EventPayload(name, slots))
            except EventError as error:
                reason = str(error)
                payload = encode(RejectedPayload(reason, frame.data, len(frame.data)))
            except Exception as error:  # one frame must never stop reception (spine: poison)
                _log.exception("unexpected error on a frame of %d bytes", len(frame.data))
                reason = f"internal error: {type(error).__name__}"
                payload = encode(RejectedPayload(reason, frame.data, len(frame.data)))
        else:
            reason = f"an event of {frame.length} bytes is over the limit of {self.max_event}"
            payload = encode(RejectedPayload(reason, frame.first_kib[:FIRST_KIB], frame.length))
        if reason is not None:
            verdict = Verdict.REJECTED
            self.progress[Word.REJECTED] += 1
        self.writer.add(
            Kind.EVENT,
            self.clock.now(),
            payload,
            verdict=verdict,
            sender=sender,
            sequence=sequence,
            flags=flags,
            file=generation,
            end_offset=end_offset,
            path=path,
        )
        self._bytes += len(payload)
        if self._bytes > self._backlog and not self._held:
            self._pause_all()
        self._wake.set()
        return reason

    def add_notice(self, class_name: str, slots: dict[str, Any]) -> int:
        """Add an event of the server's own. Raises EventRejected when the classes do not know it."""
        checked = self.classes.check(class_name, slots)
        return self._add(Kind.NOTICE, encode(EventPayload(class_name, checked)))

    def try_notice(self, class_name: str, slots: dict[str, Any]) -> None:
        """As `add_notice`, for what the server can do without: a rule base that does not know the class is told so."""
        try:
            self.add_notice(class_name, slots)
        except EventError as error:
            _log.warning("%s cannot be posted: %s; it would have said: %s", class_name, error, slots.get("msg"))

    def add(self, kind: Kind, payload: Any = None) -> int:
        """Add a CHANGE, ACTIVATE, TICK or QUARANTINE record; gives its position."""
        return self._add(kind, encode(payload) if payload is not None else b"")

    def _add(self, kind: Kind, payload: bytes) -> int:
        position = self.writer.add(kind, self.clock.now(), payload)
        self._wake.set()
        return position

    def answer_later(self, connection: Connection) -> None:
        self._answers[connection] = None
        self._wake.set()

    async def durable(self) -> int:
        """Wait until everything added so far is durable and published; gives the position behind it."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiters.append((self.writer.end, future))
        self._wake.set()
        return await future

    # -- the commit -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Commit group after group, until the epoch is superseded or writing fails (both are raised)."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.commit()

    async def commit(self) -> None:
        """One group: everything that has been added until now."""
        for connection in self._answers:
            if connection.logged < connection.last and connection.sender is not None:
                self.writer.add(  # acknowledged as covered: remember that too
                    Kind.TICK,
                    self.clock.now(),
                    sender=connection.sender,
                    sequence=connection.last,
                    flags=connection.flags,
                )
                connection.logged = connection.last
        answers = [(connection, connection.last) for connection in self._answers]
        self._answers.clear()
        chunks, size, end = self.writer.take(), self._bytes, self.writer.end
        if hooks.unsafe("ack-before-append"):
            self._acknowledge(answers)
        position = self.writer.durable
        if any(chunk.data for chunk in chunks):
            hooks.reach("rx.before-append")
            if hooks.unsafe("check-before-append"):
                self._check_epoch()
                hooks.reach("rx.checked")
                position = await self._write(chunks)
            else:
                position = await self._write(chunks)
                hooks.reach("rx.synced")
                if hooks.unsafe("publish-before-check"):
                    self._publish(position)
                    hooks.reach("rx.published-unchecked")
                self._check_epoch()
        elif answers:
            self._check_epoch()
        self._publish(position)
        hooks.reach("rx.published")
        self._acknowledge(answers)
        self._bytes -= size
        if not self.paused:
            for connection in self._connections:
                connection.resume()
        waiting, self._waiters = self._waiters, []
        for wanted, future in waiting:
            if wanted <= end:
                if not future.done():
                    future.set_result(position)
            else:
                self._waiters.append((wanted, future))

    async def _write(self, chunks: list[Chunk]) -> int:
        """Make chunks durable. While the disk has no room for a segment, nothing is read and nothing is answered."""
        while True:
            try:
                return await asyncio.get_running_loop().run_in_executor(self._pool, self._write_timed, chunks)
            except LogFull as error:
                self.hold(str(error))
                await asyncio.sleep(_FULL_RETRY)

    def _write_timed(self, chunks: list[Chunk]) -> int:
        """In the writing thread; the page says since when, so that the master sees a disk that hangs."""
        progress = self.progress
        began = progress[Word.SYNC_SINCE] = boot_us()
        try:
            hooks.reach("rx.syncing")
            return self.writer.write(chunks)
        finally:
            ended = boot_us()
            progress[Word.SYNC_SINCE], progress[Word.SYNC_LAST] = 0, ended - began
            if ended - began > self._slow_us:
                progress[Word.SLOW_SYNC], progress[Word.SLOW_SYNC_AT] = ended - began, ended
                _log.warning("the disk took %.2f s to make records durable", (ended - began) / 1e6)

    def _check_epoch(self) -> None:
        if not hooks.unsafe("no-epoch-check-rx") and self._superseded():
            raise EpochSuperseded("another node has taken over")

    def _publish(self, position: int) -> None:
        if position > self.progress[Word.DURABLE]:
            self.progress[Word.DURABLE] = position
            self.published(position)

    def _acknowledge(self, answers: list[tuple[Connection, int]]) -> None:
        for connection, sequence in answers:
            connection.acknowledge(sequence, self.writer.epoch, self._window)

    def close_idle(self, limit: float) -> int:
        """Close the connections that have sent nothing for `limit` seconds; gives how many.

        Not while sockets are not read: then it is the server that does not listen. Whoever sends without being
        acknowledged loses the next event by it, so those go only where room is short.
        """
        since, short = boot_us() - round(limit * 1e6), len(self._connections) > self._max_connections // 2
        quiet = [one for one in self._connections if one.heard < since]
        idle = [] if self.paused else [one for one in quiet if short or one.sender is not None]
        for connection in idle:
            connection.close_idle(limit)
        return len(idle)

    # -- back-pressure ----------------------------------------------------------------------------------------------

    def hold(self, reason: str) -> None:
        """Stop reading sockets because of the log's limit or the disk; "" reads on."""
        if reason == self._held:
            return
        _log.warning("sockets are not read: %s", reason) if reason else _log.info("sockets are read again")
        self._held = reason
        self.progress[Word.PAUSED] = int(bool(reason))
        if reason:
            self._pause_all()
        elif not self.paused:
            for connection in self._connections:
                connection.resume()

    @property
    def held(self) -> str:
        return self._held

    def _pause_all(self) -> None:
        for connection in self._connections:
            connection.pause()

    def close(self) -> None:
        for connection in list(self._connections):
            connection.close()
        self._pool.shutdown(wait=True)
        self.writer.close()


class EpochSuperseded(LogError):
    """Another node holds a newer epoch: nothing of this batch may be acknowledged."""
