"""The benchmark of the tester runs what it says, and its check can fail."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from bench import tester
from bench.tester import EVENTS, LIMITS, case, measure, problems, render, timed, write


def test_a_case_has_ten_events() -> None:
    (found,) = yaml.safe_load(case(7))
    assert sum("event" in step for step in found["steps"]) == EVENTS == 10
    assert found["name"] == "case 7"


def test_the_cases_are_divided_over_files(tmp_path: Path) -> None:
    write(tmp_path / "x", 25, 4)
    files = sorted((tmp_path / "x" / "tests").iterdir())
    numbers = [len(yaml.safe_load(path.read_text())["tests"]) for path in files]
    assert numbers == [7, 7, 7, 4]


def test_everything_is_measured() -> None:
    found = measure(1, cases=12, count=1)
    assert set(found) == {"-j 1", "-j 2", "python, nothing", "no test of that name", "--collect-only", "one test"}
    assert all(len(values) == 1 and values[0] > 0 for values in found.values())
    text = render(found, 12)
    assert len(text.splitlines()) == 2 + len(found)
    assert "times a Python that does nothing" in text


def test_the_check_finds_what_takes_too_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {what: [limit, limit, 100.0] for what, limit in LIMITS.items()} | {"python, nothing": [0.01]}
    assert problems(good) == []
    bad = {**good, "-j 2": [1.0, 11.0, 12.0]}
    assert problems(bad) == ["tester, -j 2: 11.00 s, at most 10 s"]
    monkeypatch.setattr(tester, "measure", lambda rounds: bad)
    assert tester.main(quick=True, check=True) == 1
    assert tester.main(quick=True) == 0
    assert "at most 10 s" in capsys.readouterr().err


def test_a_run_that_fails_is_no_measurement() -> None:
    with pytest.raises(RuntimeError, match="ended with 3"):
        timed([sys.executable, "-c", "raise SystemExit(3)"], {}, 0, "")
    with pytest.raises(RuntimeError, match="ended with 0: other"):
        timed([sys.executable, "-c", "print('other')"], {}, 0, "passed")
