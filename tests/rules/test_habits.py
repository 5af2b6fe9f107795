"""Rule files as other people write them: what loads whatever the habit, and what is refused, at which line.

The excerpts of the facts (tec.md 3.3, tec-2.md 3.2-3.7) are here as they are printed there, in a rule around them.
"""

# ruff: noqa: E501  (lines as long as other people write them)
from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from opentec.events.classes import ClassTable
from opentec.events.errors import SourceErrors
from opentec.events.loader import classes_of
from opentec.rules.ast import RuleSet
from opentec.rules.checker import check_rules
from opentec.rules.engine import Engine
from opentec.rules.parser import parse_rules
from opentec.rules.predicates import PREDICATES
from opentec.rules.rulebase import RuleBase, Settings
from opentec.rules.selectors.indexed import IndexedSelector

BAROC = """
TEC_CLASS: Printer ISA EVENT; END
TEC_CLASS: Printer_Off ISA Printer; END
TEC_CLASS: Printer_Toner_Low ISA Printer; END
TEC_CLASS: Su_Failure ISA EVENT DEFINES { to_user: STRING; from_user: STRING; }; END
TEC_CLASS: Su_Success ISA Su_Failure; END
"""


@cache
def table() -> ClassTable:
    root = Path(__file__).parents[2] / "rules/default/TEC_CLASSES/root.baroc"
    return classes_of(root.read_text(encoding="utf-8") + BAROC)


def load(text: str) -> RuleSet:
    """The rule set, parsed, checked and compiled; SourceErrors with all that is wrong."""
    rule_set = parse_rules(text, "odd.rls")
    errors = check_rules([rule_set], table(), PREDICATES, {"odd.rls": text}, reach=True)
    if errors:
        raise SourceErrors(errors)
    Engine(RuleBase("odd", "0" * 64, table(), (rule_set,), Settings()), IndexedSelector())
    return rule_set


def refused(text: str) -> list[tuple[int, str]]:
    with pytest.raises(SourceErrors) as caught:
        load(text)
    return [(error.line, error.message) for error in caught.value.errors]


CRAMPED = r"""/*--------------------------------------------------*
 * everything as tight as it goes: "quotes', % signs *
 *--------------------------------------------------*/
rule:cramped:(description:'no blanks at all',event:_event of_class within['Printer_Off',Printer_Toner_Low]where[hostname:_hostname,status:outside['CLOSED'],severity:_sev equals'FATAL'],
reception_action:(first_duplicate(_event,event:_dup where[status:outside['CLOSED']],_event -3600 -0),add_to_repeat_count(_dup,1),drop_received_event,commit_rule),
action:two:(_x is 3-2*(1+ -1),_x>=1,_x=<1,\+_x=2,_l=[a,'B',"c"|[]],member(_m,_l),_m\==d)).rule:next:(event:_e of_class Printer where[],action:(set_event_severity(_e,'FATAL'))).
"""

SPREAD = """

% the same with blanks and comments wherever they may stand
rule      :
   'Spread Out'  % the name
   :
   (
      description : "double quotes, and a % sign" ,

      event : _event   of_class   within  [ 'Printer_Off' , % one
                                            Printer_Toner_Low /* two */ ] ,
         where  [ hostname  :  _hostname ,   /* a comma before where is a habit, too */
                  % status : equals 'CLOSED',
                  status : outside [ 'CLOSED' /* , 'ACK' */ ]
                ] ,

      reception_action
      :
      'Close It'
      :
      (
          all_instances ( event : _other of_class 'Printer' where [ ] , % no conditions
                          _event - 3600 - 3600 ) ,
          % drop_received_event,
          /* several
             lines */
          change_event_status( _other , "CLOSED" )
      ) ,

      reception_action : ( drop_received_event ) ,

      action
      : commit_set

   )
   .

"""

