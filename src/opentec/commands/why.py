"""`tec why`: what became of an event, and which rules made it so."""

from __future__ import annotations

import json as json_text
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from opentec.commands.cli import Debug, Directory, Failure, Json, Status, say, say_json, visible
from opentec.commands.shown import column, key_of, object_of
from opentec.events.image import key_name, parse_key
from opentec.events.records import Disposition, name_of, parse_position
from opentec.log.errors import LogError
from opentec.server.errors import Refused

if TYPE_CHECKING:
    from opentec.commands.source import Source

_FIRED: Final = ("rule_set", "rule", "actions", "did", "event", "timer", "ended")
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
        report = report_of(event, found["outcome"], found["event"], found["later"]) if found is not None else None
        for one in (report, *report["later"]) if report is not None else ():
            one |= _asked(source, one)
    if report is None:
        raise Failure(
            f"no outcome of {event} is known: it does not exist, waits for its commit, or is older than what is kept",
            Status.REFUSED,
        )
    if json:
        say_json(report)
    else:
        show(report)


def report_of(name: str, outcome: list[Any], row: list[Any] | None, later: Sequence[list[Any]] = ()) -> dict[str, Any]:
    """What is known, as one object; `later` holds the outcomes that changed the event afterwards, newest first."""
    position, disposition, eid, date, handle, reason, rules = outcome
    fired, refused = _rules(rules)
    derived = row is not None and eid is not None and column(row, "eid") != eid
    return {
        "event": key_of(row) if row is not None else key_name((date, handle, 1)) if date else name,
        "disposition": Disposition(disposition).name,
        "reason": reason,
        "position": name_of(position),
        "derived": derived,
        "rules": fired,
        "did_not_fire": refused,
        "later": [report_of(name_of(other[0]), other, None) for other in later],
        "slots": object_of(row) if row is not None else None,
    }


def _asked(source: Source, report: dict[str, Any]) -> dict[str, Any]:
    """Of a change: who asked for what, as the log has it; nothing where the log is no longer kept."""
    if report["disposition"] not in _OF_CHANGES:
        return {}
    position = parse_position(report["position"])
    try:
        records = source.ask("log", [position, 1])["records"]
    except (Refused, LogError):
        return {}
    if not records or records[0]["position"] != position or "user" not in records[0]:
        return {}
    return {"user": records[0]["user"], "asked": records[0]["slots"]}


def _rules(rules: str | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rules that fired, and of a traced event those that did not, each with what said no."""
    fired: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    for entry in json_text.loads(rules) if rules else []:
        one = dict(zip(_FIRED, entry, strict=False))
        if "ended" in one and not one["actions"]:
            refused.append({name: one[name] for name in ("rule_set", "rule", "event", "timer")} | {"no": one["ended"]})
        else:
            fired.append(one)
    return fired, refused


def show(report: dict[str, Any]) -> None:
    slots = report["slots"]
    say(f"{_subject(report)}: {report['disposition']}, log {report['position']}")
    if report["derived"]:
        say("  it was derived by a rule from the event of that record")
    elif slots and report["disposition"] == Disposition.FIRED.name:
        say("  it was derived there: by a timer rule, or because a rule base was activated")
    if report["reason"]:
        say(f"  {visible(report['reason'])}")
    if slots and slots.get("cause_date_reception"):
        cause = key_name((slots["cause_date_reception"], slots["cause_event_handle"], 1))
        say(f"  its cause is {cause}")
    if not report["rules"] and report["disposition"] != Disposition.REJECTED.name and not _is_trace(report):
        say("  no rule fired")
    _show_rules(report, "  ")
    for other in report["later"]:
        say(f"  later{_cause(other)}: {other['disposition']}, log {other['position']}")
        if other["reason"]:
            say(f"    {visible(other['reason'])}")
        _show_rules(other, "    ")


def _subject(report: dict[str, Any]) -> str:
    if _is_trace(report):
        return "change of what is traced"
    if report["disposition"] in _OF_CHANGES:
        return f"change of {report['event']}{_by(report)}"
    slots = report["slots"]
    return str(report["event"]) + (f" {slots['class']} ({slots['status']})" if slots else "")


def _is_trace(report: dict[str, Any]) -> bool:
    """A change of an event names the event, also of one that is not there."""
    return report["disposition"] in _OF_CHANGES and str(report["event"]).startswith("rx:")


def _cause(later: dict[str, Any]) -> str:
    """What made an event change, before the colon."""
    if later["disposition"] in _OF_CHANGES:
        return f" a change{_by(later)}"
    return "" if later["disposition"] == Disposition.FIRED.name else f" {later['event']}"


def _by(change: dict[str, Any]) -> str:
    """Who asked for a change, and for what; "" where that is not known."""
    if "user" not in change:
        return ""
    asked = ", ".join(f"{name}={value}" for name, value in change["asked"].items())
    return visible(f" by {change['user']}, {asked}")


def _show_rules(report: dict[str, Any], indent: str) -> None:
    for fired in report["rules"]:
        if fired["rule"]:
            names = ", ".join(map(str, fired["actions"]))
            say(f"{indent}rule {_named(fired)}" + (f", {names}" if names else ""))
        for line in (*fired["did"], *fired.get("ended", ())):
            say(f"{indent}  {visible(str(line))}")
    if report["did_not_fire"]:
        say(f"{indent}did not fire:")
    for refused in report["did_not_fire"]:
        say(f"{indent}  rule {_named(refused)}")
        for line in refused["no"]:
            say(f"{indent}    {visible(str(line))}")


def _named(rule: dict[str, Any]) -> str:
    whose = f" for {rule['event']}" if rule.get("event") else ""
    timer = " when its timer was due" if rule.get("timer") is not None else ""
    return visible(f"{rule['rule_set']}/{rule['rule']}{whose}{timer}")
