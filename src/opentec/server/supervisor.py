"""The four processes below the master: forked after one import, watched by progress, started again by fork."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from opentec.ha import process
from opentec.server import dispatch, hooks, reception, rule, task
from opentec.server.child import EXIT_DEMOTE, EXIT_FATAL, EXIT_SUPERSEDED, Context, reset_words, run_child
from opentec.server.progress import CHILDREN, Word, boot_us

_log = logging.getLogger("master")
_MAINS: Final[dict[str, Callable[[Context], Awaitable[None]]]] = {
    "reception": reception.main,
    "rule": rule.main,
    "dispatch": dispatch.main,
    "task": task.main,
}
_STARTING: Final = 60.0  # seconds that a process may take until its first sign of life counts as missing
_CRASHES: Final = (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGILL, -signal.SIGFPE)
_POISON: Final = 2  # deaths in the same record


@dataclass
class Child:
    """One of the four, and its recent restarts."""

    name: str
    number: int
    pid: int = 0
    restarts: deque[float] = field(default_factory=deque)
    killed_for: str = ""
    killed_at: int = 0  # because it hung; boot-time microseconds


class GiveUp(Exception):
    """The server on this node ends. `kind` is "superseded", "demote" or "fatal"."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind, self.reason = kind, reason

    def told(self, lease: Path) -> str:
        """For the log. Where the folder `lease` is gone, nobody needs to have taken over, though it looks like that."""
        if self.kind == "superseded" and not lease.exists():
            return f"{lease} is gone: the instance directory was moved, removed or unmounted; check the mount"
        return f"{self.kind}: {self.reason}"


