"""The repository in one SQLite file: the embedded default.

WAL with synchronous=FULL, one writer connection kept open and one that only reads. Every transaction begins with
BEGIN IMMEDIATE: with the default of SQLAlchemy and sqlite3 the epoch check would stand outside the write lock
(performance.md 4, "the fence").
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, event
from sqlalchemy.exc import SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from opentec.rim import schema
from opentec.rim.driver import Driver, Row
from opentec.rim.errors import (
    NetworkFileSystem,
    NotARepository,
    RepositoryDamaged,
    RepositoryError,
    RepositoryExists,
    RepositoryLocked,
    RepositoryMissing,
    RepositoryUnavailable,
    SchemaVersionError,
    WrongInstance,
)
from opentec.rim.mounts import network_file_system
from opentec.rim.repository import Repository

T = TypeVar("T")

# ha.md 3: databases written through two connections can be damaged by a reset of the WAL before this version
SAFE_VERSION: Final = (3, 51, 3)
CACHE_KIB: Final = 65536
CHECKPOINT_PAGES: Final = 8000  # performance.md 5b
BUSY_TIMEOUT: Final = 0.25  # seconds; a takeover must learn soon that a stale writer holds the lock

_WRITER_PRAGMAS: Final = ("journal_mode = WAL", "synchronous = FULL", f"wal_autocheckpoint = {CHECKPOINT_PAGES}")

_LOCKED: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_AWAY: Final = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space, writing goes on by itself",
    sqlite3.SQLITE_READONLY: "the file or its folder is read-only; check the mount and the owner",
    sqlite3.SQLITE_IOERR: "input/output error; check the disk and the kernel's messages",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened; check that it exists, its owner and its mode",
    sqlite3.SQLITE_PERM: "access is denied; check the owner and the mode",
    sqlite3.SQLITE_NOMEM: "out of memory",
}
_CONTENT: Final = (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_RANGE)


class SqliteDriver(Driver):
    """SQLite behind SQLAlchemy's asyncio engine (aiosqlite): each connection is a thread of its own."""

    def __init__(self, path: Path, *, busy_timeout: float = BUSY_TIMEOUT) -> None:
        """`busy_timeout` is how long, in seconds, a transaction waits for another process's lock."""
        self.place = str(path)
        self.warnings = version_warnings(sqlite3.sqlite_version_info)
        self._writer_engine = _engine(path, busy_timeout, read_only=False)
        self._reader_engine = _engine(path, busy_timeout, read_only=True)
        self._writer: AsyncConnection | None = None
        self._reader: AsyncConnection | None = None
        self._reading = asyncio.Lock()

    async def connect(self) -> None:
        """Open both connections. Raises a RepositoryError when the file is no database or cannot be read."""
        try:
            self._writer = await self._writer_engine.connect()
            self._reader = await self._reader_engine.connect()
        except BaseException as error:
            await self.close()
            if isinstance(error, Exception) and (told := self.explain(error)) is not error:
                raise told or self._damaged(error) from error
            raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        if self._writer is None:
            raise RepositoryUnavailable(f"{self.place}: the repository is closed")
        try:
            async with self._writer.begin():
                yield self._writer
        except RepositoryError:
            raise
        except Exception as error:
            if told := self.explain(error):
                raise told from error
            raise

    async def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        # a query that is cancelled half way would cost the connection, so it is always run to its end
        return await asyncio.shield(asyncio.ensure_future(self._read(sql, tuple(parameters))))

    async def _read(self, sql: str, parameters: Row) -> list[Row]:
        async with self._reading:
            if self._reader is None:
                raise RepositoryUnavailable(f"{self.place}: the repository is closed")
            try:
                rows = (await self._reader.exec_driver_sql(sql, parameters)).all()
                await self._reader.rollback()
            except Exception as error:
                with suppress(SQLAlchemyError):
                    await self._reader.rollback()
                told = self.explain(error)
                raise told or RepositoryError(f"{self.place}: {_root(error)}") from error
            return [tuple(row) for row in rows]

    def explain(self, error: Exception) -> Exception | None:
        root = _root(error)
        if isinstance(root, sqlite3.Error):
            code = getattr(root, "sqlite_errorcode", None)
            if code is None:
                # no code of the database: sqlite3 itself could not bind a value, or the connection is gone
                if isinstance(root, (sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.DataError)):
                    return None
                return RepositoryUnavailable(f"{self.place}: {root}; open the repository again")
            primary = code & 0xFF
            if primary in _CONTENT:
                return None
            if primary in _LOCKED:
                return RepositoryLocked(
                    f"{self.place}: another process holds the write lock ({root}); "
                    "end it, or wait until it has finished"
                )
            if primary in _AWAY:
                return RepositoryUnavailable(f"{self.place}: {_AWAY[primary]} ({root})")
            if primary == sqlite3.SQLITE_NOTADB:
                return NotARepository(
                    f"{self.place}: this file is not a SQLite database; put the repository back from a copy, "
                    "or move the file away and let `tec init` make a new one"
                )
            return self._damaged(root)
        # integers beyond 64 bits, text that is no Unicode: raised by sqlite3 before the database sees them
        if isinstance(root, (OverflowError, UnicodeError, TypeError, ValueError)):
            return None
        return error

    def _damaged(self, error: BaseException) -> RepositoryDamaged:
        return RepositoryDamaged(
            f"{self.place}: {_root(error)}; run `PRAGMA integrity_check` on a copy and put back the last sound one"
        )

    async def integrity_check(self) -> list[str]:
        try:
            found = [str(row[0]) for row in await self.read("PRAGMA integrity_check(100)")]
        except RepositoryDamaged as error:
            return [str(error)]
        return [] if found == ["ok"] else found

    async def close(self) -> None:
        # a query that is under way ends first: what asks a closed connection may wait for ever
        async with self._reading:
            # the writer goes last: whoever closes last checkpoints, and the reader cannot
            reader, self._reader = self._reader, None
            writer, self._writer = self._writer, None
            for connection in (reader, writer):
                if connection is not None:
                    await connection.close()
        await self._reader_engine.dispose()
        await self._writer_engine.dispose()


