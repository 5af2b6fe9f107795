"""A reader of MessagePack, enough for the headers of segments and the payloads of records."""

from __future__ import annotations

import struct
from typing import Any

_FIXED = {
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
_SIZED = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
_ARRAYS = {0xDC: ">H", 0xDD: ">I"}
_MAPS = {0xDE: ">H", 0xDF: ">I"}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


def decode(data: bytes) -> Any:
    """The one value that `data` holds; raises ValueError when there is more or less."""
    try:
        value, at = _value(data, 0)
    except (IndexError, struct.error) as error:
        raise ValueError("the value is cut off") from error
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes behind the value")
    return value


def _value(data: bytes, at: int) -> tuple[Any, int]:
    kind = data[at]
    at += 1
    if kind < 0x80:
        return kind, at
    if kind >= 0xE0:
        return kind - 0x100, at
    if kind < 0x90:
        return _map(data, at, kind & 0x0F)
    if kind < 0xA0:
        return _array(data, at, kind & 0x0F)
    if kind < 0xC0:
        return _text(data, at, kind & 0x1F)
    if kind in _CONSTANTS:
        return _CONSTANTS[kind], at
    if kind in _FIXED:
        return _number(data, at, _FIXED[kind])
    for table, read in ((_SIZED, _text if kind >= 0xD9 else _bytes), (_ARRAYS, _array), (_MAPS, _map)):
        if kind in table:
            size, at = _number(data, at, table[kind])
            return read(data, at, size)
    raise ValueError(f"byte 0x{kind:02x} begins no value that is used here")


def _number(data: bytes, at: int, form: str) -> tuple[Any, int]:
    (value,) = struct.unpack_from(form, data, at)
    return value, at + struct.calcsize(form)


def _bytes(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    if at + size > len(data):
        raise IndexError
    return data[at : at + size], at + size


def _text(data: bytes, at: int, size: int) -> tuple[str, int]:
    raw, at = _bytes(data, at, size)
    return raw.decode(), at


def _array(data: bytes, at: int, size: int) -> tuple[list[Any], int]:
    found = []
    for _ in range(size):
        item, at = _value(data, at)
        found.append(item)
    return found, at


def _map(data: bytes, at: int, size: int) -> tuple[dict[Any, Any], int]:
    found = {}
    for _ in range(size):
        key, at = _value(data, at)
        found[key], at = _value(data, at)
    return found, at
