"""Timers fire before the record that comes later, in (due, id) order, each at its own due time."""

from __future__ import annotations

import pytest

from opentec.rules.effects import Timer
from opentec.rules.engine import Engine, PrimeError
from opentec.rules.selectors.indexed import IndexedSelector
from tests.rules.engine_kit import START, Kit

SET = """rule: set: ( event: _e of_class 'Link_Down' where [ msg: _info, repeat_count: _n ],
  reception_action: ( set_timer(_e, _n, _info) ) ).
"""
TELL = """timer_rule: tell: ( event: _e of_class 'Link' where [ status: outside ['CLOSED'] ],
  timer_duration: _d, timer_info: _info,
  action: ( get_time(_now), sprintf(_t, '%s after %d at %d', [_info, _d, _now]),
    generate_event('TEC_Notice', [msg=_t]) ) ).
"""


def told(kit: Kit) -> list[str]:
    return [text.replace(str(START // 100), "T") for text in kit.values("msg", "TEC_Notice")]


def test_order_and_due_times() -> None:
    kit = Kit(SET + TELL)
    kit.event(0, "Link_Down", msg="late", repeat_count=30)
    kit.event(0, "Link_Down", msg="b", repeat_count=10)
    kit.event(0, "Link_Down", msg="c", repeat_count=10)
    kit.event(1, "Link_Down", msg="early", repeat_count=1)
    assert kit.engine.next_due() == (START + 2) * 1_000_000
    effects = kit.event(20, "Link_Up")
    # those due come before the event, which has the next handle of its own second
    assert told(kit) == ["early after 1 at T02", "b after 10 at T10", "c after 10 at T10"]
    assert [event.key for event in effects.inserted] == [
        (START + 2, 1, 1),
        (START + 10, 1, 1),
        (START + 10, 2, 1),
        (START + 20, 1, 1),
    ]
    assert effects.timers_cancelled == [4, 2, 3]
    assert kit.engine.next_due() == (START + 30) * 1_000_000
    kit.tick(29.999999)
    assert len(told(kit)) == 3
    kit.tick(30)
    assert told(kit)[3:] == ["late after 30 at T30"]
    assert kit.engine.next_due() is None
    assert kit.repository.timers == {}


def test_conditions_on_the_timer_and_on_the_event() -> None:
    kit = Kit(
        SET
        + """timer_rule: one: ( event: _e of_class 'Link' where [ hostname: equals 'web1' ],
               timer_duration: greater_than 5, timer_info: equals 'x', action: ( set_event_message(_e, 'done') ) )."""
    )
    for host, info, seconds in (("web1", "x", 6), ("web1", "x", 5), ("web1", "y", 6), ("web2", "x", 6)):
        kit.event(0, "Link_Down", hostname=host, msg=info, repeat_count=seconds)
    kit.tick(10)
    assert kit.values("msg") == ["done", "x", "y", "x"]


def test_a_timer_set_by_a_timer_fires_in_the_same_record_when_it_is_due() -> None:
    kit = Kit(
        SET
        + """timer_rule: again: ( event: _e of_class 'Link' where [ ], timer_info: _i,
               action: ( add_to_repeat_count(_e, 1), set_timer(_e, 0, _i) ) )."""
    )
    kit.event(0, "Link_Down", msg="x", repeat_count=1)
    effects = kit.tick(5)
    # 1, 2, 3, 4, 5: a timer is at least a second long
    assert kit.values("repeat_count") == [6]
    assert [timer.due for timer in effects.timers_set] == [(START + 6) * 1_000_000]
    assert effects.timers_cancelled == [1]


def test_identities_of_what_two_firings_generate_differ() -> None:
    kit = Kit(
        SET
        + """timer_rule: again: ( event: _e of_class 'Link' where [ ],
               action: ( generate_event('Link_Up', []), set_timer(_e, 5, x) ) )."""
    )
    kit.event(0, "Link_Down", repeat_count=5)
    kit.tick(20)
    assert len({event.ident for event in kit.stored("Link_Up")}) == 4


def test_cancelling() -> None:
    kit = Kit(
        SET
        + """rule: up: ( event: _e of_class 'Link_Up' where [ hostname: _h, msg: _m ],
               action: ( first_instance(event: _d of_class 'Link_Down' where [ hostname: equals _h ]),
                 ( _m == 'all' -> cancel_all_timers(_d) ; cancel_timer(_d, _m) ) ) )."""
        + TELL
    )
    kit.event(0, "Link_Down", hostname="a", msg="x", repeat_count=10)
    kit.event(0, "Link_Down", hostname="b", msg="y", repeat_count=10)
    kit.event(1, "Link_Up", hostname="a", msg="y")
    assert len(kit.repository.timers) == 2
    effects = kit.event(2, "Link_Up", hostname="a", msg="x")
    assert effects.timers_cancelled == [1]
    kit.event(3, "Link_Up", hostname="b", msg="all")
    assert kit.repository.timers == {}
    kit.tick(60)
    assert told(kit) == []


def test_commit_set_in_timer_rules() -> None:
    body = "generate_event('Disk_OK', [msg={0}]){1}"
    rule = "timer_rule: {0}: ( event: _e of_class 'Link' where [ ], action: ( " + body + " ) )."
    kit = Kit(SET + rule.format("a", ", commit_set") + rule.format("b", ""), rule.format("c", ""))
    kit.event(0, "Link_Down", repeat_count=1)
    kit.tick(1)
    assert kit.values("msg", "Disk_OK") == ["a", "c"]


def test_a_timer_rule_cannot_drop_and_cannot_run_away() -> None:
    numbers = "[" + ", ".join(str(n) for n in range(50)) + "]"
    kit = Kit(
        SET + "timer_rule: a: ( event: _e of_class 'Link' where [ ], action: ( drop_received_event ) )."
        "timer_rule: b: ( event: _e of_class 'Link' where [ ],"
        f" action: ( member(_a, {numbers}), member(_b, {numbers}) ) )."
        "timer_rule: c: ( event: _e of_class 'Link' where [ ], action: ( set_event_message(_e, 'never') ) ).",
        step_limit=1000,
    )
    kit.event(0, "Link_Down", repeat_count=1)
    kit.tick(1)
    first, second = kit.values("msg", "TEC_Error")
    assert "only an event that was just received can be dropped" in first
    assert "stopped after 1000 steps" in second
    assert kit.values("msg", "Link_Down") == [""]


def test_an_event_outside_the_cache_keeps_its_timer() -> None:
    kit = Kit(SET + TELL, cache_size=20)
    kit.event(0, "Link_Down", msg="x", repeat_count=1000)
    for at in range(1, 40):
        kit.event(at, "Link_Up")
    assert kit.engine.needs_row(kit.log.change(41, (START, 1, 1), status="ACK")) is None
    kit.change(41, (START, 1, 1), severity="FATAL")
    kit.tick(1000)
    assert [text for text in kit.values("msg", "TEC_Notice") if text.startswith("x")]
    assert kit.engine.needs_row(kit.log.change(1001, (START, 1, 1), status="ACK")) == (START, 1, 1)


@pytest.mark.parametrize("body", ["set_timer(_e, 999999999, x)", "set_timer(_e, 5, f(1))", "set_timer(_e, 5, _e)"])
def test_what_cannot_be_a_timer(body: str) -> None:
    kit = Kit(f"rule: r: ( event: _e of_class 'Link' where [ ], action: ( {body} ) ).")
    kit.event(0, "Link_Down")
    assert len(kit.stored("TEC_Error")) == 1
    assert kit.engine.next_due() is None


def test_many_cancelled_timers_leave_no_heap() -> None:
    kit = Kit(
        """rule: r: ( event: _e of_class 'Link_Down' where [ ],
             action: ( first_instance(event: _p of_class 'Link_Down' where [ ]), cancel_all_timers(_p) ),
             action: ( set_timer(_e, 1000, x) ) )."""
    )
    for at in range(500):
        kit.event(at / 10, "Link_Down")
    assert len(kit.engine._timers) == 1
    assert len(kit.engine._timers._heap) < 100


def test_priming_without_the_event_of_a_timer_is_refused() -> None:
    kit = Kit(SET)
    with pytest.raises(PrimeError, match="timer 3 waits for event number 9"):
        Engine(kit.base, IndexedSelector()).prime([], [Timer(3, 1, 9, 1, "x")], {})
