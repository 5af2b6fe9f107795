"""How the repository writes: one transaction at a time, fenced by the epoch, always run to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from opentec.rim.driver import Driver
from opentec.rim.errors import Superseded

T = TypeVar("T")


class Writing:
    """The writing half of a repository, and its one writer's turn."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._turn = asyncio.Lock()

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        # a transaction that is cancelled half way would cost the connection, so it is always run to its end
        return await asyncio.shield(asyncio.ensure_future(work))

    @asynccontextmanager
    async def _writing(self, epoch: int) -> AsyncIterator[AsyncConnection]:
        """A transaction of `epoch`. Raises Superseded when another epoch owns the repository."""
        async with self._turn, self._driver.transaction() as connection:
            await self._check_epoch(connection, epoch)
            yield connection

    async def _check_epoch(self, connection: AsyncConnection, epoch: int) -> None:
        stored = (await connection.exec_driver_sql("SELECT epoch FROM repository WHERE id = 1")).scalar_one()
        if stored != epoch:
            raise Superseded(epoch, stored)
