"""The loop that every adapter runs, with an adapter and a disk that fail."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from opentec.adapters import sign as sign_module
from opentec.adapters.conf import AdapterConf, Server
from opentec.adapters.daemon import serve, stamped
from opentec.adapters.sign import Sign, read_sign
from opentec.eif import sender as sender_module
from opentec.eif.buffer import DiskBuffer
from opentec.eif.errors import BufferFault, BufferFull
from tests.eif.scripted import Server as ScriptedServer
from tests.eif.scripted import Store, serving, until


class Numbers:
    """An adapter that gives one event a step, of `count`; its flush fails as often as `faults` says."""

    def __init__(self, buffer: DiskBuffer, count: int = 40, faults: int = 0) -> None:
        self.buffer, self.left, self.faults = buffer, count, faults
        self.saved: list[int] = []
        self.refuses_to_save = False
        self.closed = False

    @property
    def counters(self) -> int:
        return len(self.saved)

    @property
    def has_work(self) -> bool:
        return self.left > 0

    def step(self) -> bool:
        if self.left:
            self.buffer.append(f"A;number={self.left};END")
            self.left -= 1
        return self.left > 0

    def flush(self) -> None:
        if self.faults:
            self.faults -= 1
            raise BufferFault("the disk fails", Path())
        self.buffer.flush()

    def save(self) -> None:
        if self.refuses_to_save:
            raise OSError("no room")
        self.saved.append(self.left)

    def close(self) -> None:
        self.closed = True


def conf_of(tmp_path: Path, port: int) -> AdapterConf:
    return AdapterConf(
        "a.conf",
        servers=[Server("127.0.0.1", port)],
        buffer_path=tmp_path / "buffer",
        poll_interval=0.01,
        retry_interval=0.01,
    )


async def test_positions_are_saved_on_the_way_and_at_the_end(tmp_path: Path) -> None:
    store, made = Store(), list[Numbers]()
    async with serving(ScriptedServer(store)) as (_, port):

        def make(buffer: DiskBuffer) -> Numbers:
            made.append(Numbers(buffer))
            return made[0]

        ended = await serve(conf_of(tmp_path, port), "a", make, once=True)
    assert (ended.rejected, ended.unconfirmed, len(store.events)) == (0, 0, 40)
    assert made[0].saved == [24, 8, 0, 0]
    assert made[0].closed


async def test_a_disk_that_fails_is_told_once_and_tried_again(tmp_path: Path) -> None:
    store, reports = Store(), list[str]()
    async with serving(ScriptedServer(store)) as (_, port):
        await serve(
            conf_of(tmp_path, port), "a", lambda buffer: Numbers(buffer, 5, 3), once=True, report=reports.append
        )
    assert reports == ["the disk fails"]
    assert len(store.events) == 5


async def test_a_disk_that_never_works_ends_once_after_the_wait(tmp_path: Path) -> None:
    made, reports = list[Numbers](), list[str]()
    async with serving(ScriptedServer(Store())) as (_, port):

        def make(buffer: DiskBuffer) -> Numbers:
            made.append(Numbers(buffer, 1, 10**9))
            return made[0]

        ended = await serve(conf_of(tmp_path, port), "a", make, once=True, wait=0.05, report=reports.append)
    assert (ended.unread, ended.unconfirmed) == (True, 1)
    assert made[0].saved == []  # what is not durable must be read again
    assert reports == ["the disk fails", reports[-1]]
    assert "0.05 s without an acknowledgement: the disk fails" in reports[-1]


async def test_acknowledgements_let_the_wait_begin_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The buffer is full whenever one looks, for longer than `wait` in all, yet events are acknowledged."""
    seconds = 0.0
    monkeypatch.setattr("opentec.adapters.daemon.monotonic", lambda: seconds)

    class Slow(Numbers):
        def step(self) -> bool:
            nonlocal seconds
            seconds += 1.0
            if self.left == 5 or seconds % 2:
                return False  # nothing is acknowledged in this round, and from 5 on in none
            if self.buffer.durable:
                self.buffer.ack(self.buffer.acked + 1)
            while not self.buffer.full:
                self.buffer.append(f"A;msg='{'x' * 60_000}';END")
            self.left -= 1
            return False

    conf = conf_of(tmp_path, 1)
    conf.buffering = "NO"
    made: list[Numbers] = []

    def make(buffer: DiskBuffer) -> Numbers:
        made.append(Slow(buffer))
        return made[0]

    ended = await serve(conf, "a", make, once=True, wait=2.5)
    assert (ended.unread, made[0].left) == (True, 5)


async def test_positions_that_cannot_be_saved_are_told(tmp_path: Path) -> None:
    store, reports = Store(), list[str]()
    async with serving(ScriptedServer(store)) as (_, port):

        def make(buffer: DiskBuffer) -> Numbers:
            adapter = Numbers(buffer, 2)
            adapter.refuses_to_save = True
            return adapter

        await serve(conf_of(tmp_path, port), "a", make, once=True, report=reports.append)
    assert "the positions cannot be saved: no room" in reports[0]


