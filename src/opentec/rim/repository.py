"""The event repository: one transaction in (spine: dispatch), and the answers to queries.

Whatever writes states its epoch and is refused when another server has claimed a later one; the check stands inside
the transaction, which holds the write lock from its beginning (ha.md 4 (i), guard 2).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from opentec.events.image import COLUMNS
from opentec.rim import schema
from opentec.rim.batch import Batch
from opentec.rim.driver import Driver
from opentec.rim.errors import PositionMismatch, RepositoryRefused, Superseded
from opentec.rim.outbox import Outbox
from opentec.rim.queries import Queries

Rows = list[tuple[Any, ...]]
Parts = dict[str, tuple[str, Rows]]  # by field of the batch: the statement and its rows

PRUNE_ROWS: Final = 5000  # outcomes deleted in one transaction, so that ingest waits for milliseconds only

_MARKS: Final = ", ".join("?" * len(COLUMNS))
_INSERT: Final = f"INSERT INTO event ({schema.EVENT_COLUMNS}) VALUES ({_MARKS})"  # noqa: S608
# numbered parameters take the whole row as it is, and leave out what never changes
_UPDATE: Final = "UPDATE event SET {} WHERE eid = ?{}".format(  # noqa: S608
    ", ".join(f'"{name}" = ?{n}' for n, name in enumerate(COLUMNS, 1) if name not in schema.IMMUTABLE),
    COLUMNS.index("eid") + 1,
)
_OUTCOME: Final = "INSERT INTO outcome VALUES (?, ?, ?, ?, ?, ?, ?)"
_TIMER: Final = "INSERT INTO timer VALUES (?, ?, ?, ?)"
_TIMER_GONE: Final = "DELETE FROM timer WHERE id = ?"
_OUTBOX: Final = "INSERT INTO outbox (id, position, eid, kind, data) VALUES (?, ?, ?, ?, ?)"
_STATE: Final = (
    "INSERT INTO rule_state (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)
_STATE_GONE: Final = "DELETE FROM rule_state WHERE key = ?"
_MOVE: Final = "UPDATE repository SET position = ? WHERE id = 1 AND epoch = ? AND position = ?"
_MOVE_UNSAFE: Final = "UPDATE repository SET position = ? WHERE id = 1 AND position = ?"

_POSITION: Final = COLUMNS.index("position")
_EID: Final = COLUMNS.index("eid")


class Repository(Queries, Outbox):
    """An open repository. Made by `opentec.rim.sqlite.open_repository`.

    Two arguments are for tests only, for the negative controls of the spine: `pause_after_check` is awaited between
    the epoch check and the writing of a batch, `unsafe_no_epoch_check` moves that check out of the transaction.
    """

    def __init__(
        self,
        driver: Driver,
        *,
        unsafe_no_epoch_check: bool = False,
        pause_after_check: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(driver)
        self._unsafe = unsafe_no_epoch_check
        self._pause = pause_after_check

    @property
    def warnings(self) -> list[str]:
        """What an operator should know about the database, one sentence each."""
        return self._driver.warnings

    async def claim(self, epoch: int) -> int:
        """Make `epoch` the one that may write, and give the committed position. Claiming one's own again is harmless.

        Raises Superseded when a later epoch has claimed, RepositoryLocked when a stale writer holds the lock (end
        it, then claim again), RepositoryUnavailable.
        """
        return await self._whole(self._claim(epoch))

    async def check(self, epoch: int) -> None:
        """Does the repository take a transaction of `epoch`? Writes nothing. Raises what `claim` raises."""
        await self._whole(self._nothing(epoch))

    async def commit(self, batch: Batch, epoch: int) -> None:
        """Write one batch in one transaction: all of it with the new position, or nothing.

        Updates are whole rows found by `eid`; what identifies an event is not written again. A call that is
        cancelled is still carried out. Raises Superseded, PositionMismatch, RepositoryRefused, RepositoryLocked,
        RepositoryUnavailable, RepositoryDamaged.
        """
        await self._whole(self._commit(batch, epoch))

    async def set_enumerations(self, severities: Mapping[str, int], statuses: Mapping[str, int], epoch: int) -> None:
        """Keep the numbers of the active classes' SEVERITY and STATUS (tec.md 2.1), for queries and TEC's views."""
        await self._whole(self._set_enumerations(severities, statuses, epoch))

    async def prune_step(self, before_position: int, epoch: int) -> bool:
        """Delete outcomes of positions below `before_position`, PRUNE_ROWS at most; True when there may be more.

        One transaction, so that batches get their turn between two. Raises what `commit` raises.
        """
        return await self._whole(self._prune(before_position, epoch)) >= PRUNE_ROWS

    async def close(self) -> None:
        """Finish what is being written and close. Harmless when repeated."""
        async with self._turn:
            await self._driver.close()

    async def _nothing(self, epoch: int) -> None:
        async with self._writing(epoch):
            pass

    async def _claim(self, epoch: int) -> int:
        async with self._turn, self._driver.transaction() as connection:
            found = await connection.exec_driver_sql(
                "SELECT epoch, position, schema_version FROM repository WHERE id = 1"
            )
            stored, position, version = tuple(found.one())
            if stored > epoch:
                raise Superseded(epoch, stored)
            # together with the epoch: whoever is stale from here on can neither write nor open it again
            for older in range(version, schema.SCHEMA_VERSION):
                for statement in schema.MIGRATIONS[older]:
                    await connection.exec_driver_sql(statement)
            await connection.exec_driver_sql(
                "UPDATE repository SET epoch = ?, schema_version = ? WHERE id = 1", (epoch, schema.SCHEMA_VERSION)
            )
        return int(position)

    async def _commit(self, batch: Batch, epoch: int) -> None:
        if batch.after < batch.before:
            raise ValueError(f"a batch cannot end ({batch.after}) before it begins ({batch.before})")
        parts = _parts(batch)
        async with self._turn:
            try:
                if self._unsafe:
                    await self._check_outside(epoch)
                async with self._driver.transaction() as connection:
                    await self._move(connection, batch, epoch)
                    for sql, rows in parts.values():
                        if rows:
                            written = (await connection.exec_driver_sql(sql, rows)).rowcount
                            if sql is _UPDATE and written != len(rows):
                                await self._refuse_unknown(connection, rows)
            except RepositoryRefused:
                raise
            except Exception as error:
                if self._driver.explain(error) is not None:
                    raise
                raise await self._refusal(batch, parts, error) from error

    async def _check_outside(self, epoch: int) -> None:
        stored = await self.epoch()
        if stored != epoch:
            raise Superseded(epoch, stored)
        if self._pause is not None:
            await self._pause()

    async def _move(self, connection: AsyncConnection, batch: Batch, epoch: int) -> None:
        """Check epoch and position and write the new one, all in one statement; says which of them was wrong."""
        if self._unsafe:
            moved = await connection.exec_driver_sql(_MOVE_UNSAFE, (batch.after, batch.before))
        else:
            moved = await connection.exec_driver_sql(_MOVE, (batch.after, epoch, batch.before))
        if moved.rowcount != 1:
            if not self._unsafe:
                await self._check_epoch(connection, epoch)
            stored = await connection.exec_driver_sql("SELECT position FROM repository WHERE id = 1")
            raise PositionMismatch(batch.before, stored.scalar_one())
        if self._pause is not None and not self._unsafe:
            await self._pause()

    async def _refuse_unknown(self, connection: AsyncConnection, rows: Rows) -> None:
        for index, row in enumerate(rows):
            found = await connection.exec_driver_sql("SELECT 1 FROM event WHERE eid = ?", (row[_EID],))
            if found.first() is None:
                raise RepositoryRefused("updates", index, None, f"there is no event with eid {row[_EID]} to change")

    async def _refusal(self, batch: Batch, parts: Parts, error: Exception) -> RepositoryRefused:
        """Which row of a batch the database refuses: found by halving, in a transaction that is rolled back."""
        reason = str(getattr(error, "orig", None) or error)
        found: RepositoryRefused | None = None
        try:
            async with self._driver.transaction() as connection:
                for part, (sql, rows) in parts.items():
                    if rows and (index := await self._first_refused(connection, sql, rows)) is not None:
                        found = RepositoryRefused(part, index, _position(batch, part, index), reason)
                        break
                raise _RollBack
        except _RollBack:
            return found or RepositoryRefused("batch", None, None, reason)

    async def _first_refused(self, connection: AsyncConnection, sql: str, rows: Rows) -> int | None:
        low, high = 0, len(rows)
        refused = False
        while low < high:
            # the whole first, then halves: what went in stays in, since rows may collide with one another
            middle = (low + high) // 2 if refused else high
            middle = max(middle, low + 1)
            if await self._accepts(connection, sql, rows[low:middle]):
                low = middle
            elif middle - low == 1:
                return low
            else:
                refused, high = True, middle
        return None

    async def _accepts(self, connection: AsyncConnection, sql: str, rows: Rows) -> bool:
        try:
            async with connection.begin_nested():
                await connection.exec_driver_sql(sql, rows)
        except Exception as error:
            if self._driver.explain(error) is not None:
                raise
            return False
        return True

    async def _set_enumerations(self, severities: Mapping[str, int], statuses: Mapping[str, int], epoch: int) -> None:
        async with self._writing(epoch) as connection:
            for table, members in (("severity", severities), ("status", statuses)):
                await connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608
                await connection.exec_driver_sql(f"INSERT INTO {table} VALUES (?, ?)", list(members.items()))  # noqa: S608

    async def _prune(self, before_position: int, epoch: int) -> int:
        async with self._writing(epoch) as connection:
            deleted = await connection.exec_driver_sql(
                "DELETE FROM outcome WHERE position IN "
                "(SELECT position FROM outcome WHERE position < ? ORDER BY position LIMIT ?)",
                (before_position, PRUNE_ROWS),
            )
            return deleted.rowcount


class _RollBack(Exception):
    """Ends a transaction that must leave nothing behind."""


def _parts(batch: Batch) -> Parts:
    """The statements of a batch and their rows, by the name of the batch's field, in the order they are written."""
    plain = msgspec.structs.astuple
    kept, gone = [], []
    for key, value in batch.state.items():
        if value is None:
            gone.append((key,))
            continue
        try:
            kept.append((key, msgspec.msgpack.encode(value)))
        except (TypeError, ValueError, OverflowError) as error:
            raise RepositoryRefused("state", None, None, f"the value of {key!r} cannot be kept: {error}") from error
    return {
        "inserts": (_INSERT, batch.inserts),
        "updates": (_UPDATE, batch.updates),
        "outcomes": (_OUTCOME, [plain(row) for row in batch.outcomes]),
        "timers_set": (_TIMER, [plain(row) for row in batch.timers_set]),
        "timers_cancelled": (_TIMER_GONE, [(number,) for number in batch.timers_cancelled]),
        "outbox": (_OUTBOX, [plain(row) for row in batch.outbox]),
        "state": (_STATE, kept),
        "state (deleted)": (_STATE_GONE, gone),
    }


def _position(batch: Batch, part: str, index: int) -> int | None:
    if part == "inserts":
        position = batch.inserts[index][_POSITION]
        return position if isinstance(position, int) else None
    if part == "outcomes":
        return batch.outcomes[index].position
    if part == "outbox":
        return batch.outbox[index].position
    return None
