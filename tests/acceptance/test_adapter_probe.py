"""`tec probe --adapter` and a real adapter: full, stopped, and with a disk that hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opentec.commands.probe import Verdict, probe_adapter
from tests.faults.harness import ROOT, wait_for
from tests.faults.shim import Shim, missing
from tests.faults.tailing import FORMATS

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    (tmp_path / "adapter.fmt").write_text(FORMATS)
    path = tmp_path / "adapter.conf"
    path.write_text(
        f"ServerLocation=127.0.0.1:9\nNodeName=web1\nLogSources={tmp_path}/app.log\nFormatFile=adapter.fmt\n"
        "PollInterval=0.1\nRetryInterval=0.1\n"
    )
    return path


@pytest.fixture
def start(conf: Path) -> Iterator[Start]:
    """Starts the adapter, with more lines in its configuration; what it says goes to the file `said` beside it."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(*more: str, **environment: str) -> subprocess.Popen[bytes]:
        conf.write_text(conf.read_text() + "".join(f"{line}\n" for line in more))
        command = [sys.executable, "-m", "opentec.commands.main", "adapter", "logfile", "--foreground", "-c", str(conf)]
        with conf.with_name("said").open("wb") as said:
            started.append(subprocess.Popen(command, env=os.environ | environment, cwd=ROOT, stdout=said, stderr=said))
        return started[0]

    yield begin
    for each in started:
        each.kill()
        each.wait()


def saying(path: Path, text: str, patience: float = 20.0) -> Verdict:
    """The verdict of a probe, once it has this text."""

    def ask() -> Verdict | None:
        found = probe_adapter(path, 2.0)
        return found if text in found.text else None

    found = wait_for(f"the probe says {text!r}", ask, patience)
    assert isinstance(found, Verdict)
    return found


@pytest.mark.skipif(bool(missing()), reason=missing() or "-")
def test_a_flush_that_hangs_is_red(start: Start, conf: Path, tmp_path: Path) -> None:
    buffer, log = tmp_path / "buffer", tmp_path / "app.log"
    shim = Shim(tmp_path, "disk")
    adapter = start(f"BufEvtPath={buffer}", **shim.environment)
    assert saying(conf, "no server answers, 0 events").status == 0
    log.write_text("line 1 one\nline 2 two\n")
    assert saying(buffer, "2 events in the buffer").status == 0
    shim.set(buffer, slow=600)
    with log.open("a") as file:
        file.write("line 3 three\n")
    wait_for("the disk hangs", lambda: shim.hits)
    found = saying(conf, "has read nothing for")
    assert found.status == 1 and "it waits for the disk of its buffer" in found.text
    assert probe_adapter(buffer, 2.0).status == 1
    # the control: its event loop turns all the while, so that whoever looks at that only sees nothing
    os.truncate(buffer / "lock", len(f"{adapter.pid}\n"))
    assert probe_adapter(conf, 2.0) == (0, f"the adapter runs, pid {adapter.pid}")


def test_a_full_buffer_is_green_and_said(start: Start, conf: Path, tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text("".join(f"line {number} {'x' * 100}\n" for number in range(6000)))
    adapter = start("BufEvtPath=buffer", "BufEvtMaxSize=256")
    assert saying(conf, "which is full: reading waits until there is room").status == 0
    said = conf.with_name("said")
    wait_for("the adapter says that its buffer is full", lambda: b"events wait (BufEvtMaxSize=" in said.read_bytes())
    assert said.read_text().count("is full") == 1
    assert "No server takes events: 127.0.0.1:9: " in said.read_text()
    adapter.send_signal(signal.SIGSTOP)
    assert saying(conf, "is stopped by a signal").status == 1


def test_a_buffer_in_memory_is_seen_too(start: Start, conf: Path, tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text("line 1 one\n")
    adapter = start("BufferEvents=MEMORY_ONLY")
    assert saying(conf, "1 event in the buffer").status == 0
    adapter.terminate()
    adapter.wait(10)
    assert probe_adapter(conf, 2.0).status == 3
