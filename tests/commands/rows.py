"""Rows of the repository for tests."""

from __future__ import annotations

from typing import Any

from opentec.events.image import COLUMNS

_DEFAULTS: dict[str, Any] = {
    "class": "TEC_Notice",
    "server_handle": 1,
    "status": "OPEN",
    "severity": "WARNING",
    "acl": '["admin"]',
    "server_path": "",
    "slots": "",
    "repeat_count": 0,
    "hostname": "web1",
    "msg": "hello",
}


def row(eid: int, **values: Any) -> list[Any]:
    """A row with that eid, received in that second of 2026-03-01T08:00:00Z."""
    known = {"eid": eid, "date_reception": 1772352000 + eid, "event_handle": 1, "position": 352 * eid}
    return [(known | _DEFAULTS | values).get(name, 0 if "handle" in name else "") for name in COLUMNS]
