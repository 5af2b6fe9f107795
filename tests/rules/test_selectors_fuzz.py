"""Random rules and events: durable-rules against the indexed twin, and both against every filter looked at.

100,000 operations nightly, a tenth of that with every change. The same again through whole engines is in
test_selectors_engines.py.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest

from opentec.rules.selector import EqualTo, Selectable, Selector
from opentec.rules.selectors import durable_rules_problem
from opentec.rules.selectors.durable import DurableSelector
from opentec.rules.selectors.indexed import IndexedSelector

PROBLEM = durable_rules_problem()
durable = pytest.mark.skipif(bool(PROBLEM), reason=PROBLEM or "it is there")

OPERATIONS = 10_000
NIGHTLY = 100_000
EVENTS = 200  # per rule base: each leaves memory behind in C

TEXTS = (
    *(f"v{n}" for n in range(12)),
    *(
        "",
        " ",
        "true",
        "1",
        "1.0",
        "null",
        "ünï",
        "u\u0308",
        "\u65e5\u672c",
        "\U0001f600",
        "\ufeff",
        "it's",
        'say "x"\\',
    ),
    *(
        "\0",
        "v1\0",
        "\n",
        "\x1f",
        "\x7f",
        "\u2028",
        "\ud800",
        "\udfff",
        "{}",
        "}",
        '","s0":1',
        "id",
        "n",
        "%",
        "a" * 300,
    ),
    *("z" * 65_535, "z" * 65_536, "z" * 131_071, "z" * 65_536 + "v1"),
)
ODD = (None, 0, 1, 1.5, -(2**63), 2**70, float("nan"), True, [], ["v1"], {"a": 1}, b"v1")
SLOTS = ("severity", "hostname", "id", "sid", "g0", "s0", "$s", "a.b", "ünï", *(f"slot{n}" for n in range(10)))

Ancestors = dict[str, tuple[str, ...]]
Slots = dict[str, Any]


def class_tree(chance: random.Random) -> Ancestors:
    found: Ancestors = {"EVENT": ("EVENT",)}
    for number in range(chance.randrange(20)):
        found[f"K{number}"] = (f"K{number}", *found[chance.choice(sorted(found))])
    return found


def some_rules(chance: random.Random, ancestors: Ancestors) -> list[Selectable]:
    classes, slots = sorted(ancestors), chance.sample(SLOTS, chance.randint(1, 8))
    texts = chance.sample(TEXTS, chance.randint(2, len(TEXTS)))
    longest = chance.choice((1, 3, 10, len(texts)))
    rules = []
    for index in range(chance.choice((1, 5, 40, 120))):
        tests = [
            EqualTo(chance.choice(slots), tuple(chance.choices(texts, k=chance.randint(1, longest))))
            for _ in range(chance.choice((0, 1, 1, 2, 4, 12)))
        ]
        named = chance.choices(classes, k=chance.choice((1, 1, 1, 2, 12)))
        rules.append(Selectable(index * 3, index // 20, tuple(named), tuple(tests)))
    chance.shuffle(rules)
    return rules


def some_event(chance: random.Random, ancestors: Ancestors, rules: Sequence[Selectable]) -> tuple[str, Slots, Slots]:
    """A class, its slots and its defaults; near to one of the rules, so that something is selected."""
    rule = chance.choice(rules)
    slots: Slots = {test.slot: chance.choice(test.values) for test in rule.tests}
    for slot in chance.sample(SLOTS, chance.randrange(4)):
        slots[slot] = chance.choice(ODD) if chance.random() < 0.3 else chance.choice(TEXTS)
    defaults: Slots = {}
    for slot in list(slots):
        if chance.random() < 0.2:
            defaults[slot] = slots.pop(slot)
        elif chance.random() < 0.05:
            del slots[slot]
        elif chance.random() < 0.1:
            defaults[slot] = chance.choice(TEXTS)
    below = [name for name, names in ancestors.items() if set(names) & set(rule.classes)]
    name = chance.choice(below or sorted(ancestors)) if chance.random() < 0.8 else chance.choice(sorted(ancestors))
    return ("Gone" if chance.random() < 0.01 else name), slots, defaults


def truth(rules: Sequence[Selectable], ancestors: Ancestors, name: str, slots: Slots, defaults: Slots) -> set[int]:
    mine = set(ancestors.get(name, ("EVENT",)))
    merged = {**defaults, **slots}
    return {
        rule.index
        for rule in rules
        if mine & set(rule.classes)
        and all(type(merged.get(t.slot)) is str and merged[t.slot] in t.values for t in rule.tests)
    }


def compare(selectors: Sequence[Selector], operations: int, seed: int) -> dict[str, int]:
    """Raises AssertionError when one of them misses a rule, or gives rules twice or out of order."""
    chance = random.Random(seed)
    counted = {"operations": 0, "true": 0, "all": 0} | {selector.name: 0 for selector in selectors}
    while counted["operations"] < operations:
        ancestors = class_tree(chance)
        rules = some_rules(chance, ancestors)
        for selector in selectors:
            selector.load(rules, ancestors)
        known: list[tuple[str, Slots, Slots]] = []
        for _ in range(min(EVENTS, operations - counted["operations"])):
            # some come again, changed in one slot as by a rule
            if known and chance.random() < 0.4:
                name, slots, defaults = chance.choice(known)
                slots = {**slots, chance.choice(SLOTS): chance.choice(TEXTS)}
            else:
                name, slots, defaults = some_event(chance, ancestors, rules)
            known.append((name, slots, defaults))
            counted["operations"] += 1
            expected = truth(rules, ancestors, name, slots, defaults)
            counted["true"] += len(expected)
            counted["all"] += sum(1 for rule in rules if set(ancestors.get(name, ["EVENT"])) & set(rule.classes))
            for selector in selectors:
                selected = list(selector.select(name, slots, defaults))
                counted[selector.name] += len(selected)
                if expected <= set(selected) and all(a < b for a, b in pairwise(selected)):
                    continue
                place = f"{selector.name}, seed {seed}, operation {counted['operations']}: {name} {slots} {defaults}"
                raise AssertionError(f"missed {sorted(expected - set(selected))} of {selected}; {place[:2000]}")
    return counted


class Engine:
    """The C module, counted, and failing in every `failing`th assertion once it is done."""

    def __init__(self, real: Any, failing: int = 0) -> None:
        self.real, self.failing, self.facts = real, failing, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def assert_fact(self, handle: Any, fact: str) -> Any:
        found = self.real.assert_fact(handle, fact)
        self.facts += 1
        if self.failing and self.facts % self.failing == 0:
            raise RuntimeError("error code: 303")
        return found


def made(failing: int = 0) -> tuple[DurableSelector, IndexedSelector, Engine]:
    tested = DurableSelector()
    tested._engine = engine = Engine(tested._engine, failing)
    return tested, IndexedSelector(), engine


def judge(operations: int, seed: int) -> None:
    tested, twin, engine = made()
    counted = compare([tested, twin], operations, seed)
    assert (tested.reason, tested.errors) == ("", 0)
    assert counted["true"] > operations, "hardly anything was selected: the comparison is worth little"
    assert engine.facts > operations / 2, "durable-rules was hardly asked"
    for selector in (tested, twin):  # what is selected in vain: both are there to say no
        assert counted[selector.name] - counted["true"] < (counted["all"] - counted["true"]) / 5, counted


@durable
@pytest.mark.no_cover  # tracing would make it many times as long
def test_no_selector_misses() -> None:
    judge(OPERATIONS, seed=1)


@durable
@pytest.mark.nightly
def test_no_selector_misses_in_a_night() -> None:
    judge(NIGHTLY, seed=random.SystemRandom().randrange(2**32))


@durable
def test_errors_in_between_make_no_difference() -> None:
    """Each error leaves half-done state behind; the ruleset is built anew, and in the end the twin takes over."""
    tested, twin, engine = made(failing=200)
    compare([tested, twin], 2000, seed=2)
    assert (tested.errors, engine.facts) == (4, 800)
    assert "failed 4 times" in tested.reason


class Forgetful:
    """Misses one rule in some events, for the test of the test."""

    name = "forgetful"

    def __init__(self, slot: str, text: str) -> None:
        self.real = IndexedSelector()
        self.slot, self.text = slot, text

    def load(self, rules: Sequence[Selectable], ancestors: Mapping[str, tuple[str, ...]]) -> None:
        self.real.load(rules, ancestors)

    def select(self, class_name: str, slots: Mapping[str, Any], defaults: Mapping[str, Any]) -> Sequence[int]:
        found = self.real.select(class_name, slots, defaults)
        return found[:-1] if slots.get(self.slot) == self.text else found


@pytest.mark.parametrize(("slot", "text"), [("hostname", "v3"), ("sid", ""), ("slot4", "z" * 65_536 + "v1")])
def test_a_selector_that_misses_is_caught(slot: str, text: str) -> None:
    with pytest.raises(AssertionError, match="missed .* forgetful, seed 3, operation"):
        compare([Forgetful(slot, text)], OPERATIONS, seed=3)
