"""What the person in front of the demo sees: a screen that lives on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

from nodes import NODES, Demo
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from writer import Writer

from opentec.commands.cli import visible
from opentec.commands.shown import column, key_of

_LOOK: Final = 0.3  # seconds between two looks at the server
_TOLD: Final = 7
_TICKED: Final = 10
_OTHER_LINES: Final = 22  # of the picture
_COLOURS: Final = {"active": "bold green", "standby": "cyan", "killed": "bold red", "stopped by SIGSTOP": "bold yellow"}
_LOUD: Final = {"FATAL": "bold red", "CRITICAL": "red", "MINOR": "yellow", "WARNING": "yellow"}


class Screen:
    """Says what happens (`say`), and keeps the picture of nodes, adapter and events up to date. A context manager."""

    def __init__(self, demo: Demo, console: Console | None = None) -> None:
        self.console = console or Console()
        self.demo = demo
        self.writer: Writer | None = None
        self.without_service: Callable[[], float] = lambda: 0.0
        self.faults: dict[str, str] = {}  # node -> what was done to it
        self._begun = time.monotonic()
        self._told: deque[tuple[float, str]] = deque(maxlen=_TOLD)
        # the picture must fit on the screen, or the terminal cuts it
        self._ticked = max(0, min(_TICKED, self.console.height - _OTHER_LINES))
        self._states: dict[str, tuple[str, str]] = dict.fromkeys(NODES, ("not started", ""))
        self._counters: dict[str, int] = {}
        self._events: list[Any] = []
        self._end = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="screen", daemon=True)
        self._live: Live | None = None

    def __enter__(self) -> Screen:
        if self.console.is_terminal:
            self._live = Live(get_renderable=self._picture, console=self.console, refresh_per_second=8)
            self._live.start()
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._watcher.join()
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """One sentence about what happens now."""
        at = time.monotonic() - self._begun
        self._told.append((at, text))
        if self._live is None:
            print(f"{at:5.1f} s  {text}", flush=True)

    # -- looking ------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        last_line = time.monotonic()
        while not self._end.wait(_LOOK):
            if not self.demo.directory.joinpath("tec_server.toml").exists():
                continue
            for node in NODES:
                self._states[node] = self._state(node)
            self._counters = self.demo.positions().get("counters", self._counters)
            if self._live is not None and self._ticked:
                page = self.demo.ask("list", {"limit": self._ticked, "severity": "MINOR"})
                self._events = page if page is not None else self._events
            if (
                self._live is None
                and time.monotonic() - last_line > 5
                and self.writer is not None
                and self.writer.is_alive()
            ):
                last_line = time.monotonic()
                nodes = ", ".join(f"{node} {state}" for node, (state, _) in self._states.items())
                self.say(f"[{nodes}] {self._progress()}")

    def _state(self, node: str) -> tuple[str, str]:
        if node in self.faults:
            return self.faults[node], ""
        found = self.demo.status(node)
        if found is None:
            return "not running", ""
        if found["state"] == "standby":
            return "standby", "ready to take over"
        if found["state"] != "up":
            return str(found["state"]), ""
        return "active", f"epoch {found['epoch']}, {found['acknowledged']:,} events acknowledged"

    def _progress(self) -> str:
        assert self.writer is not None
        read, events = self._counters.get("lines", 0), self._counters.get("events", 0)
        return f"{self.writer.written:,} lines written, {read:,} read, {events:,} sent as events"

    # -- the picture --------------------------------------------------------------------------------------------------

    def _picture(self) -> RenderableType:
        told = Table.grid(padding=(0, 1))
        for number, (at, text) in enumerate(self._told):
            is_now = number == len(self._told) - 1
            told.add_row(Text(f"{at:5.1f} s", "dim"), Text(text, "bold" if is_now else "dim"))
        nodes = Table.grid(padding=(0, 2))
        for node, (state, remark) in self._states.items():
            colour = _COLOURS.get(state, "dim")
            nodes.add_row(Text("●", colour), Text(node, "bold"), Text(state, colour), Text(remark, "dim"))
        parts = [_panel("what happens", told), _panel("two nodes, one server", nodes)]
        if self.writer is not None:
            parts.append(_panel("the adapter tails a log that grows", self._adapter()))
        if self._events:
            parts.append(_panel("newest problems in the repository", self._ticker()))
        return Group(*parts)

    def _adapter(self) -> RenderableType:
        writer, counters = self.writer, self._counters
        assert writer is not None
        rows = Table.grid(padding=(0, 2))
        total = len(writer.lines)
        rows.add_row("written", ProgressBar(total, writer.written, width=40), f"{writer.written:,} of {total:,} lines")
        read = counters.get("lines", 0)
        rows.add_row(
            "read", ProgressBar(total, read, width=40), f"{read:,} lines, {counters.get('events', 0):,} events"
        )
        dropped = f"{counters.get('discarded', 0):,} discarded by a format, {counters.get('unmatched', 0):,} unmatched"
        silent = self.without_service()
        service = (
            Text(f"no acknowledgement for {silent:.1f} s", "bold red") if silent > 0.3 else Text("in service", "green")
        )
        rows.add_row("", Text(dropped, "dim"), service)
        return rows

    def _ticker(self) -> RenderableType:
        rows = Table.grid(padding=(0, 1))
        for row in self._events:
            severity, repeats = column(row, "severity"), column(row, "repeat_count") or 0
            style = "dim" if column(row, "status") == "CLOSED" else _LOUD.get(severity, "")
            times = f"x{repeats + 1}" if repeats else ""
            cells = (key_of(row), column(row, "class"), column(row, "hostname"), column(row, "status"), times)
            message = visible(str(column(row, "msg") or ""))
            rows.add_row(*(_cell(visible(str(cell)), style) for cell in cells), _cell(message, style))
        return rows


def _panel(title: str, content: RenderableType) -> RenderableType:
    return Panel(content, title=title, title_align="left")


def _cell(text: str, style: str) -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")
