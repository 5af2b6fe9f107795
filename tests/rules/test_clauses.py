"""Predicates of one's own: clauses in rule files, cuts, recursion, goals that are terms."""

from __future__ import annotations

import pytest

from opentec.events.errors import SourceErrors
from opentec.rules.clauses import CALL_DEPTH
from opentec.rules.compiled import compile_rules
from tests.rules.body_kit import RULE, kit_of, solutions, solve
from tests.rules.engine_kit import Kit, classes, rule_base

GOALS = "a goal is a predicate, a test, or several of them with commas"
FAMILY = """
parent(ann, bob). parent(bob, cid). parent(cid, dan). parent(ann, eve).
ancestor(_x, _y) :- parent(_x, _y).
ancestor(_x, _z) :- parent(_x, _y), ancestor(_y, _z).
childless(_x) :- parent(_, _x), \\+ parent(_x, _).
"""
CUTS = """
one(_x) :- member(_x, [1, 2, 3]), !.
one(9).
first_big(_l, _x) :- member(_x, _l), _x > 10, !.
first_big(_, none).
never(_x) :- member(_x, [1, 2]), !, fail.
never(3).
kind(_x, small) :- _x < 10, !.
kind(_x, big) :- _x < 100, !.
kind(_, huge).
both(_x, _y) :- member(_x, [1, 2]), one(_y).
inner(_x) :- member(_x, [1, 2]), \\+ (member(_y, [5, 6]), !, _y = 6).
branch(_x) :- ( member(_x, [1, 2]), ! ; _x = 3 ).
branch(4).
deep(_x) :- member(_x, [1, 2]), call_one(_), true.
call_one(_x) :- one(_x), !.
found(_l) :- findall(_x, (member(_x, [1, 2]), !), _l).
found(again).
stop(_x) :- member(_x, [1, 2]), commit_action.
stop_in_findall(_l) :- findall(_x, stop(_x), _l).
not_stopped(yes) :- \\+ (stop(_), fail).
"""
LISTS = """
sum([], 0).
sum([_h | _t], _n) :- sum(_t, _m), _n is _m + _h.
count(_n, _n) :- !.
count(_i, _n) :- _j is _i + 1, count(_j, _n).
down(_n) :- nonvar(_n), down(s(_n)).
rev([], _a, _a).
rev([_h | _t], _a, _r) :- rev(_t, [_h | _a], _r).
same(_x, _x).
swap(f(_a, _b), f(_b, _a)).
up(_e, _s) :- bo_get_slotval(_e, severity, _s).
raise(_e, _to) :- set_event_severity(_e, _to).
nothing.
open_list([_x, _y | _], _x, _y).
"""


@pytest.mark.parametrize(
    ("clauses", "body", "expected"),
    [
        (FAMILY, "parent(ann, _x)", ["bob", "eve"]),
        (FAMILY, "parent(_x, bob)", ["ann"]),
        (FAMILY, "parent(_y, _x)", ["bob", "cid", "dan", "eve"]),
        (FAMILY, "parent(zoe, _x)", []),
        (FAMILY, "parent(f(_), _x)", []),
        (FAMILY, "parent([_], _x)", []),
        (FAMILY, "parent(ann, eve), _x = 1", ["1"]),
        (FAMILY, "ancestor(ann, _x)", ["bob", "eve", "cid", "dan"]),
        (FAMILY, "ancestor(_x, dan)", ["cid", "ann", "bob"]),
        (FAMILY, "ancestor(ann, _y), ancestor(_y, _x)", ["cid", "dan", "dan"]),
        (FAMILY, "childless(_x)", ["dan", "eve"]),
        (FAMILY, "findall(_y, ancestor(ann, _y), _x)", ["[bob, eve, cid, dan]"]),
        (FAMILY, "(ancestor(ann, dan) -> _x = yes ; _x = no)", ["yes"]),
        (FAMILY, "forall(parent(ann, _y), childless(_y)), _x = 1", []),
        (FAMILY, "once(ancestor(_, _x))", ["bob"]),
        (CUTS, "one(_x)", ["1"]),
        (CUTS, "first_big([1, 20, 30], _x)", ["20"]),
        (CUTS, "first_big([1, 2], _x)", ["none"]),
        (CUTS, "never(_x)", []),
        (CUTS, "\\+ never(_), _x = 1", ["1"]),
        (CUTS, "member(_y, [5, 50, 500]), kind(_y, _x)", ["small", "big", "huge"]),
        (CUTS, "both(_x, _)", ["1", "2"]),
        (CUTS, "inner(_x)", ["1", "2"]),
        (CUTS, "branch(_x)", ["1"]),
        (CUTS, "deep(_x)", ["1", "2"]),
        (CUTS, "found(_x)", ["[1]", "again"]),
        (CUTS, "stop(_x)", ["1"]),
        (CUTS, "member(_y, [a, b]), stop(_x)", ["1"]),
        (CUTS, "(stop(_x) ; _x = 5)", ["1"]),
        (CUTS, "not_stopped(_x)", ["yes"]),
        (CUTS, "stop_in_findall(_y), member(_x, [5, 6])", ["5", "6"]),
        (LISTS, "sum([1, 2, 3], _x)", ["6"]),
        (LISTS, "count(0, 500), _x = 1", ["1"]),
        (LISTS, "rev([1, 2, 3], [], _x)", ["[3, 2, 1]"]),
        (LISTS, "same(_x, 5)", ["5"]),
        (LISTS, "same(_y, _x), _y = 3", ["3"]),
        (LISTS, "same(f(_x, 2), f(1, _y)), _y == 2", ["1"]),
        (LISTS, "swap(f(1, 2), f(_x, 1))", ["2"]),
        (LISTS, "swap(_y, f(1, 2)), _y = f(_x, _)", ["2"]),
        (LISTS, "up(_e, _x)", ["CRITICAL"]),
        (LISTS, "raise(_e, 'FATAL'), up(_e, _x)", ["FATAL"]),
        (LISTS, "nothing, _x = 1", ["1"]),
        (LISTS, "open_list([1, 2, 3], _y, _x)", ["2"]),
        (LISTS, "open_list(_l, a, b), _l = [_, _, c], _l = [_, _x, _]", ["b"]),
        # the variables of a rule are not those of a clause
        ("_p(_x). q(_h) :- _h = other.".replace("_p(_x). ", ""), "q(_x), _h == 'web1'", ["other"]),
        ("q(_x) :- _h = clause, _x = _h.", "q(_x)", ["clause"]),
        # what a body is told is no more than its arguments
        ("q(_x) :- nonvar(_x). q(none).", "q(_x)", ["none"]),
    ],
)
def test_solutions(clauses: str, body: str, expected: list[str]) -> None:
    assert solutions(body, clauses) == expected


