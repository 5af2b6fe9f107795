"""A log that grows and is rotated, and the logfile adapter that tails it: a process that can be killed like others."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tests.faults.client import Address
from tests.faults.harness import ROOT, Cluster, Process, process, wait_for

FORMATS = """\
FORMAT Load_Line
line %d %s*
sender LINES
number $1
msg $2
END
FORMAT *DISCARD*
noise %s*
END
"""
NOISE = 7  # every so many lines comes one that the adapter discards


class Tailing:
    """The writer of the log (a thread) and its adapter (a process). A context manager."""

    def __init__(
        self,
        folder: Path,
        cluster: Cluster,
        *,
        rate: float = 300.0,
        rotate: int = 1500,
        servers: Sequence[Address] | None = None,
        within: Sequence[str] = (),
    ) -> None:
        """`rate` is lines a second, `rotate` after how many lines the file gets another name and a new one begins.

        `servers`: other addresses than the cluster's own. `within`: what the adapter's command line begins with.
        """
        folder.mkdir()
        self._folder, self._cluster, self._rate, self._rotate = folder, cluster, rate, rotate
        self._log = folder / "app.log"
        self._within = list(within)
        listed = ",".join(f"{host}:{port}" for host, port in servers or cluster.servers)
        (folder / "adapter.fmt").write_text(FORMATS)
        (folder / "adapter.conf").write_text(
            f"ServerLocation={listed}\nNodeName=web1\nBufEvtPath={folder}/buffer\nLogSources={self._log}\n"
            "FormatFile=adapter.fmt\nReadExisting=YES\nPollInterval=0.1\nRetryInterval=0.1\n"
        )
        self.lines = 0  # that must become events
        self.discarded = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, name="log writer", daemon=True)
        self._child: subprocess.Popen[bytes] | None = None

    def _write(self) -> None:
        """Append lines, sometimes in two halves, and rotate."""
        file = self._log.open("ab", buffering=0)
        started, written = time.monotonic(), 0
        while not self._stop.is_set():
            due = int((time.monotonic() - started) * self._rate)
            while written < due:
                written += 1
                if written % NOISE == 0:
                    file.write(b"noise %d\n" % written)
                    self.discarded += 1
                    continue
                line = b"line %d some words\n" % (self.lines + 1)
                if self.lines % 5 == 0:
                    file.write(line[:8])
                    line = line[8:]
                file.write(line)
                self.lines += 1
                if self.lines % self._rotate == 0:
                    file.close()
                    self._log.rename(self._log.with_name(f"app.log.{self.lines // self._rotate}"))
                    file = self._log.open("ab", buffering=0)
            self._stop.wait(0.02)
        file.close()

    def start(self) -> None:
        """Start the adapter (again)."""
        command = [
            *self._within,
            sys.executable,
            "-m",
            "opentec.commands.main",
            "adapter",
            "logfile",
            "--foreground",
            "-c",
        ]
        with (self._folder / "output").open("ab") as output:
            self._child = subprocess.Popen(
                [*command, str(self._folder / "adapter.conf")],
                env=self._cluster.environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def process(self) -> Process:
        assert self._child is not None
        return process(self._child.pid)

    def restart_if_dead(self) -> bool:
        """Start the adapter again if it has ended."""
        if self._child is None or self._child.poll() is None:
            return False
        self.start()
        return True

    def finish(self) -> None:
        """No more lines; returns when the repository has all of them (the adapter must be running)."""
        self._stop.set()
        self._thread.join()
        try:
            wait_for(f"{self.lines} lines are stored", lambda: self.stored() >= self.lines, 60)
        finally:
            self.end()

    def stored(self) -> int:
        """Different lines in the repository."""
        query = "SELECT count(DISTINCT json_extract(slots, '$.number')) FROM event WHERE \"class\" = 'Load_Line'"
        with closing(sqlite3.connect(f"file:{self._cluster.repository}?mode=ro", uri=True, timeout=10)) as connection:
            return int(connection.execute(query).fetchone()[0])

    def end(self) -> None:
        if self._child is not None:
            self._child.send_signal(signal.SIGCONT)
            self._child.terminate()
            try:
                self._child.wait(10)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()

    def output(self) -> str:
        return (self._folder / "output").read_text(errors="replace")[-4000:]

    def __enter__(self) -> Tailing:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._child is not None and self._child.poll() is None:
            os.kill(self._child.pid, signal.SIGKILL)
            self._child.wait()