async def create_repository(path: Path, instance: str, name: str, *, allow_network_fs: bool = False) -> None:
    """Make an empty repository for the server `name` of instance directory `instance` (its uuid).

    It appears under its name only when it is complete and on disk. Raises RepositoryExists when `path` exists,
    NetworkFileSystem, RepositoryUnavailable when the folder cannot be written.
    """
    _refuse_network(path, allow_network_fs)
    await asyncio.to_thread(_create, path, instance, name)


def _create(path: Path, instance: str, name: str) -> None:
    if path.exists():
        raise RepositoryExists(f"{path}: there is a file already; move it away, or open it")
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, stat.S_IRUSR | stat.S_IWUSR))
        connection = sqlite3.connect(draft, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            for statement in schema.statements():
                connection.execute(statement)
            connection.execute(
                "INSERT INTO repository VALUES (1, ?, ?, ?, 0, 0)", (schema.SCHEMA_VERSION, instance, name)
            )
            connection.executemany("INSERT INTO severity VALUES (?, ?)", schema.SEVERITIES.items())
            connection.executemany("INSERT INTO status VALUES (?, ?)", schema.STATUSES.items())
            connection.execute("COMMIT")
        finally:
            connection.close()
        os.link(draft, path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError as error:
        raise RepositoryExists(f"{path}: somebody made it at the same moment; open it") from error
    except (OSError, sqlite3.Error) as error:
        raise RepositoryUnavailable(f"{path}: the repository cannot be made: {error}") from error
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            draft.with_name(draft.name + suffix).unlink(missing_ok=True)


async def open_repository(
    path: Path,
    instance: str,
    name: str,
    *,
    busy_timeout: float = BUSY_TIMEOUT,
    allow_network_fs: bool = False,
    unsafe_no_epoch_check: bool = False,
    pause_after_check: Callable[[], Awaitable[None]] | None = None,
) -> Repository:
    """Open the repository of the server `name`; only dispatch of the active node, or the holder of the lease, may.

    `busy_timeout` is in seconds. The last two are for tests only (see Repository). What an operator should know is in
    the `warnings` of the result. Raises RepositoryMissing, NotARepository, RepositoryDamaged, RepositoryUnavailable,
    SchemaVersionError, WrongInstance, NetworkFileSystem; never RepositoryLocked.
    """
    _refuse_network(path, allow_network_fs)
    _refuse_unusable(path)
    driver = SqliteDriver(path, busy_timeout=busy_timeout)
    await driver.connect()
    try:
        await _check_identity(driver, instance, name)
    except BaseException:
        await driver.close()
        raise
    return Repository(driver, unsafe_no_epoch_check=unsafe_no_epoch_check, pause_after_check=pause_after_check)


async def _check_identity(driver: SqliteDriver, instance: str, name: str) -> None:
    tables = await driver.read("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'repository'")
    if not tables:
        raise NotARepository(
            f"{driver.place}: this SQLite database is not a repository of opentec; "
            "check the path in tec_server.toml, put back a copy, or begin anew with `tec init` and a new directory"
        )
    rows = await driver.read("SELECT * FROM repository")
    if len(rows) != 1:
        raise RepositoryDamaged(f"{driver.place}: the row that names the repository is missing; put back a sound copy")
    version = rows[0][1]
    if not schema.OLDEST_VERSION <= version <= schema.SCHEMA_VERSION:
        raise SchemaVersionError(
            f"{driver.place}: schema version {version}, this opentec reads versions {schema.OLDEST_VERSION} to "
            f"{schema.SCHEMA_VERSION}; "
            + (
                "use the newer opentec that wrote it (docs/upgrade.md)"
                if version > schema.SCHEMA_VERSION
                else "upgrade it first"
            )
        )
    owner, called = await _owner(driver)
    if owner != instance:
        raise WrongInstance(
            f"{driver.place}: the repository belongs to instance {owner} (server {called!r}), this directory is "
            f"instance {instance}; put back the repository that belongs to this directory"
        )
    if called != name:
        raise WrongInstance(
            f"{driver.place}: the repository is that of server {called!r}, the configuration says {name!r}; "
            "correct the name in tec_server.toml"
        )


async def _owner(driver: SqliteDriver) -> tuple[str, str]:
    row = (await driver.read("SELECT instance, name FROM repository"))[0]
    return row[0], row[1]


def _refuse_network(path: Path, allowed: bool) -> None:
    if not allowed and (kind := network_file_system(path)):
        raise NetworkFileSystem(
            f"{path}: this is a {kind} file system; SQLite needs a local or cluster one. Move the repository, "
            "use a database server, or allow it in tec_server.toml if losing data is acceptable"
        )


def _refuse_unusable(path: Path) -> None:
    # by the file's mode only: opening it here would drop the locks of a connection of this process (ha.md 2e)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise RepositoryMissing(
            f"{path}: there is no repository; check the mount and the path in tec_server.toml, put back a copy of it, "
            "or begin anew with `tec init` and a new directory"
        ) from error
    except OSError as error:
        raise RepositoryUnavailable(f"{path}: {error.strerror}; check the owner and mode of its folders") from error
    if not stat.S_ISREG(mode):
        raise NotARepository(f"{path}: not a file; check the path in tec_server.toml")
    for place, wanted in ((path, os.R_OK | os.W_OK), (path.parent, os.R_OK | os.W_OK | os.X_OK)):
        if not os.access(place, wanted, effective_ids=True):
            raise RepositoryUnavailable(
                f"{place}: user {os.geteuid()} may not read and write it; check its owner, its mode and the mount"
            )


def _engine(path: Path, busy_timeout: float, *, read_only: bool) -> AsyncEngine:
    engine = create_async_engine(
        URL.create(
            "sqlite+aiosqlite",
            database=f"file:{quote(str(path.absolute()))}",
            query={"mode": "ro" if read_only else "rw", "uri": "true"},
        ),
        connect_args={"timeout": busy_timeout, "isolation_level": None},
        pool_size=1,
        max_overflow=0,
        pool_reset_on_return=None,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        pragmas = ("query_only = ON",) if read_only else _WRITER_PRAGMAS
        for pragma in (*pragmas, f"cache_size = -{CACHE_KIB}", "temp_store = MEMORY", "trusted_schema = OFF"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    if not read_only:

        @event.listens_for(engine.sync_engine, "begin")
        def _take_write_lock(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _root(error: BaseException) -> BaseException:
    """The driver's own exception under SQLAlchemy's."""
    while isinstance(error, StatementError) and error.orig is not None:
        error = error.orig
    return error


def version_warnings(version: tuple[int, ...]) -> list[str]:
    """What an operator should know about this version of SQLite (ha.md 3), one sentence each."""
    if version >= SAFE_VERSION:
        return []
    have, want = ".".join(map(str, version)), ".".join(map(str, SAFE_VERSION))
    return [
        f"SQLite {have} is older than {want}, which mends a rare damage of databases with several connections; "
        "upgrade SQLite when your system offers it, and keep backups"
    ]
