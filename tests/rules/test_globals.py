"""Global variables."""

from __future__ import annotations

import pytest

from opentec.rules.engine import Engine
from opentec.rules.predicates.globals import Globals
from opentec.rules.selectors.indexed import IndexedSelector
from opentec.rules.store import Store
from tests.rules.body_kit import kit_of, solutions, solve

TWO = "set_global_var(g, b, 2), set_global_var(g, a, 1), set_global_var(h, 1, [x, f(_)]), "


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (f"{TWO} get_global_var(g, a, _x, none)", ["1"]),
        (f"{TWO} get_global_var(g, c, _x, none)", ["none"]),
        (f"{TWO} get_global_var(f, a, _x, [])", ["[]"]),
        (f"{TWO} get_global_var(g, a, 2, none), _x = 1", []),
        (f"{TWO} get_global_var(h, 1, [_, f(_x)], none), _x = 3", ["3"]),
        ("get_global_var(g, 1, _x, '')", [""]),
        (f"{TWO} set_global_var(g, a, _h), get_global_var(g, a, _x, none)", ["web1"]),
        (f"{TWO} get_global_grp(g, _x)", ["[=(a, 1), =(b, 2)]"]),
        (f"{TWO} get_global_grp(f, _x)", ["[]"]),
        (f"{TWO} get_global_grp(g, _l), member(a=_x, _l)", ["1"]),
        (f"{TWO} get_globals(g, _x, _)", ["a", "b"]),
        (f"{TWO} get_globals(_, _x, _)", ["a", "b", "1"]),
        (f"{TWO} get_globals(_x, b, 2)", ["g"]),
        (f"{TWO} get_globals(g, _y, _), erase_globals(g), _x = _y", ["a", "b"]),
        (f"{TWO} reset_global_grp(g, 0), findall(_y, get_globals(_, _, _y), [_x | _])", ["0"]),
        (f"{TWO} reset_global_grp(g, 0), get_global_grp(g, _x)", ["[=(a, 0), =(b, 0)]"]),
        (f"{TWO} global_exists(g, a), \\+ global_exists(g, c), _x = 1", ["1"]),
        (f"{TWO} erase_globals(g), get_globals(_x, _, _)", ["h"]),
        (f"{TWO} erase_globals(g, a), erase_globals(g, a), erase_globals(f, a), get_globals(g, _x, _)", ["b"]),
        ("set_global_var(g, a, _e), _x = 1", ["an event cannot be kept in a global variable; keep its key: "
         "date_reception and event_handle"]),
        ("set_global_var(g, [a], 1), _x = 1", ["the name of a global variable must be a text or a whole number, "
         "not '[a]'"]),
        ("set_global_var(1.5, a, 1), _x = 1", ["the group of a global variable must be a text or a whole number, "
         "not '1.5'"]),
    ],
)  # fmt: skip
def test_solutions(body: str, expected: list[str]) -> None:
    assert solutions(body, check=False) == expected


def test_they_are_there_after_a_restart() -> None:
    kit = kit_of("get_global_var(g, _h, _y, 0), _x is _y + 1, set_global_var(g, _h, _x)")
    assert solve(kit) == ["1"]
    kit.engine = kit.repository.prime(Engine(kit.base, IndexedSelector()))
    assert solve(kit, 1) == ["2"]
    assert solve(kit, 2, hostname="web2") == ["1"]
    assert kit.repository.state['global:["g","web1"]'] == 2


def test_they_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opentec.rules.predicates.globals.GLOBAL_LIMIT", 2)
    body = "set_global_var(g, a, 1), set_global_var(g, b, 1), set_global_var(g, a, 2), set_global_var(g, c, 1), _x = 1"
    assert solutions(body) == ["there are 2 global variables already; erase those that are not needed any more"]


def test_order_is_not_that_of_the_store() -> None:
    state = {'global:["b","x"]': 1, 'global:["a",10]': 2, 'global:["a",9]': 3, 'global:["a","y"]': 4}
    for items in (state.items(), reversed(state.items())):
        variables = Store(dict(items)).view(Globals)
        assert [keys for keys, _ in variables.all()] == [("a", 9), ("a", 10), ("a", "y"), ("b", "x")]
