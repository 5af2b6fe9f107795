"""Received bytes to class and typed slots, fast (performance.md 1).

`parse_event` and `ClassTable.check` define what is right. In front of them stand *shapes*: senders write the slots
of a class in the same order again and again, so one regular expression per class and order reads the whole text at
once. A shape is made from an accepted text only, takes a subset of the forms that the strict parser takes, and leaves
every other text to it; results and errors are the same with and without shapes (a property test says so).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from opentec.events.classes import ClassTable, EventClass
from opentec.events.slots import STRING_LIMIT, Slot, Value
from opentec.events.text import CLOSE, NAME, SINGLE, UTF8_FLAG, WS, decode_text, parse_event

_LONGEST: Final = STRING_LIMIT // 4  # characters: below it no STRING can be too long, whatever its bytes
_SLOTS: Final = 64  # a shape of more slots costs too much to compile
_SHAPES_PER_HEAD: Final = 4
_SHAPES: Final = 1024
_TRIES: Final = 3  # texts of one order that may fail to match the shape made for them
_COST: Final = 64  # events that must be parsed before another shape may be compiled: a stranger cannot buy more
_CREDIT: Final = 64 * _COST

_BARE: Final = r"(?:[^;'\"\[\x00-\x20][^;'\"\x00-\x08\x0a-\x1f]*+(?<![ \t]))?+"
_BARE_ITEM: Final = r"[^;,'\"\[\]\x00-\x20]++"
_INTEGER: Final = "[+-]?[0-9]{1,9}"  # nine digits are always inside 32 bits
_POINTER: Final = "[0-9]{1,15}"
_REAL: Final = r"[+-]?[0-9]{1,15}+(?:\.[0-9]{0,15}+)?+"

_name = re.compile(NAME)


class _Shape:
    """One order of slots of one class: the expression, the names, and a conversion where one is needed."""

    __slots__ = ("convert", "match", "names", "quotable")

    def __init__(self, head: str, cls: EventClass, names: tuple[str, ...], enums: Iterable[tuple[str, ...]]) -> None:
        parts = [re.escape(head), ";", WS]
        convert: list[tuple[str, Callable[[str], Value]]] = []
        quotable: list[str] = []
        for name, members in zip(names, enums, strict=True):
            pattern, conversion = _slot_pattern(cls.slots[name], members)
            parts += [name, "=(", pattern, ");", WS]
            if conversion is not None:
                convert.append((name, conversion))
            elif not members:
                quotable.append(name)
        parts.append(CLOSE)
        self.match = re.compile("".join(parts)).match
        self.names = names
        self.convert = tuple(convert)
        self.quotable = tuple(quotable)


class EventParser:
    """Reads events for one class table. Not for several threads at a time."""

    def __init__(self, table: ClassTable) -> None:
        self._table = table
        self._shapes: dict[str, list[_Shape]] = {}
        self._count = 0
        self._credit = _CREDIT
        self._misfits: dict[tuple[str, tuple[str, ...]], int] = {}

    def parse(self, data: bytes) -> tuple[str, dict[str, Value]]:
        """The class of an event and its slots as they were sent, typed; defaults are not filled in.

        `data` is the text of one event, with or without the 0x03 before it and the 0x01 behind it. Raises
        EventSyntaxError or EventRejected, as `parse_event` and `ClassTable.check` do.
        """
        text = decode_text(data)
        head = text[: text.find(";")]
        shapes = self._shapes.get(head)
        if shapes is not None and len(text) <= _LONGEST:
            for shape in shapes:
                found = shape.match(text)
                if found is None:
                    continue
                if shape is not shapes[0]:
                    shapes.remove(shape)
                    shapes.insert(0, shape)
                slots: dict[str, Value] = dict(zip(shape.names, found.groups(), strict=True))
                for name in shape.quotable:
                    value: str = slots[name]  # type: ignore[assignment]  # a group of the match
                    if value[:1] == "'":
                        slots[name] = value[1:-1].replace("''", "'")
                for name, convert in shape.convert:
                    slots[name] = convert(slots[name])  # type: ignore[arg-type]
                return (head[1:] if head[0] == UTF8_FLAG else head), slots
        return self._parse_strictly(text, head)

    def _parse_strictly(self, text: str, head: str) -> tuple[str, dict[str, Value]]:
        class_name, raw = parse_event(text)
        slots = self._table.check(class_name, raw)
        if self._credit < _CREDIT:
            self._credit += 1
        if self._credit >= _COST and slots and len(slots) <= _SLOTS and len(text) <= _LONGEST:
            self._learn(text, head, class_name, tuple(slots))
        return class_name, slots

    def _learn(self, text: str, head: str, class_name: str, names: tuple[str, ...]) -> None:
        """Keep the shape of an accepted text, unless it is known, was tried in vain, or cannot be one."""
        if head.removeprefix(UTF8_FLAG) != class_name:
            return
        shapes = self._shapes.get(head, [])
        key = (head, names)
        if self._misfits.get(key, 0) >= _TRIES or any(shape.names == names for shape in shapes):
            return
        self._credit -= _COST
        cls = self._table.classes[class_name]
        shape = _Shape(head, cls, names, [self._members(cls.slots[name]) for name in names])
        if shape.match(text) is None:
            if len(self._misfits) >= _SHAPES:
                self._misfits.clear()
            self._misfits[key] = self._misfits.get(key, 0) + 1
            return
        if self._count >= _SHAPES:
            self._shapes.clear()
            self._count, shapes = 0, []
        if len(shapes) >= _SHAPES_PER_HEAD:
            shapes.pop()
            self._count -= 1
        shapes.insert(0, shape)
        self._shapes[head] = shapes
        self._count += 1

    def _members(self, slot: Slot) -> tuple[str, ...]:
        if slot.type.enumeration is None:
            return ()
        return tuple(name for name in self._table.enumerations[slot.type.enumeration].members if _name.fullmatch(name))


def _slot_pattern(slot: Slot, members: tuple[str, ...]) -> tuple[str, Callable[[str], Value] | None]:
    """The expression for a slot's value, and how its text becomes the value (None: as it is, or a quoted text)."""
    if slot.type.is_list:
        if slot.type.kind == "STRING":
            return rf"\[(?:{_BARE_ITEM}(?:,[ \t]*+{_BARE_ITEM})*+)?+\]", _bare_list
        return "(?!)", None  # never: lists of other types are rare, the strict parser takes them
    if slot.type.kind == "ENUM":
        return "|".join(members) if members else "(?!)", None
    if slot.type.kind == "STRING":
        return f"{SINGLE}|{_BARE}", None
    if slot.type.kind == "REAL":
        return _REAL, float
    return (_POINTER if slot.type.kind == "POINTER" else _INTEGER), int


def _bare_list(text: str) -> Value:
    return [item.lstrip(" \t") for item in text[1:-1].split(",")] if len(text) > 2 else []
