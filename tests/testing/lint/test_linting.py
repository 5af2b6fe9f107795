"""Rule bases, their tests and tasks: what needs more than rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from opentec.events.errors import SourceErrors
from opentec.testing.lint.diagnostics import choose
from opentec.testing.lint.linting import find_rule_bases, lint
from opentec.testing.lint.tasks import read_tasks
from tests.testing.kit import make_rule_base, write_spec
from tests.testing.lint.kit import lines, look, rule

TWO = rule("a", "set_timer(_event, 60, 'late')") + rule("b", "commit_rule", event="event: _e of_class 'Disk_OK'")
FULL = "- {at: 0s, event: {class: Disk_Full}}"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_rule_base(tmp_path / "base", TWO)


def test_rules_that_no_test_fires(base: Path) -> None:
    write_spec(base, FULL)
    report = lint(base, choose(["L501"]))
    assert [(one.line, one.message) for one in report.diagnostics] == [(2, "rule 'b' fires in no test")]
    assert (report.tests, report.failed, report.rules, report.rule_sets) == (1, 0, 2, 1)


def test_a_correlation_rule_is_one_rule(tmp_path: Path) -> None:
    """The engine makes two of it, one for each event that may come last."""
    rules = "correlation_rule: pair: event_relation: Disk_Full causes Disk_OK within: 10 minutes."
    base = make_rule_base(tmp_path / "base", rules)
    report = lint(base, choose(["L50"]))
    assert [one.message for one in report.diagnostics] == [
        "correlation_rule 'pair' has no test, for there are none",
        "correlation_rule 'pair' has no description",
    ]
    assert report.rules == 1
    events = "[{class: Disk_OK, hostname: a}, {class: Disk_Full, hostname: a}]"
    write_spec(base, f"- {{at: 0s, events: {events}}}")  # the cause comes last
    assert lines(lint(base, choose(["L501"])).diagnostics) == []


def test_a_rule_base_without_tests(base: Path) -> None:
    assert [one.message for one in look(base, "L501", run=True)] == [
        "rule 'a' has no test, for there are none",
        "rule 'b' has no test, for there are none",
    ]
    assert look(base, "L501") == []  # not asked to run them


def test_a_test_that_fails_counts_for_what_it_fired(base: Path) -> None:
    write_spec(base, "- {at: 0s, event: {class: Disk_Full}, expect: [{class: Disk_OK}]}")
    report = lint(base, choose(["L501"]))
    assert (lines(report.diagnostics), report.tests, report.failed) == ([("L501", 2)], 1, 1)


def test_tests_of_another_rule_base_do_not_count(base: Path, tmp_path: Path) -> None:
    other = make_rule_base(tmp_path / "base" / "other", TWO)
    write_spec(other, FULL)
    assert lines(look(base, "L501", run=True)) == [("L501", 1), ("L501", 2)]
    assert lines(look(other, "L501", run=True)) == [("L501", 2)]


def test_a_test_file_that_is_wrong(base: Path) -> None:
    write_spec(base, "- {at: 0s, event: {class: Dsik}}")
    report = lint(base, choose(["L"]))
    assert [error.line for error in report.errors] == [6]
    assert report.diagnostics == []


def test_a_rule_base_that_does_not_compile(tmp_path: Path) -> None:
    folder = make_rule_base(tmp_path / "base", rule("a", "nonsense"))
    with pytest.raises(SourceErrors):
        lint(folder)


def test_the_order_is_that_of_the_files(base: Path) -> None:
    (base / "TEC_RULES" / "a.rls").write_text(rule("z", "_x is 1") + rule("y", "_x is 2"))
    (base / "TEC_RULES" / "rule_sets").write_text("disk\na\n")
    found = look(base, "L")
    assert found == sorted(found)
    assert lines(found) == [("L102", 1), ("L102", 2), ("L601", 1)]


def test_a_task_that_is_not_in_the_library(tmp_path: Path) -> None:
    body = "exec_task(_event, 'notfy', '', [], 'NO'), exec_task(_event, notify, '', [], 'NO')"
    folder = make_rule_base(
        tmp_path / "base", rule("r", f"{body}, _x = gone, exec_task_local(_event, _x, '', [], 'NO')")
    )
    library = tmp_path / "tasks.toml"
    library.write_text("[task.notify]\nprogram = ['mail']\n")
    (one,) = look(folder, "L801", tasks=read_tasks(library))
    assert (one.message, one.hint) == ("the task library has no task 'notfy'", "did you mean 'notify'?")
    first, second = look(folder, "L801", tasks=frozenset())
    assert (first.hint, second.hint) == ("add [task.notfy] to tasks.toml", "add [task.notify] to tasks.toml")
    assert look(folder, "L801") == []


@pytest.mark.parametrize("text", ["task = 1", "x = ", "#" * ((1 << 20) + 1)])
def test_what_is_no_task_library(tmp_path: Path, text: str) -> None:
    (tmp_path / "tasks.toml").write_text(text)
    with pytest.raises(ValueError, match=r"task|larger|Invalid"):
        read_tasks(tmp_path / "tasks.toml")


def test_rule_bases_are_found(base: Path, tmp_path: Path) -> None:
    make_rule_base(tmp_path / "more" / "one")
    make_rule_base(tmp_path / ".hidden")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert find_rule_bases(base) == [base]
    assert find_rule_bases(tmp_path) == [base, tmp_path / "more" / "one"]


@pytest.mark.parametrize(("word", "hint"), [("L8O1", "did you mean L801?"), ("style", "docs/lint.md"), ("", "docs")])
def test_a_check_that_there_is_not(word: str, hint: str) -> None:
    with pytest.raises(ValueError, match="there is no check") as wrong:
        choose([word])
    assert hint in str(wrong.value)


def test_groups_of_checks() -> None:
    assert choose(["l2", "L801"]) == {"L201", "L202", "L203", "L801"}
