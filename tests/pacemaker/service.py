"""What the two nodes run: a server on an address that moves, an adapter with its buffer, and the load on both."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sys
import threading
import time
from pathlib import Path
from typing import Final

from tests.faults.client import Load
from tests.faults.harness import ROOT, Cluster
from tests.faults.tailing import Tailing
from tests.pacemaker.lab import CLIENT, NODES, SERVICE, Disk, Lab

PORT: Final = 5529
GROUP: Final = ("storage", "address", "server", "adapter")  # in the order of their start
_NEW_NETWORK: Final = 0x40000000  # CLONE_NEWNET, sched.h

SHIPPED: Final = ROOT / "packaging" / "pacemaker" / "opentec.crm"


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
    """The shipped configuration, for crmsh, with what belongs to this laboratory in the place of what is a user's own.

    Resources, their order, fencing, stickiness and time-outs stay as they are shipped. Raises ValueError when something
    to be replaced is not there exactly once, so that the shipped file cannot change unnoticed.
    """
    tec = Path(sys.executable).parent / "tec"
    text = SHIPPED.read_text()
    for old, new in (
        ("ping_targets=10.0.0.254", f"ping_targets={CLIENT}"),
        *((fence, f"stonith:fence_lab \\\n    params pcmk_host_list={node}") for node, fence in _fences(text)),
        ("device=/dev/disk/by-label/opentec directory=/srv/opentec ", f"device={disk.device} directory={disk.folder} "),
        # the network of namespaces is no more than one interface, and nobody there caches an address for long
        ("ip=10.0.0.100 cidr_netmask=24", f"ip={SERVICE} cidr_netmask=24 nic=eth0 arp_count=1 arp_interval=100"),
        ("instance=/srv/opentec/tec user=opentec tec=/opt/opentec/bin/tec", f"instance={instance.directory} tec={tec}"),
        (
            "conf=/srv/opentec/adapter/tecad_logfile.conf node=redbook tec=/opt/opentec/bin/tec",
            f"conf={conf} node=web1 tec={tec}",
        ),
        # a fault is looked for more often, and forgotten sooner, since the next one comes within a minute
        ("failure-timeout=10min", "failure-timeout=30s"),
        ("op monitor interval=2s timeout=20s", "op monitor interval=1s timeout=20s"),
        ("op monitor interval=5s timeout=30s", "op monitor interval=1s timeout=30s"),
        ("op monitor interval=10s timeout=20s", "op monitor interval=2s timeout=20s"),
    ):
        if text.count(old) != 1:
            raise ValueError(f"{SHIPPED.name} has {old!r} {text.count(old)} times, and not once")
        text = text.replace(old, new)
    return text


def _fences(text: str) -> list[tuple[str, str]]:
    """Each node with its device for fencing, as the configuration has them."""
    devices = r"(stonith:fence_ipmilan \\\n +params pcmk_host_list=(\w+) [^\n]*)"
    return [(node, device) for device, node in re.findall(devices, text)]
