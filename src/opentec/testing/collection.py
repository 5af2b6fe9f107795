"""Finds specifications, reads them, and loads the rule base of each; errors of all of them come in one run."""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from opentec.events.errors import SourceError, SourceErrors
from opentec.rules.compiled_cache import load_cached
from opentec.rules.rulebase import RuleBase, RuleBaseError
from opentec.rules.rulebase_sources import RULE_SETS, RULES
from opentec.testing.binding import BoundCase, bind
from opentec.testing.spec import Spec, read_spec
from opentec.testing.targets import Target, parse_target, pick

if TYPE_CHECKING:
    from opentec.testing.results import Result

MAX_FILES: Final = 100_000  # test files of one run
_EXAMPLES: Final = ".rls"


class Group(msgspec.Struct):
    """The tests of one file, with the rule base they run on and its folder as the file names it."""

    folder: Path
    rule_base: RuleBase
    cases: list[BoundCase]


class Collected(msgspec.Struct):
    """Everything that was found under the paths. Nothing may be run while there are `errors`."""

    errors: list[SourceError] = []
    groups: list[Group] = []  # in the order of the paths
    order: list[tuple[Group, BoundCase]] = []  # what shall run, in this order
    known: dict[str, frozenset[str]] = {}  # names of all tests of the files that were read whole, by file
    passed_over: list[Path] = []  # files that would be tests if they ended in .yaml

    @property
    def tests(self) -> int:
        """How many shall run."""
        return len(self.order)

    def select(self, keyword: str) -> int:
        """Keep the tests whose name contains `keyword`, in any case; gives how many these are."""
        wanted = keyword.casefold()
        return self.keep(lambda group, bound: wanted in bound.case.name.casefold())

    def keep(self, wanted: Callable[[Group, BoundCase], bool]) -> int:
        """Keep the tests that are wanted; gives how many these are."""
        self.order = [(group, bound) for group, bound in self.order if wanted(group, bound)]
        kept = {id(bound) for _, bound in self.order}
        for group in self.groups:
            group.cases = [bound for bound in group.cases if id(bound) in kept]
        return self.tests

    def shuffle(self, seed: int) -> None:
        """Bring the tests into the order of that seed: the same for the same tests on every machine."""
        random.Random(seed).shuffle(self.order)  # noqa: S311 - an order, not a secret

    def run(self) -> Iterator[Result]:
        """Run the tests one after the other, in this process."""
        from opentec.testing.jobs import Session

        session = Session({group.folder: group.rule_base for group in self.groups})
        for group, bound in self.order:
            yield session.run(group.folder, bound)


def find_specs(paths: Iterable[Path]) -> tuple[list[Path], list[SourceError]]:
    """The specifications under the paths, each once: files as given, in folders `tests/*.yaml` and `*.test.yaml`."""
    found = _find(Target(path) for path in paths)
    return [path for path, _ in found.files.values()], found.errors


class _Found(msgspec.Struct):
    files: dict[Path, tuple[Path, list[Target]]] = {}  # by the real path
    searched: set[Path] = set()  # those of `files` that were not named, but found in a folder
    rule_bases: dict[Path, Path] = {}  # folders that were met, by the real path
    errors: list[SourceError] = []
    passed_over: list[Path] = []  # as of Collected


def _find(targets: Iterable[Target]) -> _Found:
    found = _Found()
    for target in targets:
        path = target.path
        if path.is_dir():
            bases: list[Path] = []
            others: list[Path] = []
            specs = sorted(_search(path, bases, others))
            found.passed_over += sorted(others)
            found.searched.update(spec.resolve() for spec in specs)
            for base in sorted(bases):
                found.rule_bases.setdefault(base.resolve(), base)
        elif path.is_file():
            specs = [path]
        else:
            hint = "name a test file, or a folder with tests/*.yaml or *.test.yaml in it"
            wrong = SourceError("there is no such file or folder", file=str(path), line=1, column=1, hint=hint)
            found.errors.append(wrong)
            continue
        for spec in specs:
            if len(found.files) == MAX_FILES:
                hint = "name the folders of the rule bases"
                text = f"there are more than {MAX_FILES} test files"
                found.errors.append(SourceError(text, file=str(path), line=1, column=1, hint=hint))
                return found
            found.files.setdefault(spec.resolve(), (spec, []))[1].append(target._replace(path=spec))
    return found


