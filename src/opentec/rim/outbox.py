"""The outbox: programs that rules asked for, run at most once (spine: dispatch and tasks).

A program goes waiting -> claimed -> done | failed, or claimed -> interrupted; it never goes back to waiting.
Times are microseconds since 1970, UTC, given by the caller.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from opentec.rim.writing import Writing

OUTPUT_LIMIT: Final = 65536  # characters of a program's output that are kept: its end, where errors stand

_COLUMNS: Final = "id, position, eid, kind, data, status, epoch, node, claimed_at, finished_at, exit_status, output"


class OutboxTask(msgspec.Struct, array_like=True):
    """One row of the outbox with its state."""

    id: str
    position: int
    eid: int | None
    kind: str
    data: str
    status: str  # waiting | claimed | done | failed | interrupted
    epoch: int | None = None
    node: str | None = None
    claimed_at: int | None = None
    finished_at: int | None = None
    exit_status: int | None = None  # negative: ended by that signal
    output: str | None = None


class Outbox(Writing):
    """The part of a repository that tec_task works from, through dispatch."""

    async def claim_outbox(self, limit: int, epoch: int, node: str, now: int) -> list[OutboxTask]:
        """Take up to `limit` waiting programs in log order; they are this epoch's and node's to run, nobody else's.

        Raises Superseded, RepositoryLocked, RepositoryUnavailable.
        """
        return await self._whole(self._claim_outbox(limit, epoch, node, now))

    async def finish_outbox(
        self, task: str, epoch: int, now: int, *, exit_status: int | None, output: str = "", done: bool | None = None
    ) -> bool:
        """Record how a claimed program ended: done when it left with 0, else failed; `done` overrides that.

        Only the end of `output` is kept (OUTPUT_LIMIT). False when the program is not claimed any more (it was
        interrupted meanwhile), and nothing is written. Raises as `claim_outbox`.
        """
        status = "done" if (exit_status == 0 if done is None else done) else "failed"
        return await self._whole(self._finish_outbox(task, epoch, (status, now, exit_status, output[-OUTPUT_LIMIT:])))

    async def interrupt_outbox(self, epoch: int, now: int) -> list[OutboxTask]:
        """Every claimed program that has no end becomes interrupted; gives them as they were. Raises as `claim_outbox`.

        For the start of a task process, when nothing that was claimed before can still be running.
        """
        return await self._whole(self._interrupt_outbox(epoch, now))

    async def outbox_task(self, task: str) -> OutboxTask | None:
        """One program by its id."""
        rows = await self._driver.read(f"SELECT {_COLUMNS} FROM outbox WHERE id = ?", (task,))  # noqa: S608
        return OutboxTask(*rows[0]) if rows else None

    async def _claim_outbox(self, limit: int, epoch: int, node: str, now: int) -> list[OutboxTask]:
        async with self._writing(epoch) as connection:
            tasks = await _by_status(connection, "waiting", limit)
            if tasks:
                await connection.exec_driver_sql(
                    "UPDATE outbox SET status = 'claimed', epoch = ?, node = ?, claimed_at = ? WHERE id = ?",
                    [(epoch, node, now, task.id) for task in tasks],
                )
        for task in tasks:
            task.status, task.epoch, task.node, task.claimed_at = "claimed", epoch, node, now
        return tasks

    async def _finish_outbox(self, task: str, epoch: int, end: tuple[Any, ...]) -> bool:
        async with self._writing(epoch) as connection:
            changed = await connection.exec_driver_sql(
                "UPDATE outbox SET status = ?, finished_at = ?, exit_status = ?, output = ? "
                "WHERE id = ? AND status = 'claimed' AND epoch = ?",
                (*end, task, epoch),
            )
            return changed.rowcount == 1

    async def _interrupt_outbox(self, epoch: int, now: int) -> list[OutboxTask]:
        async with self._writing(epoch) as connection:
            tasks = await _by_status(connection, "claimed", -1)
            if tasks:
                await connection.exec_driver_sql(
                    "UPDATE outbox SET status = 'interrupted', finished_at = ? WHERE status = 'claimed'", (now,)
                )
        return tasks


async def _by_status(connection: AsyncConnection, status: str, limit: int) -> list[OutboxTask]:
    found = await connection.exec_driver_sql(
        # the status stands in the text so that the partial index applies
        f"SELECT {_COLUMNS} FROM outbox WHERE status = '{status}' ORDER BY position, id"  # noqa: S608
        + (f" LIMIT {int(limit)}" if limit >= 0 else "")
    )
    return [OutboxTask(*tuple(row)) for row in found]
