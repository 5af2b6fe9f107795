"""Why rules did not fire for an event that is traced; and that nothing else is different for it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from opentec.events.records import Disposition, Record
from opentec.rules.batching import RULES_SIZE, BatchBuilder, stored_rules
from opentec.rules.effects import Effects, Explained, Fired
from opentec.rules.engine import Engine
from opentec.rules.explain import NO_LIMIT, brief
from opentec.rules.selectors.indexed import IndexedSelector
from opentec.rules.terms import Ref, Struct
from tests.rules.engine_kit import START, Kit, Repository
from tests.rules.goal_kit import RULE
from tests.rules.test_engine_restart import BASE, STEPS, Server, make_records


def explained(effects: Effects) -> list[Explained]:
    return [one for one in effects.fired if type(one) is Explained]


def no(effects: Effects) -> list[str]:
    """What said no, of all rules in order."""
    return [sentence for one in explained(effects) for sentence in one.no]


def traced(*texts: str, **values: Any) -> Kit:
    kit = Kit(*texts, **values)
    kit.engine.explain(True)
    return kit


def of_filter(where: str, class_name: str = "Disk", before: str = "") -> Kit:
    return traced(
        f"rule: r: ( event: _e of_class {class_name} where [ {before} {where} ], action: ( drop_it ) ). drop_it."
    )


# conditions


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("severity: outside ['WARNING']", "severity: outside ['WARNING'] said no: it was 'WARNING'"),
        ("hostname: equals web2", "hostname: equals 'web2' said no: it was 'web1'"),
        ("hostname: _h not_equals 'web1'", "hostname: not_equals 'web1' said no: it was 'web1'"),
        ("size: greater_than 5", "size: greater_than 5 said no: it was 5"),
        ("size: within [1, 2]", "size: within [1, 2] said no: it was 5"),
        ("severity: greater_or_equals 'MINOR'", "severity: greater_or_equals 'MINOR' said no: it was 'WARNING'"),
        ("hostname: _h, drive: equals _h", "drive: equals _h said no: it was 'C:', compared with 'web1'"),
        ("hostname: _h, drive: _h", "drive: _h said no: it was 'C:', compared with 'web1'"),
        ("size: _s, repeat_count: greater_than _s", "repeat_count: greater_than _s said no: it was 0, compared with 5"),
        ("msg: equals 'it''s'", "msg: equals 'it''s' said no: it was ''"),
    ],
)
def test_the_condition_that_said_no_with_the_value_found(where: str, said: str) -> None:
    kit = of_filter(where, "'Disk'")
    effects = kit.event(0, "Disk_Full", hostname="web1", drive="C:", size=5)
    (one,) = explained(effects)
    assert (one.rule_set, one.rule, one.actions, one.did, one.event, one.no) == ("set1", "r", [], [], "", [said])


def test_only_the_first_condition_that_says_no_is_told() -> None:
    kit = of_filter("hostname: equals a, size: equals 1", "'Disk'")
    assert no(kit.event(0, "Disk_Full", hostname="b", size=2)) == ["hostname: equals 'a' said no: it was 'b'"]
    assert no(kit.event(0, "Disk_Full", hostname="a", size=2)) == ["size: equals 1 said no: it was 2"]
    effects = kit.event(0, "Disk_Full", hostname="a", size=1)
    assert (no(effects), effects.fired[0].actions) == ([], ["action_1"])


def test_a_class_without_the_slot() -> None:
    kit = traced(RULE_ON.format(classes="'EVENT'", where="drive: equals 'C:'"), check=False)
    assert no(kit.event(0, "Link_Up")) == ["drive: equals 'C:' said no: class Link_Up has no such slot"]


RULE_ON = "rule: r: ( event: _e of_class {classes} where [ {where} ], action: ( set_event_message(_e, hit) ) )."


def test_the_class_as_a_variable() -> None:
    kit = traced("rule: r: ( event: _e of_class _c where [ msg: _c ], action: ( true ) ).")
    (said,) = no(kit.event(0, "Link_Up", msg="x"))
    assert said == "msg: _c said no: it was 'x', compared with 'Link_Up'"


def test_rules_are_selected_by_class_only() -> None:
    kit = traced(RULE_ON.format(classes="within ['Link_Up', 'Disk']", where="hostname: equals h9"))
    assert len(no(kit.event(0, "Disk_OK", hostname="h1"))) == 1
    assert len(no(kit.event(0, "Link_Up", hostname="h1"))) == 1
    assert no(kit.event(0, "Link_Down", hostname="h1")) == []


@pytest.mark.no_cover  # tracing would make it several times as long
def test_long_values_are_cut() -> None:
    kit = of_filter("msg: equals a", "'Disk'")
    (said,) = no(kit.event(0, "Disk", msg="x" * 5000))
    assert len(said) < 150
    assert brief(["a" * 500] * 9).endswith("...")
    assert brief(["a"] * 6) == "['a', 'a', 'a', 'a', 'a', ...]"
    assert brief(["a", 1]) == "[a, 1]"
    assert brief(Ref()) == "_"
    deep: Any = "x"
    for _ in range(30):
        deep = Struct("f", (deep, deep))
    assert brief(deep) == "a very large term"


# goals

BODY = "rule: r: ( event: _e of_class 'Link_Down' where [ hostname: _h ], reception_action: a: ( {body} ) ). "


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("fail", "set1.rls:1: fail"),
        ("_x = 3, _x > 5", "set1.rls:1: _x > 5 with _x = 3"),
        ("_h == other, drop_received_event", "set1.rls:1: _h == other with _h = 'web1'"),
        ("\\+ (_h == web1, true)", "set1.rls:1: \\+ (_h == web1, true) with _h = 'web1'"),
        (
            "first_instance(event: _d of_class 'Disk' where [status: outside ['CLOSED'], hostname: equals _h])",
            "set1.rls:1: first_instance(event: _d of_class 'Disk' where [status: outside ['CLOSED'], "
            "hostname: equals _h]) with _h = 'web1'",
        ),
        ("( _h == a ; _h == b ), true", "set1.rls:1: _h == b with _h = 'web1'"),
        ("( _h == web1 -> _h == b ; _h == c )", "set1.rls:1: _h == b with _h = 'web1'"),
        ("( _h == a -> true ; _h == c )", "set1.rls:1: _h == c with _h = 'web1'"),
        ("_h == a -> true", "set1.rls:1: _h == a with _h = 'web1'"),
        ("once(( _x = 1 ; _x = 2 )), ignore(_h == z), _x == 2", "set1.rls:1: _x == 2 with _x = 1"),
        ("member(_x, [1, 2, 3]), _x > 3", "set1.rls:1: _x > 3 with _x = 3 (the last of 3 times)"),
        ("member(_x, [1, 2, 3]), _x > 2, fail", "set1.rls:1: fail"),
        ("forall(member(_x, [1]), _x == 2)", "set1.rls:1: forall(member(_x, [1]), _x == 2)"),
        ("own(_h, _y), _y == 2", "set1.rls:1: _y == 2 with _y = 1"),
        ("own(b, _y)", "set1.rls:1: own(b, _y)"),
        ("_l = [a, 'B' | _t], _t = _h, _n is 1 + 2 * (3 - 1), _n = 0", "set1.rls:1: _n = 0 with _n = 5"),
        ("member(_g, [fail]), call(_g)", "set1.rls:1: _g with _g = 'fail'"),
    ],
)
def test_the_goal_where_an_action_ended(body: str, said: str) -> None:
    kit = traced(BODY.format(body=body) + "own(_x, 1) :- _x == web1.")
    effects = kit.event(0, "Link_Down", hostname="web1")
    assert no(effects) == [f"action a ended at {said}"]
    assert explained(effects)[0].actions == []


def test_actions_that_did_something_before_they_ended_have_fired() -> None:
    kit = traced(BODY.format(body="set_event_message(_e, x), fail") + BODY.format(body="true").replace("r:", "s:", 1))
    effects = kit.event(0, "Link_Down")
    first, second = effects.fired
    assert isinstance(first, Explained)
    assert (first.actions, first.no) == (["a"], ["action a ended at set1.rls:1: fail"])
    assert first.did == [f"msg of {START}.1 is now x"]
    assert type(second) is Fired


def test_an_error_is_told_where_it_was_told_before() -> None:
    kit = traced(BODY.format(body="_x is _h + 1, true"))
    (one, *_) = kit.event(0, "Link_Down", hostname="web1").fired
    assert type(one) is Fired
    assert one.did[0].startswith("failed at set1.rls:1: ")


GUARDED = """
rule: g: ( event: _e of_class 'Link_Down' where [ hostname: _h ],
  reception_action: a: ( global_exists(g, on), erase_globals(g), add_to_repeat_count(_e, 1) ),
  reception_action: b: ( get_global_var(g, mode, yes, no), set_event_message(_e, b) ),
  reception_action: c: ( true ) ).
