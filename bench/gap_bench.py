"""`python -m bench gap`: the gap of every fault with a full repository, a full event cache and a backlog; and recovery.

Two nodes on one machine, the lease at `fast`. The repository and a long backlog are made by writing the log of a killed
server on, with the log's own writer, as a reception that nobody followed would have left it.
"""

from __future__ import annotations

import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.calibrate import calibrate
from bench.events import RULE_BASE, texts
from opentec.events.loader import load_classes
from opentec.events.parser import EventParser
from opentec.events.records import EventPayload, Kind, encode
from opentec.log.segments import recover
from opentec.log.writer import open_writer
from opentec.server.instance import Instance
from tests.faults.client import Load, Sender
from tests.faults.harness import Cluster, wait_for

STORED: Final = 100_000  # events in the repository
CACHED: Final = 10_000  # events in the cache
BACKLOG: Final = 20_000  # events that wait when the fault comes
WAITING: Final = 1_000_000  # events that wait at a start
RATE: Final = 200.0  # events a second of the sender whose gap is taken
STEP: Final = 10  # microseconds of log time between two events that are written
PIECE: Final = 50_000
_UNSTORED: Final = 0.15  # duplicates, which are counted and dropped
_SETTLE: Final = 1.0
_HANG: Final = 2.5
_LONG: Final = 1800.0  # seconds
AIMS: Final = {"kill": 1.0, "hang": 2.0, "planned move": 0.5, "cold start": 5.0}  # seconds; docs/performance.md
_MANY: Final = 100  # samples from which on a 99th percentile says something

Fault = Callable[[Cluster, str], None]


def write_on(cluster: Cluster, count: int, seed: int) -> int:
    """Append `count` events to the log of a server that was killed; gives the bytes of their texts.

    They are as reception would have written them: parsed by the rule base's classes, one record each.
    """
    instance = Instance(cluster.directory)
    parser = EventParser(load_classes(cluster.rules))
    recovered = recover(instance.rx, instance.uuid())
    epoch = max(segment.epoch for segment in recovered.segments)
    writer = open_writer(instance.rx, instance.uuid(), epoch, recovered)
    size, moment = 0, recovered.time
    for first in range(0, count, PIECE):
        for text in texts(min(PIECE, count - first), seed + first):
            data = text.encode()
            size, moment = size + len(data), moment + STEP
            writer.add(Kind.EVENT, moment, encode(EventPayload(*parser.parse(data))))
        writer.write(writer.take())
    writer.close()
    return size


@contextmanager
def _cluster(folder: Path, nodes: tuple[str, ...]) -> Iterator[Cluster]:
    settings = {
        "rx": {"segment_size": 16 << 20},
        "supervision": {"stuck_after": 600},
        # both nodes write to one disk: giving way because it is slow would be a second fault behind the first
        "ha": {"disk_limit": 0},
    }
    # long enough that a rule process that is stopped to let a backlog grow is not taken for one that hangs
    with Cluster(folder, nodes, heartbeat="fast", hang_after=60, rule_base=RULE_BASE, settings=settings) as cluster:
        (cluster.rules / "rulebase.toml").write_text(f"cache_size = {CACHED}\n")
        yield cluster


def _kill(cluster: Cluster, node: str, number: signal.Signals = signal.SIGKILL) -> None:
    five = cluster.five(node)
    for one in (five.pop("tec_master"), *five.values()):
        one.signal(number)


def _replayed(cluster: Cluster, node: str) -> dict[str, Any]:
    """Wait until nothing waits any more; gives what status then says."""

    def done() -> dict[str, Any] | None:
        status = cluster.status(node)
        if status and (status["recovery"] or {}).get("done", True) and status["durable"] == status["committed"]:
            return status
        return None

    status: dict[str, Any] = wait_for("nothing waits any more", done, _LONG)
    return status


def _rows(cluster: Cluster) -> int:
    connection = sqlite3.connect(f"file:{cluster.repository}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM event").fetchone()[0])
    finally:
        connection.close()


