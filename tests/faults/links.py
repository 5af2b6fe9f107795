"""A network namespace for senders, linked to this one by a pair of virtual interfaces that can be cut and made deaf."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_TABLE = "inet faults"


def missing() -> str:
    """Why there can be no namespaces here, "" when there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "nft"):
        if not shutil.which(tool):
            return f"there is no `{tool}` (iproute2, nftables)"
    probe = f"tecp{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, timeout=20)
    if made.returncode:
        return f"network namespaces are not permitted: {made.stderr.strip()}"
    _run("ip", "netns", "del", probe)
    return ""


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


class Links:
    """The namespace `name` at `there`, this one at `here`. A context manager; needs root."""

    def __init__(self) -> None:
        number = os.getpid() % 60000
        self.name = f"tecn{number}"
        self._outer, self._inner = f"teco{number}", f"teci{number}"
        net = f"198.18.{number // 64 % 256}"  # set aside for tests of networks
        self.here, self.there = f"{net}.{number % 64 * 4 + 1}", f"{net}.{number % 64 * 4 + 2}"

    @property
    def within(self) -> tuple[str, ...]:
        """What a command line begins with that is to run in the namespace."""
        return ("ip", "netns", "exec", self.name)

    def enter(self) -> None:
        """Move the calling thread into the namespace: what it connects from now on goes over the link."""
        descriptor = os.open(Path("/var/run/netns") / self.name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(descriptor, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"setns {self.name}")
        finally:
            os.close(descriptor)

    def cut(self) -> None:
        _run("ip", "link", "set", self._outer, "down")

    def drop(self, way: str) -> None:
        """Packets vanish that senders send (`up`) or get (`down`); nobody is told."""
        chain = "output" if way == "up" else "input"
        _run(*self.within, "nft", "add", "rule", *_TABLE.split(), chain, "drop")

    def heal(self) -> None:
        _run("ip", "link", "set", self._outer, "up")
        for chain in ("input", "output"):
            _run(*self.within, "nft", "flush", "chain", *_TABLE.split(), chain)

    def __enter__(self) -> Links:
        try:
            _run("ip", "netns", "add", self.name)
            _run("ip", "link", "add", self._outer, "type", "veth", "peer", "name", self._inner, "netns", self.name)
            _run("ip", "address", "add", f"{self.here}/30", "dev", self._outer)
            _run("ip", "link", "set", self._outer, "up")
            _run(*self.within, "ip", "address", "add", f"{self.there}/30", "dev", self._inner)
            for device in (self._inner, "lo"):
                _run(*self.within, "ip", "link", "set", device, "up")
            _run(*self.within, "nft", "add", "table", *_TABLE.split())
            for chain in ("input", "output"):
                hook = f"{{ type filter hook {chain} priority 0; }}"
                _run(*self.within, "nft", "add", "chain", *_TABLE.split(), chain, hook)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # the pair goes with either of its ends
        for command in (["ip", "link", "del", self._outer], ["ip", "netns", "del", self.name]):
            subprocess.run(command, capture_output=True, timeout=20, check=False)
