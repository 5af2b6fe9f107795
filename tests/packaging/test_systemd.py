"""The units are right, and a real server says to systemd what they count on."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.harness import ROOT, Cluster, process, wait_for

UNITS = sorted((ROOT / "packaging" / "systemd").glob("*.service"))
TEC = Path(sys.executable).parent / "tec"


def settings(unit: Path) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z]+)=(.*)$", unit.read_text(), flags=re.MULTILINE))


def verify(folder: Path, unit: Path, text: str) -> str:
    """What systemd-analyze says of a unit, with the program of this checkout in it."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    path = folder / unit.name.replace("@", "@tec")
    path.write_text(text.replace("/opt/opentec/bin/tec", str(TEC)))
    command = ["systemd-analyze", "verify", "--man=no", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return "\n".join(line for line in (done.stdout + done.stderr).splitlines() if path.name in line)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_the_unit(tmp_path: Path, unit: Path) -> None:
    assert verify(tmp_path, unit, unit.read_text()) == ""


def test_systemd_would_say_what_is_wrong(tmp_path: Path) -> None:
    unit = UNITS[0]
    assert "NoNewPrivilegs" in verify(tmp_path, unit, unit.read_text().replace("NoNewPrivileges", "NoNewPrivilegs"))


def test_only_the_managed_unit_cannot_be_enabled() -> None:
    """Started at boot, a managed server would run where the manager did not put it (redbook 3.1.1)."""
    enabled = {unit.name: "[Install]" in unit.read_text().splitlines() for unit in UNITS}
    assert enabled == {"opentec-adapter@.service": True, "opentec-ha@.service": False, "opentec@.service": True}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_unit_is_hardened(unit: Path) -> None:
    found = settings(unit)
    assert found["User"] == "opentec"
    assert (found["NoNewPrivileges"], found["ProtectSystem"]) == ("yes", "strict")


@pytest.mark.parametrize("unit", [unit for unit in UNITS if "adapter" not in unit.name], ids=lambda unit: unit.name)
def test_the_watchdog_leaves_the_master_time_to_mend(unit: Path) -> None:
    found = settings(unit)
    assert (found["Type"], found["NotifyAccess"], found["KillMode"]) == ("notify", "main", "mixed")
    assert int(found["WatchdogSec"]) > 2 * 10, "supervision.hang_after, and the look before"


class Listener:
    """Hears what a service says to its NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(30)

    def next(self) -> list[str]:
        return self._socket.recv(4096).decode().split("\n")

    def until(self, word: str) -> list[str]:
        while word not in (said := self.next()):
            pass
        return said

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, hang_after=5.0) as found:
        yield found


@pytest.mark.acceptance
def test_a_server_tells_systemd_that_it_is_ready_alive_and_stopping(cluster: Cluster) -> None:
    path = cluster.runtime / "notify"
    listener = Listener(path)
    command = [sys.executable, "-m", "opentec.commands.main", "start", "--foreground", "-d", str(cluster.directory)]
    environment = {**cluster.environment, "NOTIFY_SOCKET": str(path)}
    with (cluster.directory / "output").open("wb") as output:
        server = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=output, stderr=output)
    try:
        assert "STATUS=serves, epoch 1" in listener.until("READY=1")
        listener.until("WATCHDOG=1")
        status = cluster.status("black")
        assert status is not None
        rule = process(status["processes"]["tec_rule"]["pid"])
        rule.signal(signal.SIGSTOP)
        # the master kills it after hang_after; before that it is seen, and no sign of life is sent
        while "no sign of life" not in (said := listener.next())[0]:
            assert "WATCHDOG=1" in said
        assert "WATCHDOG=1" not in said
        listener.until("WATCHDOG=1")  # it was started again
        wait_for("the hung process is gone", lambda: not rule.alive)
        server.send_signal(signal.SIGTERM)
        listener.until("STOPPING=1")
        assert server.wait(30) == 0
    finally:
        server.kill()
        server.wait()
        listener.close()
