from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import namedtuple
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from opentec.commands import tecad
from opentec.eif.errors import EifError
from opentec.events.errors import SourceError, SourceErrors
from tests.commands.running import Runner, lines

Outcome = namedtuple("Outcome", "counters rejected unconfirmed unread")
LINE = "Mar  1 08:00:00 web1 sshd[12]: Failed password for root from 10.0.0.1 port 22 ssh2\n"


class Adapter(ModuleType):
    """Stands in for an adapter's module."""

    def __init__(self, buffer: Path) -> None:
        super().__init__("opentec.adapters.fake.main")
        self.conf = SimpleNamespace(buffer_path=buffer)
        self.unconfirmed = 0
        self.unread = False
        self.error: Exception | None = None
        self.ran: dict[str, Any] = {}

    def load(self, conf: Path, node: str) -> tuple[Any, list[Any]]:
        if self.error is not None:
            raise self.error
        return self.conf, []

    async def run(self, conf: Path, *, stop: asyncio.Event, **settings: Any) -> Outcome:
        self.ran = {"conf": conf, **settings}
        if not settings["once"]:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(stop.wait(), 5)
        return Outcome(SimpleNamespace(to_data=lambda: {"lines": 3, "lost_lines": 0}), 1, self.unconfirmed, self.unread)


@pytest.fixture
def adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Adapter:
    fake = Adapter(tmp_path / "buffer")
    monkeypatch.setattr(tecad, "import_module", lambda name: fake)
    monkeypatch.setitem(sys.modules, "setproctitle", SimpleNamespace(setproctitle=lambda title: None))
    return fake


def test_once_ends_with_what_became_of_the_lines(tec: Runner, adapter: Adapter, tmp_path: Path) -> None:
    ran = tec("adapter", "logfile", "-c", tmp_path / "a.conf", "--once", "--wait", "3", "--node", "web1", "--adopt")
    assert (ran.status, ran.out) == (0, "3 lines, 0 lost lines, 1 rejected, 0 unconfirmed\n")
    report = adapter.ran.pop("report")
    assert callable(report)
    assert adapter.ran == {"conf": tmp_path / "a.conf", "once": True, "node": "web1", "adopt": True, "wait": 3.0}


def test_what_waits_is_4(tec: Runner, adapter: Adapter) -> None:
    adapter.unconfirmed = 2
    ran = tec("adapter", "logfile", "-c", "a.conf", "--once", "--json")
    assert ran.status == 4
    assert json.loads(ran.out) == {"lines": 3, "lost_lines": 0, "rejected": 1, "unconfirmed": 2}


def test_what_was_not_read_is_4(tec: Runner, adapter: Adapter) -> None:
    adapter.unread = True
    assert tec("adapter", "logfile", "-c", "a.conf", "--once", "--wait", "1").status == 4


def test_a_signal_ends_it(tec: Runner, adapter: Adapter) -> None:
    adapter.unconfirmed = 2
    assert tec("adapter", "nt", "-c", "a.conf", "--foreground").status == 0
    assert adapter.ran["once"] is False


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (SourceErrors([SourceError("wrong", file="a.conf", line=1, column=1)]), 2, "a.conf:1:1: wrong"),
        (FileNotFoundError(2, "No such file or directory", "x.fmt"), 2, "x.fmt: No such file or directory"),
        (EifError("in use"), 1, "tec: in use"),
    ],
)
def test_what_is_wrong_is_said(tec: Runner, adapter: Adapter, error: Exception, status: int, said: str) -> None:
    adapter.error = error
    ran = tec("adapter", "logfile", "-c", "a.conf")
    assert ran.status == status
    assert said in ran.err