MIXED = r"""
% facts, clauses and rules in any order
severity_timer('FATAL', 43200, 0).
severity_timer("MINOR",3600,600). severity_timer(WARNING, 0, 0).

late(_severity, _age) :-
    severity_timer(_severity, _limit, _),      % the middle one
    _limit > 0, _age > _limit.

RULE_LIKE('rule: x: (').

change_rule: keep: (
  event: _event of_class 'EVENT',
  sender: _who within [operator(_), rule('escalate')],
  attribute: 'status' set_to 'CLOSED',
  action: ( late('FATAL', 3), drop_change_request )
).

rule: 'long text': (
  event: _event of_class _class
    where [severity: _severity within ['FATAL', 'CRITICAL'], hostname: _hostname],
  reception_action: (
    exec_program(_event, 'scripts/TEC_Send_Mail.sh', '"T/EC - %s: %s" tec_print "This text goes on \
and on over three lines, with ''quotes'', a tab\t and a new line\n \
  until here"', [_severity, _hostname], 'YES')
  ),
  reception_action: _severity == 'FATAL',
  redo_action: set_event_message(_event, 'C:\temp\'),
  action: "a name in double quotes": ( late(_severity, 4), commit_rule ; true )
).

timer_rule: 'upgrade_level1': (
  event: _event of_class 'Printer' where [status: _status equals 'OPEN'],
  timer_duration: _duration,
  timer_info: equals 'Level 1',
  action: ( set_event_severity(_event, 'FATAL'), set_timer(_event, 90, 'Level 2') ) ).
"""


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("text", "rules", "clauses"), [(CRAMPED, 2, 0), (SPREAD, 1, 0), (MIXED, 3, 5)], ids=["cramped", "spread", "mixed"]
)
def test_odd_files_load(text: str, rules: int, clauses: int, line_end: str) -> None:
    rule_set = load(text.replace("\n", line_end))
    assert (len(rule_set.rules), len(rule_set.clauses)) == (rules, clauses)


def test_names_of_actions_in_the_spread_file() -> None:
    (rule,) = load(SPREAD).rules
    assert [action.name for action in rule.actions] == ["Close It", "action_2", "action_3"]
    assert [action.name for action in load(MIXED).rules[1].actions][-1] == "a name in double quotes"


PRINT_RESET = """
rule: print_reset: (
  description: 'text',
  event: _event of_class within ['Printer_Off','Printer_Toner_Low']
    where [ hostname: _hostname, status: outside ['CLOSED'], severity: _sev equals 'FATAL' ],
  reception_action: close_it: (
    all_instances(event: _prt_ev of_class within ['Printer'] where [hostname: equals _hostname], _event - 3600 - 3600),
    change_event_status(_prt_ev,'CLOSED'),
    drop_received_event ),
  action: ( true )
).
rule: printer_problem: ( event: _event of_class 'Printer' where [hostname: _hostname],
  reception_action: ( first_duplicate(_event, event: _printer_ev where [status: outside ['CLOSED']], _event - 600 - 600),
    commit_rule, add_to_repeat_count(_printer_ev,1), drop_received_event ) ).
timer_rule: r: ( event: _event of_class 'Printer' where [status: equals 'OPEN'], timer_duration: _d,
  timer_info: equals 'Level 1',
  action: ( set_event_severity(_event,'FATAL'), set_timer(_event,90,'Level 2') ) ).
"""
KINDS = """
simple_rule: n: description: '..' event: Su_Failure where [to_user: equals 'root']
  when: frequency_exceeds 3 within 5 minutes: change_event_severity('FATAL').
correlation_rule: m: description:'..' event_relation: Su_Failure causes Printer within: 10 minutes when:
  [Su_Failure.hostname equals Printer.hostname].
change_rule: o: ( event: _e of_class Printer where [severity: _], sender: _s within [operator(_), rule(_)],
  attribute: status set_to 'CLOSED', action: ( drop_change_request ) ).
"""
BODY = (
    """exec_program(_event,'scripts/TEC_Send_Mail.sh','"T/EC - %s: %s" tec_print "..."',[_status,_msg,_hostname,_msg],'YES')""",
    "assert(next_level_of_severity('FATAL','FATAL'))",
    "assert(escalate_severity_timers('FATAL',43200,0))",
    "assert((my_debug(_text) :- _text == on ; _text == 'off'))",
    "rerecord(escalate_class_list,['TEC_Error','TEC_DB'])",
    "rerecord(notify_list,'EVENT',['MAIL','Administrator','Administrator@EventServer'])",
    "recorded(recording, debugger_status, _value)",
    "sprintf(_out, 'fmt %s', [_msg])",
    "generate_event('Su_Failure', [ to_user = 'root', hostname=_hostname ])",
    "not(_status == 'OPEN'), _x = 'atom', _x == 'atom'",
    "first_duplicate(_event, event: _dup where [ ], _event -3600 -0)",
    "all_instances(event: _e of_class 'EVENT' where [status: _s equals 'OPEN'], _event - 600 - 600), commit_set",
    "add_to_repeat_count(_event, 1), re_mark_as_modified(_event, _), redo_analysis(_event)",
    "bo_get_class_of(_event, _c), bo_get_slotval(_event, msg, _v), bo_set_slotval(_event, msg, 'x')",
    "set_timer(_event, 90, 'Level 2'), cancel_timer(_event, 'Level 2'), cancel_all_timers(_event)",
)