rule: off: ( event: _e of_class 'Link_Down' where [ msg: equals x ], action: ( global_exists(g, on), fail ) ).
rule: on: ( event: _e of_class 'Link_Up' where [ ],
  action: ( set_global_var(g, on, 1), set_global_var(g, mode, yes) ) ).
"""


def test_a_first_goal_that_is_asked_before_the_rule_is() -> None:
    kit = traced(GUARDED)
    closed = "action b ended at set1.rls:4: get_global_var(g, mode, yes, no)"
    off = "action action_1 ended at set1.rls:6: global_exists(g, on)"
    assert no(kit.event(0, "Link_Down", hostname="h")) == [
        "action a ended at set1.rls:3: global_exists(g, on)",
        closed,
        off,
    ]
    kit.event(1, "Link_Up")
    # open while it ran and closed behind it
    assert no(kit.event(2, "Link_Down", hostname="h")) == [closed, off]


def test_a_rule_that_has_nothing_to_do() -> None:
    kit = traced(RULE.format(body="true").replace("action:", "redo_action:"))
    assert no(kit.event(0, "Link_Down")) == ["it has no action for this case"]


# order of evaluation

COMMITS = """
rule: one: ( event: _e of_class 'Link' where [ ], action: ( {commit} ) ).
rule: two: ( event: _e of_class 'Link_Down' where [ ], action: ( true ) ).
"""
THREE = "rule: three: ( event: _e of_class 'Link' where [ msg: equals x ], action: ( true ) )."


def test_rules_that_a_commit_skipped() -> None:
    kit = traced(COMMITS.format(commit="commit_set"), THREE)
    assert [(one.rule, one.no) for one in explained(kit.event(0, "Link_Down"))] == [
        ("two", ["not tried: rule set1/one committed the rule set"]),
        ("three", ["msg: equals 'x' said no: it was ''"]),
    ]


def test_rules_behind_the_end_of_evaluation() -> None:
    kit = traced(COMMITS.format(commit="drop_received_event"), THREE, drop_ends=True)
    effects = kit.event(0, "Link_Down")
    assert no(effects) == ["not tried: evaluation ended with rule set1/one"] * 2
    assert effects.outcome is not None
    assert effects.outcome.disposition == Disposition.DROPPED


def test_a_change_by_one_rule_is_seen_by_the_next() -> None:
    kit = traced(
        "rule: one: ( event: _e of_class 'Link' where [ ], action: ( set_event_severity(_e, 'FATAL') ) )."
        "rule: two: ( event: _e of_class 'Link' where [ severity: equals 'FATAL' ], action: ( true ) )."
        "rule: three: ( event: _e of_class 'Link' where [ severity: equals 'MINOR' ], action: ( true ) )."
    )
    assert no(kit.event(0, "Link_Up", severity="MINOR")) == ["severity: equals 'MINOR' said no: it was 'FATAL'"]


def test_derived_events_and_redone_ones_are_named() -> None:
    kit = traced(
        "rule: r: ( event: _e of_class 'Link_Down' where [ ], reception_action: ( generate_event('Disk_OK', []),"
        " redo_analysis(_e) ), redo_action: redone: ( fail ) )."
        "rule: d: ( event: _e of_class 'Disk' where [ hostname: equals b ], action: ( true ) )."
    )
    effects = kit.event(0, "Link_Down")
    assert [(one.event, one.no) for one in explained(effects)] == [
        (f"{START}.2", ["hostname: equals 'b' said no: it was ''"]),
        (f"{START}.1", ["action redone ended at set1.rls:1: fail"]),
    ]


# timers and changes

TIMERS = """
rule: set: ( event: _e of_class 'Link_Down' where [ ], action: ( set_timer(_e, 5, soon) ) ).
timer_rule: t: ( event: _e of_class 'Link_Down' where [ {where} ], timer_duration: {duration}, timer_info: {info},
  action: late: ( {body} ) ).
