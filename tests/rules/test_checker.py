"""The checks of rule sets: each error with its place and its hint, and no error where a rule could work."""

# ruff: noqa: E501  (tables of messages: one case a line)
from __future__ import annotations

from pathlib import Path

import pytest

from opentec.events.classes import ClassTable
from opentec.events.loader import classes_of
from opentec.rules.checker import check_rules
from opentec.rules.parser import parse_rules

BAROC = """
TEC_CLASS : Disk ISA EVENT DEFINES { drive: STRING, dup_detect = yes; size: INTEGER; load: REAL; }; END
TEC_CLASS : Disk_Full ISA Disk DEFINES { used: INTEGER; owner: STRING; }; END
TEC_CLASS : Disk_OK ISA Disk; END
"""
PREDICATES = {
    "drop_received_event": {0},
    "commit_action": {0},
    "commit_rule": {0},
    "commit_set": {0},
    "first_duplicate": {2, 3},
    "all_duplicates": {2, 3},
    "first_instance": {1, 2},
    "all_instances": {1, 2},
    "set_event_severity": {2},
    "change_event_status": {2},
    "set_event_administrator": {2},
    "add_to_repeat_count": {2},
    "link_effect_to_cause": {2},
    "bo_get_slotval": {3},
    "bo_set_slotval": {3},
    "generate_event": {2},
    "set_timer": {3},
    "member": {2},
    "sprintf": {3},
    "findall": {3},
    "forall": {2},
    "get_time": {1},
}


@pytest.fixture(scope="module")
def table() -> ClassTable:
    root = Path(__file__).parents[2] / "rules/default/TEC_CLASSES/root.baroc"
    return classes_of(root.read_text(encoding="utf-8") + BAROC)


def check(table: ClassTable, text: str) -> None:
    """Every @ of the text marks where its next error is; the messages are in the lines that begin with `%!`."""
    wanted, clean, lines = [], [], text.split("\n")
    messages = [line.removeprefix("%!").strip() for line in lines if line.startswith("%!")]
    for line in (line for line in lines if not line.startswith("%!")):
        while "@" in line:
            wanted.append((len(clean) + 1, line.index("@") + 1))
            line = line.replace("@", "", 1)
        clean.append(line)
    source = "\n".join(clean)
    found = check_rules([parse_rules(source, "t.rls")], table, PREDICATES, {"t.rls": source})
    told = [e.message + (f"; {e.hint}" if e.hint else "") for e in found]
    assert told == messages
    assert [(e.line, e.column) for e in found] == wanted
    assert all(e.source_line == clean[e.line - 1] for e in found)


def in_rule(event: str, *goals: str, kind: str = "rule") -> str:
    return f"{kind}: r: (event: {event},\naction: ({','.join(goals) or 'drop_received_event'})).\n"


GOOD = r"""
rule: duplicates: (
  event: _event of_class within ['Disk_Full', 'Disk_OK']
    where [ hostname: _hostname, severity: _sev equals 'FATAL' outside ['WARNING'], size: greater_than 3,
            load: smaller_than 2, status: smaller_than 25, drive: within ['C:', _hostname], acl: equals [admin], administrator: equals _later ],
  reception_action: count: (
    first_duplicate(_event, event: _dup where [status: outside ['CLOSED'], drive: _d], _event - 600 - 600),
    add_to_repeat_count(_dup, 1), drop_received_event, commit_set ),
  redo_action: ( \+ _hostname = 'x', not member(_hostname, [a]), _x == _y, _z = 3, _q is _z + 1, _q > _z ),
  action: ( ( _hostname == a -> _n = 1 ; _m = 2 ), _k is _n + _m, _goal = drop_received_event, _goal ),
  action: ( findall(_m, bo_get_slotval(_event, msg, _m), _all), forall(member(_a, _all), _a \== x) ),
  action: ( bo_get_slotval(_event, used, _u), bo_set_slotval(_event, 'used', 3), bo_get_slotval(_event, _slot, _v),
            generate_event('Disk_OK', [hostname = _hostname, severity = 'FATAL', acl = ['a', b], size = 3, load = 1]),
            generate_event("Disk_OK", _slots), generate_event(_class, []), set_event_severity(_event, HARMLESS) ),
  action: ( all_instances(event: _any of_class _class where [used: equals 3], _event - 60 - 0),
            change_event_status(_any, 'CLOSED'), commit_rule() )
).
timer_rule: later: (
  event: _event of_class Disk where [hostname: equals _h, msg: not_equals _h],
  timer_duration: _d greater_than 60, timer_info: equals 'Level 1',
  action: ( _e is _d * 2, set_timer(_event, _e, 'Level 2') )
).
rule: any_class: (event: _event of_class _class where [drive: equals 'C:'], action: (set_event_severity(_event, 'FATAL'))).
"""


