"""The outbox as dispatch keeps it: tasks that operators ask for, what people ask about it, and what is deleted."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from opentec.events.image import EventKey, key_name
from opentec.rim.batch import OutboxRow
from opentec.rim.outbox import PAGE, STEP, OutboxTask
from opentec.rim.repository import Repository
from opentec.rules.event import Event, Shapes
from opentec.rules.predicates.execution import environment_of
from opentec.server.child import Context
from opentec.server.errors import ConfigError, Refused
from opentec.server.library import FILE_NAME, Library, TaskRefused, command_of, load_library
from opentec.server.progress import Word

HOUSEKEEPING: Final = 10.0  # seconds
_STEPS: Final = 100  # of one kind in one round
_BETWEEN: Final = 0.05  # seconds between two of them, in which batches are written
_ID: Final = re.compile(r"[0-9a-f]{32}")
_ARGUMENTS: Final = 256
_ARGUMENT_BYTES: Final = 65_536  # of all of them
_WAITING: Final = 10_000  # tasks that may wait; beyond it operators are refused
_FORWARD: Final = "forward:"


class TaskRequest(msgspec.Struct):
    """What an operator asks for. The id is the asker's, so a request that is repeated is the same one."""

    id: str
    task: str
    arguments: list[str]
    event: EventKey | None = None


def read_library(context: Context) -> Library:
    """The task library as it is now; raises Refused with everything that is wrong with it."""
    try:
        return load_library(context.instance.directory / FILE_NAME)
    except ConfigError as error:
        raise Refused(f"the task library cannot be used:\n{error}") from error


def known_tasks(context: Context) -> dict[str, Any]:
    """The library for `tec task list` and `tec task show`."""
    library = read_library(context)
    return {
        "tasks": [msgspec.to_builtins(task) | {"arguments": task.arguments} for task in library.tasks.values()],
        "roles": {role: list(members) for role, members in library.roles.items()},
    }


async def operator_task(repository: Repository, context: Context, uid: int, user: str, argument: Any) -> OutboxRow:
    """The row for a TaskRequest, as plain data. The uid is that of the socket. Raises Refused, RepositoryError."""
    try:
        request = msgspec.convert(argument, TaskRequest)
    except msgspec.ValidationError as error:
        raise Refused(f"task-run needs id, task, arguments and event: {error}") from error
    name, arguments = request.task, request.arguments
    if not _ID.fullmatch(request.id):
        raise Refused("a request is named by 32 hexadecimal digits")
    if len(arguments) > _ARGUMENTS or sum(len(word.encode()) for word in arguments) > _ARGUMENT_BYTES:
        raise Refused(f"{_ARGUMENTS} arguments at most, of {_ARGUMENT_BYTES} bytes together")
    if any("\0" in word for word in arguments):
        raise Refused("an argument holds no zero byte")
    library = read_library(context)
    try:
        task = library.task(name)
        roles = library.roles_of(uid)
        if not task.allows(roles):
            needed = ", ".join(role for role in task.roles if role != "rule") or "super"
            raise Refused(
                f"{user} may not run task {name}: it needs the role {needed}, "
                f"{user} has {', '.join(roles) or 'none'}; [roles] in {FILE_NAME} gives roles"
            )
        eid, environment = await _event(repository, context, request.event)
        command_of(task, arguments, environment)  # what is missing is said now, not in the log of tasks
    except TaskRefused as error:
        raise Refused(str(error)) from error
    waiting = sum(number for kind, number in (await repository.open_outbox()).items() if not kind.startswith(_FORWARD))
    if waiting >= _WAITING:
        raise Refused(f"{waiting} programs wait already; `tec task log` shows them")
    data = {
        "argv": arguments,
        "environment": environment,
        "event": environment.get("EVENT", ""),
        "operator": user,
    }
    text = msgspec.json.encode(data).decode()
    return OutboxRow(request.id, context.progress[Word.COMMITTED], eid, f"task:{name}", text)


async def _event(repository: Repository, context: Context, key: EventKey | None) -> tuple[int | None, dict[str, str]]:
    """The eid of an event, and what a program sees of it."""
    if key is None:
        return None, {}
    row = await repository.event_by_key(key)
    if row is None:
        raise Refused(f"there is no event {key_name(key)}")
    return row[0], environment_of(Event.from_row(row, Shapes(context.rule_base.classes)))


async def outbox_page(repository: Repository, argument: dict[str, Any]) -> list[dict[str, Any]] | None:
    """A page of the outbox for people, newest first: {event, id, status, before, limit}; None: no such event."""
    if argument.get("id"):
        row = await repository.outbox_task(str(argument["id"]))
        return [_shown(row)] if row is not None else []
    eid = None
    if argument.get("event") is not None:
        found = await repository.event_by_key(_key(argument["event"]))
        if found is None:
            return None
        eid = found[0]
    before = argument.get("before")
    rows = await repository.list_outbox(
        eid=eid,
        status=argument.get("status"),
        before=(int(before[0]), str(before[1])) if before else None,
        limit=int(argument.get("limit", PAGE)),
    )
    return [_shown(row) for row in rows]


def _shown(row: OutboxTask) -> dict[str, Any]:
    work = msgspec.json.decode(row.data)
    kind, _, name = row.kind.partition(":")
    argv = list(work.get("argv", ()))
    return {
        "id": row.id,
        "kind": kind,
        "name": name or (argv[0] if argv else ""),
        "arguments": argv if name else argv[1:],
        "event": work.get("event") or None,
        "operator": work.get("operator"),
        "class": (work.get("forward") or [None])[0] or work.get("environment", {}).get("CLASS_NAME"),
        "status": row.status,
        "exit_status": row.exit_status,
        "output": row.output,
        "node": row.node,
        "epoch": row.epoch,
        "claimed_at": row.claimed_at,
        "finished_at": row.finished_at,
        "position": row.position,
    }


async def keep_house(repository: Repository, context: Context) -> list[str]:
    """One round: count what is open, fail what is too much for one destination, delete what is too old.

    In steps of a few milliseconds each, with time for batches between them; what is left after _STEPS of them waits for
    the next round. Gives what an operator should hear of. Raises RepositoryError.
    """
    settings, epoch, now = context.config.tasks, context.epoch, time.time_ns() // 1000
    found = await repository.open_outbox()
    context.progress[Word.FORWARDS] = sum(number for kind, number in found.items() if kind.startswith(_FORWARD))
    context.progress[Word.PROGRAMS] = sum(found.values()) - context.progress[Word.FORWARDS]
    said = []
    for kind, number in found.items():
        if kind.startswith(_FORWARD) and number > settings.forward_limit:
            name = kind.removeprefix(_FORWARD)
            reason = f"not forwarded: more than {settings.forward_limit} events waited for {name}"
            failed = await _in_steps(repository.fail_oldest, kind, settings.forward_limit, epoch, now, reason)
            if failed:
                said.append(
                    f"{failed} events for {name} are not forwarded: more than {settings.forward_limit} wait "
                    "(tasks.forward_limit); `tec task log --status failed` names them"
                )
    await _in_steps(repository.prune_outbox, now - round(settings.retain_days * 86_400e6), epoch)
    return said


async def _in_steps(step: Callable[..., Awaitable[int]], *arguments: Any) -> int:
    """Repeat a step while it finds as much as it may take; gives how many rows there were."""
    total = 0
    for _ in range(_STEPS):
        done = await step(*arguments)
        total += done
        if done < STEP:
            break
        await asyncio.sleep(_BETWEEN)
    return total


def _key(argument: list[int]) -> EventKey:
    date, handle, server = argument
    return int(date), int(handle), int(server)
