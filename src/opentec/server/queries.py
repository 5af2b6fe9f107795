"""What commands ask dispatch: lists, dumps, summaries. Pages only, so that a dump cannot hold up ingest."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from opentec.events.image import COLUMNS
from opentec.events.records import Kind, Record, decode_change, decode_event, decode_rejected
from opentec.log.codec import DAMAGED
from opentec.rim.queries import PAGE, EventFilter
from opentec.rim.repository import Repository
from opentec.server.child import Context
from opentec.server.errors import Refused
from opentec.server.outbox import known_tasks, outbox_page
from opentec.server.progress import Word

_DUMPED: Final = (Kind.EVENT, Kind.NOTICE, Kind.CHANGE, DAMAGED)
_COUNTED: Final = 1_000_000


async def answer(repository: Repository, context: Context, operation: str, argument: Any) -> Any:
    """One query. Raises Refused for an unknown operation or a wrong argument, RepositoryError."""
    match operation:
        case "columns":
            return COLUMNS
        case "list":
            return await _list(repository, context, argument)
        case "dump":
            return await _dump(repository, context, argument)
        case "event":
            return await repository.event_by_key(_key(argument))
        case "why":
            return await _why(repository, argument)
        case "trace":
            return await repository.rule_value("trace") or []
        case "counts":
            return await repository.counts()
        case "log":
            return await _log_page(repository, context, *argument)
        case "waiting":
            return await asyncio.to_thread(_waiting, context)
        case "tasks":
            return known_tasks(context)
        case "outbox":
            return await outbox_page(repository, argument)
        case "integrity":
            return await repository.integrity_check()
    raise Refused(f"dispatch has no operation {operation!r}")


def _filter(context: Context, argument: dict[str, Any]) -> EventFilter:
    """Class names of a query include what inherits from them."""
    classes = argument.get("classes")
    if classes:
        table = context.rule_base.classes
        for name in classes:
            if name not in table.classes:
                from opentec.events.errors import EventRejected

                try:
                    table.get(name)
                except EventRejected as error:
                    raise Refused(str(error)) from error
        wanted = set(classes)
        classes = tuple(name for name, line in table.ancestors.items() if wanted.intersection(line))
    statuses = argument.get("statuses")
    return EventFilter(
        classes=classes or None,
        statuses=tuple(statuses) if statuses else None,
        severity=argument.get("severity"),
        hostname=argument.get("hostname"),
        since=argument.get("since"),
        until=argument.get("until"),
    )


async def _list(repository: Repository, context: Context, argument: dict[str, Any]) -> Any:
    try:
        return await repository.list_events(
            _filter(context, argument), before_eid=argument.get("before"), limit=argument.get("limit", PAGE)
        )
    except ValueError as error:
        raise Refused(str(error)) from error


async def _dump(repository: Repository, context: Context, argument: dict[str, Any]) -> Any:
    """One page, oldest first, behind `after`."""
    return await repository.cached_events(0, 0, argument.get("after", 0), argument.get("limit", PAGE))


async def _why(repository: Repository, key: list[int]) -> Any:
    date, handle, server = (int(part) for part in key)
    name = (date, handle, server)
    outcome = await repository.outcome_of_event(name)
    if outcome is None:
        return None
    later = await repository.later_outcomes(name, outcome.position)
    return {"outcome": outcome, "event": await repository.event_by_key(name), "later": later}


async def _log_page(repository: Repository, context: Context, after: int, limit: int) -> dict[str, Any]:
    """A page of the reception log behind position `after`, each record with its disposition (wtdumprl)."""
    published = context.progress[Word.DURABLE]
    records, position = await asyncio.to_thread(_read, context, after, published, min(limit, PAGE))
    outcomes = {}
    if records:
        found = await repository.outcomes(records[0].position, records[-1].after)
        outcomes = {outcome.position: outcome for outcome in found}
    return {
        "records": [_shown(record, outcomes.get(record.position)) for record in records if record.kind in _DUMPED],
        "next": position if position < published and records else None,
    }


def _read(context: Context, after: int, limit: int, count: int) -> tuple[list[Record], int]:
    reader = context.log.reader(after)
    try:
        return reader.read(limit, count), reader.position
    finally:
        reader.close()


def _waiting(context: Context) -> int:
    """Events in the log that are not committed yet; counting stops at _COUNTED."""
    count = 0
    durable = context.progress[Word.DURABLE]
    reader = context.log.reader(context.progress[Word.COMMITTED])
    try:
        while count < _COUNTED and (page := reader.read(durable, PAGE)):
            count += sum(1 for record in page if record.kind in _DUMPED)
    finally:
        reader.close()
    return count


def _shown(record: Record, outcome: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "position": record.position,
        "time": record.time,
        "kind": record.kind,
        "disposition": outcome.disposition if outcome else 0,
        "reason": outcome.reason if outcome else None,
        "date_reception": outcome.date_reception if outcome else 0,
        "event_handle": outcome.event_handle if outcome else 0,
    }
    if record.kind == DAMAGED:
        shown["reason"] = shown["reason"] or "the record is damaged"
    elif record.kind == Kind.CHANGE:
        change = decode_change(record.payload)
        shown |= {"class": "CHANGE", "slots": change.slots, "event": change.event, "user": change.user}
    elif record.verdict:
        rejected = decode_rejected(record.payload)
        shown |= {"text": rejected.text, "reason": rejected.reason, "disposition": 3}
    else:
        event = decode_event(record.payload)
        shown |= {"class": event.class_name, "slots": event.slots}
    if record.file:
        shown |= {"file": record.file, "end_offset": record.end_offset}
    if record.sequence:
        shown |= {"sender": record.sender.hex(), "sequence": record.sequence}
    return shown


def _key(argument: list[int]) -> tuple[int, int, int]:
    date, handle, server = argument
    return int(date), int(handle), int(server)
