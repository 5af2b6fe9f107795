"""L301: windows that reach back further than the event cache does.

The estimate: a cache of `cache_size` events holds the newest 95 % of them at least, for when it is full the oldest 5 %
leave, closed ones first. At RATE events an hour that stay (what is dropped is not in the cache) that is
0.95 * cache_size / RATE hours. A window of a year or more means "whenever", and is not looked at. Thresholds and
counters are not kept in the cache, and have no such limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from opentec.rules.ast import Compound, EventArgument, Number, Place, Term
from opentec.rules.cache import CLEAN_PERCENT
from opentec.rules.predicates.criteria import YEAR
from opentec.testing.lint.diagnostics import Diagnostic, found
from opentec.testing.lint.model import Goal, Model

RATE: Final = 180  # events an hour that stay, unless it is said otherwise
# predicates whose last one or two arguments are seconds back from an event, and for it
_WINDOWS: Final = {
    ("any_clear_target", 4): (2, 3),
    ("all_clear_targets", 4): (2, 3),
    ("any_clearing_event", 4): (2, 3),
    ("create_cache_search_criteria", 5): (3, 4),
    ("create_event_sequence", 4): (3,),
}


def check_windows(model: Model, rate: float = RATE) -> Iterator[Diagnostic]:
    """Searches whose window is longer than the cache holds at `rate` events an hour."""
    size = model.base.settings.cache_size
    holds = int(size * (100 - CLEAN_PERCENT) / 100 / rate * 3600)
    for goal in model.goals:
        seconds, place = _window(goal)
        if holds < seconds < YEAR:
            needed = int(seconds / 3600 * rate * 100 / (100 - CLEAN_PERCENT)) + 1
            yield found(
                "L301",
                place,
                f"this looks for events of {length(seconds)}, and at {rate:g} events an hour a cache of {size} holds "
                f"those of {length(holds)}",
                f"set cache_size = {needed} in rulebase.toml, or say with --rate how many events stay",
            )


def _window(goal: Goal) -> tuple[float, Place]:
    """The seconds that a goal looks back or ahead, 0 where it does not say."""
    terms: list[Term] = [goal.args[number] for number in _WINDOWS.get(goal.key, ())]
    if any(isinstance(argument, EventArgument) for argument in goal.args):
        for argument in goal.args:
            if isinstance(argument, Compound) and argument.name == "-" and len(argument.args) == 2:
                before, after = argument.args
                terms = [after]
                if isinstance(before, Compound) and before.name == "-" and len(before.args) == 2:
                    terms.append(before.args[1])
    numbers = [(float(term.value), term.place) for term in terms if isinstance(term, Number)]
    return max(numbers, key=lambda one: one[0], default=(0.0, goal.place))


def length(seconds: float) -> str:
    """`36h`, `2d`, `90s`: the largest unit that says it without much being lost."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{round(seconds / size)} {unit}"
    return f"{round(seconds)} s"
