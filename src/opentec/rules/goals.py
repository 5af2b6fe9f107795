"""Compiled goals and how they are put in a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from opentec.rules.evaluation import Evaluation
from opentec.rules.scope import Frame

Goal = Callable[[Frame, Evaluation], bool]  # at most one solution: True, with its bindings made
Step = Callable[[Frame, Evaluation], bool]  # drives all solutions through what follows; True: the search is over


class Choice(NamedTuple):
    """A goal that may have several solutions, or none, or that steers: `make` gives its step before `rest`."""

    make: Callable[[Step], Step]


Code = Goal | Choice


def found(frame: Frame, run: Evaluation) -> bool:
    """The end of a search for which one solution is enough."""
    run.cut = None  # what was left of a search before
    return True


def link(codes: Iterable[Code], rest: Step) -> Step:
    """One step that runs the goals in order and then `rest`, for every solution."""
    step = rest
    row: list[Goal] = []
    for code in reversed(list(codes)):
        if isinstance(code, Choice):
            step = code.make(_row(row, step))
            row = []
        else:
            row.insert(0, code)
    return _row(row, step)


def as_goal(codes: Iterable[Code]) -> Goal:
    """The goals as one goal that takes their first solution. A cut or commit in them ends this search, and no other."""
    row = list(codes)
    if len(row) == 1 and not isinstance(row[0], Choice):
        return row[0]
    search = link(row, found)
    if not any(isinstance(code, Choice) for code in row):
        return search

    def first(frame: Frame, run: Evaluation) -> bool:
        return search(frame, run) and run.cut is None

    return first


def stop(run: Evaluation, until: object) -> bool:
    """End the search that is under way, up to what made `until`: what a cut returns when all behind it is done.

    Every step on the way passes the True on. An `as_goal` stops it, and the call of the user clause whose frame
    `until` is; nothing else runs before one of them, or the end of the action, is reached.
    """
    run.cut = until
    return True


def _row(goals: list[Goal], rest: Step) -> Step:
    match goals:
        case []:
            return rest
        case [one]:
            return lambda frame, run: one(frame, run) and rest(frame, run)
        case [one, two]:
            return lambda frame, run: one(frame, run) and two(frame, run) and rest(frame, run)
    row: Final = tuple(goals)

    def run_row(frame: Frame, run: Evaluation) -> bool:
        for goal in row:
            if not goal(frame, run):
                return False
        return rest(frame, run)

    return run_row
