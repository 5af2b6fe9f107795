"""Slots of a class: their types, their defaults, and the values they take (tec.md 2.1, 2.2; tec-2.md 2.2).

An enumeration's value is kept as its member's *name*; its number only orders it (SEVERITY, STATUS).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from opentec.events.names import nearest, shown

Scalar = str | int | float
Value = str | int | float | list[str | int | float]
Kind = Literal["STRING", "INTEGER", "INT32", "REAL", "POINTER", "ENUM"]
Converter = Callable[[object], Value]

STRING_LIMIT: Final = 65_536  # bytes of UTF-8 (tec-2.md 2.2)
BASIC_TYPES: Final[tuple[Kind, ...]] = ("STRING", "INTEGER", "INT32", "REAL", "POINTER")
INT32_MIN: Final = -(2**31)
INT32_MAX: Final = 2**31 - 1
POINTER_MAX: Final = 2**63 - 1  # the largest integer that every repository holds
# assigned by the server when it receives an event: the three parts of its key (tec.md 2.3)
SERVER_ASSIGNED: Final = ("date_reception", "event_handle", "server_handle")

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_REAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?", re.ASCII)
_HEX = re.compile(r"0[xX][0-9a-fA-F]{1,16}", re.ASCII)
_REAL_LIMIT: Final = 400  # characters


class BadValueError(ValueError):
    """A value does not fit a slot's type; `str()` says why, `suggestion` is the nearest right one or ""."""

    def __init__(self, reason: str, suggestion: str = "") -> None:
        super().__init__(reason)
        self.suggestion = suggestion


class Enumeration(msgspec.Struct, frozen=True):
    """A BAROC ENUMERATION: member names with the numbers that order them, as declared."""

    name: str
    members: dict[str, int]

    @property
    def first(self) -> str:
        """The member that stands first: the default of a slot that gives none."""
        return next(iter(self.members))

    def number(self, member: str) -> int:
        """The number of a member; raises BadValueError for another name."""
        try:
            return self.members[member]
        except KeyError:
            raise self._bad(member) from None

    def member(self, text: str) -> str:
        """The member that `text` names, by name or by number; raises BadValueError."""
        if text in self.members:
            return text
        if _INTEGER.fullmatch(text):
            number = int(text)
            for name, value in self.members.items():
                if value == number:
                    return name
        raise self._bad(text)

    def _bad(self, text: str) -> BadValueError:
        names = ", ".join(list(self.members)[:12]) + (", ..." if len(self.members) > 12 else "")
        return BadValueError(f"{shown(text)} is not a {self.name} ({names})", nearest(text, self.members))


class SlotType(msgspec.Struct, frozen=True):
    """The type of a slot; `enumeration` names the enumeration when kind is ENUM."""

    kind: Kind
    enumeration: str | None = None
    is_list: bool = False

    @property
    def is_integer(self) -> bool:
        return self.kind in ("INTEGER", "INT32", "POINTER")

    def __str__(self) -> str:
        name = self.enumeration or self.kind
        return f"LIST_OF {name}" if self.is_list else name


class Slot(msgspec.Struct, frozen=True):
    """One slot of a class, with every facet resolved; `declared_in` is the class that gave it its type."""

    name: str
    type: SlotType
    default: Value
    dup_detect: bool
    parse: bool
    declared_in: str


def neutral_default(type_: SlotType, enumeration: Enumeration | None) -> Value:
    """The default of a slot for which BAROC gives none."""
    if type_.is_list:
        return []
    if enumeration is not None:
        return enumeration.first
    return "" if type_.kind == "STRING" else 0.0 if type_.kind == "REAL" else 0


def make_converter(type_: SlotType, enumeration: Enumeration | None) -> Converter:
    """A function from what was sent (text, list of texts, or a number already) to the typed value.

    It raises BadValueError. One value for a LIST_OF slot is a list of one, and no text at all the empty list; a list
    for a plain slot is refused.
    """
    scalar = _scalar_converter(type_, enumeration)
    if not type_.is_list:
        return scalar

    def convert_list(raw: object) -> Value:
        if raw == "":
            return []
        if isinstance(raw, (list, tuple)):
            return [scalar(item) for item in raw]  # type: ignore[misc]  # a scalar converter gives no list
        return [scalar(raw)]  # type: ignore[list-item]

    return convert_list


def _scalar_converter(type_: SlotType, enumeration: Enumeration | None) -> Converter:
    if enumeration is not None:
        names = {name: name for name in enumeration.members}

        def convert_member(raw: object) -> Value:
            known = names.get(raw) if type(raw) is str else None
            return known if known is not None else enumeration.member(_text(raw, type_))

        return convert_member
    if type_.kind == "STRING":
        return _to_string
    if type_.kind == "REAL":
        return _to_real
    return _to_pointer if type_.kind == "POINTER" else _to_int32


def _text(raw: object, type_: SlotType | str) -> str:
    if type(raw) is str:
        return raw
    if isinstance(raw, bool) or not isinstance(raw, (str, int, float)):
        what = "a list" if isinstance(raw, (list, tuple)) else shown(raw)
        raise BadValueError(f"{what} does not fit the type {type_}")
    return str(raw)


def _to_string(raw: object) -> str:
    text = raw if type(raw) is str else _text(raw, "STRING")
    if text.isascii():
        size = len(text)
    else:
        try:
            size = len(text.encode())
        except UnicodeEncodeError as wrong:  # from JSON or YAML; received bytes never give one
            raise BadValueError(f"character {wrong.start + 1} is half of a surrogate pair, not a character") from None
    if size > STRING_LIMIT:
        raise BadValueError(f"the value has more than {STRING_LIMIT} bytes, the most that a STRING holds")
    return text


def _to_int32(raw: object) -> int:
    text = _text(raw, "INTEGER")
    if not _INTEGER.fullmatch(text):
        raise BadValueError(f"{shown(text)} is not an INTEGER")
    number = int(text)
    if not INT32_MIN <= number <= INT32_MAX:
        raise BadValueError(f"{text} is outside {INT32_MIN} to {INT32_MAX}, the range of an INTEGER")
    return number


def _to_real(raw: object) -> float:
    text = _text(raw, "REAL")
    if len(text) > _REAL_LIMIT or not _REAL.fullmatch(text):
        raise BadValueError(f"{shown(text)} is not a REAL")
    number = float(text)
    if math.isinf(number):
        raise BadValueError(f"{shown(text)} is outside the range of a REAL")
    return number


def _to_pointer(raw: object) -> int:
    text = _text(raw, "POINTER")
    if _HEX.fullmatch(text):
        number = int(text, 16)
    elif _INTEGER.fullmatch(text):
        number = int(text)
    else:
        raise BadValueError(f"{shown(text)} is not a POINTER")
    if not 0 <= number <= POINTER_MAX:
        raise BadValueError(f"{text} is outside 0 to {POINTER_MAX}, the range of a POINTER")
    return number
