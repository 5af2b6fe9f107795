"""Terms, goals and event filters: the part of a rule file that may nest."""

from __future__ import annotations

from math import inf
from typing import Final

from opentec.rules.ast import (
    Atom,
    Compound,
    Condition,
    EventArgument,
    EventFilter,
    ListTerm,
    Number,
    Place,
    Term,
    Test,
    Text,
    Var,
)
from opentec.rules.parser_tokens import MAX_DEPTH, Cursor, did_you_mean, unquote

TEST_OPERATORS: Final = (
    "equals",
    "not_equals",
    "outside",
    "within",
    "greater_than",
    "smaller_than",
    "greater_or_equals",
    "smaller_or_equals",
)
# ISO Prolog: priority, and the highest priority of the left and the right operand
_INFIX: Final[dict[str, tuple[int, int, int]]] = {
    ":-": (1200, 1199, 1199),
    ";": (1100, 1099, 1100),
    "->": (1050, 1049, 1050),
    ",": (1000, 999, 1000),
    **dict.fromkeys(
        ("=", "\\=", "==", "\\==", "=:=", "=\\=", "<", ">", "=<", ">=", "is", "=..", "@<", "@>", "@=<", "@>="),
        (700, 699, 699),
    ),
    **dict.fromkeys(("+", "-"), (500, 500, 499)),
    **dict.fromkeys(("*", "/", "//", "mod", "rem", "<<", ">>"), (400, 400, 399)),
    "**": (200, 199, 199),
    "^": (200, 199, 200),
}
_PREFIX: Final = {"\\+": (900, 900), "not": (900, 900), "-": (200, 200), "+": (200, 200)}
ARGUMENT: Final = 999  # priority of an argument, a list item, a goal between commas
BODY: Final = 1200
CLAUSE_BODY: Final = 1199  # behind the `:-` of a clause
_NESTED: Final = 4  # what one bracket counts against MAX_DEPTH: about the calls that parsing it nests
_MAX_DIGITS: Final = 18  # a number of the language is a 64-bit integer


def parse_term(c: Cursor, limit: int = ARGUMENT, depth: int = 0) -> Term:
    """A term whose operators have at most this priority. Raises SourceError."""
    if depth > MAX_DEPTH:
        raise c.error("this is nested too deeply, or one action has too many goals", hint="split the action")
    left, priority = _operand(c, limit, depth)
    return _infix(c, left, priority, limit, depth)


def _infix(c: Cursor, left: Term, priority: int, limit: int, depth: int) -> Term:
    while True:
        token = c.token
        rank = _INFIX.get(token.text)
        if rank is None or rank[0] > limit or priority > rank[1]:
            return left
        place = c.place()
        c.take()
        priority, _, right_limit = rank
        depth += 1
        if token.text == ",":
            left = _conjunction(c, left, place, depth)
            continue
        left = Compound(token.text, (left, parse_term(c, right_limit, depth)), place=place)


def _conjunction(c: Cursor, first: Term, place: Place, depth: int) -> Term:
    # a loop, so that a long body does not nest calls; the tree still leans to the right as Prolog's does
    goals, places = [first], [place]
    while True:
        goals.append(parse_term(c, 999, depth))
        if c.token.text != ",":
            break
        places.append(c.place())
        c.take()
        depth += 1
    term = goals.pop()
    while goals:
        term = Compound(",", (goals.pop(), term), place=places.pop())
    return term


def _operand(c: Cursor, limit: int, depth: int) -> tuple[Term, int]:
    """A prefix operator with its operand, or a primary; and its priority."""
    rank = _PREFIX.get(c.token.text)
    if rank is None or (c.token.text == "not" and not _begins_term(c)):
        return parse_primary(c, depth), 0
    place = c.place()
    name = c.take().text
    if name in "-+" and c.token.kind in ("INTEGER", "REAL"):
        number = _number(c, place, negative=name == "-")
        return number, 0
    if rank[0] > limit:
        raise c.error(f"{name!r} must be in brackets here", place)
    operand = parse_term(c, rank[1], depth + _NESTED)
    return Compound(name, (operand,), place=place), rank[0]


def _begins_term(c: Cursor) -> bool:
    following = c.ahead()
    return (following.kind in ("WORD", "VARIABLE", "QUOTED") and following.text not in _INFIX) or following.text == "("


