"""What mutation testing found, as lines for people and as data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from opentec.events.errors import SourceError


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one mutant."""

    mutant: str  # RULE_SET/RULE:OPERATOR@LINE:COLUMN
    operator: str
    file: str
    line: int
    column: int
    diff: tuple[str, ...]
    outcome: str  # "killed", "survived", "equivalent", "invalid"
    by: str = ""  # of a killed one: the test that failed; of an equivalent one: the reason that its mark gives
    tests: int = 0  # that ran on it


class SetScore(msgspec.Struct, frozen=True):
    """The mutants of one rule set."""

    rule_set: str
    file: str
    outcomes: tuple[Outcome, ...]

    def count(self, outcome: str) -> int:
        """How many mutants ended so."""
        return sum(one.outcome == outcome for one in self.outcomes)

    @property
    def score(self) -> int:
        """Killed mutants of those that count, in percent, rounded down; 100 where there are none."""
        return _percent(self.count("killed"), self.count("survived"))


class MutationReport(msgspec.Struct, frozen=True):
    """What came of every mutant. With `errors`, in marks of equivalents, the score is not to be trusted."""

    rule_sets: tuple[SetScore, ...]
    errors: tuple[SourceError, ...] = ()

    @property
    def score(self) -> int:
        """The score over all rule sets, in percent, rounded down."""
        return _percent(*(sum(one.count(outcome) for one in self.rule_sets) for outcome in ("killed", "survived")))

    @property
    def lowest(self) -> int:
        """The score of the rule set with the lowest one."""
        return min((one.score for one in self.rule_sets), default=100)

    def survivors(self) -> list[Outcome]:
        """The mutants that no test has noticed."""
        return [one for found in self.rule_sets for one in found.outcomes if one.outcome == "survived"]

    def lines(self) -> list[str]:
        """The report for a terminal: survivors with what was changed, then a line for each rule set."""
        return [str(error) for error in self.errors] + list(self._lines())

    def _lines(self) -> Iterator[str]:
        for one in self.survivors():
            ran = "no test runs it" if not one.tests else f"{one.tests} test{'s' * (one.tests != 1)} passed"
            yield f"{one.file}:{one.line}:{one.column}: survived: {one.mutant}; {ran}"
            yield from (f"    {line}" for line in one.diff)
        for found in self.rule_sets:
            for one in found.outcomes:
                if one.outcome == "equivalent":
                    yield f"{one.file}:{one.line}:{one.column}: equivalent: {one.mutant}: {one.by}"
        width = max((len(found.rule_set) for found in self.rule_sets), default=0)
        for found in self.rule_sets:
            killed, survived = found.count("killed"), found.count("survived")
            more = [f"{found.count(kind)} {said}" for kind, said in _NOT_COUNTED if found.count(kind)]
            text = f"{found.rule_set:{width}}  {found.score:3d} %  {killed} of {killed + survived} mutants killed"
            yield f"{text}; {', '.join(more)}" if more else text
        yield f"mutation score: {self.score} %"

    def as_data(self) -> dict[str, Any]:
        """The same for JSON. Killed mutants have the test that noticed them, invalid ones are only counted."""
        return {
            "score": self.score,
            "errors": [str(error) for error in self.errors],
            "rule_sets": [
                {
                    "rule_set": found.rule_set,
                    "file": found.file,
                    "score": found.score,
                    **{kind: found.count(kind) for kind in ("killed", "survived", "equivalent", "invalid")},
                    "mutants": [
                        {key: value for key, value in msgspec.to_builtins(one).items() if value != ""}
                        for one in found.outcomes
                        if one.outcome != "invalid"
                    ],
                }
                for found in self.rule_sets
            ],
        }


_NOT_COUNTED = (("equivalent", "equivalent"), ("invalid", "do not compile"))


def _percent(killed: int, survived: int) -> int:
    return 100 * killed // (killed + survived) if killed + survived else 100
