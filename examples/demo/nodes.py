"""The demo's server and adapter: real processes, started with the commands anybody would use, and always ended."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from opentec.commands import processes
from opentec.commands.link import connect, node_status
from opentec.ha import epochs
from opentec.server.errors import ServerError
from opentec.server.instance import Instance
from opentec.shipped import shipped

NODES: Final = ("black", "brown")
MARK: Final = "made-by-demo"
ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE: Final = 40.0  # seconds that anything may take on a busy machine
_CONF: Final = """\
# made by the demo; docs/adapters.md describes every keyword
ServerLocation={servers}
NodeName=demo
BufEvtPath=adapter/buffer
LogSources={log}
FormatFile={formats}
PollInterval=0.1
RetryInterval=0.1
"""


class DemoFailed(Exception):
    """Something that the demo waits for did not come; the text says what, and where to look."""


class Demo:
    """A folder with an instance of two nodes, a log, and an adapter that tails it. `close` ends whatever runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.directory = self.folder / "tec"
        self.log = self.folder / "syslog"
        self.conf = self.folder / "tecad_logfile.conf"
        self.ports: dict[str, int] = {}
        self._adapter: subprocess.Popen[bytes] | None = None
        self._lock = -1
        self._is_mine = False  # only then is what runs here ended: it may be another demo's

    # -- making -------------------------------------------------------------------------------------------------------

    def make(self) -> None:
        """A fresh folder; what an earlier demo left in it goes. Raises DemoFailed when it holds something else."""
        self.folder.mkdir(parents=True, exist_ok=True)
        left = list(self.folder.iterdir())
        if left and not (self.folder / MARK).exists():
            raise DemoFailed(f"{self.folder} holds something that no demo made; name another folder with --dir")
        self._lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoFailed(f"another demo runs in {self.folder}; name another folder with --dir") from None
        self._is_mine = True
        self._end_all()
        for path in left:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        (self.folder / MARK).touch()
        (self.folder / "adapter").mkdir()
        self.ports = dict(zip(NODES, _free_ports(len(NODES)), strict=True))
        nodes = [f"--node={node}=127.0.0.1:{port}" for node, port in self.ports.items()]
        self.tec("init", str(self.directory), *nodes)
        config = self.directory / "tec_server.toml"
        text, changed = re.subn(r"^# heartbeat = .*$", 'heartbeat = "fast"', config.read_text(), flags=re.MULTILINE)
        if changed != 1:
            raise DemoFailed(f"{config} has no line for the heartbeat")
        config.write_text(text)
        self.log.touch()
        servers = ",".join(f"127.0.0.1:{port}" for port in self.ports.values())
        formats = shipped("adapters", "logfile", "tecad_logfile.fmt")
        self.conf.write_text(_CONF.format(servers=servers, log=self.log, formats=formats))

    @property
    def instance(self) -> Instance:
        return Instance(self.directory)

    # -- commands -----------------------------------------------------------------------------------------------------

    def tec(self, *arguments: str) -> str:
        """Run `tec`; gives what it printed. Raises DemoFailed with what it says when it fails."""
        return output([sys.executable, "-m", "opentec.commands.main", *arguments], f"tec {' '.join(arguments)}")

    def start(self, node: str) -> dict[str, Any]:
        word: dict[str, Any] = json.loads(self.tec("start", "-d", str(self.directory), "--node", node, "--json"))
        return word

    def stop(self) -> None:
        self.tec("stop", "-d", str(self.directory))

    def start_adapter(self) -> None:
        with (self.folder / "adapter" / "output").open("ab") as said, uninterrupted():
            self._adapter = subprocess.Popen(
                [*_ADAPTER, "-c", str(self.conf), "--foreground"],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,  # Ctrl-C is the demo's to handle
            )

    def check_adapter(self) -> None:
        """Raises DemoFailed when the adapter has ended."""
        if self._adapter is not None and self._adapter.poll() is not None:
            said = (self.folder / "adapter" / "output").read_text(errors="replace")[-2000:]
            raise DemoFailed(f"the adapter ended with exit status {self._adapter.returncode}:\n{said}")

    def drain_adapter(self) -> None:
        """End the adapter, then let it read to the end of the log once more, until everything is acknowledged."""
        self._end_adapter()
        output([*_ADAPTER, "-c", str(self.conf), "--once", "--wait", f"{PATIENCE:.0f}"], "tecad_logfile --once")

    def _end_adapter(self) -> None:
        if self._adapter is not None:
            if self._adapter.poll() is None:
                self._adapter.terminate()
                try:
                    self._adapter.wait(10)
                except subprocess.TimeoutExpired:
                    self._adapter.kill()
                    self._adapter.wait()
            self._adapter = None

    # -- looking ------------------------------------------------------------------------------------------------------

    def status(self, node: str) -> dict[str, Any] | None:
        """What a node says of itself, None when it does not answer."""
        return node_status(self.instance, node, 0.5)

    def wait_for(self, node: str, state: str) -> dict[str, Any]:
        """Wait until a node is "up", and healthy, or "standby". Raises DemoFailed."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.check_adapter()
            found = self.status(node)
            if found is not None and found["state"] == state and (found["healthy"] or state != "up"):
                return found
            time.sleep(0.05)
        raise DemoFailed(
            f"node {node} is not {state} after {PATIENCE:.0f} s; {self.directory / 'log' / node} holds its logs"
        )

    def gave_way(self, node: str) -> bool:
        """Wait until a node that is not the active one any more stands by (True), or is gone (False)."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = self.status(node)
            if found is not None and found["state"] == "standby":
                return True
            if found is None and not any(one.node == node for one in processes.find(self.directory)):
                return False
            time.sleep(0.05)
        raise DemoFailed(f"node {node} did not give way within {PATIENCE:.0f} s; `tec status --node {node}` says more")

    def ask(self, operation: str, argument: Any) -> Any:
        """A query to dispatch of the active node; None when nobody answers now."""
        with (
            contextlib.suppress(ServerError),
            connect(self.instance, "dispatch.sock", timeout=1, patience=0) as control,
        ):
            return control.call(operation, argument)
        return None

    def newest_epoch(self) -> int:
        found = epochs.newest(self.instance.ha)
        return found.number if found is not None else 0

    def is_idle(self) -> bool:
        """Whether the active node has nothing waiting in its reception log."""
        found = [status for node in NODES if (status := self.status(node)) is not None and status["state"] == "up"]
        return len(found) == 1 and found[0]["healthy"] and found[0]["committed"] == found[0]["durable"]

    def positions(self) -> dict[str, Any]:
        """What the adapter has saved: files, offsets, counters. Empty before its first save."""
        with contextlib.suppress(OSError, ValueError):
            found: dict[str, Any] = json.loads(
                (self.folder / "adapter/buffer/positions").read_bytes().split(b"\n", 1)[1]
            )
            return found
        return {}

    # -- faults -------------------------------------------------------------------------------------------------------

    def signal(self, node: str, number: signal.Signals) -> int:
        """Send a signal to all processes of a node, its master first; gives how many there were."""
        found = [one for one in processes.find(self.directory) if one.node == node]
        return _signal((one.pid for one in sorted(found, key=lambda one: one.name != "tec_master")), number)

    def close(self) -> None:
        """End everything that was started here, by process id; harmless when nothing runs."""
        self._end_adapter()
        if self._is_mine:
            self._end_all()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _end_all(self) -> None:
        for _ in range(20):
            found = processes.find(self.directory)
            if not found:
                return
            _signal((one.pid for one in sorted(found, key=lambda one: one.name != "tec_master")), signal.SIGKILL)
        left = ", ".join(f"{one.name} ({one.pid})" for one in processes.find(self.directory))
        raise DemoFailed(f"still running, though killed: {left}")


