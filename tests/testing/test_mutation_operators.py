"""What is broken in rules, and what is left alone."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from opentec.events.classes import ClassTable
from opentec.events.loader import load_classes
from opentec.rules.parser import parse_rules
from opentec.shipped import shipped
from opentec.testing.mutation_operators import OPERATORS, Mutant, callers, mutants, settled

HEAD = "rule: r: (\n  event: _event of_class 'NT_Disk_Full',\n  reception_action: a: (\n    "
LINE = 4  # of the goals


@cache
def classes() -> ClassTable:
    return load_classes(shipped("rules", "default", "TEC_CLASSES"))


def found(text: str) -> list[Mutant]:
    rule_set = parse_rules(text, "TEC_RULES/s.rls")
    return mutants(rule_set, classes(), [rule_set])


def goals(body: str) -> dict[str, list[list[str]]]:
    """The mutants of a body, by operator, as what was there and what is there now."""
    by: dict[str, list[list[str]]] = {}
    for mutant in found(f"{HEAD}{body}\n  )\n)."):
        if mutant.place.line == LINE:
            by.setdefault(mutant.operator, []).append([text[2:] for text in mutant.diff])
    return by


def test_goals_are_dropped_commits_apart() -> None:
    assert goals("set_event_severity(_event, 'MINOR'), commit_set") == {
        "drop-goal": [["set_event_severity(_event, 'MINOR')"]],
        "drop-commit": [["commit_set"]],
        "change-text": [["set_event_severity(_event, 'MINOR')", "set_event_severity(_event, 'CRITICAL')"]],
    }
    assert goals("drop_received_event") == {"drop-goal": [["drop_received_event", "true"]]}
    assert goals("true") == {}


def test_a_negation_is_dropped_with_what_is_negated_or_without() -> None:
    assert goals("\\+ received_event_dropped") == {
        "drop-goal": [["\\+ received_event_dropped", "true"]],
        "drop-negation": [["\\+ received_event_dropped", "received_event_dropped"]],
    }


def test_comparisons_are_negated_and_their_bounds_shifted() -> None:
    by = goals("_event == _event, 1 < 2, 1 >= 2")
    assert by["negate"] == [["_event == _event", "_event \\== _event"], ["1 < 2", "1 >= 2"], ["1 >= 2", "1 < 2"]]
    assert by["shift-bound"] == [["1 < 2", "1 =< 2"], ["1 >= 2", "1 > 2"]]


def test_alternatives_are_swapped_and_branches_too() -> None:
    by = goals("( global_exists(a, b) ; fail ), ( global_exists(a, b) -> true ; fail ), ( 1 < 2 -> true ; fail )")
    assert by["swap-alternatives"] == [["global_exists(a, b) ; fail", "fail ; global_exists(a, b)"]]
    assert ["global_exists(a, b) -> true", "true"] not in by["drop-goal"]
    # where one comparison decides, it is the one that is negated
    assert by["negate"] == [
        ["(global_exists(a, b) -> true) ; fail", "(global_exists(a, b) -> fail) ; true"],
        ["1 < 2", "1 >= 2"],
    ]


def test_numbers_grow_small_ones_by_one() -> None:
    by = goals("set_timer(_event, 9, x), set_timer(_event, 10, x), set_timer(_event, -1, x), _x is 0 + 1.5")
    assert [after for _, after in by["change-number"]] == [
        "set_timer(_event, 10, x)",
        "set_timer(_event, 20, x)",
        "set_timer(_event, 0, x)",
        "_x is (1 + 1.5)",
        "_x is (0 + 2.5)",
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [("FATAL", "CRITICAL"), ("OPEN", "ACK"), ("CLOSED", "OPEN"), ("yes", "no"), ("", "changed"), ("a", "a_changed")],
)
def test_texts_become_others(before: str, after: str) -> None:
    shown = "no" if after == "no" else f"'{after}'" if after != "changed" and after != "a_changed" else after
    assert goals(f"set_event_message(_event, '{before}')")["change-text"][0][1] == f"set_event_message(_event, {shown})"
    assert goals(f'set_event_message(_event, "{before}")')["change-text"][0][1].endswith(f'"{after}")')


def test_calculations_change_but_not_windows() -> None:
    assert goals("_x is min(1, 2) * 3 - 4")["change-arithmetic"] == [
        ["_x is ((min(1, 2) * 3) - 4)", "_x is ((max(1, 2) * 3) - 4)"],
        ["_x is ((min(1, 2) * 3) - 4)", "_x is ((min(1, 2) // 3) - 4)"],
        ["_x is ((min(1, 2) * 3) - 4)", "_x is ((min(1, 2) * 3) + 4)"],
    ]
    by = goals("first_duplicate(_event, event: _dup, _event - 60 - 0), add_to_repeat_count(_dup, 1)")
    assert "change-arithmetic" not in by
    assert len(by["change-number"]) == 2  # 60 and 1: behind the event that is processed there is none


def test_what_finds_the_first_finds_all_where_that_can_matter() -> None:
    assert len(goals("first_instance(event: _e of_class 'NT_Disk'), set_event_severity(_e, 'MINOR')")["first-all"]) == 1
    for body in (
        "\\+ first_instance(event: _e of_class 'NT_Disk')",
        "( first_instance(event: _e of_class 'NT_Disk') -> true ; fail )",
        "first_instance(event: _e of_class 'NT_Disk'), commit_action, set_event_severity(_e, 'MINOR')",
    ):
        assert "first-all" not in goals(body)


def test_conditions_of_filters() -> None:
    by = goals("all_instances(event: _e of_class 'NT_Disk' where [status: _s outside ['CLOSED'], drive: equals 'C:'])")
    assert by["drop-condition"] == [["status: _s outside ['CLOSED']", "status: _s"], ["drive: equals 'C:'"]]
    assert by["negate"] == [
        ["status: _s outside ['CLOSED']", "status: _s within ['CLOSED']"],
        ["drive: equals 'C:'", "drive: not_equals 'C:'"],
    ]
    assert by["change-text"] == [
        ["status: _s outside ['CLOSED']", "status: _s outside ['OPEN']"],
        ["drive: equals 'C:'", "drive: equals 'C:_changed'"],
    ]
    assert by["widen-class"] == [["of_class 'NT_Disk'", "of_class 'NT_Base'"]]


def test_elements_are_dropped_from_lists() -> None:
    by = goals("generate_event('TEC_Notice', [msg=a]), member(_x, [a, _y, b]), member(_x, [a])")
    assert [after for _, after in by["drop-element"]] == [
        "generate_event('TEC_Notice', [])",
        "member(_x, [_y, b])",
        "member(_x, [a, _y])",
    ]


def test_classes_of_the_event_filter() -> None:
    text = HEAD.replace("'NT_Disk_Full'", "within ['NT_Disk_Full', 'NT_Disk_OK']") + "drop_received_event ) )."
    changes = [mutant for mutant in found(text) if mutant.place.line == 2]
    assert [(one.operator, one.node) for one in changes] == [
        ("drop-element", "'NT_Disk_Full'"),
        ("drop-element", "'NT_Disk_OK'"),
    ]
    assert changes[0].diff[1] == "+ of_class within ['NT_Disk_OK']"
    assert [one.after for one in found(HEAD + "commit_set ) ).") if one.place.line == 2] == ["of_class 'NT_Disk'"]
    assert not [one for one in found(HEAD.replace("NT_Disk_Full", "EVENT") + "a ) ).") if one.place.line == 2]


def test_rules_actions_and_clauses_are_dropped() -> None:
    text = HEAD + "a ),\n  reception_action: b: ( c ) ).\nf(1).\nf(_x) :- g(_x)."
    names = [one.name for one in found(text) if one.operator in ("drop-rule", "drop-action")]
    assert names == [
        "s/r:drop-rule@1:1",
        "s/r:drop-action@3:3",
        "s/r:drop-action@5:3",
        "s/f:drop-rule@6:1",
        "s/f:drop-rule@7:1",
    ]
    fact = [one for one in found(text) if one.place.line == 6][1]
    assert (fact.operator, fact.diff, fact.clause) == ("change-number", ["- f(1)", "+ f(2)"], "f")


def test_clauses_of_timer_and_change_rules() -> None:
    text = """timer_rule: t: (
  event: _event of_class 'NT_Disk_Full',
  timer_duration: greater_than 60,
  timer_info: equals 'late',
  action: ( commit_set )
).
change_rule: c: (
  event: _event of_class 'NT_Disk_Full',
  sender: outside [closed_event],
  attribute: status set_to 'CLOSED',
  action: ( drop_change_request )
)."""
    made = {(one.operator, one.place.line): one.diff for one in found(text)}
    # a timer with this information is set for no other class
    assert ("widen-class", 2) not in made
    assert made["shift-bound", 3][1] == "+ timer_duration: greater_or_equals 60"
    assert made["drop-condition", 4] == ["- timer_info: equals 'late'"]
    assert ("widen-class", 8) in made
    assert made["negate", 9][1] == "+ sender: within [closed_event]"
    assert {one.node for one in found(text) if one.place.line == 10 and one.operator == "drop-condition"} == {
        "attribute: status",
        "set_to: equals 'CLOSED'",
    }


def test_of_a_correlation_rule_only_what_its_author_wrote() -> None:
    text = """correlation_rule: x:
  event_relation: NT_Disk_Error causes NT_Service_Failed
  within: 5 minutes
  when: [NT_Disk_Error.hostname equals NT_Service_Failed.hostname]."""
    made = found(text)
    assert {one.rule for one in made} == {"s/x", "s/x (2)"}
    assert Counter(one.operator for one in made) == {
        "drop-rule": 2,
        "widen-class": 4,
        "drop-condition": 4,
        "negate": 2,
        "change-number": 2,
    }
    # one goal is too long to be shown
    assert ["600" in one.after for one in made if one.operator == "change-number"] == [True, True]


def test_names_are_unique_and_operators_known() -> None:
    text = HEAD + "a(1) ) )."
    made = found(text) + found(text.replace("rule: r:", "rule: q:"))
    assert len({one.name for one in made}) == len(made)
    assert {one.operator for one in made} <= set(OPERATORS)


def test_mutants_of_filters_and_guards_may_take_more_events() -> None:
    text = HEAD.replace("'NT_Disk_Full'", "'NT_Disk_Full' where [drive: equals 'C:']")
    made = found(text + "global_exists(a, b), set_timer(_event, 9, x) ) ).")
    widens = {(one.operator, one.node) for one in made if one.widens}
    assert ("drop-condition", "drive: equals 'C:'") in widens
    assert ("drop-goal", "global_exists(a, b)") in widens
    assert ("change-number", "9") not in widens


CONFIGURED = """rule: configure: ( event: _event of_class 'TEC_Rulebase_Loaded', action: ( limits(5) ) ).
limits(_n) :- set_global_var(g, most, _n).
other(_n) :- set_global_var(g, least, _n).
rule: r: ( event: _event of_class 'NT_Disk_Full',
  action: a: ( get_global_var(g, most, _n, 7), get_global_var(g, least, _m, 7), other(_n), _m = _n ) ).
