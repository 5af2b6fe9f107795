"""What the engine does with each kind of record, and the control flow of rules (tec-2.md 3.5)."""

from __future__ import annotations

import pytest

from opentec.events.errors import SourceErrors
from opentec.events.records import Disposition, Kind
from opentec.rules.engine import CACHE_FULL, Engine
from opentec.rules.selectors.indexed import IndexedSelector
from tests.rules.engine_kit import START, Kit, dispositions, rule_base

COUNT_DUPLICATES = """
rule: count: ( event: _e of_class 'Disk' where [ ],
  reception_action: ( first_duplicate(_e, event: _dup where [ status: outside ['CLOSED'] ], _e - 600 - 600),
    add_to_repeat_count(_dup, 1), drop_received_event, commit_set ) ).
"""
CLEAR = """
rule: clear: ( event: _e of_class 'Disk_OK' where [ hostname: _host, drive: _drive ],
  reception_action: close_it: ( all_instances(event: _d of_class 'Disk_Full' where
      [ hostname: equals _host, drive: equals _drive, status: outside ['CLOSED'] ], _e - 3600 - 3600),
    change_event_status(_d, 'CLOSED'), drop_received_event ) ).
"""


def test_an_event_without_rules_is_stored_with_its_key_and_defaults() -> None:
    kit = Kit("")
    effects = kit.event(0.5, "Link_Down", hostname="web1")
    assert effects.outcome is not None
    assert effects.outcome.disposition == Disposition.STORED
    assert effects.outcome.key == (START, 1, 1)
    (event,) = kit.stored()
    assert (event.get("severity"), event.get("status"), event.get("hostname")) == ("CRITICAL", "OPEN", "web1")
    assert event.ident == "rx:1:100"
    assert event.get("nonsense") is None


def test_event_handles_count_within_the_second() -> None:
    kit = Kit("")
    for at in (0.1, 0.9, 1.0):
        kit.event(at, "Link_Down")
    assert [event.key for event in kit.stored()] == [(START, 1, 1), (START, 2, 1), (START + 1, 1, 1)]


def test_duplicates_are_counted_and_dropped() -> None:
    kit = Kit(COUNT_DUPLICATES)
    kit.event(0, "Disk_Full", hostname="web1", drive="C:")
    effects = kit.event(600, "Disk_Full", hostname="web1", drive="C:")
    assert effects.outcome is not None
    assert effects.outcome.disposition == Disposition.DROPPED
    assert effects.outcome.event is not None
    assert effects.outcome.event.key == (START, 1, 1)
    assert effects.outcome.key == (START + 600, 1, 1)
    assert effects.outcome.reason == "dropped by rule set1/count"
    (fired,) = effects.outcome.fired
    assert (fired.rule_set, fired.rule, fired.actions) == ("set1", "count", ["action_1"])
    assert fired.did == [f"repeat_count of {START}.1 is now 1", "dropped the event"]
    kit.event(601, "Disk_Full", hostname="web1", drive="C:")  # outside the window of 600 s
    kit.event(602, "Disk_Full", hostname="web1", drive="D:")  # another value of a dup_detect slot
    kit.event(603, "Disk_OK", hostname="web1", drive="C:")  # another class
    assert kit.values("repeat_count") == [1, 0, 0, 0]


def test_without_dup_detect_slots_every_event_of_the_class_is_a_duplicate() -> None:
    kit = Kit(COUNT_DUPLICATES.replace("'Disk'", "'Link'"))
    kit.event(0, "Link_Down", hostname="web1")
    kit.event(1, "Link_Down", hostname="web2")
    kit.event(2, "Link_Up", hostname="web1")
    assert kit.values("repeat_count") == [1, 0]


def test_a_recovery_closes_all_problems_and_is_dropped() -> None:
    kit = Kit(CLEAR)
    kit.event(0, "Disk_Full", hostname="web1", drive="C:")
    kit.event(5, "Disk_Full", hostname="web1", drive="C:", msg="again")
    kit.event(6, "Disk_Full", hostname="web2", drive="C:")
    effects = kit.event(30, "Disk_OK", hostname="web1", drive="C:")
    assert effects.outcome is not None
    assert effects.outcome.disposition == Disposition.DROPPED
    assert kit.values("status") == ["CLOSED", "CLOSED", "OPEN"]
    assert kit.values("duration") == [30, 25, 0]
    assert kit.values("administrator") == ["set1.rls", "set1.rls", ""]
    assert kit.values("last_modified_time") == [START + 30, START + 30, START + 6]


