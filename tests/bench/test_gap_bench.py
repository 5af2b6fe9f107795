"""The log that `python -m bench gap` writes is one that a server reads, and its tables hold what was measured."""

from __future__ import annotations

import shutil
import signal
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as bench
from bench import gap_bench
from bench.events import RULE_BASE
from opentec.events.records import Kind, decode_event
from opentec.log.reader import iterate
from opentec.log.segments import recover
from opentec.log.writer import open_writer
from opentec.shipped import shipped
from tests.faults.harness import Cluster

UUID = "5c0f0c2e8f2b4c3f9c55d3c0a2b1f9aa"


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """A cluster by its directory alone: epoch 1 has written one record."""
    found = Cluster.__new__(Cluster)
    found.directory = tmp_path
    shutil.copytree(RULE_BASE, found.rules)
    shutil.copy(shipped("rules", "default", "TEC_CLASSES", "root.baroc"), found.rules / "TEC_CLASSES")
    (found.rules / "TEC_CLASSES" / ".load_classes").write_text("root.baroc\nbench.baroc\n")
    (tmp_path / "instance").write_text(UUID + "\n")
    (tmp_path / "tec_server.toml").touch()
    (tmp_path / "rx").mkdir()
    writer = open_writer(tmp_path / "rx", UUID, 1, recover(tmp_path / "rx", UUID))
    writer.add(Kind.TICK, 1_000)
    writer.write(writer.take())
    writer.close()
    return found


def test_a_backlog_is_written_behind_what_is_there(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gap_bench, "PIECE", 20)
    gap_bench.write_on(cluster, 50, 1)
    recovered = recover(cluster.directory / "rx", UUID)
    found = iterate(cluster.directory / "rx", recovered.segments[0].start, recovered.end)
    records = [record for page in found for record in page]
    assert [record.kind for record in records] == [Kind.TICK, *[Kind.EVENT] * 50]
    assert {one.time - before.time for before, one in pairwise(records)} == {gap_bench.STEP}
    parts = [decode_event(record.payload).slots["part"] for record in records[1:]]
    assert {part.split("_")[0] for part in parts} == {"part1", "part21", "part41"}, "pieces have parts of their own"


def test_the_tables_hold_what_was_measured() -> None:
    text = gap_bench.render(
        {
            "calibration": {"sqlite_rows": 85_000.0},
            "backlog": 20_000,
            "rows": 100_500,
            "gaps": {"kill": [0.3, 0.2, 0.4], "planned move": [0.5]},
            "waited": [2 << 20],
            "recovery": {
                "waiting": 1_000_000,
                "text_mib": 250.0,
                "up_s": 1.25,
                "seconds": 100.0,
                "rate": 10_000,
                "rows": 850_000,
            },
        }
    )
    for part in (
        "sqlite_rows 85,000",
        "100,500 events in the repository; 20,000 waited when the fault came (2.0 MiB",
        "| kill | 3 | 0.30 | 0.40 |",
        "| planned move | 1 | 0.50 | 0.50 |",
        "| 1,000,000 | 250 | 1.2 | 100 | 10,000 |",
    ):
        assert part in text


def figures(**gaps: list[float]) -> dict[str, Any]:
    named = {name.replace("_", " "): values for name, values in gaps.items()}
    return {"calibration": {}, "backlog": 20_000, "rows": 1, "gaps": named, "waited": [0]}


def test_a_99th_percentile_needs_a_hundred_samples() -> None:
    row = "| fault of the active node | times | median | {} | greatest |"
    values = [n / 100 for n in range(100)]
    many, few = gap_bench.render(figures(kill=values)), gap_bench.render(figures(kill=values[:99]))
    assert row.format("p99") in many and "| kill | 100 | 0.49 | 0.99 | 0.99 |" in many
    assert row.format("p90") in few and "| kill | 99 | 0.49 | 0.89 | 0.98 |" in few


def test_every_fault_has_an_aim() -> None:
    assert gap_bench.AIMS.keys() == gap_bench._FAULTS.keys()


@pytest.mark.parametrize(
    ("gaps", "said"),
    [
        ({"kill": [0.3, 0.9, 7.0], "hang": [1.9], "planned_move": [0.4], "cold_start": [4.9]}, ""),
        ({"kill": [1.2, 1.1, 0.2]}, "kill: the median gap of 3 is 1.10 s, the aim 1 s"),
        ({"hang": [2.1]}, "hang: the median gap of 1 is 2.10 s, the aim 2 s"),
        ({"planned_move": [0.6], "kill": [0.1]}, "planned move: the median gap of 1 is 0.60 s, the aim 0.5 s"),
        ({"cold_start": [5.1]}, "cold start: the median gap of 1 is 5.10 s, the aim 5 s"),
    ],
)
def test_check_ends_with_1_where_a_median_misses_its_aim(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], gaps: dict[str, list[float]], said: str
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(gap_bench, "main", lambda *_, **__: figures(**gaps))
    monkeypatch.setattr(sys, "argv", ["bench", "gap", "--check"])
    assert bench.main() == (1 if said else 0)
    printed = capsys.readouterr()
    assert printed.err == (f"bench: {said}\n" if said else "")
    assert "| fault of the active node |" in printed.out, "the table comes all the same"
    monkeypatch.setattr(sys, "argv", ["bench", "gap"])
    assert bench.main() == 0, "without --check they are figures only"


def test_a_check_of_no_gaps_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["bench", "gap", "--check", "--rounds", "0"])
    with pytest.raises(SystemExit) as ended:
        bench.main()
    assert ended.value.code == 2 and "no gap is measured" in capsys.readouterr().err