def test_what_could_work_is_not_reported(table: ClassTable) -> None:
    check(table, GOOD)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ("_e of_class @'Disk_Ful'", "class 'Disk_Ful' is not defined; did you mean 'Disk_Full'?"),
        ("_e of_class within [Disk, @zzz] where [nothing: equals 1]", "class 'zzz' is not defined"),
        ("_e of_class Disk where [@hostnam: _h]", "class Disk has no slot 'hostnam'; did you mean 'hostname'?"),
        ("_e of_class Disk where [@owner: _o]", "class Disk has no slot 'owner'; class Disk_Full has it"),
        ("_e of_class within [Disk_Full, Disk_OK] where [@used: _]", "class Disk_OK has no slot 'used'; class Disk_Full has it"),
        ("_e of_class _c where [@drve: _o]", "no class has slot 'drve'; did you mean 'drive'?"),
        ("_e of_class Disk where [severity: equals @'FATL']", "slot 'severity' of class Disk: 'FATL' is not a SEVERITY (UNKNOWN, HARMLESS, WARNING, MINOR, CRITICAL, FATAL); did you mean 'FATAL'?"),
        ("_e of_class Disk where [severity: within ['FATAL', 60, @61]]", "slot 'severity' of class Disk: '61' is not a SEVERITY (UNKNOWN, HARMLESS, WARNING, MINOR, CRITICAL, FATAL)"),
        ("_e of_class Disk where [hostname: equals @5]", "slot 'hostname' of class Disk is STRING, 5 is a number; write '5'"),
        ("_e of_class Disk where [size: greater_than @'5']", "slot 'size' of class Disk is INTEGER, '5' is text; write a number without quotes"),
        ('_e of_class Disk where [load: equals @"5"]', "slot 'load' of class Disk is REAL, \"5\" is text; write a number without quotes"),
        ("_e of_class Disk where [size: equals @1.5]", "slot 'size' of class Disk is INTEGER, 1.5 is not whole"),
        ("_e of_class Disk where [size: equals @3000000000]", "slot 'size' of class Disk: 3000000000 is outside -2147483648 to 2147483647, the range of an INTEGER"),
        ("_e of_class Disk where [hostname: equals @[a, b]]", "slot 'hostname' is STRING, not a list; use within [...]"),
        ("_e of_class Disk where [hostname: greater_than @[a]]", "'greater_than' takes one value, not a list"),
        ("_e of_class Disk where [hostname: within @'a']", "'within' takes a list; write within ['a']"),
        ("_e of_class Disk where [hostname: outside @f(a)]", "'outside' takes a list; write outside [...]"),
        ("_e of_class Disk where [msg: not_equals @_hostnam, hostname: _hostname]", "variable _hostnam has no value here, but 'not_equals' compares with it"),
        ("_e of_class Disk where [hostname: _hostname, msg: within [@_hostnam]]", "variable _hostnam has no value here, but 'within' compares with it; did you mean '_hostname'?"),
    ],
)  # fmt: skip
def test_filters(table: ClassTable, event: str, message: str) -> None:
    check(table, f"%! {message}\n" + in_rule(event))


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ("@drop_recieved_event", "predicate 'drop_recieved_event' is not defined; did you mean 'drop_received_event'?"),
        ("@zzz(_e)", "predicate 'zzz' is not defined"),
        ("@!", "predicate '!' is not defined; commit_action ends an action"),
        ("_e @+ 1", "predicate '+' is not defined; it computes a value, which '_x is ...' takes"),
        ("@commit_set(_e)", "commit_set takes 0 arguments, not 1"),
        ("@get_time", "get_time takes 1 argument, not 0"),
        ("@first_duplicate(_e)", "first_duplicate takes 2 or 3 arguments, not 1"),
        ("not(@zzz)", "predicate 'zzz' is not defined"),
        ("(commit_set -> @zzz ; commit_rule)", "predicate 'zzz' is not defined"),
        ("\\+ (commit_set ; @zzz)", "predicate 'zzz' is not defined"),
        ("findall(_x, @zzz(_x), _)", "predicate 'zzz' is not defined"),
        ("@'->'(a)", "-> takes 2 arguments, not 1"),
        ("@3", "3 is not a goal; a goal is a predicate or a test"),
        ("@[a]", "a list is not a goal; a goal is a predicate or a test"),
        ("_x is @_y + 1, _y = 1", "variable _y has no value here, but 'is' computes with it"),
        ("_hx = 1, _x is @_hxx + 1", "variable _hxx has no value here, but 'is' computes with it; did you mean '_hx'?"),
        ("@_n > 3, _n > 4", "variable _n has no value here, but '>' computes with it"),
        ("3 =:= @_n", "variable _n has no value here, but '=:=' computes with it"),
        ("set_event_severity(@_evnt, 'FATAL')", "variable _evnt has no value here, but set_event_severity needs an event"),
        ("set_event_severity(@_even, 'FATAL'), _event = 1", "variable _even has no value here, but set_event_severity needs an event"),
        ("link_effect_to_cause(_e, @_c)", "variable _c has no value here, but link_effect_to_cause needs an event"),
        ("add_to_repeat_count(@1, 1)", "add_to_repeat_count needs an event here, not 1; give its variable"),
        ("set_event_severity(_e, @'FATL')", "slot 'severity' of class Disk: 'FATL' is not a SEVERITY (UNKNOWN, HARMLESS, WARNING, MINOR, CRITICAL, FATAL); did you mean 'FATAL'?"),
        ("_x = _e, change_event_status(_x, @'CLOSE')", "slot 'status' of class EVENT: 'CLOSE' is not a STATUS (OPEN, RESPONSE, ACK, CLOSED); did you mean 'CLOSED'?"),
        ("set_event_administrator(_e, @7)", "slot 'administrator' of class Disk is STRING, 7 is a number; write '7'"),
        ("bo_get_slotval(_e, @hostnam, _v)", "class Disk has no slot 'hostnam'; did you mean 'hostname'?"),
        ("bo_set_slotval(_e, size, @'x')", "slot 'size' of class Disk is INTEGER, 'x' is text; write a number without quotes"),
        ("bo_set_slotval(_e, msg, @[x])", "slot 'msg' of class Disk is STRING, not a list"),
        ("bo_set_slotval(_e, acl, [x, @1])", "slot 'acl' of class Disk is LIST_OF STRING, 1 is a number; write '1'"),
        ("generate_event(@'Dsk', [hostname=1])", "class 'Dsk' is not defined; did you mean 'Disk'?"),
        ("generate_event('Disk', [@used=1])", "class Disk has no slot 'used'; class Disk_Full has it"),
        ("generate_event('Disk', [size=@x])", "slot 'size' of class Disk is INTEGER, 'x' is text; write a number without quotes"),
        ("generate_event('Disk', [@size])", "generate_event takes a list of slot=value; write slot='value'"),
        ("generate_event('Disk', [@1=2])", "1 is not a slot"),
        ("first_duplicate(_e, event: _d where [@drve: _x])", "class Disk has no slot 'drve'; did you mean 'drive'?"),
        ("first_duplicate(_e, event: _d where [drive: equals @1])", "slot 'drive' of class Disk is STRING, 1 is a number; write '1'"),
        ("all_instances(event: _d of_class @Dsk)", "class 'Dsk' is not defined; did you mean 'Disk'?"),
        ("all_instances(@event: _d)", "all_instances needs a class; _d of_class ..."),
        ("all_instances(event: _d of_class Disk, @_ev - 60 - 60)", "variable _ev has no value here, but the time window counts from it; did you mean '_e'?"),
        ("all_instances(event: _d of_class Disk, @_d - 60 - 60)", "variable _d has no value here, but the time window counts from it"),
        ("all_instances(event: _d of_class Disk where [size: greater_than @_n])", "variable _n has no value here, but 'greater_than' compares with it"),
    ],
)  # fmt: skip
def test_bodies(table: ClassTable, goal: str, message: str) -> None:
    check(table, f"%! {message}\n" + in_rule("_e of_class Disk", goal))


