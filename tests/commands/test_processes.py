from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from opentec.commands.processes import Found, find, kill


def fake(proc: Path, pid: int, *parts: str) -> None:
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "cmdline").write_bytes("\0".join(parts).encode() + b"\0" * 5)


def test_the_processes_of_one_directory_are_found_by_their_titles(tmp_path: Path) -> None:
    directory = Path("/srv/my events")
    fake(tmp_path, 10, "tec_master -d /srv/my events --node black")
    fake(tmp_path, 11, "tec_rule -d /srv/my events --node black")
    fake(tmp_path, 12, "python", "-m", "opentec.server.start", "/srv/my events", "brown", "5.0")
    fake(tmp_path, 13, "tec_master -d /srv/my events2 --node black")
    fake(tmp_path, 14, "tec_master -d /srv/my events --node black and more")
    fake(tmp_path, 15, "grep", "tec_master -d /srv/my events --node black")
    fake(tmp_path, 16, "tec_other -d /srv/my events --node black")
    fake(tmp_path, 19, "python", "-P", "-m", "opentec.server.start", "/srv/my events", "green", "5.0", "7")
    (tmp_path / "17").mkdir()
    (tmp_path / "18").mkdir()
    (tmp_path / "18" / "cmdline").touch()
    (tmp_path / "self").mkdir()
    assert find(directory, tmp_path) == [
        Found(10, "tec_master", "black"),
        Found(11, "tec_rule", "black"),
        Found(12, "tec_master", "brown", rejoins=True),
        Found(19, "tec_master", "green", rejoins=True),
    ]


def test_a_strangers_process_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, 10, "tec_master -d /srv --node black")
    assert find(Path("/srv"), tmp_path)
    owner = tmp_path.stat().st_uid
    if owner == 0:
        os.chown(tmp_path / "10" / "cmdline", 12345, -1)
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert find(Path("/srv"), tmp_path) == []


def test_kill_ends_what_lives_and_passes_over_what_does_not() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    kill([Found(gone.pid, "tec_master", "x"), Found(child.pid, "tec_rule", "x")])
    assert child.wait(10) == -9
    assert child.stdin is not None
    child.stdin.close()
