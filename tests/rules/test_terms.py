"""Terms: predicates about them, their order, their form in the store."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentec.rules.terms import (
    FROZEN_DEPTH,
    Partial,
    Ref,
    RuleError,
    Struct,
    Trail,
    copy,
    freeze,
    identical,
    is_ground,
    resolve,
    show,
    sort_key,
    thaw,
    unify,
)
from tests.rules.body_kit import solutions


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("atom(a), atom([]), \\+ atom(1), \\+ atom([a]), \\+ atom(_), \\+ atom(f(x)), \\+ atom(_e), _x = 1", ["1"]),
        ("integer(1), \\+ integer(1.0), \\+ integer(a), \\+ integer(_), _x = 1", ["1"]),
        ("real(1.0), float(1.0), \\+ real(1), \\+ float(a), _x = 1", ["1"]),
        ("number(1), number(1.5), \\+ number('1'), _x = 1", ["1"]),
        (
            "atomic(1), atomic(a), atomic([]), atomic(_e), \\+ atomic([a]), \\+ atomic(f(x)), \\+ atomic(_), _x = 1",
            ["1"],
        ),
        ("compound(f(_)), compound([a]), compound([a | _]), \\+ compound([]), \\+ compound(a), _x = 1", ["1"]),
        ("is_list([]), is_list([a]), \\+ is_list([a | _]), \\+ is_list(a), _x = 1", ["1"]),
        ("ground(a), ground(f([1])), \\+ ground(f([_])), \\+ ground([a | _]), \\+ ground(_), _x = 1", ["1"]),
        ("var(_y), nonvar(_h), _y = 1, nonvar(_y), \\+ var(_y), _x = 1", ["1"]),
        ("functor(f(a, b), _n2, _a), _x = [_n2, _a]", ["[f, 2]"]),
        ("functor(abc, _n2, _a), _x = [_n2, _a]", ["[abc, 0]"]),
        ("functor(7, _n2, _a), _x = [_n2, _a]", ["[7, 0]"]),
        ("functor([1, 2], _n2, _a), _x = [_n2, _a]", ["[., 2]"]),
        ("functor(_t, f, 2), _t = f(1, _x), _x = 3", ["3"]),
        ("functor(_x, f, 0)", ["f"]),
        ("functor(_t, '.', 2), _t = [_x | _], _x = 1", ["1"]),
        ("arg(2, f(a, b), _x)", ["b"]),
        ("arg(_x, f(a, b, a), a)", ["1", "3"]),
        ("arg(3, f(a, b), _x)", []),
        ("arg(2, [1, 2, 3], _x)", ["[2, 3]"]),
        ("arg(2, [1 | _t], _x), _t = end", ["end"]),
        ("f(a, _h) =.. _x", ["[f, a, web1]"]),
        ("[1, 2] =.. _x", ["[., 1, [2]]"]),
        ("abc =.. _x", ["[abc]"]),
        ("_x =.. [f, 1, 2]", ["f(1, 2)"]),
        ("_x =.. [abc]", ["abc"]),
        ("_x =.. ['.', 1, [2]]", ["[1, 2]"]),
        ("_y =.. ['.', 1, _t], _t = [2], _x = _y", ["[1, 2]"]),
        ("_g =.. [member, _x, [1, 2]], call(_g)", ["1", "2"]),
        ("copy_term(f(_y, _y, _h), f(1, _z, _w)), var(_y), _x = [_z, _w]", ["[1, web1]"]),
        ("1 @< a, a @< b, b @< [a], [a] @< f(a), f(z) @< a(1, 2), 1.0 @< 1, _ @< 1, _x = 1", ["1"]),
        ("b @> a, a @=< a, a @>= a, \\+ a @< a, \\+ 2 @< 1.5, 3 @>= 2, _x = 1", ["1"]),
        ("compare(_a, 1, 2), compare(_b, b, a), compare(_c, f(x), f(x)), _x = [_a, _b, _c]", ["[<, >, =]"]),
        ("pointertoint(_e, _x)", ["1"]),
        ("_y = f(1 + 2), _y = f(_z), _x is _z * 2", ["6"]),
        # errors
        ("functor(_y, _, 2), _x = 1", ["functor needs a term, or a name and a number of arguments"]),
        ("functor(_y, f, -1), _x = 1", ["functor needs a term, or a name and a number of arguments"]),
        ("functor(_y, 5, 2), _x = 1", ["the name of a term is a text, not '5'"]),
        ("arg(1, abc, _x)", ["arg needs a term with arguments, not 'abc'"]),
        ("_y =.. _, _x = 1", ["=.. needs a term on its left or a list [name, argument, ...] on its right"]),
        ("_y =.. [], _x = 1", ["=.. needs a term on its left or a list [name, argument, ...] on its right"]),
        ("_y = f(_y), ground(_y), _x = 1", ["a term nests too deeply, or has more than 500000 parts"]),
        ("_y = f(_y), copy_term(_y, _), _x = 1", ["action 'action_1' nests too deeply"]),
        ("_y = f(_y, _y), sprintf(_x, '%s', [_y])", ["action 'action_1' nests too deeply"]),
        ("_y = f(1, 2), _x is _y", ["'f(1, 2)' cannot be computed"]),
        ("_y = f(foo, 2), _x is _y", ["'foo' cannot be computed"]),
    ],
)
def test_solutions(body: str, expected: list[str]) -> None:
    found = solutions(body, check=False)
    if "nests too deeply" in "".join(expected):
        assert "nests too deeply" in "".join(found)
    else:
        assert found == expected


@pytest.mark.no_cover  # tracing would make it several times as long
def test_terms_that_double_are_stopped() -> None:
    """A hundred goals may make a term of 2 ** 100 parts, that is small in memory."""
    doubled = ", ".join(f"_a{n + 1} = f(_a{n}, _a{n})" for n in range(60))
    complaint = "a term nests too deeply, or has more than 500000 parts"
    assert solutions(f"{doubled}, _a0 = a, sprintf(_x, '%s', [_a60])", check=False) == [complaint]
    assert solutions(f"{doubled}, _a0 = a, sort([_a60], _), _x = 1", check=False) == [complaint]
    body = "numlist(1, 100000, _l), between(1, inf, _), copy_term(_l, _), fail, _x = 1"
    assert "was stopped after 100000 steps" in solutions(body, check=False)[0]


ATOMIC = st.one_of(st.text(max_size=5), st.integers(-9, 9), st.floats(-9, 9))
VARIABLES = [Ref() for _ in range(3)]


def _terms(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    items = st.lists(inner, max_size=3)
    return st.one_of(
        items,
        st.builds(lambda name, args: Struct(name, tuple(args)), st.text(max_size=3), items),
        st.builds(lambda args, tail: Partial(tuple(args), tail), st.lists(inner, min_size=1, max_size=2), inner),
    )


TERMS = st.recursive(st.one_of(ATOMIC, st.sampled_from(VARIABLES)), _terms, max_leaves=12)


@given(TERMS)
def test_what_is_frozen_thaws_equal(term: Any) -> None:
    data = freeze(term)
    for through in (msgspec.json, msgspec.msgpack):
        again = thaw(through.decode(through.encode(data)))
        assert freeze(again) == data
        assert show(again) == show(term)
        assert sort_key(again) == sort_key(term)
        assert identical(again, term, Trail()) or not is_ground(term)
        trail = Trail()
        assert unify(again, copy(term), trail)


@given(TERMS, TERMS)
def test_unification_makes_terms_identical(left: Any, right: Any) -> None:
    left, right = copy(left), copy(right)
    if unify(left, right, Trail()):
        assert identical(left, right, Trail())


@given(st.lists(TERMS, max_size=6))
def test_any_terms_can_be_sorted(terms: list[Any]) -> None:
    assert sorted(map(sort_key, reversed(terms))) == sorted(map(sort_key, terms))


def test_freezing_is_bounded() -> None:
    deep: Any = "a"
    for _ in range(FROZEN_DEPTH):
        deep = [deep]
    assert thaw(freeze(deep)) == deep
    with pytest.raises(RuleError, match="the cupboard holds terms that nest at most 100 deep"):
        freeze([deep], "the cupboard")
    with pytest.raises(RuleError, match="at most 100000 parts"):
        freeze([0] * 100_001)
    with pytest.raises(RuleError, match="at most 1000000 characters"):
        freeze(["x" * 500_001] * 2)


def test_a_term_shows_itself() -> None:
    assert repr(Struct("f", (1, [Partial(("a",), Ref())]))) == "f(1, [[a | _]])"
    with pytest.raises(RuleError, match="a list has an open end"):
        resolve(Struct("f", (Partial(("a",), Ref()),)))
