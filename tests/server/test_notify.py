"""What systemd is told, word for word."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opentec.server.health import Reason
from opentec.server.notify import Notifier

SECOND = 1_000_000
HUNG = Reason("hung", "tec_rule shows no\nsign of life", 7.0, True)
AWAY = Reason("repository", "the repository does not answer", 7.0, False)


class Systemd:
    """A socket that hears what a service says."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.setblocking(False)
        self.now = 5 * SECOND
        self.notifier = Notifier(address, lambda: self.now)

    def heard(self) -> list[list[str]]:
        found = []
        while True:
            try:
                found.append(self.socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return found


@pytest.fixture(params=["path", "abstract"])
def systemd(request: Any, tmp_path: Path) -> Iterator[Systemd]:
    address = str(tmp_path / "n") if request.param == "path" else f"@opentec-test-{os.getpid()}"
    found = Systemd(address)
    yield found
    found.socket.close()


def look(systemd: Systemd, *causes: Reason, state: str = "up") -> list[list[str]]:
    systemd.notifier.look(lambda: state, lambda: causes)
    return systemd.heard()


def test_serving_is_ready(systemd: Systemd) -> None:
    told: list[dict[str, Any]] = []
    systemd.notifier.before(told.append)({"state": "up", "epoch": 3})
    assert systemd.heard() == [["READY=1", "WATCHDOG=1", "STATUS=serves, epoch 3"]]
    assert told == [{"state": "up", "epoch": 3}], "whoever started it hears it too"


def test_standing_by_is_ready(systemd: Systemd) -> None:
    systemd.notifier.ready({"state": "standby", "active": "brown"})
    assert systemd.heard() == [["READY=1", "WATCHDOG=1", "STATUS=stands by"]]


def test_a_start_that_failed_is_not_ready(systemd: Systemd) -> None:
    systemd.notifier.ready({"state": "failed", "reason": "the port\nis taken"})
    assert systemd.heard() == [["STATUS=the port is taken"]]


def test_a_sign_of_life_once_a_second(systemd: Systemd) -> None:
    systemd.notifier.ready({"state": "up", "epoch": 1})
    systemd.heard()
    assert look(systemd) == [["STATUS=up", "WATCHDOG=1"]]
    systemd.now += SECOND - 1
    assert look(systemd) == []
    systemd.now += 1
    assert look(systemd) == [["STATUS=up", "WATCHDOG=1"]]


def test_no_sign_of_life_while_a_restart_may_help(systemd: Systemd) -> None:
    systemd.notifier.ready({"state": "up", "epoch": 1})
    systemd.heard()
    assert look(systemd, AWAY, HUNG) == [["STATUS=up; the repository does not answer; tec_rule shows no sign of life"]]
    systemd.now += SECOND
    assert look(systemd, AWAY) == [["STATUS=up; the repository does not answer", "WATCHDOG=1"]]


def test_a_start_that_goes_on_gets_more_time(systemd: Systemd) -> None:
    assert look(systemd, state="starting") == [["STATUS=starting", "WATCHDOG=1", "EXTEND_TIMEOUT_USEC=30000000"]]
    systemd.now += SECOND
    assert look(systemd, HUNG, state="starting") == [["STATUS=starting; tec_rule shows no sign of life"]]


def test_the_end_is_said_once_and_nothing_behind_it(systemd: Systemd) -> None:
    systemd.notifier.stopping()
    systemd.notifier.stopping()
    assert systemd.heard() == [["STOPPING=1", "STATUS=stops: events in the log are finished"]]
    assert look(systemd) == []


def test_a_long_status_is_cut(systemd: Systemd) -> None:
    ((status, _, _),) = look(systemd, Reason("x", "y" * 9000, 0.0, False))
    assert len(status) == len("STATUS=") + 500


def test_without_systemd_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = Notifier()
    assert not notifier.send("READY=1")
    notifier.look(lambda: pytest.fail("asked"), lambda: pytest.fail("asked"))


def test_the_socket_is_that_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systemd = Systemd(str(tmp_path / "n"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
    assert Notifier().send("READY=1")
    assert systemd.heard() == [["READY=1"]]
    systemd.socket.close()
    assert not Notifier().send("READY=1"), "nobody listens, and nothing is raised"
