"""The checks of CI: steps stop at the first failure, coverage floors hold and only rise."""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.repo.checkout import ROOT, script
from tests.testing.pipe import Pipe

PASS = (sys.executable, "-c", "pass")
FAIL = (sys.executable, "-c", "raise SystemExit(7)")
HANG = (sys.executable, "-c", "import signal; signal.pause()")


@pytest.fixture
def ci(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("ci", monkeypatch)


@pytest.fixture
def cover(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("check_coverage", monkeypatch)


def test_steps_run_in_order_and_tell_their_time(ci: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    ticks = itertools.count()
    steps = {"one": ci.Step(PASS, 10), "two": ci.Step(PASS, 0.5)}
    assert ci.run_steps(["two", "one"], steps, clock=lambda: next(ticks)) == 0
    said = capfd.readouterr().out
    assert re.findall(r"== (\w+): ok", said) == ["two", "one"]
    assert "two: ok in 1.0 s (budget 0 s)   OVER ITS BUDGET" in said
    assert "one: ok in 1.0 s (budget 10 s)\n" in said
    assert re.search(r"== ok in \d+ s: two, one\n$", said)


def test_the_first_failure_ends_the_run(ci: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    steps = {"bad": ci.Step(FAIL, 10), "after": ci.Step(PASS, 10)}
    assert ci.run_steps(["bad", "after"], steps) == 7
    said = capfd.readouterr().out
    assert "bad: failed with status 7" in said
    assert "== after" not in said


def test_where_it_keeps_going_the_others_run_and_the_last_line_names_what_failed(
    ci: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    steps = {"bad": ci.Step(FAIL, 10), "after": ci.Step(PASS, 10)}
    assert ci.run_steps(["bad", "after"], steps, keep_going=True) == 7
    said = capfd.readouterr().out
    assert "bad: failed with status 7" in said
    assert "== after: ok" in said
    assert re.search(r"== failed, of 2 steps in \d+ s: bad\n$", said)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_ended_from_outside_it_ends_its_step(tmp_path: Path, number: signal.Signals) -> None:
    with Pipe(tmp_path / "pipe") as pipe:
        hang = f"import signal; f = open({str(pipe.path)!r}, 'w'); f.write('x'); f.flush(); signal.pause()"
        # main sets the signals; its own steps take minutes
        change = f"ci.STEPS['a'] = ci.Step((sys.executable, '-c', {hang!r}), 100)"
        command = [sys.executable, "-c", f"import ci, sys; {change}; sys.exit(ci.main(['a']))"]
        process = subprocess.Popen(command, cwd=ROOT / "packaging", stdout=subprocess.DEVNULL)
        pipe.begun()
        process.send_signal(number)
        assert process.wait() == 128 + number
        pipe.ended()


def test_a_step_that_hangs_is_ended(ci: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    assert ci.run_steps(["stuck"], {"stuck": ci.Step(HANG, 0.1)}) == 124
    assert "stuck: hung" in capfd.readouterr().out


def test_an_unknown_step_is_refused(ci: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert ci.main(["lint", "lnit"]) == 2
    assert "unknown step lnit; there are lint" in capsys.readouterr().err


def test_the_makefile_names_only_steps_that_exist(ci: ModuleType) -> None:
    lines = re.findall(r"packaging/ci\.py (.+)", (ROOT / "Makefile").read_text())
    assert len(lines) == 3
    assert set(" ".join(lines).split()) - {ci.KEEP_GOING} == set(ci.STEPS)


def test_every_target_promised_is_there() -> None:
    text = (ROOT / "Makefile").read_text()
    for target in ("setup", "demo", "test", "ci", "nightly", "chaos", "bench", "clean"):
        assert re.search(rf"^{target}:", text, flags=re.MULTILINE)


def summary(lines: int, covered: int, branches: int = 0, taken: int = 0) -> dict[str, Any]:
    counts = {"num_statements": lines, "covered_lines": covered, "num_branches": branches, "covered_branches": taken}
    return {"summary": counts}


def test_percentages_by_package(cover: ModuleType) -> None:
    report = {
        "files": {
            "src/opentec/log/a.py": summary(6, 6, 4, 2),
            "src/opentec/log/deep/b.py": summary(10, 10),
            "src/opentec/shipped.py": summary(10, 0),
            "src/opentec/ha/__init__.py": summary(0, 0),
        }
    }
    assert cover.percentages(report) == {"log": 90.0, "total": 60.0}


def test_below_a_floor_and_unmeasured(cover: ModuleType) -> None:
    problems = cover.shortfalls({"log": 89.9, "rim": 90.0}, {"log": 90, "rim": 90, "ha": 90})
    assert [problem.split(":")[0] for problem in problems] == ["log", "ha"]


def test_floors_only_rise(cover: ModuleType) -> None:
    now = {"total": 81, "log": 89}
    assert len(cover.lowered(now, {"total": 80, "log": 90, "rim": 90}, "c" * 40)) == 2
    assert cover.lowered(now, {"total": 81, "log": 88}, "c" * 40) == []


def test_floors_of_every_commit_are_read(cover: ModuleType, tmp_path: Path) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example"]
    subprocess.run([*git, "init", "-q"], cwd=tmp_path, check=True)
    for total in (50, 60):
        (tmp_path / cover.FLOORS).write_text(f"total = {total}\n[packages]\n")
        subprocess.run([*git, "add", "."], cwd=tmp_path, check=True)
        subprocess.run([*git, "commit", "-q", "-m", "floors"], cwd=tmp_path, check=True)
    assert sorted(cover.flat(text)["total"] for text in cover.history(tmp_path).values()) == [50, 60]


def test_no_history_outside_a_checkout(cover: ModuleType, tmp_path: Path) -> None:
    (tmp_path / cover.FLOORS).write_text("total = 50\n[packages]\n")
    assert cover.history(tmp_path) == {}


def test_the_floors_promised_are_set(cover: ModuleType) -> None:
    floors = cover.flat((ROOT / cover.FLOORS).read_text())
    for name in ("log", "rules", "rim", "ha"):
        assert floors[name] >= 90
