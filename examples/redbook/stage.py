"""What the redbook's scenarios and the topologies share: real servers and adapters, a story in plain lines, a verdict.

Servers are those of the demo (examples/demo/nodes.py), the sender is that of the fault tests, which shares no code with
the server. Everything lies in a temporary folder and is gone afterwards; whatever was started is ended, by process id.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path[1:1] = [str(ROOT), str(ROOT / "examples/demo")]

from nodes import ENDING, PATIENCE, Demo, DemoFailed, output, uninterrupted  # noqa: E402

from opentec.commands import processes  # noqa: E402
from opentec.commands.cli import visible  # noqa: E402
from opentec.commands.shown import column, key_of  # noqa: E402
from opentec.shipped import shipped  # noqa: E402
from tests.faults.client import Sender  # noqa: E402

RATE: Final = 50.0  # test events a second, by which the gap is measured
_COMMANDS: Final = "import sys; from opentec.commands import names; sys.argv[0] = {0!r}; sys.exit(names.{0}())"
_MESSAGE: Final = re.compile(r"Test_Event (\d+)")
Found = TypeVar("Found")


class Server(Demo):
    """A logical server with the nodes black and brown. `directory`: where its instance lies, by default in `folder`."""

    def __init__(self, folder: Path, directory: Path | None = None, heartbeat: str = "normal") -> None:
        super().__init__(folder)
        self.directory = directory or self.directory
        self.heartbeat = heartbeat

    def make(self) -> None:
        """The instance, with the heartbeat that was asked for. Raises DemoFailed."""
        super().make()
        self.configure('heartbeat = "fast"', f'heartbeat = "{self.heartbeat}"')

    def configure(self, old: str, new: str) -> None:
        """Replace a line of tec_server.toml. Raises DemoFailed when it is not there."""
        config = self.directory / "tec_server.toml"
        text = config.read_text()
        if old not in text:
            raise DemoFailed(f"{config} has no line {old!r}")
        config.write_text(text.replace(old, new))

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [("127.0.0.1", port) for port in self.ports.values()]

    def of(self, node: str) -> dict[str, int]:
        """The processes of a node: name -> process id."""
        found = {one.name: one.pid for one in processes.find(self.directory) if one.node == node}
        return dict(sorted(found.items(), key=lambda item: processes.PROCESSES.index(item[0])))

    def records(self) -> list[dict[str, Any]]:
        """The reception log, oldest first: events with what became of them."""
        return [json.loads(line) for line in self.tec("log", "-d", str(self.directory), "--json").splitlines()]

    def events(self, class_name: str, part: str = "") -> list[str]:
        """Events of a class with `part` in their message, as the repository has them, newest first."""
        rows = self.ask("list", {"classes": [class_name], "limit": 100}) or []
        return [
            f"{key_of(row)} {column(row, 'class')} {column(row, 'severity')} {visible(str(column(row, 'msg')))}"
            for row in rows
            if part in str(column(row, "msg"))
        ]

    def wait_idle(self) -> None:
        """Wait until nothing waits in the reception log. Raises DemoFailed."""
        wait("the server works off its log", self.is_idle)

    def sender(self) -> Sender:
        """A sender of numbered test events in acknowledged mode, for tests.faults.client.Load."""
        return Sender(
            self.addresses,
            lambda number: f"TEC_Notice;source=sender;hostname='koala';msg='Test_Event {number}';END",
            rate=RATE,
        )

    def sums(self, acknowledged: int) -> tuple[int, int]:
        """Of the sender's events, from the log and what became of it: how many were lost, how many were doubled."""
        stored: Counter[int] = Counter()
        for record in self.records():
            told = _MESSAGE.fullmatch(str(record.get("msg")))
            if record.get("source") == "sender" and told and record["disposition"] == "STORED":
                stored[int(told[1])] += 1
        lost = sum(not stored[number] for number in range(1, acknowledged + 1))
        return lost, sum(times > 1 for times in stored.values())


