"""Change rules, simple rules and correlation rules: their shapes, and the plain rules that the last two become."""

# ruff: noqa: E501  (tables of messages: one case a line)
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from opentec.events.errors import SourceError, SourceErrors
from opentec.rules import ast
from opentec.rules.parser import parse_rules
from tests.rules.engine_kit import Kit


def data(rules: tuple[ast.Rule, ...]) -> Any:
    """The rules without places and ways of writing, to compare those that mean the same."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: strip(item) for key, item in value.items() if key not in ("place", "quoted", "source_kind")}
        return [strip(item) for item in value] if isinstance(value, (list, tuple)) else value

    return strip(msgspec.to_builtins(rules))


def places(value: Any) -> Iterator[tuple[int, int]]:
    if isinstance(value, dict):
        if "place" in value:
            yield tuple(value["place"])[1:]
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from places(item)


def errors(text: str) -> list[SourceError]:
    with pytest.raises(SourceErrors) as caught:
        parse_rules(text, "t.rls")
    return caught.value.errors


def check_error(marked: str, message: str) -> None:
    """The text, without its @, has one error: this message, where the @ was."""
    before, _, after = marked.partition("@")
    (error,) = errors(before + after)
    assert str(error).split("\n")[0] == (
        f"t.rls:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}: {message}"
    )


# change rules


def change(clauses: str) -> ast.Rule:
    (rule,) = parse_rules(f"change_rule: c: (event: _e of_class C, {clauses}, action: drop_change_request).", "t").rules
    return rule


@pytest.mark.parametrize(
    ("written", "variable", "tests"),
    [
        ("_s", "_s", []),
        ("_s within [operator(_), rule(x)]", "_s", ["within"]),
        ("outside [closed_event]", None, ["outside"]),
        ("operator('ann')", None, ["equals"]),
        ("equals operator('ann')", None, ["equals"]),
        ("_s not_equals closed_event outside [rule(_)]", "_s", ["not_equals", "outside"]),
    ],
)
def test_senders(written: str, variable: str | None, tests: list[str]) -> None:
    sender = change(f"sender: {written}").sender
    assert sender is not None and sender.slot == "sender"
    assert (sender.variable.name if sender.variable else None) == variable
    assert [test.operator for test in sender.tests] == tests


@pytest.mark.parametrize(
    ("written", "attribute", "variable", "tests"),
    [
        ("status", "status", None, None),
        ("'status'", "status", None, None),
        ("_slot", "_slot", None, None),
        ("status set_to 'CLOSED'", "status", None, ["equals"]),
        ("status set_to: 'CLOSED'", "status", None, ["equals"]),
        ("status, set_to: within ['ACK', 'CLOSED']", "status", None, ["within"]),
        ("severity set_to _new greater_than 'MINOR'", "severity", "_new", ["greater_than"]),
        ("_slot set_to _new", "_slot", "_new", []),
    ],
)
def test_attributes(written: str, attribute: str, variable: str | None, tests: list[str] | None) -> None:
    rule = change(f"attribute: {written}")
    assert isinstance(rule.attribute, (ast.Atom, ast.Var))
    assert (rule.attribute.name if isinstance(rule.attribute, ast.Var) else rule.attribute.value) == attribute
    if tests is None:
        assert rule.set_to is None
        return
    assert rule.set_to is not None and rule.set_to.slot == "set_to"
    assert (rule.set_to.variable.name if rule.set_to.variable else None) == variable
    assert [test.operator for test in rule.set_to.tests] == tests


def test_a_change_rule_needs_no_conditions() -> None:
    (rule,) = parse_rules("change_rule: c: (event: _e of_class C, action: true).", "t").rules
    assert (rule.kind, rule.sender, rule.attribute, rule.set_to) == ("change_rule", None, None, None)


@pytest.mark.parametrize(
    ("clauses", "message"),
    [
        ("sender: @, ", "expected a value, a variable or a predicate, found ','"),
        ("attribute: @3", "expected a slot or a variable, found '3'"),
        ("attribute: status set_to 'A', @set_to: 'B'", "change_rule 'c' has 'set_to' twice; keep one"),
        ("attribute: status @sett_o 'A'", "expected ',' before the next clause, or ')' to close change_rule 'c', found "
        "'sett_o'; did you mean 'set_to'?"),
    ],
)  # fmt: skip
def test_change_clauses_that_are_wrong(clauses: str, message: str) -> None:
    check_error(f"change_rule: c: (event: _e of_class C,\n{clauses}).", message)


# simple rules


def simple(rest: str) -> str:
    return f"simple_rule: s: event: C where [hostname: _hostname] {rest}."


def as_plain(goals: str) -> str:
    return f"rule: s: (event: _event of_class C where [hostname: _hostname], reception_action: ({goals}))."


DUPLICATE = "first_duplicate(_event, event: _duplicate where [status: outside ['CLOSED']]{})"


@pytest.mark.parametrize(
    ("written", "goals"),
    [
        ("when: always: drop_received_event", "drop_received_event"),
        ("when: always: change_event_severity('FATAL')", "change_event_severity(_event, 'FATAL')"),
        (
            "when: frequency_exceeds 3 within 5 minutes: change_event_severity('FATAL')",
            "'$frequency_exceeds'(_event, 'printer/s', 3, 300), change_event_severity(_event, 'FATAL')",
        ),
        ("when: frequency_exceeds 1 within 1 second: true", "'$frequency_exceeds'(_event, 'printer/s', 1, 1), true"),
        ("when: frequency_exceeds 9 within 2 hours: true", "'$frequency_exceeds'(_event, 'printer/s', 9, 7200), true"),
        ("when: frequency_exceeds 9 within 1 day: true", "'$frequency_exceeds'(_event, 'printer/s', 9, 86400), true"),
        (
            "when: duplicate: add_to_repeat_count(1), drop_received_event, set_event_message('x')",
            DUPLICATE.format("")
            + ", (add_to_repeat_count(_duplicate, 1), drop_received_event, set_event_message(_event, 'x'))",
        ),
        ("when: duplicate within 60 seconds: true", DUPLICATE.format(", _event - 60 - 0") + ", true"),
        (
            "when: duplicate: re_mark_as_modified(_duplicate)",
            DUPLICATE.format("") + ", re_mark_as_modified(_duplicate)",
        ),
        ("when: always: set_event_severity(_event, 'FATAL')", "set_event_severity(_event, 'FATAL')"),
        (
            "when: always: (\\+ _hostname == a, bo_get_slotval(msg, _m) -> set_timer(9, _m) ; redo_analysis), no(1)",
            "(\\+ _hostname == a, bo_get_slotval(_event, msg, _m) -> set_timer(_event, 9, _m) ; redo_analysis(_event)), "
            "no(1)",
        ),
    ],
)
def test_simple_rules(written: str, goals: str) -> None:
    registry = {(name, arity): _Takes("e" + "v" * (arity - 1)) for name, arity in _TAKE_EVENTS}
    rules = parse_rules(simple(written), "TEC_RULES/printer.rls", registry).rules  # type: ignore[arg-type]
    assert data(rules) == data(parse_rules(as_plain(goals), "TEC_RULES/printer.rls").rules)
    assert rules[0].source_kind == "simple_rule"


class _Takes:
    def __init__(self, modes: str) -> None:
        self.modes = modes


_TAKE_EVENTS = (
    *(("change_event_severity", 2), ("set_event_severity", 2), ("set_event_message", 2), ("add_to_repeat_count", 2)),
    *(("re_mark_as_modified", 1), ("re_mark_as_modified", 2), ("bo_get_slotval", 3), ("set_timer", 3)),
    ("redo_analysis", 1),
)


@pytest.mark.parametrize(
    "event",
    [
        "C",
        "'C'",
        '"C"',
        "C where []",
        "C, where [ ]",
        "within ['C']",
        "_event of_class C",
        "_event of_class 'C' where[]",
    ],
)
def test_the_event_of_a_simple_rule(event: str) -> None:
    plain = "rule: s: (event: _event of_class C, reception_action: set_event_severity(_event, 'MINOR'))."
    written = f"simple_rule: s: event: {event} when: always: set_event_severity('MINOR')."
    assert data(parse_rules(written, "t.rls").rules) == data(parse_rules(plain, "t.rls").rules)


def test_clauses_of_a_simple_rule_with_brackets_commas_and_in_another_order() -> None:
    written = """simple_rule: 's': (
        event: C where [],  /* commas as in a plain rule */
        directive: trace, profile,
        description: 'what it is for',
        when: always: ( drop_received_event, commit_set ) )."""
    plain = """rule: s: (event: _event of_class C, directive: trace, profile, description: 'what it is for',
        reception_action: (drop_received_event, commit_set))."""
    assert data(parse_rules(written, "t.rls").rules) == data(parse_rules(plain, "t.rls").rules)


def test_a_variable_of_its_own_may_name_the_event() -> None:
    written = "simple_rule: s: event: _e of_class C when: always: set_event_severity('MINOR')."
    plain = "rule: s: (event: _e of_class C, reception_action: set_event_severity(_e, 'MINOR'))."
    assert data(parse_rules(written, "t.rls").rules) == data(parse_rules(plain, "t.rls").rules)


@pytest.mark.parametrize(
    ("marked", "message"),
    [
        ("simple_rule @s", "expected ':' after 'simple_rule', found 's'"),
        ("simple_rule: @(", "expected the name of the simple_rule, found '('"),
        ("simple_rule: s: event @C", "expected ':' after 'event', found 'C'"),
        ("simple_rule: s: @evnt: C", "expected a clause of simple_rule 's' (description, directive, event, when), "
         "found 'evnt'; did you mean 'event'?"),
        ("simple_rule: s: event: C @event: C", "simple_rule 's' has 'event' twice; keep one"),
        ("@simple_rule: s: when: always: a.", "simple_rule 's' has no event; add event: a class, before when:"),
        ("simple_rule: s: event: C@.", "expected 'when:' in simple_rule 's', found '.'; "
         "write when: frequency_exceeds, duplicate, always and a colon"),
        ("simple_rule: s: event: C when: @allways: a.", "expected frequency_exceeds, duplicate or always, found "
         "'allways'; did you mean 'always'?"),
        ("simple_rule: s: event: C when: frequency_exceeds @many", "expected a number of events, found 'many'"),
        ("simple_rule: s: event: C when: frequency_exceeds @0 within", "expected a number from 1 to 999, found 0"),
        ("simple_rule: s: event: C when: frequency_exceeds @1000 within", "expected a number from 1 to 999, found 1000"),
        ("simple_rule: s: event: C when: frequency_exceeds 3@: a.", "expected 'within' and a time, found ':'; "
         "frequency_exceeds 3 within 5 minutes"),
        ("simple_rule: s: event: C when: duplicate within 5 @minuts: a.", "expected a unit (seconds, minutes, hours, "
         "days), found 'minuts'; did you mean 'minutes'?"),
        ("simple_rule: s: event: C when: duplicate within 5@: a.", "expected a unit (seconds, minutes, hours, days), "
         "found ':'"),
        ("simple_rule: s: event: C when: duplicate within @4000 days: a.", "a time is at most ten years"),
        ("simple_rule: s: event: C when: always @within 3 days: a.", "expected ':' after 'always', before the actions, "
         "found 'within'"),
        ("simple_rule: s: event: C when: always: a@", "expected '.' after simple_rule 's', but the file ends"),
        ("simple_rule: s: (event: C when: always: a@.", "expected ')' to close simple_rule 's', found '.'"),
        ("simple_rule: s: event: C where [msg: @_event] when: always: a.", "_event is the event itself in a simple rule; "
         "give the variable another name"),
        ("simple_rule: s: event: C where [msg: equals @_duplicate] when: duplicate: a.", "_duplicate is the duplicate "
         "in a simple rule; give the variable another name"),
    ],
)  # fmt: skip
def test_simple_rules_that_are_wrong(marked: str, message: str) -> None:
    check_error(marked, message)


# correlation rules


def correlation(relation: str) -> str:
    return f"correlation_rule: c: description: 'why' event_relation: {relation}."


EFFECT = """rule: c: (description: 'why', event: _effect of_class B where [cause_date_reception: equals 0 {own}],
  reception_action: ( \\+ received_event_dropped,
    first_instance(event: _cause of_class A where [status: outside ['CLOSED'] {other}] {window}),
    link_effect_to_cause(_effect, _cause)))."""
CAUSE = """rule: 'c (2)': (description: 'why', event: _cause of_class A {own},
  reception_action: ( \\+ received_event_dropped,
    all_instances(event: _effect of_class B where [cause_date_reception: equals 0, status: outside ['CLOSED'] {other}]
      {window}),
    link_effect_to_cause(_effect, _cause)))."""


def test_a_cause_with_everything() -> None:
    written = correlation(
        "'A' causes B within: 10 minutes when: [A.hostname equals B.hostname, B.severity greater_than A.severity,"
        " A.msg not_equals 'x', B.'status' within ['OPEN', 'ACK'], B.origin equals B.hostname]"
    )
    plain = EFFECT.format(
        own=", hostname: _effect_hostname, severity: _effect_severity, status: within ['OPEN', 'ACK'],"
        " origin: equals _effect_hostname",
        other=", hostname: equals _effect_hostname, severity: smaller_than _effect_severity, msg: not_equals 'x'",
        window=", _effect - 600 - 0",
    ) + CAUSE.format(
        own="where [hostname: _cause_hostname, severity: _cause_severity, msg: not_equals 'x']",
        other=", hostname: _effect_hostname, hostname: equals _cause_hostname, severity: greater_than _cause_severity,"
        " status: within ['OPEN', 'ACK'], origin: equals _effect_hostname",
        window=", _cause - 600 - 0",
    )
    rules = parse_rules(written, "t.rls").rules
    assert data(rules) == data(parse_rules(plain, "t.rls").rules)
    assert [rule.source_kind for rule in rules] == ["correlation_rule", "correlation_rule"]


@pytest.mark.parametrize("relation", ["A causes B", "\"A\" causes 'B'", "A causes B when: []"])
def test_a_cause_with_nothing(relation: str) -> None:
    plain = EFFECT.format(own="", other="", window="") + CAUSE.format(own="", other="", window="")
    assert data(parse_rules(correlation(relation), "t.rls").rules) == data(parse_rules(plain, "t.rls").rules)


def test_clears_is_one_rule() -> None:
    plain = """rule: c: (description: 'why', event: _clearing of_class A where [hostname: _clearing_hostname],
      reception_action: (
        all_instances(event: _problem of_class B where [status: outside ['CLOSED'], hostname: equals _clearing_hostname],
          _clearing - 86400 - 0),
        change_event_status(_problem, 'CLOSED')))."""
    written = correlation("A clears B, within: 1 day, when: [B.hostname equals A.hostname]")
    assert data(parse_rules(written, "t.rls").rules) == data(parse_rules(plain, "t.rls").rules)


def test_all_that_is_made_has_a_place_in_the_rule() -> None:
    text = (
        "\n\n  simple_rule: s: event: C\n  when: duplicate within 3 days: drop_received_event.\n"
        "  correlation_rule: c: event_relation: A causes B within: 10 minutes\n  when: [A.hostname equals B.hostname]."
    )
    simple_rule, *correlated = msgspec.to_builtins(parse_rules(text, "t.rls").rules)
    assert simple_rule["place"][1:] == (3, 3) or simple_rule["place"][1:] == [3, 3]
    assert {line for line, _ in places(simple_rule)} == {3, 4}
    assert {line for line, _ in places(correlated)} == {5, 6}
    assert all(column > 1 for _, column in places([simple_rule, *correlated]))


@pytest.mark.parametrize(
    ("marked", "message"),
    [
        ("@correlation_rule: c: description: 'x'.", "correlation_rule 'c' has no event_relation; "
         "add event_relation: A causes B"),
        ("correlation_rule: c: @when: [].", "'when' stands before the event_relation of correlation_rule 'c'; "
         "put it behind"),
        ("correlation_rule: c: event_relation: A @cause B.", "expected 'causes' or 'clears', found 'cause'; "
         "did you mean 'causes'?"),
        ("correlation_rule: c: event_relation: @_a causes B.", "expected a class name, found '_a'; of_class takes a "
         "class, within ['A', 'B'] or a variable"),
        ("correlation_rule: c: event_relation: A causes @'A'.", "class 'A' is on both sides; name another class"),
        ("correlation_rule: c: event_relation: A causes B within: @minutes", "expected a time, for example 5 minutes, "
         "found 'minutes'"),
        ("correlation_rule: c: event_relation: A causes B when: @A.x", "expected '[' after 'when:', found 'A'"),
        ("correlation_rule: c: event_relation: Aa causes Bb when: [@AA.x equals 1].", "class 'AA' is not in the "
         "event_relation, which names 'Aa' and 'Bb'; did you mean 'Aa'?"),
        ("correlation_rule: c: event_relation: A causes B when: [A @equals 1].", "expected '.' after class 'A', before "
         "its slot, found 'equals'"),
        ("correlation_rule: c: event_relation: A causes B when: [A.@3 equals 1].", "expected a slot, found '3'"),
        ("correlation_rule: c: event_relation: A causes B when: [A.x @equal 1].", "expected a test (equals, not_equals, "
         "outside, within, greater_than, smaller_than, greater_or_equals, smaller_or_equals), found 'equal'; "
         "did you mean 'equals'?"),
        ("correlation_rule: c: event_relation: A causes B when: [A.x within @B.y].", "'within' takes a list; "
         "compare two slots with equals"),
        ("correlation_rule: c: event_relation: A causes B when: [A.x equals @_y].", "a correlation rule has no "
         "variables; write CLASS.slot, or a constant"),
        ("correlation_rule: c: event_relation: A causes B when: [A.x within [1, @_y]].", "a correlation rule has no "
         "variables; write CLASS.slot, or a constant"),
        ("correlation_rule: c: event_relation: A causes B when: [A.x equals 1 @and B.x equals 1].", "expected ']' "
         "after the conditions, found 'and'"),
        ("correlation_rule: c: event_relation: A causes B@", "expected a clause of correlation_rule 'c' (description, "
         "directive, event_relation, within, when), but the file ends"),
        ("correlation_rule: c: event_relation: A causes B\n@rule: r: (event: _e of_class C, action: a).", "expected a "
         "clause of correlation_rule 'c' (description, directive, event_relation, within, when), found the next rule"),
    ],
)  # fmt: skip
def test_correlation_rules_that_are_wrong(marked: str, message: str) -> None:
    check_error(marked, message)


# what they do


def test_a_simple_rule_counts_and_begins_anew() -> None:
    kit = Kit(
        "simple_rule: often: event: Disk where [drive: equals 'C:']\n"
        "  when: frequency_exceeds 2 within 1 minute: set_event_severity('FATAL')."
    )
    for at in (0, 10, 20, 30, 40, 50, 200, 300):
        kit.event(at, "Disk", drive="C:")
        kit.event(at, "Disk", drive="D:")
    fatal = [event.get("severity") == "FATAL" for event in kit.stored() if event.get("drive") == "C:"]
    assert fatal == [False, False, True, False, False, True, False, False]
    assert all(event.get("severity") != "FATAL" for event in kit.stored() if event.get("drive") == "D:")


def test_a_simple_rule_on_duplicates() -> None:
    kit = Kit(
        "simple_rule: again: event: Disk when: duplicate within 1 minute: add_to_repeat_count(1), drop_received_event."
    )
    for at in (0, 30, 90):
        kit.event(at, "Disk", drive="C:")
    assert kit.values("repeat_count") == [1, 0]


CAUSES = """correlation_rule: link: event_relation: Link_Down causes Disk within: 10 minutes
    when: [Link_Down.hostname equals Disk.hostname]."""


@pytest.mark.parametrize(("stored", "dropped"), [("Link_Down", "Disk"), ("Disk", "Link_Down")])
def test_what_was_dropped_is_no_cause_and_no_effect(stored: str, dropped: str) -> None:
    drop = (
        f"rule: drop: ( event: _e of_class '{dropped}' where [ msg: equals drop ], action: ( drop_received_event ) )."
    )
    kit = Kit(drop, CAUSES)
    kit.event(0, stored, hostname="a")
    assert [one.rule for one in kit.event(1, dropped, hostname="a", msg="drop").outcome.fired] == ["drop"]
    assert kit.values("cause_event_handle") == [0]
    kit.event(2, dropped, hostname="a")
    assert sorted(kit.values("cause_event_handle")) == [0, 1]


def test_a_recovery_that_was_dropped_clears() -> None:
    drop = "rule: drop: ( event: _e of_class 'Link_Up', action: ( drop_received_event ) )."
    kit = Kit(drop, "correlation_rule: up: event_relation: Link_Up clears Link_Down.")
    kit.event(0, "Link_Down")
    kit.event(1, "Link_Up")
    assert kit.values("status") == ["CLOSED"]


@pytest.mark.parametrize("first", ["Link_Down", "Disk"])
def test_either_order_links_cause_and_effect(first: str) -> None:
    kit = Kit(CAUSES)
    second = "Disk" if first == "Link_Down" else "Link_Down"
    kit.event(0, first, hostname="a")
    kit.event(60, second, hostname="b")
    (far,) = kit.stored("Disk")
    assert far.get("cause_date_reception") == 0, "another host"
    kit.event(600, second, hostname="a")
    effect = next(event for event in kit.stored("Disk") if event.get("hostname") == "a")
    cause = next(event for event in kit.stored("Link_Down") if event.get("hostname") == "a")
    assert (effect.get("cause_date_reception"), effect.get("cause_event_handle")) == cause.key[:2]
    kit.event(1300, second, hostname="a")
    causes = [event.get("cause_date_reception") for event in kit.stored("Disk")]
    assert causes.count(cause.key[0]) == 1, "ten minutes are over"


def test_an_effect_keeps_its_cause_and_a_closed_cause_causes_nothing() -> None:
    kit = Kit(CAUSES)
    kit.event(0, "Link_Down", hostname="a")
    kit.event(1, "Disk", hostname="a")
    kit.event(2, "Link_Down", hostname="a")
    (effect,) = kit.stored("Disk")
    old, new = kit.stored("Link_Down")
    assert effect.get("cause_date_reception") == old.key[0]
    for cause in (old, new):
        kit.change(3, cause.key, status="CLOSED")
    kit.event(4, "Disk", hostname="a")
    assert kit.values("cause_date_reception", "Disk") == [old.key[0], 0]


def test_a_clearing_event_closes_all_its_problems_and_no_later_ones() -> None:
    kit = Kit(
        "correlation_rule: up: event_relation: Link_Up clears Link_Down when: [Link_Up.hostname equals Link_Down.hostname]."
    )
    for at, host in enumerate("aab"):
        kit.event(at, "Link_Down", hostname=host)
    kit.event(9, "Link_Up", hostname="a")
    kit.event(10, "Link_Down", hostname="a")
    assert kit.values("status", "Link_Down") == ["CLOSED", "CLOSED", "OPEN", "OPEN"]
    assert kit.values("status", "Link_Up") == ["OPEN"]
