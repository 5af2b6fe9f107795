"""Searches of the event cache, newest first (tec.md 3.1, 3.6; tec-2.md 3.4).

The event under analysis is never found, and no event is its own duplicate. A window `_ref - before - after` counts
seconds on date_reception around that of `_ref`.

`clear_closed_events` takes closed events out of the cache as a full cache does, by raising its lower end F: so it holds
after a restart, and an event before F leaves the cache when it is closed later (our choice; tec.md 3.6 has the name).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from opentec.events.classes import ClassTable
from opentec.rules.arithmetic import expression
from opentec.rules.ast import Compound, EventArgument, Term
from opentec.rules.evaluation import Evaluation
from opentec.rules.event import CLOSED, Event
from opentec.rules.filters import FilterCode, compile_filter
from opentec.rules.goals import Choice, Code, Goal, Step
from opentec.rules.predicates.registry import Predicate
from opentec.rules.scope import Frame, Reader, Scope, constant, event_reader, wrong
from opentec.rules.terms import RuleError, undo

SCAN: Final = 16  # events looked at for one step of the step limit
_FOREVER: Final = 2**63

Candidates = Callable[[Frame, Evaluation], Iterable[Event]]
Window = Callable[[Frame], tuple[int, int]]


def compile_search(
    table: ClassTable,
    term: Compound,
    scope: Scope,
    about: Callable[[Reader, FilterCode], Candidates] | None = None,
) -> Code:
    """A search whose name begins with `first` or `all`, its arguments an event filter and perhaps a time window.

    With `about` an event stands before the filter, and `about` gives the candidates for it: newest first, and none
    that is CLOSED when the filter says `open_only`. Raises SourceError.
    """
    args = list(term.args)
    reference = event_reader(args.pop(0), scope, f"argument 1 of {term.name}") if about is not None else None
    argument = args.pop(0)
    if not isinstance(argument, EventArgument):
        wrong(f"{term.name} needs an event filter here", argument.place, "write event: _found of_class ... where [...]")
    # the window first: it must not see the variables of the filter
    window = _window(args[0], scope) if args else None
    code = compile_filter(argument.filter, scope, table)
    candidates = about(reference, code) if about is not None and reference is not None else _instances(code)
    search = _first if term.name.startswith("first") else _all
    return search(candidates, window, code, f"{term.place.file}:{term.place.line}")


def _compile(table: ClassTable, term: Compound, scope: Scope) -> Code:
    duplicates = term.name in ("first_duplicate", "all_duplicates")
    return compile_search(table, term, scope, _duplicates if duplicates else None)


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


def _clear_closed(run: Evaluation, seconds: int = 0) -> bool:
    """Let go of every closed event that was received at least `seconds` ago."""
    if seconds < 0:
        raise RuleError("clear_closed_events takes the age in seconds, which is not negative")
    cache, latest = run.cache, run.seconds - seconds
    closed = [event for event in cache.instances(None, None, False) if event.status == CLOSED]
    run.count(len(cache) // SCAN)
    leaving = [event for event in closed if event.slots["date_reception"] <= latest]
    if leaving:
        cache.f = max(cache.f, max(event.eid for event in leaving) + 1)
        for event in leaving:
            cache.remove(event)
        run.note(f"{len(leaving)} closed events left the cache")
    return True


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
_SEARCHES: Final = tuple(
    _search(
        which,
        modes + "t" * windowed,
        f"{which}({arguments}{', _ref - before - after' * windowed})",
        effect + " Only events received so many seconds before and after the reference." * windowed,
        determinism,
        f"{which}({example}{', _event - 600 - 0' * windowed})",
    )
    for which, arguments, modes, effect, determinism, example in (
        (
            "first_duplicate",
            "_event, event: _dup where [...]",
            "et",
            f"Finds the newest duplicate: {_DUPLICATE}.",
            "semidet",
            "_event, event: _dup where [status: outside ['CLOSED']]",
        ),
        (
            "all_duplicates",
            "_event, event: _dup where [...]",
            "et",
            "Finds every duplicate, newest first.",
            "nondet",
            "_event, event: _dup where []",
        ),
        (
            "first_instance",
            "event: _found of_class C where [...]",
            "t",
            "Finds the newest event in the cache that the filter takes.",
            "semidet",
            "event: _other of_class 'EVENT' where [hostname: equals _hostname]",
        ),
        (
            "all_instances",
            "event: _found of_class C where [...]",
            "t",
            "Finds every event in the cache that the filter takes, newest first.",
            "nondet",
            "event: _other of_class 'EVENT' where [hostname: equals _hostname]",
        ),
    )
    for windowed in (0, 1)
)
PREDICATES: Final = (
    *_SEARCHES,
    *(
        Predicate(
            name="clear_closed_events",
            modes="i" * given,
            signature=f"clear_closed_events{'(seconds)' * given}",
            effect=f"Takes every closed event {'that was received at least so long ago ' * given}out of the cache.",
            determinism="det",
            example=f"clear_closed_events{'(3600)' * given}",
            function=_clear_closed,
        )
        for given in (0, 1)
    ),
)