def test_an_event_that_arrives_closed_closes_the_newest_open_duplicate() -> None:
    kit = Kit("")
    for at in (0, 1):
        kit.event(at, "Disk_Full", hostname="web1", drive="C:")
    effects = kit.event(10, "Disk_Full", hostname="web1", drive="C:", status="CLOSED")
    assert effects.outcome is not None
    assert effects.outcome.disposition == Disposition.DROPPED
    assert effects.outcome.reason == f"it arrived CLOSED and closed {START + 1}.1"
    assert kit.values("status") == ["OPEN", "CLOSED"]
    assert kit.values("duration") == [0, 9]
    kit.event(11, "Disk_Full", hostname="web1", drive="C:", status="CLOSED")
    nothing = kit.event(12, "Disk_Full", hostname="web1", drive="C:", status="CLOSED")
    assert nothing.outcome is not None
    assert nothing.outcome.reason == "it arrived CLOSED, and no duplicate is open"
    assert kit.values("status") == ["CLOSED", "CLOSED"]


MARK = "rule: {name}: ( event: _e of_class 'Link' where [ ], action: ( {body} ) )."


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ("drop_received_event", ["b", "c"]),
        ("commit_action", ["b", "c"]),
        ("commit_rule", ["b", "c"]),
        ("commit_set", ["c"]),
        ("commit_set, fail", ["c"]),
        ("fail, commit_set", ["b", "c"]),
    ],
)
def test_how_far_a_commit_reaches(first: str, expected: list[str]) -> None:
    one = MARK.format(name="a", body=first) + MARK.format(name="b", body="generate_event('TEC_Notice', [msg=b])")
    kit = Kit(one, MARK.format(name="c", body="generate_event('TEC_Notice', [msg=c])"))
    kit.event(0, "Link_Down")
    assert kit.values("msg", "TEC_Notice") == expected


def test_commit_rule_skips_the_remaining_actions_and_what_follows_it_in_the_body_still_runs() -> None:
    kit = Kit(
        """rule: r: ( event: _e of_class 'Link' where [ ],
        action: ( commit_rule, set_event_message(_e, 'first') ),
        action: ( set_event_message(_e, 'second') ) )."""
    )
    kit.event(0, "Link_Down")
    assert kit.values("msg") == ["first"]


def test_a_commit_cuts_the_choices_before_it_and_not_those_behind_it() -> None:
    kit = Kit(
        """rule: r: ( event: _e of_class 'Link' where [ ],
        action: ( member(_a, [1, 2]), commit_action, member(_b, [3, 4]), sprintf(_t, '%d%d', [_a, _b]),
          generate_event('TEC_Notice', [msg=_t]) ) )."""
    )
    kit.event(0, "Link_Down")
    assert kit.values("msg", "TEC_Notice") == ["13", "14"]


def test_a_failing_goal_fails_its_action_and_the_next_one_runs() -> None:
    kit = Kit(
        """rule: r: ( event: _e of_class 'Link' where [ hostname: _h ],
        action: one: ( _h == 'nobody', set_event_message(_e, 'one') ),
        action: two: ( \\+ _h == 'nobody', set_event_severity(_e, 'FATAL') ) )."""
    )
    effects = kit.event(0, "Link_Down", hostname="web1")
    assert effects.outcome is not None
    assert effects.outcome.fired[0].actions == ["two"]
    assert (kit.values("msg"), kit.values("severity")) == ([""], ["FATAL"])


def test_a_change_by_one_rule_is_seen_by_the_next_and_the_selection_is_repeated() -> None:
    kit = Kit(
        """rule: raise: ( event: _e of_class 'Link' where [ severity: equals 'CRITICAL' ],
             action: ( set_event_severity(_e, 'FATAL') ) ).
           rule: fatal: ( event: _e of_class 'Link' where [ severity: equals 'FATAL' ],
             action: ( set_event_message(_e, 'fatal') ) ).
           rule: critical: ( event: _e of_class 'Link' where [ severity: equals 'CRITICAL' ],
             action: ( set_event_message(_e, 'critical') ) )."""
    )
    kit.event(0, "Link_Down")
    assert kit.values("msg") == ["fatal"]


