"""Coverage as numbers, text and JSON; coverage of several processes as one."""

from __future__ import annotations

import pickle

import msgspec
import pytest

from opentec.testing.coverage import as_data, fully_covered, lines, merge, percent
from opentec.testing.coverage_data import CoverageData, Item, dead
from tests.testing.coverage_kit import Covered

RULES = """
small(_n) :- _n < 5.
rule: a: ( event: _e of_class 'Disk' where [ size: _n greater_than 2 ],
  action: ( small(_n) ), action: wait: ( _n > 7, set_timer(_e, 9, x) ) ).
rule: b: ( event: _e of_class 'Disk' where [ size: equals 4 ], action: ( commit_set ) ).
rule: c: ( event: _e of_class 'Disk' where [ size: smaller_than 9 ], action: ( true ) ).
"""


def of_items(*seen: int) -> CoverageData:
    items = tuple(Item("rule", "s", f"r{n}", "s.rls:1", f"r{n}", n, ("fired",)) for n in range(len(seen)))
    return CoverageData("base", "0" * 64, items, (), (), bytes(seen))


@pytest.mark.parametrize(
    ("seen", "expected"), [((), 100), ((0,), 0), ((1,), 100), ((1, 1, 0), 66), ((1,) * 999 + (0,), 99)]
)
def test_percent_is_rounded_down(seen: tuple[int, ...], expected: int) -> None:
    assert percent(of_items(*seen)) == expected
    assert fully_covered(of_items(*seen)) is all(seen)


def test_conditions_do_not_count_for_full_coverage() -> None:
    kit = Covered("rule: a: ( event: _e of_class 'Disk' where [ size: equals 4 ], action: ( true ) ).")
    kit.event(0, "Disk", size=4)
    data = kit.coverage.data()
    assert fully_covered(data)
    assert percent(data) < 100


def test_the_report() -> None:
    kit = Covered(RULES, "rule: d: ( event: _e of_class 'Link' where [ ], action: ( true ) ).")
    kit.event(0, "Disk", size=4)
    kit.event(1, "Link")
    assert kit.report() == [
        "coverage of base: 64 % (18 of 28)",
        "  set1      54 %  rules 2/3, actions 2/4, conditions 7/12, timers 0/2, clauses 1/1",
        "      base/set1.rls:3: rule a: size: greater_than 2 was never false",
        "      base/set1.rls:4: rule a: action wait never reached its end: it never came "
        "behind base/set1.rls:4: _n > 7",
        "      base/set1.rls:4: rule a: set_timer(_e, 9, x) was never set",
        "      base/set1.rls:5: rule b: size: equals 4 was never false",
        "      base/set1.rls:6: rule c never fired: never reached: set1/b ended evaluation before it in every test "
        "that has an event for it",
        "  set2     100 %  rules 1/1, actions 1/1, conditions 2/2",
        "  classes  100 %  classes 2/2",
    ]


def test_a_class_that_was_not_seen() -> None:
    kit = Covered(RULES)
    assert kit.report()[-1] == "      base/set1.rls:3: class Disk was never seen as an event"
    assert any(line.endswith("rule a never fired: there was no event for it") for line in kit.report())


def test_conditions_that_were_not_tested() -> None:
    kit = Covered("rule: a: ( event: _e of_class 'Disk' where [ size: equals 4, msg: equals x ], action: ( true ) ).")
    kit.event(0, "Disk", size=5)
    assert any(line.endswith("rule a: msg: equals 'x' was never tested") for line in kit.report())


def test_as_json() -> None:
    kit = Covered(RULES)
    kit.event(0, "Disk", size=4)
    data = kit.coverage.data()
    found = msgspec.json.decode(msgspec.json.encode(as_data(data)))
    assert (found["rulebase"], found["content_hash"]) == ("base", "0" * 64)
    assert found["percent"] == percent(data) == 100 * found["seen"] // found["total"]
    (rule_set,) = found["rule_sets"]
    assert rule_set["rule_set"] == "set1"
    assert rule_set["total"] == found["total"] - 1  # the class belongs to the rule base
    items = {(item["kind"], item["text"]): item for item in found["items"]}
    assert items["condition", "size: greater_than 2"] == {
        "kind": "condition",
        "rule": "set1/a",
        "place": "base/set1.rls:3",
        "text": "size: greater_than 2",
        "seen": {"true": True, "false": False},
    }
    assert items["action", "action wait"]["begun"] is True
    assert items["action", "action wait"]["seen"] == {"ended": False}
    assert items["clause", "small(_n)"]["rule"] == "set1"
    assert "rule" not in items["class", "Disk"]
    assert [(one["rule"], one["by"], one["proven"]) for one in found["dead"]] == [("set1/c", "set1/b", False)]


def test_several_processes_see_together_what_one_would() -> None:
    one, two, both = Covered(RULES), Covered(RULES), Covered(RULES)
    for kit in (one, both):
        kit.event(0, "Disk", size=4)
    for kit in (two, both):
        kit.event(1, "Disk", size=8)
        kit.tick(20)
    parts = [pickle.loads(pickle.dumps(kit.coverage.data())) for kit in (one, two)]
    decoded = [msgspec.msgpack.decode(msgspec.msgpack.encode(part), type=CoverageData) for part in parts]
    assert lines(merge(decoded)) == lines(both.coverage.data())
    assert merge(decoded).seen == both.coverage.data().seen
    assert dead(parts[0])
    assert not dead(merge(parts))
    assert merge(parts[:1]) == parts[0]


def test_only_one_rule_base_can_be_merged() -> None:
    with pytest.raises(ValueError, match="no coverage"):
        merge([])
    other = Covered(RULES, content_hash="1" * 64)
    with pytest.raises(ValueError, match="not of the same rule base"):
        merge([Covered(RULES).coverage.data(), other.coverage.data()])
