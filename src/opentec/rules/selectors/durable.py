"""The selector on durable-rules (Rete in C), kept inside what is safe there (durable-rules.md 3.3, 5, 6).

Only its C module, in the caller's thread. One fact per event, asserted, drained and retracted before anything else
happens; flags for classes, equality of whole numbers that stand for texts; no joins, no ranges, no text of anybody
else's. It is asked only what it is needed for: rules that test nothing but the class are known by the class. What goes
beyond its limits is left to the filters, and after errors the indexed twin takes over for good.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple

import msgspec

from opentec.rules.selector import Selectable
from opentec.rules.selectors.indexed import IndexedSelector

# limits of a rule base here; what lies beyond is selected too often and judged by the filter alone
ROWS: Final = 30  # conditions in one ruleset; an event that brings more than 64 there is an error
RULESETS: Final = 100
QUESTIONS: Final = 4  # rulesets that one event is brought to; where more concern its class, the twin is faster by far
ALTERNATIVES: Final = 8  # one rule becomes at most so many conditions
TESTS: Final = 7  # of one condition: a fact has 255 properties at most, here ROWS * (1 + TESTS) and the id
REBUILDS: Final = 3  # after that many errors the twin takes over

_log = logging.getLogger("rule")
_decode: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_numbers = itertools.count()  # rulesets have one name space per process

Token = tuple[str, int]  # a slot, and a number that stands for the texts there which no rule tells apart


class _Row(NamedTuple):
    """One condition: a class out of these, and for each of these slots this token."""

    rule: int  # its index
    classes: tuple[str, ...]
    tests: tuple[Token, ...]


class _Ruleset:
    """One ruleset in C. Every name in it is made here: g0 ... for sets of classes, s0 ... for slots."""

    __slots__ = ("groups", "handle", "properties", "rows", "rules")

    def __init__(self, engine: Any, rows: Sequence[_Row]) -> None:
        self.rows = rows
        self.rules = {f"r{number}": row.rule for number, row in enumerate(rows)}
        classes = dict.fromkeys(row.classes for row in rows)
        self.groups = {one: f"g{number}" for number, one in enumerate(classes)}
        slots = dict.fromkeys(slot for row in rows for slot, _ in row.tests)
        self.properties = {slot: f"s{number}" for number, slot in enumerate(slots)}
        definition = {f"r{number}": {"all": [{"m": {"$and": self._condition(row)}}]} for number, row in enumerate(rows)}
        self.handle = engine.create_ruleset(f"opentec{next(_numbers)}", json.dumps(definition))

    def _condition(self, row: _Row) -> list[dict[str, int]]:
        return [{self.groups[row.classes]: 1}, *({self.properties[slot]: token} for slot, token in row.tests)]


class _Question(NamedTuple):
    """What events of one class bring to one ruleset: the beginning of the fact, and by slot what a text adds to it."""

    handle: Any
    rules: Mapping[str, int]
    begin: str
    slots: tuple[tuple[str, Mapping[str, str]], ...]


# rules that need no question, and the questions; None: too many, ask the twin
_Plan = tuple[tuple[int, ...], list[_Question] | None]


class DurableSelector:
    """Selects by durable-rules. `reason` is "" while it does, and says why when the twin does it instead.

    Raises ImportError when the module is not there.
    """

    name = "durable-rules"

    def __init__(self) -> None:
        engine: Any = import_module("durable_rules_engine")
        self.reason = ""
        self.errors = 0
        self._engine = engine
        self._twin = IndexedSelector()
        self._rulesets: list[_Ruleset] = []
        self._of_class: dict[str, _Plan] = {}
        self._rules: Sequence[Selectable] = ()
        self._ancestors: Mapping[str, tuple[str, ...]] = {}

    def load(self, rules: Sequence[Selectable], ancestors: Mapping[str, tuple[str, ...]]) -> None:
        """Learn the rules; what was loaded before is forgotten (its memory in C is not: durable-rules.md 4)."""
        self._twin.load(rules, ancestors)
        self._rules = sorted(rules, key=lambda rule: rule.index)
        self._ancestors = ancestors
        if not self.reason:
            self._build()

    def select(self, class_name: str, slots: Mapping[str, Any], defaults: Mapping[str, Any]) -> Sequence[int]:
        """Indexes of the rules that may concern an event, ascending."""
        if self.reason or class_name not in self._ancestors:
            return self._twin.select(class_name, slots, defaults)
        always, questions = self._of_class.get(class_name) or self._class(class_name)
        if questions is None:
            return self._twin.select(class_name, slots, defaults)
        found: set[int] = set()
        try:
            for handle, rules, begin, asked in questions:
                fact = begin
                for slot, texts in asked:
                    value = slots[slot] if slot in slots else defaults.get(slot)
                    if type(value) is str and value in texts:
                        fact += texts[value]
                if fact is not begin:
                    self._ask(handle, fact + "}", rules, found)
        except Exception as error:  # the C module raises nothing narrower for some of its failures
            self._recover(error)
            return self._twin.select(class_name, slots, defaults)
        return sorted(found.union(always)) if found else always

    def _ask(self, handle: Any, fact: str, rules: Mapping[str, int], found: set[int]) -> None:
        engine = self._engine
        code, state = engine.assert_fact(handle, fact)
        if code == 1:  # no condition matches; the fact was not kept
            return
        if code != 0:
            raise RuntimeError(f"assert_fact answered {code}")
        started = engine.start_action_for_state(handle, state)
        message = started[1] if started else None
        while message:
            for name in _decode(message):
                found.add(rules[name])
            message = engine.complete_and_start_action(handle, state)
        engine.retract_fact(handle, '{"id":"n"}')

    def _build(self) -> None:
        for ruleset in self._rulesets:
            self._engine.delete_ruleset(ruleset.handle)
        self._rulesets = []
        self._of_class = {}
        tokens = _tokens(self._rules)
        # and back: what texts a token stands for
        self._texts: dict[str, dict[int, list[str]]] = {}
        for slot, numbers in tokens.items():
            texts = self._texts[slot] = defaultdict(list)
            for text, token in numbers.items():
                texts[token].append(text)
        self._plain: dict[str, list[int]] = defaultdict(list)  # by class, rules that are selected for that alone
        # rules of the same classes together: an event is brought to few rulesets
        packed: list[list[_Row]] = []
        for rule in sorted(self._rules, key=lambda rule: rule.classes):
            mine = _alternatives(rule, tokens)
            begins = not packed or len(packed[-1]) + len(mine) > ROWS
            if not any(row.tests for row in mine) or (begins and len(packed) == RULESETS):
                for name in rule.classes:
                    self._plain[name].append(rule.index)
                continue
            if begins:
                packed.append([])
            packed[-1] += mine
        self._rooted: dict[str, set[int]] = defaultdict(set)  # by class, places of rulesets
        for number, rows in enumerate(packed):
            self._rulesets.append(_Ruleset(self._engine, rows))
            for name in {name for row in rows for name in row.classes}:
                self._rooted[name].add(number)

    def _class(self, class_name: str) -> _Plan:
        """What to do with events of a class; made when the first one comes."""
        names = self._ancestors[class_name]
        always = tuple(sorted({index for name in names for index in self._plain.get(name, ())}))
        numbers = sorted({number for name in names for number in self._rooted.get(name, ())})
        questions: list[_Question] | None = None
        if len(numbers) <= QUESTIONS:
            questions = [self._question(self._rulesets[number], frozenset(names)) for number in numbers]
        self._of_class[class_name] = always, questions
        return always, questions

    def _question(self, ruleset: _Ruleset, names: frozenset[str]) -> _Question:
        rows = [row for row in ruleset.rows if not names.isdisjoint(row.classes)]
        tokens: dict[str, set[int]] = defaultdict(set)
        for row in rows:
            for slot, token in row.tests:
                tokens[slot].add(token)
        flags = dict.fromkeys(f',"{ruleset.groups[row.classes]}":1' for row in rows)
        slots = tuple(
            (
                slot,
                {
                    text: f',"{ruleset.properties[slot]}":{token}'
                    for token in sorted(wanted)
                    for text in self._texts[slot][token]
                },
            )
            for slot, wanted in tokens.items()
        )
        return _Question(ruleset.handle, ruleset.rules, '{"id":"n"' + "".join(flags), slots)

    def _recover(self, error: Exception) -> None:
        """An error leaves the network in doubt (durable-rules.md 6.21): build it anew, a few times."""
        self.errors += 1
        if self.errors > REBUILDS:
            self.reason = f"durable-rules failed {self.errors} times, the last time with: {error}"
        else:
            try:
                self._build()
            except Exception as again:
                self.reason = f"durable-rules failed with {error}, and again while it was rebuilt with: {again}"
        if self.reason:
            _log.error("%s; the indexed selector takes over", self.reason)
        else:
            _log.warning("durable-rules failed with %s; it was built anew", error)


def _tokens(rules: Iterable[Selectable]) -> dict[str, dict[str, int]]:
    """By slot and text the number that stands for it: the same for texts that all tests of the slot treat alike.

    So the length of a `within` list costs nothing, and durable-rules sees no text: none is too long for it.
    """
    tests: dict[str, dict[tuple[str, ...], None]] = defaultdict(dict)
    for rule in rules:
        for test in rule.tests:
            tests[test.slot][test.values] = None
    found: dict[str, dict[str, int]] = {}
    for slot, lists in tests.items():
        member: dict[str, list[int]] = defaultdict(list)
        for number, values in enumerate(lists):
            for text in dict.fromkeys(values):
                member[text].append(number)
        numbers: dict[tuple[int, ...], int] = {}
        found[slot] = {text: numbers.setdefault(tuple(of), len(numbers) + 1) for text, of in member.items()}
    return found


def _alternatives(rule: Selectable, tokens: Mapping[str, Mapping[str, int]]) -> list[_Row]:
    """The rule as conditions of one token per slot; tests that would make too many are left out."""
    count = 1
    kept: dict[str, list[Token]] = {}
    for test in rule.tests:
        choices = {tokens[test.slot][text] for text in test.values}
        if test.slot not in kept and len(kept) < TESTS and 0 < len(choices) * count <= ALTERNATIVES:
            count *= len(choices)
            kept[test.slot] = [(test.slot, token) for token in sorted(choices)]
    return [_Row(rule.index, rule.classes, tests) for tests in itertools.product(*kept.values())]


def self_test() -> None:
    """Compare with the indexed twin on a small rule base; raises AssertionError or whatever goes wrong.

    Run it in a process of its own: a module that does not fit the Python may crash it.
    """
    from opentec.rules.selector import EqualTo

    ancestors = {"EVENT": ("EVENT",), "A": ("A", "EVENT"), "B": ("B", "A", "EVENT"), "C": ("C", "EVENT")}
    levels = ("low", "high", "höchst", "")
    rules = [
        Selectable(
            index=index,
            rule_set=index // 20,
            classes=(("EVENT",), ("A",), ("B", "C"), ("C",))[index % 4],
            tests=(EqualTo("level", levels[: index % 3 + 1]),) if index % 5 else (),
        )
        for index in range(60)
    ]
    tested, twin = DurableSelector(), IndexedSelector()
    tested.load(rules, ancestors)
    twin.load(rules, ancestors)
    for name, level, host in itertools.product(ancestors, (*levels, "other"), ("h1", 'say "ö"\n\\')):
        event = {"level": level, "host": host}
        if list(tested.select(name, event, {})) != list(twin.select(name, event, {})):
            raise AssertionError(f"durable-rules and the indexed selector disagree on {name} {event}")
    if tested.errors:
        raise AssertionError("durable-rules reported an error")
