"""Specifications and classes together: every class and slot is known, and every value has its slot's type."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec

from opentec.events.classes import ClassTable, EventClass
from opentec.events.errors import EventRejected, SourceErrors
from opentec.events.names import nearest, shown
from opentec.events.records import EventPayload, encode
from opentec.rules.rulebase import RuleBase, RuleBaseError, load_rule_base
from opentec.testing.document import Mark
from opentec.testing.expectations import Wanted, WantedThing, show_value
from opentec.testing.spec_data import ABSENT, Case, Change, Expectation, Failover, Pattern, RawSlot, Spec, Step, Thing

FAILOVER: Final = "TEC_Failover"
RECOVERED: Final = "TEC_Recovered"
NAMED: Final = ("task", "program", "to")  # fields whose values rules name
# what server/master.py says when another node takes over
NOTICE: Final[Mapping[str, Any]] = {
    "msg": "node1 -> node2: the lease was not renewed",
    "from_node": "node1",
    "to_node": "node2",
    "reason": "the lease was not renewed",
    "gap": 0.0,
    "skipped_epochs": 0,
    "source": "TEC",
    "hostname": "TECServer",
}
Load = Callable[[Path], RuleBase]


class Sent(msgspec.Struct, frozen=True):
    """An event to process: the payload of its record, and how the report calls it."""

    payload: bytes
    text: str


class BoundChange(msgspec.Struct, frozen=True):
    """What an operator asks of the one event that is `wanted`."""

    wanted: Wanted
    slots: dict[str, Any]
    user: str
    refused: str | None
    mark: Mark
    text: str


class BoundFailover(msgspec.Struct, frozen=True):
    """The slots of the notice that a takeover begins with, but for its epoch and rule base."""

    slots: dict[str, Any]
    given: frozenset[str]  # that the test says itself


class BoundReload(msgspec.Struct, frozen=True):
    """Another rule base, with its folder as the test file names it."""

    rule_base: RuleBase
    folder: Path

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process: classes hold functions, their compiled form does not."""
        return _reload_of, (self.rule_base.encode(), self.folder)


def _reload_of(compiled: bytes, folder: Path) -> BoundReload:
    return BoundReload(_decoded(compiled), folder)


@lru_cache(maxsize=8)
def _decoded(compiled: bytes) -> RuleBase:
    return RuleBase.decode(compiled)


class BoundExpectation(msgspec.Struct, frozen=True):
    """One of KINDS; nothing wanted: nothing of the kind may be there."""

    kind: str
    wanted: tuple[Wanted | WantedThing, ...]
    mark: Mark


class BoundStep(msgspec.Struct, frozen=True):
    """One instant of a test: what is done to the server, then events, then a change, then what is expected."""

    mark: Mark
    said: str
    at: int  # microseconds from the start of the test
    restart: bool = False
    failover: BoundFailover | None = None
    reload: BoundReload | None = None
    events: tuple[Sent, ...] = ()
    change: BoundChange | None = None
    expectations: tuple[BoundExpectation, ...] = ()


class BoundCase(msgspec.Struct, frozen=True):
    """A test that can run."""

    case: Case
    steps: tuple[BoundStep, ...]


def bind(
    spec: Spec, table: ClassTable, load: Load = load_rule_base, *, rule_base: RuleBase | None = None
) -> list[BoundCase]:
    """The tests of a specification, typed by the classes of its rule base. Raises SourceErrors with all errors.

    `load` reads the rule bases that steps take with `reload`. With `rule_base`, what shall not be started or sent must
    have a name that a rule uses (naming.py).
    """
    before = len(spec.document.errors)
    bases = _Bases(spec, load)
    binder = _Binder(spec, table)
    bound = []
    for case in spec.cases:
        binder.table = table
        steps: list[BoundStep] = []
        for step in case.steps:
            base = bases.find(*step.reload) if step.reload is not None else None
            if base is not None:
                binder.table = base.rule_base.classes
            steps += binder.step(step, base)
        bound.append(BoundCase(case, tuple(steps)))
    if rule_base is not None:
        _check_names(spec, bound, rule_base)
    if len(spec.document.errors) > before:
        raise SourceErrors(spec.document.errors[before:])
    return bound


