"""The language of rule bodies: control, unification, arithmetic, lists, texts, slots. One table, run for real."""

from __future__ import annotations

import pytest

from opentec.events.errors import SourceErrors
from opentec.rules.compiled import compile_rules
from opentec.rules.predicates import GROUPS, PREDICATES
from opentec.rules.predicates.registry import Predicate
from tests.rules.engine_kit import START, Kit, classes, rule_base

RULE = """rule: r: ( event: _e of_class 'Link_Down' where [ hostname: _h, msg: _m, repeat_count: _n, severity: _s ],
  action: ( {body} ) )."""


def solutions(body: str, check: bool = True, **slots: object) -> list[str]:
    """What `_x` is in every solution of the body, as text; a complaint of the engine counts as one."""
    goal = f"{body}, sprintf(_text, '%s', [_x]), generate_event('Disk_OK', [msg=_text])"
    kit = Kit(RULE.format(body=goal), check=check)
    kit.event(0, "Link_Down", **{"hostname": "web1", "msg": "down", "repeat_count": 7, **slots})
    errors = [text.partition("rule set1/r: ")[2] for text in kit.values("msg", "TEC_Error")]
    return [*kit.values("msg", "Disk_OK"), *errors]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        # variables and unification
        ("_x = 'a b'", ["a b"]),
        ('_x = "text"', ["text"]),
        ("'a' = _x", ["a"]),
        ("_x = _h", ["web1"]),
        ("_x = _y, _y = 3", ["3"]),
        ("_y = _x, _x = _z, _z = 3, _y == 3", ["3"]),
        ("[_x, _] = [1, 2]", ["1"]),
        ("[_x | _t] = [1, 2, 3], _t = [2, 3]", ["1"]),
        ("[1 | _x] = [1, 2, 3]", ["[2, 3]"]),
        ("[1, 2 | _t] = [1 | _x], _t = [3]", ["[2, 3]"]),
        ("_p = [1 | _x], _q = [1, 2 | _y], _p = _q, _y = []", ["[2]"]),
        ("[1, 2 | _] = [1], _x = 0", []),
        ("[_a | _b] = foo, _x = 0", []),
        ("f(_x, b) = f(a, _y)", ["a"]),
        ("f(_x) = g(1)", []),
        ("_x = f(_y, 2), _y = 1", ["f(1, 2)"]),
        ("_x = 1, _x = 2", []),
        ("1 = 1.0, _x = 0", []),
        ("_x = 1, _x \\= 2", ["1"]),
        ("_x = 1, _x \\= _", []),
        ("_x = f(_y), _x == f(_y), _y = 1", ["f(1)"]),
        ("_x = f(_y), _x == f(_z)", []),
        ("_x = [1, a], _x == [1, a], _x \\== [1, b]", ["[1, a]"]),
        ("_x = [1 | _y], _x == [1 | _y], _y = []", ["[1]"]),
        ("_x = f(_)", ["a variable is used before it has a value"]),
        ("var(_y), _y = 1, nonvar(_y), _x = _y", ["1"]),
        # arithmetic
        ("_x is _n + 2 * 3 - 1", ["12"]),
        ("_x is 7 / 2", ["3.5"]),
        ("_x is 6 / 2", ["3"]),
        ("_x is -7 // 2", ["-3"]),
        ("_x is -7 mod 2", ["1"]),
        ("_x is 2 ** 10", ["1024"]),
        ("_x is 2 ** 0.5 * 0 + 2 ** -1", ["0.5"]),
        ("_x is -(-_n)", ["7"]),
        ("_x is max(3, min(9, 4)) + abs(-2)", ["6"]),
        ("_x = 3, 3 is _x", ["3"]),
        ("_x = 3, 4 is _x", []),
        ("_n > 6, _n >= 7, _n =< 7, _n < 8, _n =:= 7, _n =\\= 8, _x = yes", ["yes"]),
        ("_n > 7, _x = yes", []),
        ("_x is 1 / 0", ["a division by zero"]),
        ("_x is 5 mod 0", ["a division by zero"]),
        ("_x is 5 // 0", ["a division by zero"]),
        ("_x is 1.5 // 1", ["// takes whole numbers, not 1.5"]),
        ("_x is 10 ** 40", ["a result does not fit into 64 bits"]),
        ("_x is 9000000000 * 9000000000", ["a result does not fit into 64 bits"]),
        ("_x is 0 ** -1", ["0 ** -1 has no value"]),
        ("_x is -1 ** 0.5", ["-1 ** 0.5 has no real value"]),
        ("_x is 10.0 ** 300 * 10.0 ** 300", ["a result is too large for a real"]),
        ("_x is _m + 1", ["_m is 'down', which is not a number"]),
        # control
        ("true, _x = 1", ["1"]),
        ("fail, _x = 1", []),
        ("(_x = 1 ; _x = 2)", ["1", "2"]),
        ("(_x = 1, fail ; _x = 2)", ["2"]),
        ("(_n > 5 -> _x = big ; _x = small)", ["big"]),
        ("(_n > 9 -> _x = big ; _x = small)", ["small"]),
        ("(_n > 5 -> _x = big)", ["big"]),
        ("(_n > 9 -> _x = big)", []),
        ("(member(_y, [1, 2]) -> _x = _y ; _x = none)", ["1"]),
        ("(member(_y, [1, 2]), _y > 1 -> _x = _y ; _x = none)", ["2"]),
        ("(_y = 1, fail ; true), var(_y), _x = free", ["free"]),
        ("\\+ _n > 9, _x = 1", ["1"]),
        ("not(member(_n, [1, 7])), _x = 1", []),
        ("\\+ \\+ _x = 1, var(_x), _x = 2", ["2"]),
        ("once(member(_x, [1, 2]))", ["1"]),
        ("ignore(fail), _x = 1", ["1"]),
        ("ignore(_x = 1)", ["1"]),
        ("call(member(_x, [1, 2]))", ["1", "2"]),
        ("forall(member(_y, [1, 2]), _y < 3), _x = 1", ["1"]),
        ("forall(member(_y, [1, 4]), _y < 3), _x = 1", []),
        ("findall(_y, member(_y, [1, 2]), _x)", ["[1, 2]"]),
        ("findall(f(_y, _z), member(_y, [1, 2]), [_x, _w]), _x = f(_, a), _w = f(_, b)", ["f(1, a)"]),
        ("findall([_y | _z], member(_y, [1, 2]), [_x | _]), _x = [_, 9]", ["[1, 9]"]),
        ("findall(_y, (member(_z, [1, 2]), findall(_v, member(_v, [_z, 9]), _y)), _x)", ["[[1, 9], [2, 9]]"]),
        ("findall(_y, fail, _x)", ["[]"]),
        ("findall(_y, (_y = 1 ; _y = 2), [_x | _])", ["1"]),
        ("member(_x, [1, 2]), member(_y, [1, 2]), _x \\= _y", ["1", "2"]),
        # a commit within a search for one solution ends that search only
        ("\\+ (member(_y, [1, 2]), commit_action, fail), member(_x, [1, 2])", ["1", "2"]),
        ("(commit_action, fail -> _x = yes ; _x = no)", ["no"]),
        ("once((member(_x, [1, 2]), commit_action)), member(_y, [a, b])", ["1", "1"]),
        ("findall(_y, (member(_y, [1, 2]), commit_action), _l), member(_x, [_l, b])", ["[1]", "b"]),
        ("ignore((member(_x, [1, 2]), commit_action, fail)), _x = 3", ["3"]),
        ("\\+ (member(_y, [1]), commit_action, fail), once((member(_x, [1, 2]), _x > 1))", ["2"]),
        ("member(_x, [1, 2, 3]), _x > 1, commit_action", ["2"]),
        ("commit_action, member(_x, [1, 2])", ["1", "2"]),
        # lists
        ("member(_x, [])", []),
        ("member(f(_x), [f(1), g(2), f(3)])", ["1", "3"]),
        ("memberchk(_x, [a, b])", ["a"]),
        ("memberchk(c, [a, b]), _x = 1", []),
        ("length([a, b], _x)", ["2"]),
        ("length(_x, 2), _x = [1, 2]", ["[1, 2]"]),
        ("length(_y, _x)", ["length needs a list"]),
        ("length(_y, 100001), _x = 1", ["length makes a list of 0 to 100000 items, not of 100001"]),
        ("append([1], [2], _x)", ["[1, 2]"]),
        ("append(_x, [2], [1, 2])", ["[1]"]),
        ("append(_x, _, [1, 2])", ["[]", "[1]", "[1, 2]"]),
        ("append([1], _t, _x), _t = [5]", ["[1, 5]"]),
        ("append([], _t, _x), _t = 5", ["5"]),
        ("append(_x, [1], _)", ["append needs a list in its first or its last argument"]),
        ("member(_x, abc)", ["member needs a list, not 'abc'"]),
        # texts
        ("atomconcat(_h, ':', _y), atomconcat(_y, 80, _x)", ["web1:80"]),
        ("atomconcat([_h, '-', 1.5, '-', [a, b]], _x)", ["web1-1.5-[a, b]"]),
        ("atomconcat(abc, _x)", ["atomconcat takes a list, not 'abc'"]),
        ("inttoatom(12, _x)", ["12"]),
        ("inttoatom(_y, '12'), _x is _y + 1", ["13"]),
        ("inttoatom(_x, abc)", []),
        ("sprintf(_x, '%s|%5d|%-5s|%05.1f|%x|%%|%c', [a, 42, b, 3.14159, 255, 65])", ["a|   42|b    |003.1|ff|%|A"]),
        ("sprintf(_x, 'just %s', word)", ["just word"]),
        ("sprintf(_x, '%ld of %u', [1, 2, 3])", ["1 of 2"]),
        ("sprintf(_x, '%s', [])", ["the format has more directives than there are arguments"]),
        ("sprintf(_x, '%d', [abc])", ["%d needs a number, not 'abc'"]),
        (
            "sprintf(_x, '100%.', [])",
            ["the format '100%.' has a % that is no directive; write %% for the sign itself"],
        ),
        # events
        ("bo_get_slotval(_e, hostname, _x)", ["web1"]),
        ("bo_get_slotval(_e, hostname, 'web2'), _x = 1", []),
        ("bo_set_slotval(_e, msg, 'new'), bo_get_slotval(_e, msg, _x)", ["new"]),
        ("bo_get_class_of(_e, _x)", ["Link_Down"]),
        ("get_time(_t), _x is _t - 1772352000", ["0"]),
        ("_x = _s", ["CRITICAL"]),
    ],
)
def test_solutions(body: str, expected: list[str]) -> None:
    assert solutions(body) == expected


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("_s = event, set_event_message(_v, x), _x = 1", "variable _v has no value here"),
        ("_x is _v + 1", "variable _v has no value here"),
        ("sprintf(_x, '%s', _)", "_ has no value"),
        ("_x is foo", "this cannot be computed"),
        ("_x is 'a' + 1", "this cannot be computed"),
        ("memberr(_x, [1])", "predicate 'memberr' is not defined; did you mean 'member'"),
        ("member(_x)", "member takes 2 arguments, not 1"),
        ("_h, _x = 1", "this is not a goal"),
        ("first_instance(_e, _x)", "needs an event filter here"),
        ("first_instance(event: _d of_class 'Nowhere'), _x = 1", "class 'Nowhere' is not defined"),
        ("first_instance(event: _d of_class 'Link', _e - 5), _x = 1", "this is not a time window"),
        ("first_instance(event: _d of_class 'Link', _e - -5 - 5), _x = 1", "are not negative"),
        ("first_instance(event: _d of_class 'Link' where [msg: within 'a']), _x = 1", "within takes a list"),
        ("_x = foo(first_instance(event: _d of_class 'Link'))", "an event filter may only stand in a search"),
    ],
)
def test_what_does_not_compile(body: str, complaint: str) -> None:
    base = rule_base(RULE.format(body=body), check=False)
    with pytest.raises(SourceErrors) as caught:
        compile_rules(base.rule_sets, base.classes)
    (error,) = caught.value.errors
    assert complaint in str(error)
    assert (error.file, error.line) == ("set1.rls", 2)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("set_event_severity(_h, 'FATAL'), _x = 1", "argument 1 of set_event_severity needs an event, and got 'web1'"),
        ("set_event_status(_e, 'SHUT'), _x = 1", "slot 'status' of class Link_Down: 'SHUT' is not a STATUS"),
        ("bo_set_slotval(_e, colour, red), _x = 1", "class Link_Down has no slot 'colour'"),
        ("bo_set_slotval(_e, event_handle, 1), _x = 1", "is part of the event's key and cannot be changed"),
        ("bo_set_slotval(_e, _n, 1), _x = 1", "argument 2 of bo_set_slotval must be text, not '7'"),
        ("set_timer(_e, soon, x), _x = 1", "argument 2 of set_timer must be a whole number, not 'soon'"),
        ("(_v = 1 ; true), nonvar(_e), set_event_message(_e, _v), fail, _x = 1", "used before it has a value"),
        ("_v = [1 | _], set_event_message(_e, _v), _x = 1", "a list has an open end"),
        ("link_effect_to_cause(_e, _e), _x = 1", "an event cannot be its own cause"),
        ("generate_event('Nowhere', []), _x = 1", "class 'Nowhere' is not defined"),
        ("generate_event('Link_Up', foo), _x = 1", "the slots of generate_event are a list of slot=value"),
        ("generate_event('Link_Up', [foo]), _x = 1", "foo is not slot=value"),
        ("generate_event('Link_Up', [server_handle=1]), _x = 1", "slot 'server_handle' is assigned by the server"),
        ("generate_event('Link_Up', [severity='BAD']), _x = 1", "'BAD' is not a SEVERITY"),
        ("first_instance(event: _d of_class 'Link', _e - 0 - (_n - 9)), _x = 1", "seconds of a time window are not"),
        ("_y = f(_y), set_event_message(_e, _y), _x = 1", "nests too deeply"),
        ("exec_program(_e, '', '', [], 'NO'), _x = 1", "needs the name of a program"),
        ("exec_program(_e, p, '', [], 'MAYBE'), _x = 1", "is 'YES' or 'NO', not 'MAYBE'"),
        ("exec_program(_e, p, 'a \"b', [], 'NO'), _x = 1", "cannot be split into words"),
    ],
)
def test_errors_of_the_language_at_run_time(body: str, complaint: str) -> None:
    (found,) = solutions(body, check=False)
    assert complaint in found


