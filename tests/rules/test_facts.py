"""Facts, clauses that are asserted, recorded values: what they do, and that a restart makes no difference."""

from __future__ import annotations

from typing import Any

import pytest

from opentec.rules.batching import BatchBuilder
from opentec.rules.engine import Engine
from opentec.rules.facts import Facts
from opentec.rules.predicates.facts import RECORD_LIMIT
from opentec.rules.selectors.indexed import IndexedSelector
from opentec.rules.store import Store
from opentec.rules.terms import RuleError, Struct, freeze
from tests.rules.body_kit import kit_of, solutions, solve
from tests.rules.engine_kit import Kit

THREE = "assert(p(1)), assert(p(2)), assert(p(3)), "


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        # facts
        (f"{THREE} p(_x)", ["1", "2", "3"]),
        (f"{THREE} p(2), _x = yes", ["yes"]),
        (f"{THREE} p(4), _x = yes", []),
        ("assertz(p(1)), asserta(p(0)), assertz(p(2)), asserta(p(-1)), p(_x)", ["-1", "0", "1", "2"]),
        ("assert(q), q, _x = 1", ["1"]),
        ("assert(q(_, _h)), q(anything, _x)", ["web1"]),
        ("assert(q(_y, _y)), q(1, _x), var(_y)", ["1"]),
        ("assert(q(f(1), [a | _])), q(f(_), [_x, b])", ["a"]),
        ("assert(q(1.0, b)), assert(q(1, a)), q(1, _x)", ["a"]),
        ("assert(q(_, any)), assert(q(a, a)), asserta(q([1], list)), q(a, _x)", ["any", "a"]),
        ("assert(q(_, any)), assert(q(a, a)), asserta(q([1], list)), q([1], _x)", ["list", "any"]),
        ("assert(escalate_severity_timers('FATAL', 43200, 0)), escalate_severity_timers(_s2, _x, _)", ["43200"]),
        # a running enumeration sees neither what is asserted nor what is retracted meanwhile
        (f"{THREE} p(_x), assert(p(9))", ["1", "2", "3"]),
        (f"{THREE} p(_x), retractall(p(_))", ["1", "2", "3"]),
        # retract
        (f"{THREE} retract(p(2)), p(_x)", ["1", "3"]),
        (f"{THREE} retract(p(_x))", ["1", "2", "3"]),
        (f"{THREE} once(retract(p(_))), p(_x)", ["2", "3"]),
        (f"{THREE} retract(p(_y)), _y > 1, p(_x)", ["3"]),
        (f"{THREE} retract(p(9)), p(_x)", []),
        (f"{THREE} retract(p(_)), retract(p(_x))", ["2", "3"]),
        (f"{THREE} retractall(p(2)), retractall(p(7)), p(_x)", ["1", "3"]),
        (f"{THREE} assert(p(1, 2)), abolish(p/1), findall(_y, p(_y), []), p(1, _x)", ["2"]),
        (f"{THREE} abolish(p, 1), \\+ p(_), _x = none", ["none"]),
        ("assert(q), abolish(q, 0), \\+ q, _x = none", ["none"]),
        ("assert(q(_, a)), assert(q(b, _)), retractall(q(b, c)), q(_, _x)", ["a"]),
        # clauses that are asserted
        ("assert((q(_y) :- member(_y, [1, 2]))), q(_x)", ["1", "2"]),
        ("assert((q(_y) :- _y = a ; _y = b)), q(_x)", ["a", "b"]),
        ("assert((q(_y) :- member(_y, [1, 2]), !)), assert(q(3)), q(_x)", ["1"]),
        ("assert((q(_y) :- _y == _h)), q('web1'), _x = 1", ["1"]),
        ("assert((q(0) :- true)), assert((q(_i) :- _i > 0, _j is _i - 1, q(_j))), q(20), _x = 1", ["1"]),
        ("assert((q(_y) :- r(_y))), assert(r(1)), q(_x)", ["1"]),
        ("assert((q(_y) :- findall(_z, member(_z, [1]), _y))), q(_x)", ["[1]"]),
        ("assert((q(_a, _a, [_b | _c], _b, _c) :- true)), q(1, _, [2, 3], _, _x)", ["[3]"]),
        ("assert((q(_v) :- nonvar(_v), _v = [a | _t], length(_t, 1))), q([_, _y]), _y = 5, _x = _y", ["5"]),
        ("assert((q(_y) :- _y = 1.5)), q(_x)", ["1.5"]),
        ("assert((q(1) :- fail)), retract((q(1) :- _x))", ["fail"]),
        ("assert((q(1) :- fail)), assert(q(2)), retract(q(_x))", ["2"]),
        ("assert((q(1) :- fail)), retractall(q(_)), \\+ clause(q(_), _), _x = 1", ["1"]),
        # clause/2
        ("assert(q(1)), clause(q(_x), true)", ["1"]),
        ("assert((q(_y) :- _y > 1, true)), clause(q(7), (_x, _))", [">(7, 1)"]),
        ("assert(q(2)), asserta(q(1)), clause(q(_x), _)", ["1", "2"]),
        ("(clause(q(_x), _) ; assert(q(1)), fail)", []),
        ("assert(q('$leaf'(0))), assert((q(_y) :- _y = 1)), q(_x)", ["$leaf(0)", "1"]),
        # recorded values
        ("rerecord(k, 1), rerecord(k, 2), recorded(k, _x)", ["2"]),
        ("recorda(k, 1), recorda(k, 2), recordz(k, 3), recorded(k, _x)", ["2", "1", "3"]),
        ("recordz(k, 1), recorded(k, _x), recordz(k, 2)", ["1"]),
        ("rerecord(k, 'EVENT', ['MAIL', _h]), recorded(k, 'EVENT', [_, _x])", ["web1"]),
        ("rerecord(k, b, 2), rerecord(k, a, 1), rerecord(l, c, 3), recorded(k, _, _x)", ["1", "2"]),
        ("rerecord(k, b, 2), rerecord(k, a, 1), rerecord(j, c, 3), recorded(_, _, _x)", ["3", "1", "2"]),
        ("rerecord(k, b, 2), rerecord(k, 1), rerecord(10, 3), recorded(_, _x)", ["3", "1"]),
        ("recorda(k, a, 1), recordz(k, a, 2), recorded(k, a, _x)", ["1", "2"]),
        ("recorded(k, _x)", []),
        ("recorded(k, _, _x)", []),
        ("rerecord(k, 1), erase(k), erase(k), erase(k, l), recorded(k, _x)", []),
        ("rerecord(k, a, 1), rerecord(k, 2), erase(k, a), recorded(k, _x)", ["2"]),
        ("rerecord(k, f(_y, _y, [1 | _])), recorded(k, f(1, _x, [_, 2]))", ["1"]),
        ("rerecord(k, 1), recorded(k, 2), _x = 1", []),
    ],
)
def test_solutions(body: str, expected: list[str]) -> None:
    clauses = "nothing :- assert(p(_)), assert(q), assert(q(_)), assert(q(_, _)), assert(r(_)), assert(p(_, _))."
    assert solutions(body, clauses, check=False) == expected


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("assert(p(_e))", "an event cannot be kept in a fact; keep its key: date_reception and event_handle"),
        ("assert((p(1) :- set_event_message(_e, x)))", "an event cannot be kept in a fact"),
        ("assert(5)", "5 is neither a fact, name(...), nor a clause"),
        ("assert(member(1, 2))", "member/2 is a predicate of the language and cannot be asserted"),
        ("assert((true :- fail))", "true/0 is a predicate of the language and cannot be asserted"),
        ("retract(_)", "retract needs the name of the fact"),
        ("retract(fixed(1))", "retract takes away only what was asserted, and fixed/1 stands at set1.rls:1"),
        ("retractall(fixed(_))", "retractall takes away only what was asserted, and fixed/1 stands at set1.rls:1"),
        ("abolish(fixed/1)", "only what was asserted, and fixed/1 stands"),
        ("abolish(fixed)", "abolish takes name/arity, not 'fixed'"),
        ("abolish(fixed, many)", "abolish takes a name and a number of arguments"),
        ("assert((p(_y) :- qwertyuiop(_y))), p(1)", "the asserted clause of p/1 cannot run: predicate 'qwertyuiop' is"),
        ("assert((p(_y) :- memberr(_y))), p(1)", "did you mean 'member'?"),
        ("assert((p(_y) :- _z is _y + 1, _z > 0)), p(a)", "is 'a', which is not a number"),
        ("assert((p(_y) :- p(_y))), p(1)", "call one another more than"),
        ("rerecord(_, 1)", "a variable is used before it has a value"),
        ("rerecord([a], 1)", "the key of a recorded value must be a text or a whole number, not '[a]'"),
        ("rerecord(1.5, 1)", "the key of a recorded value must be"),
        ("rerecord(k, [_e])", "an event cannot be kept in a recorded value"),
        ("recorded(_e, _)", "the key of a recorded value must be"),
        ("between(1, 2000, _i), recordz(k, _i), fail", f"[k] has {RECORD_LIMIT} recorded values, the most"),
        ("length(_l, 100000), assert(p(_l, _l))", "a fact holds terms of at most 100000 parts"),
        ("_l = [_l], assert(p(_l))", "a fact holds terms that nest at most 100 deep"),
        ("findall(_m2, (between(1, 30, _), _m2 = _long), _l), rerecord(k, _l)", "holds at most 1000000 characters"),
    ],
)
def test_errors(body: str, complaint: str) -> None:
    long = "_a0 = '0123456789', " + ", ".join(f"atomconcat(_a{n}, _a{n}, _a{n + 1})" for n in range(12))
    body = f"{long}, atomconcat(_a12, '', _long), {body}, _x = 1"
    (found,) = solutions(body, "fixed(1).\nnothing :- assert(p(_)), assert(p(_, _)).", check=False)
    assert complaint in found


