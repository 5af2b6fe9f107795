"""The selector in pure Python: a table per class, keyed by the values that its rules ask for.

The cost of a selection is one look-up per tested slot, however many rules there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentec.rules.selector import Selectable

SLOTS: Final = 6  # tested slots that take part in the key, those that most rules test; others are left to the filter
KEPT: Final = 4096  # selections remembered per class


class _Plan:
    """The rules that concern one class."""

    __slots__ = ("everything", "rules", "seen", "slots")

    def __init__(self, rules: Sequence[Selectable]) -> None:
        self.rules = rules
        self.everything = tuple(rule.index for rule in rules)
        counted = Counter(slot for rule in rules for slot in {test.slot for test in rule.tests})
        self.slots = tuple(
            (
                slot,
                frozenset(value for rule in rules for test in rule.tests if test.slot == slot for value in test.values),
            )
            for slot, _ in counted.most_common(SLOTS)
        )
        self.seen: dict[Any, tuple[int, ...]] = {}

    def look_up(self, key: tuple[Any, ...]) -> tuple[int, ...]:
        values = {slot: value for (slot, _), value in zip(self.slots, key, strict=True)}
        found = tuple(
            rule.index
            for rule in self.rules
            if all(test.slot not in values or values[test.slot] in test.values for test in rule.tests)
        )
        if len(self.seen) >= KEPT:
            self.seen.clear()
        self.seen[key] = found
        return found


class IndexedSelector:
    """The default where durable-rules is not to be had, and its judge in tests. `reason` says why it was chosen."""

    name = "indexed"

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        self._plans: dict[str, _Plan] = {}
        self._rules: Sequence[Selectable] = ()
        self._ancestors: Mapping[str, tuple[str, ...]] = {}

    def load(self, rules: Sequence[Selectable], ancestors: Mapping[str, tuple[str, ...]]) -> None:
        """Learn the rules; what was loaded before is forgotten."""
        self._rules = sorted(rules, key=lambda rule: rule.index)
        self._ancestors = ancestors
        self._plans = {name: self._plan(names) for name, names in ancestors.items()}

    def _plan(self, ancestors: Sequence[str]) -> _Plan:
        mine = frozenset(ancestors)
        return _Plan([rule for rule in self._rules if not mine.isdisjoint(rule.classes)])

    def select(self, class_name: str, slots: Mapping[str, Any], defaults: Mapping[str, Any]) -> Sequence[int]:
        """Indexes of the rules that may concern an event, ascending; a class that is not known is an EVENT."""
        plan = self._plans.get(class_name)
        if plan is None:
            plan = self._plan((class_name, "EVENT"))
        if not plan.slots:
            return plan.everything
        key = []
        for slot, wanted in plan.slots:
            value = slots[slot] if slot in slots else defaults.get(slot)
            key.append(value if type(value) is str and value in wanted else None)
        values = tuple(key)
        found = plan.seen.get(values)
        return found if found is not None else plan.look_up(values)
