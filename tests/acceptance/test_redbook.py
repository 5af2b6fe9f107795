"""The redbook's scenarios run as they are described, and their own checks see what is lost or doubled."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.examples import environment, nothing_left, run, sound
from tests.faults.harness import ROOT, processes, wait_for

sys.path.insert(1, str(ROOT / "examples" / "redbook"))


def test_idle_standby(tmp_path: Path) -> None:
    ran = run("redbook/idle-standby", tmp_path)
    sound(
        ran,
        "idle standby: steps 10, 11 and 15 hold before and after the failover; nothing was lost, nothing doubled",
        checks=13,
    )
    for step, times in (("step 10", 4), ("step 11", 2), ("step 15", 4)):
        assert sum(check.startswith(f"ok     {step}") for check in ran.checks) == times
    assert set(ran.gaps) == {"failover"}


def test_mutual_takeover(tmp_path: Path) -> None:
    ran = run("redbook/mutual-takeover", tmp_path)
    sound(
        ran,
        "mutual takeover: either node runs both servers when the other is dead; nothing was lost, nothing doubled",
        checks=6,
    )
    assert len(ran.gaps) == 3


def test_adapter_failover(tmp_path: Path) -> None:
    ran = run("redbook/adapter-failover", tmp_path)
    buffered = int(ran.last.split()[2])
    sound(
        ran,
        f"adapter failover: {buffered} buffered events were sent by the other node; each of 3000 lines is one event",
        checks=2,
    )
    assert 100 < buffered < 3000


def test_two_adapters_on_one_log(tmp_path: Path) -> None:
    ran = run("redbook/shared-log", tmp_path)
    sound(
        ran,
        "mutual takeover of adapters: 200 lines, 200 events; without one identity 100 lines, 200 received, 100 stored, "
        "and 200 stored where no rule counts duplicates",
        checks=3,
    )


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, str(ROOT / "examples/redbook/adapter-failover/run.py")],
        env=environment(tmp_path),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        wait_for(
            "its adapter", lambda: any(f"{tmp_path}/" in one.title and "adapter" in one.title for one in processes())
        )
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 2, said
    assert "interrupted; everything it had started was ended" in said
    nothing_left(tmp_path)


# -- the examples' own judgement ------------------------------------------------------------------------------------


def record(number: int, disposition: str = "STORED", source: str = "sender") -> dict[str, Any]:
    return {"source": source, "msg": f"Test_Event {number}", "disposition": disposition}


@pytest.mark.parametrize(
    ("records", "sums"),
    [
        ([record(1), record(2), record(3)], (0, 0)),
        ([record(1), record(3)], (1, 0)),
        ([record(1), record(2), record(2), record(3)], (0, 1)),
        ([record(1), record(2, "WAITING"), record(3), record(2, source="other")], (1, 0)),
        ([record(1), record(2), record(3), record(4)], (0, 0)),  # recorded, its acknowledgement was on the way
    ],
)
def test_the_sums_see_what_is_lost_or_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: list[dict[str, Any]], sums: tuple[int, int]
) -> None:
    from stage import Server

    monkeypatch.setattr(Server, "records", lambda self: records)
    assert Server(tmp_path).sums(3) == sums


def test_a_check_that_fails_is_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from stage import DemoFailed, Stage, perform

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def play(stage: Stage) -> int:
        stage.check("one", True)
        stage.check("two", False)
        stage.gap("three", 2.0, 1.0)
        return stage.verdict("all is well")

    def late(stage: Stage) -> int:
        raise DemoFailed("nobody came")

    assert perform("trial", play) == 1
    said = capsys.readouterr().out
    assert "    FAIL   two" in said
    assert "2.00 s without an acknowledgement, promised 1 s: NOT kept on this machine" in said
    assert said.splitlines()[-1] == "trial: 1 checks FAILED"
    assert perform("trial", late) == 2
    assert capsys.readouterr().err == "trial: nobody came\n"
    assert list(tmp_path.iterdir()) == []
