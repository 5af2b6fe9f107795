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
    "received_event_dropped": {0},
    "drop_change_request": {0},
    "true": {0},
    "fail": {0},
    "false": {0},
    "assert": {1},
    "place_change_request": {3},
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
REFUSED = {"fopen": "because"}


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
    found = check_rules(
        [parse_rules(source, "t.rls")], table, PREDICATES, {"t.rls": source}, refused=REFUSED, reach=True
    )
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
  action: ( bo_get_slotval(_event, used, _u), bo_set_slotval(_event, 'used', 3), _slot = msg, bo_get_slotval(_event, _slot, _v),
            generate_event('Disk_OK', [hostname = _hostname, severity = 'FATAL', acl = ['a', b], size = 3, load = 1]),
            _slots = [], generate_event("Disk_OK", _slots), member(_class, ['Disk']), generate_event(_class, []), set_event_severity(_event, HARMLESS) ),
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
        ("@get_time", "get_time takes 1 argument, not 0; write get_time(_seconds)"),
        ("@first_duplicate(_e)", "first_duplicate takes 2 or 3 arguments, not 1; write first_duplicate(_event, event: "
         "_dup where [...]) or first_duplicate(_event, event: _dup where [...], _ref - before - after)"),
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
        ("add_to_repeat_count(@Event, 1)", "add_to_repeat_count needs an event here, not 'Event'; give its variable; "
         "a variable begins with '_', as in _Event"),
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
@reception_action: true, @redo_action: true, action: commit_rule).
timer_rule: d: (event: _e of_class Disk, timer_duration: within [1, @'x'], action: true).
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


# change rules


def in_change(clauses: str, event: str = "_e of_class Disk_Full") -> str:
    return f"change_rule: r: (event: {event},\n{clauses},\naction: drop_change_request).\n"


@pytest.mark.parametrize(
    ("clauses", "message"),
    [
        ("sender: @'ann'", "a sender is operator(NAME), rule(SET) or closed_event, not 'ann'"),
        ("sender: within [operator(_), @operater(_)]", "a sender is operator(NAME), rule(SET) or closed_event, not 'operater'; did you mean 'operator'?"),
        ("sender: not_equals @rule(a, b)", "a sender is operator(NAME), rule(SET) or closed_event, not 'rule'"),
        ("sender: outside [@3]", "a sender is operator(NAME), rule(SET) or closed_event, not 3"),
        ("sender: outside @closed_event", "'outside' takes a list; write outside ['closed_event']"),
        ("sender: @greater_than rule(_)", "a sender cannot be tested with 'greater_than'; use within [...]"),
        ("attribute: @sttus", "class Disk_Full has no slot 'sttus'; did you mean 'status'?"),
        ("attribute: status set_to @'CLOSE'", "slot 'status' of class Disk_Full: 'CLOSE' is not a STATUS (OPEN, RESPONSE, ACK, CLOSED); did you mean 'CLOSED'?"),
        ("attribute: used set_to within [1, @'2']", "slot 'used' of class Disk_Full is INTEGER, '2' is text; write a number without quotes"),
        ("attribute: used set_to within @3", "'within' takes a list; write within [3]"),
        ("timer_info: _x, attribute: _y", "'timer_info' is for timer rules, 'r' is a change_rule; take it out"),
    ],
)  # fmt: skip
def test_change_clauses(table: ClassTable, clauses: str, message: str) -> None:
    if "timer_info" in clauses:
        clauses = "@" + clauses
    check(table, f"%! {message}\n" + in_change(clauses))


@pytest.mark.parametrize(
    "text",
    [
        in_change("sender: _s within [operator(_), rule(_set), closed_event], attribute: status set_to _new 'CLOSED'").replace(" 'CLOSED'", " equals 'CLOSED'"),
        in_change("attribute: used", "_e of_class Disk"),
        in_change("attribute: used set_to 3", "_e of_class _class"),
        in_change("attribute: acl set_to equals ['admin']"),
        in_change("sender: _s, attribute: _slot set_to _new") .replace("drop_change_request", "(_new == 'CLOSED', _slot \\== _s, fail)"),
        in_change("sender: operator(_who)").replace("action: drop", "action: (_who > 3), action: drop"),
    ],
)  # fmt: skip
def test_change_rules_that_could_work(table: ClassTable, text: str) -> None:
    check(table, text)