def test_texts_and_lists_are_bounded() -> None:
    doubled = ", ".join(f"atomconcat(_a{n}, _a{n}, _a{n + 1})" for n in range(20))
    (found,) = solutions(f"_a0 = '0123456789', {doubled}, _x = 1")
    assert "a text of 81920 characters is longer than 65536" in found


CONDITIONS = [
    ("severity: equals 'CRITICAL'", True),
    ("severity: equals 'FATAL'", False),
    ("severity: not_equals 'FATAL'", True),
    ("severity: not_equals 'CRITICAL'", False),
    ("severity: within ['FATAL', 'CRITICAL']", True),
    ("severity: within ['FATAL']", False),
    ("severity: outside ['FATAL']", True),
    ("severity: outside ['CRITICAL']", False),
    ("severity: greater_than 'WARNING'", True),
    ("severity: greater_than 'CRITICAL'", False),
    ("severity: smaller_than 'FATAL'", True),
    ("severity: greater_or_equals 'CRITICAL'", True),
    ("severity: smaller_or_equals 'MINOR'", False),
    ("size: equals 5", True),
    ("size: within [4, 5]", True),
    ("size: outside [4, 5]", False),
    ("size: greater_than 4", True),
    ("size: smaller_or_equals 4", False),
    ("load: greater_than 1", True),
    ("owner: greater_than 'alf'", True),
    ("owner: equals 'root'", True),
    ("size: _v, size: equals _v", True),
    ("size: _v, repeat_count: equals _v", False),
    ("size: _v, repeat_count: not_equals _v", True),
    ("size: _v, repeat_count: smaller_than _v", True),
    ("size: _v, repeat_count: _v", False),
    ("size: _v, size: _v", True),
    ("size: _v, size: within [1, _v]", True),
    ("size: _v equals 5 greater_than 4", True),
    ("size: _v equals 5 greater_than 5", False),
    ("drive: equals _v, owner: _w, drive: equals _v", True),
]


