"""The demo, small: its sums balance, its count sees what is missing or there twice, and it leaves nothing running."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from opentec.commands import processes
from tests.faults.harness import wait_for

ROOT = Path(__file__).parents[2]
DEMO = [sys.executable, str(ROOT / "examples/demo/demo.py")]
LINES = 3000


def demo(*arguments: str, status: int = 0) -> dict[str, Any]:
    """Run the demo; gives its numbers."""
    done = subprocess.run([*DEMO, "--json", *arguments], text=True, capture_output=True, timeout=170, cwd=ROOT)
    assert done.returncode == status, done.stdout + done.stderr
    numbers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return numbers


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of a demo that has run, and its numbers."""
    folder = tmp_path_factory.mktemp("demo") / "run"
    return folder, demo("--lines", str(LINES), "--dir", str(folder))


@pytest.fixture
def copy(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """A copy of that folder, to be damaged."""
    return shutil.copytree(finished[0], tmp_path / "run")


def change(folder: Path, statement: str) -> None:
    connection = sqlite3.connect(folder / "tec/rim/tec.db", isolation_level=None)
    assert connection.execute(statement).rowcount == 1
    connection.close()


def test_every_line_is_accounted_for(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, sums = finished
    assert sums["written"] == sums["lines"] == LINES
    assert sums["discarded"] + sums["unmatched"] + sums["events"] == LINES
    assert sums["acknowledged"] == sums["events"] == sums["stored"] + sums["counted"] + sums["dropped"]
    assert min(sums["discarded"], sums["unmatched"], sums["stored"], sums["counted"], sums["dropped"]) > 0
    assert (sums["lost"], sums["doubled"], sums["problems"]) == (0, 0, [])
    assert sums["closed"] >= sums["recovered"] > 0
    assert sums["epochs"] == [1, 2, 3]
    assert sums["notices"] == 3
    assert set(sums["gaps"]) == {"SIGKILL", "SIGSTOP"}
    assert sums["gaps"]["SIGSTOP"] > 1  # shorter than the time-to-live of the lease would be no takeover
    assert processes.find(folder / "tec") == []


def test_counting_again_gives_the_same(finished: tuple[Path, dict[str, Any]], copy: Path) -> None:
    assert demo("--recount", "--dir", str(copy)) == finished[1]


def test_an_event_that_is_gone_is_lost(copy: Path) -> None:
    change(
        copy,
        "DELETE FROM event WHERE eid = (SELECT min(eid) FROM event WHERE \"class\" = 'Session_Opened' "
        "AND repeat_count = 0)",
    )
    assert demo("--recount", "--dir", str(copy), status=1)["lost"] == 1


def test_an_outcome_that_is_gone_is_lost(copy: Path) -> None:
    change(copy, "DELETE FROM outcome WHERE position = (SELECT max(position) FROM outcome WHERE disposition = 2)")
    sums = demo("--recount", "--dir", str(copy), status=1)
    assert sums["lost"] == 1
    assert sums["doubled"] == 1  # something is counted on an event that no outcome speaks of


def test_a_duplicate_that_is_counted_twice_is_doubled(copy: Path) -> None:
    change(
        copy,
        "UPDATE event SET repeat_count = repeat_count + 1 WHERE eid = "
        "(SELECT min(eid) FROM event WHERE \"class\" = 'Cron_Job')",
    )
    assert demo("--recount", "--dir", str(copy), status=1)["doubled"] == 1


def test_a_line_that_no_event_came_from_is_lost(copy: Path) -> None:
    with (copy / "syslog").open("ab") as log:
        log.write(b"Mar  1 09:00:00 web1 sshd[99]: Failed password for root from 192.0.2.1 port 4000 ssh2\n")
    sums = demo("--recount", "--dir", str(copy), status=1)
    assert sums["lost"] == 1
    assert any("lines in the log" in problem for problem in sums["problems"])


def test_a_notice_that_is_missing_fails(copy: Path) -> None:
    change(copy, "DELETE FROM event WHERE ident = 'failover:2'")
    sums = demo("--recount", "--dir", str(copy), status=1)
    assert sums["problems"] == ["epoch 2 posted 0 notices, it should be 1"]


def test_an_interrupt_leaves_nothing_running(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with subprocess.Popen(
        [*DEMO, "--dir", str(folder)], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        wait_for("five processes of the demo", lambda: len(processes.find(folder / "tec")) >= 5)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=30)
    assert running.returncode == 2, said
    assert "interrupted" in said
    assert processes.find(folder / "tec") == []


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = subprocess.run([*DEMO, "--dir", str(tmp_path)], text=True, capture_output=True, timeout=30)
    assert done.returncode == 2
    assert "name another folder with --dir" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
