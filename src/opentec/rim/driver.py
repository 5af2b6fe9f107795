"""What the repository needs from a database. Only the driver of a kind of database knows its dialect."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

Row = tuple[Any, ...]


class Driver(ABC):
    """An open database whose schema is in place.

    The SQL that goes through it is the common part of SQLite and PostgreSQL, with `?` for parameters.
    """

    place: str  # how messages name the database: a path, or host and database
    warnings: list[str]  # what an operator should know about this database, one sentence each

    @abstractmethod
    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """The one writer's transaction; it holds the write lock from its beginning, so a check in it stays true.

        Commits at the end, rolls back on any exception. One at a time: callers hold the repository's lock.
        Raises what `explain` gives for errors of the database.
        """

    @abstractmethod
    async def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """The rows of one query, on a connection that cannot write and does not wait for the writer."""

    @abstractmethod
    def explain(self, error: Exception) -> Exception | None:
        """The RepositoryError that an exception of the database means.

        None when the content of a row is at fault; an exception that is none of the database's is given back as it is.
        """

    @abstractmethod
    async def integrity_check(self) -> list[str]:
        """What the database finds wrong with itself, one sentence each; empty when it is sound."""

    @abstractmethod
    async def close(self) -> None:
        """Close all connections. Harmless when repeated."""
