"""Event filters as closures over an event: tests with constants first, then variables in the order written.

A condition on a slot that the event's class does not have fails. Severities, states and other enumerations compare by
their numbers (tec.md 2.1); equality is of values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from opentec.events.classes import ClassTable
from opentec.events.names import nearest
from opentec.rules.ast import Condition, EventFilter, Test, Var
from opentec.rules.evaluation import Evaluation
from opentec.rules.event import CLOSED, Event
from opentec.rules.scope import (
    EVENT,
    GROUND,
    NO_CONSTANT,
    Frame,
    Reader,
    Scope,
    constant,
    fixed,
    reader,
    value_reader,
    wrong,
)
from opentec.rules.selector import EqualTo
from opentec.rules.terms import undo, unify

Check = Callable[[Event], bool]
Match = Callable[[Event, Frame, Evaluation], bool]

_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "greater_than": lambda a, b: bool(a > b),
    "smaller_than": lambda a, b: bool(a < b),
    "greater_or_equals": lambda a, b: bool(a >= b),
    "smaller_or_equals": lambda a, b: bool(a <= b),
}


class Source(NamedTuple):
    """What a check or bind of a filter was written as, for explanations.

    `slot` is "" for the event itself and for its class; `test` is None where a variable stands for itself; `read` gives
    the value that is compared with, where that is no constant.
    """

    slot: str
    test: Test | None = None
    variable: Var | None = None
    read: Reader | None = None


class FilterCode:
    """A compiled filter. Which events it takes, and what a search may know beforehand."""

    __slots__ = (
        "binds",
        "binds_said",
        "checks",
        "checks_said",
        "classes",
        "host",
        "not_closed",
        "open_only",
        "place",
        "roots",
        "tests",
        "unifies",
    )

    def __init__(self) -> None:
        self.place = 0  # of the event's variable in the frame
        self.roots: tuple[str, ...] = ()
        self.classes: frozenset[str] | None = None  # concrete ones; None: any
        self.checks: list[Check] = []
        self.checks_said: list[Source] = []  # beside `checks`
        self.binds: list[Match] = []
        self.binds_said: list[Source] = []  # beside `binds`
        self.tests: list[EqualTo] = []
        self.host: Reader | None = None
        self.open_only = False
        self.not_closed: Check | None = None  # the check that says no more than that
        self.unifies = False  # it may leave bindings on the trail when it fails

    def check(self, check: Check, said: Source) -> None:
        """Add a test that needs no variables."""
        self.checks.append(check)
        self.checks_said.append(said)

    def bind(self, bind: Match, said: Source) -> None:
        """Add a test that reads or binds variables, behind those that are there."""
        self.binds.append(bind)
        self.binds_said.append(said)

    def accepts(self) -> Check:
        """The part of the filter that needs no variables, as one function."""
        classes, checks = self.classes, tuple(self.checks)

        def accepts(event: Event) -> bool:
            if classes is not None and event.shape.name not in classes:
                return False
            for check in checks:  # noqa: SIM110  # twice as fast as all()
                if not check(event):
                    return False
            return True

        return accepts

    def match(self, *, found_open: bool = False) -> Match:
        """The whole filter as one function, which stores the event in the frame and binds variables.

        `found_open`: only events that are not CLOSED will be given to it.
        """
        place, classes, binds = self.place, self.classes, tuple(self.binds)
        checks = tuple(check for check in self.checks if not (found_open and check is self.not_closed))

        def matches(event: Event, frame: Frame, run: Evaluation) -> bool:
            if classes is not None and event.shape.name not in classes:
                return False
            for check in checks:
                if not check(event):
                    return False
            frame[place] = event
            for bind in binds:  # noqa: SIM110  # twice as fast as all()
                if not bind(event, frame, run):
                    return False
            return True

        if not self.unifies:
            return matches

        def matches_or_undoes(event: Event, frame: Frame, run: Evaluation) -> bool:
            mark = len(run.trail)
            if matches(event, frame, run):
                return True
            undo(run.trail, mark)
            return False

        return matches_or_undoes


def compile_filter(source: EventFilter, scope: Scope, table: ClassTable) -> FilterCode:
    """Compile a filter; its variables are defined in `scope` from here on. Raises SourceError."""
    code = FilterCode()
    known = scope.known(source.variable)
    code.place = scope.hidden() if known else scope.define(source.variable, EVENT)
    if known:
        # the variable may have a value already: then only that event can match
        same = reader(source.variable, scope)
        code.unifies = True
        said = Source("", variable=source.variable, read=same)
        code.bind(lambda event, frame, run: unify(same(frame), event, run.trail), said)
    if source.classes:
        code.roots = tuple(atom.value for atom in source.classes)
        for atom in source.classes:
            if atom.value not in table.classes:
                near = nearest(atom.value, table.classes)
                wrong(f"class {atom.value!r} is not defined", atom.place, f"did you mean {near!r}?" if near else "")
        code.classes = frozenset(
            name for name, ancestors in table.ancestors.items() if not set(code.roots).isdisjoint(ancestors)
        )
    if source.class_variable is not None:
        var = source.class_variable
        if scope.known(var):
            name = reader(var, scope)
            code.unifies = True
            said = Source("", variable=var, read=name)
            code.bind(lambda event, frame, run: unify(name(frame), event.shape.name, run.trail), said)
        else:
            at = scope.define(var, GROUND)
            said = Source("", variable=var)
            code.bind(lambda event, frame, run: frame.__setitem__(at, event.shape.name) is None, said)
    for condition in source.conditions:
        _condition(condition, code, scope, table)
    return code


def compile_conditions(conditions: Iterable[Condition], scope: Scope, table: ClassTable) -> FilterCode:
    """Compile conditions on something that has slots but is no event of a class, as a timer."""
    code = FilterCode()
    code.place = scope.hidden()
    for condition in conditions:
        _condition(condition, code, scope, table)
    return code


def _condition(condition: Condition, code: FilterCode, scope: Scope, table: ClassTable) -> None:
    slot = condition.slot
    if condition.variable is not None:
        _bind(condition, code, scope)
    for test in condition.tests:
        value = constant(test.operand)
        if value is NO_CONSTANT:
            _variable_test(slot, test, code, scope)
            continue
        if test.operator in ("within", "outside") and not isinstance(value, list):
            wrong(f"{test.operator} takes a list", test.place, f"write {test.operator} ['...']")
        code.check(_check(slot, test.operator, value), Source(slot, test))
        if slot == "status":
            code.open_only = code.open_only or _excludes_closed(test.operator, value)
            if (test.operator, value) in (("outside", [CLOSED]), ("not_equals", CLOSED)):
                code.not_closed = code.checks[-1]
        if slot == "hostname" and test.operator == "equals" and code.host is None:
            code.host = fixed(value)
        _selectable(slot, test.operator, value, code, table)


def _bind(condition: Condition, code: FilterCode, scope: Scope) -> None:
    slot, var = condition.slot, condition.variable
    assert var is not None
    if scope.known(var):
        read = reader(var, scope)
        code.unifies = True
        if slot == "hostname" and scope.known(var) == GROUND and code.host is None:
            code.host = read

        def unifies(event: Event, frame: Frame, run: Evaluation) -> bool:
            value = event.get(slot)
            return value is not None and unify(read(frame), value, run.trail)

        code.bind(unifies, Source(slot, variable=var, read=read))
        return
    place = scope.define(var, GROUND)

    def bind(event: Event, frame: Frame, run: Evaluation) -> bool:
        slots = event.slots
        value = slots[slot] if slot in slots else event.defaults.get(slot)
        frame[place] = value
        return value is not None

    code.bind(bind, Source(slot, variable=var))


def _variable_test(slot: str, test: Test, code: FilterCode, scope: Scope) -> None:
    operand, operator = test.operand, test.operator
    if operator == "equals" and isinstance(operand, Var) and scope.known(operand) < GROUND:
        # `equals _x` with a variable that has no value binds it, as `slot: _x` does
        _bind(Condition(slot, operand, place=test.place), code, scope)
        return
    read = value_reader(operand, scope)
    if operator == "equals":
        if slot == "hostname" and code.host is None:
            code.host = read

        def same(event: Event, frame: Frame, run: Evaluation) -> bool:
            slots = event.slots
            value = slots[slot] if slot in slots else event.defaults.get(slot)
            return value is not None and bool(value == read(frame))

        code.bind(same, Source(slot, test, read=read))
        return
    code.bind(lambda event, frame, run: _check(slot, operator, read(frame))(event), Source(slot, test, read=read))


def _excludes_closed(operator: str, value: Any) -> bool:
    match operator:
        case "equals":
            return bool(value != CLOSED)
        case "within":
            return CLOSED not in value
        case "outside":
            return CLOSED in value
        case "not_equals":
            return bool(value == CLOSED)
    return False


def _check(slot: str, operator: str, value: Any) -> Check:
    """One test of a slot against a value, as a function of the event."""
    if operator in _ORDER:
        return _ordered(slot, _ORDER[operator], value)
    wanted = value if operator in ("within", "outside") and type(value) is list else [value]
    if any(type(item) is not str for item in wanted):
        return _mixed(slot, wanted, operator in ("equals", "within"))
    if operator == "equals":

        def equals(event: Event) -> bool:
            slots = event.slots
            return bool((slots[slot] if slot in slots else event.defaults.get(slot)) == value)

        return equals
    if operator == "not_equals":

        def not_equals(event: Event) -> bool:
            found = event.get(slot)
            return found is not None and bool(found != value)

        return not_equals
    members = frozenset(wanted)
    inside = operator == "within"

    def member(event: Event) -> bool:
        slots = event.slots
        found = slots[slot] if slot in slots else event.defaults.get(slot)
        if type(found) is str:
            return (found in members) is inside
        return found is not None and not inside

    return member


def _mixed(slot: str, wanted: list[Any], inside: bool) -> Check:
    """Membership among values of which some are numbers: these also name a member of an enumeration."""

    def check(event: Event) -> bool:
        found = event.get(slot)
        if found is None:
            return False
        if found in wanted:
            return inside
        numbers = event.shape.numbers.get(slot)
        return (numbers is not None and numbers.get(found) in wanted) is inside

    return check


def _ordered(slot: str, compare: Callable[[Any, Any], bool], value: Any) -> Check:
    kind = type(value)
    enumeration: Mapping[str, int] | None = None  # the last one that was met, and which of its members fit
    fitting: frozenset[str] = frozenset()

    def check(event: Event) -> bool:
        nonlocal enumeration, fitting
        slots = event.slots
        found = slots[slot] if slot in slots else event.defaults.get(slot)
        numbers = event.shape.numbers.get(slot)
        if numbers is not None:
            if numbers is not enumeration:
                fitting = _fitting(numbers, compare, value)
                enumeration = numbers
            return found in fitting
        if type(found) is str:
            return kind is str and compare(found, value)
        # numbers compare with numbers, and nothing else has an order
        return (type(found) is int or type(found) is float) and (kind is int or kind is float) and compare(found, value)

    return check


def _fitting(numbers: Mapping[str, int], compare: Callable[[Any, Any], bool], value: Any) -> frozenset[str]:
    """The members of an enumeration that are on this side of a member, or of a number."""
    limit = numbers.get(value) if type(value) is str else value
    if type(limit) is not int and type(limit) is not float:
        return frozenset()
    return frozenset(name for name, number in numbers.items() if compare(number, limit))


def _selectable(slot: str, operator: str, value: Any, code: FilterCode, table: ClassTable) -> None:
    """Tell the selector about equality with texts, where every class of the filter has a text or enumeration there.

    A place in the order of one enumeration is equality with one of its members.
    """
    enumerations = set()
    for name in table.classes if code.classes is None else code.classes:
        found = table.classes[name].slots.get(slot)
        if found is not None:
            if found.type.is_list or found.type.kind not in ("STRING", "ENUM"):
                return
            enumerations.add(found.type.enumeration)
    if operator in _ORDER:
        (enumeration,) = enumerations if len(enumerations) == 1 else (None,)
        if enumeration is None:
            return
        members = table.enumerations[enumeration].members
        values = sorted(_fitting(members, _ORDER[operator], value))
        if len(values) == len(members):
            return  # it tells nothing apart
    else:
        values = [value] if operator == "equals" else value if operator == "within" else []
    if values and all(type(item) is str for item in values):
        code.tests.append(EqualTo(slot, tuple(dict.fromkeys(values))))
