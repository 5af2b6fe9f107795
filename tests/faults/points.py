"""Kills and stops between two steps: at every named place of the server, and at any call that changes the disk."""

from __future__ import annotations

import random
import re
import signal
import time
from pathlib import Path

from tests.faults.disks import shimmed
from tests.faults.harness import ROOT, Late, wait_for
from tests.faults.sections import Result, Say, each
from tests.faults.stage import Stage

PASSES = 5
UNDER_LOAD = (
    "rx.before-append",
    "rx.syncing",
    "rx.synced",
    "rx.published",
    "rule.record",
    "dispatch.before-commit",
    "dispatch.checked",
    "dispatch.committed",
    "disk.trial",
)
AT_TAKEOVER = ("takeover.sealed", "dispatch.before-claim")
AT_LOAD = (
    "rx.activating",
    "rx.activated",
    "rx.activate-durable",
    "rx.activate-remembered",
    "rule.activating",
    "rule.activated",
)
ELSEWHERE = {
    "rx.checked": "only where a safety rule is off: tests/faults/test_negative_controls.py",
    "rx.published-unchecked": "only where a safety rule is off: tests/faults/test_negative_controls.py",
    "task.acknowledged": "forwarding to another server: tests/acceptance/test_tasks.py",
}


def places() -> set[str]:
    """Every place that the server's sources name."""
    sources = "".join(path.read_text() for path in (ROOT / "src/opentec").rglob("*.py"))
    return set(re.findall(r'hooks\.reach\("([^"]+)"\)', sources)) | {"dispatch.before-claim"}


def plan(count: int) -> list[tuple[str, int]]:
    """The first `count` of all places and passes: every place once, then every place once more."""
    often = [*UNDER_LOAD, *AT_LOAD]
    found = [(place, 1) for place in (*often, *AT_TAKEOVER)]
    found += [(place, n) for n in range(2, PASSES + 1) for place in (*often, *AT_TAKEOVER)]
    return found[:count] if count else found


