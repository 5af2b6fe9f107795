"""Claims at the same moment: by two processes that do nothing else, and by two whole servers."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap
from pathlib import Path

from opentec.ha.epochs import numbers
from tests.faults.sections import Result, Say, each
from tests.faults.stage import Stage
from tests.ha.test_processes import CLAIMANT, hear, tell


def claims(folder: Path, count: int, chance: random.Random, say: Say) -> Result:
    """Each number has one winner, and none is left out."""
    result = Result("claims")
    folder.mkdir(parents=True, exist_ok=True)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(CLAIMANT), str(folder), node],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for node in ("black", "brown")
    ]
    won = [0, 0]
    try:
        for child in started:
            hear(child)
        for number in range(count):
            order = chance.sample(started, 2)
            for child in order:
                tell(child, number)
            heard = [hear(child) for child in started]
            if sorted(heard) != sorted(["lost", str(number + 1)]):
                result.bad.append(f"epoch {number + 1}: {heard}")
                break
            won[heard.index(str(number + 1))] += 1
            result.faults += 1
    finally:
        for child in started:
            child.kill()
            child.communicate()
    if numbers(folder) != list(range(1, result.faults + 1)):
        result.bad.append("the files of the epochs are not 1, 2, 3, ...")
    result.more = {"won": won}
    say(f"claims {result.faults}/{count}  won {won}")
    return result


def starts(folder: Path, count: int, chance: random.Random, say: Say) -> Result:
    """Both nodes are dead and start at once: one serves, in the next epoch, and the other stands by."""
    result = Result("starts")
    with Stage(folder, chance) as stage:
        served: list[str] = []

        def one(number: int) -> str:
            before = stage.epoch()
            stage.kill_all()
            stage.start_all()
            active = stage.settle()
            after = stage.epoch()
            if after != before + 1:
                result.bad.append(f"start {number}: epoch {before} to {after}, one winner expected")
            served.append(active)
            return f"epoch {after}, {active} serves"

        result.faults = each(count, say, "starts", one)
        result.more = {"served": {node: served.count(node) for node in stage.cluster.ports}}
        result.verdict = stage.finish()
    return result
