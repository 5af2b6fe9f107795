"""`tec list`: events of the repository, newest first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer

from opentec.commands.cli import Debug, Directory, Failure, Json, Status, say, say_json, visible, warn
from opentec.commands.shown import column, key_of, object_of, utc
from opentec.events.names import nearest

PAGE: Final = 1000
STATUSES: Final = ("OPEN", "RESPONSE", "ACK", "CLOSED")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_HEAD: Final = ("EVENT", "RECEIVED", "CLASS", "HOST", "SEVERITY", "STATUS", "REPEAT", "MSG")
_WIDEST: Final = 40  # characters of one column but the last


def list_events(
    class_name: Annotated[
        list[str] | None,
        typer.Option(
            "--class", metavar="CLASS", help="Only this class and those below it; may be repeated.  [default: all]"
        ),
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(metavar="STATUS", help="Only this status; may be repeated.  [default: all]"),
    ] = None,
    severity: Annotated[
        str | None, typer.Option(metavar="SEVERITY", help="Only this severity and higher.  [default: all]")
    ] = None,
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="Only where slot hostname is this.  [default: all]")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Received since: 10m, 2h, 3d ago, or ISO 8601 (local unless it says).  [default: all]"
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Received before that time.  [default: all]")
    ] = None,
    number: Annotated[int, typer.Option("-n", "--number", metavar="N", min=0, help="How many at most; 0 = all.")] = 50,
    directory: Directory = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List events, newest first.

    Columns: key, time of reception (UTC), class, host, severity, status, times repeated, message.
    """
    from opentec.commands.source import open_source
    from opentec.server.instance import find_instance

    now = datetime.now(UTC)
    wanted = {
        "classes": class_name or None,
        "statuses": [name.upper() for name in status] if status else None,
        "severity": severity.upper() if severity else None,
        "hostname": host,
        "since": time_of(since, now) if since else None,
        "until": time_of(until, now) if until else None,
    }
    with open_source(find_instance(directory)) as source:
        shown = 0
        for page, is_cut in pages(source, wanted, number):
            if json:
                for row in page:
                    say_json(object_of(row))
            else:
                _print(page, with_head=not shown)
            shown += len(page)
            if is_cut and not json:
                warn("there are more; -n 0 shows all")
        if not shown and not json:
            # a rule base may have statuses of its own, so another one is not refused
            asked = [name.upper() for name in status or ()]
            meant = [near for name in asked if (near := nearest(name, STATUSES)) not in ("", name)]
            warn("no events" + (f"; did you mean --status {meant[0]}?" if meant else ""))
    raise typer.Exit(Status.OK)


def pages(source: Any, wanted: dict[str, Any], number: int) -> Iterator[tuple[list[list[Any]], bool]]:
    """Pages of rows, newest first, `number` in all (0: no limit); True with the last one when there are more."""
    before, left = None, number
    while True:
        limit = min(PAGE, left + 1) if number else PAGE
        page = source.ask("list", {**wanted, "before": before, "limit": limit})
        full = len(page) == limit
        if number and len(page) > left:
            yield page[:left], True
            return
        if page:
            yield page, False
            left -= len(page)
            before = column(page[-1], "eid")
        if not full:
            return


def time_of(text: str, now: datetime) -> int:
    """Seconds since 1970 of `10m` (ago) or an ISO 8601 time; raises Failure."""
    if found := re.fullmatch(r"(\d{1,6})([smhdw])", text):
        return int((now - timedelta(seconds=int(found[1]) * _UNITS[found[2]])).timestamp())
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError):
        raise Failure(f"{text!r} is not a time: 90s, 10m, 2h, 3d or 2026-03-01T08:00:00Z", Status.USAGE) from None


def _print(page: list[list[Any]], *, with_head: bool) -> None:
    lines: list[tuple[str, ...]] = [_HEAD] if with_head else []
    lines += [_cells(row) for row in page]
    widths = [min(_WIDEST, max(len(line[index]) for line in [_HEAD, *lines])) for index in range(len(_HEAD) - 1)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=False)]
        say("  ".join([*cells, line[-1]]).rstrip())


def _cells(row: list[Any]) -> tuple[str, ...]:
    values = (
        key_of(row),
        utc(column(row, "date_reception")),
        *(column(row, name) for name in ("class", "hostname", "severity", "status", "repeat_count", "msg")),
    )
    return tuple(visible("" if value is None else str(value)) for value in values)
