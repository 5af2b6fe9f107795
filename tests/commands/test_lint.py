"""`tec lint`: what it prints, and its exit statuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands.running import Runner
from tests.testing.kit import make_rule_base, write_spec
from tests.testing.lint.kit import rule

OK = rule("a", "commit_rule")
STEPS = "- {at: 0s, event: {class: Disk_OK}}\n- {at: 1s, event: {class: Disk_Full}}"
SLIP = rule("a", "_x is 1")


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENTEC_CACHE", "")


def base(tmp_path: Path, rules: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A rule base with a test that fires rule `a`; the current folder is the one above it."""
    folder = make_rule_base(tmp_path / "base", rules)
    write_spec(folder, STEPS)
    monkeypatch.chdir(tmp_path)
    return folder


def test_clean(tec: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base(tmp_path, OK, monkeypatch)
    ran = tec("lint", "base")
    assert (ran.status, ran.out, ran.err) == (0, "base: clean (1 rule in 1 rule set)\n", "")


def test_a_warning(tec: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base(tmp_path, SLIP, monkeypatch)
    ran = tec("lint")  # finds the rule base below
    assert ran.status == 1
    first, last = ran.out.splitlines()
    column = SLIP.index("_x") + 1
    assert first.startswith(f"base/TEC_RULES/disk.rls:1:{column}: warning L102: variable _x stands only here; write _")
    assert last == "base: 1 warning (1 rule in 1 rule set)"


def test_an_info_fails_when_it_is_strict(tec: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base(tmp_path, OK.replace("description: 'x', ", ""), monkeypatch)
    assert tec("lint", "base").status == 0
    ran = tec("lint", "base", "--strict")
    assert (ran.status, ran.out.splitlines()[-1]) == (1, "base: 1 info (1 rule in 1 rule set)")


def test_json_for_editors(tec: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base(tmp_path, SLIP, monkeypatch)
    ran = tec("lint", "base", "--json")
    (line,) = ran.out.splitlines()
    column = SLIP.index("_x") + 1
    assert json.loads(line) == {
        "file": "base/TEC_RULES/disk.rls",
        "line": 1,
        "column": column,
        "endColumn": column + 2,
        "severity": "warning",
        "code": "L102",
        "message": "variable _x stands only here",
        "hint": "write _, or __x where the name says more",
    }


def test_some_checks_only(tec: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base(tmp_path, SLIP, monkeypatch)
    assert tec("lint", "base", "--ignore", "L102").status == 0
    assert tec("lint", "base", "--select", "L2, L5", "--select", "L6").status == 0
    ran = tec("lint", "base", "--select", "L1,L1O2")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == "tec: there is no check 'L1O2'; did you mean L102?\n"


def test_without_the_tests(tec: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = base(tmp_path, OK, monkeypatch)
    write_spec(folder, "- {at: 0s, event: {class: Disk_OK}, expect: [{class: Disk_Full}]}")
    ran = tec("lint", "base")
    assert ran.status == 1
    assert "L501" in ran.out
    assert ran.err == "tec lint: 1 of 1 test fail, `tec test` says why\n"
    ran = tec("lint", "base", "--no-run")
    assert (ran.status, ran.err) == (0, "")


def test_a_window_at_a_rate(tec: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base(tmp_path, rule("a", "all_instances(event: _o of_class 'Disk_OK', _event - 3600 - 0)"), monkeypatch)
    assert tec("lint", "base").status == 0
    assert "at 9000 events an hour" in tec("lint", "base", "--rate", "9000").out
    assert tec("lint", "base", "--rate", "0").err == "tec: --rate 0: it must be above 0\n"


def test_the_task_library_beside_the_rule_base(tec: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base(tmp_path, rule("a", "exec_task(_event, page, '', [], 'NO')"), monkeypatch)
    assert tec("lint", "base").status == 0
    (tmp_path / "tasks.toml").write_text("[task.mail]\nprogram = ['mail']\n")
    assert "L801" in tec("lint", "base").out
    (tmp_path / "more.toml").write_text("[task.page]\nprogram = ['page']\n")
    assert tec("lint", "base", "--tasks", "more.toml").status == 0
    ran = tec("lint", "base", "--tasks", "none.toml")
    assert (ran.status, ran.err) == (
        2,
        "tec: none.toml cannot be read as a task library: No such file or directory\n",
    )


def test_what_does_not_compile(tec: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base(tmp_path, rule("a", "nonsense"), monkeypatch)
    ran = tec("lint", "base")
    assert (ran.status, ran.out) == (2, "")
    assert "predicate 'nonsense' is not defined" in ran.err
    assert ran.err.endswith("tec lint: base does not compile: 1 error\n")
    ran = tec("lint", "base", "--json")
    assert ran.status == 2
    found = json.loads(ran.out)
    assert (found["code"], found["severity"], found["line"]) == ("L000", "error", 1)


def test_tests_that_cannot_be_run(tec: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = base(tmp_path, OK, monkeypatch)
    write_spec(folder, "- {at: 0s, event: {class: Dsik}}")
    ran = tec("lint", "base")
    assert ran.status == 2
    assert ran.err.endswith("tec lint: the tests cannot be run: 1 error; --no-run leaves them out\n")
    assert tec("lint", "base", "--no-run").status == 0
    assert json.loads(tec("lint", "base", "--json").out)["code"] == "L000"


def test_no_rule_base(tec: Runner, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone"):
        ran = tec("lint", path)
        assert ran.status == 2
        assert ran.err == f"tec: there is no rule base at {path}: one has TEC_CLASSES and TEC_RULES in it\n"
    (tmp_path / "TEC_RULES").mkdir()
    assert "TEC_CLASSES is missing" in tec("lint", tmp_path).err
