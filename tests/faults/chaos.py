"""`python -m tests.faults.chaos --kills N --stops N --seed N`: kill and stop processes under load, then count.

Victims are each of the five processes, the whole server, the standby, and a logfile adapter. A kill is SIGKILL at a
random moment; a stop is SIGSTOP for longer than the lease's time to live, then SIGCONT. Faults come only when the
server is healthy and a standby is ready. The last line on standard output is one JSON object; the exit status is 0 only
if nothing was lost or doubled and every epoch that opened its port posted one notice.

A gap is the longest time between two acknowledgements that a steady sender saw around a fault. It includes the sender's
own patience: 1 s without an acknowledgement, 0.5 s without an answer to its greeting, before it tries the next server.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults import plans
from tests.faults.checker import Checker, Verdict
from tests.faults.client import Load, Sender
from tests.faults.harness import PATIENCE, PROCESSES, Cluster, Late, Process, wait_for
from tests.faults.tailing import Tailing

NODES = ("black", "brown")
SERVER, STANDBY, ADAPTER = "server", "standby", "adapter"
VICTIMS = (*PROCESSES, SERVER, STANDBY, ADAPTER)
HANG_AFTER = 1.5  # seconds, supervision.hang_after of the run
HOLD = (1.2, 2.2)  # seconds that a stop lasts; the lease lives for 1 s
STEADY_RATE = 200.0  # events a second of the sender that measures gaps


@dataclass
class Fault:
    """One fault and what it cost."""

    kind: str  # "kill" or "stop"
    victim: str
    at: float = 0.0
    healthy: float = 0.0  # when the server was healthy again
    gap: float = 0.0


@dataclass
class Chaos:
    """A run: cluster, load and the faults so far."""

    cluster: Cluster
    senders: list[tuple[Sender, plans.Plan]]
    tailing: Tailing
    random: random.Random
    faults: list[Fault] = field(default_factory=list)
    restarts: int = 0  # of nodes and the adapter, by this program

    @property
    def steady(self) -> Sender:
        return self.senders[0][0]

    def inflict(self, kind: str, victim: str) -> Fault:
        """One fault, from a healthy server with a standby to the next such moment."""
        active = self.cluster.wait_up()
        standby = self.cluster.wait_standby()
        time.sleep(self.random.uniform(0.0, 0.3))  # the moment is random; nothing depends on its length
        fault = Fault(kind, victim, at=time.monotonic())
        number = signal.SIGKILL if kind == "kill" else signal.SIGSTOP
        hit = self._hit(active, standby, victim, number)
        if kind == "stop":
            time.sleep(self.random.uniform(*HOLD))
            for one in hit:
                one.signal(signal.SIGCONT)
        self._mend()
        fault.healthy = time.monotonic()
        self._progresses()
        fault.gap = self.steady.longest_gap(fault.at, time.monotonic())
        self.faults.append(fault)
        return fault

    def _hit(self, active: str, standby: str, victim: str, number: signal.Signals) -> list[Process]:
        if victim == ADAPTER:
            hit = [self.tailing.process()]
        elif victim == STANDBY:
            hit = [self.cluster.process(standby, "tec_master")]
        elif victim == SERVER:
            five = self.cluster.five(active)
            hit = [five.pop("tec_master"), *five.values()]  # the master first, so that it starts nothing again
        else:
            hit = [self.cluster.process(active, victim)]
        for one in hit:
            one.signal(number)
        return hit

    def _mend(self) -> None:
        """Start nodes that died; wait until one serves and the other stands by."""
        end = time.monotonic() + PATIENCE
        while True:
            self.restarts += self.tailing.restart_if_dead()
            for node in self.cluster.dead():
                self.restarts += 1
                self.cluster.start(node)
            states = {node: self.cluster.status(node) for node in NODES}
            healthy = [node for node in NODES if (status := states[node]) and status["healthy"]]
            standing = [node for node in NODES if (status := states[node]) and status["state"] == "standby"]
            if healthy and standing:
                return
            if time.monotonic() > end:
                raise Late(f"no healthy pair within {PATIENCE:g} s: {states}{self.cluster.logs()}")
            time.sleep(0.02)

    def _progresses(self) -> None:
        """Every sender is acknowledged something new: the service is really back."""
        before = [(sender, sender.acked) for sender, _ in self.senders]
        try:
            wait_for("every sender goes on", lambda: all(sender.acked > count for sender, count in before))
        except Late as late:
            stuck = [f"{sender.name}: {sender.trouble}" for sender, count in before if sender.acked == count]
            raise Late(f"{late}: {stuck}{self.cluster.logs()}") from None


def senders_for(cluster: Cluster, folder: Path, rate: float) -> list[tuple[Sender, plans.Plan]]:
    """A steady sender, and others of every plan that share `rate` events a second."""
    kinds = {
        "steady": (plans.PLAIN, STEADY_RATE),
        "plain": (plans.PLAIN, rate * 0.5),
        "repeats": (plans.REPEATED, rate * 0.2),
        "problems": (plans.PROBLEMS, rate * 0.2),
        "wrong": (plans.WRONG, rate * 0.1),
        "state": (plans.REMEMBERED, rate * 0.1),
        "programs": (plans.programs(str(folder)), 2.0),
    }

    def sender(name: str, plan: plans.Plan, pace: float) -> Sender:
        # the steady one may have more under way, so that a slow commit is not taken for an outage
        window = 200 if name == "steady" else 64
        return Sender(cluster.servers, lambda number: plan.text(name, number), name, rate=pace, window=window)

    return [(sender(name, plan, pace), plan) for name, (plan, pace) in kinds.items()]


def schedule(kills: int, stops: int, chance: random.Random) -> list[tuple[str, str]]:
    """Kinds and victims: every victim as often as every other, in random order."""
    plan = [("kill", VICTIMS[n % len(VICTIMS)]) for n in range(kills)]
    offset = chance.randrange(len(VICTIMS))
    plan += [("stop", VICTIMS[(n + offset) % len(VICTIMS)]) for n in range(stops)]
    chance.shuffle(plan)
    return plan


def percentile(values: list[float], part: float) -> float:
    if not values:
        return 0.0
    return round(sorted(values)[min(len(values) - 1, int(len(values) * part))], 3)


def report(chaos: Chaos, verdict: Verdict, seconds: float, seed: int) -> dict[str, Any]:
    """The last line: what was done, what was found, and the gaps, overall and for each kind and victim."""
    gaps = [fault.gap for fault in chaos.faults]
    victims: dict[str, list[float]] = {}
    for fault in chaos.faults:
        victims.setdefault(f"{fault.kind} {fault.victim}", []).append(fault.gap)
    return {
        "faults": len(chaos.faults),
        "kills": sum(fault.kind == "kill" for fault in chaos.faults),
        "stops": sum(fault.kind == "stop" for fault in chaos.faults),
        "seed": seed,
        **verdict.summary(),
        "restarts": chaos.restarts,
        "gap_p50": percentile(gaps, 0.5),
        "gap_p99": percentile(gaps, 0.99),
        "gap_max": round(max(gaps, default=0.0), 3),
        "gaps": {
            name: {"n": len(found), "p50": round(statistics.median(found), 3), "max": round(max(found), 3)}
            for name, found in sorted(victims.items())
        },
        "seconds": round(seconds, 1),
    }


def run(kills: int, stops: int, seed: int, seconds: float | None, rate: float, keep: Path | None) -> int:
    """The whole run; gives the exit status."""
    folder = keep or Path(tempfile.mkdtemp(prefix="tec-chaos-", dir="/var/tmp"))
    folder.mkdir(parents=True, exist_ok=True)
    effects = folder / "effects"
    effects.mkdir()
    chance = random.Random(seed)
    started = time.monotonic()
    sound = False
    try:
        with Cluster(folder, NODES, hang_after=HANG_AFTER) as cluster:
            for node in NODES:
                cluster.start(node)
            tailing = Tailing(folder / "tailed", cluster)
            chaos = Chaos(cluster, senders_for(cluster, effects, rate), tailing, chance)
            with tailing, Load([sender for sender, _ in chaos.senders]) as load:
                _inflict_all(chaos, load, schedule(kills, stops, chance), seconds, started)
                if not load.finish(PATIENCE):
                    raise Late(f"not everything is acknowledged: {[s.trouble for s, _ in chaos.senders]}")
                tailing.finish()
            cluster.stop()
            verdict = Checker(cluster.directory, chaos.senders, lines=tailing.lines).check()
            sound = verdict.sound
            if not sound:
                print(verdict, cluster.logs(), sep="\n", file=sys.stderr)
        print(json.dumps(report(chaos, verdict, time.monotonic() - started, seed)), flush=True)
    finally:
        if sound and keep is None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"kept: {folder}", file=sys.stderr)
    return 0 if sound else 1


def _inflict_all(chaos: Chaos, load: Load, plan: list[tuple[str, str]], seconds: float | None, started: float) -> None:
    for number, (kind, victim) in enumerate(plan, 1):
        if seconds is not None and time.monotonic() - started > seconds:
            break
        fault = chaos.inflict(kind, victim)
        print(
            f"{number}/{len(plan)}  {time.monotonic() - started:6.1f} s  {kind} {victim:<14} gap {fault.gap:5.2f} s"
            f"  acknowledged {load.acked}",
            flush=True,
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=40, help="SIGKILLs (default %(default)s)")
    parser.add_argument("--stops", type=int, default=10, help="SIGSTOPs (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of victims, order and moments (default %(default)s)")
    parser.add_argument("--seconds", type=float, help="begin no new fault after so many seconds (default: no limit)")
    parser.add_argument("--rate", type=float, default=1500, help="events a second (default %(default)s)")
    parser.add_argument("--keep", type=Path, help="use this folder and keep it; it must not hold a run already")
    options = parser.parse_args()
    return run(options.kills, options.stops, options.seed, options.seconds, options.rate, options.keep)


if __name__ == "__main__":
    sys.exit(main())
