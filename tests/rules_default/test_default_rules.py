"""The shipped rule base: its own tests, and that they leave no rule out."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
import pytest

from opentec.shipped import shipped
from opentec.testing.binding import BoundCase, bind
from opentec.testing.collection import find_specs
from opentec.testing.report import as_text
from opentec.testing.runner import Runner
from opentec.testing.spec import read_spec
from tests.rules_default.site_kit import default_base, default_classes
from tests.testing.kit import spec_of

FOLDER = shipped("rules", "default")


@cache
def runner() -> Runner:
    return Runner(default_base(), FOLDER)


def cases() -> list[BoundCase]:
    found, errors = find_specs([FOLDER])
    assert not errors
    return [bound for path in found for bound in bind(read_spec(path), default_classes())]


CASES = cases()


@pytest.mark.parametrize("number", range(len(CASES)), ids=[bound.case.name for bound in CASES])
def test_rule_base(number: int) -> None:
    result = runner().run(CASES[number])
    assert result.passed, as_text(result)


def test_every_rule_says_what_it_is_for() -> None:
    assert [rule.name for rule_set in default_base().rule_sets for rule in rule_set.rules if not rule.description] == []


def test_every_rule_set_has_its_file_of_tests() -> None:
    rule_sets = {rule_set.name for rule_set in default_base().rule_sets}
    assert {path.stem for path in (FOLDER / "tests").glob("*.yaml")} == rule_sets


def test_the_settings_are_the_defaults() -> None:
    assert default_base().settings == type(default_base().settings)()


def test_a_watch_that_left_the_cache_raises_no_alarm(tmp_path: Path) -> None:
    """The cache is too small for the events of a minute: the next heartbeat begins a new watch, the old one ends."""
    base = default_base()
    small = msgspec.structs.replace(base, settings=msgspec.structs.replace(base.settings, cache_size=5))
    beat = "      - {at: 100s, event: {class: TEC_Heartbeat, hostname: web1, interval: 60}}\n"
    text = "rulebase: ..\ntests:\n  - name: t\n    steps:\n" + beat.replace("100s", "0s")
    text += "".join(
        f"      - {{at: 1s, event: {{class: Logfile_Message, hostname: web1, msg: m{n}}}}}\n" for n in range(10)
    )
    text += beat + "      - {at: 150s, expect: [{class: TEC_Heartbeat, repeat_count: 0, status: CLOSED}]}\n"
    text += "      - {at: 249s, expect_no: [{class: TEC_Heartbeat_Missed}]}\n"
    text += "      - {at: 250s, expect: [{class: TEC_Heartbeat_Missed}]}\n"
    spec = spec_of(tmp_path / "t.yaml", text)
    (bound,) = bind(spec, small.classes)
    result = Runner(small).run(bound)
    assert result.passed, as_text(result)
