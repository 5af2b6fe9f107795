"""What differs between two replays of one recording: events, what would go out, and the rules that made it so.

Both repositories are compared inside SQLite, so that memory stays flat. An event is the same in both by its identity,
the record's position or the hash of what derived it; of derived events whose identity is another one (a timer of
another number made it), the first of a class at a position is paired with the first, and so on.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from opentec.events.image import BASE_SLOTS
from opentec.events.records import Disposition
from opentec.rules.engine import LOADED
from opentec.testing.replay import OWN_POSITION

OLD: Final = 0
NEW: Final = 1
SIDES: Final = ("old", "new")
NO_RULE: Final = "(no rule)"  # the classes differ, or what differs comes from another difference
# handles count the events of a second: one event more gives another handle to all behind it
_NOT_COMPARED: Final = (
    "event_handle",
    "server_handle",
    "last_modified_time",
    "cause_date_reception",
    "cause_event_handle",
)
COMPARED: Final = (*(name for name in BASE_SLOTS if name not in _NOT_COMPARED), "slots")
CAUSE: Final = "cause"
_KEY: Final = re.compile(r"\b(\d{9,11})\.(\d{1,9})\b")

_SCHEMA: Final = """
CREATE TABLE pair (a INTEGER PRIMARY KEY, b INTEGER NOT NULL);
CREATE TABLE touched
    (side INTEGER, date INTEGER, handle INTEGER, rule TEXT, PRIMARY KEY (side, date, handle, rule)) WITHOUT ROWID;
CREATE TABLE fired_at (side INTEGER, position INTEGER, rule TEXT, PRIMARY KEY (side, position, rule)) WITHOUT ROWID;
"""
_BY_IDENT: Final = """
INSERT INTO pair SELECT x.eid, y.eid FROM a.event AS x JOIN b.event AS y ON x.ident = y.ident
"""
_BY_PLACE: Final = """
INSERT INTO pair
WITH x AS (SELECT eid, position, class, row_number() OVER (PARTITION BY position, class ORDER BY eid) AS n
           FROM a.event WHERE eid NOT IN (SELECT a FROM pair)),
     y AS (SELECT eid, position, class, row_number() OVER (PARTITION BY position, class ORDER BY eid) AS n
           FROM b.event WHERE eid NOT IN (SELECT b FROM pair))
