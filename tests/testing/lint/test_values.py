"""L701 to L704: facts, clauses, and what is remembered under a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.testing.kit import make_rule_base
from tests.testing.lint.kit import Look, lines, look, rule


def test_a_fact_that_nobody_reads(says: Look) -> None:
    (one,) = says("L701", rule("r", "assert(seen(1)), retractall(seen(_)), assert(known(_event))") + "x :- known(_).\n")
    assert one.message == "seen/1 is asserted and never read"


@pytest.mark.parametrize(
    "reads", ["seen(_)", "\\+ seen(2)", "retract(seen(_))", "clause(seen(_), true)", "_g = seen(1), call(_g)"]
)
def test_a_fact_that_is_read(says: Look, reads: str) -> None:
    assert says("L701,L702", rule("r", f"assert(seen(1)), {reads}")) == []


def test_a_clause_that_nobody_calls(says: Look) -> None:
    text = "deep(0).\ndeep(_n) :- _m is _n - 1, deep(_m).\nused :- commit_rule.\n" + rule("r", "forall(used, used)")
    found = says("L702", text)
    assert [(one.line, one.message) for one in found] == [(1, "deep/1 is never called")]


def test_an_asserted_clause_calls_too(says: Look) -> None:
    text = "deep(0).\n" + rule("r", "assert((top(_x) :- deep(_x))), top(1)")
    assert says("L70", text) == []


def test_a_function_that_nobody_calls(tmp_path: Path) -> None:
    folder = make_rule_base(tmp_path / "base", rule("r", "near(1)"))
    text = "from opentec.rules.user_predicates.api import predicate\n\n\n"
    for name in ("near", "far"):
        text += f"@predicate\ndef {name}(number: int) -> bool:\n    return number > 1\n\n\n"
    (folder / "predicates.py").write_text(text)
    (one,) = look(folder, "L702")
    assert one.message == "far/1 is never called"
    assert one.file == str(folder / "predicates.py")
    assert "def far" in text.split("\n")[one.line - 1] or "@predicate" in text.split("\n")[one.line - 1]


@pytest.mark.parametrize(
    ("sets", "reads"),
    [
        ("set_global_var(g, n, 1)", "get_global_var(g, m, _, 0)"),
        ("set_global_var(g, n, 1)", "global_exists(h, n)"),
        ("rerecord(k, 1)", "recorded(j, _)"),
        ("recordz(k, a, 1)", "recorded(k, b, _)"),
        ("create_threshold(t, 'Disk', [], 3, 60)", "check_threshold(_event, u)"),
        ("create_cache_search_criteria(s, 'Disk', [], 1, 1)", "search_cache(_event, z, _), commit_rule"),
        ("create_event_sequence(s, ['Disk', 'Disk_OK'], [])", "first_sequence_cause(_event, z, _)"),
        ("create_event_criteria(c, 'Disk', yes, [])", "check_event_criteria(_event, d)"),
    ],
)
def test_two_names_for_one_thing(says: Look, sets: str, reads: str) -> None:
    assert lines(says("L703,L704", rule("s", sets) + rule("r", reads))) == [("L703", 1), ("L704", 2)]


@pytest.mark.parametrize(
    ("sets", "reads"),
    [
        ("set_global_var(g, n, 1)", "get_global_grp(g, _)"),
        ("set_global_var(g, n, 1)", "get_globals(_, n, _)"),
        ("set_global_var(g, n, 1)", "bo_get_slotval(_event, msg, _m), global_exists(g, _m)"),
        ("set_global_var([g, 1], n, 1)", "global_exists([g, _], n), true"),
        ("recorda(k, a, 1)", "recorded(k, _, _)"),
        ("bo_get_slotval(_event, msg, _m), init_count([a, _m], 5)", "check_and_increment_count([a, 1])"),
        ("create_threshold(t, 'Disk', [], 3, 60)", "check_all_thresholds(_event, _)"),
        ("create_event_criteria(c, 'Disk', yes, [])", "create_threshold(t, c, [], 3, 60), check_threshold(_event, t)"),
        ("create_event_criteria(c, 'Disk', yes, [])", "create_clearing_event(x, 'Disk_OK', [c], [])"),
        ("create_event_criteria(c, 'Disk', yes, [])", "_l = [[c, drop]], length(_l, 1)"),
    ],
)
def test_they_fit(says: Look, sets: str, reads: str) -> None:
    assert says("L703,L704", rule("s", sets) + rule("r", reads)) == []


def test_each_name_is_told_once(says: Look) -> None:
    text = rule("s", "set_global_var(g, n, 1), set_global_var(g, n, 2)")
    (one,) = says("L703", text)
    assert one.message == "global variable g/n is set and never read"


def test_a_counter_begins_with_nothing(says: Look) -> None:
    assert says("L704", rule("r", "check_and_increment_count(k, 3)")) == []
    assert says("L704", rule("r", "check_event_criteria(_event, 'Disk')")) == []
