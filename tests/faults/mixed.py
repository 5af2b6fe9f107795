"""One fault of nearly every kind on one server, one after the other: the plan in two minutes, for every change.

With disk_limit 0: no node gives way because a disk is slow or hangs, which would be a second fault behind the first.
That one does is in test_guards.py.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.faults.client import Address
from tests.faults.clocks import HOUR
from tests.faults.harness import Cluster, wait_for
from tests.faults.networks import heal
from tests.faults.points import AT_LOAD, UNDER_LOAD, Armed, edit, kill_server
from tests.faults.proxy import Proxy
from tests.faults.sections import Result, Say, Skipped, each
from tests.faults.shim import Shim, missing
from tests.faults.stage import NODES, Stage

TTL = 1.0  # seconds, of the fast heartbeat


class Mix:
    """A stage with every tool: shims, proxies, and a file that arms places."""

    def __init__(self, folder: Path, chance: random.Random, stack: ExitStack) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.result = Result("mix")
        self.chance, self.armed = chance, Armed(folder)
        self.shims = {node: Shim(folder, node) for node in NODES}
        self.proxies: list[Proxy] = []
        self.clock = 0.0
        self.active = ""

        def servers(cluster: Cluster) -> list[Address]:
            self.proxies += [stack.enter_context(Proxy(server, chance)) for server in cluster.servers]
            return [proxy.address for proxy in self.proxies]

        def environment(_: Cluster, node: str) -> dict[str, str]:
            return {**self.shims[node].environment, **self.armed.environment()}

        self.stage = stack.enter_context(
            Stage(folder, chance, hooks="unsafe:nothing", environment=environment, servers=servers)
        )

    # -- disks ------------------------------------------------------------------------------------------------------

    def _disk(self, folder: str, lasts: float, *, write: str = "", sync: str = "", slow: float = 0.0) -> None:
        shim, master = self.shims[self.active], self.stage.cluster.process(self.active, "tec_master")
        shim.set(self.stage.cluster.directory / folder, write=write, sync=sync, slow=slow)
        time.sleep(lasts)
        if not shim.hits:
            self.result.bad.append(f"no call met the fault {write}{sync} {slow or ''} of {folder}")
        shim.set()
        if self.stage.cluster.wait_up(patience=60) != self.active:
            master.signal(signal.SIGKILL)  # it cools off for many seconds before it stands by again

    def full(self) -> None:
        self._disk("rx", 1.0, write="ENOSPC")

    def failing(self) -> None:
        self._disk("rx", 1.0, write="EIO", sync="EIO")

    def read_only(self) -> None:
        self._disk("", 1.5, write="EROFS", sync="EROFS")

    def slow(self) -> None:
        self._disk("rx", 1.5, slow=0.3)

    def hung(self) -> None:
        self._disk("rx", 2.0, slow=3.0)

    # -- networks ---------------------------------------------------------------------------------------------------

    def _network(self, begin: Callable[[Proxy], object], lasts: float) -> None:
        for proxy in self.proxies:
            begin(proxy)
        time.sleep(lasts)
        heal(self.proxies)

    def link_cut(self) -> None:
        self._network(Proxy.cut, 0.5)

    def way_there(self) -> None:
        self._network(lambda proxy: proxy.silence(up=True), 1.5)

    def way_back(self) -> None:
        self._network(lambda proxy: proxy.silence(down=True), 1.5)

    def half_open(self) -> None:
        self._network(Proxy.half_open, 0.5)

    def reset(self) -> None:
        before = sum(proxy.resets for proxy in self.proxies)
        self._network(Proxy.reset, 0.5)
        if sum(proxy.resets for proxy in self.proxies) == before:
            self.result.bad.append("no connection was reset in mid-frame")

    # -- kills, stops, clocks ---------------------------------------------------------------------------------------

    def starts(self) -> None:
        """Both nodes start at the same moment. Nodes that gave way meanwhile know of no armed places: now they do."""
        epoch = self.stage.epoch()
        self.stage.kill_all()
        self.stage.start_all()
        self.stage.settle()
        if self.stage.epoch() != epoch + 1:
            self.result.bad.append(f"two starts: epoch {epoch} to {self.stage.epoch()}, one winner expected")

    def places(self) -> None:
        """kill -9 at three named places."""
        for place in self.chance.sample(UNDER_LOAD, 3):
            self.armed.arm(place, self.chance.randrange(1, 5), "kill")
            self.armed.wait()
            self.stage.settle()

    def load(self) -> None:
        """kill -9 while another rule base is loaded."""
        self.armed.arm(self.chance.choice(AT_LOAD), 1, "kill")
        edit(self.stage, self.chance.randrange(1 << 30))
        self.stage.cluster.tec("rulebase", "load", node=self.active)
        self.armed.wait()

    def takeover(self) -> None:
        """The node that takes over dies while it does."""
        self.armed.arm("takeover.sealed", 1, "kill")
        kill_server(self.stage, self.active)
        self.armed.wait()

    def transaction(self) -> None:
        """The whole node stops with a transaction open, and wakes up when another has taken over."""
        five, epoch = self.stage.cluster.five(self.active), self.stage.epoch()
        self.armed.arm("dispatch.checked", 3, "stop")
        self.armed.wait()
        for name, victim in five.items():
            if name != "tec_dispatch":
                victim.signal(signal.SIGSTOP)
        wait_for("the other node is healthy", lambda: (a := self.stage.cluster.active()) and a != self.active)
        assert self.stage.epoch() > epoch
        for victim in five.values():
            victim.signal(signal.SIGCONT)

    def call(self) -> None:
        """kill -9 at a call that changes the disk."""
        shim = self.shims[self.active]
        shim.set(self.stage.cluster.directory / "rx", kill_at=self.chance.randrange(1, 20))
        wait_for("the call comes", lambda: shim.armed <= 0)
        shim.set()

    def clocks(self) -> None:
        """The wall clock of the active node steps by an hour, and its successor has another."""
        epoch = self.stage.epoch()
        self.clock = -HOUR if self.clock else HOUR
        self.shims[self.active].step_clock(self.clock)
        time.sleep(1.5 * TTL)
        self.stage.progresses()
        if self.stage.epoch() != epoch:
            self.result.bad.append(f"a failover after a step of the clock: epoch {epoch} to {self.stage.epoch()}")


KINDS = (
    Mix.starts,
    Mix.places,
    Mix.load,
    Mix.takeover,
    Mix.transaction,
    Mix.clocks,
    Mix.full,
    Mix.reset,
    Mix.failing,
    Mix.half_open,
    Mix.link_cut,
    Mix.slow,
    Mix.way_there,
    Mix.read_only,
    Mix.way_back,
    Mix.call,
    Mix.hung,
)


def mix(folder: Path, count: int, chance: random.Random, say: Say) -> Result:
    """The kinds in turn, `count` faults in all."""
    if reason := missing():
        raise Skipped(reason)
    with ExitStack() as stack:
        mixed = Mix(folder, chance, stack)

        def one(number: int) -> str:
            kind = KINDS[(number - 1) % len(KINDS)]
            mixed.active = mixed.stage.settle()
            began = time.monotonic()
            kind(mixed)
            mixed.stage.mend(60)
            mixed.stage.progresses()
            return f"{kind.__name__} of {mixed.active}, sound after {time.monotonic() - began:.1f} s"

        mixed.result.faults = each(count, say, "mix", one)
        mixed.result.more = {"restarts": mixed.stage.restarts}
        mixed.result.verdict = mixed.stage.finish()
    return mixed.result
