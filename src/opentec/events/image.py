"""The stored form of an event: one row of the repository, and what the engine is primed from.

The order of COLUMNS is the order of every row tuple between the engine, dispatch and the repository.
Names are TEC's slot names (tec.md 2.3); `slots` holds every other slot that differs from its class's default.
"""

from __future__ import annotations

from typing import Any, Final

# identity (set once)
IDENTITY: Final = ("eid", "position", "ident", "class")
# base slots of EVENT, each a column
BASE_SLOTS: Final = (
    "date_reception",
    "event_handle",
    "server_handle",
    "source",
    "sub_source",
    "origin",
    "sub_origin",
    "hostname",
    "fqhostname",
    "adapter_host",
    "date",
    "status",
    "administrator",
    "acl",
    "credibility",
    "severity",
    "msg",
    "msg_catalog",
    "msg_index",
    "duration",
    "num_actions",
    "repeat_count",
    "cause_date_reception",
    "cause_event_handle",
    "server_path",
    "last_modified_time",
)
COLUMNS: Final = (*IDENTITY, *BASE_SLOTS, "slots")
# LIST_OF base slots are kept as JSON text in their column, as `slots` is
JSON_COLUMNS: Final = ("acl", "server_path", "slots")

_BEYOND: Final = 1 << 63

EventRow = tuple[Any, ...]
EventKey = tuple[int, int, int]  # date_reception (epoch seconds), event_handle, server_handle


def key_name(key: EventKey) -> str:
    """`DATE_RECEPTION.EVENT_HANDLE[.SERVER_HANDLE]`; the server handle is left out when it is 1."""
    date, handle, server = key
    return f"{date}.{handle}" if server == 1 else f"{date}.{handle}.{server}"


def is_key(key: EventKey) -> bool:
    """Can an event be called that? Its parts are numbers that a repository keeps."""
    return all(0 <= part < _BEYOND for part in key)


def parse_key(name: str) -> EventKey:
    """Read an event's name; raises ValueError with the form that is expected."""
    parts = name.split(".")
    if len(parts) not in (2, 3) or not all(part.isdigit() for part in parts):
        raise ValueError(
            f"{name!r} is not an event; the form is DATE_RECEPTION.EVENT_HANDLE[.SERVER_HANDLE], as `tec list` prints"
        )
    key = int(parts[0]), int(parts[1]), int(parts[2]) if len(parts) == 3 else 1
    if not is_key(key):
        raise ValueError(f"{name!r} is not an event: its numbers are too large")
    return key
