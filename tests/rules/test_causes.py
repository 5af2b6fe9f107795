"""The link between effect and cause, followed both ways (tec.md 2.3, 3.6)."""

from __future__ import annotations

import pytest

from opentec.rules.engine import Engine
from opentec.rules.selectors.indexed import IndexedSelector
from tests.rules.engine_kit import START, Kit

# Link_Down causes Disk_Full of the same host; TEC_Start asks a question and notes the msg of what it finds
RULES = """
rule: effect: ( event: _e of_class 'Disk_Full' where [hostname: _h],
  action: ( first_instance(event: _c of_class 'Link_Down' where [hostname: equals _h]),
    link_effect_to_cause(_e, _c) ) ).
rule: ask: ( event: _q of_class 'TEC_Start' where [hostname: _about],
  action: ( first_instance(event: _it of_class 'EVENT' where [msg: equals _about]), %s,
    bo_get_slotval(_f, msg, _m), generate_event('TEC_Notice', [msg=_m]) ) ).
"""


def answers(question: str, about: str, *texts: str) -> list[object]:
    kit = Kit(RULES % question, *texts)
    kit.event(0, "Link_Down", hostname="a", msg="down")
    for n, drive in enumerate("CDE"):
        kit.event(1 + 100 * n, "Disk_Full", hostname="a", drive=drive, msg=drive)
    kit.event(300, "Disk_Full", hostname="other", drive="X", msg="X")
    kit.change(301, (START + 201, 1, 1), status="CLOSED")  # E
    kit.event(302, "TEC_Start", hostname=about)
    # the same after a restart
    again = kit.repository.prime(Engine(kit.base, IndexedSelector()))
    assert again.state_hash() == kit.engine.state_hash()
    found = kit.values("msg", "TEC_Notice")
    kit.engine = again
    kit.event(303, "TEC_Start", hostname=about)
    assert kit.values("msg", "TEC_Notice") == found * 2
    return found


@pytest.mark.parametrize(
    ("question", "about", "found"),
    [
        ("first_effect_event(_it, event: _f of_class 'EVENT' where [])", "down", ["E"]),
        ("first_effect_event(_it, event: _f where [status: outside ['CLOSED']])", "down", ["D"]),
        ("first_effect_event(_it, event: _f of_class 'Link' where [])", "down", []),
        ("first_effect_event(_it, event: _f where [drive: equals 'C'])", "down", ["C"]),
        ("first_effect_event(_it, event: _f where [], _it - 0 - 50)", "down", ["C"]),
        ("first_effect_event(_it, event: _f where [])", "C", []),
        ("all_effect_events(_it, event: _f where [])", "down", ["E", "D", "C"]),
        ("all_effect_events(_it, event: _f where [status: equals 'OPEN'])", "down", ["D", "C"]),
        ("all_effect_events(_it, event: _f where [], _it - 0 - 150)", "down", ["D", "C"]),
        ("first_causal_event(_it, event: _f of_class 'Link' where [])", "D", ["down"]),
        ("first_causal_event(_it, event: _f of_class 'Disk' where [])", "D", []),
        ("first_causal_event(_it, event: _f where [], _it - 50 - 0)", "D", []),
        ("first_causal_event(_it, event: _f where [status: outside ['CLOSED']])", "D", ["down"]),
        ("first_causal_event(_it, event: _f where [status: equals 'CLOSED'])", "D", []),
        ("first_causal_event(_it, event: _f where [])", "X", []),
        ("first_causal_event(_it, event: _f where [])", "down", []),
        ("first_related_event(_it, event: _f where [])", "down", ["E"]),
        ("first_related_event(_it, event: _f where [])", "E", ["D"]),
        ("first_related_event(_it, event: _f of_class 'Link' where [])", "E", ["down"]),
        ("first_related_event(_it, event: _f where [status: outside ['CLOSED']])", "C", ["D"]),
        ("first_related_event(_it, event: _f where [])", "X", []),
    ],
)
def test_what_is_found(question: str, about: str, found: list[str]) -> None:
    assert answers(question, about) == found


def test_a_closed_cause_is_not_found_by_a_filter_for_open_ones() -> None:
    kit = Kit(RULES % "first_causal_event(_it, event: _f where [status: outside ['CLOSED']])")
    kit.event(0, "Link_Down", hostname="a", msg="down")
    kit.event(1, "Disk_Full", hostname="a", msg="C")
    kit.change(2, (START, 1, 1), status="CLOSED")
    kit.event(3, "TEC_Start", hostname="C")
    assert kit.values("msg", "TEC_Notice") == []


def test_an_effect_moves_with_its_link() -> None:
    kit = Kit(
        RULES % "first_effect_event(_it, event: _f where [])"
        + """rule: move: ( event: _e of_class 'Link_Up' where [hostname: _h],
          action: ( first_instance(event: _f of_class 'Disk_Full' where []),
            ( _h == gone -> unlink_from_cause(_f) ;
              first_instance(event: _c of_class 'Link_Down' where [hostname: equals _h]),
              link_effect_to_cause(_f, _c) ) ) )."""
    )
    kit.event(0, "Link_Down", hostname="a", msg="one")
    kit.event(1, "Link_Down", hostname="b", msg="two")
    kit.event(2, "Disk_Full", hostname="a", msg="C")

    def effects_of() -> list[str]:
        found = []
        for name in ("one", "two"):
            before = len(kit.stored("TEC_Notice"))
            kit.event(5, "TEC_Start", hostname=name)
            found += [name] * (len(kit.stored("TEC_Notice")) - before)
        return found

    assert effects_of() == ["one"]
    kit.event(3, "Link_Up", hostname="b")
    assert effects_of() == ["two"]
    kit.event(3, "Link_Up", hostname="gone")
    assert effects_of() == []
    assert kit.engine._cache._open.by_cause == {}


def test_effects_that_leave_the_cache_are_found_no_more() -> None:
    kit = Kit(RULES % "first_effect_event(_it, event: _f where [])", cache_size=4)
    kit.event(0, "Link_Down", hostname="a", msg="down")
    kit.event(1, "Disk_Full", hostname="a", msg="C")
    for n in range(6):
        kit.event(2 + n, "Link_Up")
    assert kit.engine._cache._open.by_cause == {}
