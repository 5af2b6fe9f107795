"""Whole engines that differ in their selector alone: the same effects and the same state, record by record.

Random class trees, rules and events; rules change what selection depends on while they run. The third engine has a
selector that says "all rules", so every filter is judged by itself.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from opentec.events.classes import ClassTable
from opentec.events.loader import classes_of
from opentec.events.records import Disposition, Record
from opentec.rules.batching import BatchBuilder
from opentec.rules.engine import Engine
from opentec.rules.parser import parse_rules
from opentec.rules.rulebase import RuleBase, Settings
from opentec.rules.selector import Selectable, Selector
from opentec.rules.selectors import durable_rules_problem
from opentec.rules.selectors.durable import DurableSelector
from opentec.rules.selectors.indexed import IndexedSelector
from opentec.shipped import shipped
from tests.rules.engine_kit import START, Log

PROBLEM = durable_rules_problem()
durable = pytest.mark.skipif(bool(PROBLEM), reason=PROBLEM or "it is there")

OPERATIONS = 10_000
NIGHTLY = 100_000
RECORDS = 500  # per rule base
LOOK = 25  # records between two looks at the whole state

TEXTS = ("a", "b", "c", "", "A", "1", "ünï", "\U0001f600", "it's", 'say "x"', "a b", "\u2028", "x" * 300)
LONG = ("z" * 65_536 + "a", "a\0", "a\0b", "\n", "}")  # of events only
SEVERITIES = ("UNKNOWN", "HARMLESS", "WARNING", "MINOR", "CRITICAL", "FATAL")
STATES = ("OPEN", "ACK", "CLOSED", "RESPONSE")
HOSTS = ("h1", "h2", "h3", "hö")


class Everything:
    """Over-selects as much as can be: brute force."""

    name = "everything"
    calls = 0

    def load(self, rules: Sequence[Selectable], ancestors: Mapping[str, tuple[str, ...]]) -> None:
        self.all = [rule.index for rule in rules]

    def select(self, class_name: str, slots: Mapping[str, Any], defaults: Mapping[str, Any]) -> Sequence[int]:
        self.calls += 1
        return self.all


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


class World:
    """A class tree, rules on it, and records for them, all from one seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.slots: dict[str, dict[str, str]] = {"EVENT": {}}  # by class: slot to type
        self.table = self._classes()
        sets = tuple(
            parse_rules("\n".join(self._rule(n) for n in range(self.chance.choice((1, 4, 15)))), f"set{number}.rls")
            for number in range(self.chance.randint(1, 4))
        )
        # not through the checker: it refuses rules that never run, and of those there are many here
        self.base = RuleBase("fuzz", f"{seed:064x}", self.table, sets, Settings(cache_size=30))

    def _classes(self) -> ClassTable:
        chance = self.chance
        lines = [shipped("rules", "default", "TEC_CLASSES", name).read_text() for name in ("root.baroc", "tec.baroc")]
        for number in range(chance.randint(1, 10)):
            parent = chance.choice(sorted(self.slots))
            name = f"K{number}"
            own = {f"t{number}": "STRING", f"n{number}": "INTEGER", f"l{number}": "LIST_OF STRING"}
            said = [f"{slot}: {kind};" for slot, kind in own.items()]
            if chance.random() < 0.5:
                said.append(f"severity: default = {chance.choice(SEVERITIES)};")
            if chance.random() < 0.3:
                said.append("hostname: dup_detect = yes;")
            # a default for a slot of the parent's
            texts = [slot for slot, kind in self.slots[parent].items() if kind == "STRING"]
            if texts and chance.random() < 0.5:
                said.append(f"{chance.choice(texts)}: default = {chance.choice(('a', 'b', 'c'))};")
            lines.append(f"TEC_CLASS: {name} ISA {parent} DEFINES {{ {' '.join(said)} }};")
            self.slots[name] = {**self.slots[parent], **own}
        return classes_of("\n".join(lines))

    def _condition(self, slots: Mapping[str, str], number: int) -> str:
        chance = self.chance
        slot = chance.choice(["severity", "status", "hostname", "msg", "source", *slots])
        values = {"severity": SEVERITIES, "status": STATES, "hostname": HOSTS}.get(slot, TEXTS)
        if slots.get(slot, "STRING") != "STRING":
            return f"{slot}: _v{number}"
        match chance.randrange(6):
            case 0:
                return f"{slot}: _v{number}"
            case 1:
                return f"{slot}: not_equals {quoted(chance.choice(values))}"
            case 2 | 3:
                several = ", ".join(quoted(value) for value in chance.sample(values, chance.randint(1, 4)))
                return f"{slot}: {chance.choice(('within', 'within', 'outside'))} [{several}]"
            case _:
                return f"{slot}: equals {quoted(chance.choice(values))}"

    def _goal(self, slots: Mapping[str, str]) -> str:
        chance = self.chance
        texts = [slot for slot, kind in slots.items() if kind == "STRING"] or ["msg"]
        match chance.randrange(9):
            case 0 | 1:
                return f"set_event_severity(_e, '{chance.choice(SEVERITIES)}')"
            case 2 | 3:
                return f"bo_set_slotval(_e, {chance.choice(texts)}, {quoted(chance.choice(TEXTS))})"
            case 4:
                return f"set_event_status(_e, '{chance.choice(STATES[:2])}')"
            case 5:
                return f"bo_set_slotval(_e, hostname, '{chance.choice(HOSTS)}')"
            case 6:
                name = chance.choice(sorted(self.slots))
                only = "bo_get_slotval(_e, sub_source, _by), _by \\== 'made'"  # or one event becomes thousands
                return f"{only}, generate_event({name}, [hostname='{chance.choice(HOSTS)}', sub_source=made])"
            case 7:
                name = chance.choice(sorted(self.slots))
                host = f"hostname: equals '{chance.choice(HOSTS)}', status: outside ['CLOSED']"
                return (
                    f"first_instance(event: _o of_class '{name}' where [ {host} ]),"
                    f" set_event_severity(_o, '{chance.choice(SEVERITIES)}')"
                )
            case _:
                last = "drop_received_event, commit_set" if chance.random() < 0.2 else "true"
                return chance.choice((last, "commit_rule", "commit_set"))

    def _rule(self, number: int) -> str:
        chance = self.chance
        named = chance.sample(sorted(self.slots), min(chance.choice((1, 1, 1, 3)), len(self.slots)))
        if chance.random() < 0.1:
            named, classes = ["EVENT"], "_class"
        else:
            classes = f"'{named[0]}'" if len(named) == 1 else f"within [{', '.join(named)}]"
        common = dict(sorted(set.intersection(*(set(self.slots[name].items()) for name in named))))
        conditions = ", ".join(self._condition(common, at) for at in range(chance.choice((0, 1, 1, 2, 4))))
        actions = ", ".join(f"action: ( {self._goal(common)} )" for _ in range(chance.randint(1, 2)))
        return f"rule: r{number}: ( event: _e of_class {classes} where [ {conditions} ], {actions} )."

    def records(self, count: int) -> list[Record]:
        chance, log, at, made = self.chance, Log(), 0.0, []
        for _ in range(count):
            at += chance.choice((0.0, 0.1, 1.0, 3.0))
            match chance.randrange(12):
                case 0:
                    key = (START + chance.randrange(int(at) + 1), chance.randint(1, 3), 1)
                    slot, values = chance.choice((("status", STATES), ("severity", SEVERITIES)))
                    made.append(log.change(at, key, **{slot: chance.choice(values)}))
                case 1:
                    made.append(log.tick(at))
                case _:
                    name = chance.choice(sorted(self.slots))
                    made.append(log.event(at, name, **self._values(self.slots[name])))
        return made

    def _values(self, slots: Mapping[str, str]) -> dict[str, Any]:
        chance, said = self.chance, {}
        kinds = {"hostname": HOSTS, "severity": SEVERITIES, "status": STATES[:2], "msg": TEXTS, "source": TEXTS}
        for slot, values in kinds.items():
            if chance.random() < 0.7:
                said[slot] = chance.choice(values)
        for slot, kind in slots.items():
            if chance.random() < 0.4:
                continue  # its default, or nothing at all
            if kind == "STRING":
                said[slot] = chance.choice(TEXTS) if chance.random() < 0.97 else chance.choice(LONG)
            else:
                said[slot] = chance.choice((0, 7, 2**40)) if kind == "INTEGER" else list(chance.sample(TEXTS, 2))
        return said


