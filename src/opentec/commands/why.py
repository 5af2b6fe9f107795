"""`tec why`: what became of an event, and which rules made it so."""

from __future__ import annotations

import json as json_text
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from opentec.commands.cli import Debug, Directory, Failure, Json, Status, say, say_json, visible
from opentec.commands.shown import column, key_of, object_of
from opentec.events.image import key_name, parse_key
from opentec.events.records import Disposition, name_of, parse_position

_FIRED: Final = ("rule_set", "rule", "actions", "did", "event", "timer")
_OF_CHANGES: Final = (Disposition.APPLIED.name, Disposition.REFUSED.name)


def why(
    event: Annotated[
        str,
        typer.Argument(
            metavar="EVENT", help="Key of an event, DATE_RECEPTION.EVENT_HANDLE, or a position rx:EPOCH:OFFSET."
        ),
    ],
    directory: Directory = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say which rules fired for an event.

    Also what became of it and what the rules did. Exit status 3 when there is no such event.
    """
    from opentec.commands.source import open_source
    from opentec.server.instance import find_instance

    try:
        position = parse_position(event) if event.startswith("rx:") else None
        key = parse_key(event) if position is None else None
    except ValueError as error:
        raise Failure(str(error), Status.USAGE) from error
    with open_source(find_instance(directory)) as source:
        if key is not None:
            found = source.ask("why", list(key))
        else:
            outcome = source.ask("verdict", [position, 0])
            found = {"outcome": outcome, "event": None, "later": []} if outcome is not None else None
    if found is None:
        raise Failure(
            f"no outcome of {event} is known: it does not exist, waits for its commit, or is older than what is kept",
            Status.REFUSED,
        )
    report = report_of(event, found["outcome"], found["event"], found["later"])
    if json:
        say_json(report)
    else:
        _show(report)


def report_of(name: str, outcome: list[Any], row: list[Any] | None, later: Sequence[list[Any]] = ()) -> dict[str, Any]:
    """What is known, as one object; `later` holds the outcomes that changed the event afterwards, newest first."""
    position, disposition, eid, date, handle, reason, rules = outcome
    derived = row is not None and eid is not None and column(row, "eid") != eid
    return {
        "event": key_of(row) if row is not None else key_name((date, handle, 1)) if date else name,
        "disposition": Disposition(disposition).name,
        "reason": reason,
        "position": name_of(position),
        "derived": derived,
        "rules": [dict(zip(_FIRED, fired, strict=False)) for fired in _fired(rules)],
        "later": [report_of(name_of(other[0]), other, None) for other in later],
        "slots": object_of(row) if row is not None else None,
    }


def _fired(rules: str | None) -> list[Any]:
    return list(json_text.loads(rules)) if rules else []


def _show(report: dict[str, Any]) -> None:
    slots = report["slots"]
    what = f" {slots['class']} ({slots['status']})" if slots else ""
    subject = f"change of {report['event']}" if report["disposition"] in _OF_CHANGES else f"{report['event']}{what}"
    say(f"{subject}: {report['disposition']}, log {report['position']}")
    if report["derived"]:
        say("  it was derived by a rule from the event of that record")
    elif slots and report["disposition"] == Disposition.FIRED.name:
        say("  it was derived there: by a timer rule, or because a rule base was activated")
    if report["reason"]:
        say(f"  {visible(report['reason'])}")
    if slots and slots.get("cause_date_reception"):
        cause = key_name((slots["cause_date_reception"], slots["cause_event_handle"], 1))
        say(f"  its cause is {cause}")
    if not report["rules"] and report["disposition"] != Disposition.REJECTED.name:
        say("  no rule fired")
    _show_rules(report["rules"], "  ")
    for other in report["later"]:
        say(f"  later{_cause(other)}: {other['disposition']}, log {other['position']}")
        _show_rules(other["rules"], "    ")


def _cause(later: dict[str, Any]) -> str:
    """What made an event change, before the colon."""
    if later["disposition"] in _OF_CHANGES:
        return " a change"
    return "" if later["disposition"] == Disposition.FIRED.name else f" {later['event']}"


def _show_rules(rules: list[dict[str, Any]], indent: str) -> None:
    for fired in rules:
        actions = fired.get("actions")
        names = ", ".join(map(str, actions)) if isinstance(actions, list) else str(actions or "")
        whose = f" for {fired['event']}" if fired.get("event") else ""
        timer = " when its timer was due" if fired.get("timer") is not None else ""
        say(f"{indent}rule {fired['rule_set']}/{fired['rule']}{whose}{timer}" + (f", {names}" if names else ""))
        did = fired.get("did")
        for line in did if isinstance(did, list) else [did] if did else []:
            say(f"{indent}  {visible(str(line))}")
