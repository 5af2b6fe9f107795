"""Event classes and their table: what an event may say, and what a slot is worth that it does not say.

The table is plain data (`to_data`), so a compiled rule base gives it back without reading BAROC again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from opentec.events.errors import EventRejected
from opentec.events.names import nearest, shown
from opentec.events.slots import (
    SERVER_ASSIGNED,
    BadValueError,
    Converter,
    Enumeration,
    Slot,
    SlotType,
    Value,
    make_converter,
)

ROOT: Final = "EVENT"


class EventClass:
    """One class with everything it inherits.

    `ancestors` is its own name first, then its parents up to EVENT. `slots` are all slots, those of EVENT first.
    `dup_slots` are the slots whose values make two events of the class duplicates; empty means that any two are
    (tec.md 2.2). `defaults` holds a value for every slot: do not change its lists.
    """

    __slots__ = ("_is", "ancestors", "converters", "defaults", "dup_slots", "name", "parent", "slots")

    def __init__(
        self,
        name: str,
        parent: EventClass | None,
        own: Iterable[Slot],
        enumerations: Mapping[str, Enumeration],
    ) -> None:
        self.name = name
        self.parent: str | None = parent.name if parent else None
        self.slots: dict[str, Slot] = dict(parent.slots) if parent else {}
        self.converters: dict[str, Converter] = dict(parent.converters) if parent else {}
        for slot in own:
            self.slots[slot.name] = slot
            if slot.name not in self.converters:
                enumeration = enumerations[slot.type.enumeration] if slot.type.enumeration else None
                self.converters[slot.name] = make_converter(slot.type, enumeration)
        self.ancestors: tuple[str, ...] = (name, *parent.ancestors) if parent else (name,)
        self._is = frozenset(self.ancestors)
        self.dup_slots: tuple[str, ...] = tuple(slot.name for slot in self.slots.values() if slot.dup_detect)
        self.defaults: dict[str, Value] = {slot.name: slot.default for slot in self.slots.values()}

    def __repr__(self) -> str:
        return f"<EventClass {' ISA '.join(self.ancestors)}>"

    def is_a(self, name: str) -> bool:
        """Whether this class is `name` or inherits from it."""
        return name in self._is

    def value(self, slot: str, raw: object) -> Value:
        """The typed value of one slot, for what is not a received event: rules, operators, tests.

        `raw` is text, a number, or a list of them. Raises EventRejected.
        """
        convert = self.converters.get(slot)
        if convert is None:
            raise EventRejected(f"class {self.name} has no slot {shown(slot)}", nearest(slot, self.slots))
        try:
            return convert(raw)
        except BadValueError as bad:
            raise EventRejected(f"slot {slot!r} of class {self.name}: {bad}", bad.suggestion) from None


class ClassTable:
    """All classes and enumerations of a rule base, in the order of their declaration."""

    def __init__(self, classes: Iterable[EventClass], enumerations: Iterable[Enumeration]) -> None:
        self.classes: dict[str, EventClass] = {cls.name: cls for cls in classes}
        self.enumerations: dict[str, Enumeration] = {enum.name: enum for enum in enumerations}
        self.ancestors: dict[str, tuple[str, ...]] = {cls.name: cls.ancestors for cls in self.classes.values()}
        self._names = tuple(self.classes)

    def get(self, name: str) -> EventClass:
        """The class of that name; raises EventRejected with the nearest one."""
        found = self.classes.get(name)
        if found is None:
            raise EventRejected(f"class {shown(name)} is not defined", nearest(name, self._names))
        return found

    def check(self, class_name: str, raw: Mapping[str, object]) -> dict[str, Value]:
        """The typed slots of an event as it was sent; defaults are not filled in.

        `raw` is what `parse_event` gives; numbers in place of their text are fine. Raises EventRejected for an
        unknown class or slot, a value that does not fit, and for the slots of SERVER_ASSIGNED, which no sender may
        set. Other `parse = no` slots are taken when they are sent: old adapters and forwarding servers send them
        (our choice; TEC's is not documented, tec-2.md 2.2). `status=CLOSED` is legal and closes a duplicate.
        """
        cls = self.classes.get(class_name)
        if cls is None:
            cls = self.get(class_name)
        converters = cls.converters
        typed: dict[str, Value] = {}
        for name, value in raw.items():
            convert = converters.get(name)
            if convert is None or name in SERVER_ASSIGNED:
                raise _no_such_slot(cls, name)
            try:
                typed[name] = convert(value)
            except BadValueError as bad:
                raise EventRejected(f"slot {name!r} of class {class_name}: {bad}", bad.suggestion) from None
        return typed

    def number(self, enumeration: str, member: str) -> int:
        """The number of an enumeration's member, to compare by; raises EventRejected for unknown names."""
        enum = self.enumerations.get(enumeration)
        if enum is None:
            raise EventRejected(
                f"enumeration {shown(enumeration)} is not defined", nearest(enumeration, self.enumerations)
            )
        try:
            return enum.number(member)
        except BadValueError as bad:
            raise EventRejected(str(bad), bad.suggestion) from None

    def to_data(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers, for msgpack or JSON; `from_data` is the way back."""
        classes = []
        for cls in self.classes.values():
            inherited = self.classes[cls.parent].slots if cls.parent else {}
            own = [
                [
                    slot.name,
                    [slot.type.kind, slot.type.enumeration, slot.type.is_list],
                    slot.default,
                    slot.dup_detect,
                    slot.parse,
                    slot.declared_in,
                ]
                for slot in cls.slots.values()
                if inherited.get(slot.name) is not slot
            ]
            classes.append([cls.name, cls.parent, own])
        # pairs, not a map: the order of members tells the default
        enums = [[enum.name, [list(pair) for pair in enum.members.items()]] for enum in self.enumerations.values()]
        return {"enumerations": enums, "classes": classes}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> ClassTable:
        """The table that gave `data`. It is trusted: only what `to_data` made belongs here."""
        enums = {name: Enumeration(name, dict(pairs)) for name, pairs in data["enumerations"]}
        classes: dict[str, EventClass] = {}
        for name, parent, own in data["classes"]:
            slots = [
                Slot(slot, SlotType(kind, enum, is_list), default, dup_detect, parse, declared_in)
                for slot, (kind, enum, is_list), default, dup_detect, parse, declared_in in own
            ]
            classes[name] = EventClass(name, classes[parent] if parent else None, slots, enums)
        return cls(classes.values(), enums.values())


def _no_such_slot(cls: EventClass, name: str) -> EventRejected:
    if name in cls.slots:
        return EventRejected(f"slot {name!r} is assigned by the server and cannot be sent; leave it out")
    return EventRejected(f"class {cls.name} has no slot {shown(name)}", nearest(name, cls.slots))
