"""The benchmark measures what it says: ten rules, events that pass its classes, figures that are right."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import mean

import pytest

from bench.events import DUPLICATES, RECOVERIES, RULE_BASE, texts
from bench.load import Connection
from bench.report import middle, render, verdict
from bench.server import STAGES, spread
from opentec.events.classes import ClassTable
from opentec.events.loader import classes_of
from opentec.events.parser import EventParser
from opentec.rules.parser import parse_rules
from opentec.shipped import shipped


@pytest.fixture(scope="module")
def classes() -> ClassTable:
    files = [shipped("rules", "default", "TEC_CLASSES", "root.baroc"), RULE_BASE / "TEC_CLASSES" / "bench.baroc"]
    return classes_of("\n".join(Path(file).read_text() for file in files))


def test_ten_rules() -> None:
    assert len(parse_rules((RULE_BASE / "TEC_RULES" / "bench.rls").read_text(), "bench.rls").rules) == 10


def test_every_event_passes_the_classes(classes: ClassTable) -> None:
    parser = EventParser(classes)
    for text in texts(500, 3):
        parser.parse(text.encode())


def test_the_same_seed_gives_the_same_events_and_another_gives_others() -> None:
    assert texts(50, 1) == texts(50, 1) != texts(50, 2)


def test_events_are_of_the_mix_that_is_described() -> None:
    made = texts(5000, 1)
    names = [text.partition(";")[0] for text in made]
    keys = [(name, *re.findall(r";(?:hostname|part)=([^;]*)", text)) for name, text in zip(names, made, strict=True)]
    assert 250 < mean(len(text) for text in made) < 300
    assert abs(sum("_Up" in name for name in names) / 5000 - RECOVERIES * (1 - DUPLICATES)) < 0.02
    assert abs(1 - len(set(keys)) / 5000 - DUPLICATES) < 0.03


def test_spread_weighs_each_value() -> None:
    assert spread([(5.0, 1), (1.0, 98), (9.0, 1)]) == {"p50": 1.0, "p99": 5.0, "max": 9.0}


async def test_acknowledgements_in_the_middle_of_a_burst_are_counted_once() -> None:
    connection = Connection(0, 100, None)
    connection.sent, connection.stopped = 64, True
    connection._way.append((64, 0.0))
    connection._acknowledge(10)
    connection._acknowledge(64)
    assert connection.acked == 64
    assert [count for _, count in connection.latencies] == [10, 54]
    assert connection.drained.is_set()


def test_middle_is_the_median_with_its_range() -> None:
    assert middle([3000.0, 1000.0, 2000.0]) == "2,000 (1,000-3,000)"
    assert middle([1.25], 2) == "1.25"


def test_the_report_holds_every_measurement() -> None:
    spreads = {"p50": 1.0, "p99": 2.0, "max": 3.0}
    run = {
        "events": 1000,
        "acked_per_s": 16_000.0,
        "stored_per_s": 15_500.0,
        "behind_s": 0.5,
        "cpu_us": dict.fromkeys((*STAGES, "senders"), 7.0),
        "ack_ms": spreads,
        "stored_ms": spreads,
    }
    calibration = {"sqlite_rows": 85_000.0, "fdatasyncs": 4000.0, "parse_loop": 72_000.0}
    result = {
        "selectors": ["indexed"],
        "seconds": 8.0,
        "rate": 10_000,
        "rounds": [{"calibration": calibration, "indexed": {"saturated": run, "offered": run, "aim": run}}],
        "gaps": {"kill": [0.4, 0.2, 0.3], "hang": [1.5]},
        "sustained": {**run, "seconds": 60.0, "selector": "indexed"},
    }
    text = render(result)
    for part in (
        "85,000",
        "| indexed | 16,000 | 15,500 | 0.18 |",
        "1.0 / 2.0 / 3.0",
        "| kill | 3 | 0.30 | 0.40 |",
        "| indexed | 60 | 1 |",
    ):
        assert part in text
    assert "indexed 15,500 (103%)" in verdict(result)
    assert "sqlite3 has 100% and the parse loop 50%" in verdict(result)