def test_generated_events_come_after_their_cause_and_pass_all_rules() -> None:
    kit = Kit(
        """rule: first: ( event: _e of_class 'Link_Down' where [ hostname: _h ],
             action: ( generate_event('Disk_Full', [hostname=_h, size=7, load=1, tags=[a, b]]),
                       set_event_message(_e, 'cause') ) ).
           rule: second: ( event: _e of_class 'Disk_Full' where [ hostname: _h ],
             action: ( first_instance(event: _c of_class 'Link_Down' where [ hostname: equals _h ]),
                       link_effect_to_cause(_e, _c) ) )."""
    )
    effects = kit.event(3, "Link_Down", hostname="web1")
    cause, effect = kit.stored()
    assert effect.key == (START + 3, 2, 1)
    assert (effect.get("cause_date_reception"), effect.get("cause_event_handle")) == (START + 3, 1)
    assert (effect.get("size"), effect.get("load"), effect.get("tags")) == (7, 1.0, ["a", "b"])
    assert len(effect.ident) == 32
    assert effect.position == cause.position
    assert effects.outcome is not None
    assert [fired.event for fired in effects.outcome.fired] == ["", str(effect)]


def test_a_dropped_cause_still_generates_and_its_timers_and_programs_let_go() -> None:
    kit = Kit(
        """rule: r: ( event: _e of_class 'Link_Down' where [ ],
             action: ( set_timer(_e, 10, x), exec_program(_e, mail, '', [], 'NO'), generate_event('Link_Up', []),
                       drop_received_event ) )."""
    )
    effects = kit.event(0, "Link_Down")
    assert [event.class_name for event in kit.stored()] == ["Link_Up"]
    assert effects.timers_set == []
    assert kit.engine.next_due() is None
    assert [program.eid for program in effects.programs] == [None]


def test_runaway_generation_is_cut_off_with_a_notice() -> None:
    kit = Kit(MARK.format(name="r", body="generate_event('Link_Up', [])"))
    effects = kit.event(0, "Link_Down")
    assert len(kit.stored("Link_Up")) == 1000
    (error,) = kit.stored("TEC_Error")
    assert "set1/r" in error.get("msg")
    assert effects.outcome is not None
    assert effects.outcome.disposition == Disposition.STORED


def test_runaway_backtracking_is_stopped_and_the_event_stored() -> None:
    numbers = "[" + ", ".join(str(n) for n in range(100)) + "]"
    body = f"drop_received_event, member(_a, {numbers}), member(_b, {numbers}), member(_c, {numbers}), fail"
    kit = Kit(
        MARK.format(name="r", body=body) + MARK.format(name="later", body="set_event_message(_e, x)"), step_limit=5000
    )
    effects = kit.event(0, "Link_Down")
    assert effects.outcome is not None
    assert effects.outcome.disposition == Disposition.STORED
    (error,) = kit.stored("TEC_Error")
    assert "set1.rls:1: rule set1/r: action 'action_1' was stopped after 5000 steps" in error.get("msg")
    assert (error.get("rule"), error.get("line")) == ("r", 1)
    assert kit.values("msg", "Link_Down") == [""]


def test_searches_of_a_large_cache_count_as_steps() -> None:
    search = "all_instances(event: _{0} of_class 'Disk' where [ drive: equals 'none' ])"
    body = (
        "all_instances(event: _a of_class 'Disk' where [ ]), all_instances(event: _b of_class 'Disk' where [ ]), "
        + search.format("c")
    )
    kit = Kit(MARK.format(name="r", body=body), step_limit=20_000)
    for at in range(200):
        kit.event(at, "Disk_Full", drive=f"d{at}")
    kit.event(201, "Link_Down")
    assert len(kit.stored("TEC_Error")) == 1


def test_an_error_of_a_rule_fails_its_action_and_is_told_once_a_minute() -> None:
    kit = Kit(
        """rule: r: ( event: _e of_class 'Link' where [ msg: _m ],
        action: ( _x is _m + 1, set_event_message(_e, 'never') ),
        action: ( set_event_severity(_e, 'FATAL') ) )."""
    )
    for at in (0, 30, 59.9, 60):
        kit.event(at, "Link_Down", msg="five")
    assert kit.values("msg", "Link_Down") == ["five"] * 4
    assert kit.values("severity", "Link_Down") == ["FATAL"] * 4
    errors = kit.stored("TEC_Error")
    assert [error.get("date_reception") - START for error in errors] == [0, 60]
    assert errors[0].get("msg") == "set1.rls:2: rule set1/r: _m is 'five', which is not a number"


def test_rejected_and_unknown_events_are_rejected() -> None:
    kit = Kit("")
    kit.process(kit.log.rejected(0, "class 'X' is not defined"))
    kit.event(1, "Nobody")
    kit.event(1, "Link_Down", colour="red")
    assert dispositions(kit.effects) == [Disposition.REJECTED] * 3
    assert [effects.outcome.reason for effects in kit.effects if effects.outcome] == [
        "class 'X' is not defined",
        "class 'Nobody' is not defined in the rule base 'test'",
        "class Link_Down has no slot 'colour' in the rule base 'test'",
    ]
    assert kit.stored() == []
    assert kit.repository.state == {"eid": 1, "handle": [0, 0], "timer": 1, "f": 0, "f2": 0}


