"""One measurement of a real server: five processes, SQLite on disk, senders in a process of their own."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bench.events import RULE_BASE
from opentec.events.records import Kind, parse_position
from opentec.log.reader import LogReader
from opentec.server.control import Control
from tests.faults.harness import ROOT, Cluster, wait_for

CONNECTIONS: Final = 8
WINDOW: Final = 100
PATIENCE: Final = 180.0
STAGES: Final = ("tec_reception", "tec_rule", "tec_dispatch", "tec_master", "tec_task")
_TICKS: Final = os.sysconf("SC_CLK_TCK")

Weighted = list[tuple[float, int]]  # a value, and how many events have it


class Subject:
    """A started server of one node, to be measured. `acked`: events that were acknowledged in all."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.acked = 0
        name = hashlib.sha256(os.fsencode(cluster.directory)).hexdigest()[:12]
        self.control = cluster.runtime / f"{name}-black" / "master.sock"

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU that each of the five processes has used."""
        return {name: _cpu(process.pid) for name, process in self.cluster.five("black").items()}

    def check(self) -> None:
        """After the stop: as many outcomes as acknowledged events. Raises AssertionError."""
        connection = sqlite3.connect(f"file:{self.cluster.repository}?mode=ro", uri=True)
        ((ended,),) = connection.execute("SELECT count(*) FROM outcome WHERE disposition IN (1, 2)").fetchall()
        connection.close()
        # the server's own notices have an outcome too
        if not self.acked <= ended <= self.acked + 10:
            raise AssertionError(f"{self.acked} events were acknowledged, {ended} have an outcome")


@contextmanager
def server(folder: Path, selector: str) -> Iterator[Subject]:
    """A fresh instance with the benchmark's ten rules; what it acknowledged is counted in the end."""
    settings: dict[str, dict[str, Any]] = {"rx": {"segment_size": 16 << 20}, "rules": {"selector": selector}}
    with Cluster(folder, settings=settings, heartbeat="normal", hang_after=10, rule_base=RULE_BASE) as cluster:
        cluster.start("black")
        cluster.wait_up("black")
        subject = Subject(cluster)
        yield subject
        cluster.stop()
        subject.check()


class Watcher(threading.Thread):
    """Looks at the server every so many seconds: how far the repository stands, and when that was first seen."""

    def __init__(self, control: Path, every: float) -> None:
        super().__init__(name="watcher", daemon=True)
        self._control = Control(control)
        self._every = every
        self._end = threading.Event()
        self.times: list[float] = []
        self.committed: list[int] = []
        self.idle_since = 0.0  # when a look first found everything committed, 0 = it is not
        self._look()

    def _look(self) -> None:
        status, now = self._control.call("status"), time.monotonic()
        durable, committed = parse_position(status["durable"]), parse_position(status["committed"])
        if not self.committed or committed > self.committed[-1]:
            self.times.append(now)
            self.committed.append(committed)
        self.idle_since = (self.idle_since or now) if committed >= durable else 0.0

    def run(self) -> None:
        while not self._end.wait(self._every):
            self._look()

    def stop(self) -> None:
        self._end.set()
        self.join()
        self._control.close()


def measure(subject: Subject, seconds: float, rate: float | None) -> dict[str, Any]:
    """Send for `seconds`, at `rate` events a second or as fast as it goes, and wait until all is stored.

    Rates are events a second. `stored_per_s` counts until the last event is committed, however long after the sending.
    CPU is microseconds per event, latencies milliseconds: p50, p99, max.
    """
    before = subject.cpu()
    watcher = Watcher(subject.control, 0.02 if rate is None else 0.005)
    watcher.start()
    try:
        report = _send(subject.cluster.ports["black"], seconds, rate)
        over = time.monotonic()
        wait_for(
            "everything is stored", lambda: watcher.idle_since and watcher.idle_since < time.monotonic() - 0.1, PATIENCE
        )
        end = watcher.times[-1]
    finally:
        watcher.stop()
    after = subject.cpu()
    if report["rejected"]:
        raise AssertionError(f"{report['rejected']} acknowledgements name rejected events")
    events = report["acked"]
    subject.acked += events
    found: dict[str, Any] = {
        "events": events,
        "acked_per_s": report["acked_in_time"] / report["seconds"],
        "stored_per_s": events / (end - report["begun"]),
        "behind_s": max(0.0, end - over),
        "cpu_us": {name: (after[name] - before[name]) / events * 1e6 for name in STAGES}
        | {"senders": report["cpu"] / events * 1e6},
        "ack_ms": spread([(latency * 1e3, count) for latency, count in report["latencies"]]),
    }
    if rate is not None:
        found["stored_ms"] = spread(_stored_latencies(subject.cluster, watcher, report))
    return found


def _send(port: int, seconds: float, rate: float | None) -> dict[str, Any]:
    orders = {"port": port, "connections": CONNECTIONS, "window": WINDOW, "seconds": seconds, "rate": rate}
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(orders),
        text=True,
        capture_output=True,
        cwd=ROOT,
        timeout=seconds + PATIENCE,
    )
    if done.returncode:
        raise AssertionError(f"the senders failed:\n{done.stderr[-2000:]}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _stored_latencies(cluster: Cluster, watcher: Watcher, report: dict[str, Any]) -> Weighted:
    """From when an event was due to the first look that found it committed; looks are 5 ms apart."""
    wanted = {(bytes.fromhex(sender), last): due for sender, marks in report["marks"].items() for last, due in marks}
    reader = LogReader(cluster.directory / "rx", watcher.committed[0])
    found: Weighted = []
    try:
        while records := reader.read(watcher.committed[-1], 10_000):
            for record in records:
                if record.kind == Kind.EVENT and (due := wanted.get((record.sender, record.sequence))) is not None:
                    at = bisect_left(watcher.committed, record.after)
                    found.append(((watcher.times[at] - due) * 1e3, 1))
    finally:
        reader.close()
    return found


def spread(values: Weighted) -> dict[str, float]:
    """p50, p99 and max."""
    values = sorted(values)
    total, seen, found = sum(count for _, count in values), 0, {}
    for value, count in values:
        seen += count
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            if name not in found and seen >= share * total:
                found[name] = value
    return {**found, "max": values[-1][0]}
