"""What rules cost, by a clock that the test moves."""

from __future__ import annotations

from typing import Any

from opentec.rules.engine import Engine
from opentec.rules.profile import Cost, Profile
from opentec.rules.selectors.indexed import IndexedSelector
from tests.rules.engine_kit import Kit

TEXT = """
rule: count: ( event: _e of_class 'Disk' where [ size: greater_than 0 ],
  action: ( bo_get_slotval(_e, size, _n), between(1, _n, _x), _x < 0 ) ).
rule: hosts: ( event: _e of_class 'Disk_Full' where [ hostname: equals h1 ],
  action: one: ( true ), action: two: ( true ) ).
rule: ask: ( event: _e of_class 'Link_Down' where [ ],
  action: ( first_instance(event: _d of_class 'Disk'), change_event_status(_d, 'ACK') ) ).
rule: timed: ( event: _e of_class 'Link_Up' where [ ], action: ( set_timer(_e, 5, x) ) ).
timer_rule: due: ( event: _e of_class 'Link_Up' where [ ], action: ( fail ) ).
change_rule: guard: ( event: _e of_class 'Disk' where [ ], sender: _s, attribute: status set_to 'ACK',
  action: ( between(1, 500, _x), _x < 0 ) ).
rule: wrong: ( event: _e of_class 'Link' where [ ], action: ( bo_get_slotval(_e, msg, _m), _x is _m + 1 ) ).
"""


class Clock:
    """Each look at it takes a microsecond."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        self.now += 1000
        return self.now


def profiled(text: str = TEXT) -> tuple[Kit, Profile]:
    kit, profile = Kit(text), Profile(Clock())
    kit.engine = Engine(kit.base, IndexedSelector(), profile)
    return kit, profile


def costs(profile: Profile) -> dict[str, Cost]:
    return {cost.rule: cost for cost in profile.costs()}


def test_tries_matches_actions_steps_and_time() -> None:
    kit, profile = profiled()
    kit.event(0, "Disk_Full", hostname="h1", size=100)
    kit.event(1, "Disk_Full", hostname="h2", size=0)
    kit.event(2, "Disk_OK", size=0)
    found = costs(profile)
    assert set(found) == {"set1/count", "set1/hosts"}
    count, hosts = found["set1/count"], found["set1/hosts"]
    assert (count.place, count.tried, count.matched, count.actions) == ("set1.rls:2", 3, 1, 1)
    assert 100 <= count.steps <= 200
    # one microsecond for each try and each action
    assert count.nanoseconds == 4000
    # the selector keeps events of another host away from its filter
    assert (hosts.tried, hosts.matched, hosts.actions, hosts.steps, hosts.nanoseconds) == (1, 1, 2, 0, 3000)
    assert [cost.rule for cost in profile.costs()] == ["set1/count", "set1/hosts"]


def test_a_change_rule_has_its_own_cost() -> None:
    kit, profile = profiled()
    kit.event(0, "Disk_OK")
    kit.event(1, "Link_Down", msg="x")
    found = costs(profile)
    assert (found["set1/guard"].tried, found["set1/guard"].matched) == (1, 1)
    assert found["set1/guard"].steps >= 500
    assert found["set1/ask"].steps < 100
    # its action's time less that of the change rule: two looks at the clock for each of its two parts
    assert found["set1/guard"].nanoseconds == 2000
    assert found["set1/ask"].nanoseconds == 1000 + (5000 - 2000)


def test_timer_rules_and_rules_that_fail() -> None:
    kit, profile = profiled()
    kit.event(0, "Link_Up", msg="x")
    kit.tick(5)
    found = costs(profile)
    assert (found["set1/due"].tried, found["set1/due"].matched, found["set1/due"].actions) == (1, 1, 1)
    assert (found["set1/wrong"].tried, found["set1/wrong"].actions) == (1, 1)
    assert kit.stored("TEC_Error")


def test_it_changes_nothing() -> None:
    plain = Kit(TEXT)
    kit, profile = profiled()
    for one in (plain, kit):
        one.event(0, "Disk_Full", hostname="h1", size=100)
        one.event(1, "Link_Down", msg="x")
        one.event(2, "Link_Up")
        one.tick(9)
    assert kit.engine.state_hash() == plain.engine.state_hash()
    assert kit.repository.outcomes == plain.repository.outcomes
    assert profile.costs()


def test_another_rule_base_goes_on_in_the_same_profile() -> None:
    kit, profile = profiled()
    kit.event(0, "Disk_OK")
    other: Any = Kit(TEXT, content_hash="1" * 64).base
    kit.engine.activate(other)
    kit.process(kit.log.activate(1, other))
    kit.event(2, "Disk_OK")
    assert costs(profile)["set1/count"].tried == 2
