"""Every rule of the shipped rule base fires in its tests, and every action reaches its end."""

from __future__ import annotations

from collections.abc import Iterable

from opentec.rules.rulebase import RuleBase
from opentec.shipped import shipped
from opentec.testing.binding import BoundCase
from opentec.testing.collection import collect
from opentec.testing.coverage import Coverage
from opentec.testing.coverage_data import ACTION, RULE, CoverageData
from opentec.testing.runner import Runner
from tests.rules_default.site_kit import site_base, site_cases

Covered = dict[tuple[str, ...], bool]


def covered(base: RuleBase, cases: Iterable[BoundCase]) -> Covered:
    """The rules and actions of a rule base, and whether these tests have covered them."""
    coverage = Coverage(base)
    runner = Runner(base, None, coverage, coverage.saw)
    for bound in cases:
        coverage.begin(bound.case)
        assert runner.run(bound).passed, bound.case.name
    data: CoverageData = coverage.data()
    return {
        (item.kind, item.rule_set, item.rule, item.text): all(data.seen[item.at : item.at + len(item.sides)])
        for item in data.items
        if item.kind in (RULE, ACTION)
    }


def test_all_rules_and_actions_are_covered() -> None:
    """What is off by default is covered with the parameters of a site."""
    found = collect([shipped("rules", "default")])
    together = covered(found.groups[0].rule_base, [bound for group in found.groups for bound in group.cases])
    for name in dict(site_cases()):
        site = covered(site_base(name), [bound for one, bound in site_cases() if one == name])
        together = {item: seen or site[item] for item, seen in together.items()}
    assert [item for item, seen in together.items() if not seen] == []
    assert len(together) > 80
