"""The repository's schema: our tables, and TEC's tables as views on them (tec.md 2.5).

Writes must stay cheap (performance.md 4): one index beside the primary key of `event`, and only partial ones elsewhere.
"""

from __future__ import annotations

from typing import Final

from opentec.events.image import BASE_SLOTS, COLUMNS, IDENTITY

SCHEMA_VERSION: Final = 2  # 2: events for other servers and tasks in the outbox, outcomes FIRED, sections of rule_state
OLDEST_VERSION: Final = 1  # that this opentec reads; the first claim brings it to SCHEMA_VERSION (docs/upgrade.md)

# tec.md 2.1; a site's own members are written by Repository.set_enumerations
SEVERITIES: Final = {"UNKNOWN": 10, "HARMLESS": 20, "WARNING": 30, "MINOR": 40, "CRITICAL": 50, "FATAL": 60}
STATUSES: Final = {"OPEN": 0, "RESPONSE": 10, "ACK": 20, "CLOSED": 30}

INTEGER_COLUMNS: Final = frozenset(
    (
        "eid",
        "position",
        "date_reception",
        "event_handle",
        "server_handle",
        "credibility",
        "msg_index",
        "duration",
        "num_actions",
        "repeat_count",
        "cause_date_reception",
        "cause_event_handle",
        "last_modified_time",
    )
)
# never written again after the insert, which also spares every update the work on the index
IMMUTABLE: Final = (*IDENTITY, "date_reception", "event_handle", "server_handle")


# for what is deleted when it is old enough
OUTBOX_ENDED: Final = "CREATE INDEX IF NOT EXISTS outbox_ended ON outbox(finished_at) WHERE finished_at IS NOT NULL"

# what brings a repository of a version to the next one; a repository of today may have some of it already
MIGRATIONS: Final = {1: (OUTBOX_ENDED,)}


def quoted(names: tuple[str, ...]) -> str:
    """A column list; `class` and `date` are key words in some databases."""
    return ", ".join(f'"{name}"' for name in names)


EVENT_COLUMNS: Final = quoted(COLUMNS)


def _event_table() -> str:
    lines = []
    for name in COLUMNS:
        kind = "INTEGER" if name in INTEGER_COLUMNS else "TEXT"
        lines.append(f'"{name}" {kind}' + (" PRIMARY KEY" if name == "eid" else ""))
    return f"CREATE TABLE event ({', '.join(lines)})"


def _report_view() -> str:
    wanted = ("class", *BASE_SLOTS)
    columns = ", ".join(f'"{name}" AS date_event' if name == "date" else f'"{name}"' for name in wanted)
    return f"CREATE VIEW TEC_T_EVT_REP AS SELECT {columns} FROM event"  # noqa: S608


def statements() -> list[str]:
    """The statements that make the schema in an empty SQLite database."""
    return [
        "CREATE TABLE repository (id INTEGER PRIMARY KEY CHECK (id = 1), schema_version INTEGER NOT NULL, "
        "instance TEXT NOT NULL, name TEXT NOT NULL, epoch INTEGER NOT NULL, position INTEGER NOT NULL)",
        _event_table(),
        # the event's key names one event for ever (AG p.16-19); a second one with it is a fault, not a row
        "CREATE UNIQUE INDEX event_key ON event(date_reception, event_handle, server_handle)",
        "CREATE TABLE outcome (position INTEGER PRIMARY KEY, disposition INTEGER NOT NULL, eid INTEGER, "
        "date_reception INTEGER NOT NULL, event_handle INTEGER NOT NULL, reason TEXT, rules TEXT)",
        # a stored event is found through event_key; only what is not there needs a way in of its own
        "CREATE INDEX outcome_key ON outcome(date_reception, event_handle) WHERE disposition <> 1 AND event_handle > 0",
        "CREATE TABLE timer (id INTEGER PRIMARY KEY, due INTEGER NOT NULL, eid INTEGER NOT NULL, data TEXT NOT NULL)",
        "CREATE TABLE rule_state (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
        "CREATE TABLE outbox (id TEXT PRIMARY KEY, position INTEGER NOT NULL, eid INTEGER, kind TEXT NOT NULL, "
        "data TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'waiting', epoch INTEGER, node TEXT, claimed_at INTEGER, "
        "finished_at INTEGER, exit_status INTEGER, output TEXT)",
        "CREATE INDEX outbox_open ON outbox(status, position) WHERE status IN ('waiting', 'claimed')",
        OUTBOX_ENDED,
        "CREATE TABLE severity (name TEXT PRIMARY KEY, number INTEGER NOT NULL)",
        "CREATE TABLE status (name TEXT PRIMARY KEY, number INTEGER NOT NULL)",
        _report_view(),
        "CREATE VIEW TEC_T_SLOTS_EVT AS SELECT e.server_handle, e.date_reception, e.event_handle, "
        "s.key AS slot_name, substr(s.value, 1, 255) AS short_slot_value, "
        "CASE WHEN length(s.value) > 255 THEN s.value END AS long_slot_value "
        "FROM event AS e, json_each(e.slots) AS s WHERE e.slots IS NOT NULL AND e.slots <> ''",
        "CREATE VIEW TEC_T_SEVERITY AS SELECT number AS code, name FROM severity",
        "CREATE VIEW TEC_T_STATUS_EVENT AS SELECT number AS code, name FROM status",
    ]
