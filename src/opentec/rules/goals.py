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
    """The goals as one goal that takes their first solution."""
    return link(codes, found)


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
