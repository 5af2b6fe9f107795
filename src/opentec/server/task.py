"""tec_task: runs the programs of the outbox, each at most once (spine: dispatch and tasks)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from typing import Any, Final

import msgspec

from opentec.server.child import Context, Restart, prctl_die_with_parent
from opentec.server.progress import CHILDREN
from opentec.server.rpc import RpcClient

_log = logging.getLogger("task")
_ME: Final = CHILDREN.index("task")
_POLL: Final = 5.0  # seconds between looks when nothing wakes us
_GRACE: Final = 2.0


class Task:
    """The task process."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._settings = context.config.tasks
        self._running: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._trouble: BaseException | None = None

    async def run(self) -> None:
        """Claim, run, report, until the connection to dispatch ends (then the process ends and starts again)."""
        client = await connect(self._context, "dispatch.sock")
        client.pushed = lambda name, argument: self._wake.set()
        interrupted = await client.call("task-hello")
        for row in interrupted:
            _log.warning("program %s was interrupted by a restart", row[0])
        self._context.progress.ready(_ME)
        while not client.closed.is_set():
            if self._trouble is not None:
                raise self._trouble
            room = self._settings.concurrency - len(self._running)
            rows = await client.call("task-claim", room) if room > 0 else []
            for row in rows:
                task = asyncio.ensure_future(self._one(client, row[0], row[4]))
                self._running.add(task)
                task.add_done_callback(self._ended)
            if len(rows) < room or room <= 0:
                self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), _POLL)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            self._trouble = self._trouble or task.exception()  # a dead task inside a process ends the process
        self._wake.set()

    async def _one(self, client: RpcClient, name: str, data: str) -> None:
        work: dict[str, Any] = msgspec.json.decode(data)
        status, output, done = await self._execute(work)
        _log.info("program %s (%s) ended with %s", name, work["argv"][0], status)
        await client.call("task-finish", {"id": name, "exit_status": status, "output": output, "done": done})

    async def _execute(self, work: dict[str, Any]) -> tuple[int | None, str, bool]:
        """Run one argument list without a shell; gives exit status, output and success."""
        argv = [str(word) for word in work["argv"]]
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "TEC_EPOCH": str(self._context.epoch),
            **{str(key): str(value) for key, value in work.get("environment", {}).items()},
        }
        if self._context.superseded():
            os._exit(3)
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=environment,
                cwd=self._context.instance.directory,
                start_new_session=True,
                preexec_fn=prctl_die_with_parent,
            )
        except (OSError, ValueError) as error:
            return None, f"cannot run {argv[0]}: {error}", False
        limit = min(float(work.get("time_limit") or self._settings.time_limit), self._settings.time_limit)
        try:
            output = await asyncio.wait_for(self._output(process), limit)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), _GRACE)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
            return process.returncode, f"ended after its time limit of {limit:g} s", False
        return process.returncode, output, process.returncode == 0

    async def _output(self, process: asyncio.subprocess.Process) -> str:
        """The end of what the program printed; the rest is read and thrown away."""
        assert process.stdout is not None
        kept = b""
        while part := await process.stdout.read(65536):
            kept = (kept + part)[-self._settings.output_limit :] if self._settings.output_limit else b""
        await process.wait()
        return kept.decode("utf-8", "replace")


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