SELECT x.eid, y.eid FROM x JOIN y ON x.position = y.position AND x.class = y.class AND x.n = y.n
"""
_CAUSE: Final = (
    "(SELECT {} FROM {}.event AS c{} WHERE c.date_reception = {}.cause_date_reception "
    "AND c.event_handle = {}.cause_event_handle AND c.server_handle = 1)"
)


class EventDifference(msgspec.Struct):
    """One event that is not the same, or that one side has not. Keys are None where there is no such event."""

    position: int
    class_name: str
    hostname: str
    msg: str
    old: str | None
    new: str | None
    slots: dict[str, tuple[Any, Any]]  # of an event on both sides: slot, its value before and now
    instead: str = ""  # what the other side made of the record, where one side has no event
    rules: list[str] = []  # that did something on one side only, and told of this event

    def changes(self) -> list[str]:
        """What it counts as: one short text for each kind of change."""
        if self.old is None or self.new is None:
            return [f"only {SIDES[self.old is None]}: {self.class_name}"]
        return [_change(slot, *values) for slot, values in self.slots.items()]


class OutboxDifference(msgspec.Struct):
    """A program, task or forwarded event that would go out on one side only."""

    position: int
    side: str  # old | new
    what: str
    rules: list[str] = []


class RuleDifference(msgspec.Struct):
    """What one rule did on one side only."""

    old: int = 0  # times that it fired, or did something, only on this side
    new: int = 0
    changes: Counter[str] = msgspec.field(default_factory=Counter)


class Summary(msgspec.Struct):
    """Differences, counted."""

    events: Counter[str] = msgspec.field(default_factory=Counter)
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)  # as `STORED -> DROPPED`
    outbox: Counter[str] = msgspec.field(default_factory=Counter)
    timers: dict[str, int] = {}  # that wait at the end on one side only
    rules: dict[str, RuleDifference] = {}

    @property
    def differs(self) -> bool:
        """Whether results differ. Which rules made them does not count: a rule may get another name."""
        return bool(self.events or self.outcomes or self.outbox or any(self.timers.values()))

    def add(self, difference: EventDifference | OutboxDifference) -> None:
        """Count one difference, in all and for its rules."""
        if isinstance(difference, OutboxDifference):
            changes = [f"only {difference.side}: {difference.what}"]
            self.outbox.update(changes)
        else:
            changes = difference.changes()
            self.events.update(changes)
        for rule in difference.rules or [NO_RULE]:
            self.rules.setdefault(rule, RuleDifference()).changes.update(changes)


class Comparison:
    """Two scratch repositories of the same recording. A context manager; `work` is a file for what is in between."""

    def __init__(self, old: Path, new: Path, work: Path, activations: Iterable[int] = ()) -> None:
        """`activations`: positions of the log at which a rule base became active on one side only.

        What rules did there is not compared. Raises sqlite3.Error.
        """
        self.summary = Summary()
        self._skipped = {OWN_POSITION, *activations}
        _index(new)
        self._connection = sqlite3.connect(f"file:{quote(str(work.absolute()))}", uri=True, isolation_level=None)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "temp_store = FILE"):
            self._connection.execute(f"PRAGMA {pragma}")
        for name, path in (("a", old), ("b", new)):
            self._connection.execute(f"ATTACH DATABASE ? AS {name}", (f"file:{quote(str(path.absolute()))}?mode=ro",))
        self._connection.executescript(
            _SCHEMA + _BY_IDENT + ";" + _BY_PLACE + ";CREATE UNIQUE INDEX pair_b ON pair(b);"
        )
        self._rules()
        self._count_timers()

    def __enter__(self) -> Comparison:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def differences(self) -> Iterator[EventDifference | OutboxDifference]:
        """Events that changed, that are on one side only, and what goes out on one side only.

        `summary` is complete when this has ended.
        """
        for part in (self._changed(), self._only(OLD), self._only(NEW), self._outbox()):
            for one in part:
                self.summary.add(one)
                yield one

    # rules

    def _rules(self) -> None:
        """Note what rules did on one side only, by the events they told of and by the record."""
        columns = "disposition, rules, date_reception, event_handle"
        one, two = (", ".join(f"{side}.{name}" for name in columns.split(", ")) for side in "xy")
        queries = (
            f"SELECT x.position, {one}, {two} FROM a.outcome AS x JOIN b.outcome AS y ON x.position = y.position "  # noqa: S608
            "WHERE x.disposition <> y.disposition OR x.rules IS NOT y.rules",
            f"SELECT x.position, {one}, NULL, NULL, 0, 0 FROM a.outcome AS x "  # noqa: S608
            "WHERE x.position NOT IN (SELECT position FROM b.outcome)",
            f"SELECT y.position, NULL, NULL, 0, 0, {two} FROM b.outcome AS y "  # noqa: S608
            "WHERE y.position NOT IN (SELECT position FROM a.outcome)",
        )
        writer = self._connection.cursor()
        writer.execute("BEGIN")
        for query in queries:
            for row in self._connection.cursor().execute(query):
                self._outcome(writer, row)
        writer.execute("COMMIT")

    def _outcome(self, writer: sqlite3.Cursor, row: Sequence[Any]) -> None:
        position, halves = row[0], (row[1:5], row[5:9])
        if position in self._skipped:
            return
        before, now = halves[OLD][0], halves[NEW][0]
        if before is not None and now is not None and before != now:
            self.summary.outcomes[f"{Disposition(before).name} -> {Disposition(now).name}"] += 1
        told = [_told(half[1]) for half in halves]
        counted = [Counter(entry[0] for entry in entries) for entries in told]
        for side, half in enumerate(halves):
            alone = counted[side] - counted[1 - side]
            for normal, keys in told[side]:
                if alone[normal] <= 0:
                    continue
                alone[normal] -= 1
                rule = normal[0]
                count = self.summary.rules.setdefault(rule, RuleDifference())
                if side == OLD:
                    count.old += 1
                else:
                    count.new += 1
                named = keys or ({(half[2], half[3])} if half[3] else set())
                writer.executemany(
                    "INSERT OR IGNORE INTO touched VALUES (?, ?, ?, ?)", [(side, *key, rule) for key in sorted(named)]
                )
                writer.execute("INSERT OR IGNORE INTO fired_at VALUES (?, ?, ?)", (side, position, rule))

    def _rules_of(self, *keys: tuple[int, int, int]) -> list[str]:
        """Rules that told of these events (side, date, handle)."""
        found: set[str] = set()
        for key in keys:
            query = "SELECT rule FROM touched WHERE side = ? AND date = ? AND handle = ?"
            found.update(row[0] for row in self._connection.execute(query, key))
        return sorted(found)

    def _rules_at(self, position: int, sides: Iterable[int] = (OLD, NEW)) -> list[str]:
        query = "SELECT rule FROM fired_at WHERE side = ? AND position = ?"
        return sorted({row[0] for side in sides for row in self._connection.execute(query, (side, position))})

    # events

    def _changed(self) -> Iterator[EventDifference]:
        values = ", ".join(f"{side}.{name}" for side in "xy" for name in COMPARED)
        differ = " OR ".join(f"x.{name} IS NOT y.{name}" for name in COMPARED)
        mapped = _CAUSE.format("q.b", "a", " JOIN pair AS q ON q.a = c.eid", "x", "x")
        own = _CAUSE.format("c.eid", "b", "", "y", "y")
        query = (
            "SELECT y.position, y.class, x.date_reception, x.event_handle, y.date_reception, y.event_handle, "  # noqa: S608
            "x.cause_date_reception, x.cause_event_handle, y.cause_date_reception, y.cause_event_handle, "
            f"{mapped} IS NOT {own} AS moved, {values} FROM pair JOIN a.event AS x ON x.eid = pair.a "
            f"JOIN b.event AS y ON y.eid = pair.b WHERE y.class <> '{LOADED}' AND ({differ} OR moved) ORDER BY pair.b"
        )
        for row in self._connection.cursor().execute(query):
            position, class_name, *keys = row[:10]
            one, two = row[11 : 11 + len(COMPARED)], row[11 + len(COMPARED) :]
            slots = _slots(one, two)
            if row[10]:
                slots[CAUSE] = (_name(keys[4], keys[5]), _name(keys[6], keys[7]))
            if not slots:
                continue
            rules = self._rules_of((OLD, keys[0], keys[1]), (NEW, keys[2], keys[3]))
            now = dict(zip(COMPARED, two, strict=True))
            yield EventDifference(
                *(position, class_name, now["hostname"] or "", now["msg"] or ""),
                *(_name(keys[0], keys[1]), _name(keys[2], keys[3]), slots),
                rules=rules,
            )

    def _only(self, side: int) -> Iterator[EventDifference]:
        """Events that the other side has not."""
        mine, other = "ab"[side], "ba"[side]
        query = (
            f"SELECT x.position, x.class, x.hostname, x.msg, x.date_reception, x.event_handle, o.disposition, o.reason "  # noqa: S608
            f"FROM {mine}.event AS x LEFT JOIN {other}.outcome AS o ON o.position = x.position "
            f"WHERE x.eid NOT IN (SELECT {mine} FROM pair) AND x.class <> '{LOADED}' ORDER BY x.eid"
        )
        for row in self._connection.cursor().execute(query):
            position, class_name, hostname, msg, date, handle, disposition, reason = row
            if position == OWN_POSITION:
                continue
            instead = ""
            if disposition is not None and disposition != Disposition.STORED:
                instead = Disposition(disposition).name + (f": {reason}" if reason else "")
            rules = self._rules_at(position) or self._rules_of((side, date, handle))
            key = _name(date, handle)
            old, new = (key, None) if side == OLD else (None, key)
            yield EventDifference(position, class_name, hostname or "", msg or "", old, new, {}, instead, rules)

    # what goes out

    def _outbox(self) -> Iterator[OutboxDifference]:
        query = "SELECT position, {} AS side, kind, data FROM {}.outbox"
        both = f"{query.format(OLD, 'a')} UNION ALL {query.format(NEW, 'b')} ORDER BY 1, 2"
        rows = self._connection.cursor().execute(both)
        for position, group in groupby(rows, key=lambda row: row[0]):
            if position in self._skipped:
                continue
            sent: tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]] = (Counter(), Counter())
            for _, side, kind, data in group:
                sent[side][_sent(kind, data)] += 1
            for side, counter in enumerate(sent):
                for what, _ in sorted((counter - sent[1 - side]).elements()):
                    yield OutboxDifference(position, SIDES[side], what, self._rules_at(position, (side,)))

    def _count_timers(self) -> None:
        """Timers that wait at the end for the same event, until the same time, on one side only."""
        wait = "SELECT {} AS eid, t.due, t.data FROM {}.timer AS t"
        old = wait.format("pair.b", "a") + " LEFT JOIN pair ON pair.a = t.eid"
        new = wait.format("t.eid", "b")
        for side, query in (("old", f"{old} EXCEPT {new}"), ("new", f"{new} EXCEPT {old}")):
            self.summary.timers[side] = self._connection.execute(f"SELECT count(*) FROM ({query})").fetchone()[0]  # noqa: S608


def _index(repository: Path) -> None:
    with closing(sqlite3.connect(repository, isolation_level=None)) as connection:
        connection.execute("CREATE INDEX IF NOT EXISTS replay_ident ON event(ident)")


def _told(rules: str | None) -> list[tuple[tuple[str, tuple[str, ...], tuple[str, ...]], set[tuple[int, int]]]]:
    """Of each rule that fired: its name, its actions and what it did without handles; and the events it told of."""
    found = []
    for entry in msgspec.json.decode(rules) if rules else ():
        rule_set, rule, actions, did, event = entry[:5]
        if not actions:
            continue
        keys = {(int(date), int(handle)) for text in (*did, event) for date, handle in _KEY.findall(text)}
        normal = (f"{rule_set}/{rule}", tuple(actions), tuple(_KEY.sub(r"\1", text) for text in did))
        found.append((normal, keys))
    return found


def _slots(one: Sequence[Any], two: Sequence[Any]) -> dict[str, tuple[Any, Any]]:
    """The slots that differ; those beside the base slots by their own names."""
    found = {
        name: (before, now)
        for name, before, now in zip(COMPARED[:-1], one[:-1], two[:-1], strict=True)
        if before != now
    }
    if one[-1] != two[-1]:
        before, now = (msgspec.json.decode(text or "{}") for text in (one[-1], two[-1]))
        for name in sorted(before.keys() | now.keys()):
            if before.get(name) != now.get(name):
                found[name] = (before.get(name), now.get(name))
    return found


def _change(slot: str, before: Any, now: Any) -> str:
    return f"{slot} {before} -> {now}" if slot in ("status", "severity") else f"{slot} changed"


def _sent(kind: str, data: str) -> tuple[str, str]:
    """One row of the outbox in a line, without handles; and the slots of a forwarded event."""
    said = msgspec.json.decode(data)
    name, _, destination = kind.partition(":")
    if said.get("forward"):
        class_name, slots = said["forward"]
        compared = sorted((slot, value) for slot, value in slots.items() if slot not in _NOT_COMPARED)
        return f"{name} {class_name} to {destination}", repr(compared)
    return _KEY.sub(r"\1", " ".join([name, *filter(None, [destination]), *map(str, said.get("argv", ()))])), ""


def _name(date: int | None, handle: int | None) -> str:
    return f"{date}.{handle}" if handle else "none"
