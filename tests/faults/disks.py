"""Disks that fail under load: full, failing, read-only, slow. Nothing is acknowledged that is not durable."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.faults.sections import Result, Say, Skipped, each
from tests.faults.shim import Shim, missing
from tests.faults.stage import NODES, Stage

FOLDERS = ("rx", "ha", "rim", "")  # of the instance directory; "": all of it


@contextmanager
def shimmed(folder: Path, chance: random.Random, **options: Any) -> Iterator[tuple[Stage, dict[str, Shim]]]:
    """A stage whose nodes each have a shim. Raises Skipped."""
    if reason := missing():
        raise Skipped(reason)
    folder.mkdir(parents=True, exist_ok=True)
    shims = {node: Shim(folder, node) for node in NODES}
    options.setdefault("disk_limit", "auto")  # who gives way for a slow disk is what these are about
    with Stage(folder, chance, environment=lambda _, node: shims[node].environment, **options) as stage:
        yield stage, shims


def _inflict(name: str, folder: Path, count: int, chance: random.Random, say: Say, fault: dict[str, Any]) -> Result:
    result = Result(name)
    with shimmed(folder, chance) as (stage, shims):
        hits = 0

        def one(number: int) -> str:
            nonlocal hits
            active = stage.settle()
            where = FOLDERS[(number - 1) % len(FOLDERS)]
            both = chance.random() < 0.3  # the disk that both share, or one node's way to it
            hurt = NODES if both else (active,)
            values = {key: value(chance) if isinstance(value, Callable) else value for key, value in fault.items()}  # type: ignore[arg-type]
            epoch, lasts = stage.epoch(), chance.uniform(0.5, 3.0)
            for node in hurt:
                shims[node].set(stage.cluster.directory / where, **values)
            time.sleep(lasts)
            met = sum(shims[node].hits for node in hurt)
            for shim in shims.values():
                shim.set()
            hits += met
            if not met:
                result.bad.append(f"fault {number} met no call")
            stage.mend(90)
            stage.progresses()
            moved = stage.epoch() - epoch
            whose = f"{where or 'all'} of {'both' if both else active}"
            return f"{whose}, {lasts:.1f} s, {values}: {met} calls, {moved} epochs on"

        result.faults = each(count, say, name, one)
        result.more = {"hits": hits, "restarts": stage.restarts}
        result.verdict = stage.finish()
    return result


def full(folder: Path, count: int, chance: random.Random, say: Say) -> Result:
    """ENOSPC from every write."""
    return _inflict("disk-full", folder, count, chance, say, {"write": "ENOSPC"})


def error(folder: Path, count: int, chance: random.Random, say: Say) -> Result:
    """EIO from every write and sync."""
    return _inflict("disk-error", folder, count, chance, say, {"write": "EIO", "sync": "EIO"})


def read_only(folder: Path, count: int, chance: random.Random, say: Say) -> Result:
    """EROFS from every write and sync, as of a file system that was remounted."""
    return _inflict("disk-read-only", folder, count, chance, say, {"write": "EROFS", "sync": "EROFS"})


def slow(folder: Path, count: int, chance: random.Random, say: Say) -> Result:
    """Every sync takes long."""
    return _inflict(
        "disk-slow", folder, count, chance, say, {"slow": lambda c: round(c.choice((0.1, 0.4, 1.0, 3.0)), 1)}
    )