def _check_names(spec: Spec, cases: Iterable[BoundCase], rule_base: RuleBase) -> None:
    """Report each name of what shall not be there that no rule uses, once for each place in the file."""
    steps = [step for case in cases for step in case.steps]
    absent = [one for step in steps for one in step.expectations if one.kind in ABSENT]
    things = [want for one in absent for want in one.wanted if isinstance(want, WantedThing)]
    # of one place once, though parameters make several tests of it
    said = dict.fromkeys(
        (want.mark, name, want.fields[name]) for want in things for name in NAMED if name in want.fields
    )
    if not said:
        return
    from opentec.testing.naming import names_of, unused

    known = names_of([rule_base, *(step.reload.rule_base for step in steps if step.reload is not None)])
    for mark, field, name in said:
        if wrong := unused(field, name, known):
            spec.document.report(mark, *wrong)


class _Bases:
    """The other rule bases of a file."""

    def __init__(self, spec: Spec, load: Load) -> None:
        self._document = spec.document
        self._load = load
        self._known: dict[Path, BoundReload | None] = {}

    def find(self, path: Path, mark: Mark) -> BoundReload | None:
        """The rule base of a folder; None (reported) when it cannot be loaded."""
        folder = Path(os.path.normpath(path))
        if folder not in self._known:
            self._known[folder] = None
            try:
                self._known[folder] = BoundReload(self._load(folder), folder)
            except SourceErrors as wrong:
                self._document.errors += wrong.errors
            except RuleBaseError as wrong:
                self._document.report(mark, str(wrong), "'reload' is relative to the folder of this file")
        return self._known[folder]