def compare(selectors: Sequence[Selector], operations: int, seed: int) -> dict[str, int]:
    """Raises AssertionError where effects or states differ."""
    counted = {"operations": 0, "fired": 0, "changed": 0, "dropped": 0, "stored": 0}
    while counted["operations"] < operations:
        world = World(seed * 10_000 + counted["operations"] // RECORDS)
        engines = [Engine(world.base, selector) for selector in selectors]
        builders = [BatchBuilder(0) for _ in selectors]
        for record in world.records(min(RECORDS, operations - counted["operations"])):
            counted["operations"] += 1
            place = f"seed {seed}, operation {counted['operations']}"
            found = []
            for engine, builder in zip(engines, builders, strict=True):
                effects = engine.process(record)
                builder.add(effects)
                found.append(msgspec.msgpack.encode(builder.build()))
            if effects.outcome is not None:
                counted["fired"] += len(effects.outcome.fired)
                counted["changed"] += len(effects.changed)
                counted["dropped"] += effects.outcome.disposition == Disposition.DROPPED
                counted["stored"] += len(effects.inserted)
            for selector, one in zip(selectors, found, strict=True):
                assert one == found[-1], f"effects with {selector.name} differ, {place}: {record.payload!r}"
            if counted["operations"] % LOOK == 0:
                assert len({engine.state_hash() for engine in engines}) == 1, f"states differ, {place}"
    return counted


def judge(operations: int, seed: int) -> None:
    tested, everything = DurableSelector(), Everything()
    counted = compare([tested, IndexedSelector(), everything], operations, seed)
    assert (tested.reason, tested.errors) == ("", 0)
    assert counted["fired"] > operations / 2, counted
    assert min(counted["changed"], counted["dropped"]) > operations / 200, counted
    # rules changed, while they ran, what selection depends on: rules were selected again
    assert everything.calls - counted["stored"] - counted["dropped"] > operations / 10, (everything.calls, counted)


@durable
@pytest.mark.no_cover  # tracing would make it five times as long
def test_the_selector_makes_no_difference() -> None:
    judge(OPERATIONS, seed=1)


@durable
@pytest.mark.nightly
def test_the_selector_makes_no_difference_in_a_night() -> None:
    judge(NIGHTLY, seed=random.SystemRandom().randrange(2, 2**32))


class Forgetful(IndexedSelector):
    """Misses the last rule for what is FATAL, for the test of the test."""

    name = "forgetful"

    def select(self, class_name: str, slots: Mapping[str, Any], defaults: Mapping[str, Any]) -> Sequence[int]:
        found = super().select(class_name, slots, defaults)
        return found[:-1] if slots.get("severity") == "FATAL" else found


class Stale(IndexedSelector):
    """Does not look again at an event that it has seen, for the test of the test."""

    name = "stale"

    def __init__(self) -> None:
        super().__init__()
        self._last: tuple[int, Sequence[int]] = (0, ())

    def select(self, class_name: str, slots: Mapping[str, Any], defaults: Mapping[str, Any]) -> Sequence[int]:
        key = hash((slots["date_reception"], slots["event_handle"]))
        if self._last[0] != key:
            self._last = key, super().select(class_name, slots, defaults)
        return self._last[1]


@pytest.mark.no_cover
@pytest.mark.parametrize("selector", [Forgetful(), Stale()])
def test_a_selector_that_misses_is_caught(selector: Selector) -> None:
    with pytest.raises(AssertionError, match=f"effects with {selector.name} differ, seed 3, operation"):
        compare([selector, Everything()], OPERATIONS, seed=3)
