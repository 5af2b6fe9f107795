"""`tec lint`: say what is suspicious in a rule base that compiles."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from opentec.commands.cli import Debug, Failure, Json, Status, say, say_json, visible, warn

if TYPE_CHECKING:
    from opentec.events.errors import SourceError
    from opentec.testing.lint.linting import Report


class LintStatus(IntEnum):
    """The exit statuses of `tec lint`; those of most commands are in `opentec.commands.cli`."""

    OK = 0
    FOUND = 1  # a warning; with --strict any diagnostic
    BROKEN = 2  # a rule base does not compile, or the command line is wrong


_TASKS: Final = "tasks.toml"


def lint(
    path: Annotated[
        Path,
        typer.Argument(metavar="[PATH]", help="Folder of a rule base, or one with rule bases in it.  [default: .]"),
    ] = Path(),
    select: Annotated[
        list[str] | None,
        typer.Option(
            "--select",
            metavar="CODES",
            help="Only these checks: L201, or L2 for the group; with commas.  [default: all]",
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="CODES", help="Leave these checks out; with commas.  [default: none]"),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit status 1 for what is only an info, too.")] = False,
    no_run: Annotated[bool, typer.Option("--no-run", help="Do not run the tests, so leave L501 out.")] = False,
    rate: Annotated[
        float | None,
        typer.Option("--rate", metavar="EVENTS", help="Events an hour that are stored, for L301.  [default: 180]"),
    ] = None,
    tasks: Annotated[
        Path | None,
        typer.Option(
            "--tasks", metavar="FILE", help="The task library, for L801.  [default: tasks.toml beside the rule base]"
        ),
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what is suspicious in a rule base that compiles: docs/lint.md lists the checks. No server is needed.

    Exit status 0 nothing above an info, 1 a warning (with --strict an info, too), 2 it does not compile.
    """
    from opentec.testing.lint.capacity import RATE
    from opentec.testing.lint.diagnostics import CHECKS, choose
    from opentec.testing.lint.linting import find_rule_bases

    try:
        codes = choose(_words(select)) if select else frozenset(CHECKS)
        codes -= choose(_words(ignore))
    except ValueError as error:
        raise Failure(str(error), Status.USAGE) from error
    if rate is not None and not 0 < rate < 1e9:
        raise Failure(f"--rate {rate:g}: it must be above 0", Status.USAGE)
    folders = find_rule_bases(path) if path.is_dir() else []
    if not folders:
        raise Failure(f"there is no rule base at {path}: one has TEC_CLASSES and TEC_RULES in it", Status.USAGE)
    status = LintStatus.OK
    for folder in folders:
        report = _lint(folder, codes, not no_run, RATE if rate is None else rate, _tasks(tasks, folder), json)
        status = max(status, LintStatus.BROKEN if report is None else _show(report, strict, json))
    raise typer.Exit(status)


def _words(given: list[str] | None) -> list[str]:
    return [word.strip() for one in given or () for word in one.split(",")]


def _tasks(given: Path | None, folder: Path) -> frozenset[str] | None:
    from opentec.testing.lint.tasks import read_tasks

    path = given or folder.resolve().parent / _TASKS
    if given is None and not path.is_file():
        return None
    try:
        return read_tasks(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Failure(f"{path} cannot be read as a task library: {reason}", Status.USAGE) from error


def _lint(
    folder: Path, codes: frozenset[str], run: bool, rate: float, tasks: frozenset[str] | None, json: bool
) -> Report | None:
    """The report, or None with all errors printed."""
    from opentec.events.errors import SourceErrors
    from opentec.rules.compiled_cache import cache_folder
    from opentec.rules.rulebase import RuleBaseError
    from opentec.testing.lint.linting import lint as look

    try:
        report = look(folder, codes, run=run, rate=rate, tasks=tasks, cache=cache_folder())
    except SourceErrors as wrong:
        _show_errors(wrong.errors, json)
        if not json:
            warn(f"tec lint: {visible(str(folder))} does not compile: {_count(len(wrong.errors), 'error')}")
        return None
    except RuleBaseError as wrong:
        raise Failure(str(wrong), Status.USAGE) from wrong
    if report.errors:
        _show_errors(report.errors, json)
        if not json:
            warn(f"tec lint: the tests cannot be run: {_count(len(report.errors), 'error')}; --no-run leaves them out")
        return None
    return report


def _show_errors(errors: list[SourceError], json: bool) -> None:
    from opentec.testing.lint.diagnostics import BROKEN, Diagnostic

    for error in errors:
        if json:
            place = (error.file, error.line, error.column)
            say_json(Diagnostic(*place, BROKEN, error.message, error.hint, error.column + 1, "error").as_data())
        else:
            warn("\n".join(map(visible, str(error).split("\n"))))


def _show(report: Report, strict: bool, json: bool) -> LintStatus:
    for one in report.diagnostics:
        say_json(one.as_data()) if json else say(visible(str(one)))
    warnings = sum(one.severity == "warning" for one in report.diagnostics)
    infos = len(report.diagnostics) - warnings
    if report.failed:
        warn(f"tec lint: {report.failed} of {_count(report.tests, 'test')} fail, `tec test` says why")
    if not json:
        found = ", ".join(_count(number, what) for number, what in ((warnings, "warning"), (infos, "info")) if number)
        size = f"{_count(report.rules, 'rule')} in {_count(report.rule_sets, 'rule set')}"
        say(f"{visible(str(report.folder))}: {found or 'clean'} ({size})")
    return LintStatus.FOUND if warnings or (strict and infos) else LintStatus.OK


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