def test_an_adapter_that_there_is_not(tec: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> Any:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(tecad, "import_module", gone)
    ran = tec("adapter", "nt", "-c", "a.conf")
    assert (ran.status, ran.err) == (1, "tec: tecad_nt is not part of this version of opentec\n")


def test_a_library_that_is_missing_is_not_an_adapter_that_is(tec: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'evtx'", name="evtx")

    monkeypatch.setattr(tecad, "import_module", gone)
    assert "evtx" in tec("adapter", "nt", "-c", "a.conf").err


def settled(log: Path, *, lives: bool) -> None:
    """What the calling process does when its daemon, pid 77, lives or has ended; 8 bytes of the log are older."""
    read_end, write_end = os.pipe()
    os.write(write_end, b"77\n")
    if not lives:
        os.close(write_end)
    try:
        tecad._leave(read_end, log, 8, "tecad_x", json=False)
    finally:
        os.close(read_end)
        if lives:
            os.close(write_end)


def test_a_daemon_that_lives_is_named(tec: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tecad, "_SETTLED", 0.0)
    log = tmp_path / "x.log"
    ran = tec.entry(lambda: settled(log, lives=True))
    assert (ran.status, ran.out) == (0, f"tecad_x runs in the background, pid 77; its messages are in {log}\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [("earlier\ntecad_x: in use\n", "tecad_x: in use"), ("earlier\n", "for no known reason"), (None, "for no known")],
)
def test_a_daemon_that_ends_at_once_says_why(tec: Runner, tmp_path: Path, text: str | None, told: str) -> None:
    log = tmp_path / "x.log"
    if text is not None:
        log.write_text(text)
    ran = tec.entry(lambda: settled(log, lives=False))
    assert ran.status == 1
    assert ran.err.startswith(f"tecad_x ended at once: {told}")


def test_try_shows_what_becomes_of_each_line(tec: Runner, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(LINE + "nothing\x07 like it\n")
    ran = tec("adapter", "try", tmp_path / "log")
    assert ran.status == 0
    assert ran.err == "1 event, 1 unmatched\n"
    assert "    Ssh_Login_Failure (" in ran.out
    assert "    user=root\n" in ran.out
    assert lines(ran.out)[-2:] == ["2: nothing\\x07 like it", "    unmatched: no format begins as this line does"]
    assert "Ssh_Login" not in tec("adapter", "try", tmp_path / "log", "--unmatched").out
    first, second = (json.loads(line) for line in lines(tec("adapter", "try", tmp_path / "log", "--json").out))
    assert (first["class_name"], first["slots"]["port"], second["verdict"]) == ("Ssh_Login_Failure", "22", "unmatched")


def test_try_with_formats_of_ones_own(tec: Runner, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("hello you\nnoise\n")
    (tmp_path / "a.fmt").write_text("FORMAT Greeting\nhello %s\nwho $1\nEND\nFORMAT *DISCARD*\nnoise\nEND\n")
    ran = tec("adapter", "try", tmp_path / "log", "--format", tmp_path / "a.fmt")
    assert "    Greeting (" in ran.out
    assert "    who=you\n" in ran.out
    assert "    discarded (" in ran.out


def test_try_takes_the_name_and_the_formats_that_the_adapter_itself_would(tec: Runner, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("hello you\n")
    (tmp_path / "tecad_logfile.fmt").write_text("FORMAT Beside\nhello %s\nhostname DEFAULT\nEND\n")
    (tmp_path / "own.fmt").write_text("FORMAT Named\nhello %s\nhostname DEFAULT\nEND\n")
    conf = tmp_path / "a.conf"
    conf.write_text("NodeName=web7\n")
    ran = tec("adapter", "try", tmp_path / "log", "-c", conf)
    assert "    Beside (" in ran.out
    assert "    hostname=web7\n" in ran.out
    conf.write_text("NodeName=web7\nFormatFile=own.fmt\n")
    assert "    Named (" in tec("adapter", "try", tmp_path / "log", "-c", conf).out
    conf.write_text("NodeName=web7\n")
    (tmp_path / "tecad_logfile.fmt").unlink()
    ran = tec("adapter", "try", tmp_path / "log", "-c", conf)
    assert (ran.status, ran.err) == (2, f"tec: {tmp_path / 'tecad_logfile.fmt'}: No such file or directory\n")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["none"], 1), (["log", "--format", "none"], 2), (["log", "--format", "bad"], 2), (["log", "-c", "bad"], 2)],
)
def test_try_of_what_is_not_right(
    tec: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], status: int
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log").touch()
    (tmp_path / "bad").write_text("FORMA x\n")
    ran = tec("adapter", "try", *arguments)
    assert ran.status == status
    assert ran.err.startswith("tec: ")
