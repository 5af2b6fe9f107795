"""Searches of the event cache, newest first (tec.md 3.1, 3.6; tec-2.md 3.4).

The event under analysis is never found, and no event is its own duplicate. A window `_ref - before - after` counts
seconds on date_reception around that of `_ref`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from opentec.events.classes import ClassTable
from opentec.rules.arithmetic import expression
from opentec.rules.ast import Compound, EventArgument, Term
from opentec.rules.evaluation import Evaluation
from opentec.rules.event import Event
from opentec.rules.filters import FilterCode, compile_filter
from opentec.rules.goals import Choice, Code, Goal, Step
from opentec.rules.predicates.registry import Predicate
from opentec.rules.scope import Frame, Reader, Scope, constant, event_reader, wrong
from opentec.rules.terms import RuleError, undo

SCAN: Final = 16  # events looked at for one step of the step limit
_FOREVER: Final = 2**63

Candidates = Callable[[Frame, Evaluation], Iterable[Event]]
Window = Callable[[Frame], tuple[int, int]]


def _compile(table: ClassTable, term: Compound, scope: Scope) -> Code:
    duplicates = term.name.endswith("_duplicate") or term.name.endswith("_duplicates")
    args = list(term.args)
    reference = event_reader(args.pop(0), scope, f"argument 1 of {term.name}") if duplicates else None
    argument = args.pop(0)
    if not isinstance(argument, EventArgument):
        wrong(f"{term.name} needs an event filter here", argument.place, "write event: _found of_class ... where [...]")
    # the window first: it must not see the variables of the filter
    window = _window(args[0], scope) if args else None
    code = compile_filter(argument.filter, scope, table)
    candidates = _duplicates(reference, code) if reference is not None else _instances(code)
    search = _first if term.name.startswith("first") else _all
    return search(candidates, window, code, f"{term.place.file}:{term.place.line}")


def _window(term: Term, scope: Scope) -> Window:
    match term:
        case Compound(name="-", args=(Compound(name="-", args=(reference, before)), after)):
            event = event_reader(reference, scope, "a time window")
        case _:
            wrong("this is not a time window", term.place, "write _event - 600 - 600, seconds before and after")
    fixed = constant(before), constant(after)
    if type(fixed[0]) is int and type(fixed[1]) is int:
        back, forth = fixed
        if back < 0 or forth < 0:
            wrong("the seconds of a time window are not negative", term.place)

        def fixed_window(frame: Frame) -> tuple[int, int]:
            date = event(frame).slots["date_reception"]
            return date - back, date + forth

        return fixed_window
    seconds = expression(before, scope), expression(after, scope)

    def window(frame: Frame) -> tuple[int, int]:
        date = event(frame).slots["date_reception"]
        before, after = seconds[0](frame), seconds[1](frame)
        if before < 0 or after < 0:
            raise RuleError("the seconds of a time window are not negative")
        return date - before, date + after

    return window


def _duplicates(reference: Reader, code: FilterCode) -> Candidates:
    open_only = code.open_only

    def candidates(frame: Frame, run: Evaluation) -> Iterable[Event]:
        event = reference(frame)
        found = run.cache.duplicates(event, open_only)
        if event is run.event:
            return found
        return (other for other in found if other is not event)

    return candidates


def _instances(code: FilterCode) -> Candidates:
    classes = tuple(sorted(code.classes)) if code.classes is not None else None
    open_only, host = code.open_only, code.host
    if host is None:
        return lambda frame, run: run.cache.instances(classes, None, open_only)
    return lambda frame, run: run.cache.instances(classes, _text(host(frame)), open_only)


def _text(host: Any) -> str:
    return host if type(host) is str else str(host)


def _first(candidates: Candidates, window: Window | None, code: FilterCode, place: str) -> Goal:
    matches = code.match(found_open=code.open_only)

    def first(frame: Frame, run: Evaluation) -> bool:
        looked, analysed = 0, run.event
        earliest, latest = 0, _FOREVER
        try:
            if window is not None:
                earliest, latest = window(frame)
            for event in candidates(frame, run):
                date = event.slots["date_reception"]
                if date < earliest:
                    return False  # newest first, and dates of reception never run back
                if date <= latest and event is not analysed and matches(event, frame, run):
                    return True
                looked += 1
                if looked % SCAN == 0:
                    run.count(1)
        except RuleError as error:
            error.place = error.place or place
            raise
        return False

    return first


def _all(candidates: Candidates, window: Window | None, code: FilterCode, place: str) -> Choice:
    matches = code.match(found_open=code.open_only)

    def make(rest: Step) -> Step:
        def every(frame: Frame, run: Evaluation) -> bool:
            mark = len(run.trail)
            try:
                earliest, latest = window(frame) if window is not None else (0, _FOREVER)
                # a list: the body may change the cache while we walk
                found = []
                for event in candidates(frame, run):
                    if event.slots["date_reception"] < earliest:
                        break
                    found.append(event)
                run.count(len(found) // SCAN)
                for event in found:
                    if event.slots["date_reception"] > latest or event is run.event or not matches(event, frame, run):
                        continue
                    run.count(1)
                    if rest(frame, run):
                        return True
                    undo(run.trail, mark)
            except RuleError as error:
                error.place = error.place or place
                raise
            return False

        return every

    return Choice(make)


def _search(name: str, modes: str, signature: str, effect: str, determinism: str, example: str) -> Predicate:
    return Predicate(
        name=name,
        modes=modes,
        signature=signature,
        effect=effect,
        determinism=determinism,
        example=example,
        compile=_compile,
    )


_DUPLICATE: Final = "an event of the same class with the same values in all slots with dup_detect"
_WINDOW: Final = ", _ref - before - after"
PREDICATES: Final = tuple(
    _search(f"{which}", modes, f"{which}({arguments}{window})", effect, determinism, example)
    for which, arguments, base, effect, determinism, example in (
        (
            "first_duplicate",
            "_event, event: _dup where [...]",
            "et",
            f"Finds the newest duplicate: {_DUPLICATE}.",
            "semidet",
            "first_duplicate(_event, event: _dup where [status: outside ['CLOSED']])",
        ),
        (
            "all_duplicates",
            "_event, event: _dup where [...]",
            "et",
            f"Finds every duplicate, newest first: {_DUPLICATE}.",
            "nondet",
            "all_duplicates(_event, event: _dup where [], _event - 600 - 0)",
        ),
        (
            "first_instance",
            "event: _found of_class C where [...]",
            "t",
            "Finds the newest event in the cache that the filter takes.",
            "semidet",
            "first_instance(event: _down of_class 'TEC_Stop' where [hostname: equals _hostname])",
        ),
        (
            "all_instances",
            "event: _found of_class C where [...]",
            "t",
            "Finds every event in the cache that the filter takes, newest first.",
            "nondet",
            "all_instances(event: _e of_class 'EVENT' where [hostname: equals _hostname], _event - 60 - 0)",
        ),
    )
    for modes, window in ((base, ""), (base + "t", _WINDOW))
)