def recovery(folder: Path, waiting: int) -> dict[str, Any]:
    """Start a server whose log has `waiting` events that nobody processed.

    Seconds until `tec start` says that it is up, and until all are committed; events a second; rows in the end.
    """
    with _cluster(folder, ("black",)) as cluster:
        cluster.start("black")
        cluster.wait_up("black")
        _kill(cluster, "black")
        size = write_on(cluster, waiting, 1)
        begun = time.monotonic()
        cluster.start("black")
        up = time.monotonic() - begun
        last = _replayed(cluster, "black")["recovery"]
        cluster.stop()
        return {
            "waiting": waiting,
            "text_mib": size / (1 << 20),
            "up_s": up,
            "seconds": last["seconds"],
            "rate": last["rate"],
            "rows": _rows(cluster),
        }


def gaps(folder: Path, rounds: int, stored: int, backlog: int) -> dict[str, Any]:
    """Seconds without service for each fault in turn, `rounds` times, with `backlog` events waiting each time."""
    made = texts(5000, 99)
    with _cluster(folder, ("black", "brown")) as cluster:
        cluster.start("black")
        cluster.wait_up("black")
        _kill(cluster, "black")
        write_on(cluster, round(stored / (1 - _UNSTORED)), 1)
        for node in ("black", "brown"):
            cluster.start(node)
        _replayed(cluster, cluster.wait_up("black"))
        found: dict[str, Any] = {"rows": _rows(cluster), "gaps": {name: [] for name in _FAULTS}, "waited": []}
        sender = Sender(cluster.servers, lambda number: made[number % len(made)], name="steady", rate=RATE)
        with Load([sender]) as load:
            wait_for("the first acknowledgement", lambda: sender.acked)
            for _ in range(rounds):
                for name in _FAULTS:
                    gap, waited = _gap(cluster, sender, name, backlog, 1000 + len(found["waited"]))
                    found["gaps"][name].append(gap)
                    found["waited"].append(waited)
            load.finish()
        if sender.violations:
            raise AssertionError(f"promises broken: {sender.violations}")
        cluster.stop()
    return found


def _gap(cluster: Cluster, sender: Sender, name: str, backlog: int, seed: int) -> tuple[float, int]:
    """One fault. Gives the seconds without an acknowledgement, and the bytes of the log that waited when it came."""
    active = cluster.wait_up()
    if name != "cold start":
        cluster.wait_standby()
    _replayed(cluster, active)
    time.sleep(_SETTLE)
    rule = cluster.process(active, "tec_rule")
    rule.signal(signal.SIGSTOP)
    _flood(cluster, backlog, seed)
    status = cluster.status(active)
    waited = status["waiting_bytes"] if status else 0
    begun = time.monotonic()
    if name == "planned move":
        rule.signal(signal.SIGCONT)
    _FAULTS[name](cluster, active)
    cluster.wait_up(patience=_LONG)
    wait_for("an acknowledgement after the fault", lambda: sender.acks[-1][0] > begun + 0.1)
    serves = cluster.wait_up()
    _replayed(cluster, serves)  # the gap is longest where the backlog is in its way
    gap = sender.longest_gap(begun, time.monotonic())
    _say(f"{name}: {gap:.2f} s with {waited / (1 << 20):.1f} MiB of the log waiting")
    _rejoin(cluster)
    return gap, waited


def _flood(cluster: Cluster, count: int, seed: int) -> None:
    made = texts(min(count, PIECE), seed)
    flood = Sender(cluster.servers, lambda at: made[at % len(made)], name="flood", limit=count, window=256)
    with Load([flood]):
        wait_for("the backlog is in the log", lambda: flood.acked == count, 120)


def _killed(cluster: Cluster, node: str) -> None:
    _kill(cluster, node)
    cluster.wait_up(_other(cluster, node), _LONG)


