"""The file of saved positions, whole and damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opentec.adapters.logfile.positions import Loaded, PositionFile

OLD, NEW = {"files": [1]}, {"files": [2, "é\udc80"]}


@pytest.fixture
def positions(tmp_path: Path) -> PositionFile:
    return PositionFile(tmp_path / "positions")


def test_nothing_saved(positions: PositionFile) -> None:
    assert positions.load() == Loaded(None)


def test_save_and_load(positions: PositionFile) -> None:
    positions.save(OLD)
    positions.save(NEW)
    assert positions.load() == Loaded(NEW)
    assert sorted(path.name for path in positions.path.parent.iterdir()) == ["positions", "positions.old"]


def test_a_crash_between_the_renames_leaves_the_old_one(positions: PositionFile) -> None:
    positions.save(OLD)
    positions.save(NEW)
    positions.path.unlink()
    assert positions.load() == Loaded(OLD)


def test_damage_falls_back_to_the_save_before(positions: PositionFile) -> None:
    positions.save(OLD)
    positions.save(NEW)
    positions.path.write_bytes(positions.path.read_bytes()[:-3])
    loaded = positions.load()
    assert (loaded.data, loaded.doubt) == (OLD, 0)
    assert "damaged" in loaded.problem


def test_damage_of_both_is_a_doubt(positions: PositionFile) -> None:
    positions.save(OLD)
    positions.path.write_bytes(b"rubbish")
    loaded = positions.load()
    assert loaded.data is None
    assert loaded.doubt
    assert "read from their beginning" in loaded.problem
    assert positions.load().doubt == loaded.doubt


def test_another_version_is_named(positions: PositionFile) -> None:
    positions.save(OLD)
    positions.path.write_bytes(positions.path.read_bytes().replace(b"positions 0 ", b"positions 9 "))
    assert "version 9" in positions.load().problem


def test_what_cannot_be_read_is_not_taken_for_nothing(positions: PositionFile) -> None:
    positions.path.mkdir()
    with pytest.raises(OSError, match="the saved positions cannot be read"):
        positions.load()


def test_a_disk_that_refuses_leaves_the_saves_before(positions: PositionFile) -> None:
    positions.save(OLD)
    positions.path.with_name("positions.new").mkdir()
    with pytest.raises(OSError, match=r"positions\.new"):
        positions.save(NEW)
    assert positions.load() == Loaded(OLD)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 200), st.integers(0, 7))
def test_every_flipped_bit_is_noticed(positions: PositionFile, at: int, bit: int) -> None:
    positions.save(NEW)
    positions.old.unlink(missing_ok=True)
    data = bytearray(positions.path.read_bytes())
    data[at % len(data)] ^= 1 << bit
    positions.path.write_bytes(data)
    loaded = positions.load()
    assert loaded.data is None
    assert loaded.doubt
    positions.path.unlink()
