"""Mutation testing of rules: break one thing after the other, and see whether a test notices.

    collected = collect([Path("rules/default")])
    report = mutate(collected, rule_sets=["duplicates"], jobs=2)
    print("\\n".join(report.lines()))

A rule base is data, so a mutant is the same data with one rule set changed. What is broken, and what is left alone, is
in docs/testing-rules.md, "Mutation".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from opentec.events.errors import SourceError
from opentec.events.names import nearest
from opentec.rules.ast import RuleSet
from opentec.testing.collection import Collected
from opentec.testing.mutation_marks import Mark, read_marks, stale
from opentec.testing.mutation_operators import Mutant, mutants
from opentec.testing.mutation_report import MutationReport, Outcome, SetScore
from opentec.testing.mutation_trial import Base, MutationError, Trial, Tried
from opentec.testing.workers import workers

__all__ = ["MutationError", "MutationReport", "mutate"]

_CHUNK: Final = 8  # mutants that a process takes at once


class Subject(msgspec.Struct, frozen=True):
    """A rule set to be mutated, in the first rule base that has it."""

    base: int
    rule_set: RuleSet


def mutate(
    collected: Collected,
    *,
    rule_sets: Sequence[str] = (),
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> MutationReport:
    """Mutate rule sets and run the tests on every mutant.

    `rule_sets` are names; without them all are mutated. A rule set that several of the rule bases have in common is
    mutated in all of them together, and may be defended by the tests of each. `progress` is called with the number of
    mutants that were tried and that of all. Raises MutationError when a test fails on the rules as they are, or when
    there is no rule set of a name.
    """
    trial = _trial(collected)
    subjects = _subjects(trial.bases, rule_sets)
    found = [_mutants(trial.bases, subject) for subject in subjects]
    trial.trace()
    todo = [(index, number) for index, some in enumerate(found) for number in range(len(some))]
    tried: dict[tuple[int, int], Tried] = {}
    for key, outcome in _run(trial, subjects, found, todo, jobs):
        tried[key] = outcome
        if progress is not None:
            progress(len(tried), len(todo))
    scores, errors = [], []
    for index, subject in enumerate(subjects):
        folder = trial.bases[subject.base].folder
        file = str(folder / subject.rule_set.file)
        marks, wrong = _marks(folder / subject.rule_set.file, file)
        errors += [*wrong, *stale(marks, found[index])]
        outcomes = []
        for number, mutant in enumerate(found[index]):
            judged, more = _judge(mutant, file, tried[index, number], marks)
            outcomes.append(judged)
            errors += more
        scores.append(SetScore(subject.rule_set.name, file, tuple(outcomes)))
    return MutationReport(tuple(scores), tuple(errors))


def _trial(collected: Collected) -> Trial:
    bases: list[Base] = []
    tests = []
    for group in collected.groups:
        base = Base(group.folder, group.rule_base)
        index = next((number for number, one in enumerate(bases) if _is_same(one, base)), len(bases))
        if index == len(bases):
            bases.append(base)
        tests += [(index, bound) for bound in group.cases]
    return Trial(bases, tests)


def _is_same(one: Base, other: Base) -> bool:
    first, second = one.rule_base, other.rule_base
    if first is second:
        return True
    return (one.folder, first.content_hash, first.settings) == (other.folder, second.content_hash, second.settings)


def _subjects(bases: Sequence[Base], names: Sequence[str]) -> list[Subject]:
    found: list[Subject] = []
    for index, base in enumerate(bases):
        for rule_set in base.rule_base.rule_sets:
            if (not names or rule_set.name in names) and not any(one.rule_set == rule_set for one in found):
                found.append(Subject(index, rule_set))
    known = {rule_set.name for base in bases for rule_set in base.rule_base.rule_sets}
    for name in names:
        if name not in known:
            near = nearest(name, sorted(known))
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(sorted(known)) or 'none'}"
            raise MutationError(f"no rule set {name!r} is tested here; {hint}")
    return found


def _mutants(bases: Sequence[Base], subject: Subject) -> list[Mutant]:
    base = bases[subject.base].rule_base
    return mutants(subject.rule_set, base.classes, base.rule_sets)


def _marks(path: Path, file: str) -> tuple[list[Mark], list[SourceError]]:
    try:
        return read_marks(path.read_text(encoding="utf-8-sig", errors="replace"), file)
    except FileNotFoundError:  # a rule base that was compiled elsewhere
        return [], []


def _judge(mutant: Mutant, file: str, tried: Tried, marks: Sequence[Mark]) -> tuple[Outcome, list[SourceError]]:
    kind, by, errors = tried.outcome, tried.by or tried.said, list[SourceError]()
    for mark in marks:
        if not mark.means(mutant):
            continue
        if kind == "survived":
            kind, by = "equivalent", mark.reason
        elif kind == "killed":
            errors.append(mark.error(f"{mutant.name} is not equivalent: {tried.by} fails", "take the mark out"))
    outcome = Outcome(
        mutant=mutant.name,
        operator=mutant.operator,
        file=file,
        line=mutant.place.line,
        column=mutant.place.column,
        diff=tuple(mutant.diff),
        outcome=kind,
        by=by,
        tests=tried.tests,
    )
    return outcome, errors


def _run(
    trial: Trial,
    subjects: Sequence[Subject],
    found: Sequence[Sequence[Mutant]],
    todo: Sequence[tuple[int, int]],
    jobs: int,
) -> Iterator[tuple[tuple[int, int], Tried]]:
    if jobs <= 1 or len(todo) <= _CHUNK:
        for index, number in todo:
            yield (index, number), trial.run(found[index][number], subjects[index].rule_set)
        return
    # the mutants are made again there
    with workers(jobs, _start, trial.encode(), _positions(trial, subjects)) as pool:
        chunks = [todo[begin : begin + _CHUNK] for begin in range(0, len(todo), _CHUNK)]
        for trying in [pool.submit(_try, chunk) for chunk in chunks]:
            yield from trying.result()


def _positions(trial: Trial, subjects: Sequence[Subject]) -> list[tuple[int, int]]:
    return [(one.base, trial.bases[one.base].rule_base.rule_sets.index(one.rule_set)) for one in subjects]


_work: tuple[Trial, list[Subject], list[list[Mutant]]]  # of a process that tries mutants


def _start(data: bytes, positions: Sequence[tuple[int, int]]) -> None:
    global _work
    trial = Trial.decode(data)
    subjects = [Subject(base, trial.bases[base].rule_base.rule_sets[number]) for base, number in positions]
    _work = trial, subjects, [_mutants(trial.bases, subject) for subject in subjects]


def _try(chunk: Sequence[tuple[int, int]]) -> list[tuple[tuple[int, int], Tried]]:
    trial, subjects, found = _work
    return [((index, number), trial.run(found[index][number], subjects[index].rule_set)) for index, number in chunk]
