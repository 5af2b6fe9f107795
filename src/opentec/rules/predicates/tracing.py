"""What rules say to the people who run them: sentences for `tec why`, and errors as events.

Nothing is written to a file (`refused.py`): what a rule notes is kept with the outcome of the record, up to 100
sentences a rule, and an error is an event that every rule and console sees.
"""

from __future__ import annotations

from typing import Any, Final

from opentec.rules.evaluation import Evaluation
from opentec.rules.predicates.registry import Predicate
from opentec.rules.predicates.text import Format, arguments_of
from opentec.rules.terms import RuleError, show

SECONDS: Final = 60  # of log time between two TEC_Error events of log_error in one rule
MESSAGE_LIMIT: Final = 1000  # characters
CACHE_LINES: Final = 50  # events that print_cache names
_SOURCES: Final = "log_error_source"  # section of the store: rule set -> what its errors name as their source
_LOGGED: Final = "log_error"  # section of the store: rule -> when it raised its last error
_ERROR: Final = "TEC_Error"


def _log_error(run: Evaluation, text: str) -> bool:
    message = text[:MESSAGE_LIMIT]
    run.note(f"logged: {message}"[:200])
    rule, store = run.rule, run.store
    last = store.get(_LOGGED, rule.full_name)
    if last is not None and run.seconds - last < SECONDS:
        run.note(f"no {_ERROR} this time: the rule raised one less than {SECONDS} s ago")
        return True
    store.put(_LOGGED, rule.full_name, run.seconds)
    file, _, line = rule.place.rpartition(":")
    run.notice(
        _ERROR,
        message,
        sub_source=store.get(_SOURCES, rule.set_name, rule.set_name),
        rule_set=rule.set_name,
        rule=rule.name,
        file=file,
        line=int(line),
    )
    return True


def _log_format(run: Evaluation, text: str, values: Any) -> bool:
    return _log_error(run, Format(text).fill(arguments_of(values)))


def _set_source(run: Evaluation, name: str) -> bool:
    if not name or len(name) > 200:
        raise RuleError("the source of errors is a name of 1 to 200 characters")
    if run.store.get(_SOURCES, run.rule.set_name) != name:
        run.store.put(_SOURCES, run.rule.set_name, name)
    return True


def _print_cache(run: Evaluation, name: str = "EVENT") -> bool:
    if run.shapes.find(name) is None:
        raise RuleError(f"print_cache names a class, and {name!r} is none; it writes no file: see `tec why`")
    found = [event for event in run.cache.instances(None, None, False) if event.cls.is_a(name)]
    run.count(len(run.cache) // 16)
    closed = sum(event.status == "CLOSED" for event in found)
    run.note(f"{len(found)} events of class {name} are cached, {closed} of them closed; newest first:")
    for event in found[:CACHE_LINES]:
        words = (event, event.class_name, event.status, event.get("severity"), event.get("hostname"), event.get("msg"))
        run.note(" ".join(map(show, words))[:200])
    return True


PREDICATES: Final = (
    Predicate(
        name="log_error",
        modes="s",
        signature="log_error(text)",
        effect=f"Notes the text, and raises a TEC_Error with it, once in {SECONDS} s for each rule.",
        determinism="det",
        example="log_error('the list of hosts is empty')",
        function=_log_error,
    ),
    Predicate(
        name="log_error",
        modes="sv",
        signature="log_error(format, [value, ...])",
        effect="The same with a text made as sprintf does.",
        determinism="det",
        example="log_error('no owner for %s', [_hostname])",
        function=_log_format,
    ),
    Predicate(
        name="set_log_error_source",
        modes="s",
        signature="set_log_error_source(name)",
        effect="From now on the errors that this rule set logs have the name in their sub_source.",
        determinism="det",
        example="set_log_error_source('paging')",
        function=_set_source,
    ),
    Predicate(
        name="print_cache",
        modes="",
        signature="print_cache",
        effect=f"Notes how many events are cached and the newest {CACHE_LINES}, for `tec why`.",
        determinism="det",
        example="print_cache",
        function=_print_cache,
    ),
    Predicate(
        name="print_cache",
        modes="s",
        signature="print_cache(class)",
        effect="The same for the events of a class and of those that inherit from it.",
        determinism="det",
        example="print_cache('TEC_Notice')",
        function=_print_cache,
    ),
)
