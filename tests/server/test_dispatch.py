"""Dispatch with a real SQLite repository in this process: batches, fencing of connections, trouble, questions."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from opentec.events.image import COLUMNS, EventRow
from opentec.events.records import Kind, position_of
from opentec.ha import epochs
from opentec.ha.errors import FenceFailed
from opentec.ha.fence import Fenced
from opentec.log.segments import recover
from opentec.log.writer import open_writer
from opentec.rim.batch import Batch, OutboxRow, OutcomeRow
from opentec.rim.errors import RepositoryLocked, RepositoryUnavailable, Superseded
from opentec.rim.repository import Repository
from opentec.server import dispatch as module
from opentec.server import fencing
from opentec.server.child import Context, Fatal
from opentec.server.dispatch import Dispatch
from opentec.server.errors import Refused
from opentec.server.instance import Instance
from opentec.server.progress import Word
from opentec.server.rpc import Peer, RpcClient
from tests.rim.rows import row
from tests.server.kit import UUID, Node, make_context, make_repository, until, with_config

OUTCOME = OutcomeRow(100, 1, 1, 1772352000, 1)


@contextlib.asynccontextmanager
async def dispatching(context: Context, *, repository: bool = True) -> AsyncIterator[Node]:
    if repository:
        await make_repository(context.instance, context.config)
    node = Node(context)
    node.start("dispatch")
    try:
        await node.ready("dispatch")
        yield node
    finally:
        await node.kill()


@contextlib.asynccontextmanager
async def rule_process(context: Context) -> AsyncIterator[tuple[RpcClient, dict[str, Any]]]:
    client = await RpcClient.connect(context.runtime / "dispatch.sock")
    try:
        yield client, await client.call("rule-hello")
    finally:
        client.close()


def encoded(batch: Batch) -> bytes:
    return msgspec.msgpack.encode(batch)


def storing(*eids: int, before: int, after: int) -> bytes:
    return encoded(Batch(before, after, inserts=[row(eid) for eid in eids]))


async def test_a_batch_is_answered_with_the_new_position_and_can_be_asked_for(context: Context) -> None:
    async with dispatching(context) as tec, rule_process(context) as (client, hello):
        assert hello == {"connection": 1, "position": 0, "interrupted": []}
        asked = asyncio.ensure_future(tec.ask("dispatch", "verdict", [100, 20]))
        batch = Batch(0, 200, inserts=[row(1)], outcomes=[OUTCOME])
        assert await client.call("batch", encoded(batch)) == 200
        assert tec.progress[Word.COMMITTED] == 200
        assert (await asked)[:3] == [100, 1, 1]
        assert await tec.ask("dispatch", "verdict", [200, 0]) is None
        assert (await tec.ask("dispatch", "event", [1772352000, 1, 1]))[0] == 1
        why = await tec.ask("dispatch", "why", [1772352000, 1, 1])
        assert why["event"][0] == 1 and await tec.ask("dispatch", "why", [1, 1, 1]) is None
        assert await tec.ask("dispatch", "integrity") == []
        assert await tec.ask("dispatch", "columns") == list(COLUMNS)


async def test_what_an_older_connection_sends_is_refused(context: Context) -> None:
    async with dispatching(context), rule_process(context) as (old, _), rule_process(context) as (new, hello):
        assert hello["connection"] == 2
        with pytest.raises(Refused, match="a newer connection of the rule process has taken over"):
            await old.call("batch", storing(1, before=0, after=100))
        assert await new.call("batch", storing(1, before=0, after=100)) == 100


async def test_a_batch_that_does_not_begin_where_the_repository_stands_is_refused(context: Context) -> None:
    async with dispatching(context), rule_process(context) as (client, _):
        said: list[Any] = []
        client.pushed = lambda name, argument: said.append(name)
        with pytest.raises(Refused, match="the batch begins at rx:0:50, the repository stands at rx:0:0"):
            await client.call("batch", storing(1, before=50, after=100))
        assert said == [], "no record is to blame"


async def test_a_row_that_the_database_refuses_is_named_before_the_answer(context: Context) -> None:
    async with dispatching(context), rule_process(context) as (client, _):
        said: list[Any] = []
        client.pushed = lambda name, argument: said.append((name, argument[0]))
        with pytest.raises(Refused, match="the repository refuses inserts"):
            await client.call("batch", storing(1, 1, before=0, after=200))
        assert said == [("refused", 100)]
        assert (await client.call("rule-hello"))["position"] == 0


async def test_a_hello_waits_for_the_commit_under_way_though_its_sender_is_dead(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, begun = asyncio.Event(), asyncio.Event()
    commit = Repository._commit

    async def slow(repository: Repository, batch: Batch, epoch: int) -> None:
        begun.set()
        await gate.wait()
        await commit(repository, batch, epoch)

    monkeypatch.setattr(Repository, "_commit", slow)
    async with dispatching(context) as tec:
        async with rule_process(context) as (dying, _):
            sent = dying.start("batch", storing(1, before=0, after=100))
            await begun.wait()
        await asyncio.gather(sent, return_exceptions=True)
        await until(lambda: tec.processes["dispatch"].peers[0].closed)
        successor = asyncio.ensure_future(tec.ask("dispatch", "rule-hello"))
        await until(lambda: len(tec.processes["dispatch"].peers) == 2)
        gate.set()
        assert (await successor)["position"] == 100
        assert tec.progress[Word.COMMITTED] == 100


async def test_an_away_repository_is_waited_for_and_status_can_see_it(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY", 0.001)
    async with dispatching(context) as tec, rule_process(context) as (client, _):
        away = True
        commit, timers = Repository._commit, Repository.timers

        async def fails(repository: Repository, batch: Batch, epoch: int) -> None:
            if away:
                raise RepositoryUnavailable("disk I/O error")
            await commit(repository, batch, epoch)

        async def fails_too(repository: Repository, after: int) -> Any:
            if away:
                raise RepositoryUnavailable("disk I/O error")
            return await timers(repository, after)

        monkeypatch.setattr(Repository, "_commit", fails)
        monkeypatch.setattr(Repository, "timers", fails_too)
        written = client.start("batch", storing(1, before=0, after=100))
        primed = client.start("prime-timers", 0)
        await until(lambda: tec.progress[Word.REPOSITORY_ERROR_SINCE])
        away = False
        assert await written == 100 and await primed == []
        assert not tec.progress[Word.REPOSITORY_ERROR_SINCE]


@pytest.mark.parametrize("found", [Fenced.KILLED, Fenced.GONE, FenceFailed("it is stuck"), FileNotFoundError()])
async def test_a_locked_repository_is_a_stale_writer_to_end(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, found: Any
) -> None:
    monkeypatch.setattr(module, "_RETRY", 0.001)
    context = make_context(instance, 3)
    killed: list[int] = []

    def kill(holder: epochs.EpochFile) -> Fenced:
        killed.append(holder.number)
        if isinstance(found, BaseException):
            raise found
        return found  # type: ignore[no-any-return]

    locked = 1

    async def claim(repository: Repository, epoch: int) -> int:
        nonlocal locked
        if locked:
            locked -= 1
            raise RepositoryLocked("database is locked")
        return 0

    held = os.open(epochs.path_of(instance.ha, 2), os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    monkeypatch.setattr(fencing, "kill_stale", kill)
    monkeypatch.setattr(Repository, "claim", claim)
    await make_repository(instance, context.config)
    tec = Node(context)
    tec.start("dispatch")
    await until(lambda: killed and not locked)
    await until(lambda: tec.ended() or context.progress[Word.READY_DISPATCH])
    assert killed == [2]
    assert ("was killed" in caplog.text) == (found is Fenced.KILLED)
    await tec.kill()
    os.close(held)


async def test_a_long_clean_up_is_no_long_transaction(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would turn `tec status` red, and keep systemd's watchdog from its sign of life."""
    now, since = 1_000_000, []
    monkeypatch.setattr(module, "_PRUNE", 0.001)
    monkeypatch.setattr(module, "_PROBE", 3600.0)
    monkeypatch.setattr(module, "boot_us", lambda: now)

    async def step(repository: Repository, before: int, epoch: int) -> bool:
        nonlocal now
        now += 5_000_000
        since.append(now - context.progress[Word.TRANSACTION_SINCE])
        await asyncio.sleep(0)
        return len(since) < 4

    async def nothing(repository: Repository, context: Context) -> list[str]:
        return []

    monkeypatch.setattr(module.outbox, "keep_house", nothing)
    monkeypatch.setattr(Repository, "prune_step", step)
    async with dispatching(context):
        context.progress[Word.OLDEST] = 7
        await until(lambda: len(since) == 4)
    assert since == [5_000_000] * 4


