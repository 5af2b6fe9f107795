"""What rules say: errors as events, the cache and its closed events as sentences."""

from __future__ import annotations

import pytest

from opentec.rules.engine import Engine
from opentec.rules.selectors.indexed import IndexedSelector
from tests.rules.engine_kit import Kit
from tests.rules.goal_kit import RULE, did

LOG = RULE.format(body="log_error('no owner for %s', [_h])")


def test_a_logged_error_is_an_event_that_names_the_rule() -> None:
    kit = Kit(LOG)
    kit.event(0, "Link_Down", hostname="web1")
    (error,) = kit.stored("TEC_Error")
    assert [error.get(slot) for slot in ("msg", "rule_set", "rule", "sub_source", "file", "line", "severity")] == [
        *("no owner for web1", "set1", "r", "set1", "set1.rls", 1, "CRITICAL")
    ]
    assert did(kit) == ["logged: no owner for web1"]


def test_one_error_a_minute_for_each_rule() -> None:
    kit = Kit(LOG, "rule: other: ( event: _e of_class 'Link_Down' where [ ], action: ( log_error('other') ) ).")
    kit.event(0, "Link_Down", hostname="a")
    kit.event(59, "Link_Down", hostname="b")
    assert did(kit)[1] == "no TEC_Error this time: the rule raised one less than 60 s ago"
    assert sorted(kit.values("msg", "TEC_Error")) == ["no owner for a", "other"]
    kit.repository.prime(kit.engine)  # the minute is remembered
    kit.event(59.5, "Link_Down", hostname="c")
    kit.event(60, "Link_Down", hostname="d")
    assert sorted(kit.values("msg", "TEC_Error")) == ["no owner for a", "no owner for d", "other", "other"]


def test_the_source_of_a_rule_sets_errors_can_be_named() -> None:
    configure = """rule: configure: ( event: _e of_class 'Link_Up' where [ ],
      action: ( set_log_error_source('paging'), set_log_error_source('paging') ) ).
    """
    kit = Kit(configure + LOG, LOG)
    kit.event(0, "Link_Up")
    kit.repository.prime(kit.engine)
    kit.event(1, "Link_Down")
    assert kit.values("sub_source", "TEC_Error") == ["paging", "set2"]


@pytest.mark.parametrize("name", ["''", f"'{'x' * 201}'"])
def test_a_source_has_a_name_of_a_sensible_length(name: str) -> None:
    kit = Kit(RULE.format(body=f"set_log_error_source({name})"))
    kit.event(0, "Link_Down")
    assert "is a name of 1 to 200 characters" in kit.values("msg", "TEC_Error")[0]


def test_long_messages_are_cut() -> None:
    kit = Kit(RULE.format(body=f"log_error('{'x' * 2000}')"))
    kit.event(0, "Link_Down")
    assert len(kit.values("msg", "TEC_Error")[0]) == 1000
    assert len(did(kit)[0]) == 200


def test_an_error_in_a_rule_on_errors_does_not_go_round() -> None:
    kit = Kit("rule: r: ( event: _e of_class 'TEC_Error' where [ ], action: ( log_error('again') ) ).")
    kit.event(0, "TEC_Error")
    assert kit.values("msg", "TEC_Error") == ["", "again"]


def test_a_printed_cache_is_a_note() -> None:
    kit = Kit(RULE.format(body="print_cache, print_cache('Disk')"))
    kit.event(0, "Disk_Full", hostname="a", msg="one", status="ACK")
    kit.event(1, "Link_Up", hostname="b", msg="two")
    kit.change(2, kit.stored()[0].key, status="CLOSED")
    kit.event(3, "Link_Down", hostname="c")
    one, two = (str(event) for event in kit.stored()[:2])
    first = f"{one} Disk_Full CLOSED WARNING a one"
    assert did(kit) == [
        "2 events of class EVENT are cached, 1 of them closed; newest first:",
        f"{two} Link_Up OPEN WARNING b two",
        first,
        "1 events of class Disk are cached, 1 of them closed; newest first:",
        first,
    ]


def test_a_large_cache_is_not_printed_whole() -> None:
    kit = Kit(RULE.format(body="print_cache"))
    for at in range(60):
        kit.event(at, "Link_Up")
    kit.event(60, "Link_Down")
    assert len(did(kit)) == 51


def test_a_cache_is_printed_to_no_file() -> None:
    kit = Kit(RULE.format(body="print_cache('cache.out')"))
    kit.event(0, "Link_Down")
    assert "print_cache names a class, and 'cache.out' is none" in kit.values("msg", "TEC_Error")[0]


CLEAR = """rule: clear: ( event: _e of_class 'Link_Down' where [ ], action: ( {goal} ) ).
rule: show: ( event: _e of_class 'Link_Up' where [ ], action: (
  findall(_m, (all_instances(event: _d of_class 'Disk' where [ ]), bo_get_slotval(_d, msg, _m)), _l),
  atomconcat(_l, _text), set_event_message(_e, _text) ) )."""


def after_clearing(goal: str) -> tuple[Kit, list[str]]:
    """Events 1 (open), 2, 3 (closed), 4 (open), 5 (closed) at 10 s, 20 s ...; the goal runs at 60 s."""
    kit = Kit(CLEAR.format(goal=goal))
    for n in range(1, 6):
        kit.event(n * 10, "Disk_Full", msg=str(n), hostname=f"h{n}")
    for n in (2, 3, 5):
        kit.change(51, kit.stored()[n - 1].key, status="CLOSED")
    kit.event(60, "Link_Down")
    return kit, did(kit)


def cached(kit: Kit, at: float) -> str:
    kit.event(at, "Link_Up")
    return str(kit.values("msg", "Link_Up")[-1])


@pytest.mark.parametrize(
    ("goal", "left", "noted"),
    [
        ("clear_closed_events", "41", ["3 closed events left the cache"]),
        ("clear_closed_events(0)", "41", ["3 closed events left the cache"]),
        ("clear_closed_events(30)", "541", ["2 closed events left the cache"]),
        ("clear_closed_events(31)", "5431", ["1 closed events left the cache"]),
        ("clear_closed_events(41)", "54321", []),
    ],
)
def test_closed_events_leave_the_cache_and_stay_away_after_a_restart(goal: str, left: str, noted: list[str]) -> None:
    kit, said = after_clearing(goal)
    assert said == noted
    assert cached(kit, 61) == left
    again = kit.repository.prime(Engine(kit.base, IndexedSelector()))
    assert again.state_hash() == kit.engine.state_hash()
    kit.engine = again
    assert cached(kit, 62) == left
    assert len(kit.stored("Disk_Full")) == 5  # the repository has them all


def test_what_is_closed_later_leaves_too_when_it_is_older() -> None:
    kit, _ = after_clearing("clear_closed_events")
    kit.change(61, kit.stored("Disk_Full")[0].key, status="CLOSED")
    assert cached(kit, 62) == "4"


def test_a_negative_age_is_refused() -> None:
    kit, _ = after_clearing("clear_closed_events(-5)")
    assert "age in seconds, which is not negative" in kit.values("msg", "TEC_Error")[0]
