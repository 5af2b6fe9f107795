"""What is wrong in a rule file is named, at its place, rule by rule."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from opentec.events.errors import SourceError, SourceErrors
from opentec.rules import parser_tokens
from opentec.rules.parser import parse_rules

CONDITION = "expected a variable or a test (equals, not_equals, outside, within, greater_than, smaller_than, \
greater_or_equals, smaller_or_equals) for 'a', "
CLAUSE = "expected a clause of rule 'r' (description, directive, event, timer_duration, timer_info, sender, \
attribute, set_to, reception_action, action, redo_action), "
SLOT = "a condition is written slot: test, for example severity: equals 'FATAL'"
ITEM = "expected a rule (rule: name: ( ... ).) or a clause (name(...) :- goals.)"
OPEN = "close it, write {0}{0} for a quote inside, or end the line with a backslash to go on"


def errors(text: str) -> list[SourceError]:
    with pytest.raises(SourceErrors) as caught:
        parse_rules(text, "t.rls")
    return caught.value.errors


def check(marked: str, message: str) -> None:
    """The text, without its @, has one error: this message, where the @ was."""
    before, _, after = marked.partition("@")
    (error,) = errors(before + after)
    first = str(error).split("\n")[0]
    assert first == f"t.rls:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}: {message}"


@pytest.mark.parametrize(
    ("marked", "message"),
    [
        ("@foo: a.", f"{ITEM}, found 'foo'"),
        ("@(a).", f"{ITEM}, found '('"),
        ("@rul: r: (x).", f"{ITEM}, found 'rul'; did you mean 'rule'?"),
        ("rule @r: ()", "expected ':' after 'rule', found 'r'"),
        ("rule: @(", "expected the name of the rule, found '('"),
        ("rule: r @(", "expected ':' after the name of rule 'r', found '('"),
        ("rule: r: @event", "expected '(' to open rule 'r', found 'event'"),
        ("rule: r: (event: _e of_class C, action: a)@\n\n", "expected '.' after rule 'r', but the file ends"),
        ("@rule: r: (description: 'x').", "rule 'r' has no event filter; add event: _event of_class ...,"),
        ("@\x00", "the character '\\x00' means nothing here; quote names that hold it"),
    ],
)
def test_the_frame_of_a_rule(marked: str, message: str) -> None:
    check(marked, message)


@pytest.mark.parametrize(
    ("clauses", "message"),
    [
        (", @acton: a", CLAUSE + "found 'acton'; did you mean 'action'?"),
        (
            " @action: a",
            "expected ',' before the next clause, or ')' to close rule 'r', found 'action'; "
            "a comma is missing before it",
        ),
        (
            ", action: a,\n@description: 'x'",
            "'description' stands behind the actions of rule 'r'; put it before the first action",
        ),
        (", @event: _e of_class D", "rule 'r' has 'event' twice; keep one"),
        (", description: @12", "expected the description, a quoted text, found '12'"),
        (
            ", action: x: a, action: @x: b",
            "rule 'r' has two actions named 'x'; names are unique in a rule",
        ),
        (
            ", action: a, action: @action_1: b",
            "rule 'r' has two actions named 'action_1'; names are unique in a rule",
        ),
        (", action: x: @( )", "action 'x' of rule 'r' is empty; write its goals, or take it out"),
        (", action: x: @", "expected a value, a variable or a predicate, found ')'"),
        (", timer_info: @1", CONDITION.replace("'a'", "'timer_info'") + "found '1'; timer_info: equals ... tests it"),
    ],
)
def test_clauses(clauses: str, message: str) -> None:
    check(f"rule: r: (event: _e of_class C{clauses}).", message)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("@of_class C", "expected the event's variable, found 'of_class'; write event: _event of_class ..."),
        ("_e @ofclass C", "expected 'of_class' after _e, found 'ofclass'; did you mean 'of_class'?"),
        ("_e@, action: a", "expected 'of_class' after _e, found ','"),
        (
            "_e of_class @equals C",
            "expected a class name, found 'equals'; of_class takes a class, within ['A', 'B'] or a variable",
        ),
        ("_e of_class within @A", "expected '[' after 'of_class within', found 'A'"),
        ("_e of_class within ['A' @'B']", "expected ']' after the class names, found 'B'"),
        ("_e of_class C where @a", "expected '[' after 'where', found 'a'"),
        ("_e of_class C where [@1: _a]", f"expected a slot, found '1'; {SLOT}"),
        ("_e of_class C where [a @equals 1]", "expected ':' after the slot 'a', found 'equals'"),
        ("_e of_class C where [a: @equal 1]", CONDITION + "found 'equal'; did you mean 'equals'?"),
        (
            "_e of_class C where [b: _b,\naction: @x: (true)",
            CONDITION.replace("'a'", "'action'")
            + "found 'x'; if 'action' is the next clause, a ] is missing before it",
        ),
        ("_e of_class C where [a: @'OPEN']", CONDITION + "found 'OPEN'; a: equals ... tests it"),
        ("_e of_class C where [a: _a, @]", f"expected a slot, found ']'; {SLOT}"),
        (
            "_e of_class C where [a: _a @greatr_than 1]",
            "expected ',', ']' or another test in the where list, found 'greatr_than'; did you mean 'greater_than'?",
        ),
        ("_e of_class C where [a: equals @,]", "expected a value, a variable or a predicate, found ','"),
    ],
)
def test_event_filters(written: str, message: str) -> None:
    check(f"rule: r: (event: {written}).", message)


@pytest.mark.parametrize(
    ("goals", "message"),
    [
        ("f(a @b)", "expected ',' or ')' in the arguments of f, found 'b'"),
        ("f([a @b])", "expected ',' or ']' in the list that begins in line 2, found 'b'"),
        ("f([a|b@, c])", "expected ']' after the tail of the list, found ','"),
        ("_x = @= 3", "expected a value, a variable or a predicate, found '='"),
        ("_x = @\\+ a", r"'\\+' must be in brackets here"),
        ("_x @<= 3", "'<=' is not an operator; less or equal is written =<"),
        ("a @&& b", "'&&' is not an operator; 'and' is a comma"),
        ("a = b @= c", "expected ')' to close action 'action_1', which begins in line 2, found '='"),
        (
            "a\n @b",
            "expected ')' to close action 'action_1', which begins in line 2, found 'b'; a comma is missing before it",
        ),
        ("((a) @b)", "expected ')' to close the bracket of line 2, column 10, found 'b'"),
        ("a @? b", "the character '?' means nothing here; quote names that hold it"),
        ("f(@1234567890123456789)", "the number is too large; 18 digits are the most"),
        ("f(- - @)", "expected a value, a variable or a predicate, found ')'"),
        ("f(@'open)", f"this ' is not closed on its line; {OPEN.format(chr(39))}"),
        ('f(@"open)', f'this " is not closed on its line; {OPEN.format(chr(34))}'),
        ("f('don'@t')", "expected ',' or ')' in the arguments of f, found 't'"),
        ("f, @/* a ", "this comment is never closed; close it with */"),
        ("f(event: _d @whre [])", "expected 'of_class' or 'where', found 'whre'; did you mean 'where'?"),
        (
            f"f @'{'x' * 80}'",
            f"expected ')' to close action 'action_1', which begins in line 2, found '{'x' * 55}...; "
            "a comma is missing before it",
        ),
    ],
)
def test_terms(goals: str, message: str) -> None:
    check(f"rule: r: (event: _e of_class C,\naction: ({goals})).", message)


def test_one_broken_rule_does_not_hide_the_errors_of_the_next() -> None:
    good = "rule: good: (event: _e of_class C, action: a).\n"
    text = (
        "rule: a: (event: _e of_class C, action: f('open)).\n"
        + good
        + "rule: b: (event: _e of_class C, action: (a, b).\n"  # a bracket is missing
        + good
        + "rule: c: (event: _e of_class C, action: (a, b,\n"  # all of the end is missing
        + "timer_rule: d: (event: _e ofclass C). rule: e: (evnt: _e of_class C).\n"
        + "change_rule: f: (event: _e of_class C, senders: a).\n"
        + good
    )
    found = errors(text)
    assert [(error.line, error.column) for error in found] == [(1, 43), (3, 47), (6, 1), (6, 27), (6, 49), (7, 40)]
    assert found[2].message == "expected a value, a variable or a predicate, found the next rule"
    assert found[0].source_line == text.split("\n")[0]


@pytest.mark.parametrize(
    ("marked", "message"),
    [
        ("@:- dynamic a/1.", "a rule file has no directives of Prolog; facts and clauses need no declaration"),
        ("a(b)@", "expected '.' after clause 'a', which begins in line 1, but the file ends"),
        ("\na(b) @b(c).", "expected '.' after clause 'a', which begins in line 2, found 'b'"),
        ("a(b @c).", "expected ',' or ')' in the arguments of a, found 'c'"),
        ("a :- @.", "expected a value, a variable or a predicate, found '.'"),
        ("a :- b @:- c.", "expected '.' after clause 'a', which begins in line 1, found ':-'"),
        ("a :- b,\n@rule: r: (event: _e of_class C).", "expected a value, a variable or a predicate, "
         "found the next rule"),
        ("@a([event(_x), f(_e)|[]], g(event: _e of_class C)).", "the head of clause 'a' holds an event filter; "
         "give the event's variable"),
        ("@_x.", f"{ITEM}, found '_x'"),
    ],
)  # fmt: skip
def test_clauses_of_ones_own(marked: str, message: str) -> None:
    check(marked, message)


def test_one_broken_clause_does_not_hide_the_errors_of_the_next() -> None:
    text = (
        "a(1.\na(2).\n"
        "b :- c d.\n  b :-\n    c.\n"  # one is indented: it belongs to what is broken
        "rule: r: (event: _e of_class C, action: a. b).\nc(].\n"
        "d(2).\n"
        "rule: s: (event: _e of_class C, action:).\n"
    )
    assert [(error.line, error.column) for error in errors(text)] == [(1, 4), (3, 8), (6, 42), (7, 3), (9, 40)]


def test_a_rule_without_its_end_is_told_from_the_next_one() -> None:
    text = "rule: a: (event: _e of_class C, action: a\nrule: b: (event: _e of_class C, action: b).\n"
    (error,) = errors(text)
    assert (error.line, error.message) == (
        2,
        "expected ',' before the next clause, or ')' to close rule 'a', found the next rule",
    )


@pytest.mark.parametrize(
    "goals",
    [
        "(" * 5000 + "a" + ")" * 5000,
        "f(" * 5000 + "a" + ")" * 5000,
        "[" * 5000,
        "\\+ " * 5000 + "a",
        "_x is " + "1 + " * 5000 + "1",
        "a, " * 5000 + "a",
        "a ; " * 5000 + "a",
        "- " * 5000 + "a",
    ],
    ids=["brackets", "arguments", "lists", "prefix", "sum", "goals", "alternatives", "minus"],
)
def test_depth_is_limited(goals: str) -> None:
    (error,) = errors(f"rule: r: (event: _e of_class C, action: ({goals})).")
    assert error.message == "this is nested too deeply, or one action has too many goals"


def test_length_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parser_tokens, "MAX_SOURCE", 20)
    (error,) = errors("%" * 21)
    assert error.message == "the file has more than 20 characters"


WORDS = "rule : r ( ) . , event _e of_class where [ ] action description timer_info equals not is"
KIND_WORDS = "simple_rule correlation_rule change_rule when always duplicate frequency_exceeds within minutes \
event_relation causes clears sender attribute set_to a. b :-"
SIGNS = "' \" /* */ % - 3 1.5 | ! ä '' \\+ \\"
PIECES = st.sampled_from([*WORDS.split(), *KIND_WORDS.split(), *SIGNS.split(), " ", "\n", "\\\n"])


@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=40).map("".join)))
@example("rule:r:(event:_e of_class C,action:a).")
@example("simple_rule:s:event:C when:always:a,b.")
@example("correlation_rule:c:event_relation:A causes B within:3 minutes when:[A.x equals B.y].")
def test_any_text_gives_a_rule_set_or_errors_at_places_in_the_text(text: str) -> None:
    try:
        parse_rules(text, "t.rls")
    except SourceErrors as caught:
        lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
        for error in caught.errors:
            assert 1 <= error.line <= len(lines)
            assert 1 <= error.column <= len(lines[error.line - 1]) + 1
            assert error.source_line == lines[error.line - 1]
