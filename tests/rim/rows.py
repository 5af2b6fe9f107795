"""Rows and batches for the repository's tests."""

from __future__ import annotations

from typing import Any

from opentec.events.image import COLUMNS, EventRow
from opentec.events.records import Disposition
from opentec.rim.batch import Batch, OutcomeRow
from opentec.rim.schema import INTEGER_COLUMNS

INSTANCE = "5f0c7a3e-0000-4000-8000-000000000001"
NAME = "tecserver"
SECOND = 1772352000  # date_reception of every event here


def row(eid: int, **slots: Any) -> EventRow:
    """An event row; its key is (SECOND, eid, 1) and its position eid * 100 unless told."""
    values: dict[str, Any] = {name: 0 if name in INTEGER_COLUMNS else "" for name in COLUMNS}
    values |= {
        "eid": eid,
        "position": eid * 100,
        "ident": f"id{eid}",
        "class": "NT_Disk_Full",
        "date_reception": SECOND,
        "event_handle": eid,
        "server_handle": 1,
        "status": "OPEN",
        "severity": "WARNING",
        "hostname": "web1",
        "acl": '["admin"]',
        "slots": "{}",
    }
    assert slots.keys() <= values.keys()
    return tuple((values | slots)[name] for name in COLUMNS)


def slot(found: EventRow | None, name: str) -> Any:
    assert found is not None
    return found[COLUMNS.index(name)]


def stored(*eids: int, before: int, after: int, **slots: Any) -> Batch:
    """A batch that stores plain events, each with its outcome."""
    return Batch(
        before=before,
        after=after,
        inserts=[row(eid, **slots) for eid in eids],
        outcomes=[OutcomeRow(eid * 100, Disposition.STORED, eid, SECOND, eid) for eid in eids],
    )
