"""Checks of event filters and of constants against the classes.

Everything reported is certain: such a filter could never match, or such a value never be stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opentec.events.classes import ClassTable, EventClass
from opentec.events.errors import EventRejected
from opentec.events.names import nearest
from opentec.events.slots import Slot
from opentec.rules.ast import Atom, Condition, EventFilter, ListTerm, Number, Term, Test, Text, Var
from opentec.rules.checker_conflicts import conflict
from opentec.rules.checker_report import Report, shown_term, variables
from opentec.rules.parser_tokens import did_you_mean

_LIST_TESTS: Final = ("within", "outside")
_ORDERS: Final = ("greater_than", "smaller_than", "greater_or_equals", "smaller_or_equals")


class FilterChecker:
    """Checks filters against one class table. Methods report and go on; with `reach` also what nothing passes."""

    def __init__(self, table: ClassTable, report: Report, *, reach: bool = False) -> None:
        self.reach = reach
        self.table = table
        self.report = report

    def class_named(self, name: Atom) -> EventClass | None:
        """The class, or None when it is not defined, which is reported."""
        found = self.table.classes.get(name.value)
        if found is None:
            self.report.add(
                name.place, f"class {name.value!r} is not defined", did_you_mean(name.value, self.table.classes)
            )
        return found

    def filter(self, event: EventFilter, bound: set[str], like: Sequence[EventClass] | None = None) -> list[EventClass]:
        """Check a filter, add what it binds to `bound`, and give the classes its event can have ([] = not known).

        `like` are the classes of the event whose duplicates are sought when of_class is missing.
        """
        exact = bool(event.classes)
        if exact:
            found = [self.class_named(name) for name in event.classes]
            classes = [cls for cls in found if cls is not None]
            unknown = len(classes) < len(found)
        else:
            classes, unknown = list(like or ()), False
        for condition in event.conditions:
            if not unknown:
                slots = self.slots(classes, condition, exact=exact)
                self._constants(condition, classes, slots)
            self._bindings(condition, bound)
        if self.reach and not unknown:
            self._conflicts(event, classes)
        bound.add(event.variable.name)
        if event.class_variable is not None:
            bound.add(event.class_variable.name)
        return [] if unknown else classes

    def slots(self, classes: Sequence[EventClass], at: Condition | Atom, *, exact: bool) -> list[Slot]:
        """The slot in each class that has it; reports where it is missing.

        With `exact` every class must have it. Otherwise some class, or a class that inherits from one, must: an event
        whose class is not known until it arrives may have the slot.
        """
        name = at.slot if isinstance(at, Condition) else at.value
        own = [cls.slots[name] for cls in classes if name in cls.slots]
        if classes and len(own) == len(classes):
            return own
        heirs = [
            cls
            for cls in self.table.classes.values()
            if name in cls.slots and (not classes or any(cls.is_a(above.name) for above in classes))
        ]
        if heirs and not exact:
            return own
        lacking = next((cls for cls in classes if name not in cls.slots), None)
        hint = ""
        if near := nearest(name, lacking.slots if lacking else self._all_slots()):
            hint = f"did you mean {near!r}?"
        elif heirs:
            hint = f"class {heirs[0].name} has it"
        self.report.add(
            at.place, f"class {lacking.name} has no slot {name!r}" if lacking else f"no class has slot {name!r}", hint
        )
        return own

    def _all_slots(self) -> list[str]:
        return sorted({slot for cls in self.table.classes.values() for slot in cls.slots})

    def _constants(self, condition: Condition, classes: Sequence[EventClass], slots: Sequence[Slot]) -> None:
        having = next((cls for cls in classes if condition.slot in cls.slots), None)
        for test in condition.tests:
            if self.shape(test) and having is not None and slots:
                self._test(test, having, slots[0])

    def _conflicts(self, event: EventFilter, classes: Sequence[EventClass]) -> None:
        tests: dict[str, list[Test]] = {}
        for condition in event.conditions:
            tests.setdefault(condition.slot, []).extend(condition.tests)
        for slot, found in tests.items():
            types = {cls.slots[slot].type for cls in classes if slot in cls.slots}
            cls = next((cls for cls in classes if slot in cls.slots), None)
            if cls is None or len(types) > 1 or any(type_.is_list for type_ in types):
                continue
            if test := conflict(found, cls, slot):
                self.report.add(
                    test.place, f"no event passes this filter: its tests of {slot!r} exclude each other", "take one out"
                )

    def changed(self, classes: Sequence[EventClass], attribute: Atom, set_to: Condition | None) -> None:
        """Check the slot that a change rule names, and the new values that it asks for."""
        slots = self.slots(classes, attribute, exact=False)
        if set_to is None:
            return
        having = next((cls for cls in classes or self.table.classes.values() if attribute.value in cls.slots), None)
        for test in set_to.tests:
            if self.shape(test) and having is not None and (slots or not classes):
                self._test(test, having, having.slots[attribute.value])

    def shape(self, test: Test) -> bool:
        """Whether the operand is a list where the test takes one, and not where it takes none; reports."""
        listed = isinstance(test.operand, ListTerm)
        if isinstance(test.operand, Var) or (listed and test.operator in ("equals", "not_equals")):
            return True
        if test.operator in _LIST_TESTS and not listed:
            self.report.add(
                test.operand.place, f"{test.operator!r} takes a list", f"write {test.operator} [{_plain(test.operand)}]"
            )
            return False
        if listed and test.operator not in _LIST_TESTS:
            self.report.add(test.operand.place, f"{test.operator!r} takes one value, not a list")
            return False
        return True

    def _test(self, test: Test, cls: EventClass, slot: Slot) -> None:
        operand = test.operand
        if slot.type.is_list:
            # what a test of a single value against a list slot means is left to the engine
            return
        if isinstance(operand, ListTerm):
            if test.operator not in _LIST_TESTS:
                self.report.add(operand.place, f"slot {slot.name!r} is {slot.type}, not a list", "use within [...]")
                return
            for item in operand.items:
                self.constant(cls, slot, item)
        elif not (test.operator in _ORDERS and slot.type.kind == "ENUM" and isinstance(operand, Number)):
            # an order may be asked of any number, a member's or not
            self.constant(cls, slot, operand)

    def constant(self, cls: EventClass, slot: Slot, value: Term, *, stored: bool = False) -> None:
        """Report a constant that the slot can never hold. Variables and computed terms are not looked at.

        A value that is `stored` is converted, a number may be given as text; one that is compared is not.
        """
        if isinstance(value, ListTerm):
            if not slot.type.is_list:
                self.report.add(value.place, f"slot {slot.name!r} of class {cls.name} is {slot.type}, not a list")
                return
            for item in value.items:
                self.constant(cls, slot, item, stored=stored)
            return
        if not isinstance(value, (Atom, Text, Number)):
            return
        what = f"slot {slot.name!r} of class {cls.name} is {slot.type}"
        if isinstance(value, Number) and slot.type.kind == "STRING":
            self.report.add(value.place, f"{what}, {value.value} is a number", f"write '{value.value}'")
        elif isinstance(value, Number) and isinstance(value.value, float) and slot.type.is_integer:
            self.report.add(value.place, f"{what}, {value.value} is not whole")
        elif (
            not isinstance(value, Number)
            and slot.type.kind not in ("STRING", "ENUM")
            and not (stored and _is_number(value.value))
        ):
            self.report.add(value.place, f"{what}, {shown_term(value)} is text", "write a number without quotes")
        else:
            try:
                cls.value(slot.name, value.value)
            except EventRejected as error:
                hint = f"did you mean {error.suggestion!r}?" if error.suggestion else ""
                self.report.add(value.place, error.reason, hint)

    def _bindings(self, condition: Condition, bound: set[str]) -> None:
        # conditions are looked at in the order of the text; only `equals` can give a variable its value
        if condition.variable is not None:
            bound.add(condition.variable.name)
        for test in condition.tests:
            for var in variables(test.operand):
                if test.operator != "equals" and var.name not in bound:
                    self.unbound(var, bound, f"{test.operator!r} compares with it")
                bound.add(var.name)

    def unbound(self, var: Var, bound: set[str], why: str) -> None:
        near = did_you_mean(var.name, sorted(bound))
        self.report.add(var.place, f"variable {var.name} has no value here, but {why}", near)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _plain(term: Term) -> str:
    return shown_term(term) if isinstance(term, (Atom, Text, Number)) else "..."