class Adapter:
    """A logfile adapter (`nt`: a Windows event log adapter), in a folder of its own: configuration and buffer."""

    def __init__(
        self, folder: Path, servers: Iterable[tuple[str, int]], log: Path, *, nt: bool = False, **more: object
    ):
        """`more`: further keywords of the configuration. The log's folder must exist, the log need not."""
        folder.mkdir(parents=True)
        self.folder = folder
        self.kind = "nt" if nt else "logfile"
        self.conf = folder / f"tecad_{self.kind}.conf"
        keywords: dict[str, object] = {
            "ServerLocation": ",".join(f"{host}:{port}" for host, port in servers),
            "BufEvtPath": "buffer",
            "LogSources": log,
            "PollInterval": 0.1,
            "RetryInterval": 0.1,
        }
        if not nt:
            keywords["FormatFile"] = shipped("adapters", "logfile", "tecad_logfile.fmt")
        self.conf.write_text("".join(f"{key}={value}\n" for key, value in (keywords | more).items()))
        self._running: subprocess.Popen[bytes] | None = None

    def start(self, node: str, *options: str) -> None:
        """Start it as the adapter of a machine; `options` as `--adopt`."""
        with (self.folder / "output").open("ab") as said, uninterrupted():
            self._running = subprocess.Popen(
                [*_TEC, "adapter", self.kind, "-c", str(self.conf), "--node", node, "--foreground", *options],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,  # Ctrl-C is the example's to handle
            )

    def check(self) -> None:
        """Raises DemoFailed when it has ended by itself."""
        if self._running is not None and self._running.poll() is not None:
            said = (self.folder / "output").read_text(errors="replace")[-2000:]
            raise DemoFailed(f"the adapter {self.conf} ended with exit status {self._running.returncode}:\n{said}")

    @property
    def lines(self) -> int:
        """How many lines it has read, as it has saved last."""
        try:
            saved = json.loads((self.folder / "buffer/positions").read_bytes().split(b"\n", 1)[1])
        except (OSError, ValueError, IndexError):
            return 0
        return int(saved["counters"]["lines"])

    @property
    def buffered(self) -> int:
        """Bytes of its disk buffer."""
        return sum(segment.stat().st_size for segment in (self.folder / "buffer").glob("*.seg"))

    def kill(self) -> None:
        """SIGKILL, as when its machine dies."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()
            self._running = None

    def drain(self, node: str, *options: str) -> None:
        """Read to the end of the log and send all of it, then end. Raises DemoFailed."""
        command = [*_TEC, "adapter", self.kind, "-c", str(self.conf), "--node", node, "--once"]
        output([*command, "--wait", f"{PATIENCE:.0f}", *options], "tecad_logfile --once")

    def close(self) -> None:
        if self._running is not None:
            self._running.terminate()
            try:
                self._running.wait(10)
            except subprocess.TimeoutExpired:
                self._running.kill()
                self._running.wait()
            self._running = None


class Stage:
    """The folder of one run, what is said, and what was checked. A context manager: nothing of it stays behind."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = Path(tempfile.mkdtemp(prefix=f"{name.replace(' ', '-')}."))
        self.failed = 0
        self._begun = time.monotonic()
        self._closing: list[Callable[[], object]] = []
        self._handlers: dict[int, Any] = {}
        for variable in [one for one in os.environ if one.startswith("TEC_") and one != "TEC_RUNTIME_DIR"]:
            del os.environ[variable]  # another server's

    def __enter__(self) -> Stage:
        def interrupted(number: int, frame: object) -> None:
            raise KeyboardInterrupt

        self._handlers = {number: signal.signal(number, interrupted) for number in ENDING}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)
        try:
            for close in reversed(self._closing):
                close()
            shutil.rmtree(self.folder)
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def at_the_end(self, close: Callable[[], object]) -> None:
        """Call this when the run is over, the last one first."""
        self._closing.append(close)

    # -- the cast -----------------------------------------------------------------------------------------------------

    def server(self, name: str = "server", **options: Any) -> Server:
        """A server that is made, and not started."""
        made = Server(self.folder / name, **options)
        self.at_the_end(made.close)
        made.make()
        return made

    def adapter(self, name: str, *arguments: Any, **more: Any) -> Adapter:
        """An adapter that is made, and not started: the arguments are those of Adapter, without the folder."""
        made = Adapter(self.folder / name, *arguments, **more)
        self.at_the_end(made.close)
        return made

    # -- the story ----------------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """One sentence about what happens now."""
        print(f"{time.monotonic() - self._begun:5.1f} s  {text}", flush=True)

    def show(self, *lines: str) -> None:
        """What somebody at the machine would see."""
        for line in lines:
            print(f"           {line}", flush=True)

    def run(self, server: Server, name: str, *arguments: str, node: str = "", quiet: bool = False) -> str:
        """Run a command as a person would, and show it with what it prints. Raises DemoFailed."""
        if not quiet:
            self.show(f"{node or 'koala'}$ {shlex.join([name, *arguments])}")
        command = _TEC if name == "tec" else [sys.executable, "-c", _COMMANDS.format(name)]
        variables = {"TEC_DIR": str(server.directory)} | ({"TEC_NODE": node} if node in server.ports else {})
        printed = output([*command, *arguments], name, variables)
        if not quiet:
            self.show(*printed.splitlines())
        return printed

    def check(self, what: str, holds: bool) -> None:
        """Something that must hold."""
        self.failed += not holds
        print(f"    {'ok  ' if holds else 'FAIL'}   {what}", flush=True)

    def gap(self, what: str, seconds: float, promised: float) -> None:
        """A gap, and the promise. A machine that is too busy breaks it, which is said, and is no failure."""
        remark = "" if seconds <= promised else f": NOT kept on this machine, with a load of {os.getloadavg()[0]:.0f}"
        print(
            f"    gap    {what}: {seconds:.2f} s without an acknowledgement, promised {promised:g} s{remark}",
            flush=True,
        )

    def verdict(self, text: str) -> int:
        """The last line; gives the exit status."""
        print(f"\n{self.name}: {text if not self.failed else f'{self.failed} checks FAILED'}", flush=True)
        return 1 if self.failed else 0


def perform(name: str, play: Callable[[Stage], int]) -> int:
    """Run an example to its end; gives the exit status: 0 all holds, 1 something does not, 2 it could not be run."""
    try:
        with Stage(name) as stage:
            return play(stage)
    except DemoFailed as error:
        print(f"{name}: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"{name}: interrupted; everything it had started was ended", file=sys.stderr)
    return 2


def wait(what: str, ready: Callable[[], Found]) -> Found:
    """The first true value of `ready`. Raises DemoFailed after PATIENCE seconds."""
    end = time.monotonic() + PATIENCE
    while not (found := ready()):
        if time.monotonic() > end:
            raise DemoFailed(f"{what}: not within {PATIENCE:.0f} s")
        time.sleep(0.05)
    return found


def wait_acknowledged(sender: Sender) -> None:
    """Wait until one more test event is acknowledged. Raises DemoFailed."""
    before = sender.acked
    wait("a test event is acknowledged", lambda: sender.acked > before)


_TEC: Final = [sys.executable, "-m", "opentec.commands.main"]