def in_rule(*goals: str) -> str:
    conditions = "hostname: _hostname, status: _status, msg: _msg"
    return (
        f"rule: r: (event: _event of_class 'EVENT' where [{conditions}],\nreception_action: (\n{', '.join(goals)})).\n"
    )


@pytest.mark.parametrize("text", [PRINT_RESET, KINDS], ids=["plain", "kinds"])
def test_the_rules_of_the_facts_load(text: str) -> None:
    assert len(load(text).rules) in (3, 4)


@pytest.mark.parametrize("goals", BODY)
def test_the_goals_of_the_facts_load(goals: str) -> None:
    load(in_rule(goals))


@pytest.mark.parametrize(
    ("goal", "reason"),
    [
        ("fprintf(_file, 'fmt %s\\n', _msg)", "predicate 'fprintf' is refused: "),
        ("consult('x.pro')", "predicate 'consult' is refused: "),
        ("current_file(_path)", "predicate 'current_file' is refused: "),
        ("re_user_predicates(_file)", "predicate 're_user_predicates' is refused: "),
        ("my_trace(\"...\")", "predicate 'my_trace' is not defined"),
    ],
)  # fmt: skip
def test_the_goals_of_the_facts_that_are_refused(goal: str, reason: str) -> None:
    ((line, message),) = refused(in_rule("true", "\n" + goal))
    assert line == 4
    assert message.startswith(reason)


def test_a_predicate_of_ones_own_may_do_what_is_refused_or_unknown() -> None:
    load("my_trace(_text) :- _text \\== ''.\nconsult(_x) :- my_trace(_x).\n" + in_rule('my_trace("..."), consult(a)'))


@pytest.mark.parametrize(
    ("text", "old", "new", "message"),
    [
        (SPREAD, "'Close It'", "@'Close It", "this ' is not closed on its line"),
        (SPREAD, "/* several", "@/ * several", "expected a value, a variable or a predicate, found '/'"),
        (SPREAD, ") ,\n\n      action", ")\n\n      @action", "expected ',' before the next clause, or ')' to close "
         "rule 'Spread Out', found 'action'"),
        (SPREAD, "/* two */ ]", "/* two */ , @]", "expected a class name, found ']'"),
        (SPREAD, "change_event_status(", "@change_event_satus(", "predicate 'change_event_satus' is not defined"),
        (SPREAD, '"CLOSED"', '@"CLOSE"', "slot 'status' of class Printer: 'CLOSE' is not a STATUS "
         "(OPEN, RESPONSE, ACK, CLOSED)"),
        (MIXED, "_limit > 0,", "_limit > 0. @", "expected a rule (rule: name: ( ... ).) or a clause "
         "(name(...) :- goals.), found '_age'"),
        (MIXED, "until here\"'", "until here\"@", "expected ',' or ')' in the arguments of exec_program, found 'YES'"),
        (MIXED, "timer_rule:", "@timer_rulle:", "expected a rule (rule: name: ( ... ).) or a clause "
         "(name(...) :- goals.), found 'timer_rulle'"),
        (MIXED, "[_severity, _hostname]", "[_severity, @_hostnam]", "variable _hostnam has no value here, but "
         "exec_program needs its value"),
    ],
)  # fmt: skip
def test_odd_files_that_are_refused_at_the_right_line(text: str, old: str, new: str, message: str) -> None:
    """The @ of the new text is in the line that is to be named."""
    assert old in text
    marked = text.replace(old, new, 1)
    line = marked[: marked.index("@")].count("\n") + 1
    assert refused(marked.replace("@", "")) == [(line, message)]


def test_all_errors_of_a_file_are_told_in_one_run() -> None:
    parsed = MIXED.replace("_limit > 0", "_lmit > 0").replace("'FATAL', 3)", "'FATAL')").replace("'EVENT'", "'EVNT'")
    found = refused(parsed.replace("set_timer(_event, 90,", "set_timer(_event, '90',"))
    assert [message for _, message in found] == [
        "variable _lmit has no value here, but '>' computes with it",
        "class 'EVNT' is not defined",
        "late takes 2 arguments, not 1",
        "argument 2 of set_timer must be a whole number, not '90'",
    ]
