"""What two rule bases do otherwise than one another."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from opentec.events.loader import classes_of
from opentec.rules.comparison import compare
from opentec.rules.parser import parse_rules
from opentec.rules.rulebase import RuleBase, Settings
from opentec.rules.user_predicates.declaration import Declaration, UserPredicates
from tests.rules.engine_kit import classes, rule_base

ROOT = (Path(__file__).parents[2] / "rules/default/TEC_CLASSES/root.baroc").read_text(encoding="utf-8")
RULES = """
rule: one: ( event: _e of_class 'EVENT' where [msg: equals 'a'], action: first: (commit_rule), action: (commit_set) ).
rule: two: ( event: _e of_class 'EVENT', reception_action: ( drop_received_event ) ).
next(a, b).
"""


def said(before: RuleBase, after: RuleBase) -> list[str]:
    return [str(one) for one in compare(before, after)]


def changed(old: str, new: str) -> list[str]:
    assert old in RULES
    return said(rule_base(RULES), rule_base(RULES.replace(old, new)))


def of_classes(text: str) -> RuleBase:
    return RuleBase("x", "0" * 64, classes_of(ROOT + text), ())


def test_comments_and_places_do_not_count() -> None:
    assert said(rule_base(RULES), rule_base("% a comment\n\n" + RULES.replace(" ( ", " (\n  "))) == []


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("equals 'a'", "equals 'b'", ["~ rule set1.one: event"]),
        ("two: (", "two: ( description: 'x', directive: y,", ["~ rule set1.two: description, directives"]),
        ("rule: one", "timer_rule: one", ["~ rule set1.one: kind"]),
        ("commit_set", "fail", ["~ rule set1.one: action action_2 changed"]),
        ("first:", "other:", ["~ rule set1.one: action other added, action first removed"]),
        ("rule: two:", "rule: three:", ["+ rule set1.three", "- rule set1.two"]),
        ("next(a, b).", "next(a, b). next(b, c).", ["~ clauses set1: 2, were 1"]),
    ],
)
def test_what_changed_in_a_rule_set(old: str, new: str, found: list[str]) -> None:
    assert changed(old, new) == found


def test_the_order_of_rules_actions_and_rule_sets() -> None:
    one, two = RULES.strip().split("\n")[:2]
    assert said(rule_base(one + two), rule_base(two + one)) == ["~ rule set set1: the order of its rules"]
    named = "rule: r: ( event: _e of_class 'EVENT', action: a: ( true ), action: b: ( true ) )."
    turned = "rule: r: ( event: _e of_class 'EVENT', action: b: ( true ), action: a: ( true ) )."
    assert said(rule_base(named), rule_base(turned)) == ["~ rule set1.r: the order of its actions"]
    sets = [parse_rules(one, f"{name}.rls") for name in ("a", "b", "c")]
    base = rule_base("")
    before = msgspec.structs.replace(base, rule_sets=(sets[0], sets[1]))
    after = msgspec.structs.replace(base, rule_sets=(sets[1], sets[0], sets[2]))
    assert said(before, after) == ["+ rule set c: 1 rules", "~ rule set order: now b, a, c"]
    assert said(after, before) == ["- rule set c: 1 rules", "~ rule set order: now a, b"]


def test_classes_with_their_slots_and_enumerations() -> None:
    before = of_classes(
        "ENUMERATION COLOUR 1 RED 2 BLUE END\nENUMERATION GONE 1 X END\n"
        "TEC_CLASS: A ISA EVENT DEFINES { s: STRING; n: INTEGER, default = 1; c: COLOUR; };\n"
        "TEC_CLASS: B ISA A; TEC_CLASS: C ISA EVENT;\n"
    )
    after = of_classes(
        "ENUMERATION COLOUR 1 RED 3 BLUE 4 GREEN END\n"
        "TEC_CLASS: A ISA EVENT DEFINES { s: LIST_OF STRING; n: INTEGER, default = 2, dup_detect = yes; x: REAL; };\n"
        "TEC_CLASS: B ISA EVENT; TEC_CLASS: D ISA EVENT;\n"
    )
    assert said(before, after) == [
        "~ enumeration COLOUR: BLUE 3, was 2, GREEN added",
        "- enumeration GONE",
        "~ class A: slot s: type 'LIST_OF STRING', was 'STRING' and default [], was '', "
        "slot n: default 2, was 1 and dup_detect True, was False, slot x added, slot c removed",
        "~ class B: ISA EVENT, was A",
        "+ class D",
        "- class C",
    ]
    turned = of_classes("ENUMERATION COLOUR 1 RED 2 BLUE END\n")
    other = of_classes("ENUMERATION COLOUR 2 BLUE 1 RED END\n")
    assert said(turned, other) == ["~ enumeration COLOUR: the order of its members"]


def test_settings_predicates_and_destinations(tmp_path: Path) -> None:
    base = rule_base("")
    assert said(base, msgspec.structs.replace(base, settings=Settings(cache_size=7))) == [
        "~ setting cache_size: 7, was 5000"
    ]

    def with_predicates(source: str, *names: str) -> RuleBase:
        made = tuple(Declaration(name, "", f"predicates.py:{len(source)}", (), (), "det") for name in names)
        return msgspec.structs.replace(base, user_predicates=UserPredicates(source, (), made))

    one = with_predicates("a", "p")
    assert said(base, one) == ["+ predicates p/0"]
    assert said(one, with_predicates("bb", "p")) == ["~ predicates the code"]
    assert said(one, with_predicates("bb", "q")) == ["+ predicates q/0", "- predicates p/0"]
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        (folder / "TEC_RULES").mkdir(parents=True)
    (new / "TEC_RULES/tec_forward.conf").write_text("ServerLocation=a\n")
    assert [str(one) for one in compare(base, base, (old, new))] == ["+ forwarding TEC_RULES/tec_forward.conf"]
    assert [str(one) for one in compare(base, base, (new, old))] == ["- forwarding TEC_RULES/tec_forward.conf"]
    assert compare(base, base, (new, new)) == []
    assert classes().classes == base.classes.classes
