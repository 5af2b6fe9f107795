"""A specification meets its rule base: classes and slots are looked up, values get their types.

What does not fit is an error of the specification, with its place; a test that names a slot wrongly must not pass
because nothing ever has that slot.
"""

from __future__ import annotations

from typing import Any

import msgspec

from opentec.events.classes import ClassTable, EventClass
from opentec.events.errors import EventRejected, SourceErrors
from opentec.events.names import nearest, shown
from opentec.events.records import EventPayload, encode
from opentec.rules.event import Event
from opentec.testing.document import Mark
from opentec.testing.spec import Case, Pattern, Spec


class Wanted(msgspec.Struct, frozen=True):
    """An expected event: a class or None for any, and values for the slots that were named."""

    class_name: str | None
    values: dict[str, Any]
    mark: Mark

    def differences(self, event: Event) -> dict[str, tuple[Any, Any]]:
        """Wanted and actual value of each named slot (and `class`) that differs."""
        found: dict[str, tuple[Any, Any]] = {}
        if self.class_name is not None and event.class_name != self.class_name:
            found["class"] = self.class_name, event.class_name
        for slot, value in self.values.items():
            actual = event.get(slot)
            if actual != self.value(event, slot, value):
                found[slot] = value, actual
        return found

    def matches(self, event: Event) -> bool:
        """Whether the event has everything that was named."""
        if self.class_name is not None and event.class_name != self.class_name:
            return False
        return all(event.get(slot) == self.value(event, slot, value) for slot, value in self.values.items())

    def value(self, event: Event, slot: str, value: Any) -> Any:
        """The value as that event's class types it; with a class of its own the pattern is typed already."""
        if self.class_name is not None:
            return value
        try:
            return event.cls.value(slot, value)
        except EventRejected:
            return value

    def __str__(self) -> str:
        return " ".join([self.class_name or "any class", *[f"{slot}={_show(v)}" for slot, v in self.values.items()]])


class Sent(msgspec.Struct, frozen=True):
    """An event to process: the payload of its record, and how the report calls it."""

    payload: bytes
    text: str


class BoundStep(msgspec.Struct, frozen=True):
    mark: Mark
    said: str
    at: int  # microseconds from the start of the test
    event: Sent | None
    expect: tuple[Wanted, ...]
    expect_no: tuple[Wanted, ...]


class BoundCase(msgspec.Struct, frozen=True):
    """A test that can run."""

    case: Case
    steps: tuple[BoundStep, ...]


def _show(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)


def bind(spec: Spec, table: ClassTable) -> list[BoundCase]:
    """The tests of a specification, typed by the classes of its rule base. Raises SourceErrors with all errors."""
    before = len(spec.document.errors)
    binder = _Binder(spec, table)
    bound = [
        BoundCase(
            case,
            tuple(
                BoundStep(
                    step.mark,
                    step.said,
                    step.at,
                    binder.sent(step.event) if step.event is not None else None,
                    tuple(binder.wanted(pattern) for pattern in step.expect),
                    tuple(binder.wanted(pattern) for pattern in step.expect_no),
                )
                for step in case.steps
            ),
        )
        for case in spec.cases
    ]
    if len(spec.document.errors) > before:
        raise SourceErrors(spec.document.errors[before:])
    return bound


class _Binder:
    def __init__(self, spec: Spec, table: ClassTable) -> None:
        self.document = spec.document
        self.table = table

    def sent(self, pattern: Pattern) -> Sent:
        cls = self._class(pattern)
        slots: dict[str, Any] = {}
        for name, raw in pattern.slots.items():
            if cls is None:
                break
            try:
                slots |= self.table.check(cls.name, {name: raw.value})
            except EventRejected as wrong:
                self._report(raw.mark, wrong)
        text = " ".join([pattern.class_name or "", *[f"{slot}={_show(value)}" for slot, value in slots.items()]])
        return Sent(encode(EventPayload(pattern.class_name or "", slots)), text)

    def wanted(self, pattern: Pattern) -> Wanted:
        if pattern.class_name is None:
            return Wanted(None, self._untyped(pattern), pattern.mark)
        cls = self._class(pattern)
        values: dict[str, Any] = {}
        for name, raw in pattern.slots.items():
            if cls is None:
                break
            try:
                values[name] = cls.value(name, raw.value)
            except EventRejected as wrong:
                self._report(raw.mark, wrong)
        return Wanted(pattern.class_name, values, pattern.mark)

    def _class(self, pattern: Pattern) -> EventClass | None:
        try:
            return self.table.get(pattern.class_name or "")
        except EventRejected as wrong:
            self._report(pattern.class_mark, wrong)
            return None

    def _untyped(self, pattern: Pattern) -> dict[str, Any]:
        known = sorted({slot for cls in self.table.classes.values() for slot in cls.slots})
        for slot, raw in pattern.slots.items():
            if slot not in known:
                self._report(raw.mark, EventRejected(f"no class has a slot {shown(slot)}", nearest(slot, known)))
                continue
            wrong = self._fits_nowhere(slot, raw.value)
            if wrong is not None:
                self._report(raw.mark, wrong)
        return {slot: raw.value for slot, raw in pattern.slots.items()}

    def _fits_nowhere(self, slot: str, value: Any) -> EventRejected | None:
        """Why no class with that slot can hold the value; None when one can."""
        first: EventRejected | None = None
        for cls in self.table.classes.values():
            if slot in cls.slots:
                try:
                    cls.value(slot, value)
                except EventRejected as wrong:
                    first = first or wrong
                else:
                    return None
        return first

    def _report(self, mark: Mark, wrong: EventRejected) -> None:
        self.document.report(mark, wrong.reason, f"did you mean {wrong.suggestion!r}?" if wrong.suggestion else "")
