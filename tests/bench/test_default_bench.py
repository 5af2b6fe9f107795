"""The benchmark of the shipped rule base measures what it says, and its check can fail."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.default_bench import LIMITS, LOADS, activation, measure, problems, records
from opentec.events.records import Disposition
from opentec.rules.engine import Engine
from opentec.rules.rulebase import load_rule_base
from opentec.rules.selectors.indexed import IndexedSelector
from opentec.shipped import shipped


@pytest.mark.parametrize("load", LOADS)
def test_a_load_is_what_it_is_called(load: str) -> None:
    base = load_rule_base(shipped("rules", "default"))
    engine = Engine(base, IndexedSelector())
    engine.process(activation(base))
    assert len(engine._cache) == 1
    log = records(load, 2000)
    found: Counter[tuple[int, str]] = Counter()
    for record in log:
        outcome = engine.process(record).outcome
        assert outcome is not None
        name = outcome.disposition, (outcome.reason or "").rpartition("/")[2]
        found[name] += 1
    dropped = {reason: count for (disposition, reason), count in found.items() if disposition == Disposition.DROPPED}
    assert sum(found.values()) == 2000
    expected: dict[str, set[str]] = {
        "plain": set(),
        "mixed": {"exact_duplicate", "recovery"},
        "duplicates": {"exact_duplicate"},
        "storm": {"storm_of_class", "storm_of_host"},
    }
    assert set(dropped) <= expected[load]
    if load == "duplicates":
        assert dropped["exact_duplicate"] > 1900
    if load == "storm":
        assert dropped["storm_of_host"] == 1000
    assert measure(base, log[:200], 100) > 0


def test_the_check_finds_what_costs_too_much() -> None:
    assert problems({"plain": [(LIMITS["plain"], 1.0)] * 3}) == []
    found = problems({"plain": [(1.0, 1.0), (100.0, 10.0), (50.0, 5.0)], "storm": [(2.0, 1.0)]})
    assert found == [f"shipped rule base, plain: 10.0 times an event without rules, at most {LIMITS['plain']}"]
