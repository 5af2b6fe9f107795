"""What a node that gave way left behind: known to others for as long as it may keep the database locked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from opentec.ha import epochs, marks, process


def test_what_waits_for_a_disk_is_known_until_it_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not marks.left(tmp_path, 7)
    marks.mark_left(tmp_path, 7, "brown", [os.getpid()])
    marks.forget_left(tmp_path, "brown")
    assert marks.left(tmp_path, 7)
    monkeypatch.setattr(process, "start_time", lambda pid: None)
    marks.forget_left(tmp_path, "black")
    assert marks.left(tmp_path, 7), "only the node itself sees its processes"
    marks.forget_left(tmp_path, "brown")
    assert not marks.left(tmp_path, 7)


def test_another_node_never_sees_half_of_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would take it for a broken file, and delete what the node at work goes by when it asks for fencing."""
    write, seen = Path.write_text, []

    def slow(path: Path, text: str) -> int:
        write(path, text[:9])
        seen.append(marks.left(tmp_path, 7))
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", slow)
    marks.mark_left(tmp_path, 7, "brown", [os.getpid()])
    assert seen == [False] and marks.left(tmp_path, 7)


def test_nothing_is_left_of_another_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marks.mark_left(tmp_path, 7, "brown", [os.getpid()])
    monkeypatch.setattr(process, "boot_id", lambda: "another")
    marks.forget_left(tmp_path, "brown")
    assert not marks.left(tmp_path, 7)


def test_a_number_that_is_another_process_by_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marks.mark_left(tmp_path, 7, "brown", [os.getpid()])
    monkeypatch.setattr(process, "start_time", lambda pid: 1)
    marks.forget_left(tmp_path, "brown")
    assert not marks.left(tmp_path, 7)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"node": "brown", "boot_id": "", "left": 7}'])
def test_half_a_file_says_nothing(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "boot_id", lambda: "")
    (tmp_path / "left.7").write_text(text)
    marks.forget_left(tmp_path, "brown")
    assert not marks.left(tmp_path, 7)


def test_it_goes_with_its_epoch_and_costs_nothing_where_the_disk_fails(tmp_path: Path) -> None:
    marks.mark_left(tmp_path / "none", 7, "brown", [1])
    marks.mark_left(tmp_path, 7, "brown", [os.getpid()])
    for number in range(7, 20):
        epochs.path_of(tmp_path, number).write_bytes(epochs.encode({}))
    epochs.gc(tmp_path)
    assert not marks.left(tmp_path, 7)
