"""The benchmark of the rules measures what it says: so many rules, ten for a class at most; its checks can fail."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from bench.rules_bench import Times, arrivals, fill, problems, ratios, shapes, tables
from bench.rules_state import COUNTERS, DUPLICATES, TIMERS, Counters, Timers, counted, storm
from bench.rules_world import ARRIVING, LEAVES, Run, Switch, base, classes, rules
from opentec.events.records import decode_event
from opentec.rules.engine import Engine
from opentec.rules.parser import parse_rules
from opentec.rules.selectors.indexed import IndexedSelector


@pytest.mark.parametrize("count", [1, 10, 100, 2000])
def test_so_many_rules_and_ten_of_a_class_at_most(count: int) -> None:
    made = parse_rules(rules(count), "bench.rls").rules
    assert len(made) == count
    named = Counter(atom.value for rule in made for atom in rule.event.classes or ())
    assert named.pop("Part") == 1
    assert not named or max(named.values()) == min(9, count - 1)
    table = classes()
    assert set(named) <= set(table.classes)


@pytest.mark.parametrize("size", [0, 1000])
def test_one_event_in_four_repeats_what_is_cached(size: int) -> None:
    run = Run(Engine(base(classes(), rules(10), 10_000), Switch(IndexedSelector())))
    fill(run, size)
    made = arrivals(size, 400, random.Random(1))
    asked = {decode_event(one.payload).class_name for one in made}
    assert asked == {f"Part{n}" for n in range(ARRIVING)}
    named = Counter(atom.value for rule in parse_rules(rules(500), "bench.rls").rules for atom in rule.event.classes)
    assert all(named[name] == 9 for name in asked)
    before = run.changed
    run.process(made)
    assert run.changed - before == 100
    assert len(run.engine._cache) == size + 300
    run.forget()
    assert len(run.engine._cache) == size


def test_every_event_of_a_storm_is_counted() -> None:
    tenths, run = storm(DUPLICATES, 10, 1000)
    assert len(tenths) == 10
    assert counted(run) == 1000
    assert len(run.engine._cache) == 10


def test_rounds_of_timers_and_counters_leave_them_as_they_were() -> None:
    timers, counters = Timers(20), Counters(20)
    for _ in range(2):
        assert set(timers.round()) == {"set", "cancel", "fire"}
        assert set(counters.round()) == {"increment"}
    assert len(timers.run.engine._timers) == 20
    assert len(counters.run.engine._store.section("counter")) == 20
    for text in (TIMERS, COUNTERS):
        assert parse_rules(text, "bench.rls").rules


def test_shapes_have_so_many_rules() -> None:
    for made, asked in shapes(100).values():
        assert len(made) == 100
        selector = IndexedSelector()
        selector.load(made, {f"Part{n}": (f"Part{n}", "EVENT") for n in range(LEAVES)})
        assert all(selector.select(name, values, {}) for name, values in asked[:200])


def times(of_2000: float) -> tuple[Times, Times]:
    grown: Times = {(0, 1, "indexed"): [10.0, 20.0, 10.0], (0, 2000, "indexed"): [of_2000, 2 * of_2000, of_2000]}
    selected: Times = {("one", 1, "indexed"): [0.5] * 3, ("one", 2000, "indexed"): [of_2000 / 20] * 3}
    return grown, selected


def test_the_check_finds_what_grows() -> None:
    assert problems(*times(11.0)) == []
    found = problems(*times(100.0))
    assert found[0] == "2000 rules with a cache of 0, indexed: 10.00 times 1 rule, at most 1.5"
    assert found[1].startswith("selection from 2000 rules, one: 5.00")


def test_ratios_are_of_one_round() -> None:
    grown, selected = times(11.0)
    assert ratios(grown, (0, 2000, "indexed"), (0, 1, "indexed")) == [1.1, 1.1, 1.1]
    assert "| 0 | 2,000 | indexed | 11.0 (11.0-22.0) | 1.10 (1.10-1.10) | 1.00 (1.00-1.00) |" in tables(grown, selected)