@pytest.mark.parametrize(("condition", "expected"), CONDITIONS)
def test_conditions(condition: str, expected: bool) -> None:
    kit = Kit(
        f"rule: r: ( event: _e of_class 'Disk_Full' where [ {condition} ], action: ( set_event_message(_e, yes) ) )."
    )
    kit.event(0, "Disk_Full", hostname="a", drive="C:", size=5, load=1.5, severity="CRITICAL")
    assert kit.values("msg") == (["yes"] if expected else [""])


@pytest.mark.parametrize(("condition", "expected"), CONDITIONS)
def test_the_same_conditions_in_a_search(condition: str, expected: bool) -> None:
    kit = Kit(
        f"""rule: r: ( event: _e of_class 'Link' where [ ], action: (
          first_instance(event: _d of_class 'Disk_Full' where [ {condition} ]), set_event_message(_e, yes) ) )."""
    )
    kit.event(0, "Disk_Full", hostname="a", drive="C:", size=5, load=1.5, severity="CRITICAL")
    kit.event(1, "Link_Up")
    assert kit.values("msg") == ["", "yes" if expected else ""]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("severity: equals 50", True),
        ("severity: greater_than 40", True),
        ("severity: outside [50]", False),
        ("size: equals '5'", False),
        ("size: greater_than '4'", False),
        ("severity: greater_than 'NONE'", False),
        ("colour: outside ['red']", False),
        ("colour: not_equals 'red'", False),
        ("colour: not_equals 1", False),
        ("colour: _v", False),
        ("tags: equals ['a']", True),
        ("tags: within [['a'], 'b']", True),
        ("tags: greater_than 'a'", False),
    ],
)
def test_conditions_that_the_checker_would_refuse(condition: str, expected: bool) -> None:
    kit = Kit(
        f"rule: r: ( event: _e of_class 'Disk' where [ {condition} ], action: ( set_event_message(_e, yes) ) ).",
        check=False,
    )
    kit.event(0, "Disk_Full", hostname="a", drive="C:", size=5, severity="CRITICAL", tags=["a"])
    assert kit.values("msg") == (["yes"] if expected else [""])


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("all_instances(event: _d of_class 'Disk' where [ ])", "4321"),
        ("all_instances(event: _d of_class 'EVENT' where [ ])", "4321"),
        ("all_instances(event: _d of_class within ['Disk_OK', 'Link'] where [ ])", "3"),
        ("all_instances(event: _d of_class 'Disk' where [ hostname: equals 'b' ])", "4"),
        ("all_instances(event: _d of_class 'Disk' where [ hostname: _h ])", "321"),
        ("all_instances(event: _d of_class 'Disk' where [ status: outside ['CLOSED'] ])", "43"),
        ("all_instances(event: _d of_class 'Disk' where [ status: equals 'CLOSED' ])", "21"),
        ("all_instances(event: _d of_class 'Disk' where [ status: within ['OPEN', 'ACK'] ])", "43"),
        ("all_instances(event: _d of_class 'Disk' where [ status: not_equals 'CLOSED' ])", "43"),
        ("all_instances(event: _d of_class 'Disk' where [ ], _e - 20 - 0)", "43"),
        ("all_instances(event: _d of_class 'Disk' where [ ], _e - 20 - 0), _d \\= 0", "43"),
        ("_t = 30, all_instances(event: _d of_class 'Disk' where [ ], _e - _t - 0)", "432"),
        ("all_instances(event: _d of_class _c where [ ]), _c == 'Disk_OK'", "3"),
        ("_c = 'Disk_OK', all_instances(event: _d of_class _c where [ ])", "3"),
        ("first_instance(event: _d of_class 'Disk' where [ ])", "4"),
        ("first_instance(event: _d of_class 'Disk' where [ hostname: _h ], _e - 40 - 0)", "3"),
        ("first_instance(event: _d of_class 'Disk' where [ hostname: equals 'nobody' ])", ""),
        ("first_instance(event: _p of_class 'Disk_OK'), all_instances(event: _d of_class 'Disk', _p - 10 - 0)", "32"),
        ("first_instance(event: _p of_class 'Disk_OK'), all_instances(event: _d of_class 'Disk', _p - 0 - 10)", "43"),
        ("(first_instance(event: _d of_class 'Disk_OK') ; first_instance(event: _d of_class 'Disk'))", "34"),
        ("first_instance(event: _p of_class 'Disk_OK'), ( all_duplicates(_p, event: _d) ; _d = _p )", "3"),
        (
            "first_instance(event: _p of_class 'Disk' where [status: equals 'CLOSED']), all_duplicates(_p, event: _d)",
            "1",
        ),
        ("first_instance(event: _d of_class 'Disk'), first_instance(event: _d of_class 'Disk_Full')", "4"),
        ("first_instance(event: _d of_class 'Disk'), first_instance(event: _d of_class 'Disk_OK')", ""),
        ("first_instance(event: _d of_class 'Link')", ""),
    ],
)
def test_searches(search: str, expected: str) -> None:
    kit = Kit(
        f"""rule: r: ( event: _e of_class 'Link' where [ hostname: _h ], action: (
          {search}, bo_get_slotval(_d, msg, _x), generate_event('TEC_Notice', [msg=_x]) ) )."""
    )
    for n, (name, host, drive) in enumerate(
        (("Disk_Full", "a", "C:"), ("Disk_Full", "a", "C:"), ("Disk_OK", "a", "C:"), ("Disk_Full", "b", "C:")), 1
    ):
        kit.event(n * 10, name, hostname=host, drive=drive, msg=str(n))
    kit.change(45, (START + 20, 1, 1), status="CLOSED")
    kit.change(46, (START + 10, 1, 1), status="CLOSED")  # out of turn: the cache keeps newest first all the same
    kit.event(50, "Link_Up", hostname="a")
    assert "".join(kit.values("msg", "TEC_Notice")) == expected
    assert kit.stored("TEC_Error") == []


