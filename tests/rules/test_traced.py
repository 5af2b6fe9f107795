"""Which events are traced: classes and hosts, from an ACTIVATE record until their time is over."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from opentec.events.records import Disposition
from opentec.rules.effects import Effects
from opentec.rules.engine import Engine
from opentec.rules.selectors.indexed import IndexedSelector
from opentec.rules.traced import LONGEST_HOURS, LONGEST_NAME, NAMES
from tests.rules.engine_kit import START, Kit
from tests.rules.test_explain import RULE_ON, no

HOUR = 3600


def trace(kit: Kit, at: float, *names: str, hours: int = 1) -> Effects:
    return kit.process(kit.log.activate(at, kit.base, trace={"names": list(names), "hours": hours}))


def test_a_class_with_all_that_inherit_from_it_and_a_host() -> None:
    kit = Kit(RULE_ON.format(classes="'EVENT'", where="msg: equals x"))
    assert no(kit.event(0, "Disk_Full")) == []
    effects = trace(kit, 1, "Disk", "Web1")
    assert effects.outcome is not None
    assert (effects.outcome.disposition, effects.outcome.reason) == (Disposition.APPLIED, "traced: Disk, Web1")
    assert len(no(kit.event(2, "Disk_Full"))) == 1
    assert len(no(kit.event(2, "Link_Up", hostname="web1"))) == 1
    assert no(kit.event(2, "Link_Up", hostname="web2")) == []
    trace(kit, 3, "Disk", hours=0)
    assert no(kit.event(4, "Disk_Full")) == []
    assert len(no(kit.event(4, "Disk_Full", hostname="WEB1"))) == 1
    effects = trace(kit, 5, hours=0)
    assert effects.outcome is not None
    assert effects.outcome.reason == "traced: nothing"
    assert no(kit.event(6, "Disk_Full", hostname="web1")) == []
    assert "trace" not in kit.repository.state


def test_a_trace_ends_by_itself() -> None:
    kit = Kit(RULE_ON.format(classes="'EVENT'", where="msg: equals x"))
    trace(kit, 0, "Disk")
    trace(kit, 0, "Link", hours=2)
    assert len(no(kit.event(HOUR - 0.001, "Disk_Full"))) == 1
    assert no(kit.event(HOUR, "Disk_Full")) == []
    assert kit.repository.state["trace"] == [["Link", (START + 2 * HOUR) * 1_000_000]]
    assert len(no(kit.event(HOUR + 1, "Link_Up"))) == 1
    kit.tick(2 * HOUR)
    assert "trace" not in kit.repository.state
    assert no(kit.event(2 * HOUR, "Link_Up")) == []


def test_a_trace_survives_a_restart_and_another_rule_base() -> None:
    kit = Kit(RULE_ON.format(classes="'EVENT'", where="msg: equals x"))
    trace(kit, 0, "Disk")
    kit.engine = kit.repository.prime(Engine(kit.base, IndexedSelector()))
    assert len(no(kit.event(1, "Disk_Full"))) == 1
    other = msgspec.structs.replace(kit.base, content_hash="2" * 64)
    kit.engine.activate(other)
    kit.process(kit.log.activate(2, other))
    assert len(no(kit.event(3, "Disk_Full"))) == 1
    # settings of the rule base are not the trace's affair
    assert kit.repository.state["rule_base"] == ["2" * 64, "test", {}]


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (["EVENT"], "a trace has names and hours"),
        ({"names": "EVENT", "hours": 1}, "a list of names"),
        ({"names": [1], "hours": 1}, "a list of names"),
        ({"names": [], "hours": 1}, "a trace needs a name"),
        ({"names": ["EVENT"], "hours": LONGEST_HOURS + 1}, "lasts 1 to 168 hours"),
        ({"names": ["EVENT"], "hours": -1}, "lasts 1 to 168 hours"),
        ({"names": ["EVENT"], "hours": True}, "lasts 1 to 168 hours"),
        ({"names": ["x" * (LONGEST_NAME + 1)], "hours": 1}, "is not the name of a class or host"),
        ({"names": ["a\nb"], "hours": 1}, "is not the name of a class or host"),
        ({"names": [""], "hours": 1}, "is not the name of a class or host"),
        ({"names": ["x"] * (NAMES + 1), "hours": 1}, "at most 20 names are traced, not 21"),
        ({"names": [f"h{n}" for n in range(NAMES)], "hours": 1}, "21 names would be traced, 20 at most"),
    ],
)
def test_what_cannot_be_traced_is_refused_and_changes_nothing(wanted: Any, reason: str) -> None:
    kit = Kit("")
    trace(kit, 0, "Disk")
    before = kit.repository.state["trace"]
    outcome = kit.process(kit.log.activate(1, kit.base, trace=wanted)).outcome
    assert outcome is not None
    assert outcome.disposition == Disposition.REFUSED
    assert reason in (outcome.reason or "")
    assert kit.repository.state["trace"] == before
