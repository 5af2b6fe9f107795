"""Coverage of tests that the runner runs."""

from __future__ import annotations

from pathlib import Path

from opentec.rules.rulebase import load_rule_base
from opentec.testing.coverage import Coverage, fully_covered, lines, percent
from opentec.testing.runner import Runner
from tests.testing.kit import make_rule_base, run

ARRIVES = """
- at: 0s
  event: {class: Disk_Full, hostname: h1, drive: C}
"""
LATE = ARRIVES + "- {at: 30s, restart: true}\n- at: 61s\n  expect: [{class: Disk_Full, severity: FATAL}]\n"
AGAIN = ARRIVES + "- at: 1s\n  event: {class: Disk_Full, hostname: h1, drive: C}\n"
SOLVED = (
    ARRIVES + "- at: 1s\n  event: {class: Disk_OK, hostname: h1, drive: C}\n- at: 61s\n  expect: [{status: CLOSED}]\n"
)
FAILS = ARRIVES + "- at: 1s\n  expect: [{severity: FATAL}]\n"


def test_tests_add_up(tmp_path: Path) -> None:
    folder = make_rule_base(tmp_path / "mine")
    base = load_rule_base(folder)
    coverage = Coverage(base, Path("mine"))
    runner = Runner(base, Path("mine"), coverage, coverage.saw)
    found = []
    for steps in (LATE, FAILS, AGAIN, SOLVED):
        coverage.begin()
        assert run(folder, runner, steps).passed is (steps is not FAILS)
        found.append(percent(coverage.data()))
    assert found[0] == found[1] < found[2] < found[3] == 100
    assert fully_covered(coverage.data())
    assert lines(coverage.data()) == [
        "coverage of mine: 100 % (19 of 19)",
        "  disk     100 %  rules 3/3, actions 4/4, conditions 8/8, timers 2/2",
        "  classes  100 %  classes 2/2",
    ]
