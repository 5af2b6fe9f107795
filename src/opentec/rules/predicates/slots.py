"""Slots and classes of events, and new events."""

from __future__ import annotations

from typing import Any, Final

from opentec.events.errors import EventRejected
from opentec.rules.evaluation import Evaluation
from opentec.rules.event import FIXED_SLOTS, Event
from opentec.rules.predicates.changes import note_slot
from opentec.rules.predicates.registry import Predicate
from opentec.rules.terms import RuleError, Struct, deref, resolve, show, unify


def _get(run: Evaluation, event: Event, slot: str, value: Any) -> bool:
    found = event.get(slot)
    return found is not None and unify(value, found, run.trail)


def _set(run: Evaluation, event: Event, slot: str, value: Any) -> bool:
    if run.set_slot(event, slot, value):
        note_slot(run, event, slot)
    return True


def _class_of(run: Evaluation, event: Event, name: Any) -> bool:
    return unify(name, event.class_name, run.trail)


def _generate(run: Evaluation, name: str, items: Any) -> bool:
    shape = run.shapes.find(name)
    if shape is None:
        try:
            run.shapes.table.get(name)
        except EventRejected as wrong:
            raise RuleError(str(wrong)) from None
        raise RuleError(f"class {name!r} cannot be generated")
    items = deref(items)
    if type(items) is not list:
        raise RuleError("the slots of generate_event are a list of slot=value")
    slots: dict[str, Any] = {}
    for item in items:
        item = deref(item)
        if type(item) is not Struct or item.name != "=" or len(item.args) != 2:
            raise RuleError(f"{show(item)} is not slot=value")
        slot = show(item.args[0])
        if slot in FIXED_SLOTS:
            raise RuleError(f"slot {slot!r} is assigned by the server; leave it out")
        try:
            slots[slot] = shape.cls.value(slot, resolve(item.args[1]))
        except EventRejected as wrong:
            raise RuleError(str(wrong)) from None
    run.generate(shape, slots)
    run.note(f"generated {name}")
    return True


PREDICATES: Final = (
    Predicate(
        name="bo_get_slotval",
        modes="est",
        signature="bo_get_slotval(_event, slot, _value)",
        effect="Unifies the value with the slot's; fails when the class has no such slot.",
        determinism="semidet",
        example="bo_get_slotval(_event, hostname, _host)",
        function=_get,
    ),
    Predicate(
        name="bo_set_slotval",
        modes="esv",
        signature="bo_set_slotval(_event, slot, value)",
        effect="Sets the slot, without the change path. The parts of the event's key cannot be set.",
        determinism="det",
        example="bo_set_slotval(_event, msg, 'disk full')",
        function=_set,
    ),
    Predicate(
        name="bo_get_class_of",
        modes="et",
        signature="bo_get_class_of(_event, _class)",
        effect="Unifies the name of the event's own class.",
        determinism="semidet",
        example="bo_get_class_of(_event, _class)",
        function=_class_of,
    ),
    Predicate(
        name="generate_event",
        modes="st",
        signature="generate_event(class, [slot=value, ...])",
        effect="Makes a new event, which passes all rules once the event under analysis is done.",
        determinism="det",
        example="generate_event('TEC_Notice', [msg='too many', severity='WARNING'])",
        function=_generate,
    ),
)
