"""Every rule and action of the shipped rule sets is seen at work by the tests of the rule base, or of a site's.

What a site switches on (notify, forwarding, filters) does nothing in the shipped rule base itself, so its tests and
those with a site's parameters count together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from opentec.rules.rulebase import RuleBase
from opentec.shipped import shipped
from opentec.testing.binding import BoundCase
from opentec.testing.collection import collect
from opentec.testing.coverage import Coverage
from opentec.testing.coverage_data import ACTION, CLASS, RULE, CoverageData
from opentec.testing.runner import Runner
from tests.rules_default.site_kit import site_base, site_cases

FLOOR = 97  # percent of everything, conditions seen true and false, timers and clauses included; it only rises

# file:line without its folder, kind, text, and which of its sides
Side = tuple[str, str, str, str]


def watched(base: RuleBase, cases: Iterable[BoundCase]) -> CoverageData:
    coverage = Coverage(base, Path())
    runner = Runner(base, Path(), coverage, coverage.saw)
    for bound in cases:
        coverage.begin(bound.case)
        runner.run(bound)
    return coverage.data()


def runs() -> Iterator[CoverageData]:
    for group in collect([Path(str(shipped("rules", "default")))]).groups:
        yield watched(group.rule_base, group.cases)
    for name in sorted({name for name, _ in site_cases()}):
        yield watched(site_base(name), [bound for other, bound in site_cases() if other == name])


def sides() -> tuple[set[Side], set[Side]]:
    """All that there is in the shipped rule sets, and what was seen."""
    there: set[Side] = set()
    seen: set[Side] = set()
    for data in runs():
        for item in data.items:
            if item.kind == CLASS or item.rule_set == "site":
                continue
            for at, side in enumerate(item.sides, item.at):
                key = (item.place.rpartition("/")[2], item.kind, f"{item.rule}: {item.text}", side)
                there.add(key)
                if data.seen[at]:
                    seen.add(key)
    return there, seen


def test_every_rule_and_action_of_the_shipped_sets_is_seen_at_work() -> None:
    there, seen = sides()
    assert len(there) > 350
    missing = sorted(there - seen)
    assert [side for side in missing if side[1] in (RULE, ACTION)] == []
    assert 100 * len(seen) // len(there) >= FLOOR, missing
