"""The pytest plugin: the same tests as `tec test`, and nothing where nobody asked for them."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.testing.kit import make_rule_base, write_spec

pytest_plugins = "pytester"

ROOT = Path(__file__).parents[2]
GOOD = "- {at: 0s, event: {class: Disk_Full}, expect: [{class: Disk_Full}]}"
BAD = "- {at: 0s, event: {class: Disk_Full}, expect: [{class: Disk_OK}]}"
# as if installed: by its module, as the entry point is there only after the next installation
PLUGIN = ("-p", "no:opentec", "-p", "opentec.testing.pytest_plugin", "-p", "no:asyncio", "-p", "no:cacheprovider")


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.Pytester:
    """A folder with a rule base, Python tests beside it, and YAML that is none of ours."""
    monkeypatch.setenv("OPENTEC_CACHE", str(tmp_path / "cache"))
    make_rule_base(pytester.path / "base")
    tests = pytester.path / "tests"
    tests.mkdir()
    (tests / "test_python.py").write_text("def test_python(): pass\n")
    (tests / "fixtures.yaml").write_text("tests: [1, 2]\n")
    (pytester.path / "playbook.yaml").write_text("rulebase: x\ntests: y\n")
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess(*PLUGIN, *arguments)


def test_nothing_is_collected_unasked(project: pytest.Pytester) -> None:
    write_spec(project.path / "base", BAD)
    run(project).assert_outcomes(passed=1)


@pytest.mark.parametrize("by", ["option", "ini"])
def test_the_tests_are_items(project: pytest.Pytester, by: str) -> None:
    write_spec(project.path / "base", GOOD, name="tests/a.yaml")
    write_spec(project.path / "base", GOOD, name="tests/b.test.yaml")
    arguments = ["--opentec"]
    if by == "ini":
        arguments = []
        project.makeini("[pytest]\nfilterwarnings = error\nopentec_tests = true\n")
    result = run(project, "-v", *arguments)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["base/tests/a.yaml::t PASSED*", "base/tests/b.test.yaml::t PASSED*"])


def test_a_failure_shows_what_tec_test_shows(project: pytest.Pytester) -> None:
    write_spec(project.path / "base", BAD)
    result = run(project, "--opentec", "base")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "FAIL  t",
            "    base/tests/t.yaml:6: at 0s (2026-03-01T08:00:00Z)",
            "        expected: Disk_OK",
            "        nothing in the repository is like it",
            "    what happened:",
            "                disk/full (base/TEC_RULES/disk.rls:2): *",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    run(project, "--opentec", "base", "-k", "nothing").assert_outcomes(deselected=1)


def test_a_wrong_file_is_a_collection_error(project: pytest.Pytester) -> None:
    write_spec(project.path / "base", GOOD.replace("Disk_OK", "Disk").replace("Full", "Ful"))
    result = run(project, "--opentec")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["base/tests/t.yaml:6:33: class 'Disk_Ful' is not defined; did you mean 'Disk_Full'?"])
    assert "Traceback" not in result.stdout.str()


def test_a_file_that_is_named_must_be_one(project: pytest.Pytester) -> None:
    result = run(project, "--opentec", "tests/fixtures.yaml")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*a test file has no 'rulebase'*"])
    run(project, "--opentec", "tests").assert_outcomes(passed=1)


def test_a_test_that_turns_out_wrong_is_told_with_its_place(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentec.testing import runner

    rules = """rule: r: (event: _e of_class 'Disk', reception_action: (set_timer(_e, 1, 'again'))).
    timer_rule: again: (event: _e of_class 'Disk', timer_info: equals 'again', action: (set_timer(_e, 1, 'again'))).
    """
    base = make_rule_base(project.path / "other", rules)
    write_spec(base, "- {at: 0s, event: {class: Disk}}\n- {at: 1d, expect: [{class: Disk}]}")
    monkeypatch.setattr(runner, "MAX_TICKS", 10)
    result = run(project, "--opentec", "other")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["other/tests/t.yaml:7:*: more than 10 timers fire before '1d'*"])


def test_it_is_an_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"opentec": "opentec.testing.pytest_plugin"}
    assert importlib.metadata.version("pytest") >= "8"


def test_it_costs_nothing_where_nobody_asks() -> None:
    heavy = "{'msgspec', 'yaml', 'typer', 'opentec.events', 'opentec.rules', 'opentec.testing.collection'}"
    code = f"import pytest, sys, opentec.testing.pytest_plugin; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
