"""Which shipped rule sets the step `mutation` breaks, and when it is content."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest

from opentec.testing.mutation_report import MutationReport, Outcome, SetScore
from tests.rules_default import mutated
from tests.rules_default.mutated import NoHistory, base_of, changed_sets
from tests.testing.pipe import Pipe


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example", *arguments]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def commit(root: Path, **rules: str) -> str:
    """A commit that changes these files of rules."""
    folder = root / mutated.RULES
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in rules.items():
        (folder / f"{name}.rls").write_text(text)
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "rules")
    return git(root, "rev-parse", "HEAD")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with one commit."""
    git(tmp_path, "init", "-q")
    commit(tmp_path, a="1", b="1", c="1")
    return tmp_path


def test_without_main_the_commit_before_counts_and_what_is_not_committed(root: Path) -> None:
    first = git(root, "rev-parse", "HEAD")
    commit(root, a="2")
    (root / mutated.RULES / "rule_sets").write_text("a\n")
    (root / "rules" / "default" / "b.rls").write_text("elsewhere")
    git(root, "add", ".")
    assert base_of(root) == first
    assert changed_sets(root, first) == {"a"}
    (root / mutated.RULES / "c.rls").write_text("2")
    assert changed_sets(root, first) == {"a", "c"}


def test_a_branch_is_compared_with_where_it_left_main(root: Path) -> None:
    left = git(root, "rev-parse", "HEAD")
    git(root, "checkout", "-q", "-b", "branch")
    commit(root, a="2")
    commit(root, b="2")
    git(root, "checkout", "-q", "-")
    git(root, "update-ref", "refs/remotes/origin/main", commit(root, c="2"))
    git(root, "checkout", "-q", "branch")
    assert base_of(root) == left
    assert changed_sets(root, left) == {"a", "b"}


def test_on_main_itself_the_last_commit_counts(root: Path) -> None:
    first = git(root, "rev-parse", "HEAD")
    git(root, "update-ref", "refs/remotes/origin/main", commit(root, b="2"))
    assert base_of(root) == first


def test_where_there_is_nothing_to_compare_with_it_says_so(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NoHistory, match="HEAD~1"):
        base_of(root)
    assert mutated.main(root=root) == 0
    assert "nothing to compare the rule sets with: git rev-parse" in capsys.readouterr().out
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoHistory, match="git: No such file or directory"):
        base_of(root)


def test_where_no_rule_set_was_changed_it_says_so(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "README").write_text("x")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "text")
    assert mutated.main(root=root) == 0
    assert "nothing to do, no shipped rule set differs from " in capsys.readouterr().out


def score(name: str, killed: int, survived: int) -> SetScore:
    kinds = ["killed"] * killed + ["survived"] * survived
    found = [
        Outcome(
            mutant=f"{name}/r:drop-rule@{number}:1", operator="", file="", line=number, column=1, diff=(), outcome=kind
        )
        for number, kind in enumerate(kinds)
    ]
    return SetScore(name, f"{name}.rls", tuple(found))


def test_what_is_too_low_or_missing_is_a_problem() -> None:
    report = MutationReport((score("a", 85, 15), score("b", 84, 16)))
    assert mutated.problems(report, ["a"]) == ["the tests notice 84 % of what is broken in b, less than 85 %"]
    assert mutated.problems(MutationReport(()), ["a"]) == ["rule set a was not broken"]


def test_what_takes_too_long_is_left_to_nightly(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[str, bool]] = []

    def run_alone(command: Sequence[str], seconds: float) -> int | None:
        begun.append((command[-1], seconds > 0))
        return None if command[-1] == "b" or seconds <= 0 else 1

    monkeypatch.setattr(mutated, "run_alone", run_alone)
    assert mutated.one_by_one(["a", "b", "c"]) == 1
    assert begun == [("a", True), ("b", True), ("c", False)]
    assert "these are left to `make nightly`: b, c" in capsys.readouterr().out


# a program that never ends, and starts another that does not; both have the pipe open
ENDLESS = 'exec 3>"$0"; sleep 600 & printf x >&3; wait'


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    with Pipe(tmp_path / "pipe") as found:
        yield found


@pytest.mark.parametrize("ends_by", [subprocess.TimeoutExpired("sh", 1), KeyboardInterrupt()])
def test_nothing_is_left_of_a_set_that_never_ends(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, ends_by: BaseException
) -> None:
    wait = subprocess.Popen.wait

    def impatient(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        if timeout is None:
            return wait(process)
        pipe.begun()
        raise ends_by

    monkeypatch.setattr(subprocess.Popen, "wait", impatient)
    with nullcontext() if isinstance(ends_by, subprocess.TimeoutExpired) else pytest.raises(KeyboardInterrupt):
        assert mutated.run_alone(["sh", "-c", ENDLESS, str(pipe.path)], 100) is None
    pipe.ended()


def test_a_set_that_ends_says_how() -> None:
    assert mutated.run_alone(["sh", "-c", "exit 3"], 100) == 3
    assert mutated.run_alone(["sh", "-c", "exit 3"], 0) is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_set_ends_with_the_one_that_started_it(pipe: Pipe, number: signal.Signals) -> None:
    inner = (
        "import subprocess, sys; from tests.rules_default.mutated import hold_leash; hold_leash();"
        "subprocess.run(['sh', '-c', *sys.argv[1:]])"
    )
    outer = "import sys; from tests.rules_default.mutated import run_alone; run_alone(sys.argv[1:], 600)"
    command = [sys.executable, "-c", outer, sys.executable, "-c", inner, ENDLESS, str(pipe.path)]
    process = subprocess.Popen(command, cwd=mutated.ROOT)
    pipe.begun()
    process.send_signal(number)
    assert process.wait() == -number
    pipe.ended()
