"""What `tec test` does: collect, select, run, report; the exit status says how it ended."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from opentec.commands.cli import Failure, Status
from opentec.commands.test import TestStatus, Wishes
from opentec.commands.test_output import Output, check_writable, parse_annotations

if TYPE_CHECKING:
    from opentec.testing.collection import Collected
    from opentec.testing.jobs import Outcome, Seen


def run(wishes: Wishes, environment: Mapping[str, str] = os.environ) -> TestStatus:
    """Run the tests that are asked for and print what came of it. Raises Failure where the command line is wrong."""
    _print_everything(wishes.json)
    annotations = parse_annotations(wishes.annotations, wishes.json, environment)
    for file in (wishes.junit, wishes.cov_json, annotations.file):
        check_writable(file)
    output = Output(wishes.json, annotations, environment)
    status = _run(wishes, output, environment)
    output.finish(wishes.junit)
    return status


def _print_everything(is_json: bool) -> None:
    """Names and values of events go to pipes and files in other encodings too, as those of CI on Windows: JSON in its
    own, text with escapes."""
    stdout = sys.stdout
    if isinstance(stdout, io.TextIOWrapper):
        if is_json:
            stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
        else:
            stdout.reconfigure(errors="backslashreplace")


def _run(wishes: Wishes, output: Output, environment: Mapping[str, str]) -> TestStatus:
    from opentec.events.errors import SourceErrors
    from opentec.rules.compiled_cache import cache_folder
    from opentec.testing.collection import collect

    cache = cache_folder(environment) if wishes.cache else None
    if cache is not None and not wishes.json:
        _say_not_used(cache, output)
    collected = collect(wishes.paths, cache)
    if collected.errors:
        output.broken(collected.errors)
        return TestStatus.BROKEN
    if not _select(collected, wishes, cache, output):
        return TestStatus.NO_TESTS
    if wishes.collect_only:
        output.listed(collected)
        return TestStatus.OK
    try:
        return _test(collected, wishes, cache, output)
    except SourceErrors as wrong:  # a rule or a test turned out wrong only when it ran
        output.broken(wrong.errors)
        return TestStatus.BROKEN


def _say_not_used(cache: Path, output: Output) -> None:
    from opentec.rules.compiled_cache import FOLDER, VARIABLE, not_private
    from opentec.testing.last_run import FOLDER as LAST_RUN

    if found := not_private(cache, (FOLDER, LAST_RUN)):
        places = " and ".join(map(str, found))
        text = f"others may write the cache {places}, so it is not used; remove it, or name another with {VARIABLE}"
        output.warn(text)


def _select(collected: Collected, wishes: Wishes, cache: Path | None, output: Output) -> bool:
    """Keep the tests that are asked for, in the order that is asked for; False (said why) where none is left."""
    there = collected.tests
    if not there:
        places = ", ".join(map(str, wishes.paths))
        output.warn(f"no tests in {places}; {_where(collected.passed_over)}")
        return False
    if wishes.keyword and collected.select(wishes.keyword) == 0:
        output.warn(f"none of the {there} tests has {wishes.keyword!r} in its name")
        return False
    if wishes.last_failed:
        _only_failed(collected, cache, output)
    if wishes.shuffle:
        seed = wishes.seed if wishes.seed is not None else int.from_bytes(os.urandom(3))
        collected.shuffle(seed)
        output.shuffled(seed)
    return True


def _where(passed_over: list[Path]) -> str:
    """Where tests would be, with a file that is only named wrongly."""
    if not passed_over:
        return "tests are in files tests/*.yaml or *.test.yaml"
    first, *more = passed_over
    also = f" and {len(more)} more end in .yml" if more else " ends in .yml"
    return f"{first}{also}, and tests are in files tests/*.yaml or *.test.yaml: rename {'them' if more else 'it'}"


def _only_failed(collected: Collected, cache: Path | None, output: Output) -> None:
    from opentec.testing.last_run import read_failed, real_name

    failed = {group.folder: read_failed(cache, group.folder) for group in collected.groups}
    files = {bound.case.file: real_name(bound.case.file) for _, bound in collected.order}
    again = [(files[bound.case.file], bound.case.name) in failed[group.folder] for group, bound in collected.order]
    if not any(again):
        output.note("none of these tests failed when it ran last: all are run")
        return
    wanted = {id(bound) for (_, bound), is_wanted in zip(collected.order, again, strict=True) if is_wanted}
    collected.keep(lambda group, bound: id(bound) in wanted)


def _test(collected: Collected, wishes: Wishes, cache: Path | None, output: Output) -> TestStatus:
    from opentec.testing.jobs import MAX_JOBS, Run, Watching

    if wishes.jobs > MAX_JOBS:
        raise Failure(f"-j {wishes.jobs}: at most {MAX_JOBS} processes", Status.USAGE)
    jobs = wishes.jobs or os.cpu_count() or 1
    begun = Run(collected, jobs, Watching(wishes.profile, wishes.cov))
    try:
        for outcome in begun:
            output.show(outcome)
            if wishes.first and not outcome.result.passed:
                break
    finally:
        begun.close()
        _remember(collected, output.outcomes, cache)
    if wishes.profile:
        for folder, seen in begun.seen.items():
            output.costs(folder, seen.costs)
    is_covered = _coverage(begun.seen, wishes, output)
    failed = sum(not outcome.result.passed for outcome in output.outcomes)
    status = TestStatus.FAILED if failed else TestStatus.OK if is_covered else TestStatus.TOO_LOW
    if wishes.mutate and failed:
        output.note("rules are not broken on purpose while tests fail: --mutate was left out")
    elif wishes.mutate:
        status = _mutation(collected, wishes, jobs, output) or status
    output.sums(collected.tests)
    return status


def _remember(collected: Collected, outcomes: list[Outcome], cache: Path | None) -> None:
    """Which tests failed, for --last-failed."""
    from opentec.testing.last_run import real_name, write_failed

    folders = {bound.case.file: group.folder for group, bound in collected.order}
    names = {file: real_name(file) for file in {*folders, *collected.known}}
    known = {names[file]: tests for file, tests in collected.known.items()}
    ran: dict[Path, dict[tuple[str, str], bool]] = {folder: {} for folder in folders.values()}
    for result, _ in outcomes:
        ran[folders[result.file]][names[result.file], result.name] = result.passed
    for folder, tests in ran.items():
        write_failed(cache, folder, tests, known)


def _coverage(seen: Mapping[Path, Seen], wishes: Wishes, output: Output) -> bool:
    """Report what the tests have seen; False (said) where it is less than is asked for."""
    if not wishes.cov:
        return True
    from opentec.testing.coverage import percent

    found = {folder: part.coverage for folder, part in seen.items() if part.coverage is not None}
    output.coverage(found, wishes.cov_json)
    low = wishes.cov_fail_under
    if low is None:
        return True
    enough = True
    for folder, data in found.items():
        if (covered := percent(data)) < low:
            output.warn(f"the tests cover {covered} % of {folder}, less than {low} %")
            enough = False
    return enough


def _mutation(collected: Collected, wishes: Wishes, jobs: int, output: Output) -> TestStatus:
    """Break the rules and see whether a test fails; says where fewer are noticed than is asked for."""
    from opentec.testing.mutation import MutationError, mutate

    try:
        report = mutate(collected, rule_sets=wishes.rule_sets, jobs=jobs, progress=output.progress)
    except MutationError as wrong:
        raise Failure(output.clean(str(wrong)), Status.USAGE) from wrong
    output.mutation(report)
    low = wishes.mutate_fail_under
    if report.errors:
        return TestStatus.BROKEN
    if low is None or report.score >= low:
        return TestStatus.OK
    output.warn(f"the tests notice {report.score} % of the broken rules, less than {low} %")
    return TestStatus.TOO_LOW
