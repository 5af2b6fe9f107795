"""The probe lines of the samples for cluster managers, run word for word against a pair that works, hangs, and stops.

Each line is taken from its file; only what an installation replaces (paths, the node, the user) is replaced.
"""

from __future__ import annotations

import getpass
import os
import re
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from tests.acceptance.conftest import MakeCluster
from tests.faults.harness import ROOT, Cluster, wait_for
from tests.packaging.ocf import GENERIC, NOT_RUNNING, SUCCESS, TEC, Agent
from tests.packaging.probes import KUBERNETES, installed, keepalived_line, kubernetes_environment, kubernetes_line

GREEN, RED, STOPPED = 0, 1, 3
HANG_AFTER = 16.0  # half of it passes until a process counts as hung, in the other half all lines are run
LOOKS = 2
BARE = "/usr/bin:/bin"  # what a manager gives a script; nothing of this test's environment


class Line(NamedTuple):
    """One line of a sample, for one node."""

    name: str
    run: Callable[[], tuple[int, str]]  # exit status, and what it said
    active: int
    standby: int
    hung: int  # a process of the active node hangs
    stopped: int


def command(words: list[str], **environment: str) -> Callable[[], tuple[int, str]]:
    def run() -> tuple[int, str]:
        done = subprocess.run(
            words, env={"PATH": BARE} | environment, capture_output=True, text=True, timeout=60, check=False, cwd="/"
        )
        return done.returncode, done.stdout + done.stderr

    return run


def keepalived(cluster: Cluster, node: str) -> Line:
    """The address is where this is green: at a node that serves and works."""
    words = installed(
        keepalived_line(),
        {
            "/run/opentec-tec": cluster.runtime,
            "/opt/opentec/bin/tec": TEC,
            "/srv/opentec/tec": cluster.directory,
            "black": node,
        },
    )
    return Line("keepalived", command(words), GREEN, RED, RED, STOPPED)


def kubernetes(cluster: Cluster, node: str) -> list[Line]:
    """The container's environment is the probes', too. The image has tec in its PATH."""
    places = {"TEC_DIR": str(cluster.directory), "TEC_NODE": node, "TEC_RUNTIME_DIR": str(cluster.runtime)}
    assert kubernetes_environment().keys() == places.keys()
    # what hangs is for the liveness probe alone: the port is open, and events are taken
    wanted = {
        "startupProbe": (GREEN, RED, GREEN),
        "livenessProbe": (GREEN, GREEN, RED),
        "readinessProbe": (GREEN, RED, GREEN),
    }
    return [
        Line(name, command(kubernetes_line(name), **places | {"PATH": f"{TEC.parent}:{BARE}"}), *wanted[name], STOPPED)
        for name in KUBERNETES
    ]


def pacemaker(cluster: Cluster, node: str) -> list[Line]:
    """The agent's monitor with the parameters of each sample. `patience` 0: its one look shall count."""
    lines = []
    for name, standby in (("opentec.crm", GENERIC), ("standby.crm", SUCCESS)):
        text = re.sub(r"\\\n\s*", " ", (ROOT / "packaging" / "pacemaker" / name).read_text())
        (given,) = re.findall(r"^primitive \S+ ocf:opentec:server params (.*?) op ", re.sub(" +", " ", text), re.M)
        places = {"/srv/opentec/tec": cluster.directory, "opentec": getpass.getuser(), "/opt/opentec/bin/tec": TEC}
        parameters = dict(word.split("=", 1) for word in installed(given.split(), places))
        # the directory of sockets and the node are by default those of the host
        agent = Agent("server", **parameters, node=node, runtime=cluster.runtime, patience=0)
        lines.append(Line(name, _monitor(agent), SUCCESS, standby, GENERIC, NOT_RUNNING))
    return lines


def _monitor(agent: Agent) -> Callable[[], tuple[int, str]]:
    return lambda: (agent("monitor"), agent.said)


def lines(cluster: Cluster, node: str) -> list[Line]:
    return [keepalived(cluster, node), *kubernetes(cluster, node), *pacemaker(cluster, node)]


def all_say(cluster: Cluster, node: str, state: str) -> None:
    """Run every line at once, and compare the exit statuses.

    One that is wrong is asked once more: a busy machine may be late, and no manager acts upon one answer.
    """
    each = wrong = lines(cluster, node)
    for _ in range(LOOKS):
        with ThreadPoolExecutor(len(each)) as pool:
            said = dict(zip([line.name for line in wrong], pool.map(lambda line: line.run(), wrong), strict=True))
        wrong = [line for line in wrong if said[line.name][0] != getattr(line, state)]
        if not wrong:
            return
    assert not wrong, f"{state}: {[(line.name, getattr(line, state), said[line.name]) for line in wrong]}"


def hung(cluster: Cluster, node: str) -> bool:
    status = cluster.status(node)
    return status is not None and [cause["code"] for cause in status["causes"]] == ["hung"]


def test_every_line_sees_what_its_manager_must_know(make_cluster: MakeCluster) -> None:
    cluster = make_cluster("black", "brown", hang_after=HANG_AFTER)
    cluster.start("black")
    cluster.start("brown")
    all_say(cluster, cluster.wait_up("black"), "active")
    all_say(cluster, cluster.wait_standby("brown"), "standby")

    rule = cluster.process("black", "tec_rule")
    rule.signal(signal.SIGSTOP)
    wait_for("the rule process counts as hung", lambda: hung(cluster, "black"))
    all_say(cluster, "black", "hung")
    assert rule.alive, "the lines took longer than the master's patience with a process that hangs"
    wait_for("it is replaced", lambda: not rule.alive)
    all_say(cluster, cluster.wait_up("black"), "active")

    cluster.tec("stop", "--node", "black", check=True)
    all_say(cluster, cluster.wait_up("brown"), "active")
    all_say(cluster, "black", "stopped")


def test_a_place_that_a_sample_does_not_name_is_told() -> None:
    with pytest.raises(AssertionError, match="/srv/elsewhere is not in"):
        installed(keepalived_line(), {"/srv/elsewhere": os.sep})
