"""`tec task`: the task library, running a task, and what became of programs, tasks and forwarded events."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from opentec.commands.cli import Debug, Directory, Failure, Json, Status, say, say_json, visible, warn
from opentec.commands.shown import utc
from opentec.events.image import parse_key
from opentec.events.names import nearest
from opentec.server.errors import NotRunning

PAGE: Final = 200
_POLL: Final = 0.1  # seconds between looks at a task that runs
_LONGEST: Final = 86_400.0
_WIDEST: Final = 40  # characters of one column but the last
_LAST_LINE: Final = 200  # characters of the last one
_OPEN: Final = ("waiting", "claimed")
_STATUSES: Final = (*_OPEN, "done", "failed", "interrupted")
_TASKS: Final = ("TASK", "ROLES", "ARGUMENTS", "DESCRIPTION")
_ROWS: Final = ("ID", "ENDED", "EVENT", "KIND", "NAME", "STATUS", "EXIT", "OUTPUT")

Name = Annotated[str, typer.Argument(metavar="TASK", help="Name of a task, as `tec task list` prints it.")]


def list_tasks(directory: Directory = None, json: Json = False, debug: Debug = False) -> None:
    """List the tasks of the library.

    Columns: name, roles that may run it, how many arguments it needs, what it is for.
    """
    tasks = _library(directory)["tasks"]
    if json:
        for task in tasks:
            say_json(task)
        return
    if not tasks:
        warn("the library is empty; a [task.NAME] in tasks.toml makes a task")
        return
    _print([_TASKS, *[(t["name"], _roles(t), str(t["arguments"]), t["description"]) for t in tasks]])


def show(task: Name, directory: Directory = None, json: Json = False, debug: Debug = False) -> None:
    """Show one task of the library; exit status 3 when there is no such task."""
    tasks = {found["name"]: found for found in _library(directory)["tasks"]}
    if task not in tasks:
        from opentec.server.library import nearest_text

        raise Failure(f"there is no task {task!r} in tasks.toml{nearest_text(task, tasks)}", Status.REFUSED)
    found = tasks[task]
    if json:
        say_json(found)
        return
    rows = {
        "task": found["name"],
        "description": found["description"],
        "program": " ".join(map(repr, found["program"])),
        "roles": _roles(found),
        "time limit": f"{found['time_limit']:g} s" if found["time_limit"] else "that of the server",
        "at a time": found["concurrency"] or "as many as the server runs",
        "environment": ", ".join(found["environment"]),
    }
    for label, value in rows.items():
        if value:
            say(f"{label:<11}  {visible(str(value))}")


def run(
    task: Name,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[ARGUMENT...]", help="Arguments; those with a dash behind `--`.")
    ] = None,
    event: Annotated[
        str | None,
        typer.Option(
            "-e",
            "--event",
            metavar="EVENT",
            help="Key of the event that it is for: its slots are filled in.  [default: none]",
        ),
    ] = None,
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0, help="How long to wait until it has ended.")
    ] = 30.0,
    directory: Directory = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Run a task of the library, once.

    It needs one of the task's roles. Exit status 0 it ended well, 1 it failed, 3 refused, 4 no server, 5 not ended
    within --wait.
    """
    from opentec.commands.link import connect
    from opentec.server.instance import find_instance

    key = _key(event)
    request = uuid.uuid4().hex
    instance = find_instance(directory)
    asked = {"id": request, "task": task, "arguments": arguments or [], "event": key}
    with connect(instance, "dispatch.sock") as control:
        try:
            control.call("task-run", asked)
            row = _wait(control, request, min(wait, _LONGEST))
        except NotRunning as error:
            # it may have been taken: to ask again could run it twice
            raise Failure(
                f"{error}; `tec task log --id {request}` says whether it was taken", Status.NOT_YET
            ) from error
    _ended(row, json)