def test_an_error_in_an_asserted_clause_names_the_goal_that_called_it() -> None:
    kit = kit_of("assert((p(_y) :- _z is _y + 1, _z > 0)),\n\np(a), _x = 1", check=False)
    kit.event(0, "Link_Down")
    assert kit.values("msg", "TEC_Error")[0].startswith("set1.rls:5: rule")


def test_clauses_of_files_and_facts_are_one_predicate() -> None:
    body = "assertz(p(after)), asserta(p(before)), findall(_y, p(_y), _x)"
    assert solutions(body, "p(one). p(_y) :- _y = two.") == ["[before, one, two, after]"]
    body = "assertz(p(a)), asserta(p(b)), findall(_y - _z, clause(p(_y), _z), _x)"
    assert solutions(body, "p(one). p(_y) :- _y = two.", check=False) == ["a variable is used before it has a value"]
    assert solutions("assertz(p(a)), asserta(p(b)), clause(p(c), _x)", "p(one). p(_y) :- _y = two.") == ["=(c, two)"]
    assert solutions("assertz(p(a)), asserta(p(b)), clause(p(_x), true)", "p(one). p(_y) :- _y = two.") == [
        "b",
        "one",
        "a",
    ]
    assert solutions("assert(p(2)), retract(p(2)), p(_x)", "p(1).") == ["1"]


