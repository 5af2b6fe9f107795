"""Slots of events, and new events.

The `bo_` predicates write a slot and ask no change rule. Lists grow at either end, numbers stop at the ends of their
type: a count that is full ends no rule (our choice; tec.md 3.6 gives the names only).
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any, Final

from opentec.events.errors import EventRejected
from opentec.events.names import nearest
from opentec.events.slots import INT32_MAX, INT32_MIN, POINTER_MAX
from opentec.rules.evaluation import Evaluation
from opentec.rules.event import FIXED_SLOTS, Event
from opentec.rules.predicates.changes import note_slot
from opentec.rules.predicates.registry import Predicate
from opentec.rules.terms import RuleError, Struct, deref, resolve, show, unify

_BOUNDS: Final = {"INTEGER": (INT32_MIN, INT32_MAX), "INT32": (INT32_MIN, INT32_MAX), "POINTER": (0, POINTER_MAX)}

_Write = Callable[[Evaluation, Event, str, Any], bool]


def _get(run: Evaluation, event: Event, slot: str, value: Any) -> bool:
    found = event.get(slot)
    return found is not None and unify(value, found, run.trail)


def _set(run: Evaluation, event: Event, slot: str, value: Any) -> bool:
    if run.set_slot(event, slot, value):
        note_slot(run, event, slot)
    return True


def _get_several(run: Evaluation, event: Event, slots: Any, values: Any) -> bool:
    names = _list_of("get_attributes", "the names of slots", slots)
    found = [event.get(show(name)) for name in names]
    return None not in found and unify(values, found, run.trail)


def _get_pairs(run: Evaluation, event: Event, pairs: Any) -> bool:
    for item in _list_of("get_attributes", "slot=_value", pairs):
        slot, value = _pair(item)
        found = event.get(slot)
        if found is None or not unify(value, found, run.trail):
            return False
    return True


def _list_of(name: str, what: str, term: Any) -> list[Any]:
    items = deref(term)
    if type(items) is not list:
        raise RuleError(f"{name} takes a list of {what}, not {show(items)!r}")
    return items


def _pair(item: Any) -> tuple[str, Any]:
    item = deref(item)
    if type(item) is not Struct or item.name != "=" or len(item.args) != 2:
        raise RuleError(f"{show(item)} is not slot=value")
    return show(item.args[0]), item.args[1]


def _add(begin: bool) -> _Write:
    def add(run: Evaluation, event: Event, slot: str, value: Any) -> bool:
        old = _items(run, event, slot)
        new = value if type(value) is list else [value]
        return _set(run, event, slot, [*new, *old] if begin else [*old, *new])

    return add


def _remove(run: Evaluation, event: Event, slot: str, value: Any) -> bool:
    old = _items(run, event, slot)
    unwanted = run.value(event, slot, value if type(value) is list else [value])
    return _set(run, event, slot, [item for item in old if item not in unwanted])


def _items(run: Evaluation, event: Event, slot: str) -> list[Any]:
    _must_have(event, slot)
    items = event.get(slot)
    if type(items) is not list:
        raise RuleError(f"slot {slot!r} of class {event.class_name} is no LIST_OF slot; write it with bo_set_slotval")
    return items


def _must_have(event: Event, slot: str) -> None:
    if slot not in event.cls.slots:
        near = nearest(slot, event.cls.slots)
        hint = f"; did you mean {near!r}?" if near else ""
        raise RuleError(f"class {event.cls.name} has no slot {slot!r}{hint}")


def _reset(run: Evaluation, event: Event, slot: str) -> bool:
    _must_have(event, slot)
    return _set(run, event, slot, event.defaults.get(slot))


def _counter(sign: int) -> _Write:
    def count(run: Evaluation, event: Event, slot: str, number: Any) -> bool:
        if type(number) not in (int, float):
            raise RuleError(f"slot {slot!r} is changed by a number, not {show(number)!r}")
        _must_have(event, slot)
        old = event.get(slot)
        if type(old) not in (int, float):
            raise RuleError(f"slot {slot!r} of class {event.class_name} holds no number")
        new = old + sign * number
        if not isfinite(new):
            raise RuleError(f"slot {slot!r} of class {event.class_name} cannot hold a number of that size")
        kind = event.cls.slots[slot].type.kind
        if kind in _BOUNDS:
            low, high = _BOUNDS[kind]
            new = max(low, min(new, high))
        return _set(run, event, slot, new)

    return count


def _by_one(count: _Write) -> Callable[[Evaluation, Event, str], bool]:
    return lambda run, event, slot: count(run, event, slot, 1)


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
        slot, value = _pair(item)
        if slot in FIXED_SLOTS:
            raise RuleError(f"slot {slot!r} is assigned by the server; leave it out")
        slots[slot] = run.value_of(shape.cls, slot, resolve(value))
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
    *(
        Predicate(
            name=f"bo_add_at_slotval_{end}",
            modes="esv",
            signature=f"bo_add_at_slotval_{end}(_event, slot, value)",
            effect=f"Adds the value, or every item of a list, {where} a LIST_OF slot.",
            determinism="det",
            example=f"bo_add_at_slotval_{end}(_event, server_path, 'here')",
            function=_add(end == "begin"),
        )
        for end, where in (("begin", "before those of"), ("end", "behind those of"))
    ),
    Predicate(
        name="bo_remove_from_slotval",
        modes="esv",
        signature="bo_remove_from_slotval(_event, slot, value)",
        effect="Takes the value, or every item of a list, out of a LIST_OF slot, wherever it stands in it.",
        determinism="det",
        example="bo_remove_from_slotval(_event, acl, 'admin')",
        function=_remove,
    ),
    Predicate(
        name="bo_reset_default_slotval",
        modes="es",
        signature="bo_reset_default_slotval(_event, slot)",
        effect="Sets the slot to the default of the event's class, without the change path.",
        determinism="det",
        example="bo_reset_default_slotval(_event, severity)",
        function=_reset,
    ),
    *(
        Predicate(
            name=f"{verb}_slot",
            modes="es" + "v" * given,
            signature=f"{verb}_slot(_event, slot{', number' * given})",
            effect=f"{effect} a slot {'by the number' if given else 'by one'}; stops at the {end} number of its type.",
            determinism="det",
            example=f"{verb}_slot(_event, repeat_count{', 2' * given})",
            function=count if given else _by_one(count),
        )
        for verb, effect, end, count in (
            ("increment", "Raises", "largest", _counter(1)),
            ("decrement", "Lowers", "smallest", _counter(-1)),
        )
        for given in (0, 1)
    ),
    Predicate(
        name="get_attributes",
        modes="ett",
        signature="get_attributes(_event, [slot, ...], [_value, ...])",
        effect="Unifies the values with those of the slots, in this order; fails when the class lacks a slot.",
        determinism="semidet",
        example="get_attributes(_event, [hostname, msg], [_host, _text])",
        function=_get_several,
    ),
    Predicate(
        name="get_attributes",
        modes="et",
        signature="get_attributes(_event, [slot=_value, ...])",
        effect="Unifies each value with that of its slot; fails when the class lacks a slot.",
        determinism="semidet",
        example="get_attributes(_event, [hostname=_host, msg=_text])",
        function=_get_pairs,
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
