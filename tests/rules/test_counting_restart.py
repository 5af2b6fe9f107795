"""Counters, thresholds, definitions and activity: an engine that is primed anew goes on as the one before it."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opentec.rules.engine import Engine
from opentec.rules.selectors.indexed import IndexedSelector
from tests.rules.engine_kit import Kit

RULES = (
    """rule: configure: ( event: _event of_class within ['TEC_Start', 'TEC_Rulebase_Loaded'] where [ msg: _msg ],
      action: ( create_event_criteria(down, 'Link_Down', yes, [[severity, not_equals, _msg]]) ),
      action: ( create_threshold(fixed, down, [hostname], 3, 5),
        create_threshold(slow, 'Link', [], 3, 9, sliding, 12) ),
      action: ( create_clearing_event(up, 'Link_Up', [down], [hostname]),
        create_event_sequence(chain, [down, 'Disk_Full'], [attr_exception([drive])], 8),
        create_cache_search_criteria(near, 'Link', [hostname], 4, 4) ),
      action: ( _msg == 'FATAL', create_threshold(once, 'Disk', [drive], 2, 7) ),
      action: ( init_event_activity([], [hostname, severity]) ) ).
""",
    """rule: count: ( event: _event of_class within ['Link', 'Disk'] where [ hostname: _h ],
      action: ( check_and_increment_count([events, _h], 4), reset_count([events, _h]),
        set_event_message(_event, four) ),
      action: ( check_all_thresholds(_event, _name), generate_event('TEC_Notice', [msg=_name, hostname=_h]) ),
      action: ( '$frequency_exceeds'(_event, s, 4, 6), generate_event('TEC_Notice', [msg=often]) ),
      action: ( search_cache(_event, near, _e), re_mark_as_modified(_e) ),
      action: ( update_event_activity(_event) ) ).
    rule: clear: ( event: _event of_class 'Link_Up' where [ hostname: _h ],
      action: ( all_clear_targets(_event, _p), change_event_status(_p, 'CLOSED') ),
      action: ( _h == 'b', reset_threshold(fixed), reset_event_activity ),
      action: ( reset_threshold(_event, slow) ) ).
    rule: effect: ( event: _event of_class 'Disk_Full' where [ ],
      action: ( first_sequence_cause(_event, _name, _cause), link_effect_to_cause(_event, _cause) ) ).
""",
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.3, 1.0, 3.0, 6.0, 20.0]),
        st.sampled_from(["Link_Down"] * 4 + ["Link_Up", "Disk_Full", "Disk_Full", "TEC_Start", "TEC_Rulebase_Loaded"]),
        st.sampled_from("abc"),
        st.sampled_from(["FATAL", "MINOR"]),
    ),
    max_size=50,
)


def start() -> Kit:
    kit = Kit(*RULES)
    kit.event(0, "TEC_Start", msg="FATAL")
    return kit


def step(kit: Kit, at: float, name: str, host: str, severity: str) -> None:
    slots = {"hostname": host, "severity": severity}
    if name.startswith("TEC"):
        slots["msg"] = severity
    elif name.startswith("Disk"):
        slots["drive"] = host
    effects = kit.event(at, name, **slots)
    assert effects.outcome is not None
    assert effects.outcome.event is not None


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(STEPS, st.sets(st.integers(0, 49), max_size=5))
def test_a_restart_at_any_place_changes_nothing(steps: list[Any], cuts: set[int]) -> None:
    whole, cut = start(), start()
    at = 0.0
    for number, (wait, *rest) in enumerate(steps):
        at += wait
        if number in cuts:
            engine = cut.repository.prime(Engine(cut.base, IndexedSelector()))
            assert engine.state_hash() == cut.engine.state_hash()
            cut.engine = engine
        step(whole, at, *rest)
        step(cut, at, *rest)
    assert cut.engine.state_hash() == whole.engine.state_hash()
    assert cut.repository.state == whole.repository.state
    assert cut.repository.rows == whole.repository.rows
    assert whole.stored("TEC_Error") == []


def test_the_rules_of_this_test_do_something() -> None:
    kit = start()
    for at in range(6):
        step(kit, at, "Link_Down", "a", "MINOR")
    for at in (7, 8):
        step(kit, at, "Disk_Full", "a", "MINOR")
    step(kit, 9, "Link_Up", "a", "MINOR")
    assert set(kit.values("msg", "TEC_Notice")) == {"fixed", "slow", "once", "often"}
    assert kit.values("status", "Link_Down") == ["CLOSED"] * 6
    assert kit.values("cause_event_handle", "Disk_Full") != [0, 0]
    assert "four" in kit.values("msg", "Link_Down")
    kept = {key.partition(":")[0] for key in kit.repository.state}
    assert kept > {"counter", "window", "threshold", "criteria", "clearing", "sequence", "search", "activity_count"}