def log(
    event: Annotated[
        str | None, typer.Argument(metavar="[EVENT]", help="Key of an event.  [default: all events]")
    ] = None,
    status: Annotated[
        str | None,
        typer.Option(metavar="STATUS", help="waiting, claimed, done, failed or interrupted.  [default: all]"),
    ] = None,
    row: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Only this row of the outbox.  [default: all]")
    ] = None,
    number: Annotated[int, typer.Option("-n", "--number", metavar="N", min=0, help="How many at most; 0 = all.")] = 50,
    directory: Directory = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what became of programs, tasks and forwarded events, newest first.

    Columns: row of the outbox, when it ended (UTC), event, program, task or forward, its name, status, exit status,
    the end of its output. Exit status 3 when there is no such event or row.
    """
    from opentec.commands.link import active
    from opentec.commands.source import open_source
    from opentec.server.instance import find_instance

    if status is not None and status not in _STATUSES:
        near = nearest(status, _STATUSES)
        hint = f"; did you mean {near!r}?" if near else ""
        raise Failure(f"--status {status!r}: there are {', '.join(_STATUSES)}{hint}", Status.USAGE)
    wanted = {"event": _key(event), "id": row, "status": status}
    instance = find_instance(directory)
    with open_source(instance) as source:
        shown, is_held = 0, False
        for page, is_cut in _pages(source, wanted, number):
            if page is None:
                raise Failure(f"there is no event {event}", Status.REFUSED)
            if json:
                for found in page:
                    say_json(found)
            elif page:
                _print([*([_ROWS] if not shown else []), *map(_cells, page)])
            shown += len(page)
            is_held = is_held or any(found["kind"] == "forward" and found["status"] in _OPEN for found in page)
            if is_cut and not json:
                warn("there are more; -n 0 shows all")
    if is_held and not json:
        newest = active(instance)
        path = instance.logs(newest.node if newest is not None else "NODE") / "tec_task.log"
        warn(f"events wait for another server; if they go on to wait, {path} says why")
    if row is not None and not shown:
        raise Failure(f"there is no row {row} in the outbox; ended ones are kept for tasks.retain_days", Status.REFUSED)
    if not shown and not json:
        warn("nothing")


def _library(directory: Path | None) -> dict[str, Any]:
    from opentec.commands.source import open_source
    from opentec.server.instance import find_instance

    with open_source(find_instance(directory)) as source:
        library: dict[str, Any] = source.ask("tasks")
    return library


def _roles(task: dict[str, Any]) -> str:
    return ", ".join(task["roles"]) or "rule, super"


def _key(event: str | None) -> list[int] | None:
    try:
        return list(parse_key(event)) if event is not None else None
    except ValueError as error:
        raise Failure(str(error), Status.USAGE) from error


def _wait(control: Any, request: str, seconds: float) -> dict[str, Any]:
    """The row of a request, once it has ended or that time has passed."""
    end = time.monotonic() + seconds
    while True:
        row: dict[str, Any] = control.call("outbox", {"id": request})[0]
        if row["status"] not in _OPEN or time.monotonic() >= end:
            return row
        time.sleep(_POLL)


def _ended(row: dict[str, Any], json: bool) -> None:
    status = Status.OK if row["status"] == "done" else Status.NOT_YET if row["status"] in _OPEN else Status.FAILED
    if json:
        say_json(row)
    else:
        for line in (row["output"] or "").splitlines():
            say(visible(line))
        exit_status = f", exit status {row['exit_status']}" if row["exit_status"] else ""
        if status is Status.NOT_YET:
            warn(f"{row['name']}: {row['status']}; `tec task log --id {row['id']}` says what becomes of it")
        elif status is Status.FAILED:
            warn(f"{row['name']}: {row['status']}{exit_status}")
    raise typer.Exit(status)


def _pages(source: Any, wanted: dict[str, Any], number: int) -> Iterator[tuple[list[dict[str, Any]] | None, bool]]:
    """Pages, `number` rows in all (0: no limit); True with the last one when there are more. None: no such event."""
    before, left = None, number
    while True:
        limit = min(PAGE, left + 1) if number else PAGE
        page = source.ask("outbox", {**wanted, "before": before, "limit": limit})
        if page is None:
            yield None, False
            return
        if number and len(page) > left:
            yield page[:left], True
            return
        yield page, False
        if wanted["id"] or len(page) < limit:
            return
        left -= len(page)
        before = [page[-1]["position"], page[-1]["id"]]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    ended = utc(row["finished_at"] / 1e6) if row["finished_at"] else ""
    output = (row["output"] or "").strip().splitlines()
    exit_status = "" if row["exit_status"] is None else str(row["exit_status"])
    values = (row["id"], ended, row["event"] or "", row["kind"], row["name"], row["status"], exit_status)
    last = visible(output[-1]) if output else ""
    return (*(visible(value) for value in values), last if len(last) <= _LAST_LINE else f"{last[: _LAST_LINE - 3]}...")


def _print(lines: list[tuple[str, ...]]) -> None:
    widths = [min(_WIDEST, max(len(line[index]) for line in lines)) for index in range(len(lines[0]) - 1)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=False)]
        say("  ".join([*cells, line[-1]]).rstrip())
