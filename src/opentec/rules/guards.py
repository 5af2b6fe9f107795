"""Guards: what actions ask before anything else, known without running them.

Rule sets that are off by default, or that wait for something, begin with a look at a global variable; others leave out
what was dropped. Such goals say no for nearly every event. A rule whose actions all begin with the same ones is not
even matched then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from opentec.rules.ast import Atom, Compound, Term
from opentec.rules.evaluation import Evaluation
from opentec.rules.predicates.globals import Globals
from opentec.rules.scope import constant

DROPPED: Final = "received_event_dropped"


class Asked(NamedTuple):
    """`global_exists`, or with a value `get_global_var`, all of it constants; without keys that nothing was dropped."""

    keys: tuple[str, str] | None = None
    value: str | None = None
    default: str | None = None

    def holds(self, variables: Globals) -> bool:
        """Whether the variables are so."""
        found = None if self.keys is None else variables.get(self.keys)
        if self.value is None:
            return found is not None
        return bool((self.default if found is None else found) == self.value)


class Guard:
    """The goals that some bodies begin with.

    `shut` follows the global variables that are watched; `undropped` says that an event which was dropped is not
    for these bodies.
    """

    __slots__ = ("_asked", "_goals", "shut", "undropped")

    def __init__(self, asked: Sequence[Asked], goals: Sequence[Term]) -> None:
        self._goals = tuple(zip(asked, goals, strict=True))
        self._asked = tuple(one for one in asked if one.keys is not None)
        self.undropped = len(self._asked) < len(asked)
        self.shut = False

    def watch(self, variables: Globals) -> None:
        """Follow these variables from here on."""

        def look() -> None:
            self.shut = not all(asked.holds(variables) for asked in self._asked)

        for asked in self._asked:
            assert asked.keys is not None
            variables.watchers.setdefault(asked.keys, []).append(look)
        look()

    def closed(self, run: Evaluation) -> bool:
        """Whether one of the goals fails, so that nothing behind them runs."""
        return self.shut or (self.undropped and run.dropped is not None)

    def failing(self, run: Evaluation) -> Term:
        """The first goal that fails, of a guard that is closed."""
        variables = run.store.view(Globals)
        return next(
            goal
            for asked, goal in self._goals
            if (run.dropped is not None if asked.keys is None else not asked.holds(variables))
        )


def guard_of(bodies: Sequence[Term]) -> Guard | None:
    """The guard that all these bodies begin with, if they do."""
    begins = [list(_begin(body)) for body in bodies]
    same: list[Asked] = []
    for row in zip(*[[asked for asked, _ in begin] for begin in begins], strict=False):
        if len(set(row)) > 1:
            break
        same.append(row[0])
    return Guard(same, [goal for _, goal in begins[0]][: len(same)]) if same else None


def without_guard(body: Term) -> list[Term]:
    """The goals that stand behind those of its guard."""
    return list(_goals(body))[len(list(_begin(body))) :]


def _begin(body: Term) -> Iterator[tuple[Asked, Term]]:
    for goal in _goals(body):
        asked = _asked(goal)
        if asked is None:
            return
        yield asked, goal


def _goals(body: Term) -> Iterable[Term]:
    if isinstance(body, Compound) and body.name == "," and len(body.args) >= 2:
        for goal in body.args:
            yield from _goals(goal)
    else:
        yield body


def _asked(goal: Term) -> Asked | None:
    if not isinstance(goal, Compound):
        return None
    if goal.name in ("\\+", "not") and len(goal.args) == 1:
        inner = goal.args[0]
        return Asked() if isinstance(inner, Atom) and inner.value == DROPPED else None
    values: list[Any] = [constant(arg) for arg in goal.args]
    if all(type(value) is str for value in values):
        match goal.name, values:
            case "global_exists", [group, name]:
                return Asked((group, name))
            case "get_global_var", [group, name, value, default]:
                return Asked((group, name), value, default)
    return None
