"""What one goal may cost: work that grows faster than the steps it was counted as, and memory without end.

Without its limit each of these runs for minutes, or takes gigabytes.
"""

from __future__ import annotations

import pytest

from opentec.rules.engine import Engine
from opentec.rules.evaluation import OUTPUT_LIMIT, SLOT_ITEMS, SLOT_SIZE
from opentec.rules.selectors.indexed import IndexedSelector
from tests.rules.body_kit import RULE
from tests.rules.engine_kit import Kit

CLAUSES = """
double(0, x).
double(_n, f(_t, _t)) :- _n > 0, _m is _n - 1, double(_m, _t).
longer(0, _t, _t).
longer(_n, _t, _r) :- _n > 0, _m is _n - 1, atomconcat(_t, _t, _u), longer(_m, _u, _r).
long(_t) :- longer(14, abc, _t).
many(0, _, []).
many(_n, _item, [_item | _t]) :- _n > 0, _m is _n - 1, many(_m, _item, _t).
walk([]).
walk([_ | _t]) :- walk(_t).
push(0, _).
push(_n, _list) :- _n > 0, _m is _n - 1, push(_m, [_n | _list]).
down(_n) :- rerecord(last, _n), ( _n < 0 -> fail ; _n >= 0 -> ( fail ; ( _m is _n + 1, down(_m) ; fail ) ) ).
"""
STOPPED = "action 'action_1' was stopped after 20000 steps"
LONG = "a text is longer than 65536 characters"
LARGE = "a term nests too deeply, or has more than 500000 parts"
OUTPUT = f"one record, or timer, may store and send {OUTPUT_LIMIT} characters"


def complaints(body: str) -> list[str]:
    kit = Kit(f"{CLAUSES}\n{RULE.format(body=body)}", check=False, step_limit=20_000)
    kit.event(0, "Link_Down", hostname="web1", msg="down", repeat_count=7)
    again = kit.repository.prime(Engine(kit.base, IndexedSelector()))
    assert again.state_hash() == kit.engine.state_hash()
    return [text.partition("rule set1/r: ")[2] for text in kit.values("msg", "TEC_Error")]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        # terms that double: two of them that were made apart
        ("double(40, _a), double(40, _b), _a = _b", STOPPED),
        ("double(40, _a), double(40, _b), _a == _b", STOPPED),
        ("double(40, _a), double(40, _b), _a \\== _b", STOPPED),
        ("double(40, _a), double(40, _b), _a @< _b", LARGE),
        ("double(40, _a), sprintf(_x, '%s', [_a])", LARGE),
        # lists of which every item, or every rest, is long
        ("numlist(1, 100000, _b), many(400, _b, _l), msort(_l, _x)", LARGE),
        ("numlist(1, 100000, _b), many(400, _b, _l), sort(_l, _x)", LARGE),
        ("numlist(1, 90000, _b), many(400, _b, _l), numlist(2, 90001, _c), member(_c, _l)", STOPPED),
        ("numlist(1, 100000, _b), walk(_b)", STOPPED),
        ("numlist(1, 90000, _b), push(1900, _b)", STOPPED),
        ("numlist(1, 50000, _l), append(_, x, _l)", STOPPED),
        ("numlist(1, 50000, _l), select(_, _l, x)", STOPPED),
        ("_l = [a | _l], length(_l, _x)", "a list has at most 100000 items"),
        # pieces of long texts
        ("long(_t), sub_atom(_t, _y, _y, _, _)", STOPPED),
        ("long(_t), sub_atom(_t, _, _, y, _)", STOPPED),
        ("long(_t), sub_atom(_t, _, _, 0, y)", ""),
        ("long(_t), sub_atom(_t, _, _, 0, [])", "sub_atom needs a text, not '[]'"),
        ("long(_t), atompart(_t, _, _y, _y)", STOPPED),
        ("long(_t), atom_concat(_y, _y, _t)", STOPPED),
        ("long(_t), split_string(_t, _t, '', _)", "split_string takes at most 1000 separators"),
        # texts that would be very long
        ("long(_t), many(1900, _t, _l), atomic_list_concat(_l, _x)", LONG),
        ("long(_t), many(1900, _t, _l), atomic_list_concat(_l, _t, _x)", LONG),
        ("long(_t), many(1900, _t, _l), atomconcat(_l, _x)", LONG),
        ("long(_t), many(1900, _t, _l), sprintf(_x, '%s', [_l])", LARGE),
        ("longer(14, '%s', _f), long(_t), many(1900, _t, _l), sprintf(_x, _f, _l)", LONG),
        # slots
        ("numlist(1, 10001, _l), bo_set_slotval(_e, server_path, _l)", f"would hold more than {SLOT_ITEMS} items"),
        ("long(_t), many(30, _t, _l), bo_set_slotval(_e, acl, _l)", f"would hold more than {SLOT_SIZE} characters"),
        ("long(_t), many(30, _t, _l), generate_event('Disk', [tags = _l])", f"more than {SLOT_SIZE} characters"),
        # what is stored and sent
        ("long(_t), between(1, 999, _), generate_event('Disk', [msg = _t, origin = _t])", OUTPUT),
        ("long(_t), between(1, 999, _), exec_program(_e, p, '%s', [_t], 'NO')", OUTPUT),
        ("long(_t), between(1, 20000, _i), sub_atom(_t, 0, _i, _, _p), set_event_message(_e, _p)", OUTPUT),
        ("long(_t), between(1, 1000, _), recordz(a, _t)", STOPPED),
        ("long(_t), between(1, 1000, _i), set_global_var(a, _i, _t)", STOPPED),
        ("long(_t), between(1, 1000, _), assert(kept(_t))", STOPPED),
        ("between(1, 900, _i), set_global_var(a, _i, 0), _i =:= 900, long(_t), reset_global_grp(a, _t)", OUTPUT),
        ("long(_t), set_global_var(a, _t, 1)", "the name of a global variable is longer than 1024 characters"),
        ("long(_t), rerecord(_t, 1)", "the key of a recorded value is longer than 1024 characters"),
        ("long(_t), many(30, _t, _l), create_event_criteria(a, 'Disk', yes, [[msg, within, _l]])", "characters"),
        ("many(1001, 'Disk', _l), create_event_criteria(a, _l, yes, [])", "are more than 1000"),
    ],
)
def test_no_goal_costs_more_than_its_steps(body: str, expected: str) -> None:
    found = complaints(body)
    assert len(found) == bool(expected)
    assert expected in "".join(found)


def test_recursion_ends_where_there_is_room_left_for_what_changes_the_state() -> None:
    """With many goals within one another in each call the limit is reached before that of calls."""
    (found,) = complaints("down(0)")
    assert "predicates of the rule base call one another more than" in found
