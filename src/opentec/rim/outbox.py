"""The outbox: programs and tasks, run at most once, and events for other servers (spine: dispatch and tasks).

A program goes waiting -> claimed -> done | failed, or claimed -> interrupted; it never goes back to waiting. An event
to be forwarded does, since the other server takes it once however often it is sent.

The kind of a row is `program`, `task:NAME` or `forward:DESTINATION`, so that one task at its limit, or one destination
that is away, is left out of a claim. Times are microseconds since 1970, UTC, given by the caller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from opentec.rim.batch import OutboxRow
from opentec.rim.writing import Writing

OUTPUT_LIMIT: Final = 65536  # characters of a program's output that are kept: its end, where errors stand
PAGE: Final = 1000
STEP: Final = 500  # rows changed in one transaction of housekeeping

_COLUMNS: Final = "id, position, eid, kind, data, status, epoch, node, claimed_at, finished_at, exit_status, output"
_FORWARD: Final = "forward:"
_IS_FORWARD: Final = f"kind LIKE '{_FORWARD}%'"
_ENDED: Final = "status NOT IN ('waiting', 'claimed')"


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

    async def claim_outbox(
        self,
        limit: int,
        epoch: int,
        node: str,
        now: int,
        *,
        forwards: bool = False,
        room: Mapping[str, int] | None = None,
    ) -> list[OutboxTask]:
        """Take up to `limit` waiting rows in log order; they are this epoch's and node's, nobody else's.

        Programs and tasks, or with `forwards` events for other servers. `room` says of single kinds how many of them
        may be taken. There is one who claims. Raises Superseded, RepositoryLocked, RepositoryUnavailable.
        """
        found = await self._claimable(limit, forwards, dict(room or {}))
        return await self._whole(self._claim_outbox(found, epoch, node, now)) if found else []

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

        An event to be forwarded waits again. For the start of a task process, when nothing that was claimed before can
        still be running.
        """
        return await self._whole(self._interrupt_outbox(epoch, now))

    async def add_outbox(self, row: OutboxRow, epoch: int) -> bool:
        """Add what no rule asked for; False when that id is there already. Raises as `claim_outbox`."""
        return await self._whole(self._add_outbox(row, epoch))

    async def prune_outbox(self, before: int, epoch: int) -> int:
        """Delete up to STEP rows that ended before that time; gives how many. Raises as `claim_outbox`."""
        rows = await self._driver.read(
            f"SELECT id FROM outbox WHERE {_ENDED} AND finished_at < ? LIMIT ?",  # noqa: S608
            (before, STEP),
        )
        return await self._whole(self._delete_outbox([row[0] for row in rows], epoch)) if rows else 0

    async def fail_oldest(self, kind: str, keep: int, epoch: int, now: int, reason: str) -> int:
        """Fail waiting rows of a kind, the oldest first and STEP at most, where more than `keep` wait; gives how many.

        Raises as `claim_outbox`.
        """
        waiting = await self._driver.read("SELECT count(*) FROM outbox WHERE status = 'waiting' AND kind = ?", (kind,))
        surplus = min(int(waiting[0][0]) - keep, STEP)
        if surplus <= 0:
            return 0
        rows = await self._driver.read(
            "SELECT id FROM outbox WHERE status = 'waiting' AND kind = ? ORDER BY position, id LIMIT ?", (kind, surplus)
        )
        return await self._whole(self._fail_outbox([row[0] for row in rows], epoch, now, reason))

    async def outbox_task(self, task: str) -> OutboxTask | None:
        """One row by its id."""
        rows = await self._driver.read(f"SELECT {_COLUMNS} FROM outbox WHERE id = ?", (task,))  # noqa: S608
        return OutboxTask(*rows[0]) if rows else None

    async def open_outbox(self) -> dict[str, int]:
        """How many rows of each kind wait or are claimed."""
        rows = await self._driver.read(
            "SELECT kind, count(*) FROM outbox WHERE status IN ('waiting', 'claimed') GROUP BY kind"
        )
        return {kind: int(number) for kind, number in rows}

    async def list_outbox(
        self,
        *,
        eid: int | None = None,
        status: str | None = None,
        before: tuple[int, str] | None = None,
        limit: int = PAGE,
    ) -> list[OutboxTask]:
        """One page of the outbox, newest first; the next one is before the last row's position and id.

        It looks through all that is kept: for people.
        """
        where = ["1 = 1"]
        values: list[Any] = []
        for test, wanted in (("eid = ?", (eid,)), ("status = ?", (status,)), ("(position, id) < (?, ?)", before)):
            if wanted is not None and wanted[0] is not None:
                where.append(test)
                values += wanted
        rows = await self._driver.read(
            f"SELECT {_COLUMNS} FROM outbox WHERE {' AND '.join(where)} "  # noqa: S608
            "ORDER BY position DESC, id DESC LIMIT ?",
            (*values, max(0, min(limit, PAGE))),
        )
        return [OutboxTask(*row) for row in rows]

    async def _claimable(self, limit: int, forwards: bool, room: dict[str, int]) -> list[OutboxTask]:
        full = [kind for kind, left in room.items() if left <= 0]
        marks = ", ".join("?" * len(full))
        rows = await self._driver.read(
            # the status stands in the text so that the partial index applies
            f"SELECT {_COLUMNS} FROM outbox WHERE status = 'waiting' AND {'' if forwards else 'NOT '}{_IS_FORWARD}"  # noqa: S608
            f"{f' AND kind NOT IN ({marks})' if full else ''} ORDER BY position, id LIMIT ?",
            (*full, max(0, limit)),
        )
        taken = []
        for row in rows:
            task = OutboxTask(*row)
            left = room.get(task.kind, 1)
            if left > 0:
                taken.append(task)
                if task.kind in room:
                    room[task.kind] = left - 1
        return taken

    async def _claim_outbox(self, found: list[OutboxTask], epoch: int, node: str, now: int) -> list[OutboxTask]:
        claimed = []
        async with self._writing(epoch) as connection:
            for task in found:
                changed = await connection.exec_driver_sql(
                    "UPDATE outbox SET status = 'claimed', epoch = ?, node = ?, claimed_at = ? "
                    "WHERE id = ? AND status = 'waiting'",
                    (epoch, node, now, task.id),
                )
                if changed.rowcount == 1:
                    claimed.append(task)
        for task in claimed:
            task.status, task.epoch, task.node, task.claimed_at = "claimed", epoch, node, now
        return claimed

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
            found = await connection.exec_driver_sql(
                f"SELECT {_COLUMNS} FROM outbox WHERE status = 'claimed' ORDER BY position, id"  # noqa: S608
            )
            tasks = [OutboxTask(*tuple(row)) for row in found]
            if tasks:
                await connection.exec_driver_sql(
                    "UPDATE outbox SET status = 'waiting', epoch = NULL, node = NULL, claimed_at = NULL "  # noqa: S608
                    f"WHERE status = 'claimed' AND {_IS_FORWARD}"
                )
                await connection.exec_driver_sql(
                    "UPDATE outbox SET status = 'interrupted', finished_at = ? WHERE status = 'claimed'", (now,)
                )
        return [task for task in tasks if not task.kind.startswith(_FORWARD)]

    async def _add_outbox(self, row: OutboxRow, epoch: int) -> bool:
        async with self._writing(epoch) as connection:
            added = await connection.exec_driver_sql(
                "INSERT INTO outbox (id, position, eid, kind, data) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
                msgspec.structs.astuple(row),
            )
            return added.rowcount == 1

    async def _delete_outbox(self, ids: Sequence[str], epoch: int) -> int:
        async with self._writing(epoch) as connection:
            gone = await connection.exec_driver_sql(
                f"DELETE FROM outbox WHERE id = ? AND {_ENDED}",  # noqa: S608
                [(task,) for task in ids],
            )
            return gone.rowcount

    async def _fail_outbox(self, ids: Sequence[str], epoch: int, now: int, reason: str) -> int:
        async with self._writing(epoch) as connection:
            failed = await connection.exec_driver_sql(
                "UPDATE outbox SET status = 'failed', finished_at = ?, output = ? WHERE id = ? AND status = 'waiting'",
                [(now, reason, task) for task in ids],
            )
            return failed.rowcount
