"""Programs of the outbox: their end, their limits, and what cannot be run."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from opentec.rim.batch import Batch, OutboxRow
from opentec.server import task as module
from opentec.server.child import Context, Restart
from opentec.server.progress import Word
from opentec.server.rpc import RpcClient, RpcServer
from opentec.server.task import Task
from tests.server.kit import until, with_config
from tests.server.test_dispatch import dispatching, encoded, rule_process


def python(text: str) -> list[str]:
    return [sys.executable, "-S", "-c", text]


async def execute(context: Context, argv: list[Any], **work: Any) -> tuple[int | None, str, bool]:
    return await Task(context)._execute({"argv": argv, **work})


async def test_the_exit_status_decides(context: Context) -> None:
    assert await execute(context, ["/bin/true"]) == (0, "", True)
    assert await execute(context, ["/bin/sh", "-c", "echo out; echo err >&2; exit 3"]) == (3, "out\nerr\n", False)


async def test_a_program_sees_its_environment_and_the_epoch_only(context: Context, monkeypatch: Any) -> None:
    monkeypatch.setenv("SECRET", "x")
    status, output, _ = await execute(
        context, ["/bin/sh", "-c", 'echo "$TEC_EPOCH $hostname [$SECRET] $(pwd)"'], environment={"hostname": "web1"}
    )
    assert status == 0 and output == f"1 web1 [] {context.instance.directory}\n"


async def test_only_the_end_of_the_output_is_kept(context: Context) -> None:
    with_config(context, "tasks", output_limit=10)
    assert await execute(context, ["/bin/sh", "-c", "echo 0123456789abc"]) == (0, "456789abc\n", True)
    with_config(context, "tasks", output_limit=0)
    assert await execute(context, ["/bin/sh", "-c", "echo 0123456789abc"]) == (0, "", True)


async def test_a_program_is_ended_after_its_time_limit(context: Context) -> None:
    status, output, done = await execute(context, ["/bin/sleep", "1000"], time_limit=0.01)
    assert (status, output, done) == (-15, "ended after its time limit of 0.01 s", False)


async def test_a_program_that_does_not_listen_is_killed(context: Context, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "_GRACE", 0.01)
    with_config(context, "tasks", time_limit=0.3)
    status, _, done = await execute(context, ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1000; done"])
    assert (status, done) == (-9, False)


@pytest.mark.parametrize("argv", [["/nonexistent/program"], ["/bin/true", "a\0b"], ["/etc/passwd"]])
async def test_what_cannot_be_run_says_why(context: Context, argv: list[str]) -> None:
    status, output, done = await execute(context, argv)
    assert status is None and output.startswith(f"cannot run {argv[0]}: ") and not done


async def test_a_superseded_server_starts_no_program(context: Context, monkeypatch: Any) -> None:
    class Ended(BaseException):
        pass

    def end(status: int) -> None:
        raise Ended(status)

    monkeypatch.setattr(module.os, "_exit", end)
    monkeypatch.setattr(Context, "superseded", lambda self: True)
    with pytest.raises(Ended, match="3"):
        await execute(context, ["/bin/true"])


async def test_the_outbox_is_worked_off_a_few_at_a_time(context: Context) -> None:
    with_config(context, "tasks", concurrency=2)
    async with dispatching(context) as tec, rule_process(context) as (rule, _):
        task = Task(context)
        running = asyncio.ensure_future(task.run())
        await until(lambda: context.progress[Word.READY_TASK])
        rows = [
            OutboxRow(f"p{n}", 100, None, "program", f'{{"argv": ["/bin/sh", "-c", "exit {n}"]}}') for n in range(5)
        ]
        await rule.call("batch", encoded(Batch(0, 200, outbox=rows)))
        repository = tec.work("dispatch")._repository
        found: list[Any] = []
        async with asyncio.timeout(20):
            while len(found) < 5:
                found = [item for n in range(5) if (item := await repository.outbox_task(f"p{n}")) and item.finished_at]
                assert len(task._running) <= 2
                await asyncio.sleep(0.001)
        assert [item.exit_status for item in found] == [0, 1, 2, 3, 4]
        assert [item.status for item in found] == ["done", *["failed"] * 4]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_the_process_ends_with_dispatch_and_says_so(context: Context) -> None:
    async with dispatching(context) as tec:
        running = asyncio.ensure_future(module.main(context))
        await until(lambda: context.progress[Word.READY_TASK])
        await tec.kill("dispatch")
        with pytest.raises(Restart, match="dispatch ended"):
            await asyncio.wait_for(running, 20)


async def test_a_program_whose_row_is_broken_ends_the_process(context: Context, caplog: Any) -> None:
    peers = []

    async def handle(peer: Any, operation: str, argument: Any) -> Any:
        peers.append(peer)
        return [["p1", 1, None, "program", "{}", "waiting"]] if operation == "task-claim" else []

    server = RpcServer(context.runtime / "dispatch.sock", handle)
    await server.start()
    with pytest.raises(KeyError):
        await asyncio.wait_for(Task(context).run(), 20)
    server.close()
    peers[0].close()


async def test_connecting_waits_for_the_socket(context: Context) -> None:
    connecting = asyncio.ensure_future(module.connect(context, "late.sock"))
    await asyncio.sleep(0)
    server = RpcServer(context.runtime / "late.sock", None)  # type: ignore[arg-type]
    await server.start()
    client = await asyncio.wait_for(connecting, 20)
    assert isinstance(client, RpcClient)
    client.close()
    server.close()
