"""Programs run at most once: claimed, then ended or interrupted, never waiting again. Forwarded events wait again."""

from __future__ import annotations

import pytest

from opentec.rim import outbox as module
from opentec.rim.batch import Batch, OutboxRow
from opentec.rim.errors import Superseded
from opentec.rim.outbox import OUTPUT_LIMIT, OutboxTask
from opentec.rim.repository import Repository


async def fill(repository: Repository, count: int) -> None:
    rows = [OutboxRow(f"t{n}", 1000 - n, n, "program", f"[{n}]") for n in range(count)]
    await repository.commit(Batch(before=0, after=1000, outbox=rows), 1)


async def test_programs_are_claimed_once_in_log_order(repository: Repository) -> None:
    await fill(repository, 3)
    claimed = await repository.claim_outbox(2, 1, "black", 111)
    assert [task.id for task in claimed] == ["t2", "t1"]
    assert {(task.status, task.epoch, task.node, task.claimed_at) for task in claimed} == {("claimed", 1, "black", 111)}
    assert [task.id for task in await repository.claim_outbox(9, 1, "black", 112)] == ["t0"]
    assert await repository.claim_outbox(9, 1, "black", 113) == []
    assert await repository.outbox_task("t2") == claimed[0]
    assert await repository.outbox_task("none") is None


@pytest.mark.parametrize(
    ("exit_status", "done", "status"), [(0, None, "done"), (3, None, "failed"), (-9, None, "failed"), (2, True, "done")]
)
async def test_a_program_ends(repository: Repository, exit_status: int, done: bool | None, status: str) -> None:
    await fill(repository, 1)
    await repository.claim_outbox(1, 1, "black", 1)
    output = "head" + "x" * OUTPUT_LIMIT
    assert await repository.finish_outbox("t0", 1, 222, exit_status=exit_status, output=output, done=done)
    task = await repository.outbox_task("t0")
    assert task is not None
    assert (task.status, task.exit_status, task.finished_at) == (status, exit_status, 222)
    assert task.output == "x" * OUTPUT_LIMIT
    # an end is final
    assert not await repository.finish_outbox("t0", 1, 223, exit_status=0)


async def test_what_was_not_claimed_cannot_end(repository: Repository) -> None:
    await fill(repository, 1)
    assert not await repository.finish_outbox("t0", 1, 1, exit_status=0)
    assert not await repository.finish_outbox("unknown", 1, 1, exit_status=0)


async def test_a_takeover_interrupts_what_had_no_end(repository: Repository) -> None:
    await fill(repository, 3)
    await repository.claim_outbox(2, 1, "black", 1)
    await repository.finish_outbox("t2", 1, 2, exit_status=0)
    await repository.claim(2)
    interrupted = await repository.interrupt_outbox(2, 3)
    assert [(task.id, task.epoch, task.node) for task in interrupted] == [("t1", 1, "black")]
    assert await repository.interrupt_outbox(2, 4) == []
    assert (await repository.counts()).outbox == {"done": 1, "interrupted": 1, "waiting": 1}
    # the interrupted one is never given out again, and its late end changes nothing
    assert [task.id for task in await repository.claim_outbox(9, 2, "brown", 5)] == ["t0"]
    assert not await repository.finish_outbox("t1", 2, 6, exit_status=0)


async def test_a_stale_task_process_is_refused(repository: Repository) -> None:
    await fill(repository, 1)
    await repository.claim(2)
    for call in (
        repository.claim_outbox(1, 1, "black", 1),
        repository.finish_outbox("t0", 1, 1, exit_status=0),
        repository.interrupt_outbox(1, 1),
    ):
        with pytest.raises(Superseded):
            await call
    assert (await repository.counts()).outbox == {"waiting": 1}


def of(kind: str, *ids: str, data: str = "{}") -> list[OutboxRow]:
    return [OutboxRow(name, 1000 + number, None, kind, data) for number, name in enumerate(ids)]


async def commit(repository: Repository, *rows: OutboxRow) -> None:
    await repository.commit(Batch(before=0, after=10_000, outbox=list(rows)), 1)


def ids(tasks: list[OutboxTask]) -> list[str]:
    return [task.id for task in tasks]