def test_what_a_kind_of_rule_cannot_do(table: ClassTable) -> None:
    check(
        table,
        """%! 'sender' is for change rules, 'a' is a rule; take it out
%! 'attribute' is for change rules, 'a' is a rule; take it out
%! 'set_to' is for change rules, 'a' is a rule; take it out
%! drop_change_request is for change rules; take it out
%! drop_received_event drops an event that is new, and none is in a redo_action; take it out
%! reception_action is not allowed in a change_rule; a change_rule has only action: ( ... )
%! drop_received_event drops an event that is new, and none is when a change_rule runs; take it out
%! drop_received_event drops an event that is new, and none is when a timer_rule runs; take it out
rule: a: (event: _e of_class Disk, @sender: _s, attribute: @status @set_to 'CLOSED', action: @drop_change_request,
  redo_action: (@drop_received_event)).
change_rule: b: (event: _e of_class Disk, @reception_action: drop_change_request, action: (@drop_received_event)).
timer_rule: c: (event: _e of_class Disk, action: (@drop_received_event)).
""",
    )


# predicates


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ("set_timer(_e, @'90', x)", "argument 2 of set_timer must be a whole number, not '90'"),
        ("set_timer(_e, @1.5, x)", "argument 2 of set_timer must be a whole number, not 1.5"),
        ("set_timer(_e, 60 @* 60, x)", "argument 2 of set_timer must be a whole number, not this; compute it with '_x is ...' first"),
        ("set_timer(_e, @_n, x)", "variable _n has no value here, but set_timer needs its value"),
        ("@fopen(_f, 'x', w)", "predicate 'fopen' is refused: because"),
        ("fail, @get_time(_t), get_time(_u)", "this goal is never reached: 'fail' stands before it; take one of them out"),
        ("(get_time(_t), false @, drop_received_event ; commit_rule)", "this goal is never reached: 'false' stands before it; take one of them out"),
    ],
)  # fmt: skip
def test_arguments_and_goals(table: ClassTable, goal: str, message: str) -> None:
    goal = goal.replace(" @, ", ", @")
    source = in_rule("_e of_class Disk", goal).split("\n")
    check(table, "\n".join([f"%! {message}", *source]))


def test_a_goal_behind_an_alternative_of_fail_is_reached(table: ClassTable) -> None:
    check(table, in_rule("_e of_class Disk", "(get_time(_t), fail ; commit_rule)", "get_time(_u)", "fail"))


# clauses


def test_clauses_and_what_is_asserted_are_predicates(table: ClassTable) -> None:
    check(
        table,
        """
level('FATAL', 1).
level('MINOR', _n) :- get_time(_t), _n is _t + 1.
count([], 0).
count([_|_rest], _n) :- count(_rest, _m), _n is _m + 1.
maybe(_x) :- member(_x, []), maybe(_x).
rule: a: (event: _e of_class Disk where [severity: _s],
  action: (level(_s, _n), _n > 0, asserted(_n), also(1), again, deep),
  action: (assert(asserted(1)), assert((also(_x) :- level(_, _x) ; member(_y, [1]), _x > _y)), \\+ assert(again)),
  action: findall(_x, (member(_x, [1]), assert(deep)), _)).
""",
    )


