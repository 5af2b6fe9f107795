"""`tec test`: run the tests of rule bases on a simulated clock. Here is its command line; test_run.py does it."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer

from opentec.commands.cli import Debug, Json


class TestStatus(IntEnum):
    """The exit statuses of `tec test`; those of the other commands are in `opentec.commands.cli`."""

    __test__ = False  # pytest would take it for a test

    OK = 0
    FAILED = 1
    BROKEN = 2  # a rule base does not compile, a specification or the command line is wrong: nothing was run
    TOO_LOW = 3  # all passed, but coverage or mutation score is below what is asked for
    NO_TESTS = 5


class Wishes(NamedTuple):
    """What the command line asks for."""

    paths: tuple[str, ...]
    keyword: str = ""
    first: bool = False  # stop at the first that fails
    last_failed: bool = False
    jobs: int = 1
    shuffle: bool = False
    seed: int | None = None
    collect_only: bool = False
    cache: bool = True
    profile: bool = False
    json: bool = False
    junit: Path | None = None
    annotations: str = ""  # as it was written
    cov: bool = False
    cov_fail_under: int | None = None
    cov_json: Path | None = None
    mutate: bool = False
    mutate_fail_under: int | None = None
    rule_sets: tuple[str, ...] = ()


_HERE: Final = ["."]


def test(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="Test files, or folders with tests/*.yaml or *.test.yaml in them; FILE:LINE and FILE::NAME are one "
            "test.  [default: .]",
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
    last_failed: Annotated[
        bool, typer.Option("--last-failed", "--lf", help="Only tests that failed when they ran last; all if none did.")
    ] = False,
    first: Annotated[bool, typer.Option("-x", help="Stop at the first test that fails.")] = False,
    jobs: Annotated[
        int, typer.Option("-j", min=0, metavar="N", help="In so many processes; 0 is one for each processor.")
    ] = 1,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="In another order each time; says the seed.")] = False,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, metavar="N", help="Shuffled as in the run that said this seed.  [default: none]"),
    ] = None,
    collect_only: Annotated[bool, typer.Option("--collect-only", help="List the tests and run none.")] = False,
    junit: Annotated[
        Path | None,
        typer.Option("--junit", metavar="FILE", help="Write the results as JUnit XML too.  [default: none]"),
    ] = None,
    annotations: Annotated[
        str,
        typer.Option(
            "--annotations",
            metavar="KIND",
            show_default=False,
            help="Failures as annotations of a CI system: github, azure, gitlab or gitlab=FILE, none.  "
            "[default: what GitHub and Azure say of themselves]",
        ),
    ] = "",
    json: Json = False,
    cov: Annotated[
        bool, typer.Option("--cov", help="Say which rules, conditions, actions, timers and classes were tested.")
    ] = False,
    cov_fail_under: Annotated[
        int | None,
        typer.Option(
            "--cov-fail-under",
            min=0,
            max=100,
            metavar="N",
            help="Fail when coverage is below N per cent.  [default: none]",
        ),
    ] = None,
    cov_json: Annotated[
        Path | None, typer.Option("--cov-json", metavar="FILE", help="Write the coverage as JSON.  [default: none]")
    ] = None,
    mutate: Annotated[
        bool, typer.Option("--mutate", help="Break the rules one way after another; a test must fail for each.")
    ] = False,
    mutate_fail_under: Annotated[
        int | None,
        typer.Option(
            "--mutate-fail-under",
            min=0,
            max=100,
            metavar="N",
            help="Fail when less than N per cent are noticed.  [default: none]",
        ),
    ] = None,
    rule_set: Annotated[
        list[str] | None,
        typer.Option(
            "--rule-set", metavar="NAME", help="Break only rules of this rule set; may be repeated.  [default: all]"
        ),
    ] = None,
    profile: Annotated[bool, typer.Option("--profile", help="Then say what each rule cost.")] = False,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Compile rule bases anew, remember nothing.")] = False,
    debug: Debug = False,
) -> None:
    """Run the tests of rule bases. No server is needed, and no time passes: the clock is simulated.

    Exit status 0 all passed, 1 some failed, 2 a rule base does not compile or a test file is wrong, 3 coverage or
    mutation score too low, 5 no tests.
    """
    from opentec.commands.test_run import run

    wishes = Wishes(
        tuple(paths or _HERE),
        keyword,
        first,
        last_failed,
        jobs,
        shuffle or seed is not None,
        seed,
        collect_only,
        not no_cache,
        profile,
        json,
        junit,
        annotations,
        cov or cov_fail_under is not None or cov_json is not None,
        cov_fail_under,
        cov_json,
        mutate or mutate_fail_under is not None,
        mutate_fail_under,
        tuple(rule_set or ()),
    )
    raise typer.Exit(run(wishes))


test.__test__ = False  # type: ignore[attr-defined]
