"""The outbox as dispatch keeps it: who may ask for a task, what people see, and what is deleted."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from opentec.rim.batch import Batch, OutboxRow
from opentec.server import outbox as module
from opentec.server.child import Context
from opentec.server.errors import Refused
from opentec.server.progress import Word
from opentec.server.rpc import Peer, RpcServer
from tests.rim.rows import row
from tests.server.kit import Node, until, with_config
from tests.server.test_dispatch import dispatching, encoded, rule_process

ID = "0123456789abcdef" * 2
TASKS = """
[roles]
user = ["4294967290"]
[task.note]
program = ["true", "{1}", "{hostname}"]
roles = ["admin", "rule"]
[task.any]
program = ["true", "{args}"]
roles = ["user"]
[task.top]
program = ["true"]
"""
KEY = [1772352000, 1, 1]


def library(context: Context, text: str = TASKS) -> None:
    (context.instance.directory / "tasks.toml").write_text(text)


def asking(task: str = "any", *arguments: Any, event: Any = None, id: str = ID) -> dict[str, Any]:
    return {"id": id, "task": task, "arguments": list(arguments), "event": event}


async def fill(context: Context, *outbox: OutboxRow) -> None:
    async with rule_process(context) as (rule, hello):
        events = [] if hello["position"] else [row(1, msg="it's", server_path="[]", **{"class": "Disk_Full"})]
        batch = Batch(hello["position"], hello["position"] + 1000, inserts=events, outbox=list(outbox))
        await rule.call("batch", encoded(batch))


def some(kind: str, *ids: str, **work: Any) -> list[OutboxRow]:
    return [OutboxRow(name, 100 + number, 1, kind, json.dumps(work)) for number, name in enumerate(ids)]


async def shown(tec: Node, **wanted: Any) -> Any:
    return await tec.ask("dispatch", "outbox", wanted)


async def test_an_operator_asks_for_a_task(context: Context) -> None:
    library(context)
    async with dispatching(context) as tec:
        await fill(context)
        assert await tec.ask("dispatch", "task-run", asking("note", "a b", event=KEY)) == ID
        # asked again, it is the same row
        assert await tec.ask("dispatch", "task-run", asking("note", "other", event=KEY)) == ID
        (found,) = await shown(tec)
        assert {name: found[name] for name in ("id", "kind", "name", "arguments", "event", "status", "class")} == {
            "id": ID,
            "kind": "task",
            "name": "note",
            "arguments": ["a b"],
            "event": "1772352000.1",
            "status": "waiting",
            "class": "Disk_Full",
        }
        assert found["operator"] and found["position"] == 1000
        stored = await tec.work("dispatch")._repository.outbox_task(ID)
        environment = json.loads(stored.data)["environment"]
        assert (environment["hostname"], environment["msg"], environment["owner"]) == ("web1", "it's", "root")


async def test_the_task_process_is_told(context: Context) -> None:
    library(context)
    async with dispatching(context) as tec:
        told: list[Any] = []

        class Worker:
            def send(self, name: str, kinds: list[str]) -> None:
                told.append((name, kinds))

        tec.work("dispatch")._task = Worker()
        await tec.ask("dispatch", "task-run", asking())
        tec.work("dispatch")._task = None
        await tec.ask("dispatch", "task-run", asking(id="f" * 32))
        assert told == [("work", ["task:any"])]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (asking("anny"), "there is no task 'anny' in tasks.toml; did you mean 'any'?"),
        (asking("note"), "task note takes 1 argument, not 0"),
        (asking("note", "a"), "task note needs {hostname}, and it is run without an event"),
        (asking(event=[1, 2, 1]), "there is no event 1.2"),
        (asking(event=[1]), "task-run needs id, task, arguments and event: Expected `array` of length 3"),
        (asking("any", 7), "task-run needs id, task, arguments and event: Expected `str`, got `int`"),
        (asking(event=7), "task-run needs id, task, arguments and event"),
        (asking(id="x"), "32 hexadecimal digits"),
        (asking("any", "a\0"), "no zero byte"),
        (asking("any", *"a" * 257), "256 arguments at most"),
        (asking("any", "a" * 65_537), "65536 bytes"),
        ({}, "task-run needs id, task, arguments and event"),
        (None, "task-run needs id, task, arguments and event"),
    ],
)
async def test_what_is_refused(context: Context, asked: Any, message: str) -> None:
    library(context)
    async with dispatching(context) as tec:
        with pytest.raises(Refused) as error:
            await tec.ask("dispatch", "task-run", asked)
        assert message in str(error.value)
        assert await shown(tec) == []


async def test_roles_decide(context: Context, monkeypatch: Any) -> None:
    library(context)
    make = Peer.__init__

    def stranger(self: Peer, writer: Any) -> None:
        make(self, writer)
        self.uid = 4294967290

    monkeypatch.setattr(Peer, "__init__", stranger)
    async with dispatching(context) as tec:
        assert await tec.ask("dispatch", "task-run", asking("any")) == ID
        for task, needs in (("note", "admin"), ("top", "super")):
            with pytest.raises(Refused) as error:
                await tec.ask("dispatch", "task-run", asking(task))
            assert str(error.value) == (
                f"4294967290 may not run task {task}: it needs the role {needs}, 4294967290 has user; "
                "[roles] in tasks.toml gives roles"
            )
        library(context, TASKS.replace('[roles]\nuser = ["4294967290"]', ""))
        with pytest.raises(Refused, match="4294967290 has none"):
            await tec.ask("dispatch", "task-run", asking("any"))


async def test_too_many_that_wait(context: Context, monkeypatch: Any) -> None:
    library(context)
    monkeypatch.setattr(module, "_WAITING", 2)
    async with dispatching(context) as tec:
        await fill(context, *some("program", "a", "b"), *some("forward:far", "c"))
        with pytest.raises(Refused, match="2 programs wait already"):
            await tec.ask("dispatch", "task-run", asking())


async def test_a_broken_library_is_named(context: Context) -> None:
    library(context, "[task.x]\n")
    async with dispatching(context) as tec:
        for operation, argument in (("task-run", asking()), ("tasks", None)):
            with pytest.raises(Refused, match="task.x.program: a list of texts is needed"):
                await tec.ask("dispatch", operation, argument)


async def test_the_library_is_shown(context: Context) -> None:
    library(context)
    async with dispatching(context) as tec:
        found = await tec.ask("dispatch", "tasks")
    assert found["roles"] == {"user": ["4294967290"]}
    assert [(task["name"], task["arguments"]) for task in found["tasks"]] == [("note", 1), ("any", 0), ("top", 0)]


async def test_pages_for_people(context: Context) -> None:
    async with dispatching(context) as tec:
        await fill(
            context,
            *some("program", "p", argv=["mail", "a"], event="1772352000.1", environment={"CLASS_NAME": "Disk_Full"}),
            OutboxRow("f", 300, None, "forward:far", json.dumps({"argv": [], "forward": ["Link_Up", {}]})),
        )
        first, second = await shown(tec)
        assert [first[name] for name in ("id", "kind", "name", "arguments", "event", "class")] == [
            *("f", "forward", "far", [], None, "Link_Up")
        ]
        assert [second[name] for name in ("id", "kind", "name", "arguments", "event", "class")] == [
            *("p", "program", "mail", ["a"], "1772352000.1", "Disk_Full")
        ]
        assert [found["id"] for found in await shown(tec, event=KEY)] == ["p"]
        assert await shown(tec, event=[9, 9, 1]) is None
        assert [found["id"] for found in await shown(tec, id="f")] == ["f"]
        assert await shown(tec, id="none") == []
        assert [found["id"] for found in await shown(tec, before=[300, "f"], limit=5)] == ["p"]
        assert await shown(tec, status="done") == []


async def test_what_is_open_is_counted(context: Context) -> None:
    async with dispatching(context) as tec:
        await fill(context, *some("program", "p"), *some("task:x", "t"), *some("forward:far", "f1", "f2", "f3"))
        assert await module.keep_house(tec.work("dispatch")._repository, context) == []
    assert (context.progress[Word.PROGRAMS], context.progress[Word.FORWARDS]) == (2, 3)


async def test_old_ends_are_deleted(context: Context, monkeypatch: Any) -> None:
    monkeypatch.setattr(module.time, "time_ns", lambda: 10 * 86_400 * 10**9)
    with_config(context, "tasks", retain_days=2)
    async with dispatching(context) as tec:
        repository = tec.work("dispatch")._repository
        await fill(context, *some("program", "old", "new"))
        await repository.claim_outbox(9, 1, "black", 1)
        for name, day in (("old", 7.9), ("new", 8.1)):
            await repository.finish_outbox(name, 1, round(day * 86_400e6), exit_status=0)
        await module.keep_house(repository, context)
        assert [found["id"] for found in await shown(tec)] == ["new"]


async def test_what_is_deleted_goes_in_steps_between_which_batches_are_written(
    context: Context, monkeypatch: Any
) -> None:
    """One step in each round could not keep up with what fails or ends meanwhile."""
    with_config(context, "tasks", retain_days=1, forward_limit=1)
    monkeypatch.setattr(module, "STEP", 2)
    monkeypatch.setattr("opentec.rim.outbox.STEP", 2)
    monkeypatch.setattr(module, "_BETWEEN", 0)
    monkeypatch.setattr(module, "_STEPS", 4)
    async with dispatching(context) as tec:
        repository = tec.work("dispatch")._repository
        await fill(context, *some("program", *map(str, range(9))), *some("forward:far", *"abcdef"))
        for task in await repository.claim_outbox(9, 1, "black", 1):
            await repository.finish_outbox(task.id, 1, 1, exit_status=0)
        (said,) = await module.keep_house(repository, context)
        assert said.startswith("5 events for far are not forwarded")
        # a round has an end, too
        assert await repository.open_outbox() == {"forward:far": 1}
        assert len(await shown(tec, status="done")) == 1
        assert await module.keep_house(repository, context) == []
        assert await shown(tec, status="done") == []


async def test_a_queue_that_grows_too_long_loses_its_oldest_and_says_so(context: Context, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "HOUSEKEEPING", 0.001)
    with_config(context, "tasks", forward_limit=2)
    said: list[Any] = []

    async def handle(peer: Any, operation: str, argument: Any) -> None:
        if said:
            raise Refused("not now")
        said.append((operation, argument))

    server = RpcServer(context.runtime / "reception.sock", handle)
    await server.start()
    async with dispatching(context) as tec:
        await fill(context, *some("forward:far", "f1", "f2", "f3"))
        await until(lambda: said)
        (failed,) = await shown(tec, status="failed")
        assert (failed["id"], failed["output"]) == ("f1", "not forwarded: more than 2 events waited for far")
    server.close()
    assert said == [
        (
            "notice",
            [
                "TEC_Error",
                {
                    "msg": "1 events for far are not forwarded: more than 2 wait (tasks.forward_limit); "
                    "`tec task log --status failed` names them",
                    "source": "TEC",
                    "hostname": "tec",
                },
            ],
        )
    ]


async def test_a_complaint_that_nobody_takes_is_in_the_log(context: Context, caplog: Any) -> None:
    async with dispatching(context) as tec:
        await tec.work("dispatch")._complain("too many")
    assert "too many" in caplog.text and "it cannot be posted" in caplog.text
    await asyncio.sleep(0)
