"""What an operator may ask of an event."""

from __future__ import annotations

from opentec.events.errors import EventRejected
from opentec.events.records import ChangePayload
from opentec.rules.event import CLOSED, FIXED_SLOTS, Event


def refuse_change(event: Event, payload: ChangePayload) -> str:
    """Why this change cannot be made, for the person who asked, or "" when it can."""
    if not payload.slots:
        return "the change names no slot"
    for slot, value in payload.slots.items():
        if slot in FIXED_SLOTS:
            return f"slot {slot!r} is part of the event's key and cannot be changed"
        try:
            event.cls.value(slot, value)
        except EventRejected as wrong:
            return str(wrong)
    wanted = payload.slots.get("status")
    if wanted is None:
        return ""
    wanted = event.cls.value("status", wanted)
    if wanted == "RESPONSE":
        return "the status RESPONSE is set by rules only"  # tec-2.md 2.3
    if event.status == CLOSED and wanted in (CLOSED, "ACK"):
        who = event.get("administrator")
        return f"event {event} is CLOSED already" + (f", by {who}" if who else "")
    return ""
