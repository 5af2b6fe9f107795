"""What passes between rules and user predicates: plain values of the declared type, copied and within limits.

Lists are copied both ways: rules replace values and never mutate them, and Python code must not be able to.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from opentec.rules.event import Event
from opentec.rules.terms import LIST_LIMIT, TEXT_LIMIT, show
from opentec.rules.user_predicates.api import EventView
from opentec.rules.user_predicates.declaration import EVENT, LIST, TYPES, VALUE

_WORD: Final = 2**63
_DEPTH: Final = 20  # lists within lists
_SHOWN: Final = 80

Convert = Callable[[Any], Any]


class Unfit(ValueError):
    """A value is not of the declared type; the text says so, without naming whose value it is."""


def converter(type_: str) -> Convert:
    """A function from a value to itself as the type wants it (a copy of a list, a float of a whole number, the view of
    an event). It raises Unfit."""
    if type_ == EVENT:
        return _event
    if type_ == VALUE:
        return lambda value: _plain(value, type_)
    if type_ == LIST or type_.startswith("list["):
        item = type_[5:-1]
        return (lambda value: _list(value, item)) if item else lambda value: _list(value, VALUE)
    return lambda value: _scalar(value, type_)


def _scalar(value: Any, type_: str) -> Any:
    kind = type(value)
    if type_ == "str":
        if kind is str:
            return _text(value)
    elif type_ == "int":
        if kind is int:
            return _whole(value)
    elif kind is int:
        return float(_whole(value))
    elif kind is float:
        return _real(value)
    raise _unfit(value, type_)


def _plain(value: Any, type_: str, room: list[int] | None = None, depth: int = 0) -> Any:
    kind = type(value)
    if kind is str:
        return _text(value)
    if kind is int:
        return _whole(value)
    if kind is float:
        return _real(value)
    if kind is list:
        left = room if room is not None else [LIST_LIMIT]
        if depth >= _DEPTH:
            raise Unfit(f"lists may be nested {_DEPTH} deep")
        _take(left, len(value))
        return [_plain(item, VALUE, left, depth + 1) for item in value]
    raise _unfit(value, type_)


def _list(value: Any, item: str) -> list[Any]:
    if type(value) is not list:
        raise _unfit(value, LIST if item == VALUE else f"list[{item}]")
    if item == VALUE:
        copied: list[Any] = _plain(value, LIST)
        return copied
    _take([LIST_LIMIT], len(value))
    return [_scalar(one, item) for one in value]


def _take(room: list[int], items: int) -> None:
    room[0] -= items
    if room[0] < 0:
        raise Unfit(f"a list has at most {LIST_LIMIT} items")


def _text(value: str) -> str:
    if len(value) > TEXT_LIMIT:
        raise Unfit(f"a text of {len(value)} characters is longer than {TEXT_LIMIT}, the most that a rule may build")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as wrong:
            raise Unfit(f"character {wrong.start + 1} of the text is half of a surrogate pair") from None
    return value


def _whole(value: int) -> int:
    if not -_WORD <= value < _WORD:
        raise Unfit("a whole number does not fit into 64 bits")
    return value


def _real(value: float) -> float:
    if not math.isfinite(value):
        raise Unfit(f"{value} is no number that rules know")
    return value


def _event(value: Any) -> EventView:
    if type(value) is not Event:
        raise _unfit(value, EVENT)
    return EventView(value)


def _unfit(value: Any, type_: str) -> Unfit:
    if type(value) in (str, int, float, list, Event):
        said = show(value)
        return Unfit(f"{said[:_SHOWN]!r} is not {TYPES[type_]}")
    what = "None" if value is None else f"a {type(value).__name__}"
    return Unfit(f"{what} is not {TYPES[type_]}")
