"""Connections over loopback sockets, into a real log: what is answered, what is recorded, and in which order."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from opentec.eif.control import Ack, Busy, Error, Hello, Unknown, Welcome
from opentec.eif.frame import START, encode_frame
from opentec.events.records import Kind, position_of
from opentec.log.errors import LogWriteFailed
from opentec.log.segments import recover
from opentec.server import intake as intake_module
from opentec.server.intake import EpochSuperseded
from opentec.server.progress import Word
from tests.server.kit import UUID, Client, Receiver, declared, event, receiver, until

A, B = b"a" * 16, b"b" * 16


async def test_an_acknowledged_event_is_in_the_log(tmp_path: Path) -> None:
    async with receiver(tmp_path, epoch=3) as server:
        client = await Client.connect(server.port)
        assert await client.greet() == Welcome(epoch=3, last=0, window=16)
        client.send(event(1, hostname="web1"))
        assert await client.answer() == Ack(1)
        (record,) = server.log()
        assert (record.kind, record.sender, record.sequence) == (Kind.EVENT, A, 1)
        assert server.told() == [("Disk_Full", {"hostname": "web1"})]
        assert server.progress[Word.DURABLE] == server.writer.durable == record.after
        assert server.progress[Word.ACKED] == 1
        await client.close()


async def test_an_event_sent_again_is_acknowledged_again_and_not_recorded_again(tmp_path: Path) -> None:
    async with receiver(tmp_path) as server:
        client = await Client.connect(server.port)
        await client.greet()
        client.send(event(1), event(2))
        while (await client.answer()) != Ack(2):
            pass
        client.send(event(1))
        assert await client.answer() == Ack(2)
        assert len(server.log()) == 2
        await client.close()


async def test_the_greeting_says_how_far_the_sender_is_and_is_an_acknowledgement(tmp_path: Path) -> None:
    async with receiver(tmp_path) as server:
        client = await Client.connect(server.port)
        await client.greet()
        client.send(event(1), event(2))
        await until(lambda: len(server.log()) == 2)
        await client.close()
    async with receiver(tmp_path, epoch=2) as server:  # another process, from the log alone
        client = await Client.connect(server.port)
        assert await client.greet(following=2) == Welcome(2, 2, 16)
        client.send(event(3))
        assert await client.answer() == Ack(3)
        assert [record.sequence for record in server.log()] == [1, 2, 3]
        await client.close()


async def test_a_gap_closes_the_connection(tmp_path: Path) -> None:
    async with receiver(tmp_path) as server:
        client = await Client.connect(server.port)
        await client.greet()
        client.send(event(2))
        assert await client.answer() == Error("event 2 came, 1 was expected")
        assert await client.end() == b""
        assert server.log() == []
        await client.close()


async def test_a_known_sender_that_was_elsewhere_goes_on_from_where_it_is(tmp_path: Path) -> None:
    async with receiver(tmp_path) as server:
        client = await Client.connect(server.port)
        await client.greet()
        client.send(event(1))
        await client.answer()
        await client.close()
        again = await Client.connect(server.port)
        assert await again.greet(following=8) == Welcome(1, 7, 16)
        again.send(event(8))
        assert await again.answer() == Ack(8)
        await again.close()


async def test_a_sender_beyond_the_horizon_is_unknown_and_a_notice_says_so(tmp_path: Path) -> None:
    async with receiver(tmp_path) as server:
        client = await Client.connect(server.port)
        assert await client.greet(following=41) == Unknown(1, 40, 16)
        client.send(event(41))
        assert await client.answer() == Ack(41)
        notice = server.told()[0]
        assert notice[0] == "TEC_Notice" and A.hex() in notice[1]["msg"] and "before 41" in notice[1]["msg"]
        await client.close()


async def test_a_rule_base_without_the_notice_s_class_does_not_shut_the_sender_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiver(tmp_path) as server:
        monkeypatch.setattr(intake_module, "EventError", Exception)
        monkeypatch.setattr(server.intake, "add_notice", _refuse)
        client = await Client.connect(server.port)
        assert await client.greet(following=41) == Unknown(1, 40, 16)
        await client.close()


def _refuse(*_: Any) -> int:
    raise LookupError("class TEC_Notice is not defined")


async def test_a_greeting_fences_the_older_connection_of_the_same_sender(tmp_path: Path) -> None:
    async with receiver(tmp_path) as server:
        old = await Client.connect(server.port)
        await old.greet()
        old.send(event(1))
        assert await old.answer() == Ack(1)
        new = await Client.connect(server.port)
        assert await new.greet(following=2) == Welcome(1, 1, 16)
        assert await old.end() == b""
        old.send(event(2, hostname="old"))
        new.send(event(2, hostname="new"))
        assert await new.answer() == Ack(2)
        assert server.told()[1:] == [("Disk_Full", {"hostname": "new"})]
        assert server.connections[0].fenced
        await old.close()
        await new.close()


async def test_what_was_read_before_the_fence_is_answered_by_the_new_greeting(tmp_path: Path) -> None:
    async with receiver(tmp_path) as server:
        first, second = await Client.connect(server.port), await Client.connect(server.port)
        await first.greet()
        await until(lambda: len(server.connections) == 2)
        # both in one turn of the loop: the event is collected and not durable yet when the other one greets
        server.connections[0].data_received(event(1))
        server.connections[1].data_received(Hello(A, 1).encode())
        assert await second.answer() == Welcome(1, 1, 16)
        assert await first.end() == b""
        assert [record.sequence for record in server.log()] == [1]
        await first.close()
        await second.close()


async def test_two_readers_of_one_file_make_each_line_once(tmp_path: Path) -> None:
    async with receiver(tmp_path) as server:
        first, second = await Client.connect(server.port), await Client.connect(server.port)
        await first.greet(A)
        await second.greet(B)
        first.send(declared(), event(1, hostname="one", file=1, end=10), event(2, hostname="two", file=1, end=20))
        while (await first.answer()) != Ack(2):
            pass
        second.send(declared(7), event(1, hostname="one", file=7, end=10), event(2, hostname="three", file=7, end=30))
        while (await second.answer()) != Ack(2):
            pass
        events = [item for item in server.told() if item != "TICK"]
        assert [slots["hostname"] for _, slots in events] == ["one", "two", "three"]
        assert server.intake.covered_events == 1
        await first.close()
        await second.close()


async def test_a_covered_event_s_sequence_survives_a_restart(tmp_path: Path) -> None:
    async with receiver(tmp_path) as server:
        first, second = await Client.connect(server.port), await Client.connect(server.port)
        await first.greet(A)
        first.send(declared(), event(1, file=1, end=10))
        await first.answer()
        await second.greet(B)
        second.send(declared(), event(1, file=1, end=10))
        assert await second.answer() == Ack(1)
        tick = server.log()[-1]
        assert (tick.kind, tick.sender, tick.sequence) == (Kind.TICK, B, 1)
        await first.close()
        await second.close()
    async with receiver(tmp_path, epoch=2) as server:
        client = await Client.connect(server.port)
        assert await client.greet(B, following=2) == Welcome(2, 1, 16)
        await client.close()


async def test_another_generation_of_a_file_is_another_file(tmp_path: Path) -> None:
    async with receiver(tmp_path) as server:
        client = await Client.connect(server.port)
        await client.greet()
        client.send(declared(), event(1, file=1, end=10), declared(generation="g2"), event(2, file=1, end=10))
        while (await client.answer()) != Ack(2):
            pass
        assert [item[0] for item in server.told()] == ["Disk_Full", "Disk_Full"]
        await client.close()


async def test_rejected_events_are_recorded_acknowledged_and_named(tmp_path: Path) -> None:
    async with receiver(tmp_path) as server:
        client = await Client.connect(server.port)
        await client.greet()
        client.send(event(1, "Dsik_Full"), event(2), event(3, drve="C:"))
        rejected: dict[int, str] = {}
        last = 0
        while last < 3:
            ack = await client.answer()
            assert isinstance(ack, Ack)
            last = ack.sequence
            rejected |= dict(ack.rejected)
        assert sorted(rejected) == [1, 3]
        assert "did you mean 'Disk_Full'" in rejected[1] and "drive" in rejected[3]
        assert [record.verdict for record in server.log()] == [1, 0, 1]
        assert server.progress[Word.REJECTED] == 2
        await client.close()


async def test_an_oversized_event_is_recorded_with_its_first_kib_and_acknowledged(tmp_path: Path) -> None:
    async with receiver(tmp_path) as server:
        client = await Client.connect(server.port)
        await client.greet()
        client.send(event(1, msg="x" * 3000), event(2))
        acks = []
        while not acks or acks[-1].sequence < 2:
            acks.append(await client.answer())  # type: ignore[arg-type]
        assert "over the limit of 2048" in acks[0].rejected[0][1]
        payload = server.log()[0].payload
        assert len(payload) < 1400 and b"Disk_Full" in payload
        await client.close()


async def test_an_exception_on_one_frame_rejects_that_frame_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiver(tmp_path) as server:
        parse = server.intake.parser.parse

        def fails_once(data: bytes) -> Any:
            monkeypatch.setattr(server.intake.parser, "parse", parse)
            raise ZeroDivisionError

        monkeypatch.setattr(server.intake.parser, "parse", fails_once)
        client = await Client.connect(server.port)
        await client.greet()
        client.send(event(1))
        assert await client.answer() == Ack(1, ((1, "internal error: ZeroDivisionError"),))
        client.send(event(2))
        assert await client.answer() == Ack(2)
        await client.close()


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([declared().encode()], "the first frame of a connection is $HELLO"),
        ([Hello(A, 1).encode(), Hello(A, 1).encode()], "a client does not send Hello here"),
        ([Hello(A, 1).encode(), event(0)], "an event without a sequence number"),
        ([Hello(A, 1).encode(), event(1, file=9, end=3)], "file number 9 was not declared"),
        ([Hello(A, 1).encode(), b"not a frame" * 10], "not an EIF frame"),
        ([encode_frame(b"$HELLO;protocol=7;END\n\x01")], "protocol version 7 is not spoken here"),
    ],
)
async def test_a_protocol_error_is_answered_and_ends_the_connection(
    tmp_path: Path, frames: list[bytes], reason: str
) -> None:
    if frames[0] == declared().encode():
        frames = [frames[0].replace(b"$FILE", b"$HELLO;", 1)]  # looks like a greeting and is none
        reason = "slot"
    async with receiver(tmp_path) as server:
        client = await Client.connect(server.port)
        client.send(b"".join(frames))
        assert reason.encode() in await client.end()
        assert server.log() == []
        await client.close()


async def test_plain_events_are_recorded_and_nothing_comes_back(tmp_path: Path) -> None:
    async with receiver(tmp_path) as server:
        client = await Client.connect(server.port)
        client.send(event(0, hostname="one"), b"junk", event(5, hostname="two"))
        await until(lambda: len(server.log()) == 2)
        assert [slots["hostname"] for _, slots in server.told()] == ["one", "two"]
        assert {(record.sender, record.sequence) for record in server.log()} == {(bytes(16), 0)}
        client.send(b"j" * 70_000 + START)
        assert await client.end() == b""
        await client.close()


async def test_one_connection_too_many_is_told_to_come_again(tmp_path: Path) -> None:
    async with receiver(tmp_path, max_connections=1) as server:
        first = await Client.connect(server.port)
        await first.greet()
        assert server.progress[Word.CONNECTIONS] == 1
        second = await Client.connect(server.port)
        assert await second.answer() == Busy(1000)
        assert await second.end() == b""
        await first.close()
        await until(lambda: not server.progress[Word.CONNECTIONS])
        third = await Client.connect(server.port)
        assert isinstance(await third.greet(B), Welcome)
        for client in (second, third):
            await client.close()


async def test_nothing_is_acknowledged_or_published_once_the_epoch_is_superseded(tmp_path: Path) -> None:
    async with receiver(tmp_path) as server:
        client = await Client.connect(server.port)
        await client.greet()
        server.superseded = True
        published = server.progress[Word.DURABLE]
        client.send(event(1))
        with pytest.raises(EpochSuperseded):
            await asyncio.wait_for(asyncio.shield(server.running), 20)
        assert server.progress[Word.DURABLE] == published
        assert server.progress[Word.ACKED] == 0
        server.intake.close()
        assert await client.end() == b""
        await client.close()


async def test_a_greeting_alone_is_not_answered_by_a_superseded_server(tmp_path: Path) -> None:
    async with receiver(tmp_path) as server:
        server.superseded = True
        client = await Client.connect(server.port)
        client.send(Hello(A, 1))
        with pytest.raises(EpochSuperseded):
            await asyncio.wait_for(asyncio.shield(server.running), 20)
        server.intake.close()
        assert await client.end() == b""
        await client.close()


async def test_a_failed_fdatasync_acknowledges_nothing_and_cuts_the_segment_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiver(tmp_path) as server:
        client = await Client.connect(server.port)
        await client.greet()
        client.send(event(1))
        assert await client.answer() == Ack(1)
        monkeypatch.setattr(os, "fdatasync", _fails)
        client.send(event(2))
        with pytest.raises(LogWriteFailed, match=r"rx\.1\.0: Input/output error"):
            await asyncio.wait_for(asyncio.shield(server.running), 20)
        durable = server.writer.durable
        monkeypatch.undo()
        server.intake.close()
        assert await client.end() == b""
        await client.close()
    assert recover(tmp_path, UUID).end == durable == position_of(1, 0) + len(server.log()[0].payload) + 72


def _fails(*_: Any) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


async def test_a_full_disk_holds_the_sockets_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "_FULL_RETRY", 0.001)
    async with receiver(tmp_path, writer={"free_reserve": 1 << 60}) as server:
        client = await Client.connect(server.port)
        client.send(Hello(A, 1), event(1))
        await until(lambda: server.progress[Word.PAUSED])
        assert "free" in server.intake.held or "rx.1.0" in server.intake.held
        late = await Client.connect(server.port)
        late.send(Hello(B, 1))
        await until(lambda: len(server.connections) == 2 and server.connections[1]._transport)
        transport = server.connections[1]._transport
        assert transport is not None and not transport.is_reading()
        server.writer._free_reserve = 0
        assert await client.answer() == Welcome(1, 1, 16)
        server.intake.hold("")  # as housekeeping does
        assert not server.progress[Word.PAUSED]
        assert await late.answer() == Welcome(1, 0, 16)
        await client.close()
        await late.close()


async def test_too_many_bytes_on_the_way_to_the_disk_pause_the_sockets_for_a_moment(tmp_path: Path) -> None:
    async with receiver(tmp_path, backlog=1000) as server:
        client = await Client.connect(server.port)
        await client.greet()
        connection = server.connections[0]
        assert connection._transport is not None
        connection.data_received(b"".join(event(n, msg="x" * 500) for n in (1, 2, 3)))
        assert server.intake.paused and not connection._transport.is_reading()
        assert await client.answer() == Ack(3)
        assert not server.intake.paused and connection._transport.is_reading()
        await client.close()


async def test_who_does_not_take_his_answers_is_not_read(tmp_path: Path) -> None:
    async with receiver(tmp_path) as server:
        client = await Client.connect(server.port)
        await client.greet()
        connection = server.connections[0]
        transport = connection._transport
        assert transport is not None
        transport.set_write_buffer_limits(high=100_000)
        transport.write(Error("x" * 500).encode() * 20_000)  # more than the kernel's buffers hold
        assert not transport.is_reading()
        server.intake.hold("a test")
        server.intake.hold("")
        assert not transport.is_reading(), "the log has room, the sender has still not read"
        while not transport.is_reading():
            await client.answer()
        await client.close()


async def test_durable_waits_for_everything_that_was_added_before(tmp_path: Path) -> None:
    async with receiver(tmp_path) as server:
        seen: list[int] = []
        server.intake.published = seen.append
        position = server.intake.add(Kind.TICK)
        end = await server.intake.durable()
        assert end > position and server.progress[Word.DURABLE] == end and seen == [end]
        assert await server.intake.durable() == end


async def test_a_record_added_while_the_disk_is_busy_belongs_to_the_next_group(tmp_path: Path) -> None:
    server = Receiver(tmp_path)
    server.intake.add(Kind.TICK)
    first = asyncio.ensure_future(server.intake.commit())
    waiting = asyncio.ensure_future(server.intake.durable())
    await asyncio.sleep(0)  # the commit has taken its group and waits for the disk
    later = server.intake.add(Kind.TICK)
    waiting_later = asyncio.ensure_future(server.intake.durable())
    await first
    assert await waiting <= later
    assert not waiting_later.done()
    await server.intake.commit()
    assert await waiting_later > later
    server.intake.close()


async def test_who_sends_nothing_for_long_makes_room(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with receiver(tmp_path) as server:
        idle, busy = await Client.connect(server.port), await Client.connect(server.port)
        await idle.greet()
        await busy.greet(B)
        await until(lambda: len(server.connections) == 2)
        quiet = next(one for one in server.connections if one.sender == A)
        quiet.heard -= 61_000_000
        assert server.intake.close_idle(90) == 0
        server.intake.hold("the disk is full")
        assert server.intake.close_idle(60) == 0, "it is the server that does not listen"
        server.intake.hold("")
        assert server.intake.close_idle(60) == 1
        assert await idle.end() == b""
        assert "it sent nothing for 60 s" in caplog.text
        busy.send(event(1))
        assert await busy.answer() == Ack(1)
        await idle.close()
        await busy.close()


async def test_who_is_not_acknowledged_keeps_its_connection_while_there_is_room(tmp_path: Path) -> None:
    """The first event behind the close would be lost, since such a sender hears of it too late."""
    async with receiver(tmp_path) as server:
        plain = await Client.connect(server.port)
        await until(lambda: len(server.connections) == 1)
        (connection,) = server.connections
        connection.heard -= 100_000_000
        assert server.intake.close_idle(60) == 0
        server.intake._max_connections = 1
        assert server.intake.close_idle(60) == 1
        await plain.close()


async def test_who_does_not_take_its_answers_is_not_idle(tmp_path: Path) -> None:
    async with receiver(tmp_path) as server:
        client = await Client.connect(server.port)
        await client.greet()
        (connection,) = server.connections
        connection.pause_writing()
        connection.heard -= 100_000_000
        server.intake.close_idle(60)
        connection.resume_writing()
        client.send(event(1))
        assert await client.answer() == Ack(1)
        await client.close()


async def test_the_page_says_how_long_the_disk_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now, took = 5_000_000, 0

    def write(chunks: Any) -> int:
        nonlocal now
        assert server.progress[Word.SYNC_SINCE] == now
        now += took
        return written(chunks)

    monkeypatch.setattr(intake_module, "boot_us", lambda: now)
    async with receiver(tmp_path) as server:
        written = server.writer.write
        monkeypatch.setattr(server.writer, "write", write)
        for took in (1_000_000, 1_000_001):
            server.intake.add(Kind.TICK)
            await server.intake.durable()
            assert server.progress[Word.SYNC_SINCE] == 0 and server.progress[Word.SYNC_LAST] == took
            assert server.progress[Word.SLOW_SYNC] == (took if took > 1_000_000 else 0)
        assert server.progress[Word.SLOW_SYNC_AT] == now
        assert caplog.text.count("the disk took 1.00 s to make records durable") == 1
