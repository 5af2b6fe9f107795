"""Two nodes under load, with an adapter that tails a log: what faults are inflicted on, and what counts afterwards."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.faults import plans
from tests.faults.checker import Checker, Verdict
from tests.faults.client import Address, Load, Sender
from tests.faults.harness import PATIENCE, Cluster, Late, wait_for
from tests.faults.tailing import Tailing

NODES = ("black", "brown")
HANG_AFTER = 1.5  # seconds, supervision.hang_after of the run
STEADY_RATE = 200.0  # events a second of the sender that measures gaps
LIGHT = 150.0  # events a second of all other senders together, where faults and not load are looked at


def senders_for(
    servers: Sequence[Address], effects: Path, rate: float, steady: float = STEADY_RATE
) -> list[tuple[Sender, plans.Plan]]:
    """A steady sender, and others of every plan that share `rate` events a second."""
    kinds = {
        "steady": (plans.PLAIN, steady),
        "plain": (plans.PLAIN, rate * 0.5),
        "repeats": (plans.REPEATED, rate * 0.2),
        "problems": (plans.PROBLEMS, rate * 0.2),
        "wrong": (plans.WRONG, rate * 0.1),
        "state": (plans.REMEMBERED, rate * 0.1),
        "programs": (plans.programs(str(effects)), 2.0),
    }

    def sender(name: str, plan: plans.Plan, pace: float) -> Sender:
        # the steady one may have more under way, so that a slow commit is not taken for an outage
        window = 200 if name == "steady" else 64
        return Sender(servers, lambda number: plan.text(name, number), name, rate=pace, window=window)

    return [(sender(name, plan, pace), plan) for name, (plan, pace) in kinds.items()]


class Stage:
    """Nodes, senders and a tailing adapter at work. A context manager; `finish` ends the load and gives the verdict."""

    def __init__(
        self,
        folder: Path,
        chance: random.Random,
        *,
        nodes: Sequence[str] = NODES,
        rate: float = LIGHT,
        steady: float = 60.0,
        lines: float = 50.0,
        rotate: int = 400,
        hooks: str = "",
        environment: Callable[[Cluster, str], Mapping[str, str]] | None = None,
        servers: Callable[[Cluster], Sequence[Address]] | None = None,
        host: str = "127.0.0.1",
        enter: Callable[[], None] | None = None,
        within: Sequence[str] = (),
        disk_limit: float | str = 0,
    ) -> None:
        """`rate`, `steady` and `lines` are a second, `rotate` as of Tailing.

        `environment` gives further variables for the start of a node; `servers` where senders and adapter connect.

        `enter` runs in the thread of the senders before they connect, `within` begins the adapter's command line.
        """
        folder.mkdir(parents=True, exist_ok=True)
        effects = folder / "effects"
        effects.mkdir()
        self.chance, self.restarts = chance, 0
        self.cluster = Cluster(folder, nodes, hang_after=HANG_AFTER, host=host, disk_limit=disk_limit)
        try:
            self._hooks = hooks
            self._environment = environment or (lambda cluster, node: {})
            addresses = servers(self.cluster) if servers else self.cluster.servers
            self.senders = senders_for(addresses, effects, rate, steady)
            self.tailing = Tailing(
                folder / "tailed", self.cluster, rate=lines, rotate=rotate, servers=addresses, within=within
            )
            self.load = Load([sender for sender, _ in self.senders], enter=enter)
        except BaseException:
            self.cluster.close()
            raise

    @property
    def steady(self) -> Sender:
        return self.senders[0][0]

    def __enter__(self) -> Stage:
        try:
            for node in self.cluster.ports:
                self.start(node)
            self.tailing.__enter__()
            self.load.__enter__()
            self.settle()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self.load._thread.ident is not None:
            self.load.__exit__()
        if self.tailing._thread.ident is not None:
            self.tailing.__exit__()
        self.cluster.__exit__(kind, error, trace)

    def start(self, node: str) -> None:
        self.cluster.start(node, self._hooks, self._environment(self.cluster, node))

    def kill_all(self) -> None:
        """SIGKILL everything, whoever stands by first: else it claims the lease of the one that just died."""
        self.cluster.process(self.cluster.wait_standby(), "tec_master").signal(signal.SIGKILL)
        self.cluster.kill_all()

    def start_all(self) -> None:
        """Start all nodes at the same moment."""
        failed: list[BaseException] = []

        def start(node: str) -> None:
            try:
                self.start(node)
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=start, args=(node,)) for node in self.cluster.ports]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]

    def mend(self, patience: float = PATIENCE) -> None:
        """Start nodes that died; wait until one serves and all others stand by."""

        def sound() -> bool:
            self.restarts += self.tailing.restart_if_dead()
            for node in self.cluster.dead():
                self.restarts += 1
                self.start(node)
            states = [self.cluster.status(node) for node in self.cluster.ports]
            healthy = sum(bool(status and status["healthy"]) for status in states)
            standing = sum(bool(status and status["state"] == "standby") for status in states)
            return healthy == 1 and standing == len(states) - 1

        try:
            wait_for("one node serves and the others stand by", sound, patience)
        except Late as late:
            states = {node: self.cluster.status(node) for node in self.cluster.ports}
            raise Late(f"{late}: {states}{self.cluster.logs()}") from None

    def progresses(self) -> None:
        """Every sender is acknowledged something new: the service is really back."""
        before = [(sender, sender.acked) for sender, _ in self.senders]
        try:
            wait_for("every sender goes on", lambda: all(sender.acked > count for sender, count in before))
        except Late as late:
            stuck = [f"{sender.name}: {sender.trouble}" for sender, count in before if sender.acked == count]
            raise Late(f"{late}: {stuck}{self.cluster.logs()}") from None

    def settle(self) -> str:
        """A sound pair that serves; gives the node that does."""
        self.mend()
        self.progresses()
        return self.cluster.wait_up()

    def epoch(self) -> int:
        """The epoch of the node that serves."""
        status = self.cluster.status(self.cluster.wait_up())
        return int(status["epoch"]) if status else -1

    def finish(self) -> Verdict:
        """No more events; everything is stored, all nodes stop, and the checker looks."""
        if not self.load.finish(2 * PATIENCE):
            raise Late(f"not everything is acknowledged: {[s.trouble for s, _ in self.senders]}{self.cluster.logs()}")
        try:
            self.tailing.finish()
        except Late as late:
            raise Late(f"{late}\n{self.tailing.output()}{self.cluster.logs()}") from None
        self.cluster.stop()
        return Checker(self.cluster.directory, self.senders, lines=self.tailing.lines).check()
