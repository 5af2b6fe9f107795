"""The shapes of simple rules and correlation rules (tec.md 3.3, tec-2.md 3.2).

No brackets around the rule and no commas between its clauses; both are taken where somebody writes them. What the
public examples do not show is our choice: `when: duplicate` and `when: always`, a correlation rule without `within` or
`when`, and several conditions in its list.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from opentec.rules.ast import Atom, EventFilter, ListTerm, Place, Term, Test, Var
from opentec.rules.parser_terms import (
    ARGUMENT,
    BODY,
    TEST_OPERATORS,
    parse_bare_event,
    parse_class,
    parse_primary,
    parse_term,
)
from opentec.rules.parser_tokens import Cursor, did_you_mean

EVENT: Final = "_event"  # the variable that the event of a simple rule gets
_UNITS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_UNIT_NAMES: Final = tuple(f"{unit}s" for unit in _UNITS)
_LONGEST: Final = 10 * 365 * 86400  # seconds; as the longest timer
_MOST: Final = 999  # events that frequency_exceeds counts: each is remembered by its time
_WHENS: Final = ("frequency_exceeds", "duplicate", "always")
_RELATIONS: Final = ("causes", "clears")
_SIMPLE: Final = ("description", "directive", "event", "when")
_CORRELATION: Final = ("description", "directive", "event_relation", "within", "when")


class SimpleRule(NamedTuple):
    name: str
    event: EventFilter
    when: str  # of _WHENS
    when_place: Place
    number: int | None  # of events, of frequency_exceeds
    seconds: int | None  # None = however long ago
    goals: Term
    description: str
    directives: tuple[Term, ...]
    place: Place


class SlotOf(NamedTuple):
    """`A.hostname`; `side` is 0 for the class before the relation and 1 for the one behind it."""

    side: Literal[0, 1]
    slot: str
    place: Place


class Comparison(NamedTuple):
    """`A.hostname equals B.hostname`, or a test of one slot against constants, whose operator is in `test`."""

    left: SlotOf
    test: Test  # its operand means nothing when there is a slot on the right
    right: SlotOf | None


class CorrelationRule(NamedTuple):
    name: str
    relation: str  # of _RELATIONS
    classes: tuple[Atom, Atom]
    relation_place: Place
    seconds: int | None
    comparisons: tuple[Comparison, ...]
    description: str
    directives: tuple[Term, ...]
    place: Place


def parse_directives(c: Cursor) -> tuple[Term, ...]:
    """`directive: word, ...`, the cursor at `directive`. Raises SourceError."""
    c.take()
    c.expect(":", "after 'directive'")
    words = [parse_term(c, ARGUMENT)]
    while c.token.text == "," and c.ahead(2).text != ":":
        c.take()
        words.append(parse_term(c, ARGUMENT))
    return tuple(words)


class _Head:
    """What both kinds have in common: `kind: name:`, description, directive, and the end."""

    def __init__(self, c: Cursor, known: tuple[str, ...]) -> None:
        self.c, self.known = c, known
        self.place = c.place()
        kind = c.take().text
        c.expect(":", f"after {kind!r}")
        name = c.name(f"the name of the {kind}")
        self.name, self.what = name, f"{kind} {name!r}"
        c.expect(":", f"after the name of {self.what}")
        self.bracket = c.accept("(")
        self.description = ""
        self.directives: tuple[Term, ...] = ()
        self.seen: list[str] = []

    def clause(self) -> str | None:
        """The next clause that is not read here, the cursor at its word; None at the end."""
        c = self.c
        while True:
            if self.seen:
                c.accept(",")
            clause = c.token.text
            if clause in (".", ")"):
                return None
            if clause not in self.known or c.ahead().text != ":":
                if clause in self.known:
                    c.take()
                    raise c.unexpected(f"':' after {clause!r}")
                hint = did_you_mean(clause, self.known) if c.token.kind == "WORD" else ""
                raise c.unexpected(f"a clause of {self.what} ({', '.join(self.known)})", hint=hint)
            if clause in self.seen:
                raise c.error(f"{self.what} has {clause!r} twice", hint="keep one")
            self.seen.append(clause)
            if clause == "description":
                c.take()
                c.take()
                self.description = c.name("the description, a quoted text")
            elif clause == "directive":
                self.directives = parse_directives(c)
            else:
                return clause

    def end(self) -> None:
        if self.bracket:
            self.c.expect(")", f"to close {self.what}")
        self.c.expect(".", f"after {self.what}")


def parse_simple(c: Cursor) -> SimpleRule:
    """A simple rule, the cursor at `simple_rule`. Raises SourceError."""
    head = _Head(c, _SIMPLE)
    event: EventFilter | None = None
    while (clause := head.clause()) == "event":
        event = parse_bare_event(c, EVENT)
    if event is None:
        raise c.error(f"{head.what} has no event", head.place, hint="add event: a class, before when:")
    if clause is None:
        raise c.unexpected(f"'when:' in {head.what}", hint=f"write when: {', '.join(_WHENS)} and a colon")
    c.take()
    c.take()
    place, when = c.place(), c.token.text
    if when not in _WHENS:
        raise c.unexpected(f"{', '.join(_WHENS[:-1])} or {_WHENS[-1]}", hint=did_you_mean(when, _WHENS))
    c.take()
    number = seconds = None
    if when == "frequency_exceeds":
        number = _whole(c, "a number of events", _MOST)
        if c.token.text != "within":
            raise c.unexpected("'within' and a time", hint="frequency_exceeds 3 within 5 minutes")
    if when != "always" and c.accept("within"):
        seconds = _seconds(c)
    c.expect(":", f"after {when!r}, before the actions")
    goals = parse_term(c, BODY)
    head.end()
    return SimpleRule(
        head.name, event, when, place, number, seconds, goals, head.description, head.directives, head.place
    )


def parse_correlation(c: Cursor) -> CorrelationRule:
    """A correlation rule, the cursor at `correlation_rule`. Raises SourceError."""
    head = _Head(c, _CORRELATION)
    classes: tuple[Atom, Atom] | None = None
    relation, relation_place, seconds = "", head.place, None
    comparisons: tuple[Comparison, ...] = ()
    while clause := head.clause():
        if clause != "event_relation" and classes is None:
            raise c.error(f"{clause!r} stands before the event_relation of {head.what}", hint="put it behind")
        c.take()
        c.take()
        if clause == "within":
            seconds = _seconds(c)
        elif clause == "when":
            assert classes is not None
            comparisons = _comparisons(c, classes)
        else:
            first = parse_class(c)
            relation_place, relation = c.place(), c.token.text
            if relation not in _RELATIONS:
                raise c.unexpected("'causes' or 'clears'", hint=did_you_mean(relation, _RELATIONS))
            c.take()
            classes = (first, parse_class(c))
            if classes[0].value == classes[1].value:
                raise c.error(f"class {first.value!r} is on both sides", classes[1].place, hint="name another class")
    if classes is None:
        raise c.error(f"{head.what} has no event_relation", head.place, hint="add event_relation: A causes B")
    head.end()
    return CorrelationRule(
        head.name,
        relation,
        classes,
        relation_place,
        seconds,
        comparisons,
        head.description,
        head.directives,
        head.place,
    )


def _comparisons(c: Cursor, classes: tuple[Atom, Atom]) -> tuple[Comparison, ...]:
    c.expect("[", "after 'when:'")
    found: list[Comparison] = []
    while not (c.token.text == "]" and not found):
        left = _slot_of(c, classes)
        place, operator = c.place(), c.token.text
        if operator not in TEST_OPERATORS:
            raise c.unexpected(f"a test ({', '.join(TEST_OPERATORS)})", hint=did_you_mean(operator, TEST_OPERATORS))
        c.take()
        if c.token.kind in ("WORD", "QUOTED") and c.ahead().text == ".":
            right = _slot_of(c, classes)
            if operator in ("within", "outside"):
                raise c.error(f"{operator!r} takes a list", right.place, hint="compare two slots with equals")
            found.append(Comparison(left, Test(operator, Atom("", place=place), place=place), right))
        else:
            operand = parse_primary(c)
            _refuse_variables(c, operand)
            found.append(Comparison(left, Test(operator, operand, place=place), None))
        if not c.accept(","):
            break
    c.expect("]", "after the conditions")
    return tuple(found)


def _refuse_variables(c: Cursor, term: Term) -> None:
    for item in term.items if isinstance(term, ListTerm) else (term,):
        if isinstance(item, Var):
            raise c.error("a correlation rule has no variables", item.place, hint="write CLASS.slot, or a constant")


def _slot_of(c: Cursor, classes: tuple[Atom, Atom]) -> SlotOf:
    place = c.place()
    name = parse_class(c)
    names = [atom.value for atom in classes]
    if name.value not in names:
        raise c.error(
            f"class {name.value!r} is not in the event_relation, which names {names[0]!r} and {names[1]!r}",
            place,
            hint=did_you_mean(name.value, names),
        )
    c.expect(".", f"after class {name.value!r}, before its slot")
    return SlotOf(0 if name.value == names[0] else 1, c.name("a slot"), place)


def _seconds(c: Cursor) -> int:
    place = c.place()
    number = _whole(c, "a time, for example 5 minutes", _LONGEST)
    unit = _UNITS.get(c.token.text.removesuffix("s"))
    if unit is None:
        known = did_you_mean(c.token.text, _UNIT_NAMES) if c.token.kind == "WORD" else ""
        raise c.unexpected(f"a unit ({', '.join(_UNIT_NAMES)})", hint=known)
    c.take()
    if number * unit > _LONGEST:
        raise c.error("a time is at most ten years", place)
    return number * unit


def _whole(c: Cursor, what: str, most: int) -> int:
    if c.token.kind != "INTEGER":
        raise c.unexpected(what)
    place, digits = c.place(), c.take().text.lstrip("0")
    if not digits or len(digits) > len(str(most)) or int(digits) > most:
        raise c.error(f"expected a number from 1 to {most}, found {digits[:20] or '0'}", place)
    return int(digits)
