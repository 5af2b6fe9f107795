"""Power cuts: everything dies, and of each file only what an honest sync had made durable is left."""

from __future__ import annotations

import random
import time
from pathlib import Path

from tests.faults.harness import Cluster
from tests.faults.sections import Result, Say, Skipped, each
from tests.faults.shim import Shim, cut_power, keep_all, missing
from tests.faults.stage import Stage

KEPT = ("rx", "ha", "rim", "rulebase")


def folders(cluster: Cluster) -> list[Path]:
    """The folders of an instance that a power cut hits; nothing depends on logs of processes, which are not synced."""
    return [folder for name in KEPT if (folder := cluster.directory / name).is_dir()]


def powered(cluster: Cluster, folder: Path, node: str = "black") -> tuple[Shim, Path]:
    """A shim that keeps what is synced in this instance, and the folder where it does."""
    images = folder / "images"
    shim = Shim(folder, node, images=images, prefix=cluster.directory)
    keep_all(folders(cluster), images)
    return shim, images


def cuts(folder: Path, count: int, chance: random.Random, say: Say) -> Result:
    """A single node under load loses its power again and again."""
    if reason := missing():
        raise Skipped(reason)
    result = Result("power")
    made: list[tuple[Shim, Path]] = []

    def environment(cluster: Cluster, node: str) -> dict[str, str]:
        if not made:
            made.append(powered(cluster, folder))
        return made[0][0].environment

    with Stage(folder, chance, nodes=("black",), environment=environment) as stage:
        damaged = 0

        def one(number: int) -> str:
            nonlocal damaged
            stage.settle()
            time.sleep(chance.uniform(0.2, 1.5))
            acked = stage.load.acked
            stage.cluster.kill_all()
            changed = cut_power(folders(stage.cluster), made[0][1])
            damaged += changed
            stage.settle()
            return f"{acked} acknowledged before, {changed} files lost what was not synced"

        result.faults = each(count, say, "power", one)
        result.more = {"files": damaged}
        if not damaged:
            result.bad.append("no power cut took anything away")
        result.verdict = stage.finish()
    return result
