"""Coverage of rules by their tests: what fired, which conditions held and which did not, what was never reached.

A `Coverage` is a watcher of the engine for one rule base; `data` gives what was seen, as data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from opentec.events.records import Disposition, Kind, Record, Verdict, decode_change, decode_event
from opentec.rules.compiled import CompiledRule, CompiledRules, compile_rules
from opentec.rules.effects import Effects
from opentec.rules.event import CLOSED
from opentec.rules.rulebase import RuleBase
from opentec.rules.user_predicates.calling import load_registry
from opentec.testing.coverage_data import CoverageData, fully_covered, merge, percent
from opentec.testing.coverage_dead import shadowed
from opentec.testing.coverage_plan import Plan, author
from opentec.testing.coverage_report import as_data, lines
from opentec.testing.coverage_rules import CoveredRule, CoveringCompiler, Seen, finish

if TYPE_CHECKING:
    from opentec.testing.spec import Case

__all__ = ["Coverage", "CoverageData", "as_data", "fully_covered", "lines", "merge", "percent"]

_EVENTS = (Kind.EVENT, Kind.NOTICE)


class Coverage:
    """What tests see of one rule base. `folder` is the rule base's as the user gave it, for places.

    Raises SourceErrors where a rule does not compile.
    """

    def __init__(self, rule_base: RuleBase, folder: Path | None = None) -> None:
        self._base = rule_base
        self._folder = folder or Path()
        registry = load_registry(rule_base.user_predicates)
        self._rules = _all(compile_rules(rule_base.rule_sets, rule_base.classes, registry))
        self._plan = Plan(rule_base.rule_sets, self._rules, rule_base.classes, self._folder)
        self._shadowed = tuple(shadowed(self._rules, rule_base.settings, self._folder))
        self._seen = Seen(self._plan.size)

    def watch(self, rules: CompiledRules) -> CompiledRules:
        """The same rules, watched; those of another rule base, as after a reload, stay as they are.

        Raises ValueError where another watcher was there before: rules are compiled again, and it would see nothing.
        """
        found = _all(rules)
        if [rule.source for rule in found] != [rule.source for rule in self._rules]:
            return rules
        if any(type(rule) is not CompiledRule for rule in found):
            raise ValueError("coverage compiles rules again: it must be the first of the watchers")
        base, plan, seen = self._base, self._plan, self._seen
        compiler = CoveringCompiler(base.classes, base.rule_sets, rules.compiler.registry, plan, seen)
        covered = [CoveredRule(rule, compiler, plan.rules[rule.index], seen) for rule in found]
        compiler.marking = False
        return CompiledRules(
            {index: covered[index] for index in rules.plain},
            tuple(covered[rule.index] for rule in rules.timer),
            tuple(covered[rule.index] for rule in rules.change),
            compiler,
        )

    def begin(self, case: Case | None = None) -> None:
        """Another test begins: the timers of the one before are gone."""
        self._seen.timers.clear()

    def saw(self, record: Record, effects: Effects) -> None:
        """Note what the rules were given, whether or not one of them was asked."""
        seen = self._seen
        for event in effects.inserted:
            seen.classes.add(event.shape.name)
        outcome = effects.outcome
        if outcome is None:
            return
        if record.kind in _EVENTS and record.verdict == Verdict.ACCEPTED:
            if outcome.disposition in (Disposition.STORED, Disposition.DROPPED):
                payload = decode_event(record.payload)
                seen.classes.add(payload.class_name)
                if payload.slots.get("status") == CLOSED:
                    seen.asked.add("status")  # of the duplicate that it closes
        elif record.kind == Kind.CHANGE and outcome.disposition == Disposition.APPLIED:
            seen.asked.update(decode_change(record.payload).slots)

    def data(self) -> CoverageData:
        """What was seen so far."""
        plan, seen = self._plan, self._seen
        sides = finish(seen, self._rules, plan, self._base.classes.ancestors)
        return CoverageData(
            str(self._folder),
            self._base.content_hash,
            tuple(plan.items),
            tuple(plan.tried),
            self._shadowed,
            sides,
            {name: sorted(by) for name, by in self._ended(sides)},
        )

    def _ended(self, sides: bytes) -> Iterator[tuple[str, set[str]]]:
        """For each rule that was never tried those that ended evaluation of an event of its class before it."""
        for rule, plan in zip(self._rules, self._plan.rules, strict=True):
            if sides[plan.tried]:
                continue
            by = set()
            for index, class_name, halts in self._seen.ended:
                other = self._rules[index]
                concerns = rule.filter.classes is None or class_name in rule.filter.classes
                before = index < rule.index and rule.source.kind == other.source.kind
                if concerns and before and (halts or other.rule_set == rule.rule_set):
                    by.add(_name(other))
            if by:
                yield _name(rule), by


def _name(rule: CompiledRule) -> str:
    return f"{rule.set_name}/{author(rule.source)}"


def _all(rules: CompiledRules) -> list[CompiledRule]:
    """All rules by index, which counts those of all kinds together."""
    every: Iterable[CompiledRule] = (*rules.plain.values(), *rules.timer, *rules.change)
    return sorted(every, key=lambda rule: rule.index)
