"""What every adapter does as a program: buffer, sender, and the loop that polls.

The order is: events durable in the buffer first, positions saved after. A crash in between sends events again with the
same identity, and the server notices; the other order would lose them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from opentec.adapters.conf import AdapterConf
from opentec.adapters.fullness import Fullness
from opentec.adapters.sign import LifeSign
from opentec.eif.buffer import DiskBuffer
from opentec.eif.errors import BufferFault, BufferFull
from opentec.eif.reading import Buffered
from opentec.eif.sender import AckedSender

MAX_EVENT: Final = 65_536
SMALL_BUFFER: Final = 1 << 20  # bytes, with BufferEvents=NO
SAVE_EVERY: Final = 16  # rounds of a backlog between two saves of the positions
_REASONS: Final = 1000

Report = Callable[[str], None]
Counters = TypeVar("Counters", covariant=True)


class Reading(Protocol[Counters]):
    """An adapter between its sources and the buffer; the loop decides when it reads and when it makes durable."""

    @property
    def counters(self) -> Counters:
        """What became of what was read."""

    @property
    def has_work(self) -> bool:
        """Whether anything is known to be left to read or to hand over."""

    def step(self) -> bool:
        """Read and hand over some events. True when there is more to do at once."""

    def flush(self) -> None:
        """Make durable what was handed over. Blocks on the disk."""

    def save(self) -> None:
        """Save the positions, after `flush`. Raises OSError, and the positions stay as they were."""

    def close(self) -> None: ...


class Outcome(NamedTuple, Generic[Counters]):
    """How a run ended. `unconfirmed` events were not acknowledged; with a disk buffer the next run sends them.
    `unread`: with `once`, something was left in the sources, and the next run reads it."""

    counters: Counters
    rejected: int
    unconfirmed: int
    unread: bool = False


def stamped(
    report: Report, conf: AdapterConf, name: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Report:
    """`report` with the time, UTC, before each sentence where standard error is the log of the adapter `name` in the
    background; elsewhere a terminal or a journal knows the time, and it stays as it is."""
    try:
        if conf.buffer_path is None or not os.path.samestat(os.fstat(2), (conf.buffer_path / f"{name}.log").stat()):
            return report
    except OSError:
        return report
    return lambda text: report(f"{now():%Y-%m-%dT%H:%M:%S} {text}")


async def serve(
    conf: AdapterConf,
    name: str,
    make: Callable[[DiskBuffer], Reading[Counters]],
    *,
    once: bool = False,
    stop: asyncio.Event | None = None,
    adopt: bool = False,
    wait: float | None = None,
    report: Report = lambda _text: None,
    advice: str = "",
) -> Outcome[Counters]:
    """Read and send until `stop` is set, or with `once` until everything was read and is acknowledged.

    With `once` it waits for the servers at most `wait` seconds: while the buffer takes nothing more and nothing is
    acknowledged, and for the last acknowledgements. `make` gives the adapter `name` over the opened buffer; `adopt`
    says that the buffer has moved here on purpose. `report` gets sentences for a person, the notes of `conf` first;
    `advice` follows the reason of a rejected event. Raises BufferFault and what `make` raises.
    """
    for note in conf.notes:
        report(note)
    stop = stop if stop is not None else asyncio.Event()
    with open_buffer(conf, name, adopt, report) as buffer:
        adapter = make(buffer)
        sender = AckedSender(
            buffer, conf.servers, retry_interval=conf.retry_interval, on_rejected=_rejections(report, advice)
        )
        stop_sending = asyncio.Event()
        sending = asyncio.create_task(sender.run(stop_sending))
        sign = LifeSign(buffer.path, conf.poll_interval)
        reading = asyncio.create_task(_read(conf, adapter, buffer, sender, sign, once, stop, wait, report))
        try:
            # the end of either one is the end of both: a sender that died must not go unnoticed
            await asyncio.wait((sending, reading), return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                await sending
            unread = await reading
            sign.close()  # nothing is left to read: what waits for acknowledgements is no reader that hangs
            if once and not unread and not stop.is_set():
                await _drain(sender, stop, sending, wait)
                await _settle(conf, adapter, buffer, report)
        finally:
            stop_sending.set()
            reading.cancel()
            await asyncio.gather(reading, sending, return_exceptions=True)
            sign.close()
            adapter.close()
        return Outcome(adapter.counters, sender.counters.rejected, buffer.pending, unread)


async def _read(
    conf: AdapterConf,
    adapter: Reading[object],
    buffer: DiskBuffer,
    sender: AckedSender,
    sign: LifeSign,
    once: bool,
    stop: asyncio.Event,
    wait: float | None,
    report: Report,
) -> bool:
    """Read until `stop`, or with `once` until nothing is left; True when `wait` seconds in vain came before that."""
    problem = ""
    rounds = 0
    fullness = Fullness(conf, buffer, sender, report)
    acked, moved = buffer.acked, monotonic()
    while not stop.is_set():
        rounds += 1
        now = no_room = ""
        try:
            more = adapter.step()
            await sign.during(adapter.flush)
            if not more or rounds % SAVE_EVERY == 0:
                await _settle(conf, adapter, buffer, report, sign.during)
        except BufferFull as error:
            more, now, no_room = False, str(error), str(error)
        except BufferFault as error:
            more, now = False, str(error)  # what was appended stays in memory, and the next round tries again
            if now != problem:
                report(now)
        problem = now
        sender.wake()
        full = fullness.look(no_room)
        if problem and not no_room:
            sign.failed()
        else:
            sign.completed(full=full, waiting=buffer.pending, connected=sender.server is not None)
        if sign.due:
            await sign.during(sign.write)
        stands = not more and buffer.acked == acked and bool(problem or buffer.full)
        if not stands:
            acked, moved = buffer.acked, monotonic()
        if more:
            continue
        if once and not adapter.has_work and not problem:
            return False
        pause = conf.poll_interval
        if stands and once and wait is not None:
            pause = min(pause, moved + wait - monotonic())
            if pause <= 0:
                reason = problem or f"the buffer {buffer.path} is full"
                report(
                    f"ended after {wait:g} s without an acknowledgement: {reason}; what was not read stays where it is"
                )
                return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stop.wait()
    with contextlib.suppress(BufferFault):
        await sign.during(adapter.flush)
        await _settle(conf, adapter, buffer, report, sign.during)
    return False


async def _settle(
    conf: AdapterConf,
    adapter: Reading[object],
    buffer: DiskBuffer,
    report: Report,
    on_disk: Callable[[Callable[[], None]], Awaitable[None]] = asyncio.to_thread,
) -> None:
    """Save the positions. What is buffered in memory only must have been acknowledged before."""
    if conf.buffering != "YES" and buffer.pending:
        return
    try:
        await on_disk(adapter.save)
    except OSError as error:
        report(f"the positions cannot be saved: {error}; after a restart events are sent again, and noticed")


async def _drain(sender: AckedSender, stop: asyncio.Event, sending: asyncio.Task[None], wait: float | None) -> None:
    tasks = {asyncio.ensure_future(sender.drained()), asyncio.ensure_future(stop.wait())}
    try:
        await asyncio.wait({*tasks, sending}, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            await sending
    finally:
        for task in tasks:
            task.cancel()


def _rejections(report: Report, advice: str) -> Callable[[Buffered, str], None]:
    told: set[str] = set()

    def rejected(event: Buffered, reason: str) -> None:
        # one wrong format rejects every event of its kind: each reason once, and no list that grows for ever
        if reason not in told and len(told) < _REASONS:
            told.add(reason)
            report(f"the server recorded an event as rejected: {reason}" + (f"; {advice}" if advice else ""))

    return rejected


@contextlib.contextmanager
def open_buffer(conf: AdapterConf, name: str, adopt: bool, report: Report) -> Iterator[DiskBuffer]:
    """BufferEvents=YES: on disk. MEMORY_ONLY: as large, in memory. NO: in memory, and small. Raises BufferFault."""
    size = SMALL_BUFFER if conf.buffering == "NO" else conf.buffer_max_kb * 1024
    path, temporary = conf.buffer_path, None
    if conf.buffering != "YES" or path is None:
        memory = Path("/dev/shm")  # noqa: S108  # a file system in memory; mkdtemp makes a private folder
        temporary = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=memory if memory.is_dir() else None))
        if path is not None:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)  # for the positions
        path = temporary
    try:
        buffer = DiskBuffer(
            path,
            max_size=size,
            max_event=MAX_EVENT,
            adopt=adopt,
            on_damage=lambda damage: report(f"the disk buffer is damaged: {damage}"),
        )
        with buffer:
            yield buffer
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