@pytest.mark.parametrize(
    ("clauses", "body", "complaint"),
    [
        (LISTS, "down(0), _x = 1", f"predicates of the rule base call one another more than {CALL_DEPTH} deep"),
        (LISTS, "up(web1, _x)", "argument 1 of bo_get_slotval needs an event, and got 'web1'"),
        (LISTS, "sum([a], _x)", "_h is 'a', which is not a number"),
    ],
)
def test_errors_name_rule_and_place(clauses: str, body: str, complaint: str) -> None:
    assert solutions(body, clauses, check=False) == [complaint]


def test_an_error_in_a_clause_names_the_clause() -> None:
    kit = kit_of("p(_x)", "p(_x) :-\n  _y = a,\n  _x is _y + 1.", check=False)
    kit.event(0, "Link_Down")
    (complaint,) = kit.stored("TEC_Error")
    assert complaint.get("msg").startswith("set1.rls:3: rule set1/r: _y is 'a'")
    assert complaint.get("line") == 3


def test_a_runaway_is_stopped_and_the_event_is_kept() -> None:
    kit = kit_of("loop(_x)", "loop(_x) :- between(1, 1000000, _), fail.", check=False)
    kit.event(0, "Link_Down")
    assert "was stopped after 100000 steps" in kit.values("msg", "TEC_Error")[0]
    assert len(kit.stored("Link_Down")) == 1


def test_after_an_error_the_next_event_may_call_as_deep_again() -> None:
    kit = kit_of("p(_s, _x)", "p(_s, _x) :- down(_s). p(_, 1). down(_n) :- nonvar(_n), down(f(_n)).", check=False)
    assert "deep" in solve(kit)[0]
    kit.event(100, "Link_Up")
    assert kit.engine._run.depth == 0


def test_depth_is_the_same_wherever_the_engine_is_called_from() -> None:
    """What a server does, a test must do too, however many calls are below the engine's."""
    clauses = "count(_n, _n) :- !. count(_i, _n) :- _j is _i + 1, ( true ; fail ), ignore(true), count(_j, _n)."
    body = f"count(1, {CALL_DEPTH}), _x = 1"

    def below(calls: int) -> list[str]:
        return below(calls - 1) if calls else solutions(body, clauses)

    assert below(0) == below(900) == ["1"]
    assert "deep" in solutions(f"count(0, {CALL_DEPTH}), _x = 1", clauses)[0]


def test_clauses_of_all_rule_sets_are_one_program() -> None:
    goal = "findall(_y, p(_y), _l), sprintf(_t, '%s', [_l]), generate_event('Disk_OK', [msg=_t])"
    kit = Kit("p(1). " + RULE.format(body=goal), "p(2). q(3).", "p(_x) :- q(_x).")
    kit.event(0, "Link_Down")
    assert kit.values("msg", "Disk_OK") == ["[1, 2, 3]"]


def test_commits_in_a_clause_are_the_action_s() -> None:
    rule = """ready(_x) :- member(_x, [1, 2]), commit_rule.
      rule: r: ( event: _e of_class 'Link_Down' where [ ],
        action: ( ready(_x), set_event_message(_e, _x) ), action: ( set_event_message(_e, never) ) )."""
    kit = Kit(rule)
    kit.event(0, "Link_Down")
    assert kit.values("msg") == ["1"]


