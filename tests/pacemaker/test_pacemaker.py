"""Two Pacemaker nodes drive the shipped agents through every scenario: nothing is lost, and never two nodes serve."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.harness import wait_for
from tests.pacemaker.__main__ import run, summary
from tests.pacemaker.lab import NODES, Disk, Lab, missing
from tests.pacemaker.scenarios import SCENARIOS, Outcome
from tests.pacemaker.service import Owners


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not below pytest's own, which is closed to Pacemaker's user."""
    path = Path(tempfile.mkdtemp(prefix="tec-pacemaker-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.nightly
def test_every_scenario(folder: Path) -> None:
    if why := missing():
        pytest.skip(why)
    report = run(folder, list(SCENARIOS), 1)
    assert report["sound"], report
    assert (report["lost"], report["duplicated"], report["two_owners"], report["left"]) == (0, 0, 0, 0)
    fenced = {entry["scenario"] for entry in report["outcomes"] if entry["fenced"]}
    assert fenced == {"node crashes", "link cut", "node freezes"}, "a fault that fencing must end, and no other"
    assert all(entry["fenced"] in ([], [entry["before"]]) for entry in report["outcomes"]), "never the healthy node"


def test_two_nodes_that_serve_at_a_time_are_seen(tmp_path: Path) -> None:
    """The negative control of the watch: processes that look like two nodes' receptions."""
    cat = shutil.which("cat")
    titles = [f"tec_reception -d {tmp_path} --node {node}" for node in NODES]
    lab = Lab(tmp_path, Disk(tmp_path / "disk"))
    with Owners(lab, tmp_path) as owners, subprocess.Popen([titles[0]], executable=cat, stdin=subprocess.PIPE) as one:
        wait_for("a few looks", lambda: owners.looks > 3)
        assert owners.doubles == []
        with subprocess.Popen([titles[1]], executable=cat, stdin=subprocess.PIPE) as two:
            wait_for("both are seen", lambda: owners.doubles)
            two.kill()
        one.kill()


def test_outages_are_summed_up_by_scenario() -> None:
    outcomes = [Outcome("a", outage, 9.0, "node1", "node2") for outage in (1.0, 3.0, 2.0)]
    assert summary([*outcomes, Outcome("b", 4.0, 9.0, "node1", "node1")]) == {
        "a": {"n": 3, "p50": 2.0, "max": 3.0},
        "b": {"n": 1, "p50": 4.0, "max": 4.0},
    }
