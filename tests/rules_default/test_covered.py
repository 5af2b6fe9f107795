"""Every rule and action of the shipped rule sets is seen at work by the tests of the rule base, or of a site's.

What a site switches on (notify, forwarding, filters) does nothing in the shipped rule base itself, so its tests and
those with a site's parameters count together.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from opentec.rules.rulebase import RuleBase
from opentec.shipped import shipped
from opentec.testing.binding import BoundCase
from opentec.testing.collection import collect
from opentec.testing.coverage import Coverage
from opentec.testing.coverage_data import ACTION, CLASS, RULE, CoverageData
from opentec.testing.runner import Runner
from tests.rules_default.site_kit import COMPILED, default_base, site_base, site_cases

FLOOR = 97  # percent of everything, conditions seen true and false, timers and clauses included; it only rises

# file:line without its folder, kind, text, and which of its sides
Side = tuple[str, str, str, str]


def runs() -> Iterator[tuple[RuleBase, list[BoundCase]]]:
    """Each rule base with all its tests: the rules are compiled once for each."""
    found = collect([shipped("rules", "default")], COMPILED)
    assert found.errors == []
    yield default_base(), list(chain.from_iterable(group.cases for group in found.groups))
    for name in sorted({name for name, _ in site_cases()}):
        yield site_base(name), [bound for other, bound in site_cases() if other == name]


def watched(base: RuleBase, cases: list[BoundCase]) -> tuple[CoverageData, set[str]]:
    """What the tests saw, and the rules that fired."""
    coverage = Coverage(base, Path())
    runner = Runner(base, Path(), coverage, coverage.saw)
    fired: set[str] = set()
    for bound in cases:
        coverage.begin(bound.case)
        fired.update(runner.run(bound).fired)
    return coverage.data(), fired


def sides() -> tuple[set[Side], set[Side], set[str]]:
    """All that there is in the shipped rule sets, what was seen, and the rules that fired."""
    there: set[Side] = set()
    seen: set[Side] = set()
    fired: set[str] = set()
    for base, cases in runs():
        data, of_base = watched(base, cases)
        fired.update(rule for rule in of_base if not rule.startswith("site/"))
        for item in data.items:
            if item.kind == CLASS or item.rule_set == "site":
                continue
            for at, side in enumerate(item.sides, item.at):
                key = (item.place.rpartition("/")[2], item.kind, f"{item.rule}: {item.text}", side)
                there.add(key)
                if data.seen[at]:
                    seen.add(key)
    return there, seen, fired


@pytest.mark.no_cover  # it is about the rules; tracing the program, too, would make it three times as long
def test_every_rule_fires_and_every_action_of_the_shipped_sets_is_seen_at_work() -> None:
    there, seen, fired = sides()
    assert len(there) > 350
    assert fired == {f"{rule_set.name}/{rule.name}" for rule_set in default_base().rule_sets for rule in rule_set.rules}
    missing = sorted(there - seen)
    assert [side for side in missing if side[1] in (RULE, ACTION)] == []
    assert 100 * len(seen) // len(there) >= FLOOR, missing
