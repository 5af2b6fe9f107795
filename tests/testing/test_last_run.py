"""What --last-failed remembers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from opentec.testing import last_run
from opentec.testing.last_run import read_failed, real_name, write_failed


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "t.yaml").touch()
    return str(tmp_path / "t.yaml")


def test_what_failed_is_remembered_until_it_passes(cache: Path, tmp_path: Path, file: str) -> None:
    known = {file: {"a", "b", "c"}}
    write_failed(cache, tmp_path, {(file, "a"): False, (file, "b"): True, (file, "c"): False}, known)
    assert read_failed(cache, tmp_path) == {(file, "a"), (file, "c")}
    write_failed(cache, tmp_path, {(file, "a"): True}, known)
    assert read_failed(cache, tmp_path) == {(file, "c")}
    assert read_failed(cache, tmp_path / "other") == set()


def test_what_is_gone_is_forgotten(cache: Path, tmp_path: Path, file: str) -> None:
    gone = str(tmp_path / "gone.yaml")
    ran = {(file, "a"): False, (file, "b"): False, (gone, "x"): False}
    write_failed(cache, tmp_path, ran, {})
    assert read_failed(cache, tmp_path) == set(ran)
    write_failed(cache, tmp_path, {}, {})
    assert read_failed(cache, tmp_path) == {(file, "a"), (file, "b")}
    write_failed(cache, tmp_path, {}, {file: {"b"}})
    assert read_failed(cache, tmp_path) == {(file, "b")}


def test_without_a_cache_nothing_is_remembered(tmp_path: Path) -> None:
    write_failed(None, tmp_path, {("f", "a"): False}, {})
    assert read_failed(None, tmp_path) == set()


@pytest.mark.parametrize("content", [b"", b"{}", b"[[1, 2]]", b'[["a"]]', b"\xff"])
def test_what_cannot_be_read_is_nothing(cache: Path, tmp_path: Path, file: str, content: bytes) -> None:
    write_failed(cache, tmp_path, {(file, "a"): False}, {})
    (path,) = (cache / "last-failed").iterdir()
    path.write_bytes(content)
    assert read_failed(cache, tmp_path) == set()


def test_what_others_may_write_is_nothing(cache: Path, tmp_path: Path, file: str) -> None:
    write_failed(cache, tmp_path, {(file, "a"): False}, {})
    (cache / "last-failed").chmod(0o777)
    assert read_failed(cache, tmp_path) == set()


def of_all(path: Path) -> None:
    path.chmod(0o606)


def a_link(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize("turn", [of_all, a_link, a_pipe])
def test_a_file_that_is_not_ours_alone_is_nothing(
    cache: Path, tmp_path: Path, file: str, turn: Callable[[Path], None]
) -> None:
    write_failed(cache, tmp_path, {(file, "a"): False}, {})
    (path,) = (cache / "last-failed").iterdir()
    turn(path)
    assert read_failed(cache, tmp_path) == set()


def test_the_folder_does_not_grow_for_ever(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_run, "MAX_FILES", 2)
    for number in range(5):
        write_failed(cache, tmp_path / str(number), {("f", "a"): False}, {})
    assert len(list((cache / "last-failed").iterdir())) == 2


def test_a_name_that_is_no_text_can_be_stored(cache: Path, tmp_path: Path) -> None:
    name = real_name(str(tmp_path) + "/\udcff.yaml")
    assert name.endswith("/\\xff.yaml")
    write_failed(cache, tmp_path, {(name, "a"): False}, {name: {"a"}})
    assert read_failed(cache, tmp_path) == {(name, "a")}