def test_the_names_of_one_rule_set_are_those_of_all(table: ClassTable) -> None:
    sets = [
        parse_rules(text, name) for text, name in (("p(1).", "a.rls"), (in_rule("_e of_class Disk", "p(_x)"), "b.rls"))
    ]
    assert check_rules(sets, table, PREDICATES) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@member(a, b).", "member/2 is a predicate of the language, and no clause can redefine it; rename it"),
        ("@'='(a, b) :- get_time(_).", "=/2 is a predicate of the language, and no clause can redefine it; rename it"),
        ("a :- @b.", "predicate 'b' is not defined"),
        ("level(a).\na :- @levle(_).", "predicate 'levle' is not defined; did you mean 'level'?"),
        ("level(a).\nlevel(a, b, c).\na :- @level(_, _).", "level takes 1 or 3 arguments, not 2"),
        ("a(_x) :- get_time(_y), _y > @_z.", "variable _z has no value here, but '>' computes with it"),
        ("a :- fail, @get_time(_).", "this goal is never reached: 'fail' stands before it; take one of them out"),
        ("a :- drop_change_request, all_instances(event: _x of_class @Dsk).", "class 'Dsk' is not defined; did you mean 'Disk'?"),
        ("a :- assert(@get_time(3)).", "get_time/1 is a predicate of the language, and no clause can redefine it; rename it"),
        ("a :- assert((b(_x) :- @c(_x))).", "predicate 'c' is not defined"),
        ("a :- @a.", "a/0 calls itself as its first goal, so it never ends; put a goal that can fail before it"),
        ("path(_a, _b) :- @path(_a, _c), member(_b, [_c]).", "path/2 calls itself as its first goal, so it never ends; put a goal that can fail before it"),
        ("p(_x, _y) :- @p(_y, f(_x)).", "p/2 calls itself as its first goal, so it never ends; put a goal that can fail before it"),
        ('p(f(_x), [1, b|_t], _) :- @p(f(3), [1, "b"|_x], [a]).', "p/3 calls itself as its first goal, so it never ends; put a goal that can fail before it"),
    ],
)  # fmt: skip
def test_clauses_that_are_wrong(table: ClassTable, text: str, message: str) -> None:
    check(table, f"%! {message}\n{text}")


@pytest.mark.parametrize(
    "text",
    [
        "p(a) :- p(b).\np(b).",
        "p(a) :- p(_x), _x = b.",
        "p(_x, _x) :- p(_x, _y), _y = 3.",
        "p(f(_x)) :- p(g(_x)).",
        "p([_x]) :- p([_x, _x]).",
        "p([_x|_t]) :- p(_t).",
        "p([_x, _y]) :- p([_x, _y|_z]).",
        "p([_x]) :- p(3).",
        "p(1) :- p(2).",
        "p(_x) :- get_time(_x), commit_action.\np(_x) :- p(_y), _x is _y + 1.",
    ],
)
def test_recursion_that_may_end_is_not_reported(table: ClassTable, text: str) -> None:
    check(table, text)


# what is never reached


def disk_rule(
    name: str, goals: str, event: str = "_e of_class Disk", kind: str = "rule", action: str = "action"
) -> str:
    return f"{kind}: {name}: (event: {event}, {action}: {goals}).\n"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (disk_rule("a", "commit_set"), disk_rule("b", "get_time(_)", "_e of_class Disk_Full")),
        (disk_rule("a", "(drop_received_event, commit_rule, commit_set, get_time(_))", action="reception_action"), disk_rule("b", "true", action="reception_action")),
        (disk_rule("a", "commit_set", "_e of_class _class where [hostname: _h]"), disk_rule("b", "true", "_e of_class within [Disk_OK, Disk_Full] where [severity: equals 'FATAL']")),
        (disk_rule("a", "commit_set", "_e of_class _class"), disk_rule("b", "true", "_e of_class _other")),
        (disk_rule("a", "(get_time(_), fail), action: commit_set"), disk_rule("b", "true")),
        (disk_rule("a", "commit_set", kind="timer_rule"), disk_rule("b", "true", kind="timer_rule")),
        (disk_rule("a", "commit_set", kind="change_rule"), "change_rule: b: (event: _e of_class Disk, attribute: status, action: drop_change_request)."),
    ],
)  # fmt: skip
def test_rules_that_are_never_reached(table: ClassTable, first: str, second: str) -> None:
    kind = second.split(":")[0]
    message = f"%! {kind} 'b' is never reached: 'a' in line 1 takes every such event and commits the rule set; put it before that rule"
    check(table, f"{message}\n{first}@{second}")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (disk_rule("a", "commit_rule"), disk_rule("b", "true")),
        (disk_rule("a", "(get_time(3), commit_set)"), disk_rule("b", "true")),
        (disk_rule("a", "commit_set", "_e of_class Disk_OK"), disk_rule("b", "true")),
        (disk_rule("a", "commit_set", "_e of_class Disk where [severity: equals 'FATAL']"), disk_rule("b", "true", "_e of_class Disk where [severity: equals 'FATAL']")),
        (disk_rule("a", "commit_set", "_e of_class Disk where [hostname: _h, msg: _h]"), disk_rule("b", "true")),
        (disk_rule("a", "commit_set", action="reception_action"), disk_rule("b", "true")),
        (disk_rule("a", "commit_set", action="redo_action"), disk_rule("b", "true", action="reception_action")),
        (disk_rule("a", "(drop_received_event, commit_set)"), disk_rule("b", "true", action="redo_action")),
        (disk_rule("a", "(get_time(3), commit_rule), action: commit_set"), disk_rule("b", "true", action="reception_action")),
        (disk_rule("a", "commit_set"), disk_rule("b", "true", kind="timer_rule")),
        ("timer_rule: a: (event: _e of_class Disk, timer_info: equals x, action: commit_set).\n", disk_rule("b", "true", kind="timer_rule")),
    ],
)  # fmt: skip
def test_rules_that_may_be_reached(table: ClassTable, first: str, second: str) -> None:
    if "get_time(3), commit_rule" in first:
        first = first.replace("(get_time(3), commit_rule)", "get_time(3)").replace(
            "action: commit_set", "action: (get_time(3), commit_set)"
        )
    check(table, first + second)


