"""tec_task: works off the outbox. Programs and tasks run at most once, events go to other servers until they arrive.

docs/tasks.md; spine: dispatch and tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Coroutine
from typing import Any, Final

import msgspec

from opentec.rim.outbox import OutboxTask
from opentec.server.child import EXIT_SUPERSEDED, Context, Restart
from opentec.server.errors import ConfigError, Refused
from opentec.server.forwarder import Forwarder
from opentec.server.library import FILE_NAME, RULE, Library, TaskDefinition, TaskRefused, command_of, load_library
from opentec.server.program import Ended, find_program, run_program
from opentec.server.progress import CHILDREN
from opentec.server.rpc import RpcClient

_log = logging.getLogger("task")
_ME: Final = CHILDREN.index("task")
_POLL: Final = 5.0  # seconds between looks when nothing wakes us
_FORWARD: Final = "forward:"
_TASK: Final = "task:"
_RECEPTION: Final = 10.0  # seconds that reception may take for an event, it may just be starting
RESULT_CLASS: Final = "TEC_Task_Result"
_RESULT_OUTPUT: Final = 1024  # characters of the output that the event carries: its end
_REASONS: Final = {"done": "ended well", "failed": "failed", "interrupted": "was interrupted by a restart"}


class Task:
    """The task process."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._settings = context.config.tasks
        self._running: dict[asyncio.Task[None], str] = {}  # to the kind of its row
        self._wake = asyncio.Event()
        self._programs_wait = self._events_wait = True  # something may be there to be claimed
        self._trouble: BaseException | None = None
        self._library = Library()
        self._library_stamp: Any = None
        self._client: RpcClient
        self._forwarder = Forwarder(context, self._forwarded)
        self._forwarder.ended = self._ended
        self._forwarder.has_room = self._more_events

    async def run(self) -> None:
        """Claim, run, report, until the connection to dispatch ends (then the process ends and starts again)."""
        client = self._client = await connect(self._context, "dispatch.sock")
        client.pushed = self._more
        client.gone = self._wake.set
        for row in msgspec.convert(await client.call("task-hello"), list[OutboxTask]):
            _log.warning("%s %s was interrupted by a restart", row.kind, row.id)
            self._start(row, self._interrupted(row))
        self._context.progress.ready(_ME)
        try:
            while not client.closed.is_set():
                if self._trouble is not None:
                    raise self._trouble
                self._wake.clear()
                if not await self._claim(client):
                    # not wait_for, which may swallow a cancellation before Python 3.12
                    try:
                        async with asyncio.timeout(_POLL):
                            await self._wake.wait()
                    except TimeoutError:
                        self._programs_wait = self._events_wait = True
        finally:
            client.close()
            await self._forwarder.close()
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _claim(self, client: RpcClient) -> bool:
        """Claim what there is room for; True when there may be more."""
        room, limits = self._settings.concurrency - len(self._running), self._room_of_tasks()
        rows: list[OutboxTask] = []
        if self._programs_wait and room > 0:
            self._programs_wait = False
            rows = await self._ask(client, room, False, limits)
            # what waits for a task at its limit is seen when that one ends
            self._programs_wait |= bool(rows) or min(limits.values(), default=1) <= 0
        for row in rows:
            self._start(row, self._one(row))
        ahead = self._forwarder.room
        events: list[OutboxTask] = []
        if self._events_wait and ahead > 0:
            self._events_wait = False
            events = await self._ask(client, ahead, True, self._forwarder.room_of_kinds())
            self._events_wait |= bool(events)
        for row in events:
            self._forwarder.take(row.id, row.kind, row.data)
        return bool(rows or events)

    def _more(self, name: str, kinds: list[str]) -> None:
        """Dispatch has committed rows of these kinds. With many that wait a look costs, so only if it is of use."""
        full = self._forwarder.room_of_kinds()
        for kind in kinds:
            if not kind.startswith(_FORWARD):
                self._programs_wait = True
            elif full.get(kind, 1) > 0:
                self._events_wait = True
        self._wake.set()

    def _more_events(self) -> None:
        self._events_wait = True
        self._wake.set()

    def _start(self, row: OutboxTask, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._running[task] = row.kind
        task.add_done_callback(self._ended)

    async def _ask(self, client: RpcClient, limit: int, forwards: bool, room: dict[str, int]) -> list[OutboxTask]:
        asked = {"limit": limit, "forwards": forwards, "room": room}
        return msgspec.convert(await client.call("task-claim", asked), list[OutboxTask])

    def _room_of_tasks(self) -> dict[str, int]:
        running = Counter(self._running.values())
        return {
            _TASK + name: task.concurrency - running[_TASK + name]
            for name, task in self._read_library().tasks.items()
            if task.concurrency is not None
        }

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        if not task.cancelled():
            self._trouble = self._trouble or task.exception()  # a dead task inside a process ends the process
        self._wake.set()

    # -- programs and tasks -----------------------------------------------------------------------------------------

    async def _one(self, row: OutboxTask) -> None:
        work: dict[str, Any] = msgspec.json.decode(row.data)
        started = time.monotonic()
        ended = await self._execute(row.kind, work)
        status = "done" if ended.done else "failed"
        _log.info("%s %s for %s %s, exit status %s", row.kind, row.id, work.get("event") or "-", status, ended.status)
        end = {"id": row.id, "exit_status": ended.status, "output": ended.output, "done": ended.done}
        if await self._client.call("task-finish", end):
            await self._report(row, work, status, ended, time.monotonic() - started)

    async def _interrupted(self, row: OutboxTask) -> None:
        await self._report(row, msgspec.json.decode(row.data), "interrupted", Ended(None, "", False), 0.0)

    async def _execute(self, kind: str, work: dict[str, Any]) -> Ended:
        """Run a program, or the one that a task names, with its limits."""
        argv = [str(word) for word in work["argv"]]
        slots = {str(name): str(value) for name, value in work.get("environment", {}).items()}
        limit = min(float(work.get("time_limit") or self._settings.time_limit), self._settings.time_limit)
        allowed: tuple[str, ...] = ()
        try:
            if kind.startswith(_TASK):
                task = self._task_of(kind.removeprefix(_TASK), work)
                argv = command_of(task, argv, slots)
                limit, allowed = task.time_limit or self._settings.time_limit, task.environment
            environment = {**slots, **self._environment(allowed)}
            executable = find_program(argv[0], self._context.instance.directory, environment["PATH"])
        except TaskRefused as error:
            return Ended(None, str(error), False)
        if self._context.superseded():
            os._exit(EXIT_SUPERSEDED)
        return await run_program(
            argv,
            executable=executable,
            environment=environment,
            directory=self._context.instance.directory,
            time_limit=limit,
            output_limit=self._settings.output_limit,
        )

    def _environment(self, allowed: tuple[str, ...]) -> dict[str, str]:
        """What a program sees beside the event: where it is, and what its task lets through."""
        return {
            **{name: os.environ[name] for name in allowed if name in os.environ},
            "PATH": os.environ.get("PATH", os.defpath),
            "TEC_DIR": str(self._context.instance.directory),
            "TEC_NODE": self._context.node,
            "TEC_EPOCH": str(self._context.epoch),
        }

    def _task_of(self, name: str, work: dict[str, Any]) -> TaskDefinition:
        task = self._read_library().task(name)
        if "operator" not in work and not task.allows_rules():
            raise TaskRefused(
                f"task {name} is not for rules: its roles in {FILE_NAME} are {', '.join(task.roles)}; add {RULE!r}"
            )
        return task

    def _read_library(self) -> Library:
        """The library as it is now; where it is broken, the one before, until it is mended."""
        path = self._context.instance.directory / FILE_NAME
        try:
            found = path.stat()
            stamp: Any = (found.st_ino, found.st_mtime_ns, found.st_size)
        except OSError:
            stamp = ()
        if stamp != self._library_stamp:
            self._library_stamp = stamp
            try:
                self._library = load_library(path)
            except ConfigError as error:
                _log.error("%s; the tasks before it stay", error)
        return self._library

    async def _report(self, row: OutboxTask, work: dict[str, Any], status: str, ended: Ended, seconds: float) -> None:
        """Where a rule wants to know the end, post it as an event: once, or, after a crash right now, not at all."""
        if not work.get("watch"):
            return
        name = row.kind.removeprefix(_TASK) if row.kind.startswith(_TASK) else str(work["argv"][0])
        slots: dict[str, Any] = {
            "msg": f"{name} {_REASONS[status]}",
            "severity": "HARMLESS" if status == "done" else "WARNING",
            "source": "TEC",
            "sub_source": "tec_task",
            "hostname": work.get("environment", {}).get("hostname", ""),
            "task_id": row.id,
            "task_name": name,
            "task_kind": row.kind.partition(":")[0],
            "task_status": status,
            "output": ended.output[-_RESULT_OUTPUT:],
            "seconds": round(seconds, 3),
            "for_event": work.get("event", ""),
            "for_class": work.get("environment", {}).get("CLASS_NAME", ""),
        }
        if ended.status is not None:
            slots["exit_status"] = ended.status
        date, _, handle = str(work.get("event", "")).partition(".")
        if date.isdigit() and handle.isdigit():
            slots |= {"cause_date_reception": int(date), "cause_event_handle": int(handle)}
        try:
            async with asyncio.timeout(_RECEPTION):
                reception = await connect(self._context, "reception.sock")
                try:
                    await reception.call("notice", [RESULT_CLASS, slots])
                finally:
                    reception.close()
        except (OSError, Refused, TimeoutError) as error:
            _log.warning("the end of %s cannot be posted as %s: %s", row.id, RESULT_CLASS, error)

    # -- events for other servers -----------------------------------------------------------------------------------

    async def _forwarded(self, row: str, done: bool, reason: str) -> None:
        if not done:
            _log.warning("event of outbox row %s: %s", row, reason)
        await self._client.call("task-finish", {"id": row, "exit_status": None, "output": reason, "done": done})


async def connect(context: Context, name: str) -> RpcClient:
    """A connection to another process of this server, as soon as it listens."""
    while True:
        try:
            return await RpcClient.connect(context.runtime / name)
        except (FileNotFoundError, ConnectionRefusedError):
            await asyncio.sleep(0.01)


async def main(context: Context) -> None:
    with contextlib.suppress(ConnectionError):
        await Task(context).run()
    raise Restart("dispatch ended; programs that ran are interrupted")