def test_rules(table: ClassTable) -> None:
    check(
        table,
        """%! rule set 't' has two rules named 'a'; the first is in line 1
%! timer_rule 'a' has no action; add action: name: ( ... )
%! reception_action is not allowed in a timer_rule; a timer_rule has only action: ( ... )
%! redo_action is not allowed in a timer_rule; a timer_rule has only action: ( ... )
%! timer_duration is a number of seconds, not 'x'
%! 'timer_info' is for timer rules, 'c' is a rule; take it out
rule: a: (event: _e of_class Disk, action: commit_rule).
@@timer_rule: a: (event: _e of_class Disk).
timer_rule: b: (event: _e of_class Disk,
@reception_action: commit_rule, @redo_action: commit_rule, action: commit_rule).
timer_rule: d: (event: _e of_class Disk, timer_duration: within [1, @'x'], action: commit_rule).
rule: c: (event: _e of_class Disk, @timer_info: equals 3, action: commit_rule).
""",
    )


def test_variables_of_one_action_are_unknown_to_the_next(table: ClassTable) -> None:
    check(
        table,
        """%! variable _d has no value here, but add_to_repeat_count needs an event
rule: a: (event: _e of_class Disk,
  action: (first_instance(event: _d of_class Disk), add_to_repeat_count(_d, 1)),
  action: (add_to_repeat_count(@_d, 1))).""",
    )


def test_the_same_name_in_two_rule_sets_is_fine(table: ClassTable) -> None:
    sets = [parse_rules(in_rule("_e of_class Disk"), name) for name in ("a.rls", "b.rls")]
    assert check_rules(sets, table, PREDICATES) == []


def test_errors_without_the_text_have_no_source_line(table: ClassTable) -> None:
    (error,) = check_rules([parse_rules(in_rule("_e of_class Dis"), "a.rls")], table, PREDICATES)
    assert str(error) == "a.rls:1:30: class 'Dis' is not defined; did you mean 'Disk'?"
