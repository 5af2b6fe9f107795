"""L401: problems that rules make, and that nothing ends.

A problem is an event that rules generate as MINOR or worse, or whose severity they set so. It has a recovery where a
rule closes events of its class, of one above or of one below, found by a search, a timer or a definition of
create_clearing_event. What closes any event whatever (of EVENT, or of a class that the text does not say) is tidying
up and no recovery. A TEC_Notice is for a person to read, and who has read it closes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from opentec.events.classes import ROOT
from opentec.rules.ast import Atom, Compound, EventArgument, ListTerm, Place, Term, Text
from opentec.testing.lint.diagnostics import Diagnostic, found
from opentec.testing.lint.model import Goal, Model, constant

LEAST: Final = "MINOR"
_FOR_READERS: Final = "TEC_Notice"
_CLOSES: Final = ("change_event_status", "set_event_status")
_RAISES: Final = ("change_event_severity", "set_event_severity")
_BY_SLOT: Final = ("bo_set_slotval", "place_change_request")


def check_recovery(model: Model) -> Iterator[Diagnostic]:
    """Classes that rules make a problem of, and no rule closes."""
    closed = _closed(model)
    told: set[str] = set()
    for classes, severity, place, name in _problems(model):
        if not any(model.heirs[one] & closed or one in closed for one in classes):
            which = min(classes)
            if which not in told:
                told.add(which)
                yield found(
                    "L401",
                    place,
                    f"nothing closes a {which} that {name} makes {severity}",
                    "write a rule that closes it when the problem is over, or declare it with create_clearing_event",
                )


def _problems(model: Model) -> Iterator[tuple[frozenset[str], str, Place, str]]:
    """Classes, severity, place, and who says so."""
    for goal in model.goals:
        made = _generated(model, goal) or _raised(model, goal)
        if made is not None and made[0] != _FOR_READERS and _is_bad(model, made[1]):
            yield frozenset([made[0]]), made[1], goal.place, goal.site.name


def _generated(model: Model, goal: Goal) -> tuple[str, str] | None:
    name = constant(goal.args[0]) if goal.key == ("generate_event", 2) else None
    if name not in model.table.classes:
        return None
    severity = model.table.classes[str(name)].defaults.get("severity")
    for slot in goal.args[1].items if isinstance(goal.args[1], ListTerm) else ():
        if isinstance(slot, Compound) and slot.name == "=" and constant(slot.args[0]) == "severity":
            severity = constant(slot.args[1])
    return (str(name), str(severity)) if severity is not None else None


def _raised(model: Model, goal: Goal) -> tuple[str, str] | None:
    value = _given(goal, _RAISES, "severity")
    named = _named_classes(goal, goal.args[0]) if value is not None else []
    if value is None or len(named) != 1:
        return None  # of several classes, most are problems of their own already
    return (named[0], str(value)) if named[0] != ROOT else None


def _given(goal: Goal, verbs: tuple[str, ...], slot: str) -> str | int | float | None:
    """The constant that a goal gives a slot of an event."""
    if goal.name in verbs and len(goal.args) == 2:
        return constant(goal.args[1])
    if goal.name in _BY_SLOT and len(goal.args) == 3 and constant(goal.args[1]) == slot:
        return constant(goal.args[2])
    return None


def _named_classes(goal: Goal, event: Term) -> list[str]:
    """The classes that the filter of an event variable names, in its rule."""
    rule = goal.site.rule
    if rule is not None and rule.event.variable.name == getattr(event, "name", ""):
        return [atom.value for atom in rule.event.classes]
    return []


def _is_bad(model: Model, severity: str) -> bool:
    numbers = model.table.enumerations["SEVERITY"].members
    return numbers.get(severity, -1) >= numbers[LEAST]


def _closed(model: Model) -> frozenset[str]:
    """Every class whose events some rule closes; a class that names all of them is not counted."""
    closed: set[str] = set()
    every = model.heirs[ROOT]
    for goal in model.goals:
        if _given(goal, _CLOSES, "status") == "CLOSED":
            classes = model.event_classes(goal, goal.args[0]) or frozenset()
            closed |= classes if classes != every else frozenset()
        elif goal.key == ("create_clearing_event", 4) and isinstance(goal.args[2], ListTerm):
            for item in goal.args[2].items:
                closed |= _criterion(model, item)
    return frozenset(closed)


def _criterion(model: Model, name: Term) -> frozenset[str]:
    """The classes of a criterion, or of the class with that name."""
    value = constant(name)
    if value in model.heirs:
        return model.heirs[str(value)]
    classes: frozenset[str] = frozenset()
    for goal in model.calls("create_event_criteria"):
        if constant(goal.args[0]) != value:
            continue
        given = goal.args[1]
        if isinstance(given, EventArgument):
            classes |= model.classes(given.filter)
        for one in given.items if isinstance(given, ListTerm) else [given]:
            if isinstance(one, (Atom, Text)):
                classes |= model.heirs.get(one.value, frozenset())
    return classes