async def test_a_sender_that_died_ends_the_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(_self: object, _stop: asyncio.Event) -> None:
        raise RuntimeError("the sender is broken")

    monkeypatch.setattr(sender_module.AckedSender, "run", run)
    made: list[Numbers] = []

    def make(buffer: DiskBuffer) -> Numbers:
        made.append(Numbers(buffer, 0))
        return made[0]

    with pytest.raises(RuntimeError, match="the sender is broken"):
        await serve(conf_of(tmp_path, 1), "a", make)
    assert made[0].closed


# -- the sign of life -------------------------------------------------------------------------------------------------


def sign_of(tmp_path: Path) -> Sign | None:
    return read_sign(tmp_path / "buffer" / "lock", os.getpid())


async def test_rounds_are_in_the_sign_until_reading_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_module, "_EVERY", 0)
    stop = asyncio.Event()
    signs: list[Sign] = []

    def calm() -> bool:
        """Everything was read and acknowledged."""
        if (found := sign_of(tmp_path)) is not None:
            signs.append(found)
        return len(store.events) == 3 and signs[-1].connected and not signs[-1].waiting

    store = Store()
    async with serving(ScriptedServer(store)) as (_, port):
        conf = conf_of(tmp_path, port)
        running = asyncio.create_task(serve(conf, "a", lambda buffer: Numbers(buffer, 3), stop=stop))
        await until(calm)
        stop.set()
        await running
    assert signs[-1].round > signs[0].round
    assert {(sign.state, sign.poll) for sign in signs} == {("reading", 0.01)}
    assert sign_of(tmp_path) is None


async def test_a_flush_that_waits_for_the_disk_is_in_the_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_module, "SLOW", 0.01)
    held, stop = threading.Event(), asyncio.Event()

    class Waiting(Numbers):
        def flush(self) -> None:
            held.wait(30)

    running = asyncio.create_task(serve(conf_of(tmp_path, 1), "a", Waiting, stop=stop))
    await until(lambda: (found := sign_of(tmp_path)) is not None and found.state == "disk")
    held.set()
    await until(lambda: (found := sign_of(tmp_path)) is not None and found.state == "reading")
    stop.set()
    await running


@pytest.mark.parametrize(("error", "state"), [(BufferFault, "fault"), (BufferFull, "full")])
async def test_a_fault_is_no_round_and_a_full_disk_is(
    tmp_path: Path, error: type[BufferFault], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_module, "_EVERY", 0)
    stop = asyncio.Event()
    reports: list[str] = []

    class Failing(Numbers):
        def flush(self) -> None:
            raise error("the disk says no", Path())

    running = asyncio.create_task(
        serve(conf_of(tmp_path, 1), "a", lambda buffer: Failing(buffer, 1), stop=stop, report=reports.append)
    )
    await until(lambda: (found := sign_of(tmp_path)) is not None and found.state == state)
    stop.set()
    await running
    assert len(reports) == 1 and reports[0].startswith("the disk says no")


async def test_what_waits_for_acknowledgements_is_no_reader_that_hangs(tmp_path: Path) -> None:
    """With `once`, after reading: the sign would grow old."""
    stop = asyncio.Event()
    made: list[Numbers] = []

    def make(buffer: DiskBuffer) -> Numbers:
        made.append(Numbers(buffer, 1))
        return made[0]

    running = asyncio.create_task(serve(conf_of(tmp_path, 1), "a", make, once=True, stop=stop))
    await until(lambda: bool(made) and not made[0].left and sign_of(tmp_path) is None)
    assert not running.done()
    stop.set()
    assert (await running).unconfirmed == 1


async def test_a_full_buffer_is_told_while_nothing_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[str] = []
    stop = asyncio.Event()
    monkeypatch.setattr("opentec.adapters.fullness._LASTING", 0.0)

    class Large(Numbers):
        def step(self) -> bool:
            while not self.buffer.full:
                self.buffer.append(f"A;msg='{'x' * 60_000}';END")
            return False

    conf = conf_of(tmp_path, 1)
    conf.buffer_max_kb = 512
    running = asyncio.create_task(serve(conf, "a", Large, stop=stop, report=reports.append))
    await until(lambda: bool(reports))
    stop.set()
    await running
    assert len(reports) == 1
    assert reports[0].startswith(f"the buffer {tmp_path / 'buffer'} is full: ")


def test_the_log_of_an_adapter_in_the_background_has_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf, said = AdapterConf("a.conf", buffer_path=tmp_path), list[str]()
    log = tmp_path / "tecad_logfile.log"
    log.touch()
    with log.open() as error:
        number = error.fileno()
        fstat = os.fstat
        monkeypatch.setattr(os, "fstat", lambda descriptor: fstat(number if descriptor == 2 else descriptor))
        report = stamped(said.append, conf, "tecad_logfile", lambda: datetime(2026, 3, 1, 8, 0, 7, tzinfo=UTC))
        report("the buffer is full")
        assert said == ["2026-03-01T08:00:07 the buffer is full"]
        log.rename(tmp_path / "elsewhere")
        for other in (conf, replace(conf, buffer_path=None)):
            assert stamped(said.append, other, "tecad_logfile") == said.append
        log.touch()
        assert stamped(said.append, conf, "tecad_logfile") == said.append, "standard error goes elsewhere"
