"""The task process: what it claims, what it runs, how it reports, and when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from opentec.rim.batch import Batch, OutboxRow
from opentec.rim.outbox import OutboxTask
from opentec.server import task as module
from opentec.server.child import Context, Restart
from opentec.server.errors import Refused
from opentec.server.program import Ended
from opentec.server.progress import Word
from opentec.server.rpc import RpcClient, RpcServer
from opentec.server.task import Task
from tests.server.kit import Node, until, with_config
from tests.server.test_dispatch import dispatching, encoded, rule_process

LIBRARY = """
[task.hello]
program = ["/bin/sh", "-c", "echo $0 $hostname", "{1}"]
[task.slow]
program = ["sleep", "1000"]
time_limit = 0.01
[task.one]
program = ["/bin/sh", "-c", "exit 0"]
concurrency = 1
[task.people]
program = ["true"]
roles = ["admin"]
[task.variable]
program = ["/bin/sh", "-c", "echo [$LANG] [$SECRET] $TEC_NODE"]
environment = ["LANG", "NOT_THERE"]
"""


async def execute(context: Context, *argv: str, kind: str = "program", **work: Any) -> Ended:
    return await Task(context)._execute(kind, {"argv": list(argv), **work})


def library(context: Context, text: str = LIBRARY) -> None:
    (context.instance.directory / "tasks.toml").write_text(text)


def row(name: str, kind: str = "program", **work: Any) -> OutboxRow:
    return OutboxRow(name, 100, None, kind, json.dumps({"argv": [], **work}))


async def test_a_program_sees_the_event_and_where_it_is(context: Context, monkeypatch: Any) -> None:
    monkeypatch.setenv("SECRET", "x")
    ended = await execute(
        context,
        "/bin/sh",
        "-c",
        'echo "$TEC_EPOCH $TEC_NODE $hostname [$SECRET] $(pwd)"; test "$TEC_DIR" = "$(pwd)"',
        environment={"hostname": "web1", "PATH": "/nowhere", "TEC_EPOCH": "9"},
    )
    assert ended == (0, f"1 black web1 [] {context.instance.directory}\n", True)


async def test_limits_are_those_of_the_configuration(context: Context) -> None:
    with_config(context, "tasks", output_limit=4, time_limit=0.01)
    assert await execute(context, "sleep", "1000", time_limit=100) == (-15, _ended(0.01), False)
    with_config(context, "tasks", output_limit=4, time_limit=20)
    assert (await execute(context, "echo", "12345")).output == "345\n"
    assert await execute(context, "sleep", "1000", time_limit=0.02) == (-15, _ended(0.02), False)


def _ended(seconds: float) -> str:
    return f"ended after its time limit of {seconds:g} s"


async def test_what_cannot_be_run_says_why(context: Context) -> None:
    status, output, done = await execute(context, "/nonexistent/program")
    assert status is None and output.startswith("cannot run /nonexistent/program: ") and not done


async def test_tasks_are_looked_up_when_they_run(context: Context, monkeypatch: Any) -> None:
    task = Task(context)

    async def run(name: str, *argv: str, **work: Any) -> Ended:
        return await task._execute(f"task:{name}", {"argv": list(argv), **work})

    assert (await run("hello", "you")).output == "there is no task 'hello' in tasks.toml"
    library(context)
    assert await run("hello", "you there", environment={"hostname": "web1"}) == (0, "you there web1\n", True)
    assert (await run("hello")).output == "task hello takes 1 argument, not 0"
    assert (await run("helo")).output.endswith("did you mean 'hello'?")
    assert await run("slow") == (-15, _ended(0.01), False)
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("SECRET", "x")
    assert (await run("variable")).output == "[C.UTF-8] [] black\n"


async def test_a_task_for_people_is_not_for_rules(context: Context) -> None:
    library(context)
    refused = await execute(context, kind="task:people")
    assert refused == (None, "task people is not for rules: its roles in tasks.toml are admin; add 'rule'", False)
    assert (await execute(context, kind="task:people", operator="ann")).done


async def test_a_broken_library_leaves_the_one_before(context: Context, caplog: Any) -> None:
    library(context)
    task = Task(context)
    assert "hello" in task._read_library().tasks
    library(context, LIBRARY + "\n[task.hello2]\n")
    assert "hello" in task._read_library().tasks
    assert "task.hello2.program: a list of texts is needed" in caplog.text and len(caplog.records) == 1
    library(context, "")
    assert not task._read_library().tasks


async def test_a_superseded_server_starts_no_program(context: Context, monkeypatch: Any) -> None:
    class Over(BaseException):
        pass

    def end(status: int) -> None:
        raise Over(status)

    monkeypatch.setattr(module.os, "_exit", end)
    monkeypatch.setattr(Context, "superseded", lambda self: True)
    with pytest.raises(Over, match="3"):
        await execute(context, "/bin/true")


# -- with dispatch ------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def working(context: Context, *rows: OutboxRow) -> AsyncIterator[tuple[Node, Task]]:
    """Dispatch with these rows in the outbox, and a task process."""
    async with dispatching(context) as tec:
        task = Task(context)
        running = asyncio.ensure_future(task.run())
        try:
            await until(lambda: context.progress[Word.READY_TASK])
            async with rule_process(context) as (rule, _):
                await rule.call("batch", encoded(Batch(0, 200, outbox=list(rows))))
                yield tec, task
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def ends(tec: Node, *names: str) -> list[OutboxTask]:
    repository = tec.work("dispatch")._repository
    async with asyncio.timeout(20):
        while True:
            found = [await repository.outbox_task(name) for name in names]
            if all(item is not None and item.finished_at for item in found):
                return found
            await asyncio.sleep(0.001)


async def test_the_outbox_is_worked_off_a_few_at_a_time(context: Context, monkeypatch: Any) -> None:
    with_config(context, "tasks", concurrency=2)
    most = 0
    execute = Task._execute

    async def counting(self: Task, *arguments: Any) -> Ended:
        nonlocal most
        most = max(most, len(self._running))
        return await execute(self, *arguments)

    monkeypatch.setattr(Task, "_execute", counting)
    rows = [row(f"p{n}", argv=["/bin/sh", "-c", f"exit {n}"]) for n in range(5)]
    async with working(context, *rows) as (tec, _):
        found = await ends(tec, *[f"p{n}" for n in range(5)])
        assert [item.exit_status for item in found] == [0, 1, 2, 3, 4]
        assert [item.status for item in found] == ["done", *["failed"] * 4]
        assert most == 2


async def test_a_task_at_its_own_limit_lets_others_pass(context: Context, monkeypatch: Any) -> None:
    library(context)
    gate, order = asyncio.Event(), []
    at_once = most = 0

    async def slow(self: Task, kind: str, work: dict[str, Any]) -> Ended:
        nonlocal at_once, most
        if kind == "task:one":
            at_once += 1
            most = max(most, at_once)
            await gate.wait()
            at_once -= 1
        order.append(kind)
        return Ended(0, "", True)

    monkeypatch.setattr(Task, "_execute", slow)
    rows = [row("a", "task:one"), row("b", "task:one"), row("c", "program"), row("d", "task:hello")]
    async with working(context, *rows) as (tec, _):
        await ends(tec, "c", "d")
        gate.set()
        await ends(tec, "a", "b")
    assert sorted(order[:2]) == ["program", "task:hello"] and most == 1


@contextlib.asynccontextmanager
async def reception(context: Context, refuse: bool = False) -> AsyncIterator[list[Any]]:
    said: list[Any] = []

    async def handle(peer: Any, operation: str, argument: Any) -> int:
        if refuse:
            raise Refused("class 'TEC_Task_Result' is not defined")
        said.append((operation, *argument))
        return 1

    server = RpcServer(context.runtime / "reception.sock", handle)
    await server.start()
    try:
        yield said
    finally:
        server.close()


WATCHED: dict[str, Any] = {
    "watch": True,
    "event": "1772352000.7",
    "environment": {"hostname": "web1", "CLASS_NAME": "Disk_Full"},
}


async def test_a_rule_that_watches_gets_an_event(context: Context) -> None:
    rows = [
        row("p1", argv=["/bin/sh", "-c", "echo out; exit 4"], **WATCHED),
        row("p2", argv=["/bin/true"]),
    ]
    async with reception(context) as said, working(context, *rows) as (tec, _):
        await ends(tec, "p1", "p2")
        await until(lambda: said)
    ((operation, class_name, slots),) = said
    assert (operation, class_name) == ("notice", "TEC_Task_Result")
    assert slots.pop("seconds") >= 0
    assert slots == {
        "msg": "/bin/sh failed",
        "severity": "WARNING",
        "source": "TEC",
        "sub_source": "tec_task",
        "hostname": "web1",
        "task_id": "p1",
        "task_name": "/bin/sh",
        "task_kind": "program",
        "task_status": "failed",
        "exit_status": 4,
        "output": "out\n",
        "for_event": "1772352000.7",
        "for_class": "Disk_Full",
        "cause_date_reception": 1772352000,
        "cause_event_handle": 7,
    }
    assert context.rule_base.classes.check(class_name, slots)


async def test_a_result_that_cannot_be_posted_is_logged(context: Context, caplog: Any) -> None:
    async with reception(context, refuse=True), working(context, row("p", argv=["/bin/true"], **WATCHED)) as (tec, _):
        await ends(tec, "p")
        await until(lambda: "cannot be posted" in caplog.text)
    assert "the end of p cannot be posted as TEC_Task_Result: class 'TEC_Task_Result' is not defined" in caplog.text


async def test_what_a_restart_interrupted_is_reported_once(context: Context) -> None:
    async with reception(context) as said, dispatching(context) as tec:
        async with rule_process(context) as (rule, _):
            rows = [row("p", argv=["mail"], **WATCHED), row("q", argv=["mail"])]
            await rule.call("batch", encoded(Batch(0, 200, outbox=rows)))
        client = await RpcClient.connect(context.runtime / "dispatch.sock")
        assert await client.call("task-hello") == []
        assert len(await client.call("task-claim", {"limit": 9, "forwards": False, "room": {}})) == 2
        client.close()
        # dispatch itself is the first to see them; the next task process still hears of them
        await tec.kill("dispatch")
        tec.start("dispatch")
        await tec.ready("dispatch")
        for _ in range(2):
            context.progress.ready(3, False)
            running = asyncio.ensure_future(Task(context).run())
            await until(lambda: context.progress[Word.READY_TASK])
            await until(lambda: said)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    ((_, _, slots),) = said
    assert (slots["task_status"], slots["msg"]) == ("interrupted", "mail was interrupted by a restart")
    assert "exit_status" not in slots


async def test_an_older_task_process_claims_nothing(context: Context) -> None:
    async with dispatching(context):
        old, new = [await RpcClient.connect(context.runtime / "dispatch.sock") for _ in range(2)]
        for client in (old, new):
            await client.call("task-hello")
        asked = {"limit": 1, "forwards": False, "room": {}}
        with pytest.raises(Refused, match="a newer task process has taken over"):
            await old.call("task-claim", asked)
        assert await new.call("task-claim", asked) == []
        old.close()
        new.close()


async def test_the_process_ends_with_dispatch_and_says_so(context: Context) -> None:
    async with dispatching(context) as tec:
        running = asyncio.ensure_future(module.main(context))
        await until(lambda: context.progress[Word.READY_TASK])
        await tec.kill("dispatch")
        with pytest.raises(Restart, match="dispatch ended"):
            await asyncio.wait_for(running, 20)


@pytest.mark.parametrize("kind", ["program", "forward:far"])
async def test_a_row_that_is_broken_ends_the_process(context: Context, kind: str) -> None:
    peers = []

    async def handle(peer: Any, operation: str, argument: Any) -> Any:
        peers.append(peer)
        wanted = operation == "task-claim" and argument["forwards"] == kind.startswith("forward:")
        return [["p1", 1, None, kind, "{}", "claimed"]] if wanted else []

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


async def test_nothing_is_looked_for_that_there_is_no_room_for(context: Context, monkeypatch: Any) -> None:
    """With many events for a destination that is away, each look costs: there must be few."""
    asked: list[tuple[int, bool]] = []

    async def asking(self: Task, client: Any, limit: int, forwards: bool, room: dict[str, int]) -> list[OutboxTask]:
        asked.append((limit, forwards))
        return []

    monkeypatch.setattr(Task, "_ask", asking)
    task = Task(context)
    task._client = None  # type: ignore[assignment]
    assert not await task._claim(None)  # type: ignore[arg-type]
    assert asked == [(4, False), (500, True)]
    del asked[:]
    for kinds, looks in (
        ([], []),
        (["program"], [(4, False)]),
        (["forward:near", "task:x"], [(4, False), (500, True)]),
        (["forward:away"], []),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(type(task._forwarder), "room_of_kinds", lambda self: {"forward:away": 0})
            task._more("work", kinds)
            assert task._wake.is_set()
            await task._claim(None)  # type: ignore[arg-type]
        assert asked == looks
        del asked[:]
    task._more_events()
    await task._claim(None)  # type: ignore[arg-type]
    assert asked == [(500, True)]
