"""Two Pacemaker nodes drive the shipped agents through every scenario: nothing is lost, and never two nodes serve."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from tests.faults.harness import wait_for
from tests.pacemaker.__main__ import run, summary
from tests.pacemaker.lab import NODES, Disk, Lab, fence, missing
from tests.pacemaker.scenarios import SCENARIOS, Outcome
from tests.pacemaker.service import SHIPPED, Instance, Owners, configuration
from tests.packaging import crm


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


class _Somewhere:
    """An instance and a disk, as far as the configuration names them."""

    directory, folder, device = Path("/lab/disk/tec"), Path("/lab/disk"), "/dev/loop7"


def derived() -> str:
    return configuration(cast(Instance, _Somewhere()), Path("/lab/adapter.conf"), cast(Disk, _Somewhere()))


def test_what_is_tested_is_what_ships() -> None:
    """Line by line: only what belongs to a machine, and how often a monitor looks, is another."""
    places = r"(ping_targets|device|directory|ip|cidr_netmask|nic|arp_\w+|instance|user|tec|conf|node)=\S+"
    pace = r"(?<=failure-timeout=)\w+|(?<=op monitor interval=)\w+"
    fence = r"(?<=stonith:)fence_(ipmilan|lab)|(username|password_script|lanplus)=\S+"
    one, other = (
        [re.sub(rf"{places}|{pace}|{fence}", "", line).split() for line in text.splitlines()]
        for text in (SHIPPED.read_text(), derived())
    )
    assert one == other
    assert SHIPPED.read_text() != derived()


def test_a_shipped_file_that_changed_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "opentec.crm"
    changed.write_text(SHIPPED.read_text().replace("ip=10.0.0.100", "ip=10.0.0.101"))
    monkeypatch.setattr("tests.pacemaker.service.SHIPPED", changed)
    with pytest.raises(ValueError, match="has 'ip=10.0.0.100 cidr_netmask=24' 0 times"):
        derived()


class TestCrmsh:
    pytestmark = crm.needed

    def test_crmsh_takes_what_is_tested(self, tmp_path: Path) -> None:
        programs = tmp_path / "sbin"
        programs.mkdir()
        fence(programs, tmp_path)
        done = crm.load(tmp_path, derived(), programs)
        assert done.returncode == 0 and "ERROR" not in done.stdout + done.stderr, done.stdout + done.stderr
        assert (tmp_path / "cib.xml").read_text().count('type="fence_lab"') == 2


def test_outages_are_summed_up_by_scenario() -> None:
    outcomes = [Outcome("a", outage, 9.0, "black", "brown") for outage in (1.0, 3.0, 2.0)]
    assert summary([*outcomes, Outcome("b", 4.0, 9.0, "black", "black")]) == {
        "a": {"n": 3, "p50": 2.0, "max": 3.0},
        "b": {"n": 1, "p50": 4.0, "max": 4.0},
    }
