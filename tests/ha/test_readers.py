"""Readers of a stopped server's files share a lock that a start must have alone."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from opentec.ha import readers
from opentec.ha.errors import LeaseDirectoryError


def stay() -> None:
    raise AssertionError("nobody wants the reader to end")


def test_readers_share_and_a_start_is_alone(tmp_path: Path) -> None:
    with readers.reading(tmp_path, stay) as one, readers.reading(tmp_path, stay) as other:
        assert one and other
        assert readers.take(tmp_path) is None
    held = readers.take(tmp_path)
    assert held is not None
    with readers.reading(tmp_path, stay) as late:
        assert not late
    assert readers.take(tmp_path) is None
    os.close(held)
    with readers.reading(tmp_path, stay) as again:
        assert again


def test_a_reader_that_may_not_write_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.close(readers.take(tmp_path) or -1)
    opened = os.open

    def refuse(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, mode)

    monkeypatch.setattr(readers.os, "open", refuse)
    with readers.reading(tmp_path, stay) as alone:
        assert alone
    with pytest.raises(LeaseDirectoryError, match="readers: Permission denied; check the mount and the owner"):
        readers.take(tmp_path)


def test_what_root_reads_does_not_refuse_the_start_of_the_servers_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(readers.os, "fchown", lambda descriptor, *to: given.append(to))
    for user in (1, 0, 0):  # what is there already is not given away: it may be a link to something else
        monkeypatch.setattr(readers.os, "geteuid", lambda user=user: user)
        os.close(readers.take(tmp_path, "readers" if user else readers.WANTED) or -1)
    there = tmp_path.stat()
    assert given == [(there.st_uid, there.st_gid)]


def test_two_that_make_the_file_at_once_have_the_same_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def late(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_EXCL:
            path.touch()
        return opened(path, flags, mode)

    monkeypatch.setattr(readers.os, "open", late)
    with readers.reading(tmp_path, stay) as alone:
        assert alone and readers.take(tmp_path) is None


def test_a_reader_is_told_that_a_start_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_LOOK", 0.001)
    told = threading.Event()
    with readers.reading(tmp_path, told.set):
        assert readers.take(tmp_path) is None
        wanted = readers.take(tmp_path, readers.WANTED)
        assert wanted is not None
        assert told.wait(60)
    os.close(wanted)
    with readers.reading(tmp_path, stay) as alone:  # whoever waited is gone, however it ended
        assert alone


def test_a_reader_whose_directory_is_away_looks_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_LOOK", 0.001)
    taken, looks = readers.take, threading.Semaphore(0)

    def away(directory: Path, name: str = readers.NAME, *, shared: bool = False) -> int | None:
        if name != readers.WANTED:
            return taken(directory, name, shared=shared)
        looks.release()
        raise LeaseDirectoryError("away")

    monkeypatch.setattr(readers, "take", away)
    with readers.reading(tmp_path, stay) as alone:
        assert alone and looks.acquire(timeout=60) and looks.acquire(timeout=60)
