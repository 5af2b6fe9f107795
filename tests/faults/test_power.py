"""fdatasync: an acknowledged event outlives a power cut; where the disk lies about it, it is lost, every time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.checker import check
from tests.faults.courses import BEFORE, LATE
from tests.faults.hand import Hand
from tests.faults.harness import Cluster
from tests.faults.power import folders, powered
from tests.faults.shim import cut_power, missing


@pytest.mark.skipif(bool(missing()), reason=missing() or "there is a compiler")
@pytest.mark.parametrize("lies", [True, False])
def test_a_disk_that_lies_loses(tmp_path: Path, lies: bool) -> None:
    with Cluster(tmp_path) as cluster, Hand() as hand:
        shim, images = powered(cluster, tmp_path)
        cluster.start("black", more=shim.environment)
        hand.deliver(cluster.servers[0], BEFORE)
        shim.set(lie=lies)
        hand.send(LATE)
        assert hand.acknowledged(LATE)
        assert bool(shim.hits) == lies
        cluster.kill_all()
        cut_power(folders(cluster), images)
        shim.set()
        cluster.start("black", more=shim.environment)
        cluster.wait_up("black")
        cluster.stop()
        verdict = check(cluster.directory, [hand.promise])
        if lies:
            assert verdict.lost == [f"hand {LATE} was acknowledged and is not in the log"], verdict
        else:
            assert verdict.sound, verdict
            assert verdict.stored == LATE