def parse_primary(c: Cursor, depth: int = 0) -> Term:
    """A constant, a variable, a list, a predicate with its arguments, or a term in brackets. Raises SourceError."""
    token, place = c.token, c.place()
    match token.kind:
        case "VARIABLE":
            c.take()
            return Var(token.text, place=place)
        case "WORD" | "QUOTED" if not c.at_rule():
            c.take()
            quoted = token.kind == "QUOTED"
            name = unquote(token.text) if quoted else token.text
            if c.accept("("):
                return Compound(name, _arguments(c, name, depth + _NESTED), place=place)
            return Atom(name, quoted, place=place)
        case "TEXT":
            c.take()
            return Text(unquote(token.text), place=place)
        case "INTEGER" | "REAL":
            return _number(c, place)
    if c.accept("-"):
        return _number(c, place, negative=True)
    if c.accept("["):
        return _list(c, place, depth + _NESTED)
    if c.accept("("):
        inner = parse_term(c, BODY, depth + _NESTED)
        c.expect(")", f"to close the bracket of line {place.line}, column {place.column}")
        return inner
    if c.accept("!"):
        return Atom("!", place=place)
    raise c.unexpected("a value, a variable or a predicate")


def _number(c: Cursor, place: Place, *, negative: bool = False) -> Number:
    token = c.token
    if token.kind not in ("INTEGER", "REAL"):
        raise c.unexpected("a number")
    if token.kind == "INTEGER" and len(token.text.lstrip("0")) > _MAX_DIGITS:
        raise c.error(f"the number is too large; {_MAX_DIGITS} digits are the most")
    c.take()
    value: int | float = int(token.text) if token.kind == "INTEGER" else float(token.text)
    if value == inf:
        raise c.error("the number is too large for a real", place)
    return Number(-value if negative else value, place=place)


def _arguments(c: Cursor, name: str, depth: int) -> tuple[Term, ...]:
    if c.accept(")"):
        return ()
    items: list[Term] = []
    while True:
        if c.token.text == "event" and c.ahead().text == ":":
            place = c.place()
            items.append(EventArgument(parse_event_filter(c, depth, of_class_required=False), place=place))
        else:
            items.append(parse_term(c, ARGUMENT, depth))
        if c.accept(")"):
            return tuple(items)
        if not c.accept(","):
            raise c.unexpected(f"',' or ')' in the arguments of {name}")


def _list(c: Cursor, place: Place, depth: int) -> ListTerm:
    items: list[Term] = []
    tail: Term | None = None
    if c.accept("]"):
        return ListTerm((), place=place)
    while True:
        items.append(parse_term(c, ARGUMENT, depth))
        if c.accept("|"):
            tail = parse_term(c, ARGUMENT, depth)
            c.expect("]", "after the tail of the list")
            break
        if c.accept("]"):
            break
        if not c.accept(","):
            raise c.unexpected(f"',' or ']' in the list that begins in line {place.line}")
    if isinstance(tail, ListTerm):
        return ListTerm((*items, *tail.items), tail.tail, place=place)
    return ListTerm(tuple(items), tail, place=place)


def parse_event_filter(c: Cursor, depth: int = 0, *, of_class_required: bool = True) -> EventFilter:
    """`event: _e of_class C where [...]`, the cursor at `event` (tec-2.md 3.2, 3.4).

    of_class may be missing only in the arguments of a predicate. Raises SourceError.
    """
    place = c.place()
    _begin(c)
    if c.token.kind != "VARIABLE":
        raise c.unexpected("the event's variable", hint="write event: _event of_class ...")
    variable = Var(c.token.text, place=c.place())
    c.take()
    classes: tuple[Atom, ...] = ()
    class_variable = None
    if c.accept("of_class"):
        if c.token.kind == "VARIABLE":
            class_variable = Var(c.token.text, place=c.place())
            c.take()
        else:
            classes = _classes(c)
    elif of_class_required:
        raise c.unexpected(f"'of_class' after {variable.name}", hint=did_you_mean(c.token.text, ["of_class"]))
    elif c.token.kind == "WORD" and c.token.text != "where":
        raise c.unexpected("'of_class' or 'where'", hint=did_you_mean(c.token.text, ["of_class", "where"]))
    return EventFilter(variable, classes, class_variable, _where(c, depth), place=place)


def parse_bare_event(c: Cursor, variable: str) -> EventFilter:
    """`event: C where [...]` of a simple rule, the cursor at `event`; `variable` is the name that the event gets.

    The form with a variable and of_class is taken too. Raises SourceError.
    """
    if c.ahead(2).kind == "VARIABLE":
        return parse_event_filter(c)
    place = c.place()
    _begin(c)
    classes = _classes(c)
    return EventFilter(Var(variable, place=place), classes, None, _where(c, 0), place=place)