def test_a_failover_notice_is_named_by_its_epoch() -> None:
    kit = Kit("")
    kit.process(kit.log.notice(0, "TEC_Failover", epoch=1))
    kit.process(kit.log.notice(0, "TEC_Start"))
    assert [event.ident for event in kit.stored()] == ["failover:1", "rx:1:200"]


def test_quarantined_records_end_failed_and_do_nothing() -> None:
    kit = Kit(COUNT_DUPLICATES)
    records = [
        kit.log.event(0, "Link_Down"),
        kit.log.change(1, (START, 1, 1), status="ACK"),
        kit.log.tick(2),
        kit.log.record(Kind.QUARANTINE, 3),
    ]
    kit.engine.quarantine({record.position: "it hung" for record in records[:3]})
    before = kit.engine.state_hash()
    for record in records:
        kit.process(record)
    assert dispositions(kit.effects) == [Disposition.FAILED] * 2
    assert [made.outcome.reason for made in kit.effects if made.outcome] == ["set aside: it hung"] * 2
    assert kit.engine.state_hash() == before
    assert kit.stored() == []


class TestChange:
    """Changes that operators ask for."""

    def kit(self) -> Kit:
        kit = Kit("")
        kit.event(0, "Disk_Full", hostname="web1", drive="C:")
        return kit

    def reason(self, kit: Kit, at: float = 10, **slots: object) -> str | None:
        outcome = kit.change(at, (START, 1, 1), **slots).outcome
        assert outcome is not None
        assert (outcome.disposition == Disposition.REFUSED) is (outcome.reason is not None)
        return outcome.reason

    def test_acknowledge_and_close(self) -> None:
        kit = self.kit()
        assert self.reason(kit, 10, status="ACK") is None
        assert kit.values("administrator") == ["ann"]
        assert kit.values("duration") == [0]
        outcome = kit.change(25, (START, 1, 1), "bob", status="CLOSED").outcome
        assert outcome is not None
        assert outcome.disposition == Disposition.APPLIED
        assert [kit.values(slot) for slot in ("status", "administrator", "duration")] == [["CLOSED"], ["bob"], [25]]

    def test_a_second_acknowledgement_takes_over(self) -> None:
        kit = self.kit()
        self.reason(kit, 10, status="ACK")
        kit.change(11, (START, 1, 1), "bob", status="ACK")
        assert kit.values("administrator") == ["bob"]

    def test_an_administrator_who_is_named_wins(self) -> None:
        kit = self.kit()
        assert self.reason(kit, 10, status="ACK", administrator="carol", severity="FATAL") is None
        assert (kit.values("administrator"), kit.values("severity")) == (["carol"], ["FATAL"])

    def test_what_is_refused(self) -> None:
        kit = self.kit()
        assert self.reason(kit) == "the change names no slot"
        assert "is part of the event's key" in str(self.reason(kit, event_handle=7))
        assert "has no slot 'colour'" in str(self.reason(kit, colour="red"))
        assert "is not a STATUS" in str(self.reason(kit, status="SHUT"))
        assert self.reason(kit, status="RESPONSE") == "the status RESPONSE is set by rules only"
        kit.change(11, (START, 1, 1), status="CLOSED")
        assert self.reason(kit, 12, status="CLOSED") == f"event {START}.1 is CLOSED already, by ann"
        assert self.reason(kit, 12, status="ACK") == f"event {START}.1 is CLOSED already, by ann"
        outcome = kit.change(13, (START, 9, 1), status="ACK").outcome
        assert outcome is not None
        assert outcome.reason == f"there is no event {START}.9"

    def test_an_event_outside_the_cache_is_changed_by_its_row(self) -> None:
        kit = Kit("", cache_size=20)
        for at in range(25):
            kit.event(at, "Link_Down", hostname=f"h{at}")
        record = kit.log.change(40, (START, 1, 1), status="CLOSED")
        assert kit.engine.needs_row(record) == (START, 1, 1)
        assert kit.engine.needs_row(kit.log.change(40, (START + 24, 1, 1), status="CLOSED")) is None
        assert kit.engine.needs_row(kit.log.tick(1)) is None
        kit.process(record)
        assert kit.stored()[0].get("status") == "CLOSED"
        assert len(kit.effects[-1].changed) == 1

    def test_a_reopened_event_comes_back_into_the_cache_at_its_place(self) -> None:
        kit = self.kit()
        kit.event(1, "Disk_Full", hostname="web1", drive="C:", msg="newer")
        kit.change(2, (START, 1, 1), status="CLOSED")
        assert self.reason(kit, 3, status="OPEN") is None
        kit.event(4, "Disk_Full", hostname="web1", drive="C:", status="CLOSED")
        assert kit.values("status") == ["OPEN", "CLOSED"]


