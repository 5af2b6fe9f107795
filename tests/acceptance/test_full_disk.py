"""A disk that fills up: events are no longer taken, nothing that was acknowledged is lost, and it goes on by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import plans
from tests.faults.checker import check
from tests.faults.client import Load, Sender
from tests.faults.harness import Cluster, wait_for

SIZE = 96 << 20
LEFT = 16 << 20  # bytes free when the load begins
PAD = "x" * 3000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An ext4 file system of SIZE bytes; skips, saying why, where none can be mounted."""
    image, mount = tmp_path / "image", tmp_path / "disk"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(SIZE)
    for command in (["mkfs.ext4", "-q", "-m", "0", str(image)], ["mount", "-o", "loop", str(image), str(mount)]):
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip(f"{command[0]} is not installed")
        if done.returncode:
            pytest.skip(
                f"no small file system can be mounted (root and a loop device are needed): {done.stderr.strip()}"
            )
    try:
        yield mount
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    with Cluster(small_disk, settings={"rx": {"free_percent": 5}}) as cluster:
        cluster.start()
        ballast = small_disk / "ballast"
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(small_disk).free - LEFT)

        def text(number: int) -> str:
            return plans.PLAIN.text("filler", number).replace(";END", f";origin={PAD};END")

        # its connection stays, though nothing is acknowledged for long: back-pressure is no failure
        filler = Sender(cluster.servers, text, "filler", rate=2000)
        with Load([filler]) as load:
            status = wait_for(
                "the server says that the disk is full",
                lambda: (s := cluster.status("black")) and any("full" in reason for reason in s["reasons"]) and s,
                60,
            )
            assert not status["healthy"]
            assert cluster.tec("status").returncode == 1
            assert cluster.tec("post", "--timeout", "1", "TEC_Notice", "TEST").returncode == 4
            stuck = filler.acked
            ballast.unlink()
            wait_for("events are taken again", lambda: filler.acked > stuck + 100)
            cluster.wait_up()
            assert load.finish(60)
        cluster.stop()
        verdict = check(cluster.directory, [filler])
        assert verdict.sound, verdict
        assert verdict.stored > stuck
