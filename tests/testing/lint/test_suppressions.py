"""Suppressions: what they stand for, and what is wrong with them."""

from __future__ import annotations

import pytest

from opentec.testing.lint.diagnostics import CHECKS
from opentec.testing.lint.suppressions import read_suppressions
from tests.testing.lint.kit import Look, lines, rule

SLIP = "rule: r: (\n  description: 'x',\n  event: _e of_class 'Disk',\n  action: (\n    _a is 1,\n    _b is 2 )\n).\n"


def test_above_a_rule_it_is_for_all_of_it(says: Look) -> None:
    text = "% lint: ignore L102 they are for later\n% and this is a comment\n\n" + SLIP + rule("s", "_c is 1")
    assert [one.message for one in says("L102,L0", text)] == ["variable _c stands only here"]


def test_above_a_line_it_is_for_that_line(says: Look) -> None:
    text = SLIP.replace("    _a", "    % lint: ignore L102: for later\n    _a")
    assert lines(says("L102,L0", text)) == [("L102", 7)]


def test_behind_a_line_it_is_for_that_line(says: Look) -> None:
    text = SLIP.replace("_b is 2 )", "_b is 2 )  % lint: ignore L102, L401, for later")
    assert lines(says("L102,L0", text)) == [("L102", 5), ("L001", 6)]


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("lint: ignore", "this suppression names no check"),
        ("lint: ignore because", "this suppression names no check"),
        ("lint: ignore L102", "this suppression gives no reason"),
        ("lint: ignore L102:", "this suppression gives no reason"),
        ("lint: ignore L999 why", "there is no check L999"),
        ("lint: ignore L201 why", "this suppresses no L201"),
    ],
)
def test_what_is_wrong_with_one(says: Look, comment: str, message: str) -> None:
    (one,) = says("L0", f"% {comment}\n" + SLIP)
    assert (one.message, one.line, one.column) == (message, 1, 1)
    assert len(says("L102")) == 2  # nothing is suppressed


def test_what_was_not_looked_for_is_not_stale(says: Look) -> None:
    text = "% lint: ignore L501 it is for sites with tapes\n% lint: ignore L801 the library is elsewhere\n" + SLIP
    assert says("L0", text) == []
    assert [one.message for one in says("L0", tasks=frozenset())] == ["this suppresses no L801"]


def test_a_percent_sign_in_quotes_begins_no_comment() -> None:
    texts = {
        "a.rls": "x :- y('% lint: ignore L102 a', \"% lint: ignore L102 b\", 'it''s'). /* % lint: ignore L1 c */\n"
    }
    assert read_suppressions(texts, []) == []


def test_class_files_have_their_own_comments() -> None:
    texts = {"a.baroc": "# lint: ignore L101 adapters send it\nTEC_CLASS: A ISA EVENT; END # lint: ignore L103 '#'\n"}
    first, second = read_suppressions({**texts, "b.toml": "# lint: ignore L101 no\n"}, [])
    assert (first.first, first.last, first.codes, first.reason) == (2, 2, ("L101",), "adapters send it")
    assert (second.first, second.line, second.column) == (2, 2, 29)


def test_one_at_the_end_of_a_file_stands_for_nothing() -> None:
    (one,) = read_suppressions({"a.rls": "x.\n% lint: ignore L702 why\n"}, [])
    assert one.first > 2


def test_codes_are_documented_in_groups() -> None:
    assert all(code[0] == "L" and code[1:].isdigit() and len(code) == 4 for code in CHECKS)
