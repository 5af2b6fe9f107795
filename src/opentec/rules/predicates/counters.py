"""Counters: numbers that rules keep by a key, and the frequency that simple rules ask for.

The names are TEC's (tec.md 3.6), the arguments our choice. A key is text, a number or a list of them, such as
[logins, _hostname]. A counter stays until it is reset: thresholds are what forgets by itself.
"""

from __future__ import annotations

from typing import Any, Final

from opentec.rules.evaluation import Evaluation
from opentec.rules.event import Event
from opentec.rules.predicates.keys import key_of
from opentec.rules.predicates.registry import Predicate
from opentec.rules.predicates.windows import LONGEST, SLIDING_LIMIT, Rate, Windows
from opentec.rules.terms import RuleError, unify

COUNTER_LIMIT: Final = 200_000
_SECTION: Final = "counter"  # [count, limit]; a limit of 0 is none
_WHAT: Final = "the key of a counter"


def _init(run: Evaluation, key: Any) -> bool:
    _put(run, key_of(key, _WHAT), 0, 0)
    return True


def _init_limit(run: Evaluation, key: Any, limit: int) -> bool:
    if limit < 1:
        raise RuleError(f"the limit of a counter is 1 or more, not {limit}")
    _put(run, key_of(key, _WHAT), 0, limit)
    return True


def _put(run: Evaluation, name: str, count: int, limit: int) -> None:
    store = run.store
    if store.get(_SECTION, name) is None and len(store.section(_SECTION)) >= COUNTER_LIMIT:
        raise RuleError(f"{COUNTER_LIMIT} counters are open; reset_count those that are not needed any more")
    store.put(_SECTION, name, [count, limit])


def _increment(run: Evaluation, key: Any) -> bool:
    name = key_of(key, _WHAT)
    count, limit = run.store.get(_SECTION, name, (0, 0))
    if limit == 0:
        raise RuleError(f"counter {name[:60]} has no limit; init_count(key, limit) gives it one")
    _put(run, name, count + 1, limit)
    return bool(count + 1 >= limit)


def _increment_counted(run: Evaluation, key: Any, number: Any) -> bool:
    name = key_of(key, _WHAT)
    count, limit = run.store.get(_SECTION, name, (0, 0))
    _put(run, name, count + 1, limit)
    return unify(number, count + 1, run.trail)


def _reset(run: Evaluation, key: Any) -> bool:
    name = key_of(key, _WHAT)
    limit = run.store.get(_SECTION, name, (0, 0))[1]
    # without a limit nothing is left to remember
    run.store.put(_SECTION, name, [0, limit] if limit else None)
    return True


def _frequency_exceeds(run: Evaluation, event: Event, name: str, number: int, seconds: int) -> bool:
    if not 0 <= number < SLIDING_LIMIT or not 1 <= seconds <= LONGEST:
        raise RuleError(f"frequency_exceeds takes 0 to {SLIDING_LIMIT - 1} events within a second to ten years")
    key = key_of(["frequency", name], "the name of a rule")
    rate = Rate(f"{number}/{seconds}", number + 1, seconds, sliding=True)
    return run.store.view(Windows).count(run, key, event, rate) > 0


PREDICATES: Final[tuple[Predicate, ...]] = (
    Predicate(
        name="init_count",
        modes="v",
        signature="init_count(key)",
        effect="Sets a counter to 0, without a limit.",
        determinism="det",
        example="init_count([logins, _hostname])",
        function=_init,
    ),
    Predicate(
        name="init_count",
        modes="vi",
        signature="init_count(key, limit)",
        effect="Sets a counter to 0, and its limit.",
        determinism="det",
        example="init_count([logins, _hostname], 10)",
        function=_init_limit,
    ),
    Predicate(
        name="check_and_increment_count",
        modes="v",
        signature="check_and_increment_count(key)",
        effect="Adds one to a counter; succeeds from its limit on.",
        determinism="semidet",
        example="check_and_increment_count([logins, _hostname])",
        function=_increment,
    ),
    Predicate(
        name="check_and_increment_count",
        modes="vt",
        signature="check_and_increment_count(key, _number)",
        effect="Adds one to a counter, which begins with 0, and unifies the number; so with a given number it succeeds "
        "exactly then.",
        determinism="semidet",
        example="check_and_increment_count([logins, _hostname], _number)",
        function=_increment_counted,
    ),
    Predicate(
        name="reset_count",
        modes="v",
        signature="reset_count(key)",
        effect="Sets a counter to 0 again and keeps its limit; one without a limit is gone.",
        determinism="det",
        example="reset_count([logins, _hostname])",
        function=_reset,
    ),
    Predicate(
        name="$frequency_exceeds",
        modes="esii",
        signature="$frequency_exceeds(_event, name, number, seconds)",
        effect="Counts the event under the name; succeeds when it is more than that many within the seconds before it, "
        "and begins anew.",
        determinism="semidet",
        example="'$frequency_exceeds'(_event, 'set/rule', 3, 300)",
        function=_frequency_exceeds,
        internal=True,
    ),
)