class _Binder:
    def __init__(self, spec: Spec, table: ClassTable) -> None:
        self.document = spec.document
        self.table = table
        self._known: tuple[ClassTable, dict[str, list[EventClass]]] | None = None

    def step(self, step: Step, base: BoundReload | None) -> list[BoundStep]:
        """The step, and one before it for each earlier instant at which an event of it arrives."""
        groups: dict[int, list[Sent]] = {}
        known: dict[int, Sent] = {}
        for arrival in step.arrivals:
            sent = known.get(id(arrival.event))
            if sent is None:
                sent = known[id(arrival.event)] = self.sent(arrival.event)
            groups.setdefault(step.at + arrival.after, []).append(sent)
        first = groups.pop(step.at, [])
        bound = BoundStep(
            step.mark,
            step.said,
            step.at,
            step.restart,
            self._failover(step.failover) if step.failover is not None else None,
            base,
            tuple(first),
        )
        steps = [bound, *(BoundStep(step.mark, step.said, at, events=tuple(sent)) for at, sent in groups.items())]
        change = self._change(step.change) if step.change is not None else None
        expectations = tuple(map(self._expectation, step.expectations))
        steps[-1] = msgspec.structs.replace(steps[-1], change=change, expectations=expectations)
        return steps

    def sent(self, pattern: Pattern) -> Sent:
        cls = self._class(pattern)
        slots: dict[str, Any] = {}
        if cls is not None:
            try:
                slots = dict(self.table.check(cls.name, {name: raw.value for name, raw in pattern.slots.items()}))
            except EventRejected:
                slots = self._checked(cls, pattern.slots)
        text = " ".join([pattern.class_name or "", *[f"{slot}={show_value(value)}" for slot, value in slots.items()]])
        return Sent(encode(EventPayload(pattern.class_name or "", slots)), text)

    def _checked(self, cls: EventClass, raw_slots: Mapping[str, RawSlot]) -> dict[str, Any]:
        """Slot by slot, so that each error has its place."""
        slots: dict[str, Any] = {}
        for name, raw in raw_slots.items():
            try:
                slots |= self.table.check(cls.name, {name: raw.value})
            except EventRejected as wrong:
                self._report(raw.mark, wrong)
        return slots

    def wanted(self, pattern: Pattern) -> Wanted:
        if pattern.class_name is None:
            return Wanted(None, self._untyped(pattern.slots), pattern.mark, pattern.exact)
        cls = self._class(pattern)
        values = {} if cls is None else self._typed(cls, pattern.slots)
        return Wanted(pattern.class_name, values, pattern.mark, pattern.exact)

    def _typed(self, cls: EventClass, slots: Mapping[str, RawSlot]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, raw in slots.items():
            try:
                values[name] = cls.value(name, raw.value)
            except EventRejected as wrong:
                self._report(raw.mark, wrong)
        return values

    def _class(self, pattern: Pattern) -> EventClass | None:
        try:
            return self.table.get(pattern.class_name or "")
        except EventRejected as wrong:
            self._report(pattern.class_mark, wrong)
            return None

    def _untyped(self, slots: Mapping[str, RawSlot]) -> dict[str, Any]:
        """Values of which only the event will say the type."""
        known = self._classes_by_slot()
        for slot, raw in slots.items():
            if slot not in known:
                self._report(raw.mark, EventRejected(f"no class has a slot {shown(slot)}", nearest(slot, known)))
                continue
            wrong = self._fits_nowhere(known[slot], slot, raw.value)
            if wrong is not None:
                self._report(raw.mark, wrong)
        return {slot: raw.value for slot, raw in slots.items()}

    def _classes_by_slot(self) -> dict[str, list[EventClass]]:
        if self._known is None or self._known[0] is not self.table:
            found: dict[str, list[EventClass]] = {}
            for cls in self.table.classes.values():
                for slot in cls.slots:
                    found.setdefault(slot, []).append(cls)
            self._known = self.table, dict(sorted(found.items()))
        return self._known[1]

    def _fits_nowhere(self, classes: list[EventClass], slot: str, value: Any) -> EventRejected | None:
        """Why no class with that slot can hold the value; None when one can."""
        first: EventRejected | None = None
        for cls in classes:
            try:
                cls.value(slot, value)
            except EventRejected as wrong:
                first = first or wrong
            else:
                return None
        return first

    # what is done to the server

    def _change(self, change: Change) -> BoundChange:
        wanted = self.wanted(change.event)
        cls = self.table.classes.get(change.event.class_name or "")
        slots = self._untyped(change.slots) if cls is None else self._typed(cls, change.slots)
        said = " ".join(f"{slot}={show_value(value)}" for slot, value in slots.items())
        text = f"{change.user} asks for {said} of {wanted}"
        return BoundChange(wanted, slots, change.user, change.refused, change.mark, text)

    def _failover(self, failover: Failover) -> BoundFailover:
        cls = self.table.classes.get(FAILOVER)
        if cls is None:
            hint = "take tec.baroc from the shipped rule base"
            self.document.report(failover.mark, f"the rule base has no class {FAILOVER}", hint)
            return BoundFailover({}, frozenset())
        slots = {slot: value for slot, value in NOTICE.items() if slot in cls.slots}
        given = self._checked(cls, failover.slots)
        return BoundFailover(slots | given, frozenset(given))

    # expectations

    def _expectation(self, expectation: Expectation) -> BoundExpectation:
        wanted = [
            self._thing(pattern) if isinstance(pattern, Thing) else self.wanted(pattern)
            for pattern in expectation.patterns
        ]
        return BoundExpectation(expectation.kind, tuple(wanted), expectation.mark)

    def _thing(self, thing: Thing) -> WantedThing:
        return WantedThing(thing.fields, None if thing.event is None else self.wanted(thing.event), thing.mark)

    def _report(self, mark: Mark, wrong: EventRejected) -> None:
        self.document.report(mark, wrong.reason, f"did you mean {wrong.suggestion!r}?" if wrong.suggestion else "")
