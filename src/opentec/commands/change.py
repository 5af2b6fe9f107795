"""`tec ack` and `tec close`: an operator's change of events, through the log, and its verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from opentec.commands.cli import Debug, Directory, Failure, Json, Status, say, say_json, warn
from opentec.commands.link import connect
from opentec.events.image import parse_key
from opentec.events.records import Disposition, name_of
from opentec.server.errors import NotRunning, Refused
from opentec.server.instance import Instance, find_instance

Events = Annotated[
    list[str],
    typer.Argument(metavar="EVENT...", help="Keys of events, DATE_RECEPTION.EVENT_HANDLE, as `tec list` prints them."),
]
Wait = Annotated[
    float, typer.Option("--wait", metavar="SECONDS", min=0, help="How long to wait until the change is applied.")
]

_LONGEST: Final = 3600.0
_MARGIN: Final = 10.0  # seconds that an answer may take beyond what was asked to wait


def ack(
    events: Events, wait: Wait = 5.0, directory: Directory = None, json: Json = False, debug: Debug = False
) -> None:
    """Acknowledge events.

    Their status becomes ACK. Exit status 0 applied, 3 refused or unknown, 4 no server, 5 durable but not applied
    within --wait.
    """
    _change(directory, events, "ACK", wait, json)


def close(
    events: Events, wait: Wait = 5.0, directory: Directory = None, json: Json = False, debug: Debug = False
) -> None:
    """Close events.

    Their status becomes CLOSED. Exit status 0 applied, 3 refused or unknown, 4 no server, 5 durable but not applied
    within --wait.
    """
    _change(directory, events, "CLOSED", wait, json)


def _change(directory: Path | None, events: list[str], status: str, wait: float, json: bool) -> None:
    try:
        keys = [parse_key(name) for name in events]
    except ValueError as error:
        raise Failure(str(error), Status.USAGE) from error
    instance = find_instance(directory)
    worst = Status.OK
    with connect(instance, "reception.sock") as control:
        for name, key in zip(events, keys, strict=True):
            try:
                position = control.call("change", {"event": list(key), "slots": {"status": status}})
            except Refused as error:
                result, reason = Status.REFUSED, str(error)
            else:
                result, reason = verdict(instance, position, min(wait, _LONGEST))
            _report(name, status, result, reason, json)
            worst = _worse(worst, result)
    raise typer.Exit(worst)


def verdict(instance: Instance, position: int, wait: float) -> tuple[Status, str]:
    """What became of the change at `position`, which is durable: status and reason."""
    late = f"it is durable at {name_of(position)}, `tec why {name_of(position)}` says what became of it"
    try:
        with connect(instance, "dispatch.sock", timeout=wait + _MARGIN, patience=wait) as control:
            outcome: Any = control.call("verdict", [position, wait])
    except (NotRunning, Refused) as error:
        return Status.NOT_YET, f"{error}; {late}"
    if outcome is None:
        return Status.NOT_YET, f"not applied within {wait:g} s; {late}"
    disposition, reason = outcome[1], outcome[5]
    if disposition == Disposition.APPLIED:
        return Status.OK, ""
    return Status.REFUSED, reason or f"the change was not made ({Disposition(disposition).name})"


def _worse(one: Status, other: Status) -> Status:
    """REFUSED tells most: it will not mend by waiting."""
    order = (Status.OK, Status.NOT_YET, Status.REFUSED)
    return max(one, other, key=order.index)


def _report(name: str, status: str, result: Status, reason: str, json: bool) -> None:
    words = {Status.OK: "applied", Status.REFUSED: "refused", Status.NOT_YET: "durable"}
    if json:
        say_json({"event": name, "status": status, "result": words[result], "reason": reason})
    elif result is Status.OK:
        say(f"{name} {status}")
    else:
        warn(f"{name}: {reason}")