"""


def test_the_default_of_a_variable_that_is_always_set_is_left_alone() -> None:
    rule_set = parse_rules(CONFIGURED, "TEC_RULES/s.rls")
    assert settled([rule_set]) == {("g", "most")}
    changed = [one.before for one in mutants(rule_set, classes(), [rule_set]) if one.node == "7"]
    assert changed == ["get_global_var(g, least, _m, 7)"]


def test_who_calls_a_clause_directly_or_not() -> None:
    rule_set = parse_rules(CONFIGURED + "via(_n) :- once((limits(_n) ; fail)).\n", "TEC_RULES/s.rls")
    assert callers([rule_set], "limits") == {"s/configure"}
    assert callers([rule_set], "other") == {"s/r"}
    assert callers([rule_set], "nothing") == frozenset()
    calls = parse_rules("rule: q: ( event: _e of_class 'EVENT', action: ( findall(_x, via(_x), _all) ) ).", "q.rls")
    assert callers([rule_set, calls], "limits") == {"s/configure", "q/q"}


def test_every_operator_is_explained() -> None:
    page = Path(__file__).parents[2] / "docs" / "testing-rules.md"
    section = page.read_text(encoding="utf-8").split("\n## Mutation\n")[1]
    assert tuple(re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)) == OPERATORS
