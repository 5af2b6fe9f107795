"""The wall clock of servers steps by an hour: no failover, no log time that goes back, nothing lost or doubled."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from tests.faults.disks import shimmed
from tests.faults.sections import Result, Say, each
from tests.faults.stage import NODES

HOUR = 3600.0


def steps(folder: Path, count: int, chance: random.Random, say: Say) -> Result:
    """Each step is of one node or of both, ahead or back; every fourth is followed by a failover to the other clock."""
    result = Result("clocks")
    with shimmed(folder, chance) as (stage, shims):
        at = dict.fromkeys(NODES, 0.0)

        def one(number: int) -> str:
            active = stage.settle()
            epoch = stage.epoch()
            hurt = NODES if number % 2 else (active,)
            before = at[active]
            now = chance.choice([hour for hour in (-HOUR, 0.0, HOUR) if hour != before])
            for node in hurt:
                at[node] = now
                shims[node].step_clock(now)
            time.sleep(1.5)  # longer than the lease lives
            stage.progresses()
            if stage.epoch() != epoch:
                result.bad.append(f"step {number} by {now - before:g} s: epoch {epoch} to {stage.epoch()}")
            told = f"{now - before:+g} s of {'both' if len(hurt) == 2 else active}: epoch stays {epoch}"
            if number % 4 == 0:
                active = stage.settle()
                five = stage.cluster.five(active)
                for victim in (five.pop("tec_master"), *five.values()):
                    victim.signal(signal.SIGKILL)
                stage.settle()
                told += f"; killed, now epoch {stage.epoch()}"
            return told

        result.faults = each(count, say, "clocks", one)
        for shim in shims.values():
            shim.step_clock(0)
        result.verdict = stage.finish()
    return result
