"""Runs collected tests, in this process or in several, and gives the results in the order of the tests.

A worker is a new Python (`spawn`, the only way that there is on every platform). It gets rule bases in their compiled
form and chunks of tests, and makes an engine for each rule base once. What its watchers saw goes back with every chunk,
as the sum until then, so what counts is the last of each worker.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter, perf_counter_ns
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from opentec.events.errors import EventError, SourceError, SourceErrors
from opentec.rules.profile import Cost, Profile
from opentec.rules.rulebase import RuleBase
from opentec.rules.watching import Watcher, Watchers
from opentec.testing.binding import BoundCase
from opentec.testing.results import Result
from opentec.testing.runner import Runner

if TYPE_CHECKING:
    from concurrent.futures import Future

    from opentec.testing.collection import Collected
    from opentec.testing.coverage import Coverage, CoverageData

MAX_JOBS: Final = 256
_CHUNKS: Final = 8  # of each process: enough that none waits long for the last
_LONGEST: Final = 50  # tests of one chunk
_AHEAD: Final = 4  # chunks of each process that are handed over before they can begin


class Watching(NamedTuple):
    """What is watched while tests run."""

    costs: bool = False
    coverage: bool = False


NOTHING: Final = Watching()


class Seen(msgspec.Struct):
    """What the watchers saw of one rule base."""

    costs: list[Cost] = []
    coverage: CoverageData | None = None


class Outcome(NamedTuple):
    """A test that ran, and for how many seconds."""

    result: Result
    seconds: float


class ProcessLost(EventError):
    """A process that ran tests is gone, and with it what it knew."""


class Session:
    """Runs tests of several rule bases in this process; an engine is made for each when it is needed first."""

    def __init__(self, rule_bases: Mapping[Path, RuleBase], watching: Watching = NOTHING) -> None:
        self._rule_bases = rule_bases
        self._watching = watching
        self._runners: dict[Path, Runner] = {}
        self._profiles: dict[Path, Profile] = {}
        self._coverages: dict[Path, Coverage] = {}

    def run(self, folder: Path, bound: BoundCase) -> Result:
        """Run one test. Raises SourceErrors where rules or the test turn out wrong only now."""
        runner = self._runners.get(folder)
        if runner is None:
            runner = self._runners[folder] = self._runner(folder)
        if folder in self._coverages:
            self._coverages[folder].begin(bound.case)
        try:
            return runner.run(bound)
        except SourceError as error:
            raise SourceErrors([error]) from None

    def _runner(self, folder: Path) -> Runner:
        base = self._rule_bases[folder]
        watchers: list[Watcher] = []
        saw = None
        if self._watching.coverage:
            from opentec.testing.coverage import Coverage

            coverage = self._coverages[folder] = Coverage(base, folder)
            watchers.append(coverage)
            saw = coverage.saw
        if self._watching.costs:
            profile = self._profiles[folder] = Profile(perf_counter_ns)
            watchers.append(profile)
        return Runner(base, folder, Watchers(*watchers) if watchers else None, saw)

    def seen(self) -> dict[Path, Seen]:
        """What the watchers saw so far, by folder of the rule base."""
        found = {}
        for folder in self._runners:
            costs = self._profiles[folder].costs() if folder in self._profiles else []
            coverage = self._coverages[folder].data() if folder in self._coverages else None
            found[folder] = Seen(costs, coverage)
        return found


class Run:
    """One run of collected tests. Iterate once; `seen` then says what was watched.

    Ends early by `close`, which ends the processes in the middle of what they do. Raises SourceErrors as `Session.run`
    does, and ProcessLost.
    """

    def __init__(self, collected: Collected, jobs: int = 1, watching: Watching = NOTHING) -> None:
        self.seen: dict[Path, Seen] = {}
        self._collected = collected
        self._watching = watching
        self._outcomes = self._several(jobs) if min(jobs, collected.tests) > 1 else self._here()

    def __iter__(self) -> Iterator[Outcome]:
        return self._outcomes

    def close(self) -> None:
        """Run no further test."""
        self._outcomes.close()

    def _rule_bases(self) -> dict[Path, RuleBase]:
        return {group.folder: group.rule_base for group in self._collected.groups}

    def _here(self) -> Generator[Outcome, None, None]:
        session = Session(self._rule_bases(), self._watching)
        try:
            for group, bound in self._collected.order:
                begun = perf_counter()
                result = session.run(group.folder, bound)
                yield Outcome(result, perf_counter() - begun)
        finally:
            self.seen = session.seen()

    def _several(self, jobs: int) -> Generator[Outcome, None, None]:
        from concurrent.futures.process import BrokenProcessPool

        from opentec.testing.workers import workers

        order = self._collected.order
        size = min(_LONGEST, -(-len(order) // (jobs * _CHUNKS)))
        chunks = [
            [(group.folder, bound) for group, bound in order[at : at + size]] for at in range(0, len(order), size)
        ]
        jobs = min(jobs, len(chunks), MAX_JOBS)
        compiled = {folder: base.encode() for folder, base in self._rule_bases().items()}
        seen: dict[int, dict[Path, Seen]] = {}
        try:
            with workers(jobs, _begin, compiled, self._watching) as pool:
                waiting: deque[Future[_Done]] = deque()
                left = iter(chunks)
                while True:
                    while len(waiting) < jobs * _AHEAD and (chunk := next(left, None)) is not None:
                        waiting.append(pool.submit(_work, chunk))
                    if not waiting:
                        return
                    done = waiting.popleft().result()
                    seen[done.process] = done.seen
                    yield from done.outcomes
                    if done.errors:
                        raise SourceErrors(done.errors_again())
        except BrokenProcessPool as error:
            text = "a process that ran tests ended by itself, or for want of memory; -j 1 shows at which test"
            raise ProcessLost(text) from error
        finally:
            self.seen = together(list(seen.values()))


class _Error(NamedTuple):
    """A SourceError on its way between processes: exceptions with keywords do not travel."""

    message: str
    file: str
    line: int
    column: int
    source_line: str
    hint: str


class _Done(NamedTuple):
    process: int
    outcomes: list[Outcome]
    seen: dict[Path, Seen]
    errors: list[_Error]  # of the test behind those

    def errors_again(self) -> list[SourceError]:
        return [
            SourceError(e.message, file=e.file, line=e.line, column=e.column, source_line=e.source_line, hint=e.hint)
            for e in self.errors
        ]


_session: Session | None = None  # of a worker


def _begin(compiled: Mapping[Path, bytes], watching: Watching) -> None:
    global _session
    _session = Session({folder: RuleBase.decode(data) for folder, data in compiled.items()}, watching)


def _work(chunk: Sequence[tuple[Path, BoundCase]]) -> _Done:
    session = _session
    assert session is not None  # _begin ran
    outcomes: list[Outcome] = []
    errors: list[_Error] = []
    for folder, bound in chunk:
        begun = perf_counter()
        try:
            result = session.run(folder, bound)
        except SourceErrors as wrong:
            errors = [_Error(e.message, e.file, e.line, e.column, e.source_line, e.hint) for e in wrong.errors]
            break
        outcomes.append(Outcome(result, perf_counter() - begun))
    return _Done(os.getpid(), outcomes, session.seen(), errors)


def together(parts: Sequence[Mapping[Path, Seen]]) -> dict[Path, Seen]:
    """What several processes saw, as if it had been one."""
    folders = sorted({folder for part in parts for folder in part})
    return {folder: _sum([part[folder] for part in parts if folder in part]) for folder in folders}


def _sum(parts: Sequence[Seen]) -> Seen:
    coverages = [part.coverage for part in parts if part.coverage is not None]
    if not coverages:
        return Seen(_costs([part.costs for part in parts]))
    from opentec.testing.coverage import merge

    return Seen(_costs([part.costs for part in parts]), merge(coverages))


def _costs(parts: Sequence[Sequence[Cost]]) -> list[Cost]:
    sums: dict[str, Cost] = {}
    for cost in (cost for part in parts for cost in part):
        total = sums.setdefault(cost.rule, Cost(cost.rule, cost.place))
        for name in ("tried", "matched", "actions", "steps", "nanoseconds"):
            setattr(total, name, getattr(total, name) + getattr(cost, name))
    return sorted(sums.values(), key=lambda cost: (-cost.nanoseconds, cost.rule))
