"""`tec trace`: from now on, say of some events also which rules did not fire, and why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from opentec.commands.change import verdict
from opentec.commands.cli import Debug, Directory, Failure, Json, Status, say, say_json, visible, warn
from opentec.events.records import name_of
from opentec.server.instance import Instance, find_instance

_HOURS: Final = 24
_LONGEST_HOURS: Final = 168
_Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait until the rules know.")]


def on(
    names: Annotated[
        list[str],
        typer.Argument(metavar="CLASS|HOST...", help="Classes, with all that inherit from them, and hostnames."),
    ],
    hours: Annotated[int, typer.Option(min=1, max=_LONGEST_HOURS, help="The trace ends by itself then.")] = _HOURS,
    wait: _Wait = 5.0,
    directory: Directory = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Trace events of a class or host: `tec why` then also says which rules did not fire.

    It says which condition said no, with the value it found, or at which goal an action ended. For events that arrive,
    or change, from now on.
    """
    unknown = _ask(find_instance(directory), names, hours, wait, json)
    for name, near in unknown.items():
        meant = f"; did you mean class {near!r}?" if near else ""
        if not json:
            warn(f"{visible(name)} is no class: it is taken for a hostname{visible(meant)}")


def off(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[CLASS|HOST]...", help="Names as they were given.  [default: all]")
    ] = None,
    wait: _Wait = 5.0,
    directory: Directory = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """End traces before their time."""
    _ask(find_instance(directory), names or [], 0, wait, json)


def list_traces(directory: Directory = None, json: Json = False, debug: Debug = False) -> None:
    """List what is traced, and until when."""
    from opentec.commands.source import open_source

    with open_source(find_instance(directory)) as source:
        found = source.ask("trace")
    for name, until in found:
        # the time of the log, which is the wall clock's as long as the server runs
        ends = datetime.fromtimestamp(until / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if json:
            say_json({"name": name, "until": ends})
        else:
            say(f"{visible(name)}  until {ends}")
    if not found and not json:
        say("nothing is traced")


def _ask(instance: Instance, names: list[str], hours: int, wait: float, json: bool) -> dict[str, str]:
    """Ask for a change of what is traced and report what became of it; gives the names that are no class."""
    from opentec.commands.link import connect

    with connect(instance, "reception.sock") as control:
        answer: dict[str, Any] = control.call("trace", {"names": names, "hours": hours})
    position = answer["position"]
    status, reason = verdict(instance, position, wait)
    if status is not Status.OK:
        raise Failure(reason, status)
    said = ", ".join(map(visible, names)) or "all"
    if json:
        say_json({"names": names, "hours": hours, "position": name_of(position), "unknown": sorted(answer["unknown"])})
    else:
        say(f"{said}: traced for {hours} h from {name_of(position)}" if hours else f"{said}: traced no more")
    return dict(answer["unknown"])