def holds_event(term: Term) -> bool:
    """Whether an event filter stands anywhere in the term."""
    if isinstance(term, Compound):
        return any(map(holds_event, term.args))
    if isinstance(term, ListTerm):
        return any(map(holds_event, term.items)) or (term.tail is not None and holds_event(term.tail))
    return isinstance(term, EventArgument)


def _begin(c: Cursor) -> None:
    c.take()
    c.expect(":", "after 'event'")


def _where(c: Cursor, depth: int) -> tuple[Condition, ...]:
    if c.token.text == "," and c.ahead().text == "where" and c.ahead(2).text == "[":
        c.take()
    return _conditions(c, depth) if c.accept("where") else ()


def _classes(c: Cursor) -> tuple[Atom, ...]:
    if not c.accept("within"):
        return (parse_class(c),)
    c.expect("[", "after 'of_class within'")
    names = [parse_class(c)]
    while c.accept(","):
        names.append(parse_class(c))
    c.expect("]", "after the class names")
    return tuple(names)


def parse_class(c: Cursor) -> Atom:
    """The name of a class, bare or quoted. Raises SourceError."""
    token = c.token
    if token.kind not in ("WORD", "QUOTED", "TEXT") or token.text in TEST_OPERATORS:
        raise c.unexpected("a class name", hint="of_class takes a class, within ['A', 'B'] or a variable")
    place = c.place()
    c.take()
    return Atom(token.text, place=place) if token.kind == "WORD" else Atom(unquote(token.text), True, place=place)


def _conditions(c: Cursor, depth: int) -> tuple[Condition, ...]:
    c.expect("[", "after 'where'")
    conditions: list[Condition] = []
    while not (c.token.text == "]" and not conditions):
        if c.token.kind not in ("WORD", "QUOTED"):
            raise c.unexpected("a slot", hint="a condition is written slot: test, for example severity: equals 'FATAL'")
        conditions.append(parse_condition(c, depth))
        if not c.accept(","):
            break
    if c.token.text != "]":
        known = TEST_OPERATORS if c.token.kind == "WORD" else ()
        raise c.unexpected("',', ']' or another test in the where list", hint=did_you_mean(c.token.text, known))
    c.take()
    return tuple(conditions)


_BEHIND_FILTERS: Final = ("action", "reception_action", "redo_action", "sender", "attribute", "when", "description")


def parse_condition(c: Cursor, depth: int = 0) -> Condition:
    """`slot: _variable test...`, the cursor at the slot, of which at least one part must follow. Raises SourceError."""
    place, token = c.place(), c.take()
    slot = unquote(token.text) if token.kind == "QUOTED" else token.text
    c.expect(":", f"after the slot {slot!r}")
    variable = None
    if c.token.kind == "VARIABLE":
        variable = Var(c.token.text, place=c.place())
        c.take()
    tests = _tests(c, depth)
    if variable is None and not tests:
        hint = did_you_mean(c.token.text, TEST_OPERATORS) if c.token.kind == "WORD" else f"{slot}: equals ... tests it"
        if depth == 0 and slot in _BEHIND_FILTERS:
            hint = f"if {slot!r} is the next clause, a ] is missing before it"
        raise c.unexpected(f"a variable or a test ({', '.join(TEST_OPERATORS)}) for {slot!r}", hint=hint)
    return Condition(slot, variable, tests, place=place)


def parse_asked(c: Cursor, slot: str, place: Place) -> Condition:
    """What a change rule wants of a request, behind `sender:` or `set_to`: a variable, tests, or one plain value,
    which is the same as `equals`. Raises SourceError."""
    variable = None
    if c.token.kind == "VARIABLE":
        variable = Var(c.token.text, place=c.place())
        c.take()
    tests = _tests(c, 0)
    if variable is None and not tests:
        at = c.place()
        tests = (Test("equals", parse_primary(c), place=at),)
    return Condition(slot, variable, tests, place=place)


def _tests(c: Cursor, depth: int) -> tuple[Test, ...]:
    tests: list[Test] = []
    while c.token.text in TEST_OPERATORS:
        place = c.place()
        operator = c.take().text
        tests.append(Test(operator, parse_primary(c, depth), place=place))
    return tuple(tests)