async def test_programs_and_events_are_claimed_apart(repository: Repository) -> None:
    await commit(repository, *of("program", "p1", "p2"), *of("task:mail", "t1"), *of("forward:far", "f1", "f2"))
    assert ids(await repository.claim_outbox(9, 1, "black", 1, forwards=True)) == ["f1", "f2"]
    assert ids(await repository.claim_outbox(9, 1, "black", 1)) == ["p1", "t1", "p2"]
    assert await repository.open_outbox() == {"program": 2, "task:mail": 1, "forward:far": 2}


async def test_a_kind_without_room_lets_others_pass(repository: Repository) -> None:
    await commit(repository, *of("task:a", "a1", "a2", "a3"), *of("task:b", "b1", "b2", "b3"), *of("program", "p"))
    assert ids(await repository.claim_outbox(4, 1, "black", 1, room={"task:a": 0, "task:b": 1})) == ["b1", "p"]
    assert ids(await repository.claim_outbox(2, 1, "black", 1, room={"task:a": 9, "task:b": 0})) == ["a1", "a2"]
    assert ids(await repository.claim_outbox(0, 1, "black", 1)) == []
    assert ids(await repository.claim_outbox(9, 1, "black", 1)) == ["b2", "a3", "b3"]


async def test_an_event_to_be_forwarded_waits_again_after_a_restart(repository: Repository) -> None:
    await commit(repository, *of("program", "p"), *of("forward:far", "f"))
    await repository.claim_outbox(9, 1, "black", 1)
    await repository.claim_outbox(9, 1, "black", 1, forwards=True)
    await repository.claim(2)
    assert ids(await repository.interrupt_outbox(2, 5)) == ["p"]
    assert await repository.outbox_task("f") == OutboxTask("f", 1000, None, "forward:far", "{}", "waiting")
    assert ids(await repository.claim_outbox(9, 2, "brown", 6, forwards=True)) == ["f"]
    # what the epoch before says of it counts no more
    assert await repository.finish_outbox("f", 2, 7, exit_status=None, output="acknowledged", done=True)


async def test_a_row_is_added_once(repository: Repository) -> None:
    (row,) = of("task:mail", "a" * 32)
    assert await repository.add_outbox(row, 1)
    assert not await repository.add_outbox(row, 1)
    assert ids(await repository.claim_outbox(9, 1, "black", 1)) == [row.id]
    with pytest.raises(Superseded):
        await repository.add_outbox(row, 0)


async def test_old_ends_are_deleted_in_steps(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP", 2)
    await commit(repository, *of("program", "p1", "p2", "p3", "p4", "p5", "p6"))
    await repository.claim_outbox(5, 1, "black", 1)
    for number in range(1, 5):
        await repository.finish_outbox(f"p{number}", 1, number * 10, exit_status=0)
    assert await repository.prune_outbox(10, 1) == 0
    assert [await repository.prune_outbox(40, 1) for _ in range(3)] == [2, 1, 0]
    assert ids(await repository.list_outbox()) == ["p6", "p5", "p4"]
    # whatever its age, what has not ended stays
    assert await repository.prune_outbox(1 << 60, 1) == 1
    assert await repository.prune_outbox(1 << 60, 1) == 0


async def test_too_many_that_wait_fail_oldest_first(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP", 2)
    await commit(repository, *of("forward:far", "f1", "f2", "f3", "f4", "f5"), *of("forward:near", "n1"))
    await repository.claim_outbox(1, 1, "black", 1, forwards=True, room={"forward:near": 0})
    failed = [await repository.fail_oldest("forward:far", 1, 1, 77, "too many") for _ in range(3)]
    assert failed == [2, 1, 0]
    assert ids(await repository.list_outbox(status="failed")) == ["f4", "f3", "f2"]
    row = await repository.outbox_task("f2")
    assert row is not None and (row.finished_at, row.output) == (77, "too many")
    assert await repository.open_outbox() == {"forward:far": 2, "forward:near": 1}


async def test_pages_of_the_outbox(repository: Repository) -> None:
    rows = of("program", "a", "b", "c", "d")
    rows[1].eid = rows[2].eid = 7
    rows[2].position = rows[1].position
    await commit(repository, *rows)
    first = await repository.list_outbox(limit=2)
    assert ids(first) == ["d", "c"]
    rest = await repository.list_outbox(before=(first[-1].position, first[-1].id))
    assert ids(rest) == ["b", "a"]
    assert ids(await repository.list_outbox(eid=7)) == ["c", "b"]
    assert ids(await repository.list_outbox(eid=7, status="done")) == []
