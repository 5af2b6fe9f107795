"""docs/lint.md has every check, and the shipped rule bases are clean."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from opentec.testing.lint.capacity import RATE
from opentec.testing.lint.diagnostics import CHECKS, Diagnostic
from opentec.testing.lint.linting import lint

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "lint.md").read_text()


def test_every_check_has_its_row() -> None:
    rows = re.findall(r"^\| (L\d+) \| (\w+) \| (.*) \|$", PAGE, flags=re.MULTILINE)
    assert rows == [tuple(check) for check in CHECKS.values()]


def test_every_key_of_the_json_has_its_row() -> None:
    table = PAGE.partition("## For editors")[2]
    keys = [
        key for row in re.findall(r"^\| (`.*?) \|", table, flags=re.MULTILINE) for key in re.findall(r"`(\w+)`", row)
    ]
    assert keys == list(Diagnostic("a", 1, 1, "L101", "m").as_data())


def test_the_rate_is_named() -> None:
    assert f"without it {RATE} is taken, with which the default of 5,000 events reaches 26 hours" in PAGE


@pytest.mark.parametrize("folder", ["examples/first-rule-base", "examples/user-predicates"])
def test_the_examples_are_clean(folder: str) -> None:
    report = lint(ROOT / folder)
    assert [str(one) for one in (*report.errors, *report.diagnostics)] == []
    assert report.tests > 0
    assert report.failed == 0


def test_the_shipped_rules_are_clean() -> None:
    """Without L501, whose tests run elsewhere already; the nightly test has it, too."""
    report = lint(ROOT / "rules" / "default", run=False)
    assert [str(one) for one in report.diagnostics] == []


@pytest.mark.nightly
def test_every_shipped_rule_has_a_test() -> None:
    report = lint(ROOT / "rules" / "default")
    assert [str(one) for one in (*report.errors, *report.diagnostics)] == []
    assert report.failed == 0
