"""Finds specifications, reads them, and loads the rule base of each; errors of all of them come in one run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from opentec.events.errors import SourceError, SourceErrors
from opentec.rules.profile import Profile
from opentec.rules.rulebase import RuleBase, RuleBaseError, load_rule_base
from opentec.testing.binding import BoundCase, bind
from opentec.testing.results import Result
from opentec.testing.runner import Runner
from opentec.testing.spec import Spec, read_spec


class Group(msgspec.Struct):
    """The tests of one file, with the rule base they run on and its folder as the file names it."""

    folder: Path
    rule_base: RuleBase
    cases: list[BoundCase]


class Collected(msgspec.Struct):
    """Everything that was found under the paths. Nothing may be run while there are `errors`."""

    errors: list[SourceError] = []
    groups: list[Group] = []  # in the order of the paths
    tests: int = 0
    profiles: dict[Path, Profile] = {}  # by folder of the rule base

    def select(self, keyword: str) -> int:
        """Keep the tests whose name contains `keyword`, in any case; gives how many these are."""
        wanted = keyword.casefold()
        for group in self.groups:
            group.cases = [bound for bound in group.cases if wanted in bound.case.name.casefold()]
        self.tests = sum(len(group.cases) for group in self.groups)
        return self.tests

    def run(self, clock: Callable[[], int] | None = None) -> Iterator[Result]:
        """Run the tests one after the other. With a clock of nanoseconds, `profiles` has what rules cost."""
        runners: dict[Path, Runner] = {}
        self.profiles = {}
        for group in self.groups:
            for bound in group.cases:
                runner = runners.get(group.folder)
                if runner is None:
                    profile = None if clock is None else self.profiles.setdefault(group.folder, Profile(clock))
                    runner = runners[group.folder] = Runner(group.rule_base, group.folder, profile)
                yield runner.run(bound)


def find_specs(paths: Iterable[Path]) -> tuple[list[Path], list[SourceError]]:
    """The specifications under the paths, each once: files as given, in folders `tests/*.yaml` and `*.test.yaml`."""
    found: dict[Path, Path] = {}
    errors: list[SourceError] = []
    for path in paths:
        if path.is_dir():
            specs = sorted(_search(path))
        elif path.is_file():
            specs = [path]
        else:
            hint = "name a test file, or a folder with tests/*.yaml or *.test.yaml in it"
            errors.append(SourceError("there is no such file or folder", file=str(path), line=1, column=1, hint=hint))
            continue
        for spec in specs:
            found.setdefault(spec.resolve(), spec)
    return list(found.values()), errors


def _search(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        # hidden folders hold other people's copies: .git, .venv, .tox
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(place)
        in_tests = here.resolve().name == "tests"
        for name in files:
            if name.endswith(".test.yaml") or (in_tests and name.endswith(".yaml") and not name.startswith(".")):
                yield here / name


def collect(paths: Sequence[Path]) -> Collected:
    """Read all specifications under the paths and check them against their rule bases."""
    found, errors = find_specs(paths)
    collected = Collected(errors)
    bases: dict[Path, RuleBase | None] = {}
    for path in found:
        try:
            spec = read_spec(path)
        except SourceErrors as wrong:
            errors += wrong.errors
            continue
        except OSError as wrong:
            errors.append(SourceError(f"cannot be read: {wrong.strerror}", file=str(path), line=1, column=1))
            continue
        folder = Path(os.path.normpath(spec.rule_base))
        if folder not in bases:
            bases[folder] = _load(folder, spec, errors)
        base = bases[folder]
        if base is None:
            continue
        try:
            cases = bind(spec, base.classes)
        except SourceErrors as wrong:
            errors += wrong.errors
            continue
        collected.groups.append(Group(folder, base, cases))
        collected.tests += len(cases)
    return collected


def _load(folder: Path, spec: Spec, errors: list[SourceError]) -> RuleBase | None:
    try:
        return load_rule_base(folder)
    except SourceErrors as wrong:
        errors += wrong.errors
    except RuleBaseError as wrong:
        spec.document.report(spec.rule_base_mark, str(wrong), "'rulebase' is relative to the folder of this file")
        errors.append(spec.document.errors[-1])
    return None
