"""The reception process in this process: its first records, its control socket, time and space."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from opentec.eif.control import Ack, Welcome
from opentec.events.errors import EventRejected
from opentec.events.records import Kind, decode_activate, decode_change, decode_quarantine, name_of, position_of
from opentec.log.segments import recover, segment_paths
from opentec.log.store import LogDirectory
from opentec.log.writer import open_writer
from opentec.server import reception as module
from opentec.server.child import Context, Demote, Fatal
from opentec.server.errors import Refused
from opentec.server.instance import Instance
from opentec.server.progress import Word
from opentec.server.reception import Reception, user_name
from opentec.server.rpc import Peer, RpcClient
from tests.server.kit import UUID, Client, event, log_of, make_context, told, until, with_config


@contextlib.asynccontextmanager
async def running(context: Context) -> AsyncIterator[Reception]:
    """A reception process that has opened its port, and its end."""
    process = Reception(context)
    task = asyncio.ensure_future(process.run())
    await until(lambda: context.progress[Word.READY_RECEPTION] or task.done())
    try:
        if task.done():
            task.result()
        yield process
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        process._rpc.close()
        if process._server is not None:
            process._server.close()
        process._intake.close()


@contextlib.asynccontextmanager
async def asking(context: Context) -> AsyncIterator[RpcClient]:
    client = await RpcClient.connect(context.runtime / "reception.sock")
    try:
        yield client
    finally:
        client.close()


def records(context: Context) -> list[Any]:
    return [told(record) for record in log_of(context.instance.rx, context.progress[Word.DURABLE])]


def port(context: Context) -> int:
    return context.config.nodes["black"].port


async def test_the_notice_comes_first_then_the_rule_base_then_the_port(context: Context) -> None:
    context.notices = [("TEC_Error", {"msg": "accepted a gap"}), ("No_Such_Class", {"msg": "is only logged"})]
    async with running(context):
        start, activate, error = records(context)
        assert start[0] == "TEC_Start" and start[1]["hostname"] == "tec"
        assert activate == "ACTIVATE" and error[0] == "TEC_Error"
        (record,) = [item for item in log_of(context.instance.rx, context.progress[Word.DURABLE]) if item.kind == 3]
        assert decode_activate(record.payload).rule_base == context.rule_base.content_hash
        client = await Client.connect(port(context))
        assert await client.greet() == Welcome(1, 0, 256)
        client.send(event(1))
        assert await client.answer() == Ack(1)
        await client.close()


async def test_a_restart_within_the_epoch_repeats_neither_notice_nor_activation(context: Context) -> None:
    async with running(context):
        before = records(context)
    context.progress.ready(0, False)
    async with running(context):
        assert records(context) == [*before, "TICK"]
        assert len(segment_paths(context.instance.rx)) == 2


async def test_killed_between_the_first_segment_and_its_first_record_the_notice_is_still_posted(
    context: Context,
) -> None:
    rx = context.instance.rx
    writer = open_writer(rx, UUID, 1, recover(rx, UUID))
    chunk = writer.take() or writer._chunks  # the segment is made, and not one record is in it
    writer._make_segment(chunk[0])
    writer.close()
    async with running(context):
        assert [item if isinstance(item, str) else item[0] for item in records(context)] == ["TEC_Start", "ACTIVATE"]


async def test_another_epoch_s_draft_of_a_segment_is_left_alone(context: Context) -> None:
    mine, later, odd = (context.instance.rx / f"rx.{name}.tmp" for name in ("1.0", "2.0", "x"))
    for path in (mine, later, odd):
        path.touch()
    async with running(context):
        assert not mine.exists() and later.exists() and odd.exists()


async def test_a_log_of_a_later_epoch_is_fatal(instance: Instance) -> None:
    late = make_context(instance, 2)
    async with running(late):
        pass
    with pytest.raises(Fatal, match="the log has records of epoch 2, this is epoch 1"):
        Reception(make_context(instance, 1))


async def test_a_rule_base_without_the_start_notice_s_class_is_fatal(context: Context) -> None:
    context.takeover = {"class": "TEC_Strat", "msg": "x"}
    with pytest.raises(Fatal, match="does not know TEC_Strat as the server posts it.*TEC_Start"):
        async with running(context):
            pass


async def test_a_port_that_is_taken_is_fatal_and_names_the_key(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PORT_TRIES", 1)
    other = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", port(context))
    with pytest.raises(Fatal, match=rf"cannot listen on 127.0.0.1:{port(context)}.*\[nodes.black\] listen"):
        async with running(context):
            pass
    other.close()


async def test_a_disk_that_fails_gives_the_node_away(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fails)
    with pytest.raises(Demote, match="Input/output error"):
        async with running(context):
            pass


@pytest.mark.parametrize(("number", "gives_way"), [(5, True), (30, True), (13, False)])
async def test_a_log_that_cannot_be_recovered(
    context: Context, monkeypatch: pytest.MonkeyPatch, number: int, gives_way: bool
) -> None:
    """Starting reception again would not help, and meanwhile the standby waits for the lease."""

    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(LogDirectory, "recover", fails)
    with pytest.raises(Demote if gives_way else OSError, match=os.strerror(number)):
        await module.main(context)


async def test_a_disk_that_fails_later_gives_the_node_away(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    process = Reception(context)
    task = asyncio.ensure_future(process.run())
    await until(lambda: context.progress[Word.READY_RECEPTION])
    monkeypatch.setattr(os, "fdatasync", fails)
    process._intake.add(Kind.TICK)
    with pytest.raises(Demote, match="Input/output error"):
        await asyncio.wait_for(task, 20)
    process._rpc.close()
    assert process._server is not None
    process._server.close()
    process._intake.close()


async def test_a_change_is_durable_when_it_is_answered_and_bears_the_socket_s_user(context: Context) -> None:
    async with running(context), asking(context) as client:
        position = await client.call("change", {"event": [1, 2, 1], "slots": {"status": "ACK"}, "user": "mallory"})
        (record,) = [item for item in log_of(context.instance.rx, context.progress[Word.DURABLE]) if item.kind == 2]
        assert record.position == position
        change = decode_change(record.payload)
        assert (change.event, change.slots, change.user) == ((1, 2, 1), {"status": "ACK"}, user_name(os.getuid()))


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ({"event": [1, 2, 1], "slots": {"msg": "x"}}, "sets status or severity, not msg"),
        ({"event": [1, 2, 1], "slots": {}}, "not nothing"),
        ({"event": [1, 2, 1], "slots": {"status": "AKC"}}, "ACK"),
        ({"event": [1, 2], "slots": {"status": "ACK"}}, "names an event by three numbers"),
        ({"slots": {"status": "ACK"}}, "names an event by three numbers"),
        (None, "names an event by three numbers"),
        ({"event": ["a", 2, 3], "slots": {"status": "ACK"}}, "names an event by three numbers"),
        ({"event": [1 << 63, 1, 1], "slots": {"status": "ACK"}}, "there is no event 9223372036854775808.1"),
        ({"event": ["9" * 300, 1, 1], "slots": {"status": "ACK"}}, "there is no event 9999"),
        ({"event": [1, -1, 1], "slots": {"status": "ACK"}}, "there is no event 1.-1"),
    ],
)
async def test_a_wrong_change_is_refused_and_the_process_goes_on(context: Context, argument: Any, reason: str) -> None:
    async with running(context), asking(context) as client:
        with pytest.raises(Refused, match=reason):
            await client.call("change", argument)
        assert isinstance(await client.call("follow"), int)


async def test_the_rule_process_is_told_when_the_log_has_grown(context: Context) -> None:
    async with running(context) as process, asking(context) as client:
        said: list[Any] = []
        client.pushed = lambda name, argument: said.append((name, argument))
        assert await client.call("follow") == context.progress[Word.DURABLE]
        await client.call("notice", ["TEC_Notice", {"msg": "hello"}])
        await until(lambda: said)
        assert said == [("published", context.progress[Word.DURABLE])]
        with pytest.raises(Refused, match="TEC_Notcie"):
            await client.call("notice", ["TEC_Notcie", {}])
        with pytest.raises(Refused, match="no operation 'jump'"):
            await client.call("jump")
        client.close()
        await until(lambda: process._rule is None)


async def test_a_quarantine_is_durable_when_it_is_answered(context: Context) -> None:
    async with running(context), asking(context) as client:
        end = await client.call("quarantine", [position_of(1, 0), "poison"])
        assert end == context.progress[Word.DURABLE]
        record, notice = log_of(context.instance.rx, end)[-2:]
        assert decode_quarantine(record.payload).position == position_of(1, 0)
        assert notice.kind == Kind.NOTICE
        assert b"the record at rx:1:0 is set aside: poison; tec why rx:1:0 shows it" in notice.payload


async def test_a_notice_that_is_set_aside_itself_is_not_told_again(context: Context) -> None:
    async with running(context), asking(context) as client:
        await client.call("quarantine", [position_of(1, 0), "poison"])
        notice = log_of(context.instance.rx, context.progress[Word.DURABLE])[-1]
        end = await client.call("quarantine", [notice.position, "poison"])
        assert log_of(context.instance.rx, end)[-1].kind == Kind.QUARANTINE


async def test_only_the_server_s_own_processes_may_follow_or_quarantine(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(context), asking(context) as client:
        monkeypatch.setattr(Peer, "is_own", property(lambda peer: False))
        for operation in ("follow", "quarantine", "notice", "damaged"):
            with pytest.raises(Refused, match="between the processes"):
                await client.call(operation, [0, ""])
        assert await client.call("change", {"event": [1, 2, 1], "slots": {"status": "ACK"}})


async def test_a_tick_when_a_timer_is_due_and_no_record_comes(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TICK_SHORTEST", 0.001)
    async with running(context) as process:
        writer, progress = process._intake.writer, context.progress
        progress[Word.DUE] = writer.time + 1
        await until(lambda: writer.time > progress[Word.DUE] - 1 and records(context)[-1] == "TICK")
        count = len(records(context))
        # processed, and the timer is still there: the last record was skipped
        progress[Word.PROCESSED] = writer.end
        await until(lambda: len(records(context)) > count)
        progress[Word.DUE] = 0


async def test_the_log_s_limit_and_the_disk_hold_the_sockets(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HOUSEKEEPING", 0.001)
    with_config(context, "rx", limit=1)
    async with running(context) as process:
        await until(lambda: context.progress[Word.PAUSED])
        assert "rx.limit" in process._intake.held
        process._config = context.config.rx.model_copy(update={"limit": 1 << 40})
        await until(lambda: not context.progress[Word.PAUSED])
        process._reserve = 1 << 60
        await until(lambda: "rx.free_percent" in process._intake.held)
        assert process._intake.held.startswith(f"{context.instance.rx}: the disk has ")
        assert f" free and {(1 << 40) + 16} MiB are needed: rx.free_percent (5 %, " in process._intake.held
        told, size = process._intake.held, context.progress[Word.RX_BYTES]
        monkeypatch.setattr(type(process._log), "disk", lambda self: (1 << 40, 12345678))
        context.progress[Word.RX_BYTES] = 0
        await until(lambda: context.progress[Word.RX_BYTES] == size)
        context.progress[Word.RX_BYTES] = 0
        await until(lambda: context.progress[Word.RX_BYTES] == size)
        assert process._intake.held == told, "told once, though what is free changes"
        assert context.progress[Word.RX_BYTES] > 0


async def test_retention_deletes_committed_segments_only_and_keeps_the_last_two(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HOUSEKEEPING", 0.001)
    with_config(context, "rx", segment_size=64 << 10, retain_size=1)
    async with running(context) as process:
        rx, intake = context.instance.rx, process._intake
        for number in range(5):
            intake.add_notice("TEC_Notice", {"msg": str(number) + "x" * 40_000})
            await intake.durable()
        (rx / "rx.1.0.bad").write_text("7")
        await until(lambda: context.progress[Word.OLDEST])
        assert len(segment_paths(rx)) == 5, "nothing is committed"
        third = log_of(rx, context.progress[Word.DURABLE])[4]
        context.progress[Word.COMMITTED] = third.position  # in the middle of the log
        await until(lambda: context.progress[Word.OLDEST] > position_of(1, 0))
        assert log_of(rx, context.progress[Word.DURABLE], third.position)[0].position == third.position
        assert not (rx / "rx.1.0").exists() and not (rx / "rx.1.0.bad").exists()
        context.progress[Word.COMMITTED] = context.progress[Word.DURABLE]
        await until(lambda: len(segment_paths(rx)) == 2)
        intake.add_notice("TEC_Notice", {"msg": "x" * 60_000})
        await intake.durable()  # a new segment does not seal what was deleted
        recovered = recover(rx, UUID)
        assert [segment.number for segment in recovered.segments] == sorted(
            int(path.name.rsplit(".", 1)[1]) for path in segment_paths(rx)
        )


async def test_retention_by_age(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HOUSEKEEPING", 0.001)
    with_config(context, "rx", segment_size=64 << 10)
    async with running(context) as process:
        rx, intake = context.instance.rx, process._intake
        for number in range(4):
            intake.add_notice("TEC_Notice", {"msg": str(number) + "x" * 40_000})
            await intake.durable()
        context.progress[Word.COMMITTED] = context.progress[Word.DURABLE]
        await until(lambda: context.progress[Word.OLDEST])
        assert len(segment_paths(rx)) == 4, "seven days have not passed"
        for path in segment_paths(rx)[:2]:
            os.utime(path, (0, 0))
        await until(lambda: len(segment_paths(rx)) == 3)


def test_users_without_a_name_are_numbers() -> None:
    assert user_name(0) == "root"
    assert user_name(4_000_000_000) == "4000000000"


async def test_an_unfinished_tail_is_discarded_and_said(context: Context, caplog: pytest.LogCaptureFixture) -> None:
    async with running(context):
        end = context.progress[Word.DURABLE]
    (path,) = segment_paths(context.instance.rx)
    _tear(path, context)
    context.progress.ready(0, False)
    async with running(context):
        said = f"40 bytes at the end of the log, from {name_of(end)} on, are discarded: a write that was cut short, or"
        assert f"{said} damage of the last record" in caplog.text
        assert log_of(context.instance.rx, end) == log_of(context.instance.rx, context.progress[Word.DURABLE])[:-1]


def _tear(path: Path, context: Context) -> None:
    from opentec.log.segments import read_preamble

    at = read_preamble(path).records_at + context.progress[Word.DURABLE] - position_of(1, 0)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\x07" * 40)


async def test_a_damaged_head_is_told_by_one_event_whoever_finds_it_again(context: Context) -> None:
    async with running(context):
        pass
    (path,) = segment_paths(context.instance.rx)
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    sentence = "segment rx.1.0: one copy of its preamble is damaged, the other is used"

    def errors() -> list[dict[str, Any]]:
        return [item[1] for item in records(context) if item[0] == "TEC_Error"]

    for _ in range(3):
        context.progress.ready(0, False)
        async with running(context) as process:
            await until(lambda: errors() and not process._damage._posted and sentence in process._damage._told)
            await process._intake.durable()
            (told,) = errors()
            assert told["msg"] == sentence and told["severity"] == "CRITICAL"


async def test_a_rule_base_without_the_class_for_errors_costs_the_event_only(
    context: Context, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(context) as process, asking(context) as client:

        def unknown(*_: object) -> int:
            raise EventRejected("no class TEC_Error")

        monkeypatch.setattr(process._intake, "add_notice", unknown)
        await client.call("damaged", [position_of(1, 72)])
        assert "it would have said: the record at rx:1:72 (segment rx.1.0, byte " in caplog.text
        end = await client.call("quarantine", [position_of(1, 0), "poison"])
        assert log_of(context.instance.rx, end)[-1].kind == Kind.QUARANTINE
