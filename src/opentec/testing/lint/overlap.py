"""L201 to L203: rules of one set that are in each other's way.

Two filters overlap when some class is taken by both and the constants that they ask of its slots do not exclude each
other. A later rule that is narrower than an earlier one is no conflict: that is how an exception is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property

from opentec.rules.ast import Rule, RuleSet, Test, Var
from opentec.rules.checker_conflicts import conflict
from opentec.testing.lint.diagnostics import Diagnostic, found
from opentec.testing.lint.effects import NEW, REDO, Deeds, Stored, deeds, written_slots
from opentec.testing.lint.model import Model, all_terms, conditions_of, filter_terms, shape


def check_overlap(model: Model) -> Iterator[Diagnostic]:
    """Rules of one set that conflict, that are never reached, or that are the same."""
    for rule_set in model.base.rule_sets:
        yield from _same(rule_set)
        plain = [
            _Looked(rule, [deeds(rule, action) for action in rule.actions], model.classes(rule.event))
            for rule in rule_set.rules
            if rule.kind == "rule"
        ]
        for number, later in enumerate(plain):
            yield from _never_reached(plain[:number], later)
            for earlier in plain[:number]:
                yield from _conflicts(model, earlier, later)


class _Looked:
    """A rule with what lint knows of it."""

    def __init__(self, rule: Rule, done: Sequence[Deeds], classes: frozenset[str]) -> None:
        self.rule = rule
        self.deeds = done
        self.classes = classes
        self.slots = {condition.slot for condition in rule.event.conditions}
        self.tests: dict[str, list[Test]] = {}  # of the slots that are compared with something
        for condition in rule.event.conditions:
            if condition.tests:
                self.tests.setdefault(condition.slot, []).extend(condition.tests)
        bound = Counter(term.name for term in all_terms(filter_terms(rule.event)) if isinstance(term, Var))
        # a variable that stands twice compares, and what with is only known when the event is there
        self.compares_variables = any(
            isinstance(term, Var) for tests in self.tests.values() for term in all_terms(test.operand for test in tests)
        ) or any(count > 1 for name, count in bound.items() if name != "_")
        self.shapes = {slot: [shape(test) for test in tests] for slot, tests in self.tests.items()}

    @cached_property
    def written(self) -> frozenset[str]:
        return frozenset(written_slots(self.rule))

    def within(self, other: _Looked) -> bool:
        """Whether every event that this rule takes is certainly taken by the other one, too."""
        if other.compares_variables or not self.classes <= other.classes:
            return False
        return all(test in self.shapes.get(slot, ()) for slot, tests in other.shapes.items() for test in tests)

    def overlaps(self, other: _Looked, model: Model) -> bool:
        """Whether some event may pass both filters."""
        return any(self._both(other, model, name) for name in sorted(self.classes & other.classes))

    def _both(self, other: _Looked, model: Model, name: str) -> bool:
        cls = model.table.classes[name]
        if not self.slots | other.slots <= cls.slots.keys():
            return False  # a condition on a slot that is not there does not hold
        for slot in self.tests.keys() | other.tests.keys():
            tests = [*self.tests.get(slot, ()), *other.tests.get(slot, ())]
            if not cls.slots[slot].type.is_list and conflict(tests, cls, slot):
                return False
        return True


def _conflicts(model: Model, earlier: _Looked, later: _Looked) -> Iterator[Diagnostic]:
    settings = model.base.settings
    ends = 1 if settings.commit_rule_ends_set else 2
    goes_on = [done for done in earlier.deeds if NEW in done.phases and done.commits < ends]
    name, line = earlier.rule.name, earlier.rule.place.line
    for done in (done for done in later.deeds if NEW in done.phases):
        pair = _set_otherwise(goes_on, done)
        if pair is not None and not _is_exception(later, earlier) and earlier.overlaps(later, model):
            before, stored = pair
            yield found(
                "L201",
                stored.place,
                f"rule {name!r} in line {line} takes the same events and sets {stored.slot} to {before.value!r}, "
                f"this sets it to {stored.value!r}",
                "let the first one end with commit_set, or make the filters exclude each other",
            )
            return
        drops = not settings.drop_ends and any(before.drops for before in goes_on)
        if drops and done.outside is not None and not done.asks_dropped and earlier.overlaps(later, model):
            yield found(
                "L201",
                done.outside,
                f"rule {name!r} in line {line} drops such events and goes on: this is done for what was dropped, too",
                "begin the action with \\+ received_event_dropped, or end the first one with commit_set",
            )
            return


def _is_exception(later: _Looked, earlier: _Looked) -> bool:
    return later.within(earlier) and not earlier.within(later)


def _set_otherwise(goes_on: Sequence[Deeds], done: Deeds) -> tuple[Stored, Stored] | None:
    """The first slot that one of the actions before gave a constant, and this one gives another for certain."""
    for stored in done.stored:
        if stored.certain and stored.value is not None:
            for before in (one for early in goes_on for one in early.stored if one.slot == stored.slot):
                if before.value not in (None, stored.value):
                    return before, stored
    return None


def _never_reached(before: Sequence[_Looked], later: _Looked) -> Iterator[Diagnostic]:
    """The later rule, when earlier ones commit the set for everything that it takes."""
    phases = {phase for done in later.deeds for phase in done.phases}
    ended: dict[str, _Looked] = {}
    for number, earlier in enumerate(before):
        commits = [phase for phase in (NEW, REDO) if _commits_for_sure(earlier, phase)]
        if not commits or not later.within(earlier):
            continue
        written = frozenset[str]().union(*[other.written for other in before[number + 1 :]])
        if earlier.tests and not written.isdisjoint({*earlier.tests, ""}):
            continue  # what the earlier rule asked for may have become true since
        for phase in commits:
            ended.setdefault(phase, earlier)
    if phases and phases <= ended.keys():
        taker = ended[min(phases)].rule
        yield found(
            "L202",
            later.rule.place,
            f"rule {later.rule.name!r} is never reached: {taker.name!r} in line {taker.place.line} takes every such "
            "event and commits the rule set",
            "put it before that rule",
        )


def _commits_for_sure(looked: _Looked, phase: str) -> bool:
    for done in looked.deeds:
        if phase in done.phases:
            if done.sure == 2:
                return True
            if done.commits:
                return False  # it may end the rule before the commit that is certain
    return False


def _same(rule_set: RuleSet) -> Iterator[Diagnostic]:
    first: dict[object, Rule] = {}
    for rule in rule_set.rules:
        bodies = tuple((action.kind, shape(action.body)) for action in rule.actions)
        conditions = tuple(shape(condition) for condition in conditions_of(rule))
        earlier = first.setdefault((rule.kind, shape(rule.event), shape(rule.attribute), conditions, bodies), rule)
        if earlier is not rule:
            yield found(
                "L203",
                rule.place,
                f"rule {rule.name!r} is the same as {earlier.name!r} in line {earlier.place.line}",
                "take one of them out",
            )