def test_an_action_forgets_what_it_bound_and_the_filter_does_not() -> None:
    kit = Kit(
        RULE.format(body="_x = 1").replace(
            "action: ( _x = 1 )", "action: ( _x = 1 ), action: ( _x = 2, _h == 'web1', set_event_message(_e, _x) )"
        )
    )
    kit.event(0, "Link_Down", hostname="web1")
    assert kit.values("msg") == ["2"]


def test_what_a_search_binds_lives_for_its_action() -> None:
    """tec.md 3.4: the variables of the event filter live for the rule, those of a predicate's filter for the action."""
    search = "first_instance(event: _d of_class 'Disk' where [ hostname: _host, msg: _found ])"
    kit = Kit(
        f"""rule: r: ( event: _e of_class 'Link' where [ hostname: _h ],
          action: ( {search}, bo_set_slotval(_e, msg, _found), _host \\== _h ),
          action: ( {search}, _found == two, _host = b, atomconcat(_found, _h, _t), bo_set_slotval(_e, msg, _t) ),
          action: ( _found = anything, _host = other, _d = none, _h == 'a', bo_set_slotval(_e, source, _found) ) )."""
    )
    kit.event(0, "Disk_OK", hostname="a", msg="one")
    kit.event(1, "Disk_OK", hostname="b", msg="two")
    kit.event(2, "Link_Up", hostname="a")
    assert kit.stored("TEC_Error") == []
    assert [kit.stored("Link_Up")[0].get(slot) for slot in ("msg", "source")] == ["twoa", "anything"]


