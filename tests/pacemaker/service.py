"""What the two nodes run: a server on an address that moves, an adapter with its buffer, and the load on both."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
import time
from pathlib import Path
from typing import Final

from tests.faults.client import Load
from tests.faults.harness import Cluster
from tests.faults.tailing import Tailing
from tests.pacemaker.lab import CLIENT, NODES, SERVICE, Disk, Lab

PORT: Final = 5529
GROUP: Final = ("storage", "address", "server", "adapter")  # in the order of their start
_NEW_NETWORK: Final = 0x40000000  # CLONE_NEWNET, sched.h

CONFIGURATION: Final = """\
property stonith-enabled=true stonith-timeout=20s
rsc_defaults resource-stickiness=100 migration-threshold=3 failure-timeout=30s
primitive reachable stonith:fence_heuristics_ping \\
  params ping_targets={client} ping_count=2 ping_good_count=1 ping_interval=1 ping_timeout=1
primitive power stonith:fence_lab params pcmk_host_list="node1 node2"
fencing_topology reachable,power
primitive storage ocf:heartbeat:Filesystem \\
  params device={device} directory={disk} fstype=ext4 \\
  op start timeout=60s interval=0 op stop timeout=60s interval=0 op monitor interval=5s timeout=40s
primitive address ocf:heartbeat:IPaddr2 \\
  params ip={service} cidr_netmask=24 nic=eth0 arp_count=1 arp_interval=100 op monitor interval=1s timeout=10s
primitive server ocf:opentec:server \\
  params instance={instance} tec={tec} runtime=/run/opentec \\
  op start timeout=60s interval=0 op stop timeout=60s interval=0 op monitor interval=1s timeout=30s
primitive adapter ocf:opentec:adapter \\
  params conf={conf} tec={tec} probe_timeout=3 \\
  op start timeout=30s interval=0 op stop timeout=30s interval=0 op monitor interval=2s timeout=20s
group opentec storage address server adapter
"""


class Instance(Cluster):
    """The instance directory that both nodes share. Its processes are the cluster manager's."""

    def __init__(self, folder: Path) -> None:
        listen = {f"nodes.{node}": {"listen": f"{SERVICE}:{PORT}"} for node in NODES}
        super().__init__(folder, NODES, hang_after=5.0, settings=listen)

    @property
    def servers(self) -> list[tuple[str, int]]:
        return [(SERVICE, PORT)]


class Tailed(Tailing):
    """The log that grows. Its adapter is the cluster manager's."""

    def start(self) -> None:
        return

    def end(self) -> None:
        return


class ClientLoad(Load):
    """Senders in the network of the clients: the namespace is that of their thread alone."""

    def __init__(self, lab: Lab, senders: list[object]) -> None:
        super().__init__(senders)  # type: ignore[arg-type]
        self._network = Path("/run/netns") / lab.netns(None)

    def _main(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        handle = os.open(self._network, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if libc.setns(handle, _NEW_NETWORK):
                self.failed = OSError(ctypes.get_errno(), f"{self._network} cannot be entered")
                return
        finally:
            os.close(handle)
        super()._main()


class Owners:
    """Watches that no two nodes ever serve at a time. A context manager."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self._lab, self._wanted = lab, f" -d {directory} --node "
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="owners", daemon=True)
        self.looks = 0
        self.doubles: list[str] = []

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            found = {}
            for pid, title in self._lab.titles(self._wanted):
                if title.startswith("tec_reception ") and _runs(pid):
                    found[title.rpartition(" ")[2]] = pid
            self.looks += 1
            if len(found) > 1:
                self.doubles.append(f"{time.monotonic():.2f} {found}")

    def __enter__(self) -> Owners:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def _runs(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def configuration(instance: Instance, conf: Path, disk: Disk) -> str:
    """The cluster's configuration for crmsh."""
    tec = Path(sys.executable).parent / "tec"
    places = {"instance": instance.directory, "conf": conf, "device": disk.device, "disk": disk.folder}
    return CONFIGURATION.format(client=CLIENT, service=SERVICE, tec=tec, **places)
