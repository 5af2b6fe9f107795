"""`python -m tests.faults.chaos`: inflict faults under load, then count. 0 lost and 0 doubled, or the exit status is 1.

    --kills N --stops N        kill -9 and SIGSTOP of named victims under full load
    --section NAME [--count N] one section of the plan (docs/fault-tests.md); the count of the plan by default
    --all                      every section, each once; results in chaos-run/, and what is there already is left out
    --required                 a section that this machine cannot run is a failure, too

Victims are each of the five processes, the whole server, the standby, and a logfile adapter. A kill is SIGKILL at a
random moment; a stop is SIGSTOP for longer than the lease's time to live, then SIGCONT. Faults come only when the
server is healthy and a standby is ready. The last line on standard output is one JSON object; the exit status is 0 only
if nothing was lost or doubled, every epoch that opened its port posted one notice, and no gap was too long (`slow`).

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
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults.harness import PROCESSES, ROOT, Process
from tests.faults.sections import Result, Section, Skipped, registry
from tests.faults.stage import STEADY_RATE, Stage

SERVER, STANDBY, ADAPTER = "server", "standby", "adapter"
VICTIMS = (*PROCESSES, SERVER, STANDBY, ADAPTER)
HOLD = (1.2, 2.2)  # seconds that a stop lasts; the lease lives for 1 s
RATE = 1500.0  # events a second of all senders but the steady one
TTL = 1.0  # seconds that the lease lives, of the fast heartbeat
# The aims of high-availability.md, in seconds. A death is seen at once, a hang after the time to live.
AIMS = {"kill": 1.0, "stop": TTL + 1.0}
# What a machine adds that has this load beside the takeover: two cores, seven senders, an adapter; other work in CI.
# The limit is there to find a takeover that waits for something, which costs many seconds; `bench gap` has the figures.
SLACK = 2.0
# Of a few faults one alone may meet the worst second of such a machine.
FEW, SLACK_OF_FEW = 20, 4.0
RESULTS = ROOT / "chaos-run"


@dataclass
class Fault:
    """One fault and what it cost."""

    kind: str  # "kill" or "stop"
    victim: str
    at: float = 0.0
    gap: float = 0.0


def inflict(stage: Stage, kind: str, victim: str) -> Fault:
    """One fault, from a healthy server with a standby to the next such moment."""
    active = stage.cluster.wait_up()
    standby = stage.cluster.wait_standby()
    time.sleep(stage.chance.uniform(0.0, 0.3))  # the moment is random; nothing depends on its length
    fault = Fault(kind, victim, at=time.monotonic())
    hit = _hit(stage, active, standby, victim, signal.SIGKILL if kind == "kill" else signal.SIGSTOP)
    if kind == "stop":
        time.sleep(stage.chance.uniform(*HOLD))
        for one in hit:
            one.signal(signal.SIGCONT)
    stage.mend()
    stage.progresses()
    fault.gap = stage.steady.longest_gap(fault.at, time.monotonic())
    return fault


def _hit(stage: Stage, active: str, standby: str, victim: str, number: signal.Signals) -> list[Process]:
    if victim == ADAPTER:
        hit = [stage.tailing.process()]
    elif victim == STANDBY:
        hit = [stage.cluster.process(standby, "tec_master")]
    elif victim == SERVER:
        five = stage.cluster.five(active)
        hit = [five.pop("tec_master"), *five.values()]  # the master first, so that it starts nothing again
    else:
        hit = [stage.cluster.process(active, victim)]
    for one in hit:
        one.signal(number)
    return hit


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


def gaps(faults: list[Fault]) -> dict[str, Any]:
    """The gaps, overall and for each kind and victim."""
    found = [fault.gap for fault in faults]
    victims: dict[str, list[float]] = {}
    for fault in faults:
        victims.setdefault(f"{fault.kind} {fault.victim}", []).append(fault.gap)
    return {
        "kills": sum(fault.kind == "kill" for fault in faults),
        "stops": sum(fault.kind == "stop" for fault in faults),
        "gap_p50": percentile(found, 0.5),
        "gap_p99": percentile(found, 0.99),
        "gap_max": round(max(found, default=0.0), 3),
        "gaps": {
            name: {"n": len(each), "p50": round(statistics.median(each), 3), "max": round(max(each), 3)}
            for name, each in sorted(victims.items())
        },
    }


def slow(faults: list[Fault]) -> list[str]:
    """What of the gaps is longer than it may be, in words; empty = nothing.

    Of kills those count that need a takeover: the whole server and tec_master. Of stops all do, since one that lasts
    longer than the time to live may cost a takeover, whatever it hits.
    """
    found = []
    for kind, of, which in (
        ("kill", (SERVER, "tec_master"), f"kills of {SERVER} or tec_master"),
        ("stop", VICTIMS, "stops"),
    ):
        each = [fault.gap for fault in faults if fault.kind == kind and fault.victim in of]
        few = len(each) < FEW
        longest = max(each, default=0.0) if few else percentile(each, 0.99)
        limit = AIMS[kind] + (SLACK_OF_FEW if few else SLACK)
        if longest > limit:
            name = "the longest" if few else "the 99th percentile"
            found.append(f"{name} gap of {len(each)} {which} is {longest:.2f} s, more than {limit:g} s")
    return found


def victims(
    folder: Path,
    kills: int,
    stops: int,
    chance: random.Random,
    say: Callable[[str], None],
    *,
    seconds: float | None = None,
    rate: float = RATE,
) -> Result:
    """Kills and stops under full load; no new fault after `seconds`."""
    result, faults, started = Result("victims"), [], time.monotonic()
    with Stage(folder, chance, rate=rate, steady=STEADY_RATE, lines=300.0, rotate=1500) as stage:
        plan = schedule(kills, stops, chance)
        for number, (kind, victim) in enumerate(plan, 1):
            if seconds is not None and time.monotonic() - started > seconds:
                break
            fault = inflict(stage, kind, victim)
            faults.append(fault)
            say(
                f"{number}/{len(plan)}  {time.monotonic() - started:6.1f} s  {kind} {victim:<14} "
                f"gap {fault.gap:5.2f} s  acknowledged {stage.load.acked}"
            )
        result.faults = len(faults)
        result.more = {"restarts": stage.restarts, **gaps(faults)}
        result.bad += slow(faults)
        result.verdict = stage.finish()
    return result


def _kills(folder: Path, count: int, chance: random.Random, say: Callable[[str], None]) -> Result:
    return victims(folder, count, 0, chance, say)


def _stops(folder: Path, count: int, chance: random.Random, say: Callable[[str], None]) -> Result:
    return victims(folder, 0, count, chance, say)


def sections() -> dict[str, Section]:
    """Every section of the plan, by name."""
    return {
        "kills": Section(_kills, 1000, 3.0, "kill -9 of named victims under full load"),
        "stops": Section(_stops, 300, 6.0, "SIGSTOP for longer than the time to live, then SIGCONT"),
        **registry(),
    }


def run(
    name: str,
    work: Callable[[Path, random.Random, Callable[[str], None]], Result],
    seed: int,
    keep: Path | None,
    *,
    required: bool = False,
) -> tuple[int, dict[str, Any]]:
    """One section from begin to end; gives the exit status and the last line. `required`: it may not be left out."""
    folder = keep or Path(tempfile.mkdtemp(prefix="tec-chaos-", dir="/var/tmp"))
    started, sound, status = time.monotonic(), False, 1
    try:
        result = work(folder / "run", random.Random(seed), lambda text: print(text, flush=True))
        sound = result.sound
        status = 0 if sound else 1
        if not sound:
            print(result, file=sys.stderr)
        line = result.summary() | {"section": name, "seed": seed, "seconds": round(time.monotonic() - started, 1)}
        print(json.dumps(line), flush=True)
    except Skipped as reason:
        # nothing is left to look at, whatever the exit status is
        sound, status, line = True, int(required), {"section": name, "skipped": str(reason)}
        print(f"{name}: left out{', which --required does not allow' if required else ''}: {reason}", flush=True)
    finally:
        if sound and keep is None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"kept: {folder}", file=sys.stderr)
    return status, line


def run_all(seed: int, required: bool = False) -> int:
    """Every section that has no sound result of its full count and this seed in chaos-run/ yet."""
    RESULTS.mkdir(exist_ok=True)
    left = {name: one for name, one in sections().items() if not _done(name, one, seed)}
    took = sum(one.each * one.full for one in left.values())
    print(f"{len(left)} sections, about {took / 3600:.1f} hours on two cores that do nothing else: {', '.join(left)}")
    worst = 0
    for name, one in left.items():
        print(f"== {name}: {one.what}, {one.full} times, about {one.each * one.full / 60:.0f} minutes", flush=True)
        status, line = _run_section(name, one, one.full, seed, None, required)
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        (RESULTS / f"{name}.json").write_text(json.dumps(line | {"at": stamp}, indent=1) + "\n")
        worst = max(worst, status)
    return worst


def _done(name: str, section: Section, seed: int) -> bool:
    try:
        found = json.loads((RESULTS / f"{name}.json").read_text())
    except (OSError, ValueError):
        return False
    return bool(found.get("sound")) and found.get("faults", 0) >= section.full and found.get("seed") == seed


def _run_section(
    name: str, section: Section, count: int, seed: int, keep: Path | None, required: bool
) -> tuple[int, dict[str, Any]]:
    return run(name, lambda folder, chance, say: section.run(folder, count, chance, say), seed, keep, required=required)


def _terminated(number: int, frame: object) -> None:
    sys.exit(128 + number)  # an exception, so that servers, namespaces and adapters are ended


def main() -> int:
    signal.signal(signal.SIGTERM, _terminated)
    known = sections()
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=40, help="SIGKILLs (default %(default)s)")
    parser.add_argument("--stops", type=int, default=10, help="SIGSTOPs (default %(default)s)")
    parser.add_argument("--section", choices=sorted(known), help="one section in place of kills and stops")
    parser.add_argument("--count", type=int, help="faults of the section (default: what the plan says)")
    parser.add_argument("--all", action="store_true", help="every section with the counts of the plan: hours")
    parser.add_argument("--seed", type=int, default=1, help="of victims, order and moments (default %(default)s)")
    parser.add_argument("--seconds", type=float, help="begin no new kill or stop after so many seconds")
    parser.add_argument("--rate", type=float, default=RATE, help="events a second (default %(default)s)")
    parser.add_argument("--required", action="store_true", help="a section that cannot run here: exit status 1")
    parser.add_argument("--keep", type=Path, help="use this folder and keep it; it must not hold a run already")
    options = parser.parse_args()
    if options.all:
        return run_all(options.seed, options.required)
    if options.section:
        section = known[options.section]
        count = section.full if options.count is None else options.count
        return _run_section(options.section, section, count, options.seed, options.keep, options.required)[0]
    status, _ = run(
        "victims",
        lambda folder, chance, say: victims(
            folder, options.kills, options.stops, chance, say, seconds=options.seconds, rate=options.rate
        ),
        options.seed,
        options.keep,
    )
    return status


if __name__ == "__main__":
    sys.exit(main())
