"""What a rule tells selectors of its filter."""

from __future__ import annotations

import pytest

from opentec.rules.compiled import compile_rules
from opentec.rules.parser import parse_rules
from tests.rules.engine_kit import Kit, classes

ABOVE_MINOR = ("CRITICAL", "FATAL")


@pytest.mark.parametrize(
    ("classes_named", "where", "tests"),
    [
        ("'EVENT'", "severity: greater_than 'MINOR'", [("severity", ABOVE_MINOR)]),
        ("'EVENT'", "severity: greater_or_equals 50", [("severity", ABOVE_MINOR)]),
        ("'EVENT'", "severity: smaller_than 'HARMLESS'", [("severity", ("UNKNOWN",))]),
        ("'EVENT'", "severity: greater_or_equals 'UNKNOWN'", []),
        ("'EVENT'", "severity: greater_than 'FATAL'", []),
        ("'EVENT'", "severity: greater_than 'NONE'", []),
        ("'EVENT'", "msg: greater_than 'MINOR'", []),
        ("'Disk'", "size: greater_than 1", []),
        ("'EVENT'", "severity: equals 'MINOR', status: within ['OPEN', 'OPEN']",
         [("severity", ("MINOR",)), ("status", ("OPEN",))]),
        ("'EVENT'", "severity: outside ['MINOR']", []),
    ],
)  # fmt: skip
def test_tests_of_a_filter(classes_named: str, where: str, tests: list[tuple[str, tuple[str, ...]]]) -> None:
    text = f"rule: r: ( event: _e of_class {classes_named} where [ {where} ], action: ( true ) )."
    (rule,) = compile_rules([parse_rules(text, "r.rls")], classes()).plain.values()
    assert [(test.slot, test.values) for test in rule.selectable.tests] == tests


def test_a_severity_that_a_rule_sets_decides_of_the_rules_behind() -> None:
    kit = Kit(
        "rule: up: ( event: _e of_class 'EVENT', reception_action: ( set_event_severity(_e, 'FATAL') ) ).",
        "rule: r: ( event: _e of_class 'EVENT' where [ severity: greater_than 'MINOR' ],"
        " reception_action: ( set_event_administrator(_e, told) ) ).",
    )
    kit.event(0, "Disk_OK", severity="HARMLESS")
    assert kit.values("administrator") == ["told"]
