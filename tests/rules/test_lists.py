"""Predicates about lists."""

from __future__ import annotations

import pytest

from tests.rules.body_kit import kit_of, solutions


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("reverse([1, 2, 3], _x)", ["[3, 2, 1]"]),
        ("reverse([], _x)", ["[]"]),
        ("nth0(0, [a, b], _x)", ["a"]),
        ("nth0(2, [a, b], _x)", []),
        ("nth0(-1, [a, b], _x)", []),
        ("nth1(2, [a, b], _x)", ["b"]),
        ("nth1(0, [a, b], _x)", []),
        ("nth1(_x, [a, b, a], a)", ["1", "3"]),
        ("nth(_, [a, b], _x)", ["a", "b"]),
        ("last([1, 2], _x)", ["2"]),
        ("last([], _x)", []),
        ("select(_x, [1, 2], _)", ["1", "2"]),
        ("select(b, [a, b, c, b], _x)", ["[a, c, b]", "[a, b, c]"]),
        ("delete([a, b, a], a, _x)", ["[b]"]),
        ("delete([f(1), g(1), f(2)], f(_), _x)", ["[g(1)]"]),
        ("subtract([a, b, 1, 1.0], [b, 1], _x)", ["[a, 1.0]"]),
        ("intersection([a, b, [c], f(d)], [f(d), [c], a], _x)", ["[a, [c], f(d)]"]),
        ("union([a, b], [b, c], _x)", ["[a, b, c]"]),
        ("list_to_set([b, a, b, 1, 1.0, 1], _x)", ["[b, a, 1, 1.0]"]),
        ("sort([c, 2, a, 1.5, [z], f(x), a, 1], _x)", ["[1, 1.5, 2, a, c, [z], f(x)]"]),
        ("sort([2.0, 2, 2], _x)", ["[2.0, 2]"]),
        ("_y = z, sort([f(_y), b(_y, _y), a(1), g], _x)", ["[g, a(1), f(z), b(z, z)]"]),
        ("sort([_y, _y, a], _l), length(_l, _x)", ["2"]),
        ("msort([3, 1, 3], _x)", ["[1, 3, 3]"]),
        ("sort([[b], [a, c], [a]], _x)", ["[[a], [a, c], [b]]"]),
        ("keysort([2-b, 1-z, 2-a, 1-y], _y), findall(_v, member(_-_v, _y), _x)", ["[z, y, b, a]"]),
        ("sum_list([1, 2.5], _x)", ["3.5"]),
        ("sumlist([], _x)", ["0"]),
        ("max_list([1, 3, 2], _x)", ["3"]),
        ("max_list([], _x)", []),
        ("min_list([4, 3.5], _x)", ["3.5"]),
        ("between(2, 4, _x)", ["2", "3", "4"]),
        ("between(4, 2, _x)", []),
        ("between(1, 3, 3), \\+ between(1, 3, 4), _x = 1", ["1"]),
        ("between(1, inf, _x), commit_action", ["1"]),
        ("numlist(2, 4, _x)", ["[2, 3, 4]"]),
        ("numlist(4, 2, _x)", []),
        ("flatten([a, [b, [], [c, [d]]], e], _x)", ["[a, b, c, d, e]"]),
        ("flatten(a, _x)", ["[a]"]),
        ("length(_l, 2), _l = [a | _t], _t = [_x], _x = b", ["b"]),
        ("_l = [a | _t], length(_l, 3), _t = [_, _x], _x = 1", ["1"]),
        ("length([a, b | _t], 1), _x = 1", []),
        # errors
        ("reverse(abc, _x)", ["reverse needs a list, not 'abc'"]),
        ("reverse([a | _], _x)", ["reverse needs a list, not '[a | _]'"]),
        ("nth1(one, [a], _x)", ["nth1 needs a whole number, not 'one'"]),
        ("sum_list([1, a], _x)", ["sum_list needs numbers, and 'a' is none"]),
        ("_y is 2 ** 62, sum_list([_y, _y], _x)", ["a result does not fit into 64 bits"]),
        ("keysort([a], _x)", ["keysort needs a list of key-value, and 'a' is none"]),
        ("between(a, 2, _x)", ["between needs a whole number, not 'a'"]),
        ("numlist(1, 200000, _x)", ["a list has at most 100000 items"]),
        ("numlist(1, 60000, _l), append(_l, _l, _x)", ["a list has at most 100000 items"]),
        ("numlist(1, 60000, _l), numlist(60001, 120000, _k), union(_l, _k, _x)", ["a list has at most 100000 items"]),
        ("numlist(1, 60000, _l), flatten([_l, _l], _x)", ["a list has at most 100000 items"]),
        ("subtract([f(_)], [a], _x)", ["a variable is used before it has a value"]),
        ("_y = f(_y), sort([_y], _x)", ["terms that nest more than 1000 deep cannot be sorted"]),
    ],
)
def test_solutions(body: str, expected: list[str]) -> None:
    body = body.replace("9223372036854775807", "_big").replace(
        "sum_list([900", "_big is 2 ** 62 * 2 - 1, sum_list([900"
    )
    assert solutions(body.replace("2 ** 62 * 2 - 1", "2 ** 62 - 1 + 2 ** 62"), check=False) == expected


def test_work_on_long_lists_is_counted() -> None:
    kit = kit_of("numlist(1, 100000, _l), between(1, inf, _), reverse(_l, _x), fail", check=False)
    kit.event(0, "Link_Down")
    assert "was stopped after 100000 steps" in kit.values("msg", "TEC_Error")[0]