def test_the_event_under_analysis_is_never_found() -> None:
    kit = Kit(
        """rule: r: ( event: _e of_class 'Link' where [ ], action: ( set_timer(_e, 1, x) ) ).
           timer_rule: t: ( event: _e of_class 'Link' where [ ],
             action: ( all_instances(event: _d of_class 'Link' where [ ]), set_event_message(_d, found) ),
             action: ( first_duplicate(_e, event: _d where [ ]), set_event_message(_d, found) ) )."""
    )
    kit.event(0, "Link_Up")
    kit.tick(1)
    assert kit.values("msg") == [""]


def test_programs_get_words_that_no_value_can_split() -> None:
    kit = Kit(RULE.format(body="exec_program(_e, 'mail.sh', '\"T/EC - %s: %s\" tec_print -n %d', [_h, _m, _n], 'YES')"))
    effects = kit.event(0, "Link_Down", hostname="web1", msg='a "b" $(c); d', repeat_count=3)
    (program,) = effects.programs
    assert program.argv == ["mail.sh", 'T/EC - web1: a "b" $(c); d', "tec_print", "-n", "3"]
    assert program.environment["hostname"] == "web1"
    assert program.environment["CLASS_NAME"] == "Link_Down"
    assert program.environment["acl"] == "[admin]"
    assert program.environment["EVENT"] == f"{START}.1"
    assert program.eid == 1
    assert kit.values("num_actions") == [1]
    assert list(kit.repository.outbox) == [program.id]