class TestFullCache:
    """F2 <= F rise by 5 %, closed events go first (spine: the rule process)."""

    def test_the_oldest_leave_and_a_notice_says_so(self) -> None:
        kit = Kit("", cache_size=100)
        for at in range(100):
            kit.event(at, "Disk_Full", drive=f"d{at}")
        assert kit.stored("TEC_Notice") == []
        kit.event(100, "Disk_Full", drive="last")
        (notice,) = kit.stored("TEC_Notice")
        assert notice.get("msg") == CACHE_FULL
        assert (kit.repository.state["f"], kit.repository.state["f2"]) == (6, 6)
        kit.event(101, "Disk_Full", drive="d4", status="CLOSED")  # its duplicate is gone from the cache
        kit.event(102, "Disk_Full", drive="d5", status="CLOSED")
        assert [event.get("drive") for event in kit.stored() if event.status == "CLOSED"] == ["d5"]

    def test_closed_events_leave_first(self) -> None:
        kit = Kit("", cache_size=100)
        for at in range(100):
            kit.event(at, "Disk_Full", drive=f"d{at}")
        for at in (10, 20, 30, 40, 50, 60):
            kit.change(200, (START + at, 1, 1), status="CLOSED")
        kit.event(201, "Disk_Full", drive="last")
        assert (kit.repository.state["f"], kit.repository.state["f2"]) == (42, 2)
        # what is open below F stays, and goes at once when it is closed
        record = kit.log.change(202, (START + 5, 1, 1), status="CLOSED")
        assert kit.engine.needs_row(record) is None
        kit.process(record)
        assert kit.engine.needs_row(record) == (START + 5, 1, 1)
        # and what was closed lately stays
        assert kit.engine.needs_row(kit.log.change(203, (START + 50, 1, 1), status="OPEN")) is None

    def test_a_tiny_cache_does_not_notice_for_ever(self) -> None:
        kit = Kit("", cache_size=1)
        for at in range(3):
            kit.event(at, "Link_Down")
        assert len(kit.stored("TEC_Notice")) == 2


def test_activation_swaps_rules_and_keeps_events_and_timers() -> None:
    kit = Kit(MARK.format(name="r", body="set_timer(_e, 100, x)"))
    kit.event(0, "Link_Down", hostname="web1")
    new = rule_base(
        """timer_rule: t: ( event: _e of_class 'Link' where [ ], timer_info: equals 'x',
             action: ( set_event_message(_e, 'fired') ) ).""",
        name="new",
        content_hash="f" * 64,
    )
    kit.engine.activate(new)
    kit.process(kit.log.activate(1, new, cache_size=50))
    assert kit.repository.state["rule_base"] == ["f" * 64, "new", {"cache_size": 50}]
    assert kit.engine.rule_base is new
    assert kit.engine._cache.size == 50
    kit.tick(101)
    assert kit.values("msg", "Link_Down") == ["fired"]
    again = kit.repository.prime(Engine(new, IndexedSelector()))
    assert again.state_hash() == kit.engine.state_hash()


def test_a_rule_base_that_does_not_compile_is_refused_whole() -> None:
    kit = Kit(CLEAR)
    before = kit.engine.state_hash()
    broken = rule_base(MARK.format(name="r", body="no_such_goal(_e)"), check=False)
    with pytest.raises(SourceErrors, match="predicate 'no_such_goal' is not defined"):
        kit.engine.activate(broken)
    assert kit.engine.state_hash() == before
    kit.event(0, "Disk_Full", hostname="a", drive="C:")
    kit.event(1, "Disk_OK", hostname="a", drive="C:")
    assert kit.values("status") == ["CLOSED"]


def test_a_fault_of_the_program_itself_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    kit = Kit(MARK.format(name="r", body="get_time(_t)"))
    monkeypatch.setattr("opentec.rules.evaluation.Evaluation.seconds", property(lambda self: 1 / 0))
    with pytest.raises(ZeroDivisionError):
        kit.event(0, "Link_Down")