class Supervisor:
    """Starts, watches and ends the children. Lives in the master's one thread."""

    def __init__(
        self,
        context: Context,
        quarantine: Callable[[int, str], Awaitable[None]],
        notice: Callable[[str, dict[str, Any]], Awaitable[None]] | None = None,
    ) -> None:
        """`quarantine` records a poisonous position through reception before the rule process is started again;
        `notice` an event of the server's own.
        """
        self._context = context
        self._quarantine = quarantine
        self._notice = notice
        self.children = [Child(name, number) for number, name in enumerate(CHILDREN)]
        self._attempts: dict[int, int] = {}
        self._looked, self._excused = boot_us(), 0
        self.events: deque[str] = deque(maxlen=20)  # what happened last, for status

    def start_all(self) -> None:
        for name in ("reception", "dispatch", "rule", "task"):  # reception first: the gap ends with its port
            self._start(self.children[CHILDREN.index(name)])

    def _start(self, child: Child) -> None:
        assert threading.active_count() == 1, "fork is safe only while the master has one thread"
        context = self._context
        (context.runtime / f"{child.name}.sock").unlink(missing_ok=True) if child.name != "task" else None
        reset_words(context.progress, child.number)
        master = os.getpid()
        pid = os.fork()
        if pid == 0:
            run_child(child.name, context, _MAINS[child.name], master)
        child.pid = pid
        child.killed_for, child.killed_at = "", 0

    async def reaped(self) -> None:
        """After SIGCHLD: collect who died and start them again; raises GiveUp."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)  # noqa: ASYNC222 - it does not block
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = next((child for child in self.children if child.pid == pid), None)
            if child is not None:
                await self._died(child, os.waitstatus_to_exitcode(status))

    async def _died(self, child: Child, code: int) -> None:
        child.pid = 0
        how = child.killed_for or (f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}")
        self.events.append(f"tec_{child.name} ended: {how}")
        _log.warning("tec_%s ended: %s", child.name, how)
        if code == EXIT_SUPERSEDED:
            raise GiveUp("superseded", "another node has taken over")
        if code in (EXIT_FATAL, EXIT_DEMOTE):
            raise GiveUp("fatal" if code == EXIT_FATAL else "demote", self._reason(child))
        now = boot_us() / 1e6
        child.restarts.append(now)
        while child.restarts and child.restarts[0] < now - 60:
            child.restarts.popleft()
        limit = self._context.config.supervision.restarts
        if len(child.restarts) > limit:
            raise GiveUp("fatal", f"tec_{child.name} ended {limit} times within a minute; the last time: {how}")
        if child.name == "rule":
            if code in _CRASHES and self._context.selector != "indexed":
                await self._leave_durable_rules(how)
            await self._poison(how)
        self._start(child)

    async def _leave_durable_rules(self, how: str) -> None:
        """From here on the indexed selector, and a notice that says so: whoever is on duty should know."""
        context = self._context
        context.selector = "indexed"
        said = f"durable-rules crashed the rule process ({how}): the indexed selector takes over"
        self.events.append(said)
        _log.error("%s", said)
        if self._notice is not None:
            slots = {
                "msg": f"{said} until node {context.node} is started again",
                "severity": "WARNING",
                "source": "TEC",
                "hostname": context.config.server.name,
            }
            await self._notice("TEC_Notice", slots)

    def _reason(self, child: Child) -> str:
        try:
            return (self._context.runtime / "fatal").read_text().strip()
        except OSError:
            return f"tec_{child.name} gave up without a reason"

    async def _poison(self, how: str) -> None:
        """A record that kills or hangs the rule process twice is set aside (spine: poison)."""
        position = self._context.progress[Word.ATTEMPT]
        self._context.progress[Word.ATTEMPT] = 0
        if not position:
            return
        self._attempts = {position: self._attempts.get(position, 0) + 1}
        if self._attempts[position] >= _POISON:
            await self._quarantine(position, f"it ended the rule process {_POISON} times ({how})")

    def watch(self) -> None:
        """Kill what shows no sign of life; its death is handled like any other."""
        now = boot_us()
        limit = self._context.config.supervision.hang_after
        away, self._looked = now - self._looked, now
        if away > limit * 1e6 / 2:
            self._excused = now  # the machine stood still, or this process: the others could not beat either
        for child in self.children:
            if not child.pid:
                continue
            silent = (now - max(self._context.progress[Word.BEAT_RECEPTION + child.number], self._excused)) / 1e6
            if child.killed_for:
                self._must_have_ended(child, now)
                continue
            ready = self._context.progress[Word.READY_RECEPTION + child.number]
            if silent > (limit if ready else max(limit, _STARTING)):
                child.killed_for = f"no sign of life for {silent:.1f} s, killed"
                _log.error("tec_%s shows no sign of life for %.1f s: killed", child.name, silent)
                child.killed_at = now
                os.kill(child.pid, signal.SIGKILL)

    def _must_have_ended(self, child: Child, now: int) -> None:
        """What SIGKILL does not end waits for a disk; another node, if there is one, may do better. Raises GiveUp."""
        limit = self._context.config.disk_limit
        if not limit or not child.killed_at or now - child.killed_at <= limit * 1e6:
            return
        # one that has ended is collected when its turn comes
        if process.start_time(child.pid) is not None and not hooks.unsafe("no-self-demotion"):
            raise GiveUp(
                "demote", f"tec_{child.name} has not ended {limit:.3g} s after it was killed: it waits for a disk"
            )

    async def drain(self, seconds: float) -> bool:
        """End reception, then wait until everything in the log is committed; False when that takes too long."""
        self._end(self.children[CHILDREN.index("reception")], signal.SIGKILL)
        progress = self._context.progress
        end = boot_us() + int(seconds * 1e6)
        while progress[Word.COMMITTED] < progress[Word.DURABLE]:
            if boot_us() > end:
                return False
            await asyncio.sleep(0.01)
        return True

    def end_all(self, patience: float | None = None) -> list[int]:
        """End every child and what it left behind; returns when they are gone. SIGKILL: everything is made for that.

        With `patience`, after that many seconds at the latest: gives the pids of those that have not ended, since they
        wait for a disk. They do nothing more of their own.
        """
        end = None if patience is None else time.monotonic() + patience
        for child in self.children:
            if child.pid:
                child.killed_for = "stopped"
                _kill(child.pid, signal.SIGKILL)
        while True:
            # the master is subreaper: what a program leaves behind becomes its child, generation after generation
            left = _children_of(os.getpid())
            for pid in left:
                _kill(pid, signal.SIGKILL)
            try:
                pid, _ = os.waitpid(-1, 0 if end is None else os.WNOHANG)
            except ChildProcessError:
                left = []
                break
            if not pid and end is not None:
                if time.monotonic() > end:
                    break
                time.sleep(0.005)
        for child in self.children:
            child.pid = 0
        return left

    def _end(self, child: Child, number: signal.Signals) -> None:
        if child.pid:
            child.killed_for = "stopped"
            _kill(child.pid, number)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child.pid, 0)
            child.pid = 0


def _kill(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _children_of(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