def _search(folder: Path, rule_bases: list[Path], passed_over: list[Path]) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        # hidden folders hold other people's copies: .git, .venv, .tox
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(place)
        if RULES in folders and (here / RULE_SETS).is_file():
            rule_bases.append(here)
        in_tests = here.resolve().name == "tests"
        for name in files:
            if name.endswith(".test.yaml") or (in_tests and name.endswith(".yaml") and not name.startswith(".")):
                yield here / name
            elif name.endswith(".test.yml") or (in_tests and name.endswith(".yml") and not name.startswith(".")):
                passed_over.append(here / name)


def collect(paths: Sequence[str | Path], cache: Path | None = None) -> Collected:
    """Read all specifications under the paths and check them against their rule bases.

    A path may be `FILE:LINE` or `FILE::NAME`, and a file of rules, for the examples in it. `cache` is the folder of
    compiled rule bases; None compiles them.
    """
    was_on = gc.isenabled()
    # what is read stays; to look for cycles in it again and again takes longer than to read it
    gc.disable()
    try:
        collecting = _Collecting(_find(parse_target(path) for path in paths), cache)
        collecting.specs()
        collecting.examples()
    finally:
        if was_on:
            gc.enable()
    return collecting.collected


class _Collecting:
    def __init__(self, found: _Found, cache: Path | None) -> None:
        self.found = found
        self.cache = cache
        self.collected = Collected(found.errors, passed_over=found.passed_over)
        self.bases: dict[Path, tuple[Path, RuleBase | None]] = {}  # by the real path
        self.done: set[Path] = set()  # files of rules whose examples were taken

    def specs(self) -> None:
        """The files of tests."""
        errors = self.collected.errors
        for real, (path, targets) in self.found.files.items():
            if path.suffix == _EXAMPLES:
                continue
            try:
                spec = read_spec(path)
            except SourceErrors as wrong:
                errors += wrong.errors
                continue
            except OSError as wrong:
                errors.append(SourceError(f"cannot be read: {wrong.strerror}", file=str(path), line=1, column=1))
                continue
            folder = Path(os.path.normpath(spec.rule_base))
            if real in self.found.searched:
                self.found.rule_bases.setdefault(folder.resolve(), folder)
            self._take(spec, folder, targets)

    def examples(self) -> None:
        """The examples in the comments of rules: of rule bases that were met in folders, and of files by name."""
        for folder in self.found.rule_bases.values():
            self._examples(folder, None)
        for path, targets in self.found.files.values():
            if path.suffix == _EXAMPLES:
                self._examples(Path(os.path.normpath(path.parent / "..")), path, targets)

    def _examples(self, folder: Path, only: Path | None, targets: Sequence[Target] = ()) -> None:
        from opentec.testing.inline import find_examples

        if not (folder / RULE_SETS).is_file():
            if only is not None:
                text = f"{folder} is no rule base, so the examples of this file cannot run"
                hint = f"a file of rules stands in {RULES} of its rule base"
                self.collected.errors.append(SourceError(text, file=str(only), line=1, column=1, hint=hint))
            return
        try:
            specs = find_examples(folder)
        except SourceErrors as wrong:
            self.collected.errors += wrong.errors
            return
        except RuleBaseError:
            return  # one with tests is reported where they name it, and one without has nothing to run
        for spec in specs:
            real = spec.path.resolve()
            if real not in self.done and (only is None or real == only.resolve()):
                self.done.add(real)
                self._take(spec, folder, targets or [Target(spec.path)])

    def _take(self, spec: Spec, folder: Path, targets: Sequence[Target]) -> None:
        collected = self.collected
        folder, base = self._rule_base(folder, spec)
        if base is None:
            return
        try:
            cases = bind(spec, base.classes, rule_base=base)
        except SourceErrors as wrong:
            collected.errors += wrong.errors
            return
        for bound in cases[:1]:
            collected.known[bound.case.file] = frozenset(other.case.name for other in cases)
        cases, missing = pick(cases, targets)
        collected.errors += missing
        group = Group(folder, base, cases)
        collected.groups.append(group)
        collected.order += [(group, bound) for bound in cases]

    def _rule_base(self, folder: Path, spec: Spec) -> tuple[Path, RuleBase | None]:
        """The rule base of a folder, under the name by which it was met first."""
        real = folder.resolve()
        if real not in self.bases:
            self.bases[real] = folder, self._load(folder, spec)
        return self.bases[real]

    def _load(self, folder: Path, spec: Spec) -> RuleBase | None:
        errors = self.collected.errors
        try:
            return load_cached(folder, self.cache)
        except SourceErrors as wrong:
            errors += wrong.errors
        except RuleBaseError as wrong:
            spec.document.report(spec.rule_base_mark, str(wrong), "'rulebase' is relative to the folder of this file")
            errors.append(spec.document.errors[-1])
        return None
