"""Mutation of the shipped rule sets, with the tests of the rule base and those of the sites.

`python -m tests.rules_default.mutated` (the step `mutation`) breaks the rule sets that a change touches: those whose
file differs from the merge base with origin/main, on main itself from the commit before. `NAME...` names others.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from opentec.shipped import shipped
from opentec.testing.collection import Collected, Group, collect
from opentec.testing.mutation import MutationReport, mutate
from tests.rules_default.site_kit import SITE, site_base, site_cases

ROOT: Final = Path(__file__).parents[2]
RULES: Final = "rules/default/TEC_RULES"
SECONDS: Final = 100.0  # that CI has for it
FLOOR: Final = 85  # per cent of the mutants of each rule set
MAIN: Final = "origin/main"
LEASH: Final = "--leash"  # first argument: end when standard input does


class NoHistory(Exception):
    """There is nothing to compare with: no git, no checkout, or no commit before."""


def collected() -> Collected:
    """The tests of the shipped rule base; what is off by default has its tests with the parameters of a site."""
    found = collect([shipped("rules", "default")])
    if found.errors:
        raise ExceptionGroup("the tests of the shipped rule base", found.errors)
    sites = site_cases()
    for name in dict(sites):
        found.groups.append(Group(SITE, site_base(name), [bound for one, bound in sites if one == name]))
    return found


def names(found: Collected) -> list[str]:
    """The shipped rule sets, in their order."""
    return [one.name for one in found.groups[0].rule_base.rule_sets]


def problems(report: MutationReport, wanted: Collection[str]) -> list[str]:
    """What is not as it should be: wrong marks, rule sets that were not broken, and tests that notice too little."""
    missing = set(wanted) - {one.rule_set for one in report.rule_sets}
    low = [one for one in report.rule_sets if one.score < FLOOR]
    return [
        *map(str, report.errors),
        *(f"rule set {name} was not broken" for name in sorted(missing)),
        *(f"the tests notice {one.score} % of what is broken in {one.rule_set}, less than {FLOOR} %" for one in low),
    ]


def base_of(root: Path) -> str:
    """The commit to compare the working tree with. Raises NoHistory."""
    head = _git(root, "rev-parse", "HEAD")
    try:
        base = _git(root, "merge-base", "HEAD", MAIN)
    except NoHistory:
        base = head
    # on main itself there is no difference: what its last commit brought is the change
    return base if base != head else _git(root, "rev-parse", "--verify", "HEAD~1")


def changed_sets(root: Path, base: str) -> set[str]:
    """The rule sets whose files differ between a commit and the working tree. Raises NoHistory."""
    listed = _git(root, "diff", "--name-only", "-z", base, "--", RULES)
    paths = [Path(name) for name in listed.split("\0") if name]
    return {path.stem for path in paths if path.suffix == ".rls"}


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=30, check=False)
    except OSError as error:
        raise NoHistory(f"git: {error.strerror}") from error
    if done.returncode != 0:
        raise NoHistory(f"git {' '.join(arguments)}: {done.stderr.strip() or f'status {done.returncode}'}")
    return done.stdout.strip()


def run_alone(command: Sequence[str], seconds: float) -> int | None:
    """The status of a program that runs for so long at most, None where it did not end; nothing of it is left behind.

    It leads a session of its own, which is killed in any case. Its standard input ends with this process, also where
    that is killed.
    """
    if seconds <= 0:
        return None
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


def hold_leash() -> None:
    """End this process and its group, which it leads, when standard input ends."""

    def hold() -> None:
        while os.read(0, 4096):
            pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(1)  # it leads no group

    threading.Thread(target=hold, daemon=True).start()


def one_by_one(chosen: Sequence[str], seconds: float = SECONDS) -> int:
    """Break each rule set in a process of its own, the smallest first, for so long; what is left is for nightly."""
    end = time.monotonic() + seconds
    status, left = 0, list[str]()
    for name in chosen:
        command = [sys.executable, "-m", "tests.rules_default.mutated", LEASH, name]
        # one that takes too long is the last: those behind it are larger
        ended = run_alone(command, 0 if left else end - time.monotonic())
        if ended is None:
            left.append(name)
        status = status or ended or 0
    if left:
        print(f"mutation: after {seconds:g} s these are left to `make nightly`: {', '.join(left)}")
    return status


def main(arguments: Sequence[str] = (), root: Path = ROOT) -> int:
    """0 where the tests notice enough, or nothing was changed; 1 where not."""
    if arguments[:1] == [LEASH]:
        hold_leash()
        arguments = arguments[1:]
    wanted = set(arguments)
    if not wanted:
        try:
            base = base_of(root)
            wanted = changed_sets(root, base)
        except NoHistory as why:
            print(f"mutation: nothing to do, there is nothing to compare the rule sets with: {why}")
            return 0
        if not wanted:
            print(f"mutation: nothing to do, no shipped rule set differs from {base[:12]}")
            return 0
    found = collected()
    # a file that no rule set names, or that is gone, has nothing to break
    chosen = [name for name in names(found) if name in wanted]
    if not chosen:
        print(f"mutation: nothing to do, no active rule set among {', '.join(sorted(wanted))}")
        return 0
    if not arguments:
        return one_by_one(sorted(chosen, key=lambda name: (root / RULES / f"{name}.rls").stat().st_size))
    print(f"mutation: {', '.join(chosen)}", flush=True)
    report = mutate(found, rule_sets=chosen, jobs=2)
    print("\n".join(report.lines()))
    wrong = problems(report, chosen)
    for line in wrong:
        print(f"mutation: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