def test_changes_of_slots() -> None:
    kit = Kit(
        RULE.format(
            body="""set_event_status(_e, 'ACK'), set_event_severity(_e, 'FATAL'), set_event_administrator(_e, me),
              set_event_message(_e, 5), re_mark_as_modified(_e, _), re_mark_as_modified(_e),
              change_event_severity(_e, 'MINOR'), change_event_administrator(_e, you),
              add_to_repeat_count(_e, 2), unlink_from_cause(_e)"""
        )
    )
    effects = kit.event(0, "Link_Down", repeat_count=1)
    (event,) = kit.stored()
    assert [event.get(slot) for slot in ("status", "severity", "administrator", "msg", "repeat_count")] == [
        *("ACK", "MINOR", "you", "5", 3)
    ]
    assert effects.changed == []
    assert effects.outcome is not None
    assert len(effects.outcome.fired[0].did) == 7


def test_closing_by_set_leaves_the_duration_alone() -> None:
    kit = Kit(
        """rule: r: ( event: _e of_class 'Link_Up' where [ ], action: ( all_instances(event: _d of_class 'Link_Down'
          where [ ]), set_event_status(_d, 'CLOSED'), link_effect_to_cause(_d, _e), unlink_from_cause(_d) ) )."""
    )
    kit.event(0, "Link_Down")
    effects = kit.event(9, "Link_Up")
    (down,) = kit.stored("Link_Down")
    assert (down.status, down.get("duration"), down.get("administrator")) == ("CLOSED", 0, "")
    assert down.get("cause_event_handle") == 0
    assert [str(event) for event in effects.changed] == [str(down)]


