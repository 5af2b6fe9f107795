"""L301: windows and the event cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from opentec.testing.lint.capacity import length
from tests.testing.kit import make_rule_base
from tests.testing.lint.kit import Look, look, rule


def duplicate(seconds: object) -> str:
    return rule("r", f"first_duplicate(_event, event: _d where [], _event - {seconds} - 0), drop_received_event")


def test_a_window_longer_than_the_cache_holds(says: Look) -> None:
    (one,) = says("L301", duplicate(100_000))
    assert one.message == (
        "this looks for events of 28 h, and at 180 events an hour a cache of 5000 holds those of 26 h"
    )
    assert one.hint == "set cache_size = 5264 in rulebase.toml, or say with --rate how many events stay"
    assert one.end_column - one.column == len("100000")


def test_the_cache_that_the_hint_names_is_enough(tmp_path: Path) -> None:
    folder = make_rule_base(tmp_path / "base", duplicate(100_000))
    (folder / "rulebase.toml").write_text("cache_size = 5264\n")
    assert look(folder, "L301") == []
    (folder / "rulebase.toml").write_text("cache_size = 5260\n")
    assert len(look(folder, "L301")) == 1


def test_the_rate_counts(says: Look) -> None:
    assert says("L301", duplicate(86_400)) == []
    assert len(says("L301", rate=1000)) == 1


@pytest.mark.parametrize("seconds", [60, "_x", 365 * 86_400])
def test_short_unknown_and_whenever(says: Look, seconds: object) -> None:
    assert says("L301", duplicate(seconds).replace("first_", "_x = 1, first_")) == []


@pytest.mark.parametrize(
    "body",
    [
        "all_instances(event: _d of_class 'Disk', _event - 0 - 600000)",
        "any_clear_target(_event, _t, 600000, 0)",
        "all_clear_targets(_event, _t, 0, 600000)",
        "any_clearing_event(_event, _t, 600000, 0)",
        "create_cache_search_criteria(s, 'Disk', [hostname], 600000, 0)",
        "create_event_sequence(s, ['Disk_Full', 'Disk_OK'], [hostname], 600000)",
    ],
)
def test_every_predicate_with_a_window(says: Look, body: str) -> None:
    assert len(says("L301", rule("r", body))) == 1


def test_correlation_rules_have_windows(says: Look) -> None:
    (one,) = says("L301", "correlation_rule: c:\n  event_relation: Disk_OK clears Disk_Full\n  within: 9 days.\n")
    assert one.line == 2


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(90, "90 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (86_400, "24 h"), (172_800, "2 d")],
)
def test_lengths(seconds: float, text: str) -> None:
    assert length(seconds) == text
