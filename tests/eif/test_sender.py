"""The acknowledged sender against scripted servers: everything arrives once and in order, whatever they do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from opentec.eif.buffer import DiskBuffer
from opentec.eif.control import Ack, Busy, Error, File, Unknown, Welcome
from opentec.eif.errors import BufferFault
from opentec.eif.frame import text_of
from opentec.eif.reading import Buffered
from opentec.eif.segment import FileRef
from opentec.eif.sender import AckedSender
from tests.eif.scripted import ManualClock, Peer, Server, Store, serving, until

LOG = FileRef("black", "/var/log/messages", "17-abc-0")


@pytest.fixture
def buffer(tmp_path: Path) -> Any:
    with DiskBuffer(tmp_path / "buffer", machine="m1") as opened:
        yield opened


def fill(buffer: DiskBuffer, count: int, file: FileRef | None = LOG) -> None:
    for _ in range(count):
        number = buffer.next_sequence
        buffer.append(f"A;n={number};END", file, number * 10 if file else 0)
    buffer.flush()


def arrived(store: Store) -> list[str]:
    return [text_of(frame.data) for frame, _ in store.events]


def expected(count: int, start: int = 1) -> list[str]:
    return [f"A;n={number};END" for number in range(start, start + count)]


@contextlib.asynccontextmanager
async def running(sender: AckedSender) -> AsyncIterator[AckedSender]:
    stop = asyncio.Event()
    task = asyncio.create_task(sender.run(stop))
    try:
        yield sender
        assert not task.done()
    finally:
        stop.set()
        await task


async def test_everything_arrives_and_leaves_the_buffer(buffer: DiskBuffer) -> None:
    store = Store()
    fill(buffer, 1000)
    async with serving(Server(store, window=7)) as address, running(AckedSender(buffer, [address])) as sender:
        await sender.drained()
        assert arrived(store) == expected(1000)
        assert (buffer.pending, sender.server) == (0, address)
        fill(buffer, 10)
        sender.wake()
        await sender.drained()
        assert arrived(store) == expected(1010)
        counters = sender.counters
        assert (counters.sent, counters.acked, counters.rejected) == (1010, 1010, 0)
        assert (counters.connections, counters.failures) == (1, 0)
    assert store.events[4] == (store.events[4][0], File(1, "black", "/var/log/messages", "17-abc-0"))
    assert (store.events[4][0].sequence, store.events[4][0].end_offset, store.events[4][0].file) == (5, 50, 1)
    assert sender.server is None


async def test_our_own_window_is_kept(buffer: DiskBuffer) -> None:
    fill(buffer, 20)
    seen: list[int] = []

    async def behave(peer: Peer) -> None:
        await peer.hello()
        peer.say(Welcome(1, 0, 1000))
        for number in range(1, 21):
            while not seen or seen[-1] < number:
                frame = await peer.frame()
                if frame.sequence:
                    seen.append(frame.sequence)
            await asyncio.sleep(0.001)
            assert seen[-1] <= number + 4
            peer.say(Ack(number))
        await asyncio.Event().wait()

    async with serving(behave) as address, running(AckedSender(buffer, [address], window=5)) as sender:
        await sender.drained()


async def test_files_are_declared_anew_on_each_connection(buffer: DiskBuffer) -> None:
    store = Store()
    server = Server(store)
    server.stop_after = 5
    fill(buffer, 3)
    fill(buffer, 3, None)
    fill(buffer, 3, FileRef("black", "/other", "g"))
    sender = AckedSender(buffer, [("", 0)], retry_interval=0.001)
    async with serving(server) as address:
        sender.servers = [address]
        async with running(sender):
            await until(lambda: server.connections == 1 and server.stop_after == 0)
            server.stop_after = None
            await sender.drained()
    assert arrived(store) == expected(9)
    paths = [file and file.path for _, file in store.events]
    assert paths == ["/var/log/messages"] * 3 + [None] * 3 + ["/other"] * 3
    assert sender.counters.failures >= 1


async def test_file_numbers_are_used_again(buffer: DiskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opentec.eif.sender.MAX_FILE_NUMBER", 3)
    store = Store()
    for n in (*range(10), *range(10)):
        buffer.append("A;END", FileRef("s", f"/{n}", "g"), 1)
    buffer.flush()
    async with serving(Server(store)) as address, running(AckedSender(buffer, [address])) as sender:
        await sender.drained()
    assert [file and file.path for _, file in store.events] == [f"/{n}" for n in (*range(10), *range(10))]
    assert max(frame.file for frame, _ in store.events) == 3


async def test_a_lost_acknowledgement_does_not_double(buffer: DiskBuffer) -> None:
    store = Store()
    first, second = Server(store), Server(store)
    first.stop_after = 3
    fill(buffer, 10)
    async with (
        serving(first) as dying,
        serving(second) as standby,
        running(AckedSender(buffer, [dying, standby])) as sender,
    ):
        await sender.drained()
        assert sender.server == standby
    assert arrived(store) == expected(10)
    assert (sender.counters.connections, sender.counters.failures, sender.counters.acked) == (2, 1, 10)


async def test_a_restarted_sender_goes_on(buffer: DiskBuffer, tmp_path: Path) -> None:
    store = Store()
    fill(buffer, 10)
    server = Server(store)
    server.stop_after = 4
    async with serving(server) as address:
        async with running(AckedSender(buffer, [address], retry_interval=60)) as sender:
            await until(lambda: sender.counters.failures == 1)
        buffer.close()
        server.stop_after = None
        with DiskBuffer(tmp_path / "buffer", machine="m1") as again:
            async with running(AckedSender(again, [address])) as sender:
                await sender.drained()
    assert arrived(store) == expected(10)


async def test_a_hung_server_leads_to_the_next(buffer: DiskBuffer) -> None:
    clock = ManualClock()
    hung = 0

    async def behave(peer: Peer) -> None:
        nonlocal hung
        await peer.hello()
        hung += 1
        await asyncio.Event().wait()

    store = Store()
    fill(buffer, 5)
    async with serving(behave) as silent, serving(Server(store)) as address:
        sender = AckedSender(buffer, [silent, address], clock=clock, sleep=clock.sleep)
        async with running(sender):
            await until(lambda: hung == 1)
            clock.advance(1.9)
            await asyncio.sleep(0.01)
            assert sender.counters.failures == 0
            clock.advance(0.1)
            await sender.drained()
            assert sender.server == address
            assert sender.counters.failures == 1
            assert sender.counters.longest_gap == pytest.approx(2.0)
    assert arrived(store) == expected(5)


async def test_a_server_that_stops_acknowledging(buffer: DiskBuffer) -> None:
    clock = ManualClock()
    got: list[int] = []

    async def behave(peer: Peer) -> None:
        await peer.hello()
        peer.say(Welcome(1, 0, 100))
        while True:
            got.append((await peer.frame()).sequence)

    store = Store()
    async with serving(behave) as hung, serving(Server(store)) as address:
        sender = AckedSender(buffer, [hung, address], clock=clock, sleep=clock.sleep)
        async with running(sender):
            await until(lambda: sender.server == hung)
            for _ in range(5):  # idle is no fault, however long
                clock.advance(20)
                await asyncio.sleep(0.005)
            assert sender.counters.failures == 0
            fill(buffer, 5)
            sender.wake()
            await until(lambda: 5 in got)
            clock.advance(9.9)
            await asyncio.sleep(0.01)
            assert sender.counters.failures == 0
            clock.advance(0.2)
            await sender.drained()
            assert "no acknowledgement" not in sender.problem  # it is over
            assert sender.counters.longest_gap == pytest.approx(10.1)
    assert arrived(store) == expected(5)


async def test_the_pause_comes_after_all_servers(buffer: DiskBuffer) -> None:
    clock = ManualClock()
    with socket.socket() as one, socket.socket() as two:
        for bound in (one, two):
            bound.bind(("127.0.0.1", 0))
        nobody = [one.getsockname(), two.getsockname()]
        sender = AckedSender(buffer, nobody, clock=clock, sleep=clock.sleep, retry_interval=3.0)
        async with running(sender):
            await until(lambda: 3.0 in clock.slept)
            assert sender.counters.failures == 2
            assert sender.problem.endswith("connection refused")
            clock.advance(3.0)
            await until(lambda: sender.counters.failures == 4)
            assert clock.slept.count(3.0) <= 2
            sender.wake()  # harmless meanwhile


@pytest.mark.parametrize(("answer", "pause"), [(Busy(7000), 7.0), (Busy(10**9), 60.0), (Error("no"), 1.0)])
async def test_busy_and_error(buffer: DiskBuffer, answer: Busy | Error, pause: float) -> None:
    clock = ManualClock()
    tries = 0

    async def behave(peer: Peer) -> None:
        nonlocal tries
        tries += 1
        hello = await peer.hello()
        if tries == 1:
            peer.say(answer)
            return
        peer.say(Welcome(1, hello.next - 1, 10))
        await asyncio.Event().wait()

    async with serving(behave) as address:
        sender = AckedSender(buffer, [address], clock=clock, sleep=clock.sleep)
        async with running(sender):
            await until(lambda: pause in clock.slept)
            clock.advance(pause)
            await until(lambda: sender.server == address)


async def test_rejected_events_are_named(buffer: DiskBuffer, caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.refuse = lambda frame: "unknown class" if frame.sequence % 2 else ""
    rejected: list[tuple[Buffered, str]] = []
    fill(buffer, 4)
    async with serving(Server(store)) as address:
        async with running(
            AckedSender(buffer, [address], on_rejected=lambda event, reason: rejected.append((event, reason)))
        ) as sender:
            await sender.drained()
            assert [(text_of(event.data), reason) for event, reason in rejected] == [
                ("A;n=1;END", "unknown class"),
                ("A;n=3;END", "unknown class"),
            ]
            assert (sender.counters.rejected, sender.counters.acked) == (2, 4)
        fill(buffer, 1)
        async with running(AckedSender(buffer, [address])) as sender:
            await sender.drained()
        assert "event 5 was rejected: unknown class" in caplog.text


async def test_a_server_that_has_forgotten(buffer: DiskBuffer, caplog: pytest.LogCaptureFixture) -> None:
    async def behave(peer: Peer) -> None:
        hello = await peer.hello()
        peer.say(Unknown(1, hello.next - 1, 10))
        while True:
            peer.say(Ack((await peer.frame()).sequence))

    fill(buffer, 3, None)
    buffer.ack(2)
    async with serving(behave) as address, running(AckedSender(buffer, [address])) as sender:
        await sender.drained()
    assert "does not know this sender" in caplog.text


async def test_a_server_that_remembers_a_later_life(buffer: DiskBuffer) -> None:
    # the buffer was restored from a copy: the same sequences must not be used for other events
    store = Store()
    store.last[buffer.sender] = 40
    old = buffer.sender
    fill(buffer, 60)
    async with serving(Server(store)) as address, running(AckedSender(buffer, [address])) as sender:
        await sender.drained()
    assert buffer.sender != old
    assert arrived(store) == expected(60)


async def test_what_is_not_flushed_is_not_sent(buffer: DiskBuffer) -> None:
    store = Store()
    async with serving(Server(store)) as address, running(AckedSender(buffer, [address])) as sender:
        fill(buffer, 1)
        buffer.append("A;n=2;END")
        sender.wake()
        await until(lambda: buffer.acked == 1)
        await asyncio.sleep(0.01)
        assert arrived(store) == expected(1)
        buffer.flush()
        sender.wake()
        await sender.drained()
        assert arrived(store) == expected(2)


async def test_a_disk_that_cannot_be_read(buffer: DiskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(after: int, limit: int) -> list[Buffered]:
        raise BufferFault("the buffer cannot be used: Input/output error", buffer.path)

    store = Store()
    fill(buffer, 3)
    sender = AckedSender(buffer, [("", 0)], retry_interval=0.001)
    async with serving(Server(store)) as sender.servers[0], running(sender):
        with monkeypatch.context() as patch:
            patch.setattr(buffer, "read", fail)
            await until(lambda: sender.counters.failures >= 1)
            assert "Input/output error" in sender.problem
        await sender.drained()
    assert arrived(store) == expected(3)


async def test_an_acknowledgement_that_cannot_be_written(
    buffer: DiskBuffer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = buffer.ack

    def fail(sequence: int) -> None:
        real(sequence)
        raise BufferFault("the buffer cannot be used: Input/output error", buffer.path)

    monkeypatch.setattr(buffer, "ack", fail)
    store = Store()
    fill(buffer, 3)
    async with serving(Server(store)) as address, running(AckedSender(buffer, [address])) as sender:
        await sender.drained()
    assert arrived(store) == expected(3)
    assert "Input/output error" in caplog.text


async def test_a_slow_reader_is_waited_for(buffer: DiskBuffer) -> None:
    go = asyncio.Event()
    store = Store()
    server = Server(store, window=100_000)

    async def behave(peer: Peer) -> None:
        await go.wait()
        await server(peer)

    for n in range(1, 301):
        buffer.append(f"A;n={n};m='{'x' * 50_000}';END")
    buffer.flush()
    async with serving(behave) as address, running(AckedSender(buffer, [address], window=100_000)) as sender:
        go.set()
        await sender.drained()
    assert len(store.events) == 300


async def test_stop_while_connecting(buffer: DiskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never)
    async with running(AckedSender(buffer, [("192.0.2.1", 5529)])) as sender:
        await asyncio.sleep(0)
    assert sender.server is None


async def test_a_connection_that_never_completes(buffer: DiskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    clock = ManualClock()
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never)
    async with running(AckedSender(buffer, [("192.0.2.1", 5529)], clock=clock, sleep=clock.sleep)) as sender:
        await until(lambda: bool(clock.slept))
        clock.advance(2.0)
        await until(lambda: sender.counters.failures == 1)
        assert "no answer to the greeting" in sender.problem


def test_a_sender_needs_a_server(buffer: DiskBuffer) -> None:
    with pytest.raises(ValueError, match="ServerLocation"):
        AckedSender(buffer, [])
