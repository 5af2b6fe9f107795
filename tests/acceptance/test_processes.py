"""Each of the five processes killed once and hung once under load: nothing is lost and nothing doubled."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.acceptance.conftest import MakeCluster
from tests.faults import plans
from tests.faults.checker import Checker
from tests.faults.client import Load, Sender
from tests.faults.harness import PROCESSES, Cluster, Process, wait_for


def senders(cluster: Cluster, folder: Path) -> list[tuple[Sender, plans.Plan]]:
    kinds = {
        "plain": plans.PLAIN,
        "repeats": plans.REPEATED,
        "problems": plans.PROBLEMS,
        "programs": plans.programs(str(folder)),
    }

    def sender(name: str, plan: plans.Plan) -> Sender:
        return Sender(
            cluster.servers, lambda number: plan.text(name, number), name, rate=5 if name == "programs" else 300
        )

    return [(sender(name, plan), plan) for name, plan in kinds.items()]


def wait_acknowledged(load: Load) -> None:
    """Every sender gets something new acknowledged."""
    before = [(sender, sender.acked) for sender in load.senders]
    wait_for("every sender goes on", lambda: all(sender.acked > count for sender, count in before))


def wait_replaced(cluster: Cluster, name: str, victim: Process) -> None:
    wait_for(f"another {name}", lambda: (now := cluster.status("black")) and _pid(now, name) not in (0, victim.pid))
    cluster.wait_up("black")


def _pid(status: dict[str, dict[str, dict[str, int]]], name: str) -> int:
    return status["processes"].get(name, {}).get("pid", 0)


def test_each_process_is_killed_and_hung(make_cluster: MakeCluster, tmp_path: Path) -> None:
    cluster = make_cluster(hang_after=1.0)
    cluster.start()
    folder = tmp_path / "programs"
    folder.mkdir()
    load_of = senders(cluster, folder)
    with Load([sender for sender, _ in load_of]) as load:
        wait_acknowledged(load)
        for name in PROCESSES[1:]:
            for number in (signal.SIGKILL, signal.SIGSTOP):
                victim = cluster.process("black", name)
                victim.signal(number)
                wait_replaced(cluster, name, victim)
                assert not victim.alive
                wait_acknowledged(load)
        _master(cluster, load)
        assert load.finish(), [sender.trouble for sender in load.senders]
    cluster.stop()
    verdict = Checker(cluster.directory, load_of).check()
    assert verdict.sound, verdict
    assert verdict.epochs == 2
    assert min(verdict.stored, verdict.counted, verdict.closed, verdict.programs) > 0


def _master(cluster: Cluster, load: Load) -> None:
    """A hung master: the others go on, since there is no standby. A dead one takes the others with it."""
    five = cluster.five("black")
    five["tec_master"].signal(signal.SIGSTOP)
    assert cluster.status("black", timeout=0.2) is None
    wait_acknowledged(load)
    five["tec_master"].signal(signal.SIGCONT)
    cluster.wait_up("black")
    # stopped children cannot end themselves, and must not outlive their master
    for name in ("tec_reception", "tec_dispatch"):
        five[name].signal(signal.SIGSTOP)
    five["tec_master"].signal(signal.SIGKILL)
    wait_for("no process is left", lambda: not cluster.left())
    assert cluster.start()["epoch"] == 2
    wait_acknowledged(load)