@pytest.mark.parametrize(
    ("clauses", "body", "expected"),
    [
        ("", "_g = member(_x, [1, 2]), call(_g)", ["1", "2"]),
        ("", "_g = member(_x, [1, 2]), _g", ["1", "2"]),
        ("", "_g = (member(_x, [1, 2, 3]), _x > 1), call(_g)", ["2", "3"]),
        ("", "_g = (_x = 1 ; _x = 2), call(_g)", ["1", "2"]),
        ("", "_g = (member(_x, [1, 2]), !), call(_g)", ["1"]),
        ("", "_g = bo_get_slotval(_e, hostname, _x), call(_g)", ["web1"]),
        ("", "_g = findall(_y, member(_y, [1, 2]), _x), call(_g)", ["[1, 2]"]),
        ("", "_g = (_x is _n + 1), call(_g)", ["8"]),
        ("", "_g = member([_x | _], [[1], [2]]), findall(_x, _g, _l), _x = _l", ["[1, 2]"]),
        ("", "_y = f(_), _g = (_y = f(1)), \\+ \\+ _g, var(_z), _x = _z, _z = 1", ["1"]),
        ("twice(_g) :- _g, _g. p(1). p(2).", "_g = p(_x), twice(_g)", ["1", "2"]),
        ("all(_g, _t, _l) :- findall(_t, _g, _l). p(1). p(2).", "all(p(_y), _y, _x)", ["[1, 2]"]),
        ("", "_g = qwertyuiop(1), call(_g), _x = 1", ["this goal cannot run: predicate 'qwertyuiop' is not defined"]),
        ("", "_g = [1 | _], call(_g), _x = 1", [f"[1 | _] is not a goal; {GOALS}"]),
        ("", "(_g = true ; _g = fail), call(_g), _x = 1", ["1"]),
        ("", "(_g = _ ; fail), call(_g), _x = 1", [f"a variable without a value is not a goal; {GOALS}"]),
        ("", "_g = (true, [_]), call(_g), _x = 1", [f"this goal cannot run: this is not a goal; {GOALS}"]),
    ],
)
def test_goals_that_are_terms(clauses: str, body: str, expected: list[str]) -> None:
    assert solutions(body, clauses, check=False) == expected


def test_what_an_event_says_is_never_a_goal() -> None:
    base = rule_base(RULE.format(body="call(_m)"), check=False)
    with pytest.raises(SourceErrors, match="this is not a goal"):
        compile_rules(base.rule_sets, base.classes)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("p(_x) :- q(_x).", "set1.rls:1:10: predicate 'q' is not defined"),
        ("p(_x) :- pp(_x).", "did you mean 'p'"),
        ("p(_x) :- p(_x, 1).", "p takes 1 argument, not 2"),
        ("p(1).\nmember(1, 2).", "set1.rls:2:1: member/2 is a predicate of the language"),
        ("true.", "true/0 is a predicate of the language"),
        ("p :- call((true, !)).", "! stands only in the clauses"),
        ("p :- fopen(x, y, z).", "predicate 'fopen' is refused"),
        (RULE.format(body="!"), "! stands only in the clauses of a predicate of one's own; commit_action ends"),
        ("p :- q. q :- r.\ns(1). s(_x) :- _x.", "predicate 'r' is not defined"),
    ],
)
def test_what_does_not_compile(text: str, complaint: str) -> None:
    base = rule_base(text, check=False)
    with pytest.raises(SourceErrors) as caught:
        compile_rules(base.rule_sets, classes())
    assert complaint in str(caught.value.errors[0])


def test_every_clause_has_its_error() -> None:
    base = rule_base("p :- a.\nq :- b.\n" + RULE.format(body="c"), check=False)
    with pytest.raises(SourceErrors) as caught:
        compile_rules(base.rule_sets, classes())
    assert [error.line for error in caught.value.errors] == [1, 2, 4]


def test_a_large_table_of_facts_is_found_by_its_first_argument() -> None:
    facts = "\n".join(f"host(h{n}, {n})." for n in range(3000)) + "\nhost(_, other)."
    kit = kit_of("member(_y, [h0, h2999, nobody]), host(_y, _x)", facts)
    assert solve(kit) == ["0", "other", "2999", "other", "other"]
    assert kit.engine._run.steps > 90_000


@pytest.mark.parametrize("goal", ["_g", "call(_g)", "(_x = 1, _y = (true, _g), _y)", "\\+ \\+ (_y = once(_g), _y)"])
def test_a_text_of_an_event_is_no_goal_however_it_is_handed_on(goal: str) -> None:
    kit = Kit(
        f"""run(_g) :- {goal}.
        rule: r: ( event: _e of_class 'Link' where [msg: _msg], action: ( run(_msg) ) )."""
    )
    kit.event(0, "Link_Down", msg="drop_received_event")
    (fired,) = kit.effects[0].fired
    assert "'drop_received_event' is a text" in fired.did[0]
    assert kit.values("msg", "Link_Down") == ["drop_received_event"]