class Armed:
    """A stage whose nodes kill or stop themselves at a place."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "arm"

    def environment(self) -> dict[str, str]:
        return {"TEC_TEST_ARM": str(self.file)}

    def arm(self, place: str, number: int, action: str) -> None:
        draft = self.file.with_name("arm.draft")
        draft.write_text(f"{place} {number} {action}")
        self._done.unlink(missing_ok=True)
        draft.rename(self.file)

    @property
    def _done(self) -> Path:
        return self.file.with_name("arm.done")

    def wait(self, patience: float = 30.0) -> None:
        wait_for(
            f"{self.file.read_text() if self.file.exists() else 'the place'} is reached", self._done.exists, patience
        )


def kill_server(stage: Stage, active: str) -> None:
    """SIGKILL all five, the master first so that it starts nothing again."""
    five = stage.cluster.five(active)
    for victim in (five.pop("tec_master"), *five.values()):
        victim.signal(signal.SIGKILL)


def edit(stage: Stage, number: int) -> None:
    """Another rule base by its hash, and the same one by what it does."""
    rules = stage.cluster.rules / "TEC_RULES" / "load.rls"
    body = rules.read_text().partition("% edition ")[0]
    rules.write_text(f"{body}% edition {number}\n")


def points(folder: Path, count: int, chance: random.Random, say: Say) -> Result:
    """Kill at each place in turn; `count` 0 is all of them."""
    result = Result("points")
    known = {*UNDER_LOAD, *AT_TAKEOVER, *AT_LOAD, *ELSEWHERE}
    if places() != known:
        result.bad.append(f"places that no list here has, or the other way round: {sorted(places() ^ known)}")
    folder.mkdir(parents=True, exist_ok=True)
    armed, wanted = Armed(folder), plan(count)
    with Stage(folder, chance, hooks="unsafe:nothing", environment=lambda *_: armed.environment()) as stage:

        def one(number: int) -> str:
            place, turn = wanted[number - 1]
            active = stage.settle()
            if place in AT_TAKEOVER:
                # each pass is another takeover; one that is killed there is taken over again by the other node
                armed.arm(place, 1, "kill")
                kill_server(stage, active)
            elif place in AT_LOAD:
                for _ in range(turn - 1):
                    edit(stage, number * 100 + _)
                    stage.cluster.tec("rulebase", "load", node=active)
                armed.arm(place, 1, "kill")
                edit(stage, number * 100 + 99)
                stage.cluster.tec("rulebase", "load", node=active)
            else:
                armed.arm(place, turn, "kill")
            try:
                armed.wait()
            except Late as late:
                result.bad.append(f"{place} {turn}: {late}")
                armed.file.unlink(missing_ok=True)
            stage.settle()
            return f"{place} {turn}"

        result.faults = each(len(wanted), say, "points", one)
        result.verdict = stage.finish()
    return result


def transactions(folder: Path, count: int, chance: random.Random, say: Say) -> Result:
    """tec_dispatch stops where it holds the repository's lock; by turns alone, and with everything of its node."""
    result = Result("transactions")
    folder.mkdir(parents=True, exist_ok=True)
    armed = Armed(folder)
    took: list[float] = []
    with Stage(folder, chance, hooks="unsafe:nothing", environment=lambda *_: armed.environment()) as stage:

        def one(number: int) -> str:
            active = stage.settle()
            epoch, five = stage.epoch(), stage.cluster.five(active)
            armed.arm("dispatch.checked", chance.randrange(1, 20), "stop")
            try:
                armed.wait(10)
            except Late:  # a node that gave way begins anew as it is installed, and knows of no armed places
                stage.cluster.kill_all()
                stage.start_all()
                active = stage.settle()
                epoch, five = stage.epoch(), stage.cluster.five(active)
                armed.wait()
            began = time.monotonic()
            whole = number % 2 == 1
            if whole:
                for name, victim in five.items():
                    if name != "tec_dispatch":
                        victim.signal(signal.SIGSTOP)
                other = next(node for node in stage.cluster.ports if node != active)
                wait_for(
                    f"{other} takes over",
                    lambda: (s := stage.cluster.status(other)) and s["healthy"] and s["epoch"] > epoch,
                )
                took.append(round(time.monotonic() - began, 2))
            else:
                wait_for("it is ended", lambda: not five["tec_dispatch"].alive)
            for victim in five.values():
                victim.signal(signal.SIGCONT)
            stage.settle()
            return f"{'the whole node' if whole else 'tec_dispatch'} of {active}, {time.monotonic() - began:.1f} s"

        result.faults = each(count, say, "transactions", one)
        result.more = {"healthy_after_max": max(took, default=0.0), "healthy_after": sorted(took)[len(took) // 2 :][:1]}
        result.verdict = stage.finish()
    return result


def calls(folder: Path, count: int, chance: random.Random, say: Say) -> Result:
    """Kill at the n-th call that changes the disk; every third time while the other node takes over."""
    result = Result("calls")
    with shimmed(folder, chance) as (stage, shims):
        met = 0

        def one(number: int) -> str:
            nonlocal met
            active = stage.settle()
            other = next(node for node in stage.cluster.ports if node != active)
            takeover = number % 3 == 0
            where = "" if takeover else ("rx", "rim", "ha")[number // 3 % 3]
            at = chance.randrange(1, 40 if where != "ha" else 8)
            victim = shims[other if takeover else active]
            victim.set(stage.cluster.directory / where, kill_at=at)
            if takeover:
                kill_server(stage, active)
            end = time.monotonic() + 4
            while victim.armed > 0 and time.monotonic() < end:
                time.sleep(0.01)
            done = victim.armed <= 0
            met += done
            victim.set()
            stage.settle()
            return f"call {at} of {where or 'all'} of {'the successor' if takeover else active}" + (
                "" if done else ", not met"
            )

        result.faults = each(count, say, "calls", one)
        result.more = {"met": met}
        if met < count // 2:
            result.bad.append(f"only {met} of {count} calls came")
        result.verdict = stage.finish()
    return result
