"""Nearest right names for messages that people see."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from typing import Final

_LONGEST: Final = 64  # characters; a longer name is no slip of the fingers, and difflib is quadratic
_KEPT: Final = 1024
_COMPARED: Final = 12
_known: dict[tuple[str, tuple[str, ...]], str] = {}


def nearest(name: str, names: Iterable[str]) -> str:
    """The name of `names` that a person most likely meant by `name`, or "" when none is near.

    A name that differs only in case wins; else the nearest by difflib. A hostile stream of wrong names costs little:
    answers are remembered, up to a bound, and very long names get none.
    """
    if len(name) > _LONGEST:
        return ""
    pool = names if isinstance(names, tuple) else tuple(names)
    key = (name, pool)
    found = _known.get(key)
    if found is None:
        found = _search(name, pool)
        if len(_known) >= _KEPT:
            _known.clear()
        _known[key] = found
    return found


def _search(name: str, pool: tuple[str, ...]) -> str:
    import difflib  # only when something is wrong: client commands start without it

    folded = name.casefold()
    near = {candidate.casefold(): candidate for candidate in pool}
    if folded in near:
        return near[folded]
    # difflib costs microseconds per pair: it sees only those that share most letters and pairs of letters
    own = _grams(folded)
    best = sorted(near, key=lambda plain: 2 * len(own & _grams(plain)) / (len(own) + len(_grams(plain)) + 1))[
        -_COMPARED:
    ]
    close = difflib.get_close_matches(folded, best, n=1, cutoff=0.6)
    return near[close[0]] if close else ""


@lru_cache(maxsize=8192)
def _grams(text: str) -> frozenset[str]:
    return frozenset((*text, *map("".join, pairwise(text))))


def shown(text: object, limit: int = 60) -> str:
    """`text` in quotes for a message, cut so that a stranger cannot fill a log with it."""
    full = repr(text)
    return full if len(full) <= limit else f"{full[: limit - 4]}...{full[-1]}"
