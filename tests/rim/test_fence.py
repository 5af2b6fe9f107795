"""The epoch check stands inside the write lock: a stale writer cannot commit (performance.md 4, "the fence")."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from opentec.rim.batch import Batch
from opentec.rim.errors import PositionMismatch, RepositoryLocked, Superseded
from opentec.rim.repository import Repository
from opentec.rim.sqlite import open_repository
from tests.rim.rows import INSTANCE, NAME, row, stored


class Pause:
    """Stops a writer at the decisive place, until it is let go."""

    def __init__(self) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self) -> None:
        self.reached.set()
        await self.go.wait()


async def test_a_writer_that_pauses_behind_its_check_still_holds_the_lock(path: Path) -> None:
    pause = Pause()
    stale = await open_repository(path, INSTANCE, NAME, pause_after_check=pause)
    await stale.claim(1)
    new = await open_repository(path, INSTANCE, NAME, busy_timeout=0.01)
    writing = asyncio.ensure_future(stale.commit(stored(1, before=0, after=200), 1))
    await pause.reached.wait()
    with pytest.raises(RepositoryLocked, match="another process holds the write lock"):
        await new.claim(2)
    assert await new.epoch() == 1  # reads go on meanwhile
    pause.go.set()
    await writing
    assert await new.claim(2) == 200
    with pytest.raises(Superseded):
        await stale.commit(stored(2, before=200, after=300), 1)
    assert await new.event_row(2) is None
    await new.close()
    await stale.close()


async def test_without_the_check_in_the_transaction_a_stale_batch_is_committed(path: Path) -> None:
    """The negative control: the same pause, and the new server's claim falls between check and insert."""
    pause = Pause()
    stale = await open_repository(path, INSTANCE, NAME, unsafe_no_epoch_check=True, pause_after_check=pause)
    await stale.claim(1)
    new = await open_repository(path, INSTANCE, NAME)
    writing = asyncio.ensure_future(stale.commit(stored(1, before=0, after=200), 1))
    await pause.reached.wait()
    assert await new.claim(2) == 0
    pause.go.set()
    await writing
    assert await new.event_row(1) == row(1)
    with pytest.raises(PositionMismatch):
        await new.commit(stored(1, before=0, after=200), 2)
    await new.close()
    await stale.close()


async def test_the_unsafe_writer_still_looks_before_it_writes(path: Path) -> None:
    stale = await open_repository(path, INSTANCE, NAME, unsafe_no_epoch_check=True)
    await stale.claim(2)
    with pytest.raises(Superseded):
        await stale.commit(stored(1, before=0, after=200), 1)
    with pytest.raises(PositionMismatch):
        await stale.commit(stored(1, before=7, after=200), 2)
    await stale.close()


async def test_every_transaction_begins_with_the_write_lock(repository: Repository, path: Path) -> None:
    other = sqlite3.connect(path, timeout=0, isolation_level=None)
    async with repository._driver.transaction():
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RepositoryLocked):
        await repository.commit(Batch(before=0, after=1), 1)
    with pytest.raises(RepositoryLocked):
        await repository.claim(2)
    other.execute("ROLLBACK")
    other.close()
    await repository.commit(Batch(before=0, after=1), 1)


WRITER = """
    import asyncio, sys
    from pathlib import Path
    from opentec.rim.sqlite import open_repository
    from tests.rim.rows import INSTANCE, NAME, stored

    async def forever():
        print("paused", flush=True)
        await asyncio.Event().wait()

    async def main():
        first = await open_repository(Path(sys.argv[1]), INSTANCE, NAME)
        await first.claim(1)
        await first.commit(stored(1, before=0, after=200), 1)
        await first.close()
        # behind the check the new position is written already, but not committed
        second = await open_repository(Path(sys.argv[1]), INSTANCE, NAME, pause_after_check=forever)
        await second.commit(stored(2, before=200, after=300), 1)

    asyncio.run(main())
"""


async def test_a_writer_killed_in_mid_transaction_leaves_the_old_position(path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "paused\n"
        os.kill(writer.pid, signal.SIGSTOP)
        opened = await open_repository(path, INSTANCE, NAME, busy_timeout=0.01)
        with pytest.raises(RepositoryLocked):
            await opened.claim(2)
    finally:
        writer.kill()
        writer.communicate()
    assert await opened.claim(2) == 200
    assert await opened.event_row(1) == row(1)
    assert await opened.event_row(2) is None
    assert await opened.integrity_check() == []
    await opened.close()
