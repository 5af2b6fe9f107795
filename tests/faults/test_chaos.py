"""`python -m tests.faults.chaos` fails where it must: for a gap that is too long, and for what could not run."""

from __future__ import annotations

import json
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.faults import chaos, mixed
from tests.faults.chaos import AIMS, FEW, SLACK, SLACK_OF_FEW, Fault, slow
from tests.faults.checker import Verdict
from tests.faults.sections import Result, Section


def faults(kind: str, victim: str, *gaps: float) -> list[Fault]:
    return [Fault(kind, victim, gap=gap) for gap in gaps]


@pytest.mark.parametrize(("kind", "victim"), [("kill", "server"), ("kill", "tec_master"), ("stop", "tec_rule")])
def test_few_faults_have_the_greater_slack(kind: str, victim: str) -> None:
    limit = AIMS[kind] + SLACK_OF_FEW
    assert slow(faults(kind, victim, limit, 0.1)) == []
    (said,) = slow(faults(kind, victim, limit + 0.1, 0.1))
    assert said.startswith("the longest gap of 2 ") and f"{limit + 0.1:.2f} s, more than {limit:g} s" in said


@pytest.mark.parametrize(("kind", "victim"), [("kill", "server"), ("stop", "standby")])
def test_of_many_the_99th_percentile_counts(kind: str, victim: str) -> None:
    limit, quick = AIMS[kind] + SLACK, [0.1] * (FEW - 1)
    assert slow(faults(kind, victim, *quick, limit)) == []
    (said,) = slow(faults(kind, victim, *quick, limit + 0.1))
    assert said.startswith(f"the 99th percentile gap of {FEW} ")
    assert slow(faults(kind, victim, *[0.1] * 199, 60.0)) == [], "one of two hundred is not the 99th percentile"
    assert slow(faults(kind, victim, *[0.1] * 197, 60.0, 60.0, 60.0))


def test_kills_that_need_no_takeover_are_not_of_it() -> None:
    """Another process is started again by its master, on the same node, and has another aim."""
    assert slow(faults("kill", "tec_reception", 60.0) + faults("kill", "standby", 60.0)) == []
    assert slow([]) == []


class Quick:
    """A stage without a server."""

    steady = SimpleNamespace()
    load = SimpleNamespace(acked=0)
    restarts = 0

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> Quick:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def finish(self) -> Verdict:
        return Verdict()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.setattr(chaos, "Stage", Quick)
    yield monkeypatch


@pytest.mark.parametrize(("gap", "sound"), [(0.4, True), (AIMS["stop"] + SLACK + 0.1, False)])
def test_a_run_with_slow_takeovers_is_not_sound(
    quick: pytest.MonkeyPatch, tmp_path: Path, gap: float, sound: bool
) -> None:
    quick.setattr(chaos, "inflict", lambda stage, kind, victim: Fault(kind, victim, gap=gap))
    result = chaos.victims(tmp_path, 160, 40, random.Random(1), lambda text: None)
    assert result.faults == 200 and result.sound == sound
    assert len(result.bad) == (0 if sound else 2), "kills and stops are both told"


@pytest.mark.parametrize("required", [[], ["--required"]])
def test_what_is_left_out_fails_where_it_is_required(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], required: list[str]
) -> None:
    monkeypatch.setattr(mixed, "missing", lambda: "no C compiler")
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(chaos, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["chaos", "--section", "mix", *required])
    assert chaos.main() == len(required)
    assert "no C compiler" in capsys.readouterr().out
    monkeypatch.setattr(
        chaos, "sections", lambda: {"mix": Section(mixed.mix, 17, 1.0, "-"), "quick": Section(_sound, 1, 1.0, "-")}
    )
    monkeypatch.setattr(sys, "argv", ["chaos", "--all", *required])
    assert chaos.main() == len(required)
    assert json.loads((tmp_path / "mix.json").read_text())["skipped"] == "no C compiler"
    assert json.loads((tmp_path / "quick.json").read_text())["sound"], "the others run all the same"


def _sound(folder: Path, count: int, chance: random.Random, say: object) -> Result:
    return Result("quick", count)
