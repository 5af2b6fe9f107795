"""The preload shim itself: a fault that does not happen would let every test of disks and clocks pass."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.shim import Shim, cut_power, keep_all, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "there is a compiler")

WRITER = """
import os, sys, time
one = os.open(sys.argv[1] + "/one", os.O_RDWR | os.O_CREAT)
os.pwrite(one, b"synced ", 0)
os.fdatasync(one)
os.pwrite(one, b"again ", 7)
os.fdatasync(one)
os.pwrite(one, b"not", 13)
two = os.open(sys.argv[1] + "/two", os.O_WRONLY | os.O_CREAT)
os.write(two, b"abc")
os.fsync(two)
os.write(two, b"def")
three = os.open(sys.argv[1] + "/three.draft", os.O_WRONLY | os.O_CREAT)
os.write(three, b"renamed")
os.fsync(three)
os.rename(sys.argv[1] + "/three.draft", sys.argv[1] + "/three")
open(sys.argv[1] + "/never", "w").write("synced")
print(time.time())
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "place"
    place.mkdir()
    return place


def run(shim: Shim, place: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-c", WRITER, str(place)]
    return subprocess.run(
        command, env={**os.environ, **shim.environment}, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_power_cut_leaves_what_was_synced(tmp_path: Path, place: Path) -> None:
    images = tmp_path / "images"
    shim = Shim(tmp_path, "a", images=images, prefix=place)
    (place / "before").write_text("was there")
    keep_all([place], images)
    assert run(shim, place).returncode == 0
    assert cut_power([place], images) == 3
    found = {path.name: path.read_text() for path in place.iterdir()}
    assert found == {"before": "was there", "one": "synced again ", "two": "abc", "three": "renamed", "never": ""}
    assert cut_power([place], images) == 0


def test_a_lie_leaves_nothing(tmp_path: Path, place: Path) -> None:
    shim = Shim(tmp_path, "a", images=tmp_path / "images", prefix=place)
    shim.set(lie=True)
    assert run(shim, place).returncode == 0
    assert shim.hits == 4
    cut_power([place], tmp_path / "images")
    assert {path.read_text() for path in place.iterdir()} == {""}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"write": "ENOSPC"}, "No space left on device"),
        ({"write": "EROFS"}, "Read-only file system"),
        ({"sync": "EIO"}, "Input/output error"),
    ],
)
def test_errors(tmp_path: Path, place: Path, fault: dict[str, str], said: str) -> None:
    shim = Shim(tmp_path, "a")
    shim.set(place, **fault)  # type: ignore[arg-type]
    assert said in run(shim, place).stderr
    assert shim.hits == 1
    shim.set(tmp_path / "elsewhere", **fault)  # type: ignore[arg-type]
    assert run(shim, place).returncode == 0 and not shim.hits
    shim.set()
    assert run(shim, place).returncode == 0


def test_slow_syncs(tmp_path: Path, place: Path) -> None:
    shim = Shim(tmp_path, "a")
    shim.set(place, slow=0.1)
    began = time.monotonic()
    assert run(shim, place).returncode == 0
    assert time.monotonic() - began > 0.4 and shim.hits == 4


def test_a_kill_at_a_call(tmp_path: Path, place: Path) -> None:
    shim = Shim(tmp_path, "a")
    shim.set(place, kill_at=3)
    assert run(shim, place).returncode == -signal.SIGKILL
    assert shim.armed == 0
    assert (place / "one").read_bytes() == b"synced "


def test_a_clock_that_is_off(tmp_path: Path, place: Path) -> None:
    shim = Shim(tmp_path, "a")
    for step in (3600.0, -3600.0):
        shim.step_clock(step)
        before, said, after = time.time(), float(run(shim, place).stdout), time.time()
        assert before <= said - step <= after
