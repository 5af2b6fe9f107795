"""`tec test`: run the tests of rule bases on a simulated clock."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from opentec.commands.cli import Debug, Json, say, say_json, visible, warn

if TYPE_CHECKING:
    from opentec.events.errors import SourceError
    from opentec.rules.profile import Cost
    from opentec.testing.results import Result


class TestStatus(IntEnum):
    """The exit statuses of `tec test`; those of the other commands are in `opentec.commands.cli`."""

    __test__ = False  # pytest would take it for a test

    OK = 0
    FAILED = 1
    BROKEN = 2  # a rule base does not compile, or a specification is wrong: nothing was run
    NO_TESTS = 5


_HERE: Final = [Path()]


def test(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...", help="Test files, or folders with tests/*.yaml or *.test.yaml in them.  [default: .]"
        ),
    ] = None,
    keyword: Annotated[
        str,
        typer.Option(
            "-k",
            metavar="NAME",
            show_default=False,
            help="Only tests with this in their name, in upper or lower case.  [default: all]",
        ),
    ] = "",
    first: Annotated[bool, typer.Option("-x", help="Stop at the first test that fails.")] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Then say what each rule cost.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Run the tests of rule bases. No server is needed, and no time passes: the clock is simulated.

    Exit status 0 all passed, 1 some failed, 2 a rule base does not compile or a test file is wrong, 5 no tests.
    """
    raise typer.Exit(_run(paths or _HERE, keyword, first, profile, json))


test.__test__ = False  # type: ignore[attr-defined]


def _run(paths: list[Path], keyword: str, first: bool, profile: bool, json: bool) -> TestStatus:
    from opentec.testing.collection import collect

    collected = collect(paths)
    if collected.errors:
        for error in collected.errors:
            _show_error(error, json)
        if not json:
            count = len(collected.errors)
            warn(f"tec test: nothing was run: {count} error{'s' if count > 1 else ''}")
        return TestStatus.BROKEN
    there = collected.tests
    if keyword and collected.select(keyword) == 0 and there:
        warn(f"tec test: none of the {there} tests has {visible(keyword)!r} in its name")
        return TestStatus.NO_TESTS
    if not collected.tests:
        places = ", ".join(map(str, paths))
        warn(f"tec test: no tests in {places}; tests are in files tests/*.yaml or *.test.yaml")
        return TestStatus.NO_TESTS
    passed = failed = 0
    file = ""
    for result in collected.run(perf_counter_ns if profile else None):
        file = _show(result, file, json)
        passed, failed = passed + result.passed, failed + (not result.passed)
        if failed and first:
            break
    for folder, costs in collected.profiles.items():
        _show_costs(folder, costs.costs(), json)
    _show_summary(passed, failed, collected.tests - passed - failed, json)
    return TestStatus.FAILED if failed else TestStatus.OK


def _show(result: Result, file: str, json: bool) -> str:
    """Print one result, under the name of its file where that is another one than `file`; gives the file."""
    from opentec.testing.report import as_data, as_text

    if json:
        say_json(as_data(result))
    else:
        if result.file != file:
            say(result.file)
        for line in as_text(result).split("\n"):
            say(f"  {visible(line)}")
    return result.file


def _show_costs(folder: Path, costs: list[Cost], json: bool) -> None:
    from opentec.testing.report import profile_data, profile_lines

    if json:
        say_json(profile_data(str(folder), costs))
    else:
        say(f"what the rules of {folder} cost:")
        for line in profile_lines(costs):
            say(f"  {visible(line)}")


def _show_summary(passed: int, failed: int, not_run: int, json: bool) -> None:
    from opentec.testing.report import summary

    if json:
        say_json({"passed": passed, "failed": failed, "not_run": not_run})
    else:
        say(summary(passed, failed, not_run))


def _show_error(error: SourceError, json: bool) -> None:
    if json:
        data: dict[str, Any] = {"error": error.message, "hint": error.hint, "file": error.file}
        say_json({**data, "line": error.line, "column": error.column})
    else:
        warn("\n".join(map(visible, str(error).split("\n"))))
