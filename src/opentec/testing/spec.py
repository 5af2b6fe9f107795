"""Specifications: what a test says, read strictly from YAML (docs/testing-rules.md).

rulebase: ..
tests:
  - name: a recovery closes the problem
    start: 2026-03-01T08:00:00Z
    steps:
      - at: 0s
        event: {class: NT_Disk_Full, hostname: web1, drive: 'C:'}
      - at: +31s
        expect: [{class: NT_Disk_Full, status: OPEN}]
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from opentec.events.errors import SourceErrors
from opentec.events.names import shown
from opentec.testing.document import Document, Mapping, Mark, Node, Scalar, Sequence, read_document
from opentec.testing.instants import parse_at, parse_start

DEFAULT_START: Final = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z, of tests that say none
MAX_STEPS: Final = 1_000_000  # of one file
SPEC_KEYS: Final = ("rulebase", "tests")
CASE_KEYS: Final = ("name", "start", "steps")
STEP_KEYS: Final = ("at", "event", "expect", "expect_no")


class RawSlot(msgspec.Struct, frozen=True):
    """A slot as it was written; the classes of the rule base give its value a type."""

    value: str | list[str]
    mark: Mark


class Pattern(msgspec.Struct, frozen=True):
    """An event to send, or the slots that an expected event has. `class_name` None: of any class."""

    class_name: str | None
    class_mark: Mark
    slots: dict[str, RawSlot]
    mark: Mark


class Step(msgspec.Struct, frozen=True):
    """What happens or is expected at one instant."""

    mark: Mark
    said: str  # the time as it was written
    at: int  # microseconds from the start of the test
    event: Pattern | None = None
    expect: tuple[Pattern, ...] = ()
    expect_no: tuple[Pattern, ...] = ()


class Case(msgspec.Struct, frozen=True):
    """One test."""

    file: str
    mark: Mark
    name: str
    start: int  # microseconds since 1970, UTC
    steps: tuple[Step, ...]


class Spec(msgspec.Struct, frozen=True):
    """One file."""

    path: Path
    document: Document  # to report what the rule base says is wrong
    rule_base: Path
    rule_base_mark: Mark
    cases: tuple[Case, ...]


def read_spec(path: Path, file: str | None = None) -> Spec:
    """Read a specification; `file` is its name in messages. Raises OSError, and SourceErrors with everything wrong."""
    document = read_document(path, file or str(path))
    spec = _spec(document, path) if not document.errors else None
    if document.errors or spec is None:
        raise SourceErrors(document.errors)
    return spec


def _spec(document: Document, path: Path) -> Spec | None:
    top = document.mapping(document.root, "a test file", SPEC_KEYS, SPEC_KEYS)
    if top is None:
        return None
    folder = document.scalar(top["rulebase"][1], "'rulebase'") if "rulebase" in top else None
    if folder is not None and not folder.text:
        document.report(folder.mark, "'rulebase' is empty", "name the folder of the rule base, relative to this file")
    cases: dict[str, Case] = {}
    items = document.sequence(top["tests"][1], "'tests'") if "tests" in top else None
    reader = _Reader(document)
    for item in items or ():
        case = reader.case(item)
        if case is None:
            continue
        if case.name in cases:
            first = cases[case.name].mark.line
            document.report(case.mark, f"two tests have the name {shown(case.name)}", f"the first is in line {first}")
        cases[case.name] = case
    if folder is None:
        return None
    return Spec(path, document, path.parent / folder.text, folder.mark, tuple(cases.values()))


class _Reader:
    """Reads the tests of one document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.steps = 0

    def case(self, node: Node) -> Case | None:
        document = self.document
        found = document.mapping(node, "a test", CASE_KEYS, ("name", "steps"))
        if found is None:
            return None
        name = document.scalar(found["name"][1], "'name'") if "name" in found else None
        if name is not None and not name.text.strip():
            document.report(name.mark, "the name of a test is empty", "say in one line what the rules must do")
        start: int | None = DEFAULT_START
        if "start" in found:
            start = self._timed(document.scalar(found["start"][1], "'start'"), parse_start)
        items = document.sequence(found["steps"][1], "'steps'") if "steps" in found else None
        steps: list[Step] = []
        before = 0
        for item in items or ():
            self.steps += 1
            if self.steps > MAX_STEPS:
                document.report(item.mark, f"a file has at most {MAX_STEPS} steps", "split it")
                return None
            step = self._step(item, before)
            if step is not None:
                before = step.at
                steps.append(step)
        if items is not None and not items:
            document.report(found["steps"][1].mark, "the test has no steps")
        if name is None or start is None:
            return None
        return Case(document.file, node.mark, name.text, start, tuple(steps))

    def _timed(self, scalar: Scalar | None, parse: Callable[[str], int]) -> int | None:
        if scalar is None:
            return None
        try:
            return parse(scalar.text)
        except ValueError as wrong:
            self.document.report(scalar.mark, str(wrong))
            return None

    def _step(self, node: Node, before: int) -> Step | None:
        document = self.document
        found = document.mapping(node, "a step", STEP_KEYS, ("at",))
        if found is None:
            return None
        if set(found) == {"at"} and isinstance(node, Mapping) and len(node.pairs) == 1:
            document.report(node.mark, "the step does nothing", "add event:, expect: or expect_no:")
        scalar = document.scalar(found["at"][1], "'at'") if "at" in found else None
        at = self._timed(scalar, lambda text: parse_at(text, before))
        event = self._pattern(found["event"][1], "an event") if "event" in found else None
        if event is not None and event.class_name is None:
            document.report(event.mark, "the event has no class", "add class: ...")
        expect = self._patterns(found, "expect")
        expect_no = self._patterns(found, "expect_no")
        if scalar is None or at is None:
            return None
        return Step(node.mark, scalar.text, at, event, expect, expect_no)

    def _patterns(self, found: dict[str, tuple[Mark, Node]], key: str) -> tuple[Pattern, ...]:
        if key not in found:
            return ()
        mark, node = found[key]
        items = self.document.sequence(node, f"{key!r}")
        if items is not None and not items:
            self.document.report(mark, f"{key!r} is an empty list", "name at least one event, or take it out")
        patterns = (self._pattern(item, "an expected event") for item in items or ())
        return tuple(pattern for pattern in patterns if pattern is not None)

    def _pattern(self, node: Node, what: str) -> Pattern | None:
        document = self.document
        found = document.mapping(node, what, None)
        if found is None:
            return None
        mark = node.mark
        if not found:
            document.report(mark, f"{what} names neither a class nor a slot", "write {class: ..., slot: value}")
        name: Scalar | None = None
        if "class" in found:
            name = document.scalar(found.pop("class")[1], "'class'")
            if name is None:
                return None
        slots: dict[str, RawSlot] = {}
        for slot, (slot_mark, value) in found.items():
            raw = self._value(slot, value)
            if raw is not None:
                slots[slot] = RawSlot(raw, slot_mark)
        return Pattern(name.text if name else None, name.mark if name else mark, slots, mark)

    def _value(self, slot: str, node: Node) -> str | list[str] | None:
        document = self.document
        if isinstance(node, Sequence):
            items = [document.scalar(item, f"an item of slot {shown(slot)}") for item in node.items]
            return None if None in items else [item.text for item in items if item is not None]
        scalar = document.scalar(node, f"the value of slot {shown(slot)}")
        return None if scalar is None else scalar.text