_ADAPTER: Final = [sys.executable, "-m", "opentec.commands.main", "adapter", "logfile"]


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C and its like wait for the end of the block: a start that was cut off could not be found and ended."""
    came: list[int] = []
    handlers = {number: signal.signal(number, lambda number, _frame: came.append(number)) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for number in came[:1]:
        signal.raise_signal(number)


def output(command: list[str], shown: str, variables: Mapping[str, str] | None = None) -> str:
    """What a command prints, with `variables` added to its environment. Raises DemoFailed, which calls it `shown`."""
    with (
        uninterrupted(),
        subprocess.Popen(
            command,
            env={**os.environ, **(variables or {})},
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as running,
    ):
        try:
            printed, _ = running.communicate(timeout=90)
        except subprocess.TimeoutExpired:
            running.kill()
            raise DemoFailed(f"`{shown}` is not done after 90 s") from None
    if running.returncode:
        raise DemoFailed(f"`{shown}` failed with exit status {running.returncode}:\n{printed}")
    return printed


def _signal(pids: Iterable[int], number: signal.Signals) -> int:
    """A killed process is waited for, so that nothing of it runs when this returns."""
    pinned = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            pinned.append(os.pidfd_open(pid))
    sent = 0
    try:
        for handle in pinned:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
                sent += 1
        for handle in pinned if number == signal.SIGKILL else ():
            ended = select.poll()
            ended.register(handle, select.POLLIN)
            ended.poll(5000)
    finally:
        for handle in pinned:
            os.close(handle)
    return sent


def _free_ports(count: int) -> list[int]:
    """Below what the kernel gives to outgoing connections: one of those could take the port of a node that is down."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(21000, 31000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found += [port] if port not in found else []
    return found
