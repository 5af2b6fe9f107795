"""What two events must have in common: the last argument of searches, sequences and clearing events.

A relation is a list. `slot` and `slot=slot` say that both events agree there (left the first event's slot, right the
second's), `attr_condition([slot, ...])` says it of several, `attr_exception([slot, ...])` of all slots with dup_detect
but these, and `attr_sequence(slot, [value, ...])` that the first event's value stands before the second's. The names
are TEC's (tec.md 3.6); what they mean is our choice, for no public page shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from opentec.rules.event import Event
from opentec.rules.terms import RuleError, Struct, show

RELATION_LIMIT: Final = 100  # members of one relation, and values of one attr_sequence
_HOST: Final = "hostname"  # the slot that the event cache is indexed by

Holds = Callable[[Event, Event], bool]


def read_relations(term: Any, what: str) -> list[Any]:
    """A relation as plain data: [["same", slot, slot] | ["dup", slot, ...] | ["order", slot, [value, ...]], ...].

    `term` is resolved. Raises RuleError, which names `what`, for anything else.
    """
    if type(term) is not list:
        raise RuleError(f"{what}: what the events have in common is a list, such as [hostname]")
    read: list[Any] = []
    for item in term:
        read += _read(item, what)
    if len(read) > RELATION_LIMIT:
        raise RuleError(f"{what} relates more than {RELATION_LIMIT} slots")
    return read


def _read(item: Any, what: str) -> list[Any]:
    if type(item) is str:
        return [["same", item, item]]
    if type(item) is Struct:
        match item.name, item.args:
            case "=", (str(left), str(right)):
                return [["same", left, right]]
            case "attr_condition", (list(slots),):
                return [relation for slot in slots for relation in _read_same(slot, what)]
            case "attr_exception", (list(slots),) if all(type(slot) is str for slot in slots):
                return [["dup", *slots]]
            case "attr_sequence", (str(slot), list(values)):
                return [["order", slot, _values(values, what)]]
    hint = "a member is slot, slot=slot, attr_condition([...]), attr_exception([...]) or attr_sequence(slot, [...])"
    raise RuleError(f"{what}: {show(item)} relates no events; {hint}")


def _read_same(slot: Any, what: str) -> list[Any]:
    if type(slot) is str or (type(slot) is Struct and slot.name == "="):
        return _read(slot, what)
    raise RuleError(f"{what}: attr_condition takes slots, and {show(slot)} is none")


def _values(values: list[Any], what: str) -> list[Any]:
    if not 2 <= len(values) <= RELATION_LIMIT or any(type(value) not in (str, int, float) for value in values):
        raise RuleError(f"{what}: attr_sequence takes 2 to {RELATION_LIMIT} texts or numbers in their order")
    return values


class Relation:
    """A compiled relation. `first_slots` and `second_slots` are the slots that it reads of either event."""

    __slots__ = ("_first_host", "_second_host", "_tests", "first_slots", "second_slots")

    def __init__(self, data: list[Any]) -> None:
        self._tests: tuple[Holds, ...] = tuple(_TESTS[kind](*rest) for kind, *rest in data)
        ordered = [rest[0] for kind, *rest in data if kind == "order"]
        same = [rest for kind, *rest in data if kind == "same"]
        self.first_slots: list[str] = [left for left, _ in same] + ordered
        self.second_slots: list[str] = [right for _, right in same] + ordered
        self._first_host: str | None = next((left for left, right in same if right == _HOST), None)
        self._second_host: str | None = next((right for left, right in same if left == _HOST), None)

    def holds(self, first: Event, second: Event) -> bool:
        for test in self._tests:  # noqa: SIM110  # faster than all()
            if not test(first, second):
                return False
        return True

    def host_of_second(self, first: Event) -> str | None:
        """The hostname that the second event must have, as far as the relation says."""
        return _text(first.get(self._first_host)) if self._first_host is not None else None

    def host_of_first(self, second: Event) -> str | None:
        """The hostname that the first event must have, as far as the relation says."""
        return _text(second.get(self._second_host)) if self._second_host is not None else None


def _text(value: Any) -> str | None:
    # a slot that is no text is equal to no hostname: left to the test
    return value if type(value) is str else None


def _same(left: str, right: str) -> Holds:
    def same(first: Event, second: Event) -> bool:
        value = first.get(left)
        return value is not None and bool(value == second.get(right))

    return same


def _duplicates(*excepted: str) -> Holds:
    left_out = frozenset(excepted)

    def agree(first: Event, second: Event) -> bool:
        for slot in {*first.shape.dup_slots, *second.shape.dup_slots} - left_out:
            one, two = first.get(slot), second.get(slot)
            if one is not None and two is not None and one != two:
                return False
        return True

    return agree


def _ordered(slot: str, values: list[Any]) -> Holds:
    def before(first: Event, second: Event) -> bool:
        one, two = first.get(slot), second.get(slot)
        return one in values and two in values and values.index(one) < values.index(two)

    return before


_TESTS: Final[dict[str, Callable[..., Holds]]] = {"same": _same, "dup": _duplicates, "order": _ordered}
