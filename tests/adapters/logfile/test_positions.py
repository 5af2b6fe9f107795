"""The file of saved positions, whole and damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opentec.adapters.logfile.positions import Loaded, PositionFile
from opentec.eif.errors import BufferUnusable

OLD, NEW = {"files": [1]}, {"files": [2, "é\udc80"]}


def check(data: Any) -> None:
    if "files" not in data:
        raise ValueError("no files in it")


@pytest.fixture
def positions(tmp_path: Path) -> PositionFile:
    return PositionFile(tmp_path / "positions")


def test_nothing_saved(positions: PositionFile) -> None:
    assert positions.load(check) == Loaded(None)


def test_save_and_load(positions: PositionFile) -> None:
    positions.save(OLD)
    positions.save(NEW)
    assert positions.load(check) == Loaded(NEW)
    assert sorted(path.name for path in positions.path.parent.iterdir()) == ["positions", "positions.old"]


def test_a_crash_between_the_renames_leaves_the_old_one(positions: PositionFile) -> None:
    positions.save(OLD)
    positions.save(NEW)
    positions.path.unlink()
    assert positions.load(check) == Loaded(OLD)


def test_damage_falls_back_to_the_save_before(positions: PositionFile) -> None:
    positions.save(OLD)
    positions.save(NEW)
    positions.path.write_bytes(positions.path.read_bytes()[:-3])
    loaded = positions.load(check)
    assert (loaded.data, loaded.doubt) == (OLD, 0)
    assert "damaged" in loaded.problem


def test_damage_of_both_is_a_doubt(positions: PositionFile) -> None:
    positions.save(OLD)
    positions.path.write_bytes(b"rubbish")
    loaded = positions.load(check)
    assert loaded.data is None
    assert loaded.doubt
    assert "read from their beginning" in loaded.problem
    assert positions.load(check).doubt == loaded.doubt


def test_incomplete_content_is_damage(positions: PositionFile) -> None:
    positions.save(OLD)
    positions.save({"file": []})
    loaded = positions.load(check)
    assert (loaded.data, loaded.doubt) == (OLD, 0)
    assert loaded.problem == f"{positions.path}: no files in it"


@pytest.mark.parametrize("good_before", [True, False])
def test_the_save_after_damage_keeps_the_good_one_before(positions: PositionFile, good_before: bool) -> None:
    positions.save(OLD)
    positions.save(OLD)
    for path in (positions.path, positions.old)[: 1 if good_before else 2]:
        path.write_bytes(b"rubbish")
    positions = PositionFile(positions.path)
    positions.load(check)
    old = positions.old.read_bytes()
    positions.save(NEW)
    assert positions.old.read_bytes() == old  # until the new one is in place, it is all there is
    assert positions.load(check) == Loaded(NEW)
    positions.save(OLD)
    positions.path.unlink()
    assert positions.load(check) == Loaded(NEW)


@pytest.mark.parametrize("name", ["positions", "positions.old"])
def test_another_version_is_refused_by_name(
    positions: PositionFile, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = positions.path.with_name(name)
    with monkeypatch.context() as patch:
        patch.setattr("opentec.adapters.logfile.positions.VERSION", 9)
        positions.save(OLD)
    data = positions.path.read_bytes()
    positions.path.write_bytes(b"rubbish")
    path.write_bytes(data)
    with pytest.raises(BufferUnusable, match=f"{name}: saved positions of version 9, .* version 1: go on with"):
        positions.load(check)
    assert path.read_bytes() == data


def test_what_cannot_be_read_is_not_taken_for_nothing(positions: PositionFile) -> None:
    positions.path.mkdir()
    with pytest.raises(OSError, match="the saved positions cannot be read"):
        positions.load(check)


def test_a_disk_that_refuses_leaves_the_saves_before(positions: PositionFile) -> None:
    positions.save(OLD)
    positions.path.with_name("positions.new").mkdir()
    with pytest.raises(OSError, match=r"positions\.new"):
        positions.save(NEW)
    assert positions.load(check) == Loaded(OLD)


@pytest.mark.parametrize("bit", range(8))
def test_no_flipped_bit_of_the_version_is_another_version(positions: PositionFile, bit: int) -> None:
    positions.save(NEW)
    data = bytearray(positions.path.read_bytes())
    data[data.index(b" ") + 1] ^= 1 << bit
    positions.path.write_bytes(data)
    assert positions.load(check).doubt


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 200), st.integers(0, 7))
def test_every_flipped_bit_is_noticed(positions: PositionFile, at: int, bit: int) -> None:
    positions.save(NEW)
    positions.old.unlink(missing_ok=True)
    data = bytearray(positions.path.read_bytes())
    data[at % len(data)] ^= 1 << bit
    positions.path.write_bytes(data)
    loaded = positions.load(check)
    assert loaded.data is None
    assert loaded.doubt
    positions.path.unlink()
