"""The logfile adapter as a program: configuration, buffer, sender, and the loop that polls (`tecad_logfile`)."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from opentec.adapters.conf import AdapterConf, read_conf
from opentec.adapters.logfile.adapter import Counters, LogfileAdapter
from opentec.adapters.logfile.fmt import Format, read_formats
from opentec.adapters.logfile.positions import PositionFile
from opentec.eif.buffer import DiskBuffer
from opentec.eif.errors import BufferFault
from opentec.eif.reading import Buffered
from opentec.eif.sender import AckedSender

POSITIONS: Final = "positions"  # in BufEvtPath
FORMATS: Final = "tecad_logfile.fmt"  # beside the configuration
MAX_EVENT: Final = 65_536
SMALL_BUFFER: Final = 1 << 20  # bytes, with BufferEvents=NO
SAVE_EVERY: Final = 16  # rounds of a backlog between two saves of the positions

Report = Callable[[str], None]


class Outcome(NamedTuple):
    """How a run ended. `unconfirmed` events were not acknowledged; with a disk buffer the next run sends them."""

    counters: Counters
    rejected: int
    unconfirmed: int


def load(conf_path: Path, node: str = "") -> tuple[AdapterConf, list[Format]]:
    """Configuration and formats. Raises SourceErrors with all that is wrong in the first of the two files that is
    not right, OSError when one cannot be read."""
    conf = read_conf(conf_path, node=node, required=("ServerLocation", "NodeName", "BufEvtPath", "LogSources"))
    return conf, read_formats(conf.format_file or conf_path.with_name(FORMATS))


async def run(
    conf_path: Path,
    *,
    once: bool = False,
    stop: asyncio.Event | None = None,
    node: str = "",
    adopt: bool = False,
    wait: float | None = None,
    report: Report = lambda _text: None,
) -> Outcome:
    """Tail and send until `stop` is set, or with `once` until the ends of the files are reached and all is
    acknowledged, at most `wait` seconds for the latter.

    `node` overrides NodeName; `adopt` says that the buffer has moved here on purpose (a shared disk). `report` gets
    sentences for a person. Raises SourceErrors and OSError for the configuration, BufferFault for the buffer.
    """
    conf, formats = load(conf_path, node)
    for note in conf.notes:
        report(note)
    stop = stop if stop is not None else asyncio.Event()
    with _open_buffer(conf, adopt, report) as buffer:
        positions = PositionFile(conf.buffer_path / POSITIONS) if conf.buffer_path is not None else None
        adapter = LogfileAdapter(conf, formats, buffer, positions, report=report)
        sender = AckedSender(
            buffer, conf.servers, retry_interval=conf.retry_interval, on_rejected=_rejection_report(report)
        )
        stop_sending = asyncio.Event()
        sending = asyncio.create_task(sender.run(stop_sending))
        tailing = asyncio.create_task(_tail(conf, adapter, buffer, sender, once, stop, report))
        try:
            # the end of either one is the end of both: a sender that died must not go unnoticed
            await asyncio.wait((sending, tailing), return_when=asyncio.FIRST_COMPLETED)
            if not tailing.done():
                await sending
            await tailing
            if once and not stop.is_set():
                await _drain(sender, stop, sending, wait)
                await _settle(conf, adapter, buffer, report)
        finally:
            stop_sending.set()
            tailing.cancel()
            await asyncio.gather(tailing, sending, return_exceptions=True)
            adapter.close()
        return Outcome(adapter.counters, sender.counters.rejected, buffer.pending)


async def _tail(
    conf: AdapterConf,
    adapter: LogfileAdapter,
    buffer: DiskBuffer,
    sender: AckedSender,
    once: bool,
    stop: asyncio.Event,
    report: Report,
) -> None:
    problem = ""
    rounds = 0
    while not stop.is_set():
        rounds += 1
        try:
            more = adapter.step()
            await asyncio.to_thread(adapter.flush)
            if not more or rounds % SAVE_EVERY == 0:
                await _settle(conf, adapter, buffer, report)
            now = ""
        except BufferFault as error:
            more, now = False, str(error)  # what was appended stays in memory, and the next round tries again
        if now and now != problem:
            report(now)
        problem = now
        sender.wake()
        if more:
            continue
        if once and not adapter.has_work and not problem:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), conf.poll_interval)
    with contextlib.suppress(BufferFault):
        await asyncio.to_thread(adapter.flush)
        await _settle(conf, adapter, buffer, report)


async def _settle(conf: AdapterConf, adapter: LogfileAdapter, buffer: DiskBuffer, report: Report) -> None:
    """Save the positions. What is buffered in memory only must have been acknowledged before."""
    if conf.buffering != "YES" and buffer.pending:
        return
    try:
        await asyncio.to_thread(adapter.save)
    except OSError as error:
        report(f"the positions cannot be saved: {error}; after a restart lines are sent again, and noticed")


async def _drain(sender: AckedSender, stop: asyncio.Event, sending: asyncio.Task[None], wait: float | None) -> None:
    tasks = {asyncio.ensure_future(sender.drained()), asyncio.ensure_future(stop.wait())}
    try:
        await asyncio.wait({*tasks, sending}, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            await sending
    finally:
        for task in tasks:
            task.cancel()


def _rejection_report(report: Report) -> Callable[[Buffered, str], None]:
    told: set[str] = set()

    def rejected(event: Buffered, reason: str) -> None:
        # one bad format rejects every line of its kind: each reason once, and no list that grows for ever
        if reason not in told and len(told) < 1000:
            told.add(reason)
            report(f"the server recorded an event as rejected: {reason}; `tec adapter try` shows which format made it")

    return rejected


@contextlib.contextmanager
def _open_buffer(conf: AdapterConf, adopt: bool, report: Report) -> Iterator[DiskBuffer]:
    """BufferEvents=YES: on disk. MEMORY_ONLY: as large, in memory. NO: in memory, and small."""
    size = SMALL_BUFFER if conf.buffering == "NO" else conf.buffer_max_kb * 1024
    path, temporary = conf.buffer_path, None
    if conf.buffering != "YES" or path is None:
        memory = Path("/dev/shm")  # noqa: S108  # a file system in memory; mkdtemp makes a private folder
        temporary = Path(tempfile.mkdtemp(prefix="tecad_logfile.", dir=memory if memory.is_dir() else None))
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