"""


@pytest.mark.parametrize(
    ("where", "duration", "info", "body", "said"),
    [
        ("status: equals 'ACK'", "_d", "_i", "true", "status: equals 'ACK' said no: it was 'OPEN'"),
        ("", "greater_than 9", "_i", "true", "timer_duration: greater_than 9 said no: it was 5"),
        ("msg: _m", "_d", "equals _m", "true", "timer_info: equals _m said no: it was 'soon', compared with ''"),
        ("", "_d", "_i", "_i == late", "action late ended at set1.rls:4: _i == late with _i = 'soon'"),
    ],
)
def test_timer_rules(where: str, duration: str, info: str, body: str, said: str) -> None:
    kit = traced(TIMERS.format(where=where, duration=duration, info=info, body=body))
    kit.event(0, "Link_Down")
    effects = kit.tick(5)
    (one,) = explained(effects)
    assert (one.rule, one.event, one.timer, one.no) == ("t", f"{START}.1", "soon", [said])
    assert effects.outcome is not None
    assert effects.outcome.disposition == Disposition.FIRED  # so that the explanation is kept


CHANGES = """
change_rule: c: ( event: _e of_class 'Link' where [ {where} ], sender: {sender}, attribute: {attribute} set_to {value},
  action: a: ( {body} ) ).
