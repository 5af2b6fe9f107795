"""Programs run at most once: claimed, then ended or interrupted, never waiting again."""

from __future__ import annotations

import pytest

from opentec.rim.batch import Batch, OutboxRow
from opentec.rim.errors import Superseded
from opentec.rim.outbox import OUTPUT_LIMIT
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
