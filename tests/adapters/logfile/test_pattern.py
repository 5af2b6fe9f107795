"""Format strings: what they match and how long that may take."""

from __future__ import annotations

import time

import pytest

from opentec.adapters.logfile.pattern import PatternError, compile_regex, compile_string


@pytest.mark.parametrize(
    ("string", "line", "parts"),
    [
        ("%s", "word", ("word",)),
        ("%s", "two words", None),
        ("%s %s", "two    words", ("two", "words")),
        ("%s*", "", ("",)),
        ("%s*", "any number of words", ("any number of words",)),
        ("%s+", "", None),
        ("%s+ end", "a b end", ("a b",)),
        ("%s+ end", " end", None),
        ("%[3]s", "abc", ("abc",)),
        ("%[3]s", "abcd", None),
        ("%d", "123", ("123",)),
        ("%d", "12a", None),
        ("%d", "1234567890", None),  # would not fit an INTEGER
        ("[%s]", "[x]", ("x",)),
        ("EventID: %s4", "EventID: 1454", ("145",)),
        ("%s:%s", "a:b", ("a", "b")),
        ("%s[%d]: %s*", "sshd[12]: x [3]: y", ("sshd", "12", "x [3]: y")),
        # one literal after the other, the first place where it fits
        ("%s* for %s", "su for root for alice", None),
        ("%s* for %s*", "su for root for alice", ("su", "root for alice")),
        ("user %s* from %s", "user a b from c", ("a b", "c")),
        # the words between a rest and the literal belong to the place where it fits
        ("%s* %s: down", "e1000 0:1 eth0: down", ("e1000 0:1", "eth0")),
        ("%s* %s", "a b c", ("a b", "c")),
        ("%s*.", "a.b.c.", ("a.b.c",)),
        # a blank in front of no word at all serves on both sides
        ("a %s* b", "a b", ("",)),
        ("a %s* b", "a   b", ("",)),
        ("a %s* b", "ab", None),
        ("%s*x", "x", ("",)),
        ("%s* x", "x", None),
        ("100%% of %s", "100% of it", ("it",)),
        # a specifier in front anchors, a literal does not
        ("%s b", "a b", ("a",)),
        ("%s b", "a a b", None),
        ("x %s", "something x y", ("y",)),
        ("%s%n%s", "one  \ntwo", ("one", "two")),
        ("%s*%n%s*", "one\ntwo\nthree", None),
        ("%s%s*", "word", ("word", "")),
        ("%t %s", "Mar  1 08:00:00 web1", ("Mar  1 08:00:00", "web1")),
        ("%t %s", "2026-03-01T08:00:00.123456+01:00 web1", ("2026-03-01T08:00:00.123456+01:00", "web1")),
        ("%t %s", "2026-03-01 08:00:00Z web1", ("2026-03-01 08:00:00Z", "web1")),
        ("%t %s", "March 1 08:00:00 web1", None),
        ("at %s%t", "at xMar 1 08:00:00", ("x", "Mar 1 08:00:00")),
        ("%s é", "à é", ("à",)),
    ],
)
def test_match(string: str, line: str, parts: tuple[str, ...] | None) -> None:
    match = compile_string(string).match(line)
    assert (match.groups() if match else None) == parts


@pytest.mark.parametrize(
    ("string", "column", "message"),
    [
        ("a %x", 3, "'%x' is not a specifier"),
        ("100%", 4, "'%' is not a specifier"),
        ("", 1, "empty"),
        ("%[0]s", 1, "at most 0"),
        ("%s " * 91, 1, "more than 90"),
    ],
)
def test_errors(string: str, column: int, message: str) -> None:
    with pytest.raises(PatternError, match=message) as caught:
        compile_string(string)
    assert caught.value.column == column


def test_regex() -> None:
    pattern = compile_regex(r"disk (\w+)(?: at (\d+))?")
    match = pattern.match("the disk sda is full")
    assert match is not None
    assert match.groups("") == ("sda", "")
    assert (pattern.groups, pattern.literals, pattern.keys) == (2, (), ())
    with pytest.raises(PatternError, match="unterminated"):
        compile_regex("a(b")


def test_what_a_matching_line_must_hold() -> None:
    pattern = compile_string("%t %s su[%d]: user foo_bar x%s failed")
    assert pattern.literals == ("su[", "]:", "user", "foo_bar", "x", "failed")
    assert pattern.keys == ("su", "user", "foo_bar", "failed")  # x touches a specifier: no whole word
    assert compile_string("front word").keys == ("word",)  # what stands in front of the first one is not known
    assert pattern.times == (1,)


@pytest.mark.parametrize("string", ["%t %s a: %s* b %s* c %s* d %s* e", "%s* x %s* y %s* z", "%s.%s.%s.%s port %s"])
@pytest.mark.parametrize(
    "line",
    ["Mar  1 08:00:00 h a: " + " b c d" * 600, "." * 4000 + " x", "Mar  1 08:00:00 h a: " + " " * 4000, " x y" * 1000],
)
def test_no_line_makes_matching_explode(string: str, line: str) -> None:
    began = time.process_time()
    compile_string(string).match(line)
    # with free backtracking the first pair takes 19 seconds
    assert time.process_time() - began < 1
