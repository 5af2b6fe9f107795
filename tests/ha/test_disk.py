"""Trying disks out: what fails is named, what hangs does not hang who asks."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from opentec.ha import disk
from opentec.ha.disk import Trial, main, probe


def test_a_probe_writes_one_small_file_again_and_again(tmp_path: Path) -> None:
    assert 0 <= probe(tmp_path, "black") < 60
    probe(tmp_path, "black")
    assert [(path.name, path.stat().st_size) for path in tmp_path.iterdir()] == [(".probe.black", 512)]
    with pytest.raises(FileNotFoundError):
        probe(tmp_path / "none", "black")


def test_a_link_of_a_stranger_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".probe.black").symlink_to(victim)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        probe(tmp_path, "black")
    assert victim.read_text() == "precious"


def test_the_program_names_the_first_folder_that_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("black", str(tmp_path)) == 0
    assert main("black", str(tmp_path), str(tmp_path / "none"), str(tmp_path / "other")) == 1
    assert capsys.readouterr().out == f"{tmp_path / 'none'}: it cannot be written: No such file or directory\n"


def test_a_disk_that_fails_and_is_mended(tmp_path: Path) -> None:
    own = tmp_path / "own"
    trial = Trial([tmp_path, own], "black", limit=60)
    assert trial.finish() == f"{own}: it cannot be written: No such file or directory"
    own.mkdir()
    trial.look(time.monotonic())
    while trial.trouble:
        trial.look(time.monotonic())
    trial.close()
    assert trial.finish() == ""


def test_a_disk_that_hangs_is_known_after_the_limit(tmp_path: Path) -> None:
    """A stopped process stands for one that waits for the disk: neither ends, and neither can be waited for."""
    trial = Trial([tmp_path], "black", limit=5, interval=1)
    assert trial.look(100.0) == ""
    assert trial._process is not None
    os.kill(trial._process.pid, signal.SIGSTOP)
    os.waitpid(trial._process.pid, os.WUNTRACED)
    assert trial.look(104.9) == ""
    assert trial.look(105.1) == f"{tmp_path}: a write has not ended within 5 s"
    os.kill(trial._process.pid, signal.SIGCONT)
    while trial._process is not None:
        trial.look(105.2)
        if trial._process is not None and trial._since == 105.2:
            break  # the next one runs already
    assert trial.trouble == ""
    trial.close()
    trial.close()


def test_what_cannot_be_ended_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = Trial([tmp_path], "black", limit=5)
    trial.look(0.0)
    process = trial._process
    assert process is not None
    ended = process.poll
    monkeypatch.setattr(process, "poll", lambda: None)
    monkeypatch.setattr(disk.time, "monotonic", iter([0.0, 0.05, 0.2, 0.3]).__next__)
    trial.close()
    assert process.returncode == -9
    process.returncode = None
    monkeypatch.undo()
    process.wait()
    assert ended() is not None
