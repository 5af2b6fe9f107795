"""The rule engine with the shipped rule base: what an event of each kind costs, beside an engine without any rules.

`python -m bench default` prints microseconds of CPU and ratios; `--check` fails where a ratio exceeds its limit. Rounds
are interleaved, and each figure is the median of its rounds, because a machine changes its speed.
"""

from __future__ import annotations

import gc
import random
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any, Final

import msgspec

from opentec.events.records import ActivatePayload, EventPayload, Kind, Record, encode, position_of
from opentec.rules.engine import Engine
from opentec.rules.rulebase import RuleBase, load_rule_base
from opentec.rules.selectors.indexed import IndexedSelector
from opentec.shipped import shipped

START: Final = 1_772_352_000  # 2026-03-01T08:00:00Z
EVENTS: Final = 10_000
WARM: Final = 2_000
HOSTS: Final = 200

# an event costs at most so many times what it costs without rules; the margin is for a busy machine
LIMITS: Final = {"plain": 2.4, "mixed": 5.0, "duplicates": 2.8, "storm": 3.3}

Made = tuple[str, dict[str, Any]]
Found = dict[str, list[tuple[float, float]]]  # by load, and for each round


def plain(number: int, chance: random.Random) -> Made:
    """A log line that no class describes, no two alike."""
    return "Logfile_Message", {"hostname": f"host{chance.randrange(HOSTS)}", "program": "app", "msg": f"line {number}"}


def duplicates(number: int, chance: random.Random) -> Made:
    """CRITICAL, and nearly all are open already."""
    host = f"host{chance.randrange(20)}"
    return "NT_Disk_Full", {"hostname": host, "drive": chance.choice("CDE"), "severity": "CRITICAL", "msg": "full"}


def storm(number: int, chance: random.Random) -> Made:
    """MINOR, of one host, no two alike."""
    values = {"hostname": "host1", "user": f"user{number}", "command": f"command {number}", "severity": "MINOR"}
    return "Sudo_Not_Allowed", values


def mixed(number: int, chance: random.Random) -> Made:
    """A third log lines, the rest problems of all severities, one event in ten a repetition, one a recovery."""
    kind = chance.random()
    host = f"host{chance.randrange(HOSTS)}"
    if kind < 0.33:
        return plain(number, chance)
    severity = chance.choice(("WARNING", "MINOR", "CRITICAL", "FATAL"))
    if kind < 0.43:
        return "NT_Disk_Full", {"hostname": f"host{chance.randrange(20)}", "drive": "C", "severity": severity}
    if kind < 0.53:
        return "Kernel_Link_Up", {"hostname": host, "interface": f"eth{chance.randrange(4)}"}
    if kind < 0.63:
        return "Kernel_Link_Down", {"hostname": host, "interface": f"eth{chance.randrange(4)}", "severity": severity}
    if kind < 0.73:
        return "NFS_No_Response", {"hostname": host, "server": f"nfs{number}", "severity": severity}
    if kind < 0.83:
        return "Systemd_Unit_Failed", {"hostname": host, "unit": f"unit{number}", "severity": severity}
    if kind < 0.91:
        return "Daemon_Exited", {"hostname": host, "process": f"process{number}", "severity": severity}
    return "NT_Service_Failed", {"hostname": host, "service": f"service{number}", "severity": severity}


# what comes, and how many of it in a second of log time: storm control must see no storm where none is meant
LOADS: Final[dict[str, tuple[Callable[[int, random.Random], Made], int]]] = {
    "plain": (plain, 100),
    "mixed": (mixed, 40),
    "duplicates": (duplicates, 10_000),
    "storm": (storm, 10_000),
}


def activation(base: RuleBase) -> Record:
    """The record that makes the rule sets configure themselves."""
    position = position_of(1, 0)
    payload = encode(ActivatePayload(base.content_hash, base.name, msgspec.structs.asdict(base.settings)))
    return Record(position, position + 200, Kind.ACTIVATE, 0, START * 1_000_000, payload=payload)


def records(load: str, count: int) -> list[Record]:
    """The same ones every time."""
    make, rate = LOADS[load]
    chance, made = random.Random(7), []
    for number in range(count):
        name, values = make(number, chance)
        position = position_of(1, 200 * (number + 1))
        now = (START + 1) * 1_000_000 + number * 1_000_000 // rate
        common = {"sub_source": "bench", "origin": "10.0.0.1", "adapter_host": "gate1", "msg": f"bench {number}"}
        payload = encode(EventPayload(name, common | values))
        made.append(Record(position, position + 200, Kind.EVENT, 0, now, payload=payload))
    return made


def measure(base: RuleBase, log: list[Record], warm: int = WARM) -> float:
    """Microseconds of CPU for an event, behind those that only warm up."""
    engine = Engine(base, IndexedSelector())
    process = engine.process
    process(activation(base))
    for record in log[:warm]:
        process(record)
    gc.collect()
    begun = time.process_time()
    for record in log[warm:]:
        process(record)
    return (time.process_time() - begun) / (len(log) - warm) * 1e6


def rounds_of(base: RuleBase, rounds: int, events: int = EVENTS) -> Found:
    """For each load and round: microseconds of an event, and of one without any rules."""
    without = msgspec.structs.replace(base, rule_sets=())
    logs = {load: records(load, events + WARM) for load in LOADS}
    found: Found = {load: [] for load in LOADS}
    for _ in range(rounds):
        for load, log in logs.items():
            found[load].append((measure(base, log), measure(without, log)))
    return found


def ratio(values: list[tuple[float, float]]) -> float:
    return median(taken / least for taken, least in values)


def problems(found: Found) -> list[str]:
    """What costs more than it may."""
    return [
        f"shipped rule base, {load}: {ratio(values):.1f} times an event without rules, at most {LIMITS[load]}"
        for load, values in found.items()
        if ratio(values) > LIMITS[load]
    ]


def main(*, quick: bool = False, check: bool = False) -> int:
    """Measure, print the table; 1 when `check` finds something."""
    gc.set_threshold(50_000, 20, 20)  # as the rule process
    found = rounds_of(load_rule_base(shipped("rules", "default")), 3 if quick else 7)
    print("| events | microseconds | without rules | ratio |")
    print("| --- | --- | --- | --- |")
    for load, values in found.items():
        taken, least = (median(column) for column in zip(*values, strict=True))
        print(f"| {load} | {taken:.1f} | {least:.1f} | {ratio(values):.2f} |")
    wrong = problems(found)
    for line in wrong:
        print(f"bench: {line}", file=sys.stderr)
    return 1 if check and wrong else 0