def test_sentences_about_what_a_rule_did_are_bounded() -> None:
    kit = Kit(
        """rule: r: ( event: _e of_class 'Link_Up' where [ ], action: (
          all_instances(event: _d of_class 'Link_Down' where [ ]), set_event_message(_d, x) ) )."""
    )
    for at in range(150):
        kit.event(at, "Link_Down")
    outcome = kit.event(200, "Link_Up").outcome
    assert outcome is not None
    assert len(outcome.fired[0].did) == 101
    assert outcome.fired[0].did[-1] == "... and more"


EXAMPLE = """rule: r: ( event: _event of_class 'Link_Down'
  where [ hostname: _hostname, msg: _msg, repeat_count: _count, status: _status, severity: _severity ],
  action: ( first_duplicate(_event, event: _dup), first_instance(event: _down of_class 'Link'), _hosts = [a],
    ( _x = _hostname ; true ), {example} ) )."""
EXAMPLES = [predicate for group in GROUPS.values() for predicate in group]


@pytest.mark.parametrize("predicate", EXAMPLES, ids=lambda predicate: predicate.signature)
def test_every_example_compiles(predicate: Predicate) -> None:
    example = predicate.example.replace("_dup ", "_dup2 ").replace("_down ", "_down2 ")
    rules = compile_rules(rule_base(EXAMPLE.format(example=example)).rule_sets, classes())
    assert len(rules.plain) == 1
    assert predicate.determinism in ("det", "semidet", "nondet")
    assert predicate.signature.startswith(predicate.name)


def test_the_checker_is_told_every_predicate() -> None:
    assert PREDICATES["first_duplicate"] == {2, 3}
    assert PREDICATES["commit_set"] == {0}
    assert PREDICATES["atomconcat"] == {2, 3}