async def test_the_repository_is_asked_while_nothing_is_to_be_written(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PROBE", 0.001)
    monkeypatch.setattr(module, "_RETRY", 0.001)
    away = False
    check = Repository.check

    async def checked(repository: Repository, epoch: int) -> None:
        if away:
            raise RepositoryUnavailable("disk I/O error")
        await check(repository, epoch)

    monkeypatch.setattr(Repository, "check", checked)
    async with dispatching(context) as tec:
        away = True
        await until(lambda: tec.progress[Word.REPOSITORY_ERROR_SINCE])
        away = False
        await until(lambda: not tec.progress[Word.REPOSITORY_ERROR_SINCE])
        await until(lambda: not tec.progress[Word.TRANSACTION_SINCE])


async def test_the_page_says_since_when_a_transaction_is_under_way(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()
    commit = Repository._commit

    async def slow(repository: Repository, batch: Batch, epoch: int) -> None:
        await gate.wait()
        await commit(repository, batch, epoch)

    monkeypatch.setattr(Repository, "_commit", slow)
    async with dispatching(context) as tec, rule_process(context) as (client, _):
        await until(lambda: not tec.progress[Word.TRANSACTION_SINCE])
        sent = client.start("batch", storing(1, before=0, after=100))
        await until(lambda: tec.progress[Word.TRANSACTION_SINCE])
        gate.set()
        assert await sent == 100
        await until(lambda: not tec.progress[Word.TRANSACTION_SINCE])


async def test_a_superseded_dispatch_ends(context: Context) -> None:
    async with dispatching(context) as tec, rule_process(context) as (client, _):
        await tec.work("dispatch")._repository.claim(2)
        sent = client.start("batch", storing(1, before=0, after=100))
        with pytest.raises(Superseded):
            await asyncio.wait_for(asyncio.shield(tec.processes["dispatch"].task), 20)
        client.close()
        await asyncio.gather(sent, return_exceptions=True)


async def test_another_server_s_repository_is_fatal(context: Context) -> None:
    await make_repository(context.instance, context.config)
    (context.instance.directory / "instance").write_text("f" * 32)
    with pytest.raises(Fatal, match="instance"):
        await Dispatch(context).run()


@pytest.mark.parametrize(
    ("operation", "argument", "reason"),
    [
        ("jump", None, "no operation 'jump'"),
        ("list", {"classes": ["Disk_Ful"]}, "did you mean 'Disk_Full'"),
        ("list", {"since": 2**63}, "too large"),
        ("list", 7, "cannot be answered"),
        ("event", [1, 2], "cannot be answered"),
        ("why", ["x"], "cannot be answered"),
        ("log", [1 << 50, 5, 6], "cannot be answered"),
        ("verdict", None, "cannot be answered"),
        ("verdict", ["x", 1], "cannot be answered"),
        ("task-run", 5, "needs id, task, arguments and event"),
    ],
)
async def test_a_wrong_question_is_refused_and_dispatch_goes_on(
    context: Context, operation: str, argument: Any, reason: str
) -> None:
    async with dispatching(context) as tec:
        with pytest.raises(Refused, match=reason):
            await tec.ask("dispatch", operation, argument)
        assert await tec.ask("dispatch", "list", {}) == []


async def test_a_key_that_no_event_has_is_no_error(context: Context) -> None:
    """It stands in the log, since an operator asked for it: nobody may die of it each time it is read."""
    async with dispatching(context) as tec:
        for key in ([1 << 63, 1, 1], [1, (1 << 64) - 1, 1], [1, 1, 1]):
            assert await tec.ask("dispatch", "event-row", key) is None


async def test_a_question_while_the_repository_is_away_is_refused(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> Any:
        raise RepositoryUnavailable("disk I/O error")

    async with dispatching(context) as tec:
        monkeypatch.setattr(Repository, "counts", away)
        monkeypatch.setattr(Repository, "outcome", away)
        for operation, argument in (("counts", None), ("verdict", [-1, 0])):
            with pytest.raises(Refused, match="does not answer: disk I/O error"):
                await tec.ask("dispatch", operation, argument)


async def test_only_the_server_s_own_processes_may_write(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dispatching(context) as tec:
        monkeypatch.setattr(Peer, "is_own", property(lambda peer: False))
        for operation in module._INTERNAL:
            with pytest.raises(Refused, match="between the processes"):
                await tec.ask("dispatch", operation)
        assert await tec.ask("dispatch", "list", {}) == []


async def test_a_verdict_is_not_waited_for_when_nobody_listens(context: Context) -> None:
    async with dispatching(context) as tec:
        client = await RpcClient.connect(context.runtime / "dispatch.sock")
        asked = client.start("verdict", [100, 3600])
        await until(lambda: tec.work("dispatch")._rpc._running)
        client.close()
        await asyncio.gather(asked, return_exceptions=True)
        moved = tec.work("dispatch")._moved
        await until(lambda: tec.processes["dispatch"].peers[0].closed)
        async with moved:
            moved.notify_all()
        await until(lambda: not tec.work("dispatch")._rpc._running)


def room(limit: int) -> dict[str, Any]:
    return {"limit": limit, "forwards": False, "room": {}}


async def test_a_program_is_claimed_once_and_its_end_recorded(context: Context) -> None:
    async with dispatching(context) as tec, rule_process(context) as (rule, _):
        task = await RpcClient.connect(context.runtime / "dispatch.sock")
        woken = asyncio.Event()
        task.pushed = lambda name, argument: woken.set()
        assert await task.call("task-hello") == []
        outbox = [OutboxRow(name, 100, None, "program", "{}") for name in ("p1", "p2")]
        await rule.call("batch", encoded(Batch(0, 200, outbox=outbox)))
        await asyncio.wait_for(woken.wait(), 20)
        assert [item[0] for item in await task.call("task-claim", room(1))] == ["p1"]
        assert [item[0] for item in await task.call("task-claim", room(5))] == ["p2"]
        assert await task.call("task-claim", room(5)) == []
        done = {"id": "p1", "exit_status": 0, "output": "x", "done": True}
        assert await task.call("task-finish", done) is True
        assert [item[0] for item in await task.call("task-hello")] == ["p2"], "its process was started again"
        task.close()
        await until(lambda: tec.work("dispatch")._task is None)
        await rule.call("batch", encoded(Batch(200, 300, outbox=[OutboxRow("p3", 200, None, "program", "{}")])))


async def test_what_a_task_process_claims_while_it_is_replaced_is_interrupted(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody runs it, and nobody says so, until the next one starts."""
    async with dispatching(context) as tec, rule_process(context) as (rule, _):
        dispatch = tec.work("dispatch")
        old = await RpcClient.connect(context.runtime / "dispatch.sock")
        await old.call("task-hello")
        before = dispatch._task
        await rule.call("batch", encoded(Batch(0, 200, outbox=[OutboxRow("p1", 100, None, "program", "{}")])))
        locked, claim = asyncio.Event(), dispatch._repository.claim_outbox

        async def slow(*arguments: Any, **options: Any) -> Any:
            await locked.wait()
            return await claim(*arguments, **options)

        monkeypatch.setattr(dispatch._repository, "claim_outbox", slow)
        claiming = asyncio.ensure_future(old.call("task-claim", room(1)))
        await until(lambda: dispatch._claims.locked())
        new = await RpcClient.connect(context.runtime / "dispatch.sock")
        greeting = asyncio.ensure_future(new.call("task-hello"))
        await until(lambda: dispatch._task is not before)
        locked.set()
        assert [item[0] for item in await claiming] == ["p1"]
        assert [item[0] for item in await greeting] == ["p1"]
        old.close()
        new.close()


async def test_programs_of_a_dispatch_that_died_are_interrupted(context: Context) -> None:
    async with dispatching(context) as tec:
        async with rule_process(context) as (rule, _):
            await rule.call("batch", encoded(Batch(0, 200, outbox=[OutboxRow("p1", 100, None, "program", "{}")])))
        task = await RpcClient.connect(context.runtime / "dispatch.sock")
        await task.call("task-hello")
        assert len(await task.call("task-claim", room(1))) == 1
        task.close()
        await tec.kill("dispatch")
        tec.start("dispatch")
        await tec.ready("dispatch")
        async with rule_process(context) as (_, hello):
            assert hello["interrupted"] == ["p1"] and hello["position"] == 200
        assert tec.progress[Word.COMMITTED] == 200


async def test_outcomes_go_with_the_segments_that_held_their_records(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PRUNE", 0.001)
    async with dispatching(context) as tec, rule_process(context) as (client, _):
        outcomes = [OutcomeRow(position, 1) for position in (100, 150)]
        await client.call("batch", encoded(Batch(0, 200, outcomes=outcomes)))
        tec.progress[Word.OLDEST] = 150
        repository = tec.work("dispatch")._repository
        async with asyncio.timeout(20):
            while await repository.outcome(100) is not None:
                await asyncio.sleep(0.001)
        assert await repository.outcome(150) is not None


def segment(directory: Path, epoch: int, count: int) -> int:
    writer = open_writer(directory, UUID, epoch, recover(directory, UUID))
    for number in range(count):
        writer.add(Kind.TICK, number)
    end = writer.write(writer.take())
    writer.close()
    return end


async def test_an_accepted_gap_is_skipped_to_where_the_log_begins_and_only_once(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = make_context(instance, 3, skip_to_log=True)
    monkeypatch.setattr(module, "_RETRY", 0.001)
    await make_repository(instance, context.config)
    tec = Node(context)
    tec.start("dispatch")  # there is no segment at all yet
    await until(lambda: tec.work("dispatch")._repository if hasattr(tec.work("dispatch"), "_repository") else None)
    segment(instance.rx, 2, 3)
    segment(instance.rx, 3, 1)
    await tec.ready("dispatch")
    assert tec.progress[Word.COMMITTED] == position_of(2, 0)
    await tec.kill("dispatch")
    tec.start("dispatch")  # what the log holds must not be skipped by the second one
    await tec.ready("dispatch")
    assert tec.progress[Word.COMMITTED] == position_of(2, 0)
    await tec.kill()


async def test_a_repository_ahead_of_the_log_goes_on_with_this_epoch(instance: Instance) -> None:
    segment(instance.rx, 1, 3)
    first = make_context(instance, 1)
    async with dispatching(first), rule_process(first) as (client, _):
        await client.call("batch", encoded(Batch(0, position_of(2, 500))))
    segment(instance.rx, 3, 1)
    context = make_context(instance, 3, skip_to_log=True)
    async with dispatching(context, repository=False) as tec:
        assert tec.progress[Word.COMMITTED] == position_of(3, 0)


async def test_the_pages_of_the_log_bear_their_dispositions(context: Context) -> None:
    writer = open_writer(context.instance.rx, UUID, 1, recover(context.instance.rx, UUID))
    from opentec.events.records import ChangePayload, EventPayload, RejectedPayload, encode

    start = position_of(1, 0)
    stored = writer.add(
        Kind.EVENT, 1, encode(EventPayload("Disk_Full", {"hostname": "a"})), sender=b"s" * 16, sequence=4
    )
    writer.add(Kind.EVENT, 2, encode(RejectedPayload("because", b"x", 1)), verdict=1, file=7, end_offset=9, path=3)
    writer.add(Kind.TICK, 3)
    writer.add(Kind.CHANGE, 4, encode(ChangePayload((1, 2, 3), {"status": "ACK"}, "root")))
    end = writer.write(writer.take())
    writer.close()
    context.progress[Word.DURABLE] = end
    async with dispatching(context) as tec, rule_process(context) as (client, _):
        assert await tec.ask("dispatch", "waiting") == 3
        outcome = OutcomeRow(stored, 1, 1, 77, 2)
        await client.call("batch", encoded(Batch(0, start)))
        await client.call("batch", encoded(Batch(start, end, outcomes=[outcome])))
        page = await tec.ask("dispatch", "log", [0, 2])
        first, second = page["records"]
        assert (first["class"], first["disposition"], first["event_handle"]) == ("Disk_Full", 1, 2)
        assert (first["sender"], first["sequence"]) == ((b"s" * 16).hex(), 4)
        assert (second["reason"], second["disposition"], second["end_offset"]) == ("because", 3, 9)
        rest = await tec.ask("dispatch", "log", [page["next"], 100])
        assert [item["class"] for item in rest["records"]] == ["CHANGE"] and rest["next"] is None
        assert await tec.ask("dispatch", "waiting") == 0


async def test_a_page_of_large_events_is_cut_to_what_a_message_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAGE_BYTES", 1000)
    rows: list[EventRow] = [row(eid, msg="x" * 600) for eid in range(1, 5)]
    assert [item[0] for item in module._page(rows)] == [1]
    assert module._page(rows[:1]) == rows[:1] and module._page([]) == []


async def test_a_network_file_system_s_repository_is_refused_by_configuration(context: Context) -> None:
    with_config(context, "rim", path="rim/none.db")
    with pytest.raises(Fatal, match="none.db"):
        await Dispatch(context).run()
