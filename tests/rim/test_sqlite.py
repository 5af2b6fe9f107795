"""Creating and opening, and what a person reads when that fails; disks that are full, files that are broken."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from opentec.rim import mounts, schema, sqlite
from opentec.rim.batch import Batch
from opentec.rim.errors import (
    NetworkFileSystem,
    NotARepository,
    RepositoryDamaged,
    RepositoryExists,
    RepositoryMissing,
    RepositoryUnavailable,
    SchemaVersionError,
    WrongInstance,
)
from opentec.rim.repository import Repository
from opentec.rim.sqlite import create_repository, open_repository
from tests.rim.rows import INSTANCE, NAME, stored


def edit(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


async def test_a_new_repository_is_complete_and_private(path: Path) -> None:
    assert [left.name for left in path.parent.iterdir()] == ["tec.db"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    opened = await open_repository(path, INSTANCE, NAME)
    assert await opened.integrity_check() == []
    assert (await opened._driver.read("PRAGMA journal_mode")) == [("wal",)]
    async with opened._driver.transaction() as connection:
        assert (await connection.exec_driver_sql("PRAGMA synchronous")).scalar_one() == 2
    await opened.close()
    await opened.close()


async def test_what_exists_is_never_overwritten(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(RepositoryExists, match=r"tec\.db"):
        await create_repository(path, INSTANCE, NAME)
    assert path.read_bytes() == before


async def test_two_makers_at_the_same_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "tec.db"
    link = os.link

    def late(source: Path, target: Path) -> None:
        target.write_text("the other's")
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(RepositoryExists, match="same moment"):
        await create_repository(place, INSTANCE, NAME)
    assert [left.name for left in tmp_path.iterdir()] == ["tec.db"]


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RepositoryUnavailable, match="cannot be made"):
        await create_repository(tmp_path / "none" / "tec.db", INSTANCE, NAME)
    with pytest.raises(
        RepositoryMissing, match="put back a copy of it, or begin anew with `tec init` and a new directory"
    ):
        await open_repository(tmp_path / "none" / "tec.db", INSTANCE, NAME)


async def test_things_that_are_no_repository(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("this is a letter to my aunt, not a database " * 50)
    with pytest.raises(NotARepository, match=r"text\.db: this file is not a SQLite database"):
        await open_repository(text, INSTANCE, NAME)
    empty = tmp_path / "empty.db"
    empty.touch()
    with pytest.raises(NotARepository, match="not a repository of opentec"):
        await open_repository(empty, INSTANCE, NAME)
    other = tmp_path / "other.db"
    edit(other, "CREATE TABLE songs (title)")
    with pytest.raises(NotARepository, match="not a repository of opentec"):
        await open_repository(other, INSTANCE, NAME)
    with pytest.raises(NotARepository, match="not a file"):
        await open_repository(tmp_path, INSTANCE, NAME)
    with pytest.raises(RepositoryUnavailable, match="owner and mode of its folders"):
        await open_repository(text / "tec.db", INSTANCE, NAME)


async def test_another_instance_or_server_is_refused(path: Path) -> None:
    with pytest.raises(WrongInstance, match=f"belongs to instance {INSTANCE}.*is instance other"):
        await open_repository(path, "other", NAME)
    with pytest.raises(WrongInstance, match="'tecserver', the configuration says 'tec2'"):
        await open_repository(path, INSTANCE, "tec2")


@pytest.mark.parametrize(("version", "advice"), [(99, "newer opentec"), (-1, "upgrade it")])
async def test_another_schema_is_refused(path: Path, version: int, advice: str) -> None:
    edit(path, f"UPDATE repository SET schema_version = {version}")
    with pytest.raises(SchemaVersionError, match=f"schema version {version}.*{advice}"):
        await open_repository(path, INSTANCE, NAME)


async def test_a_repository_without_its_own_row_is_damaged(path: Path) -> None:
    edit(path, "DELETE FROM repository")
    with pytest.raises(RepositoryDamaged, match="missing"):
        await open_repository(path, INSTANCE, NAME)


async def test_a_lost_table_is_damage(repository: Repository, path: Path) -> None:
    edit(path, "DROP TABLE outcome")
    with pytest.raises(RepositoryDamaged, match="no such table"):
        await repository.commit(stored(1, before=0, after=200), 1)
    with pytest.raises(RepositoryDamaged, match="no such table"):
        await repository.outcome(1)
    assert await repository.position() == 0


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write everything; the check of modes needs another user."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


async def test_a_read_only_file_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        place.chmod(0o777)
        path = place / "tec.db"
        await create_repository(path, INSTANCE, NAME)
        path.chmod(0o444)
        with as_nobody(), pytest.raises(RepositoryUnavailable, match="may not read and write it"):
            await open_repository(path, INSTANCE, NAME)


async def test_a_file_that_turns_read_only(repository: Repository) -> None:
    async with repository._driver.transaction() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
    assert raw is not None
    await raw.execute("PRAGMA query_only = ON")
    with pytest.raises(RepositoryUnavailable, match="read-only"):
        await repository.commit(stored(1, before=0, after=200), 1)
    await raw.execute("PRAGMA query_only = OFF")
    await repository.commit(stored(1, before=0, after=200), 1)


async def test_a_full_disk_writes_nothing_and_recovers(repository: Repository) -> None:
    async def limit(pages: int) -> None:
        async with repository._driver.transaction() as connection:
            await connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    await repository.commit(stored(1, before=0, after=200), 1)
    await limit(1)  # SQLite takes it as "no page more than there are"
    big = stored(*range(2, 1000), before=200, after=200_000, msg="m" * 200)
    with pytest.raises(RepositoryUnavailable, match="the disk is full; free some space"):
        await repository.commit(big, 1)
    assert await repository.position() == 200
    assert await repository.event_row(2) is None
    await limit(100_000)
    await repository.commit(big, 1)
    assert (await repository.counts()).events == 999


async def test_a_damaged_page_is_found(path: Path) -> None:
    opened = await open_repository(path, INSTANCE, NAME)
    await opened.claim(1)
    await opened.commit(stored(*range(1, 900), before=0, after=100_000), 1)
    await opened.close()
    with path.open("r+b") as file:
        for page in range(40, 50):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    opened = await open_repository(path, INSTANCE, NAME)
    assert await opened.integrity_check() != []
    with pytest.raises(RepositoryDamaged, match="put back"):
        await opened.counts()
    await opened.close()


async def test_a_damaged_schema_page_is_found(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3996)
    with pytest.raises(RepositoryDamaged, match="malformed"):
        await open_repository(path, INSTANCE, NAME)


async def test_a_closed_repository_says_so(repository: Repository) -> None:
    await repository.close()
    with pytest.raises(RepositoryUnavailable, match="closed"):
        await repository.position()
    with pytest.raises(RepositoryUnavailable, match="closed"):
        await repository.commit(Batch(before=0, after=1), 1)


@pytest.mark.parametrize("turns", range(0, 24, 3))
async def test_a_query_that_is_under_way_ends_before_the_end(repository: Repository, turns: int) -> None:
    """Whoever asks a connection that is being closed may wait for ever."""
    asked = [asyncio.ensure_future(repository._driver._read("SELECT 1", ())) for _ in range(3)]
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await repository.close()
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            assert answer == [(1,)] or isinstance(answer, RepositoryUnavailable)


async def test_a_lost_connection_is_told(repository: Repository) -> None:
    async with repository._driver.transaction() as connection:
        raw = await connection.get_raw_connection()
    assert raw.driver_connection is not None
    await raw.driver_connection.close()
    with pytest.raises(RepositoryUnavailable, match="open the repository again"):
        await repository.commit(Batch(before=0, after=1), 1)


async def test_a_wrong_query_is_an_error_of_the_repository(repository: Repository) -> None:
    with pytest.raises(Exception, match="binding"):
        await repository._driver.read("SELECT ?", ({},))
    assert await repository.position() == 0


async def test_paths_with_odd_characters(tmp_path: Path) -> None:
    place = tmp_path / "a b%20?#ü&mode=ro.db"
    await create_repository(place, INSTANCE, NAME)
    opened = await open_repository(place, INSTANCE, NAME)
    await opened.claim(1)
    await opened.close()
    assert [left.name for left in tmp_path.iterdir()] == [place.name]


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ("/dev/vda / ext4 rw 0 0\nsrv:/x /mnt/nfs nfs4 rw 0 0\n", "nfs4"),
        ("/dev/vda / ext4 rw 0 0\nsrv:/x /mnt nfs rw 0 0\n/dev/vdb /mnt/nfs xfs rw 0 0\n", None),
        ("srv:/x /mnt/nfs cifs rw 0 0\n/dev/vdb /mnt/nfs ext4 rw 0 0\n", None),
        ("srv:/x /mnt/nf nfs rw 0 0\nbroken\n", None),
        ("", None),
    ],
)
def test_network_file_systems_are_known(tmp_path: Path, lines: str, kind: str | None) -> None:
    table = tmp_path / "mounts"
    table.write_text(lines)
    assert mounts.network_file_system(Path("/mnt/nfs/rim/tec.db"), table, lambda path: 0) == kind


@pytest.mark.parametrize(
    ("magic", "line", "kind"),
    [
        (0x6969, "/dev/sda1 / ext4 rw", "nfs"),
        (0xFF534D42, "", "cifs"),
        (0xFE534D42, "", "smb2"),
        (0x01021997, "", "9p"),
        (0xEF53, "/dev/sda1 / ext4 rw", None),
        (0x01161970, "/dev/sda1 / gfs2 rw", None),
        (0x65735546, "host:/x / fuse.sshfs rw", "fuse.sshfs"),
        (0x65735546, "/dev/sda1 / fuse.ntfs rw", None),
        (0, "srv:/x / nfs4 rw", "nfs4"),
    ],
)
def test_the_kernel_s_own_word_comes_first(tmp_path: Path, magic: int, line: str, kind: str | None) -> None:
    table = tmp_path / "mounts"
    table.write_text(f"{line} 0 0\n" if line else "")
    assert mounts.network_file_system(tmp_path / "tec.db", table, lambda path: magic) == kind


def test_a_kernel_that_does_not_say(tmp_path: Path) -> None:
    def fails(path: Path) -> int:
        raise OSError

    table = tmp_path / "mounts"
    table.write_text("srv:/x / nfs4 rw 0 0\n")
    assert mounts.network_file_system(tmp_path, table, fails) == "nfs4"
    assert mounts.statfs_type(tmp_path / "none" / "deeper") == mounts.statfs_type(tmp_path) > 0
    assert mounts.statfs_type(Path("/proc/self")) == 0x9FA0


def test_mount_points_may_hold_spaces(tmp_path: Path) -> None:
    table = tmp_path / "mounts"
    table.write_text("srv:/x /mnt/a\\040b nfs rw 0 0\n")
    assert mounts.network_file_system(Path("/mnt/a b/tec.db"), table, lambda path: 0) == "nfs"
    assert mounts.network_file_system(Path("/mnt/a b/tec.db"), tmp_path / "none") is None


async def test_a_network_file_system_is_refused_unless_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "network_file_system", lambda _path: "nfs4")
    with pytest.raises(NetworkFileSystem, match="nfs4"):
        await open_repository(path, INSTANCE, NAME)
    with pytest.raises(NetworkFileSystem, match="nfs4"):
        await create_repository(path.with_name("b.db"), INSTANCE, NAME)
    opened = await open_repository(path, INSTANCE, NAME, allow_network_fs=True)
    await opened.close()


def test_an_old_sqlite_is_warned_about() -> None:
    assert sqlite.version_warnings((3, 51, 3)) == []
    assert "3.40.1 is older than 3.51.3" in sqlite.version_warnings((3, 40, 1))[0]


async def test_warnings_are_on_the_repository(repository: Repository) -> None:
    assert repository.warnings == sqlite.version_warnings(sqlite3.sqlite_version_info)


def test_the_schema_names_every_column() -> None:
    assert set(schema.IMMUTABLE) < set(schema.COLUMNS)
    assert set(schema.COLUMNS) > schema.INTEGER_COLUMNS
