"""Terms as such: what they are, what they are made of, their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from opentec.rules.evaluation import Evaluation
from opentec.rules.event import Event
from opentec.rules.predicates.define import define
from opentec.rules.predicates.registry import Predicate
from opentec.rules.terms import (
    LIST_LIMIT,
    Budget,
    Partial,
    Ref,
    RuleError,
    Struct,
    copy,
    deref,
    is_ground,
    show,
    sort_key,
    undo,
    unify,
)

_LIST: Final = "."  # the name of a list that is taken apart: [a, b] is '.'(a, [b])


def _is(*kinds: type) -> Callable[[Evaluation, Any], bool]:
    return lambda run, term: type(deref(term)) in kinds


def _is_atom(run: Evaluation, term: Any) -> bool:
    term = deref(term)
    return type(term) is str or term == []


def _is_atomic(run: Evaluation, term: Any) -> bool:
    term = deref(term)
    return type(term) in (str, int, float, Event) or term == []


def _is_compound(run: Evaluation, term: Any) -> bool:
    term = deref(term)
    return type(term) in (Struct, Partial) or (type(term) is list and bool(term))


def _nonvar(run: Evaluation, term: Any) -> bool:
    return type(deref(term)) is not Ref


def parts(term: Any) -> tuple[Any, tuple[Any, ...]]:
    """Name and arguments of a term that is not a variable."""
    if type(term) is Struct:
        return term.name, term.args
    if type(term) is list and term:
        return _LIST, (term[0], term[1:])
    if type(term) is Partial:
        rest = term.items[1:]
        return _LIST, (term.items[0], Partial(rest, term.tail) if rest else term.tail)
    return term, ()


def build(name: Any, args: list[Any] | tuple[Any, ...]) -> Any:
    """The term of a name and arguments; raises RuleError when the name is none."""
    name = deref(name)
    if not args:
        return name
    if name == _LIST and len(args) == 2:
        tail = deref(args[1])
        return [args[0], *tail] if type(tail) is list else deref(Partial((args[0],), tail))
    if type(name) is not str:
        raise RuleError(f"the name of a term is a text, not {show(name)!r}")
    return Struct(name, tuple(args))


def _functor(run: Evaluation, term: Any, name: Any, arity: Any) -> bool:
    term, count = deref(term), deref(arity)
    if type(term) is not Ref:
        its_name, args = parts(term)
        return unify(name, its_name, run.trail) and unify(arity, len(args), run.trail)
    if type(count) is not int or not 0 <= count <= LIST_LIMIT or type(deref(name)) is Ref:
        raise RuleError("functor needs a term, or a name and a number of arguments")
    return unify(term, build(name, [Ref() for _ in range(count)]), run.trail)


def _arg(run: Evaluation, number: Any, term: Any, arg: Any) -> Iterator[None]:
    number, term = deref(number), deref(term)
    if not _is_compound(run, term):
        raise RuleError(f"arg needs a term with arguments, not {show(term)!r}")
    args = parts(term)[1]
    mark = len(run.trail)
    for at, found in enumerate(args, 1):
        if unify(number, at, run.trail) and unify(arg, found, run.trail):
            yield
        undo(run.trail, mark)


def _univ(run: Evaluation, term: Any, items: Any) -> bool:
    term, items = deref(term), deref(items)
    if type(term) is not Ref:
        name, args = parts(term)
        return unify(items, [name, *args], run.trail)
    if type(items) is not list or not items:
        raise RuleError("=.. needs a term on its left or a list [name, argument, ...] on its right")
    return unify(term, build(items[0], items[1:]), run.trail)


def _copy_term(run: Evaluation, term: Any, result: Any) -> bool:
    budget = Budget()
    new = copy(term, budget)
    run.count(budget.steps)
    return unify(result, new, run.trail)


def _ordered(*wanted: int) -> Callable[[Evaluation, Any, Any], bool]:
    return lambda run, left, right: order(left, right) in wanted


def order(left: Any, right: Any) -> int:
    """-1, 0 or 1: which comes first in the order of terms."""
    one, other = sort_key(left), sort_key(right)
    return (one > other) - (one < other)


def _compare(run: Evaluation, result: Any, left: Any, right: Any) -> bool:
    return unify(result, "=><"[order(left, right)], run.trail)


def _pointertoint(run: Evaluation, event: Event, number: Any) -> bool:
    return unify(number, event.eid, run.trail)


PREDICATES: Final[tuple[Predicate, ...]] = (
    define("var(term)", "t", "Succeeds when the term is an unbound variable.", "var(_x)", _is(Ref)),
    define("nonvar(term)", "t", "Succeeds when the term is not an unbound variable.", "nonvar(_msg)", _nonvar),
    define("atom(term)", "t", "Succeeds for a text, and for [].", "atom(_msg)", _is_atom),
    define("integer(term)", "t", "Succeeds for a whole number.", "integer(5)", _is(int)),
    define("real(term)", "t", "Succeeds for a real.", "real(0.5)", _is(float)),
    define("float(term)", "t", "The same as real.", "float(0.5)", _is(float)),
    define("number(term)", "t", "Succeeds for a number.", "number(5)", _is(int, float)),
    define("atomic(term)", "t", "Succeeds for a text, a number, an event and [].", "atomic(_msg)", _is_atomic),
    define("compound(term)", "t", "Succeeds for name(...) and for a list with items.", "compound(f(_x))", _is_compound),
    define("is_list(term)", "t", "Succeeds for a list whose end is known.", "is_list([_msg])", _is(list)),
    define(
        "ground(term)",
        "t",
        "Succeeds when there is no unbound variable in the term.",
        "ground(f(_msg))",
        lambda run, term: is_ground(term),
    ),
    define(
        "functor(_term, _name, _arity)",
        "ttt",
        "Gives a term's name and number of arguments, or makes a term of them.",
        "functor(f(a, b), _name, _arity)",
        _functor,
    ),
    define(
        "arg(_number, term, _arg)",
        "ttt",
        "Gives the argument of that number, counted from 1, or every one.",
        "arg(1, f(a, b), _first)",
        _arg,
        "nondet",
    ),
    define("=..(_term, _list)", "tt", "Turns name(a, b) into [name, a, b] and back.", "f(a, b) =.. _list", _univ),
    define(
        "copy_term(term, _copy)",
        "tt",
        "A copy of the term with variables of its own.",
        "copy_term(f(_x, _x), _copy)",
        _copy_term,
    ),
    define(
        "@<(a, b)",
        "tt",
        "The first comes before the second: variables, numbers by value, texts by their characters, lists, "
        "compound terms by number of arguments and name, events by their key.",
        "a @< b",
        _ordered(-1),
    ),
    define("@>(a, b)", "tt", "The first comes behind the second.", "b @> a", _ordered(1)),
    define("@=<(a, b)", "tt", "The first does not come behind the second.", "a @=< b", _ordered(-1, 0)),
    define("@>=(a, b)", "tt", "The first does not come before the second.", "b @>= a", _ordered(1, 0)),
    define("compare(_order, a, b)", "ttt", "Gives <, = or > in this order.", "compare(_order, 1, 2)", _compare),
    define(
        "pointertoint(_event, _number)",
        "et",
        "Gives a number that no other event has, to remember an event by.",
        "pointertoint(_event, _number)",
        _pointertoint,
    ),
)