"""


@pytest.mark.parametrize(
    ("where", "sender", "attribute", "value", "body", "said"),
    [
        ("msg: equals x", "_s", "status", "_v", "true", "msg: equals 'x' said no: it was ''"),
        ("", "within [rule(_)]", "status", "_v", "true", "sender: within [rule(_)] said no: it was operator(ann)"),
        ("", "_s", "status", "'CLOSED'", "true", "set_to: equals 'CLOSED' said no: it was 'ACK'"),
        ("msg: _a", "_s", "_a", "_v", "true", "attribute: _a said no: it was 'status', compared with ''"),
        ("", "_s", "status", "_v", "_v == x", "action a ended at set1.rls:3: _v == x with _v = 'ACK'"),
    ],
)
def test_change_rules(where: str, sender: str, attribute: str, value: str, body: str, said: str) -> None:
    text = CHANGES.format(where=where, sender=sender, attribute=attribute, value=value, body=body)
    kit = traced(text)
    (event,) = kit.event(0, "Link_Down").inserted
    effects = kit.change(1, event.key, status="ACK")
    one = next(one for one in explained(effects) if one.no)
    assert (one.rule, one.event, one.no) == ("c", str(event), [said])
    assert effects.outcome is not None
    assert effects.outcome.disposition == Disposition.APPLIED


def test_a_change_rule_within_itself() -> None:
    text = """change_rule: c: ( event: _e of_class 'Link' where [ ], sender: _s, attribute: _a set_to _v,
      action: a: ( _a == status, change_event_severity(_e, 'FATAL'), _v == x ) )."""
    kit = traced(text)
    (event,) = kit.event(0, "Link_Down").inserted
    effects = kit.change(1, event.key, status="ACK")
    assert [(one.actions, one.no) for one in explained(effects)] == [
        ([], ["action a ended at set1.rls:2: _a == status with _a = 'severity'"]),
        (["a"], ["action a ended at set1.rls:2: _v == x with _v = 'ACK'"]),
    ]


# what it changes: nothing


def without_explanations(effects: Effects) -> bytes:
    """Everything but what says why rules did not fire, and the outcomes that hold nothing else."""
    builder = BatchBuilder(0)
    fired = [
        Fired(one.rule_set, one.rule, one.actions, one.did, one.event, one.timer)
        for one in effects.fired
        if one.actions
    ]
    outcome = effects.outcome
    if outcome is not None:
        outcome = msgspec.structs.replace(outcome, fired=fired)
        if outcome.disposition == Disposition.FIRED and not fired and not effects.inserted:
            outcome = None
    builder.add(msgspec.structs.replace(effects, outcome=outcome, fired=fired))
    return msgspec.msgpack.encode(builder.build())


class Telling(Server):
    """A server that keeps the effects and the state hash of each record."""

    everything = False

    def __init__(self, engine: Engine, repository: Repository, size: int) -> None:
        super().__init__(engine, repository, size)
        self.seen: list[bytes] = []
        self.hashes: list[str] = []

    def process(self, record: Record) -> None:
        self.engine.explain(self.everything)
        self.builder = Builder(self.builder.before, self.seen)
        super().process(record)
        self.hashes.append(self.engine.state_hash())


class Builder(BatchBuilder):
    def __init__(self, before: int, seen: list[bytes]) -> None:
        super().__init__(before)
        self.seen = seen

    def add(self, effects: Effects) -> None:
        self.seen.append(without_explanations(effects))
        super().add(effects)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(STEPS)
def test_effects_are_those_without_explanations(steps: list[Any]) -> None:
    records = make_records(steps)
    seen: list[list[bytes]] = []
    hashes: list[list[str]] = []
    for everything in (False, True):
        server = Telling(Engine(BASE, IndexedSelector()), Repository(), 1)
        server.everything = everything
        for record in records:
            server.process(record)
        seen.append(server.seen)
        hashes.append(server.hashes)
    assert seen[0] == seen[1]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("drop_ends", [False, True])
def test_goals_that_are_asked_first_make_no_difference(drop_ends: bool) -> None:
    text = (
        GUARDED
        + """
    change_rule: c: ( event: _e of_class 'Disk' where [ ], sender: _s, attribute: status set_to _v,
      action: ( global_exists(g, on), drop_change_request ), action: ( set_event_message(_e, changed) ) ).
    rule: d: ( event: _e of_class 'Link' where [ ], action: ( first_instance(event: _d of_class 'Disk' where [ ]),
      drop_received_event, change_event_status(_d, 'ACK') ) ).
    rule: after: ( event: _e of_class 'Link' where [ ], action: ( generate_event('Disk_OK', []) ) )."""
    )
    plain, told = Kit(text, drop_ends=drop_ends), traced(text, drop_ends=drop_ends)
    for at, name in enumerate(["Disk_Full", "Link_Down", "Link_Up", "Link_Down", "Link_Down", "Disk_OK", "Link_Down"]):
        one, other = (kit.event(at, name, hostname="h") for kit in (plain, told))
        assert without_explanations(one) == without_explanations(other)
        assert plain.engine.state_hash() == told.engine.state_hash()
    assert any(explained(effects) for effects in told.effects)


def test_filters_that_cannot_be_tested_make_no_difference() -> None:
    """What they cost counts once, and what they complain of is said once."""
    text = "rule: big: ( event: _e of_class 'Disk' where [ tags: _t, acl: _t ], action: ( true ) ).\n" + THREE
    plain, told = Kit(text, step_limit=1000), traced(text, step_limit=1000)
    for at in range(3):
        tags = ["x"] * 20_000
        one, other = (kit.event(at, "Disk_Full", tags=tags, acl=[*tags[:-1], "y"]) for kit in (plain, told))
        assert without_explanations(one) == without_explanations(other)
        assert plain.engine._run.steps == told.engine._run.steps
        assert plain.engine.state_hash() == told.engine.state_hash()
    assert plain.stored("TEC_Error")
    assert no(told.effects[0])[0].startswith("the filter cannot be tested: ")


def test_a_difference_would_be_seen() -> None:
    """The comparison of the property takes two engines for different that are."""
    one, other = Kit(RULE_ON.format(classes="'EVENT'", where="")), Kit(RULE_ON.format(classes="'Disk'", where=""))
    assert without_explanations(one.event(0, "Link_Up")) != without_explanations(other.event(0, "Link_Up"))
    told = Kit()
    told.engine = Engine(BASE, IndexedSelector())
    told.engine.explain(True)
    assert {one.rule for one in explained(told.event(0, "Disk_Full", hostname="h3"))} == {"duplicates", "cause"}


def test_the_step_limit_stops_at_the_same_place() -> None:
    body = "between(1, 100000, _x), _x < 0"
    text = BODY.format(body=body) + THREE
    plain, told = Kit(text, step_limit=1000), traced(text, step_limit=1000)
    for kit in (plain, told):
        kit.event(0, "Link_Down")
    assert plain.engine.state_hash() == told.engine.state_hash()
    assert no(told.effects[0]) == ["not tried: evaluation ended with rule set1/r"]


# what is stored


def test_what_is_kept_is_an_entry_with_its_reasons_at_the_end() -> None:
    kit = of_filter("hostname: equals a", "'Disk'")
    kit.event(0, "Disk_Full", hostname="b")
    (rules,) = [outcome[6] for outcome in kit.repository.outcomes]
    assert json.loads(rules) == [["set1", "r", [], [], "", None, ["hostname: equals 'a' said no: it was 'b'"]]]


def test_reasons_are_limited_for_one_record() -> None:
    rules = [
        f"rule: r{n}: ( event: _e of_class 'Link' where [ msg: equals x ], action: ( true ) )." for n in range(1100)
    ]
    kit = traced("\n".join(rules))
    assert len(explained(kit.event(0, "Link_Up"))) == NO_LIMIT
    assert len(explained(kit.event(1, "Link_Up"))) == NO_LIMIT


def test_what_is_stored_is_limited_and_rules_that_did_not_fire_go_first() -> None:
    no_reasons = [Explained("set", f"no{n}", [], [], "", None, ["x" * 300]) for n in range(700)]
    some = [Fired("set", f"r{n}", ["a"], ["x" * 390] * 100, "", None) for n in range(5)]
    text = stored_rules([*no_reasons[:200], *some, *no_reasons[200:]])
    entries = json.loads(text)
    assert RULES_SIZE * 0.8 < len(text) <= RULES_SIZE
    names = [entry[1] for entry in entries]
    assert [name for name in names if name.startswith("r")] == ["r0", "r1", "r2", "r3", "r4"]
    assert entries[-1][:3] == ["", "", []]
    assert entries[-1][3] == [f"{705 - len(entries) + 1} more rules are left out: too much for one record"]


def test_an_entry_is_limited_too() -> None:
    big = Fired("set", "r", ["a"], ["y" * 5000] * 100, "1.1", ["z" * 900_000])
    refused = Explained("set", "n", [], [], "1.1", None, ["z" * 900_000])
    one, two = json.loads(stored_rules([big, refused]))[:2]
    assert one[:3] == ["set", "r", ["a"]]
    assert one[3][-1] == "... and more"
    assert len(one[5]) == 400
    assert (two[2], two[3], len(two[6][0])) == ([], [], 400)
    many = stored_rules([big] * 10_000)
    assert len(many) <= RULES_SIZE