def test_a_body_of_a_file_can_be_read() -> None:
    clauses = "p(_y) :- first_instance(event: _y of_class 'Link'), q(_y, [_ | b], 1).\nq(_, _, _)."
    assert solutions("clause(p(k), (_a, q(_b, [c | _c], _n2))), _x = [_a, _b, _c]", clauses) == [
        "[first_instance(event), k, b]"
    ]


RULES = """
nothing :- assert(p(_)), assert(seen(_, _)).
big(_n) :- _n > 2.
rule: r: ( event: _e of_class 'Disk' where [ hostname: _h, size: _n ],
  action: a: ( ( retract(seen(_h, _old)) -> true ; _old = 0 ), _new is _old + 1, assert(seen(_h, _new)) ),
  action: b: ( asserta(p(_n)), assert((p(_y) :- _y == _n, _y > 1)), recordz(h, _h, [_n, _]), rerecord(last, _h) ),
  action: c: ( _n > 3, retract(p(_)), fail ),
  action: d: ( big(_n), set_global_var(g, _h, f(_n, _)), erase_globals(other) ),
  action: f: ( _n > 4, abolish(p/1), erase(h, _h), erase_globals(g) ),
  action: l: ( findall(_y - _z, clause(p(_y), _z), _l1), findall(_u - _v, seen(_u, _v), _l2),
    findall(_k - _w, recorded(h, _k, _w), _l3), findall(_k - _w, get_globals(g, _k, _w), _l4),
    length(_l1, _n1), length(_l3, _n3), length(_l4, _n4),
    sprintf(_t, '%d %s %d %d', [_n1, _l2, _n3, _n4]), set_event_message(_e, _t) ) ).
"""


