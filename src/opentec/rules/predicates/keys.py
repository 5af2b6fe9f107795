"""Keys of what rules count by: values as one text, in which no two values look alike."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from opentec.rules.terms import RuleError, show

KEY_LIMIT: Final = 1_024  # bytes of a key
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def key_of(values: Any, what: str) -> str:
    """Text, numbers and lists of them as JSON text. Raises RuleError, which names `what`, for anything else."""
    if not _plain(values):
        raise RuleError(f"{what} is text, a number or a list of them, not {show(values)[:60]!r}")
    try:
        key = _encode(values)
    except UnicodeEncodeError:
        raise RuleError(f"{what} holds text that is no Unicode") from None
    if len(key) > KEY_LIMIT:
        raise RuleError(f"{what} is longer than {KEY_LIMIT} bytes")
    return key.decode()


def values_of(key: str) -> Any:
    """What the key was made of."""
    return _decode(key)


def _plain(value: Any) -> bool:
    kind = type(value)
    return kind is str or kind is int or kind is float or (kind is list and all(map(_plain, value)))