def _hung(cluster: Cluster, node: str) -> None:
    victims = cluster.five(node)
    begun = time.monotonic()
    for process in sorted(victims.values(), key=lambda process: "tec_master" not in process.title):
        process.signal(signal.SIGSTOP)
    try:
        cluster.wait_up(_other(cluster, node), _LONG)
        time.sleep(max(0.0, begun + _HANG - time.monotonic()))
    finally:
        for process in victims.values():
            process.signal(signal.SIGCONT)


def _moved(cluster: Cluster, node: str) -> None:
    cluster.tec("switch", check=True)


def _cold(cluster: Cluster, node: str) -> None:
    """The whole machine has died: nobody stands by, and somebody starts a node at once."""
    for process in cluster.left():
        process.signal(signal.SIGKILL)
    cluster.start(_other(cluster, node))


_FAULTS: Final[dict[str, Fault]] = {"kill": _killed, "hang": _hung, "planned move": _moved, "cold start": _cold}


def _other(cluster: Cluster, node: str) -> str:
    return next(name for name in cluster.ports if name != node)


def _rejoin(cluster: Cluster) -> None:
    """Have a node stand by again: by itself if it lives, else it is started."""

    def settled() -> bool:
        missing = [node for node in cluster.ports if not any(f"--node {node}" in one.title for one in cluster.left())]
        for node in missing:
            cluster.start(node)
        return cluster.active() is not None and cluster.standby() is not None

    wait_for("one node serves and the other stands by", settled, 120)


def main(directory: str, *, rounds: int, waiting: int, stored: int = STORED, backlog: int = BACKLOG) -> dict[str, Any]:
    """Measure, and give the figures; `render` makes a table of them."""
    with tempfile.TemporaryDirectory(prefix="tec-gap-", dir=directory) as name:
        folder = Path(name)
        for part in ("calibration", "gaps", "recovery"):
            (folder / part).mkdir()
        result: dict[str, Any] = {"calibration": calibrate(folder / "calibration"), "backlog": backlog}
        if rounds:
            _say(f"gaps: {stored:,} events in the repository, {backlog:,} waiting, {rounds} of each fault")
            result |= gaps(folder / "gaps", rounds, stored, backlog)
        if waiting:
            _say(f"recovery: {waiting:,} events wait")
            result["recovery"] = recovery(folder / "recovery", waiting)
    return result


def render(result: dict[str, Any]) -> str:
    """Markdown."""
    marks = ", ".join(f"{name} {value:,.0f}" for name, value in result["calibration"].items())
    lines = [f"Calibration: {marks}", ""]
    if "gaps" in result:
        few = min(len(values) for values in result["gaps"].values()) < _MANY
        name, part = ("p90", 0.9) if few else ("p99", 0.99)
        lines += [
            f"{result['rows']:,} events in the repository; {result['backlog']:,} waited when the fault came "
            f"({median(result['waited']) / (1 << 20):.1f} MiB of the log).",
            "",
            f"| fault of the active node | times | median | {name} | greatest |",
            "| --- | --- | --- | --- | --- |",
        ]
        for fault, values in result["gaps"].items():
            most = sorted(values)[int(len(values) * part)]
            lines.append(f"| {fault} | {len(values)} | {median(values):.2f} | {most:.2f} | {max(values):.2f} |")
        lines.append("")
    if found := result.get("recovery"):
        lines += [
            "| events waiting | MiB of text | `tec start` says up after, s | all committed after, s | events/s |",
            "| --- | --- | --- | --- | --- |",
            f"| {found['waiting']:,} | {found['text_mib']:.0f} | {found['up_s']:.1f} | {found['seconds']:.0f} "
            f"| {found['rate']:,} |",
            "",
        ]
    return "\n".join(lines)


def missed(result: dict[str, Any]) -> list[str]:
    """The faults whose median gap is over its aim, in words; empty = every aim is met."""
    return [
        f"{fault}: the median gap of {len(values)} is {median(values):.2f} s, the aim {AIMS[fault]:g} s"
        for fault, values in result.get("gaps", {}).items()
        if median(values) > AIMS[fault]
    ]


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)