def test_actions_that_are_never_reached(table: ClassTable) -> None:
    check(
        table,
        """%! action 'later' is never reached: 'first' in line 1 commits the rule before it; put it before that action
%! action 'action_3' is never reached: 'action_1' in line 4 commits the rule before it; put it before that action
rule: a: (event: _e of_class Disk, reception_action: first: (drop_received_event, commit_rule, get_time(_)),
  action: 'also when redone': true, redo_action: true,
  @reception_action: later: true).
timer_rule: b: (event: _e of_class Disk, action: (commit_set),
  action: fine: (get_time(_), commit_rule)).
""".replace("action: fine: (get_time(_), commit_rule)", "@action: true").replace("action_3", "action_2"),
    )


@pytest.mark.parametrize(
    ("conditions", "slot"),
    [
        ("status: equals 'OPEN', status: @equals 'CLOSED'", "status"),
        ("status: within ['OPEN', 'ACK'] @outside ['ACK', 'OPEN', 'CLOSED']", "status"),
        ("severity: equals 60, severity: _s @not_equals 'FATAL'", "severity"),
        ("hostname: not_equals a, hostname: @equals 'a'", "hostname"),
        ("size: within [1, 2], size: @greater_than 2", "size"),
        ("size: greater_than 5 @smaller_than 4", "size"),
        ("size: greater_or_equals 5 @smaller_than 5", "size"),
        ("load: smaller_than 1.5 @greater_than 1.5", "load"),
    ],
)
def test_conditions_that_exclude_each_other(table: ClassTable, conditions: str, slot: str) -> None:
    message = f"%! no event passes this filter: its tests of {slot!r} exclude each other; take one out"
    check(table, f"{message}\n" + in_rule(f"_e of_class Disk where [{conditions}]"))
    search = f"first_instance(event: _d of_class Disk where [{conditions}])"
    check(table, f"{message}\n" + in_rule("_e of_class Disk", search))


@pytest.mark.parametrize(
    "conditions",
    [
        "status: within ['OPEN', 'ACK'] outside ['ACK'], status: not_equals 'CLOSED'",
        "size: greater_or_equals 5 smaller_or_equals 5, size: equals 5, size: not_equals 6",
        "size: greater_than 4 smaller_than 6 outside [4]",
        "hostname: _h, msg: equals a, msg: equals _h, msg: equals _i",
        "acl: equals [a], acl: equals [b]",
        "sub_origin: _rest, hostname: within ['a' | _rest], hostname: equals b",
    ],
)
def test_conditions_that_do_not(table: ClassTable, conditions: str) -> None:
    check(table, in_rule(f"_e of_class Disk where [{conditions}, origin: within ['x']]"))


def test_an_error_of_a_correlation_rule_is_told_once(table: ClassTable) -> None:
    check(
        table,
        """%! class 'Disk_Ful' is not defined; did you mean 'Disk_Full'?
correlation_rule: c: event_relation: @Disk_Ful causes Disk_OK within: 3 minutes.""",
    )
    check(
        table,
        """%! class Disk_OK has no slot 'hostnam'; did you mean 'hostname'?
correlation_rule: c: event_relation: Disk_Full clears Disk_OK when: [Disk_Full.hostname equals @Disk_OK.hostnam].""",
    )
