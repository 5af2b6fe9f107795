"""Trying mutants: which tests can notice one, and whether one of them does.

Tests are first run on the rules as they are. What they touched decides which are tried against a mutant, and in which
order: those of its rule first, cheap ones before dear ones.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from time import process_time
from typing import Final

import msgspec

from opentec.events.errors import SourceError, SourceErrors
from opentec.events.records import Record
from opentec.rules.ast import Rule, RuleSet
from opentec.rules.checker import check_rules
from opentec.rules.effects import Effects
from opentec.rules.profile import Profile
from opentec.rules.rulebase import RuleBase
from opentec.rules.user_predicates.checking import Checked
from opentec.testing.binding import BoundCase
from opentec.testing.mutation_operators import Mutant, callers
from opentec.testing.mutation_swap import Swap
from opentec.testing.results import Result
from opentec.testing.runner import Runner

# a test of a mutant may have this many times the records that it has on the rules as they are, and some more
MORE: Final = 3
SOME: Final = 1000
LONGEST: Final = 10.0  # seconds of the processor for one test of a mutant, whose rules may run up to the step limit


class MutationError(Exception):
    """The rules cannot be mutated as they are: a test fails without that, or there is no such rule set."""


class Base(msgspec.Struct, frozen=True):
    """A rule base with its folder as the user gave it."""

    folder: Path
    rule_base: RuleBase


class Trace(msgspec.Struct, frozen=True):
    """What a test did on the rules as they are."""

    __test__ = False

    base: int
    matched: frozenset[str]  # RULE_SET/RULE
    steps: int
    records: int


class Tried(msgspec.Struct, frozen=True):
    """What came of a mutant."""

    outcome: str  # "killed", "survived", "invalid"
    by: str = ""  # of one that was killed: the test, as FILE:LINE: NAME
    tests: int = 0  # that ran
    said: str = ""  # of an invalid one: why it does not compile


class _TooLongError(Exception):
    pass


class _Records:
    """Counts the records of a test, and ends one that has too many or takes too long."""

    def __init__(self) -> None:
        self.count = 0
        self._most = 0
        self._until = 0.0

    def begin(self, most: int) -> None:
        """A test begins; with `most` it is limited."""
        self.count, self._most, self._until = 0, most, process_time() + LONGEST

    def saw(self, record: Record, effects: Effects) -> None:
        self.count += 1
        if self._most and (self.count > self._most or process_time() > self._until):
            raise _TooLongError


class _Runner(Runner):
    """Nobody reads why a mutant failed."""

    def run(self, bound: BoundCase) -> Result:
        return self._run(bound, self._saw)


class _Bench:
    """The tests of a rule base, ready to run. `broken` when a test has left it in the middle of a record."""

    def __init__(self, base: Base) -> None:
        self.swap = Swap()
        self.broken = False
        self._records = _Records()
        self._runner = _Runner(base.rule_base, base.folder, self.swap, self._records.saw)

    def put(self, rule: Rule, mutant: Rule | None) -> None:
        """Have a rule replaced, or left out; from the activation on, which may be what shows it."""
        self._runner.forget()
        self.swap.put(rule, mutant)

    def passes(self, bound: BoundCase, most: int) -> bool:
        """Whether a test passes with at most so many records."""
        self._records.begin(most)
        try:
            return self._runner.run(bound).passed
        except Exception:  # a mutant may break anything, and then it was noticed
            self.broken = True
            return False


class Trial:
    """The tests of some rule bases, ready to be tried against mutants of their rule sets."""

    def __init__(self, bases: Sequence[Base], tests: Sequence[tuple[int, BoundCase]]) -> None:
        self.bases = list(bases)
        self.tests = list(tests)
        self.traces: list[Trace] = []
        self._benches: dict[int, _Bench] = {}  # by rule base

    def trace(self) -> None:
        """Run every test on the rules as they are. Raises MutationError when one fails."""
        traces: dict[int, Trace] = {}
        for index, base in enumerate(self.bases):
            profile, records = Profile(lambda: 0), _Records()
            runner = Runner(base.rule_base, base.folder, profile, records.saw)
            before: dict[str, tuple[int, int]] = {}
            for number, (of_base, bound) in enumerate(self.tests):
                if of_base != index:
                    continue
                records.begin(0)
                runner.forget()  # rules that configure are tried in every test
                if not runner.run(bound).passed:
                    raise MutationError(f"{_named(bound)} fails on the rules as they are; mutants need tests that pass")
                costs = {cost.rule: (cost.matched, cost.steps + cost.tried) for cost in profile.costs()}
                known = {rule: before.get(rule, (0, 0)) for rule in costs}
                matched = frozenset(rule for rule, (count, _) in costs.items() if count > known[rule][0])
                steps = sum(spent - known[rule][1] for rule, (_, spent) in costs.items())
                traces[number] = Trace(index, matched, steps, records.count)
                before = costs
        self.traces = [traces[number] for number in range(len(self.tests))]

    def run(self, mutant: Mutant, original: RuleSet) -> Tried:
        """Try a mutant of a rule set against its tests, up to the first that fails."""
        concerned = [index for index, base in enumerate(self.bases) if original in base.rule_base.rule_sets]
        said = _refused(self._changed(concerned[0], mutant, original))
        if said:
            return Tried("invalid", said=said)
        benches: dict[int, _Bench] = {}
        ran = 0
        try:
            for number in self.order(mutant, set(concerned)) or (-1,):
                index = self.tests[number][0] if number >= 0 else concerned[0]
                if index not in benches:
                    benches[index] = self._bench(index, mutant, original)
                if number >= 0:
                    ran += 1
                    bound = self.tests[number][1]
                    if not benches[index].passes(bound, MORE * self.traces[number].records + SOME):
                        return Tried("killed", _named(bound), ran)
        except SourceErrors as errors:
            return Tried("invalid", said=str(errors.errors[0]))
        except SourceError as error:
            return Tried("invalid", said=str(error))
        finally:
            for bench in benches.values():
                bench.swap.restore()
        return Tried("survived", tests=ran)

    def _changed(self, index: int, mutant: Mutant, original: RuleSet) -> RuleBase:
        base = self.bases[index].rule_base
        sets = tuple(mutant.rule_set if one == original else one for one in base.rule_sets)
        return msgspec.structs.replace(base, rule_sets=sets)

    def _bench(self, index: int, mutant: Mutant, original: RuleSet) -> _Bench:
        """A place where the tests of a rule base run on the mutant. Raises as the compiler does."""
        base = self.bases[index]
        if mutant.number < 0:
            return _Bench(msgspec.structs.replace(base, rule_base=self._changed(index, mutant, original)))
        bench = self._benches.get(index)
        if bench is None or bench.broken:
            bench = self._benches[index] = _Bench(base)
        rules = next(one for one in base.rule_base.rule_sets if one == original).rules
        same = len(rules) == len(mutant.rule_set.rules)
        bench.put(rules[mutant.number], mutant.rule_set.rules[mutant.number] if same else None)
        return bench

    def order(self, mutant: Mutant, concerned: set[int]) -> list[int]:
        """The tests that may notice a mutant, the most promising first."""
        rules = {index: self._touched(mutant, index) for index in concerned}
        prefix = f"{mutant.rule_set.name}/"
        ranked = []
        for number, trace in enumerate(self.traces):
            if trace.base not in concerned:
                continue
            touched = len(rules[trace.base] & trace.matched)
            if touched or mutant.widens:
                near = sum(rule.startswith(prefix) for rule in trace.matched)
                ranked.append((not touched, -near, trace.steps, number))
        return [number for *_, number in sorted(ranked)]

    def _touched(self, mutant: Mutant, index: int) -> frozenset[str]:
        if not mutant.clause:
            return frozenset((mutant.rule,))
        return callers(self.bases[index].rule_base.rule_sets, mutant.clause)

    def encode(self) -> bytes:
        """All of it for another process of ours, which gets it from `decode`."""
        bases = [(base.folder, base.rule_base.encode()) for base in self.bases]
        return pickle.dumps((bases, self.tests, self.traces))

    @classmethod
    def decode(cls, data: bytes) -> Trial:
        """What `encode` of this program gave."""
        bases, tests, traces = pickle.loads(data)  # noqa: S301  from the process that started this one
        trial = cls([Base(folder, RuleBase.decode(encoded)) for folder, encoded in bases], tests)
        trial.traces = traces
        return trial


def _refused(base: RuleBase) -> str:
    """Why this rule base would not be loaded, or ""."""
    checked = Checked(base.user_predicates)
    errors = check_rules(base.rule_sets, base.classes, checked.arities, registry=checked.registry, reach=True)
    return str(errors[0]) if errors else ""


def _named(bound: BoundCase) -> str:
    return f"{bound.case.file}:{bound.case.mark.line}: {bound.case.name}"
