"""A live event of the engine, and its stored form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import msgspec

from opentec.events.image import BASE_SLOTS, COLUMNS, EventKey, EventRow, key_name

if TYPE_CHECKING:
    from opentec.events.classes import ClassTable, EventClass

CLOSED: Final = "CLOSED"
# what names an event for ever: assigned once, by the server (tec.md 2.3)
FIXED_SLOTS: Final = frozenset(("date_reception", "event_handle", "server_handle"))

CAUSE_SLOTS: Final = ("cause_date_reception", "cause_event_handle")  # from effect to cause (tec.md 2.3)

_BASE: Final = frozenset(BASE_SLOTS)
_LISTS: Final = ("acl", "server_path")
_ACL: Final = COLUMNS.index("acl")
_SERVER_PATH: Final = COLUMNS.index("server_path")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def to_json(value: Any) -> str:
    return _encode(value).decode()


def _reader_of(names: Sequence[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """Reads these slots; raises KeyError where one is missing."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda slots: tuple([slots[name] for name in names])  # an itemgetter of one name gives no tuple


class Shape:
    """What the engine needs of one class, prepared once per rule base."""

    __slots__ = (
        "base",
        "base_json",
        "cls",
        "defaults",
        "dup_slots",
        "dup_values",
        "further",
        "known",
        "name",
        "numbers",
        "reindex",
        "slots",
    )

    def __init__(self, cls: EventClass, name: str, table: ClassTable, *, known: bool = True) -> None:
        self.cls = cls
        self.name = name
        self.known = known
        self.defaults: Mapping[str, Any] = cls.defaults
        self.slots = frozenset(self.defaults)
        self.dup_slots = cls.dup_slots
        self.dup_values = _reader_of(self.dup_slots)
        # a change of one of these moves the event within the cache's indexes
        self.reindex = frozenset(("status", "hostname", *CAUSE_SLOTS, *self.dup_slots))
        self.further = tuple(sorted(self.defaults.keys() - _BASE))
        self.base = {slot: self.defaults.get(slot) for slot in BASE_SLOTS}
        self.base_json = {**self.base, **{slot: to_json(self.base[slot] or []) for slot in _LISTS}}
        self.numbers: dict[str, Mapping[str, int]] = {
            slot.name: table.enumerations[slot.type.enumeration].members
            for slot in cls.slots.values()
            if slot.type.enumeration and not slot.type.is_list
        }


class Shapes:
    """The shapes of a class table, for new events and for stored ones, which the table may not know any more."""

    def __init__(self, table: ClassTable) -> None:
        self.table = table
        self._shapes = {name: Shape(cls, name, table) for name, cls in table.classes.items()}
        self._lost: dict[str, Shape] = {}

    def find(self, name: str) -> Shape | None:
        """The shape of a class that is defined."""
        return self._shapes.get(name)

    def of_stored(self, name: str, slots: Mapping[str, Any]) -> Shape:
        """The shape for an event that is stored: what its class has lost since then is kept all the same.

        An event of a class that is gone looks like an EVENT of that name.
        """
        shape = self._shapes.get(name)
        if shape is not None and slots.keys() <= shape.defaults.keys():
            return shape
        lost = self._lost.get(name)
        if lost is None:
            cls = self.table.classes.get(name) or self.table.classes["EVENT"]
            lost = self._lost[name] = Shape(cls, name, self.table, known=False)
        return lost


class Event:
    """One event. `slots` holds explicit values only; `get` adds the class's default.

    `eid` orders all events of the server; `position` is the log record that caused it; `ident` is its identity
    (`rx:EPOCH:OFFSET` of the record, or the hash of parent, rule and number for a derived one).
    """

    __slots__ = ("defaults", "dup", "eid", "ident", "position", "shape", "slots", "stored")

    def __init__(self, eid: int, position: int, ident: str, shape: Shape, slots: dict[str, Any]) -> None:
        self.eid = eid
        self.position = position
        self.ident = ident
        self.shape = shape
        self.defaults = shape.defaults
        self.slots = slots
        self.stored = False  # evaluation is over and it was not dropped
        self.dup: tuple[Any, ...] = ()  # its dup_key when the cache took it in

    @property
    def cls(self) -> EventClass:
        return self.shape.cls

    @property
    def class_name(self) -> str:
        return self.shape.name

    @property
    def key(self) -> EventKey:
        slots = self.slots
        return slots["date_reception"], slots["event_handle"], slots["server_handle"]

    @property
    def status(self) -> str:
        status: str = self.get("status")
        return status

    def get(self, slot: str) -> Any:
        """The slot's value, or its default; None when the class has no such slot."""
        slots = self.slots
        return slots[slot] if slot in slots else self.defaults.get(slot)

    def dup_key(self) -> tuple[Any, ...]:
        """Class and values of the slots with dup_detect: equal for duplicates (tec.md 2.2)."""
        shape = self.shape
        try:
            values = shape.dup_values(self.slots)
        except KeyError:  # some of them are defaults
            values = tuple([self.get(slot) for slot in shape.dup_slots])
        for value in values:
            if type(value) is list:
                return (shape.name, *[tuple(value) if type(value) is list else value for value in values])
        return (shape.name, *values)

    def row(self) -> EventRow:
        """The stored form, in the order of COLUMNS; LIST_OF slots and `slots` as JSON text."""
        shape, slots = self.shape, self.slots
        # what equals the default, too: the default may be another one when the row is read
        further: Iterable[str] = shape.further if shape.known else sorted(slots.keys() - _BASE)
        extra = {slot: slots[slot] for slot in further if slot in slots}
        merged = shape.base_json | slots
        for slot in _LISTS:
            if slot in slots:
                merged[slot] = to_json(slots[slot])
        return (
            self.eid,
            self.position,
            self.ident,
            shape.name,
            *_base_values(merged),
            to_json(extra) if extra else "{}",
        )

    @classmethod
    def from_row(cls, row: EventRow, shapes: Shapes) -> Event:
        """The event of a stored row."""
        eid, position, ident, name = row[:4]
        further = _decode(row[-1] or "{}")
        shape = shapes.of_stored(name, further)
        base = shape.base
        slots = {
            slot: value
            for slot, value in zip(BASE_SLOTS, row[4:-1], strict=True)
            if slot not in _LISTS and value is not None and (value != base[slot] or slot in FIXED_SLOTS)
        }
        for slot, text in (("acl", row[_ACL]), ("server_path", row[_SERVER_PATH])):
            if text is not None and text != shape.base_json[slot]:
                slots[slot] = _decode(text)
        slots.update(further)
        event = cls(eid, position, ident, shape, slots)
        event.stored = True
        return event

    def take_shape(self, shape: Shape) -> None:
        """Become an event of the same class as another rule base has it; what it was does not change by that.

        It is then what `from_row` makes of its row.
        """
        base, after = self.shape.base, shape.base
        for slot in BASE_SLOTS:
            if slot not in self.slots and base[slot] != after[slot]:
                self.slots[slot] = base[slot]
        self.shape = shape
        self.defaults = shape.defaults

    def __repr__(self) -> str:
        return f"<Event {self.shape.name} {self}>"

    def __str__(self) -> str:
        return key_name(self.key)


_base_values = itemgetter(*BASE_SLOTS)
