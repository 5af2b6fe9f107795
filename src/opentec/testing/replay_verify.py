"""Does a replay come to what a live server stored? Compared row by row, inside SQLite, so that memory stays flat."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec

from opentec.events.image import COLUMNS, key_name
from opentec.events.records import Disposition, name_of

OUTCOME: Final = ("position", "disposition", "eid", "date_reception", "event_handle", "reason", "rules")
TIMER: Final = ("id", "due", "eid", "data")
OUTBOX: Final = ("id", "position", "eid", "kind", "data")  # what rules said; the rest is what became of it
STATE: Final = ("key", "value")
_MISSING: Final = "nothing"
_BY_OPERATOR: Final = "json_extract(data, '$.operator') IS NOT NULL"


class Difference(NamedTuple):
    """One row that is not the same, or that one side has not."""

    table: str  # event, outcome, timer, outbox, state, position
    name: str  # of the row, as people know it
    column: str  # "" where a whole row is missing
    replayed: Any
    stored: Any

    def __str__(self) -> str:
        what = f" {self.column}" if self.column else ""
        return f"{self.table} {self.name}{what}: replayed {_shown(self.replayed)}, stored {_shown(self.stored)}"


def position_of_repository(path: Path, instance: str) -> int:
    """The committed position of a repository that no server has open. Raises ValueError, sqlite3.Error."""
    with closing(_open(path)) as connection:
        row = connection.execute("SELECT position, instance FROM stored.repository").fetchone()
    if row is None or row[1] != instance:
        raise ValueError(f"{path} is not the repository of this instance directory")
    return int(row[0])


def differences(replayed: Path, stored: Path, *, outbox_whole: bool = True) -> Iterator[Difference]:
    """Everything that differs between two repositories at the same position; both are only read.

    Compared are events with all their columns, outcomes, timers, what rules remember, and what they put into the
    outbox; not what became of that, nor what operators asked for. `outbox_whole` False: what was deleted from the
    stored outbox when its time was over is left out. Raises sqlite3.Error.
    """
    with closing(_open(stored)) as connection:
        connection.execute("ATTACH DATABASE ? AS replayed", (_uri(replayed),))
        yield from _position(connection)
        yield from _rows(connection, "event", COLUMNS)
        yield from _rows(connection, "outcome", OUTCOME)
        yield from _rows(connection, "timer", TIMER)
        yield from _rows(connection, "rule_state", STATE)
        yield from _rows(connection, "outbox", OUTBOX, missing=outbox_whole, without=_BY_OPERATOR)


def _position(connection: sqlite3.Connection) -> Iterator[Difference]:
    places = [connection.execute(f"SELECT position FROM {side}.repository").fetchone()[0] for side in _SIDES]  # noqa: S608
    if places[0] != places[1]:
        yield Difference("position", "of the log", "", *map(name_of, places))


_SIDES: Final = ("replayed", "stored")


def _rows(
    connection: sqlite3.Connection, table: str, columns: Sequence[str], *, missing: bool = True, without: str = ""
) -> Iterator[Difference]:
    """Rows of one table by its first column, which is its key."""
    key = columns[0]
    both = ", ".join([*(f'x."{name}"' for name in columns), *(f'y."{name}"' for name in columns)])
    differ = " OR ".join(f'x."{name}" IS NOT y."{name}"' for name in columns[1:])
    found = connection.execute(
        f"SELECT {both} FROM replayed.{table} AS x JOIN stored.{table} AS y ON x.{key} = y.{key} "  # noqa: S608
        f"WHERE {differ} ORDER BY x.{key}"
    )
    for row in found:
        yield from _columns(table, columns, row[: len(columns)], row[len(columns) :])
    for side, other in (_SIDES, _SIDES[::-1]):
        if side == "replayed" and not missing:
            continue
        where = f" AND NOT ({without})" if without else ""
        alone = connection.execute(
            f"SELECT * FROM {side}.{table} WHERE {key} NOT IN (SELECT {key} FROM {other}.{table}){where} ORDER BY {key}"  # noqa: S608
        )
        for row in alone:
            there = _said(table, row)
            pair = (there, _MISSING) if side == "replayed" else (_MISSING, there)
            yield Difference(_title(table), _name(table, row), "", *pair)


def _columns(table: str, columns: Sequence[str], one: Sequence[Any], two: Sequence[Any]) -> Iterator[Difference]:
    for column, mine, theirs in zip(columns, one, two, strict=True):
        if mine != theirs:
            if isinstance(mine, bytes) and isinstance(theirs, bytes):
                mine, theirs = msgspec.msgpack.decode(mine), msgspec.msgpack.decode(theirs)
            if mine != theirs:
                yield Difference(_title(table), _name(table, one), column, mine, theirs)


def _title(table: str) -> str:
    return "state" if table == "rule_state" else table


def _name(table: str, row: Sequence[Any]) -> str:
    if table == "event":
        return event_name(row)
    if table in ("outcome", "outbox"):
        return name_of(row[OUTCOME.index("position")] if table == "outcome" else row[OUTBOX.index("position")])
    return str(row[0])


def event_name(row: Sequence[Any]) -> str:
    """The key of an event's row."""
    date, handle, server = (row[COLUMNS.index(name)] for name in ("date_reception", "event_handle", "server_handle"))
    return key_name((date, handle, server))


def _said(table: str, row: Sequence[Any]) -> str:
    """One row in a few words."""
    if table == "event":
        return f"{row[COLUMNS.index('class')]}: {row[COLUMNS.index('msg')]}"
    if table == "outcome":
        return Disposition(row[1]).name
    if table == "outbox":
        return f"{row[3]} {row[4]}"
    value = msgspec.msgpack.decode(row[1]) if table == "rule_state" else row[1:]
    return str(value)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _open(stored: Path) -> sqlite3.Connection:
    connection = sqlite3.connect("file::memory:", uri=True, isolation_level=None)
    try:
        connection.execute("PRAGMA temp_store = FILE")
        connection.execute("ATTACH DATABASE ? AS stored", (_uri(stored),))
    except BaseException:
        connection.close()
        raise
    return connection


def _uri(path: Path) -> str:
    return f"file:{quote(str(path.absolute()))}?mode=ro"
