"""A server of real processes in a directory of its own: started, watched, killed and stopped by process id."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentec.server.control import Control
from opentec.server.errors import ServerError
from opentec.shipped import shipped

ROOT = Path(__file__).parents[2]
RULE_BASE = Path(__file__).parent / "rulebase"
PROCESSES = ("tec_master", "tec_reception", "tec_rule", "tec_dispatch", "tec_task")
PATIENCE = 30.0  # seconds that anything may take on a busy machine before a test fails
_PORTS = range(21000, 31000)  # below what the kernel gives to outgoing connections


class Late(AssertionError):
    """What a test waited for did not come; the text says what it was, and what the server's logs say."""


def wait_for(what: str, ready: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """The first true value of `ready`; raises Late after `patience` seconds."""
    end = time.monotonic() + patience
    while True:
        if found := ready():
            return found
        if time.monotonic() > end:
            raise Late(f"{what}: not within {patience:g} s")
        time.sleep(0.01)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass(frozen=True)
class Process:
    """A process that cannot be mistaken for another one that got its number later."""

    pid: int
    started: int  # clock ticks after boot
    title: str

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal; False when the process has ended."""
        try:
            pinned = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if _start_time(self.pid) != self.started:
                return False
            signal.pidfd_send_signal(pinned, number)
            if number == signal.SIGKILL:
                waiting = select.poll()
                waiting.register(pinned, select.POLLIN)
                waiting.poll(PATIENCE * 1000)
        except ProcessLookupError:
            return False
        finally:
            os.close(pinned)
        return True

    @property
    def alive(self) -> bool:
        return _start_time(self.pid) == self.started


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name; empty when there is no such process, or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return fields if fields[0] not in "ZX" else []


def _start_time(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[19]) if fields else -1


def process(pid: int) -> Process:
    """The process that has this number now; raises ProcessLookupError."""
    started = _start_time(pid)
    if started < 0:
        raise ProcessLookupError(pid)
    title = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    return Process(pid, started, title)


def processes() -> Iterator[Process]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                yield process(int(entry.name))


class Cluster:
    """An instance directory and the nodes that run it. A context manager: leaves no process and no socket behind."""

    def __init__(
        self,
        folder: Path,
        nodes: Sequence[str] = ("black",),
        *,
        heartbeat: str = "fast",
        disk_limit: float | str = 0,
        hang_after: float = 2.0,
        settings: dict[str, dict[str, Any]] | None = None,
        rule_base: Path = RULE_BASE,
        code: Path | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        """`code`: a checkout of another version, whose commands and servers are run.

        `disk_limit`: by default nobody gives way for a slow disk, which a busy machine may well have. `host`: where
        nodes listen.
        """
        self.host = host
        self.directory = (folder / "tec").resolve()
        self.ports = {node: free_port() for node in nodes}
        self.settings: dict[str, dict[str, Any]] = {
            "server": {"name": "tec", "rule_base": "rules"},
            **{f"nodes.{node}": {"listen": f"{host}:{port}"} for node, port in self.ports.items()},
            # nothing is deleted, so that the checker sees the whole log; small segments, since each epoch has one
            "rx": {"segment_size": 1 << 20, "retain_size": 1 << 40, "retain_days": 365, "free_percent": 1},
            "ha": {"heartbeat": heartbeat} if code else {"heartbeat": heartbeat, "disk_limit": disk_limit},
            "supervision": {"hang_after": hang_after, "restarts": 1000},
        }
        for section, values in (settings or {}).items():
            self.settings.setdefault(section, {}).update(values)
        # sockets have short names only
        self.runtime = Path(tempfile.mkdtemp(prefix="tec-", dir="/tmp"))
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TEC_")},
            "TEC_RUNTIME_DIR": str(self.runtime),
            "PYTHONPATH": str(ROOT) if code is None else f"{code / 'src'}{os.pathsep}{ROOT}",
        }
        self.masters: dict[str, Process] = {}  # of nodes that were started; a node that stands by again keeps its own
        try:
            self._make(rule_base)
        except BaseException:
            shutil.rmtree(self.runtime, ignore_errors=True)
            raise

    def _make(self, rule_base: Path) -> None:
        self.tec("init", str(self.directory), check=True)
        self.configure()
        shutil.rmtree(self.rules)
        shutil.copytree(rule_base, self.rules)
        names = [path.name for path in (self.rules / "TEC_CLASSES").iterdir()]
        for name in ("root.baroc", "tec.baroc"):
            shutil.copy(shipped("rules", "default", "TEC_CLASSES", name), self.rules / "TEC_CLASSES")
        (self.rules / "TEC_CLASSES" / ".load_classes").write_text("\n".join(["root.baroc", "tec.baroc", *names, ""]))

    @property
    def rules(self) -> Path:
        return self.directory / "rules"

    @property
    def repository(self) -> Path:
        return self.directory / "rim" / "tec.db"

    @property
    def servers(self) -> list[tuple[str, int]]:
        return [(self.host, port) for port in self.ports.values()]

    def configure(self) -> None:
        """Write `settings` as the configuration."""
        lines = []
        for section, values in self.settings.items():
            lines.append(f"[{section}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        (self.directory / "tec_server.toml").write_text("\n".join([*lines, ""]))

    # -- commands ---------------------------------------------------------------------------------------------------

    def tec(
        self,
        *arguments: str,
        check: bool = False,
        node: str | None = None,
        hooks: str = "",
        timeout: float = 90,
        more: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of `tec` on the instance, and give what it printed."""
        environment = dict(self.environment)
        if arguments[0] != "init":
            environment["TEC_DIR"] = str(self.directory)
        if node:
            environment["TEC_NODE"] = node
        if hooks:
            environment["TEC_TEST_HOOKS"] = hooks
        environment.update(more or {})
        return self._run([sys.executable, "-m", "opentec.commands.main", *arguments], environment, check, timeout)

    def _run(
        self, arguments: list[str], environment: dict[str, str], check: bool, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            arguments,
            env=environment,
            cwd=ROOT,
            text=True,
            capture_output=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            raise AssertionError(
                f"{' '.join(arguments[2:])}: exit status {done.returncode}\n{done.stdout}{done.stderr}{self.logs()}"
            )
        return done

    def start(self, node: str = "black", hooks: str = "", more: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Start a node; gives the word of its master. With hooks, pauses wait to be armed (tests.faults.launch).

        `more`: further variables of its environment.
        """
        if hooks:
            environment = {**self.environment, "TEC_TEST_HOOKS": hooks, **(more or {})}
            command = [sys.executable, "-m", "tests.faults.launch", str(self.directory), node]
            done = self._run(command, environment, True, 90)
        else:
            done = self.tec("start", "--json", node=node, check=True, more=more)
        word: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        self.masters[node] = wait_for(f"the master of {node} answers", lambda: self._master(node))
        return word

    def _master(self, node: str) -> Process | None:
        try:
            return self.process(node, "tec_master")
        except ProcessLookupError:
            return None

    def dead(self) -> list[str]:
        """Nodes that were started and whose master has ended."""
        return [node for node, master in self.masters.items() if not master.alive]

    def stop(self) -> None:
        """Stop the logical server and see that no process is left."""
        self.tec("stop", check=True)
        left = self.left()
        assert not left, f"`tec stop` leaves {left}"

    # -- looking ----------------------------------------------------------------------------------------------------

    def status(self, node: str, timeout: float = 1.0) -> dict[str, Any] | None:
        """What the master of a node says, None when it does not answer."""
        import hashlib

        name = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:12]
        try:
            with Control(self.runtime / f"{name}-{node}" / "master.sock", timeout=timeout) as control:
                found: dict[str, Any] = control.call("status")
                return found
        except ServerError:
            return None

    def active(self) -> str | None:
        """The node that serves in the newest epoch, with all five processes ready."""
        up = [(status["epoch"], node) for node in self.ports if (status := self.status(node)) and status["healthy"]]
        return max(up)[1] if up else None

    def standby(self) -> str | None:
        """A node that stands by."""
        return next((n for n in self.ports if (s := self.status(n)) and s["state"] == "standby"), None)

    def wait_up(self, node: str | None = None, patience: float = PATIENCE) -> str:
        """Wait until `node` (None: any) serves; gives its name."""
        try:
            found: str = wait_for(
                f"{node or 'a node'} is up", lambda: (a := self.active()) and (node in (None, a)) and a, patience
            )
        except Late as error:
            raise Late(f"{error}{self.logs()}") from None
        return found

    def wait_standby(self, node: str | None = None, patience: float = PATIENCE) -> str:
        """Wait until `node` (None: any) stands by; gives its name."""
        try:
            found: str = wait_for("a standby", lambda: (s := self.standby()) and (node in (None, s)) and s, patience)
        except Late as error:
            raise Late(f"{error}{self.logs()}") from None
        return found

    def process(self, node: str, name: str) -> Process:
        """One of a node's five processes, by its TEC name."""
        status = self.status(node)
        if status is None:
            raise ProcessLookupError(f"node {node} does not answer")
        return process(status["processes"][name]["pid"])

    def five(self, node: str) -> dict[str, Process]:
        """All five processes of a node that serves."""
        status = self.status(node)
        if status is None:
            raise ProcessLookupError(f"node {node} does not answer")
        return {name: process(entry["pid"]) for name, entry in status["processes"].items()}

    def left(self) -> list[Process]:
        """Every process that has this instance's directory on its command line or works in it."""
        found = []
        for one in processes():
            with contextlib.suppress(OSError):
                inside = Path(f"/proc/{one.pid}/cwd").readlink().is_relative_to(self.directory)
                if one.pid != os.getpid() and (inside or str(self.directory) in one.title):
                    found.append(one)
        return found

    def logs(self, lines: int = 25) -> str:
        """The ends of all logs, for the message of a failure."""
        found = []
        for path in sorted((self.directory / "log").glob("*/*")):
            text = path.read_text(errors="replace").splitlines()
            if text:
                found.append("\n".join([f"--- {path.relative_to(self.directory)}", *text[-lines:]]))
        return "\n" + "\n".join(found)

    # -- the end ----------------------------------------------------------------------------------------------------

    def kill_all(self) -> None:
        """SIGKILL whatever runs of this instance, masters first so that nothing is started again."""
        for _ in range(20):
            left = self.left()
            if not left:
                return
            for one in sorted(left, key=lambda one: "tec_master" not in one.title):
                one.signal(signal.SIGKILL)
        raise Late(f"still there: {self.left()}")

    def close(self) -> None:
        self.kill_all()
        shutil.rmtree(self.runtime, ignore_errors=True)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None:
            error.add_note(self.logs())
        self.close()
