"""`tec log`, wtdumprl: the reception log, each record with its disposition, in TEC's layout (tec-2.md 5).

1~N~65537~EPOCH(Mon DD HH:MM:SS YYYY)
### EVENT ###
CLASS;
slot=value;
END

### END EVENT ###
PROCESSED, WAITING, or PARSING_FAILED and a line that says why
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from opentec.commands.cli import Debug, Directory, Failure, Json, Status, say, say_json, visible
from opentec.commands.shown import event_text, utc
from opentec.events.image import key_name
from opentec.events.records import Disposition, name_of, parse_position
from opentec.events.text import decode_text

PAGE: Final = 500
_FIELDS: Final = ("1", "65537")  # the first and the third field of a header; what they mean is not known


def log(
    after: Annotated[
        str | None,
        typer.Option(metavar="rx:EPOCH:OFFSET", help="Begin behind this position.  [default: the oldest record]"),
    ] = None,
    directory: Directory = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Print the reception log, oldest first.

    Each record with what became of it, in the layout of TEC's wtdumprl.
    """
    from opentec.commands.source import open_source
    from opentec.server.instance import find_instance

    try:
        position = parse_position(after) if after else 0
    except ValueError as error:
        raise Failure(str(error), Status.USAGE) from error
    with open_source(find_instance(directory)) as source:
        for number, record in enumerate(records(source, position), 1):
            if json:
                say_json(object_of(record))
            else:
                say(text_of(record, number))


def records(source: Any, after: int = 0) -> Iterator[dict[str, Any]]:
    """The records behind position `after`, fetched in pages."""
    position: int | None = after
    while position is not None:
        page = source.ask("log", [position, PAGE])
        yield from page["records"]
        position = page["next"]


def text_of(record: dict[str, Any], number: int) -> str:
    """One record in TEC's layout, with the blank line behind it."""
    seconds = record["time"] // 1_000_000
    when = time.strftime("%b %d %H:%M:%S %Y", time.localtime(seconds))
    header = f"{_FIELDS[0]}~{number}~{_FIELDS[1]}~{seconds}({when})"
    return f"{header}\n### EVENT ###\n{_event(record)}\n### END EVENT ###\n{_disposition(record)}\n"


def _event(record: dict[str, Any]) -> str:
    slots = _slots(record)
    if slots is not None:
        return event_text(record["class"], slots)
    # what was rejected may be no event at all: one line that cannot be taken for the layout's own
    return visible(_sent(record)) + "\n"


def _slots(record: dict[str, Any]) -> dict[str, Any] | None:
    """The slots of a record that has any: those of the event, or of the change and the event it is for."""
    if "slots" not in record:
        return None
    if record["class"] == "CHANGE":
        return {"event": key_name(tuple(record["event"])), **record["slots"], "user": record["user"]}
    slots: dict[str, Any] = record["slots"]
    return slots


def _sent(record: dict[str, Any]) -> str:
    data: bytes = record.get("text") or b""
    return decode_text(data.strip(b"\x01\x03\r\n")) if data else ""


def _disposition(record: dict[str, Any]) -> str:
    match record["disposition"]:
        case Disposition.WAITING if not record["reason"]:
            return "WAITING"
        case Disposition.REJECTED | Disposition.FAILED | Disposition.WAITING:
            return f"PARSING_FAILED\nERROR: {visible(record['reason'] or 'no reason is known')}"
    return "PROCESSED"


def object_of(record: dict[str, Any]) -> dict[str, Any]:
    """The JSON object of a record: slots by name, `event`, `class`, `disposition`, `reason`, where and when."""
    name = name_of(record["position"])
    shown: dict[str, Any] = dict(_slots(record) or {})
    if "class" not in record:
        shown["text"] = _sent(record)
    if record.get("class") != "CHANGE":
        has_key = record["date_reception"] and record["event_handle"]
        shown["event"] = key_name((record["date_reception"], record["event_handle"], 1)) if has_key else name
    return shown | {
        "class": record.get("class"),
        "disposition": Disposition(record["disposition"]).name,
        "reason": record["reason"],
        "position": name,
        "time": utc(record["time"] / 1_000_000),
    }
