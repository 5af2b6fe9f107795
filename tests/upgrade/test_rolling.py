"""Two nodes, the older version at work: the standby first, switch, then the other. And the way back, which is refused.

Runs the older version's own code, from the history of this repository.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from opentec.rim.schema import SCHEMA_VERSION
from tests.faults.checker import Checker
from tests.faults.client import Load, Sender
from tests.faults.harness import ROOT, Cluster, wait_for
from tests.faults.plans import Plan
from tests.upgrade.kit import PLANS

VERSION_1 = "e0b2ad9"  # the last commit that wrote version 1

pytestmark = [pytest.mark.acceptance, pytest.mark.nightly]


def is_shallow(checkout: Path) -> bool:
    """Does this clone have a part of the history only?"""
    command = ["git", "rev-parse", "--is-shallow-repository"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=20)
    return done.stdout.strip() == "true"


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the older version."""
    done = subprocess.run(
        ["git", "archive", VERSION_1, "src", "rules", "adapters", "tests/faults/rulebase"],
        cwd=ROOT,
        capture_output=True,
    )
    if done.returncode:
        reason = f"this clone has no commit {VERSION_1}: {done.stderr.decode().strip()}"
        if is_shallow(ROOT):
            pytest.skip(f"{reason}; it is a shallow one: `git fetch --unshallow`")
        pytest.fail(reason)
    folder = tmp_path_factory.mktemp("version-1")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def cluster(older: Path, tmp_path: Path) -> Iterator[Cluster]:
    rule_base = older / "tests" / "faults" / "rulebase"
    with Cluster(tmp_path, ("black", "brown"), rule_base=rule_base, code=older) as found:
        yield found


def run_with(cluster: Cluster, code: Path) -> None:
    """What is started from here on is of this version."""
    cluster.environment["PYTHONPATH"] = f"{code / 'src'}:{ROOT}"


def senders(cluster: Cluster) -> list[tuple[Sender, Plan]]:
    made = []
    for name, plan in PLANS.items():
        made.append((Sender(cluster.servers, lambda n, p=plan, s=name: p.text(s, n), name, rate=50), plan))  # type: ignore[misc]
    return made


def test_standby_first_then_switch_then_the_other(cluster: Cluster) -> None:
    cluster.start("black")
    load = senders(cluster)
    with Load([sender for sender, _ in load]) as running:
        wait_for("events are acknowledged", lambda: running.acked > 100)
        run_with(cluster, ROOT)
        cluster.start("brown")
        cluster.wait_standby("brown")
        cluster.tec("switch", check=True)  # the newer one's, which starts black again: that is its upgrade
        cluster.wait_up("brown")
        cluster.wait_standby("black")
        reached = running.acked
        wait_for("events go on", lambda: running.acked > reached + 100)
        cluster.tec("stop", "--node", "brown", check=True)  # as between two machines; an older black could not serve
        cluster.wait_up("black")
        cluster.start("brown")
        cluster.wait_standby("brown")
        reached = running.acked
        wait_for("events go on", lambda: running.acked > reached + 100)
        assert running.finish()
    cluster.stop()
    verdict = Checker(cluster.directory, load).check()
    assert verdict.sound, str(verdict)
    assert verdict.epochs == 3


def test_the_way_back_is_refused_by_name(cluster: Cluster, older: Path) -> None:
    run_with(cluster, ROOT)
    cluster.start("black")
    cluster.stop()
    run_with(cluster, older)
    done = cluster.tec("start", node="black")
    said = done.stderr + cluster.logs()
    assert done.returncode != 0
    assert f"schema version {SCHEMA_VERSION}, this opentec reads version 1; use the newer opentec" in said
    run_with(cluster, ROOT)
    cluster.start("black")  # it went on from where it was
    cluster.stop()
