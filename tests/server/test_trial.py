"""What this node cannot run is refused before the log names it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from opentec.rules.rulebase import RuleBase, load_compiled, snapshot
from opentec.server import trial as module
from opentec.server.trial import problem_of
from tests.rules.engine_kit import rule_base

PREDICATES = """
import site_helper
from opentec.rules import predicate
@predicate
def is_ours(host: str) -> bool:
    return site_helper.ours(host)
"""


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that is installed on this node."""
    folder = tmp_path / "installed"
    folder.mkdir()
    (folder / "site_helper.py").write_text("def ours(host): return True\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder / "site_helper.py"


@pytest.fixture
def rule_bases(tmp_path: Path) -> Path:
    return tmp_path / "rulebase"


@pytest.fixture
def base(tmp_path: Path, rule_bases: Path, helper: Path) -> RuleBase:
    """A snapshot that was checked while the module was there."""
    source = tmp_path / "rules"
    (source / "TEC_CLASSES").mkdir(parents=True)
    (source / "TEC_RULES").mkdir()
    (source / "TEC_CLASSES/.load_classes").write_text("root.baroc\n")
    root = Path(__file__).parents[2] / "rules/default/TEC_CLASSES/root.baroc"
    (source / "TEC_CLASSES/root.baroc").write_text(root.read_text())
    (source / "TEC_RULES/rule_sets").write_text("own\n")
    (source / "TEC_RULES/own.rls").write_text(
        "rule: r: (event: _event of_class 'EVENT' where [hostname: _host], reception_action: a: (is_ours(_host)))."
    )
    (source / "predicates.py").write_text(PREDICATES)
    return load_compiled(rule_bases, snapshot(source, rule_bases))


def test_what_runs_here_has_no_problem(base: RuleBase, rule_bases: Path) -> None:
    assert problem_of(base, rule_bases) == ""
    assert problem_of(rule_base(), rule_bases) == "", "without code of its own it is tried at once"


def test_what_is_not_installed_here_any_more_is_named(base: RuleBase, rule_bases: Path, helper: Path) -> None:
    helper.unlink()
    problem = problem_of(base, rule_bases)
    assert "the user predicates cannot be loaded on this node: predicates.py:2: " in problem
    assert "No module named 'site_helper'" in problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("import os\nos._exit(7)", "it ends the process that loads it (status 7): without a word"),
        ("import os, sys\nprint('x'); sys.stderr.write('sorry\\n'); os._exit(7)", "(status 7): sorry"),
        ("import time\ntime.sleep(60)", "its predicates.py or a package was still being loaded after 1 s"),
        ("print('what code prints is no problem')\ndef ours(host): return True", ""),
    ],
)
def test_whatever_its_code_does_it_does_elsewhere(
    base: RuleBase, rule_bases: Path, helper: Path, text: str, problem: str
) -> None:
    helper.write_text(text)
    found = problem_of(base, rule_bases, time_limit=1 if "sleep" in text else 30)
    assert found.endswith(problem) and bool(found) == bool(problem)


def test_a_snapshot_that_is_not_there_and_a_python_that_does_not_start(
    base: RuleBase, rule_bases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = msgspec.structs.replace(base, content_hash="e" * 64)
    assert f"there is no rule base {'e' * 64}" in problem_of(unknown, rule_bases)
    monkeypatch.setattr(module.sys, "executable", "/nowhere/python")
    assert (
        problem_of(base, rule_bases) == "it cannot be tried: /nowhere/python does not start: No such file or directory"
    )


def test_rules_that_do_not_compile_any_more(rule_bases: Path) -> None:
    """As after an upgrade: the compiled form is of before."""
    broken = rule_base("rule: r: (event: _e of_class EVENT, action: (no_such_goal(_e))).", check=False)
    assert "no_such_goal" in problem_of(broken, rule_bases)
