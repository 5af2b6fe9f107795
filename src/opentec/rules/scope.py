"""Variables while a rule is compiled, and readers: closures that give the value of a term at run time.

A rule has one frame, a list, shared by its filter and its actions. The first place that mentions a variable stores
into the frame without looking; so a value left there by backtracking is never read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any, Final, NoReturn

from opentec.events.errors import SourceError
from opentec.rules.ast import Atom, Compound, EventArgument, ListTerm, Number, Place, Term, Text, Var
from opentec.rules.event import Event
from opentec.rules.terms import Partial, Ref, RuleError, Struct, deref, resolve, show

Frame = list[Any]
Reader = Callable[[Frame], Any]

# what is known of a variable at some place of a rule; no entry: it was not mentioned yet
MAYBE: Final = 1  # the frame may hold a Ref
GROUND: Final = 2  # the frame holds a value without variables
EVENT: Final = 3  # the frame holds an event


class Scope:
    """Frame places by variable name, and what is known of each variable."""

    def __init__(self, size: list[int] | None = None, *, cuts: bool = False) -> None:
        self.state: dict[str, int] = {}
        self.places: dict[str, int] = {}
        self.cuts = cuts  # whether a cut may stand here: in the clauses of a predicate
        self._size = size if size is not None else [0]

    @property
    def size(self) -> int:
        """Places in the frame so far, of the whole rule."""
        return self._size[0]

    def branch(self) -> Scope:
        """A scope that starts as this one and is forgotten: an action, the inside of a negation."""
        inner = Scope(self._size, cuts=self.cuts)
        inner.state = dict(self.state)
        inner.places = dict(self.places)
        return inner

    def hidden(self) -> int:
        """A place that no variable names."""
        self._size[0] += 1
        return self._size[0] - 1

    def place(self, name: str) -> int:
        place = self.places.get(name)
        if place is None:
            place = self.places[name] = self.hidden()
        return place

    def known(self, var: Var) -> int:
        """0, MAYBE, GROUND or EVENT. A bare `_` is never known."""
        return 0 if var.name == "_" else self.state.get(var.name, 0)

    def define(self, var: Var, state: int) -> int:
        """The variable's place; from here on its state is known."""
        if var.name == "_":
            return self.hidden()
        self.state[var.name] = state
        return self.place(var.name)


def wrong(message: str, place: Place, hint: str = "") -> NoReturn:
    raise SourceError(message, file=place.file, line=place.line, column=place.column, hint=hint)


def variables(term: Term) -> Iterator[Var]:
    """Every named variable that a term mentions, event filters included."""
    if isinstance(term, Var):
        if term.name != "_":
            yield term
    elif isinstance(term, ListTerm):
        for item in term.items:
            yield from variables(item)
        if term.tail is not None:
            yield from variables(term.tail)
    elif isinstance(term, Compound):
        for arg in term.args:
            yield from variables(arg)
    elif isinstance(term, EventArgument):
        found = term.filter
        yield found.variable
        if found.class_variable is not None:
            yield found.class_variable
        for condition in found.conditions:
            if condition.variable is not None:
                yield condition.variable
            for test in condition.tests:
                yield from variables(test.operand)


NO_CONSTANT: Final = object()


def constant(term: Term) -> Any:
    """The value of a term without variables, or NO_CONSTANT. Compound terms are never constants here."""
    if isinstance(term, (Atom, Text, Number)):
        return term.value
    if isinstance(term, ListTerm) and term.tail is None:
        items = [constant(item) for item in term.items]
        return NO_CONSTANT if any(item is NO_CONSTANT for item in items) else items
    return NO_CONSTANT


def fixed(value: Any) -> Reader:
    return lambda frame: value


def reader(term: Term, scope: Scope) -> Reader:
    """Reads a term as it stands, variables that are met for the first time become Refs. Raises SourceError."""
    value = constant(term)
    if value is not NO_CONSTANT:
        return fixed(value)
    if isinstance(term, Var):
        if scope.known(term):
            return itemgetter(scope.place(term.name))
        place = scope.define(term, MAYBE)

        def first(frame: Frame) -> Any:
            ref = frame[place] = Ref()
            return ref

        return first
    if isinstance(term, ListTerm):
        items = [reader(item, scope) for item in term.items]
        if term.tail is None:
            return lambda frame: [item(frame) for item in items]
        tail = reader(term.tail, scope)
        return lambda frame: deref(Partial(tuple([item(frame) for item in items]), tail(frame)))
    if isinstance(term, Compound):
        name = term.name
        args = [reader(arg, scope) for arg in term.args]
        return lambda frame: Struct(name, tuple([arg(frame) for arg in args]))
    wrong("an event filter may only stand in a search of the event cache", term.place)


def is_ground(term: Term, scope: Scope) -> bool:
    """Whether a term certainly holds no unbound variable here."""
    return constant(term) is not NO_CONSTANT or (isinstance(term, Var) and scope.known(term) >= GROUND)


def need(term: Term, scope: Scope) -> None:
    """Refuse a term with a variable that cannot have a value here. Raises SourceError."""
    for var in variables(term):
        if not scope.known(var):
            wrong(f"variable {var.name} has no value here", var.place, "bind it in the event filter or an earlier goal")
    if isinstance(term, Var) and term.name == "_":
        wrong("_ has no value", term.place)


def value_reader(term: Term, scope: Scope) -> Reader:
    """Reads the value of a term that must have one; the reader raises RuleError when it has none."""
    need(term, scope)
    read = reader(term, scope)
    return read if is_ground(term, scope) else lambda frame: resolve(read(frame))


def event_reader(term: Term, scope: Scope, what: str) -> Reader:
    """Reads an event; the reader raises RuleError when the term is something else."""
    read = value_reader(term, scope)
    if isinstance(term, Var) and scope.known(term) == EVENT:
        return read

    def checked(frame: Frame) -> Any:
        value = read(frame)
        if type(value) is not Event:
            raise RuleError(f"{what} needs an event, and got {show(value)[:80]!r}")
        return value

    return checked
