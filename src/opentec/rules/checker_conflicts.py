"""Conditions of one filter that exclude each other, so that no event can pass it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from opentec.events.classes import EventClass
from opentec.events.errors import EventRejected
from opentec.rules.ast import Atom, ListTerm, Number, Term, Test, Text

_POSITIVE: Final = ("equals", "within")
_NEGATIVE: Final = ("not_equals", "outside")
_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "greater_than": lambda a, b: bool(a > b),
    "smaller_than": lambda a, b: bool(a < b),
    "greater_or_equals": lambda a, b: bool(a >= b),
    "smaller_or_equals": lambda a, b: bool(a <= b),
}


def conflict(tests: Iterable[Test], cls: EventClass, slot: str) -> Test | None:
    """The first of these tests of one slot that nothing can pass which passes those before it, or None.

    Only constants are looked at, and orders only of numbers. `cls` has the slot, which is no list.
    """
    passed: list[Test] = []
    for test in tests:
        values = _values(test.operand, cls, slot)
        if values is None or (test.operator in _ORDER and not isinstance(test.operand, Number)):
            continue
        passed.append(test)
        if _impossible(passed, cls, slot):
            return test
    return None


def _values(operand: Term, cls: EventClass, slot: str) -> list[Any] | None:
    """The constants of an operand as the slot holds them; None where one is not a constant, or does not fit."""
    values: list[Any] = []
    for item in operand.items if isinstance(operand, ListTerm) else (operand,):
        if not isinstance(item, (Atom, Text, Number)) or (isinstance(operand, ListTerm) and operand.tail is not None):
            return None
        try:
            values.append(cls.value(slot, item.value))
        except EventRejected:
            return None
    return values


def _impossible(tests: Sequence[Test], cls: EventClass, slot: str) -> bool:
    allowed: list[Any] | None = None
    low, high = float("-inf"), float("inf")
    for test in tests:
        values = _values(test.operand, cls, slot) or []
        if test.operator in _POSITIVE:
            allowed = [value for value in (values if allowed is None else allowed) if value in values]
        elif test.operator in ("greater_than", "greater_or_equals"):
            low = max(low, values[0])
        elif test.operator in ("smaller_than", "smaller_or_equals"):
            high = min(high, values[0])
    if allowed is None:
        strict = any(
            test.operator in ("greater_than", "smaller_than") and (_values(test.operand, cls, slot) or [0])[0] == low
            for test in tests
        )
        return low > high or (low == high and strict)
    return not any(all(_passes(value, test, cls, slot) for test in tests) for value in allowed)


def _passes(value: Any, test: Test, cls: EventClass, slot: str) -> bool:
    values = _values(test.operand, cls, slot) or []
    if test.operator in _ORDER:
        return _ORDER[test.operator](value, values[0])
    return (value in values) is (test.operator not in _NEGATIVE)