def test_after_a_restart_all_is_as_before() -> None:
    first = Kit(RULES)
    hosts = ["a", "b", "c"]
    for n in range(23):
        second = Kit(RULES)
        second.repository = first.repository
        second.engine = first.repository.prime(Engine(first.base, IndexedSelector()))
        assert second.engine.state_hash() == first.engine.state_hash()
        record = first.log.event(n, "Disk_Full", hostname=hosts[n % 3], size=n % 6)
        one, other = first.engine.process(record), second.engine.process(record)
        assert one.state == other.state
        assert second.engine.state_hash() == first.engine.state_hash()
        builder = BatchBuilder(first.repository.position)
        builder.add(one)
        first.repository.commit(builder.build())
    assert first.stored("TEC_Error") == []
    assert "-(b, 8)" in first.values("msg")[-1]
    assert {name.partition(":")[0] for name in first.repository.state} >= {"fact", "recorded", "global"}


def test_a_retracted_number_is_not_used_again() -> None:
    """Else a restart between would make a difference."""
    kit = kit_of("assert(p(1)), retract(p(1)), assert(p(2)), p(_x)", check=False)
    assert solve(kit) == ["2"]
    assert {name: value for name, value in kit.repository.state.items() if name.startswith("fact:")} == {
        "fact:2": {"f": ["p", 2]},
        "fact:next": [0, 2],
    }


def test_facts_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opentec.rules.facts.FACT_LIMIT", 2)
    assert solutions(f"{THREE} _x = 1", check=False) == [
        "there are 2 facts already; retract those that are not needed any more"
    ]
    assert solutions("assert(p(1)), retract(p(1)), assert(p(2)), assert(p(3)), p(_x)", check=False) == ["2", "3"]


def test_many_facts_stay_fast() -> None:
    """A look-up by the first argument goes to its bucket, whatever else there is."""
    store = Store()
    facts = store.view(Facts)
    for n in range(20_000):
        facts.add(freeze(Struct("host", (f"h{n}", n))), front=False)
    table = facts.table(("host", 2))
    assert table is not None
    assert [fact.args for fact in table.matching(("h77", None))] == [("h77", 77)]
    facts.remove(table.matching(("h77", None))[0])
    assert table.matching(("h77", None)) == []
    assert facts.count == len(store.section("fact")) - 1 == 19_999


def test_a_view_is_made_of_what_the_store_holds() -> None:
    store = Store({"fact:2": "b", "fact:10": {"f": ["p", {"v": 0}]}, "fact:-1": "b", "fact:next": [-1, 10]})
    facts = store.view(Facts)
    table: Any = facts.table(("b", 0))
    assert [fact.number for fact in table.matching(())] == [-1, 2]
    with pytest.raises(RuleError, match="neither a fact"):
        facts.add(5, front=False)


def test_what_was_kept_is_told() -> None:
    """`tec why` shows what a rule changed in the facts."""
    kit = kit_of(
        "assert(p(_h)), assert(q), assert(r(_, 1)), retract(p(_)), retractall(r(_, _)), retractall(r(_, _)), "
        "rerecord(k, 1), rerecord(k, l, 1), erase(k), erase(k), set_global_var(g, a, 1), set_global_var(g, b, 1), "
        "erase_globals(g, a), reset_global_grp(g, 0), erase_globals(g), _x = 1"
    )
    outcome = kit.event(0, "Link_Down", hostname="web1").outcome
    assert outcome is not None
    assert outcome.fired[0].did == [
        *("asserted p(web1)", "asserted q", "asserted r(_, ...)", "retracted p(web1)", "retracted 1 of r/2"),
        *("recorded k", "recorded k, l", "erased k", "set global g/a", "set global g/b", "erased global g/a"),
        *("reset 1 globals of g", "erased 1 globals of g", "generated Disk_OK"),
    ]


def test_steps_are_the_same_when_all_is_compiled_again() -> None:
    """What an engine compiled before a restart must make no difference to the step limit."""
    kit = kit_of("( assert((q(_y) :- _y = 1)) ; true ), q(_x), _g = (true, q(_x)), call(_g)")
    solve(kit)
    again = kit.repository.prime(Engine(kit.base, IndexedSelector()))
    record = kit.log.event(1, "Link_Down")
    kit.engine.process(record)
    again.process(record)
    assert again._run.steps == kit.engine._run.steps
    assert again.state_hash() == kit.engine.state_hash()
