"""The selector in pure Python: one bit per rule, and for every tested slot a table from its texts to rules.

A selection is one look-up and one AND per tested slot, however many rules there are and however many texts they ask
for: the bits of 2,000 rules are 250 bytes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentec.rules.selector import Selectable

SLOTS: Final = 6  # tested slots that are always looked at, those that most rules test
KEPT: Final = 4096  # results remembered for the rules of one class


class _Plan:
    """The rules that concern some classes: bit n of a mask stands for rule n."""

    __slots__ = ("_indexes", "_results", "all", "everything", "tables")

    def __init__(self, rules: Sequence[Selectable]) -> None:
        self._indexes = [rule.index for rule in rules]
        self._results: dict[int, tuple[int, ...]] = {}
        self.everything = tuple(self._indexes)
        self.all = (1 << len(rules)) - 1
        self.tables = [_table(slot, rules) for slot in _looked_at(rules)]

    def indexes(self, mask: int) -> tuple[int, ...]:
        """The rules of a mask, ascending."""
        found = self._results.get(mask)
        if found is None:
            if len(self._results) >= KEPT:
                self._results.clear()
            numbers, left = [], mask
            while left:
                lowest = left & -left
                numbers.append(self._indexes[lowest.bit_length() - 1])
                left ^= lowest
            found = self._results[mask] = tuple(numbers)
        return found


def _table(slot: str, rules: Sequence[Selectable]) -> tuple[str, dict[str, int], int]:
    """For one slot: the rules that bear each text which some rule asks for, and those that bear any other value."""
    bits: dict[str, int] = defaultdict(int)
    indifferent = 0
    for number, rule in enumerate(rules):
        asked = [frozenset(test.values) for test in rule.tests if test.slot == slot]
        if not asked:
            indifferent |= 1 << number
            continue
        for text in frozenset.intersection(*asked):
            bits[text] |= 1 << number
    return slot, {text: mask | indifferent for text, mask in bits.items()}, indifferent


def _looked_at(rules: Sequence[Selectable]) -> list[str]:
    """The slots that most rules test, and of every rule the one that tells most rules apart."""
    tested: Counter[str] = Counter()
    texts: dict[str, set[str]] = defaultdict(set)
    for rule in rules:
        tested.update(dict.fromkeys(test.slot for test in rule.tests).keys())
        for test in rule.tests:
            texts[test.slot].update(test.values)
    kept = dict.fromkeys(slot for slot, _ in tested.most_common(SLOTS))
    for rule in rules:
        if rule.tests:
            kept[max(rule.tests, key=lambda test: len(texts[test.slot])).slot] = None
    return list(kept)


class IndexedSelector:
    """The default where durable-rules is not to be had, and its judge in tests. `reason` says why it was chosen."""

    name = "indexed"

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        self._rooted: dict[str, list[Selectable]] = {}  # rules by the classes that they name
        self._ancestors: Mapping[str, tuple[str, ...]] = {}
        self._plans: dict[str, _Plan] = {}
        self._shared: dict[tuple[int, ...], _Plan] = {}

    def load(self, rules: Sequence[Selectable], ancestors: Mapping[str, tuple[str, ...]]) -> None:
        """Learn the rules; what was loaded before is forgotten."""
        self._rooted = {}
        for rule in rules:
            for name in dict.fromkeys(rule.classes):
                self._rooted.setdefault(name, []).append(rule)
        self._ancestors = ancestors
        self._plans = {}
        self._shared = {}

    def _plan(self, class_name: str) -> _Plan:
        """Made when the first event of the class comes: most classes see none. Classes with the same rules share it."""
        if class_name not in self._ancestors and class_name != "EVENT":
            return self._plans.get("EVENT") or self._plan("EVENT")
        names = self._ancestors.get(class_name, ("EVENT",))
        mine = {rule.index: rule for name in names for rule in self._rooted.get(name, ())}
        key = tuple(sorted(mine))
        if key not in self._shared:
            self._shared[key] = _Plan([mine[index] for index in key])
        plan = self._plans[class_name] = self._shared[key]
        return plan

    def select(self, class_name: str, slots: Mapping[str, Any], defaults: Mapping[str, Any]) -> Sequence[int]:
        """Indexes of the rules that may concern an event, ascending; a class that is not known is an EVENT."""
        plan = self._plans.get(class_name) or self._plan(class_name)
        tables = plan.tables
        if not tables:
            return plan.everything
        mask = plan.all
        for slot, masks, other in tables:
            value = slots[slot] if slot in slots else defaults.get(slot)
            mask &= masks.get(value, other) if type(value) is str else other
        return plan.indexes(mask)
