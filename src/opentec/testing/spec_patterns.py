"""Reads events and expectations of a specification."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from opentec.events.names import shown
from opentec.testing.document import Document, Mapping, Mark, Node, Scalar, Sequence, kind_of
from opentec.testing.instants import parse_length
from opentec.testing.spec_data import (
    ABSENT,
    FIELDS,
    KINDS,
    STATES,
    Expectation,
    Pattern,
    RawSlot,
    Thing,
)

EXACT: Final = "_exact"
MAX_VALUES: Final = 10_000  # items of a value that is a list of lists
_TRUE: Final = {"true": True, "yes": True, "false": False, "no": False}
_WHAT: Final = {"action": "an action", "forwarded": "a forwarded event", "timer": "a timer", "state": "a value"}
_EXAMPLES: Final = {
    "action": "{task: notify_page, args: [...]}",
    "forwarded": "{to: headquarters, event: {class: ...}}",
    "timer": "{info: late, due_in: 5m}",
    "state": "{global: [group, name], value: ...}",
}


class PatternReader:
    """Reads from one document; what is wrong is reported there, and left out."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def timed(self, scalar: Scalar | None, parse: Callable[[str], int]) -> int | None:
        """What `parse` gives; None (reported) when it raises ValueError."""
        if scalar is None:
            return None
        try:
            return parse(scalar.text)
        except ValueError as wrong:
            self.document.report(scalar.mark, str(wrong))
            return None

    def truth(self, node: Node, what: str) -> bool | None:
        """`true` or `false`; None (reported) for anything else."""
        found = _TRUE.get(node.text.lower()) if isinstance(node, Scalar) else None
        if found is None:
            self.document.report(node.mark, f"{what} is true or false, found {kind_of(node)}")
        return found

    def flag(self, found: dict[str, tuple[Mark, Node]], key: str) -> bool:
        """Whether a key is there; it can only be `true`."""
        return key in found and self.only_true(found[key][1], f"{key!r}")

    def only_true(self, node: Node, what: str) -> bool:
        """Whether a value is `true`; anything else is reported: `false` would look as if it asked for something."""
        found = self.truth(node, what)
        if found is False:
            self.document.report(node.mark, f"{what} can only be true", "take it out")
        return found is True

    def event(self, node: Node) -> Pattern | None:
        """An event that arrives."""
        pattern = self.pattern(node, "an event", exact=False)
        if pattern is not None and pattern.class_name is None:
            self.document.report(pattern.mark, "the event has no class", "add class: ...")
        return pattern

    def pattern(self, node: Node, what: str, *, exact: bool = True) -> Pattern | None:
        """A class and slots, both as far as they are named."""
        document = self.document
        found = document.mapping(node, what, None)
        if found is None:
            return None
        mark = node.mark
        is_exact = False
        if exact and EXACT in found:
            is_exact = self.truth(found.pop(EXACT)[1], f"{EXACT!r}") or False
        if not found:
            document.report(mark, f"{what} names neither a class nor a slot", "write {class: ..., slot: value}")
        name: Scalar | None = None
        if "class" in found:
            name = document.scalar(found.pop("class")[1], "'class'")
            if name is None:
                return None
        slots = self._slots(found)
        return Pattern(name.text if name else None, name.mark if name else mark, slots, mark, is_exact)

    def slots(self, node: Node, what: str) -> dict[str, RawSlot]:
        """Slots with their values, without a class."""
        return self._slots(self.document.mapping(node, what, None) or {})

    def _slots(self, found: dict[str, tuple[Mark, Node]]) -> dict[str, RawSlot]:
        slots: dict[str, RawSlot] = {}
        for slot, (mark, node) in found.items():
            raw = self._slot(slot, node)
            if raw is not None:
                slots[slot] = RawSlot(raw, mark)
        return slots

    def _slot(self, slot: str, node: Node) -> str | list[str] | None:
        document = self.document
        if isinstance(node, Scalar):
            return node.text
        if isinstance(node, Sequence):
            items = [document.scalar(item, f"an item of slot {shown(slot)}") for item in node.items]
            return None if None in items else [item.text for item in items if item is not None]
        scalar = document.scalar(node, f"the value of slot {shown(slot)}")
        return None if scalar is None else scalar.text

    # expectations

    def expectations(self, found: dict[str, tuple[Mark, Node]]) -> tuple[Expectation, ...]:
        """All that a step expects, in the order of KINDS."""
        read = [self._expectation(kind, *found[kind]) for kind in KINDS if kind in found]
        return tuple(one for one in read if one is not None)

    def _expectation(self, kind: str, mark: Mark, node: Node) -> Expectation | None:
        document, subject = self.document, KINDS[kind]
        if kind.startswith("no_") and kind != "no_state" and isinstance(node, Scalar):
            # the whole kind: `no_actions: true`
            return Expectation(kind, (), mark) if self.only_true(node, f"{kind!r}") else None
        items = document.sequence(node, f"{kind!r}")
        if items is None:
            return None
        if not items and kind != "expect_exact":
            if kind in ABSENT and kind not in ("expect_no", "no_state"):
                hint = f"write {kind}: true, or take it out"
            else:
                hint = "name at least one event, or take it out" if subject == "event" else "name one, or take it out"
            document.report(mark, f"{kind!r} is an empty list", hint)
        patterns: list[Pattern | Thing | None] = []
        for item in items:
            if subject in FIELDS:
                patterns.append(self._thing(item, subject))
            else:
                patterns.append(self.pattern(item, "an expected event"))
        return Expectation(kind, tuple(pattern for pattern in patterns if pattern is not None), mark)

    def _thing(self, node: Node, subject: str) -> Thing | None:
        document, what = self.document, _WHAT[subject]
        found = document.mapping(node, what, FIELDS[subject])
        if found is None:
            return None
        if not found:
            document.report(node.mark, f"{what} says nothing", f"write {_EXAMPLES[subject]}")
        event: Pattern | None = None
        if "event" in found:
            event = self.pattern(found.pop("event")[1], "the event")
        if subject == "state":
            self._check_state(node, found)
        elif "program" in found and "task" in found:
            document.report(found["task"][0], "an action is either a program or a task", "keep one of them")
        fields: dict[str, Any] = {}
        for field, (_, value) in found.items():
            read = self._field(field, value)
            if read is not None:
                fields[field] = read
        return Thing(fields, event, node.mark)

    def _field(self, field: str, node: Node) -> Any:
        if field == "watch":
            return self.truth(node, "'watch'")
        if field == "due_in":
            return self.timed(self.document.scalar(node, "'due_in'"), parse_length)
        if field in ("args", "key", "global") and not isinstance(node, Sequence):
            self.document.report(node.mark, f"{field!r} must be a list, found {kind_of(node)}", f"write {field}: [...]")
            return None
        if field in ("program", "task", "to", "fact", "threshold"):
            scalar = self.document.scalar(node, f"{field!r}")
            return None if scalar is None else scalar.text
        if field == "global" and isinstance(node, Sequence) and len(node.items) != 2:
            self.document.report(node.mark, "'global' is a group and a name", "write global: [group, name]")
            return None
        return self._value(node, field, [0])

    def _value(self, node: Node, field: str, count: list[int]) -> Any:
        """A text, or a list of texts and lists."""
        if isinstance(node, Scalar):
            return node.text
        count[0] += 1 if isinstance(node, Mapping) else len(node.items)
        if isinstance(node, Mapping) or count[0] > MAX_VALUES:
            hint = "write a term as the rule language does: 'point(1, 2)'" if isinstance(node, Mapping) else ""
            what = kind_of(node) if isinstance(node, Mapping) else f"more than {MAX_VALUES} items"
            self.document.report(node.mark, f"{field!r} is a value or a list, found {what}", hint)
            return None
        return [self._value(item, field, count) for item in node.items]

    def _check_state(self, node: Node, found: dict[str, tuple[Mark, Node]]) -> None:
        named = [name for name in STATES if name in found]
        if len(named) != 1:
            said = f"names {' and '.join(named)}" if named else "does not say what it is"
            self.document.report(node.mark, f"a value of the state {said}", f"write one of {', '.join(STATES)}")
            return
        wrong = {"args": "fact", "key": "threshold"}
        for field, of in wrong.items():
            if field in found and named != [of]:
                self.document.report(found[field][0], f"{field!r} belongs to {of!r}", f"there is none in a {named[0]}")
        if named == ["fact"] and "value" in found:
            self.document.report(found["value"][0], "a fact has no value", "write args: [...]")
