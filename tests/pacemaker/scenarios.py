"""The faults that two nodes with fencing must bear, and what each cost those who send events."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.faults.client import Sender
from tests.faults.harness import Late, wait_for
from tests.pacemaker.lab import NODES, SERVICE, Lab
from tests.pacemaker.service import GROUP, Instance

_SETTLED: Final = 90.0  # seconds until both nodes are there again
_FIVE: Final = ("tec_master", "tec_reception", "tec_rule", "tec_dispatch", "tec_task")


@dataclass
class Outcome:
    """One fault. `outage`: the longest time without an acknowledgement, seconds; `settled`: until both nodes were
    well again."""

    scenario: str
    outage: float
    settled: float
    before: str
    after: str
    fenced: list[str] = field(default_factory=list)


class Drive:
    """Inflicts one fault after the other on the nodes of a laboratory."""

    def __init__(self, lab: Lab, instance: Instance, sender: Sender) -> None:
        self._lab, self._instance, self._sender = lab, instance, sender

    # -- looking ----------------------------------------------------------------------------------------------------

    def place(self) -> str | None:
        """The node that runs the whole group, as every node that is there sees it; None while it is elsewhere."""
        seen: set[str | None] = set()
        for node in NODES:
            if not self._lab.alive(node):
                return None
            found = self._lab.resources(node)
            at = {found.get(name) for name in GROUP}
            seen |= at if self._lab.online(node) == list(NODES) else {None}
        return seen.pop() if len(seen) == 1 else None

    def settle(self, patience: float = _SETTLED) -> str:
        """Start nodes that are gone; wait until both are online, the group runs, and events are acknowledged."""

        def settled() -> str | None:
            for node in NODES:
                if not self._lab.alive(node):
                    self._lab.boot(node)
            return self.place()

        try:
            node: str = wait_for("the cluster settles", settled, patience)
            acked = self._sender.acked
            wait_for("events are acknowledged", lambda: self._sender.acked > acked, patience)
        except Late as late:
            raise Late(f"{late} ({self._sender.trouble})\n{self.state()}{self._instance.logs()}") from None
        return node

    def state(self) -> str:
        """What each node says of the cluster, for the message of a failure."""
        said = []
        for node in NODES:
            if self._lab.alive(node):
                said.append(f"--- {node}\n{self._lab.inside(node, 'crm_mon', '-1rf', check=False)}")
        return "\n".join(said)

    def run(self, name: str) -> Outcome:
        """One scenario from well to well; raises Late."""
        before = self.settle()
        known = len(self._lab.fenced)
        begun = time.monotonic()
        SCENARIOS[name](self, before)
        after = self.settle()
        ended = time.monotonic()
        outage = self._sender.longest_gap(begun, ended)
        for node in NODES:
            self._lab.inside(node, "crm_resource", "--cleanup", check=False)
        fenced = [node for _, node in self._lab.fenced[known:]]
        return Outcome(name, round(outage, 2), round(ended - begun, 1), before, after, fenced)

    def _elsewhere(self, node: str) -> None:
        """Wait until the other node has taken over and serves."""
        other = _other(node)

        def taken() -> bool:
            found = self._lab.resources(other)
            return all(found.get(name) == other for name in GROUP)

        try:
            wait_for(f"{other} takes over", taken, _SETTLED)
        except Late as late:
            raise Late(f"{late}\n{self.state()}{self._instance.logs()}") from None

    def _signal_server(self, node: str, number: signal.Signals) -> None:
        """All five at once, the master first, so that it starts nothing again."""
        wanted = f" -d {self._instance.directory} --node {node}"
        found = {title.partition(" ")[0]: pid for pid, title in self._lab.titles(wanted)}
        for name in _FIVE:
            os.kill(found[name], number)

    # -- the faults -------------------------------------------------------------------------------------------------

    def planned_move(self, node: str) -> None:
        other = _other(node)
        self._lab.inside(node, "crm_resource", "--resource", "opentec", "--move", "--node", other)
        self._elsewhere(node)
        self._lab.inside(node, "crm_resource", "--resource", "opentec", "--clear")

    def server_killed(self, node: str) -> None:
        self._signal_server(node, signal.SIGKILL)
        self._restarted(node)

    def server_hangs(self, node: str) -> None:
        self._signal_server(node, signal.SIGSTOP)
        self._restarted(node)

    def _restarted(self, node: str) -> None:
        """The manager notices at its next look; what it has to say before that is old."""
        acked = self._sender.acked
        time.sleep(0.3)  # acknowledgements that were under way
        acked = self._sender.acked
        wait_for("the server is back", lambda: self._sender.acked > acked, _SETTLED)

    def adapter_killed(self, node: str) -> None:
        for pid, title in list(self._lab.titles("tecad_logfile -c ")):
            if str(self._instance.directory.parent) in title:
                os.kill(pid, signal.SIGKILL)
        wait_for("the adapter's death is noticed", lambda: self.place() is None, _SETTLED)

    def node_crashes(self, node: str) -> None:
        self._lab.crash(node)
        self._elsewhere(node)

    def link_cut(self, node: str) -> None:
        """The node that serves is cut off from the clients and from the other node."""
        self._lab.ip(None, "link", "set", f"to-{node}", "down")
        try:
            self._elsewhere(node)
        finally:
            self._lab.ip(None, "link", "set", f"to-{node}", "up")

    def node_freezes(self, node: str) -> None:
        for pid in self._lab.pids(node):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        self._elsewhere(node)

    def node_stopped(self, node: str) -> None:
        """An administrator stops the cluster manager of a node, then turns the node off."""
        self._stop_node(node)
        self._elsewhere(node)

    def failback(self, node: str) -> None:
        """The preferred node comes back and gets its group back: one interruption more."""
        self._prefer(node, True)
        try:
            self._stop_node(node)
            self._elsewhere(node)
            self._lab.boot(node)
            self._elsewhere(_other(node))
        finally:
            self._prefer(_other(node) if not self._lab.alive(node) else node, False)

    def _prefer(self, node: str, wanted: bool) -> None:
        # more than the stickiness of the group, which is the sum over its members
        words = ("location", "preferred", "opentec", "1000:", node) if wanted else ("delete", "preferred")
        self._lab.inside(node, "crm", "--force", "configure", *words)

    def _stop_node(self, node: str) -> None:
        self._lab.inside(node, "sh", "-c", "kill $(cat /run/pacemakerd.pid 2>/dev/null || pidof pacemakerd)")
        running = "pidof pacemakerd || true"
        wait_for(f"{node} stops", lambda: not self._lab.inside(node, "sh", "-c", running).strip(), _SETTLED)
        self._lab.inside(node, "sh", "-c", "kill $(pidof corosync); while pidof corosync; do sleep 0.05; done")
        assert SERVICE not in self._lab.ip(node, "addr"), f"{node} was stopped and still has {SERVICE}"
        self._lab.crash(node)


SCENARIOS: Final[dict[str, Callable[[Drive, str], None]]] = {
    "planned move": Drive.planned_move,
    "server killed": Drive.server_killed,
    "server hangs": Drive.server_hangs,
    "adapter killed": Drive.adapter_killed,
    "node crashes": Drive.node_crashes,
    "link cut": Drive.link_cut,
    "node freezes": Drive.node_freezes,
    "node stopped": Drive.node_stopped,
    "failback": Drive.failback,
}


def _other(node: str) -> str:
    return next(name for name in NODES if name != node)
