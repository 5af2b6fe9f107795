"""Lists, as Prolog's library has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from opentec.rules.arithmetic import WORD, checked
from opentec.rules.evaluation import Evaluation
from opentec.rules.predicates.define import define
from opentec.rules.predicates.registry import Predicate
from opentec.rules.terms import (
    LIST_LIMIT,
    Budget,
    Partial,
    Ref,
    RuleError,
    Struct,
    deref,
    identical,
    show,
    sort_key,
    undo,
    unify,
)

SCAN: Final = 64  # items looked at for one step
COPIED: Final = 256  # items of a list that are copied for one step


def items_of(term: Any, what: str, run: Evaluation) -> list[Any]:
    """The items of a proper list; raises RuleError, which names `what` needs it, for everything else."""
    term = deref(term)
    if type(term) is not list:
        raise RuleError(f"{what} needs a list, not {show(term)!r}")
    run.count(len(term) // SCAN)
    return term


def bounded(items: list[Any]) -> list[Any]:
    if len(items) > LIST_LIMIT:
        raise RuleError(f"a list has at most {LIST_LIMIT} items")
    return items


def _number(term: Any, what: str) -> int:
    term = deref(term)
    if type(term) is not int:
        raise RuleError(f"{what} needs a whole number, not {show(term)!r}")
    return term


def _member(run: Evaluation, item: Any, items: Any) -> Iterator[None]:
    mark = len(run.trail)
    for candidate in items_of(items, "member", run):
        if unify(item, candidate, run.trail):
            yield
        undo(run.trail, mark)


def _memberchk(run: Evaluation, item: Any, items: Any) -> bool:
    return next((True for _ in _member(run, item, items)), False)


def _length(run: Evaluation, items: Any, length: Any) -> bool:
    items, length = deref(items), deref(length)
    if type(items) is list:
        return unify(length, len(items), run.trail)
    if type(length) is int and 0 <= length <= LIST_LIMIT and type(items) in (Ref, Partial):
        run.count(length // SCAN)
        return unify(items, [Ref() for _ in range(length)], run.trail)
    if type(length) is int and type(items) in (Ref, Partial):
        raise RuleError(f"length makes a list of 0 to {LIST_LIMIT} items, not of {length}")
    raise RuleError("length needs a list")


def _append(run: Evaluation, left: Any, right: Any, whole: Any) -> Iterator[None]:
    left, right, whole = deref(left), deref(right), deref(whole)
    mark = len(run.trail)
    if type(left) is list:
        if type(right) is list:
            joined: Any = bounded(left + right)
        else:
            joined = Partial(tuple(left), right) if left else right
        if unify(whole, joined, run.trail):
            yield
        undo(run.trail, mark)
        return
    if type(whole) is not list:
        raise RuleError("append needs a list in its first or its last argument")
    for cut in range(len(whole) + 1):
        run.count(len(whole) // COPIED)
        if unify(left, whole[:cut], run.trail) and unify(right, whole[cut:], run.trail):
            yield
        undo(run.trail, mark)


def _reverse(run: Evaluation, items: Any, result: Any) -> bool:
    return unify(result, items_of(items, "reverse", run)[::-1], run.trail)


def _nth(first: int) -> Callable[..., Iterator[None]]:
    def nth(run: Evaluation, number: Any, items: Any, item: Any) -> Iterator[None]:
        number, items = deref(number), items_of(items, f"nth{first}", run)
        if type(number) is not Ref:
            at = _number(number, f"nth{first}") - first
            if 0 <= at < len(items) and unify(item, items[at], run.trail):
                yield
            return
        mark = len(run.trail)
        for at, candidate in enumerate(items, first):
            if unify(item, candidate, run.trail) and unify(number, at, run.trail):
                yield
            undo(run.trail, mark)

    return nth


def _last(run: Evaluation, items: Any, item: Any) -> bool:
    found = items_of(items, "last", run)
    return bool(found) and unify(item, found[-1], run.trail)


def _select(run: Evaluation, item: Any, items: Any, rest: Any) -> Iterator[None]:
    found = items_of(items, "select", run)
    mark = len(run.trail)
    for at, candidate in enumerate(found):
        run.count(len(found) // COPIED)
        if unify(item, candidate, run.trail) and unify(rest, found[:at] + found[at + 1 :], run.trail):
            yield
        undo(run.trail, mark)


def _delete(run: Evaluation, items: Any, item: Any, result: Any) -> bool:
    mark = len(run.trail)
    rest = []
    for candidate in items_of(items, "delete", run):
        if not unify(candidate, item, run.trail):
            rest.append(candidate)
        undo(run.trail, mark)
    return unify(result, rest, run.trail)


def _keys(items: Iterable[Any], run: Evaluation) -> list[tuple[Any, ...]]:
    """What the items are sorted and told apart by; all of them together have the size of one term at most."""
    budget = Budget()
    keys = [sort_key(item, budget) for item in items]
    run.count(budget.steps)
    return keys


def _chosen(what: str, inside: bool, run: Evaluation, items: Any, others: Any) -> list[Any]:
    """The items that are among the others, or those that are not."""
    known = set(_keys(items_of(others, what, run), run))
    found = items_of(items, what, run)
    return [item for item, key in zip(found, _keys(found, run), strict=True) if (key in known) is inside]


def _subtract(run: Evaluation, items: Any, others: Any, result: Any) -> bool:
    return unify(result, _chosen("subtract", False, run, items, others), run.trail)


def _intersection(run: Evaluation, items: Any, others: Any, result: Any) -> bool:
    return unify(result, _chosen("intersection", True, run, items, others), run.trail)


def _union(run: Evaluation, items: Any, others: Any, result: Any) -> bool:
    first = _chosen("union", False, run, items, others)
    return unify(result, bounded(first + items_of(others, "union", run)), run.trail)


def _list_to_set(run: Evaluation, items: Any, result: Any) -> bool:
    found = items_of(items, "list_to_set", run)
    distinct: dict[Any, Any] = {}
    for key, item in zip(_keys(found, run), found, strict=True):
        distinct.setdefault(key, item)
    return unify(result, list(distinct.values()), run.trail)


def _sorted(items: list[Any], by: Iterable[Any], run: Evaluation) -> list[Any]:
    keys = _keys(by, run)
    return [items[at] for at in sorted(range(len(items)), key=keys.__getitem__)]


def _sort(run: Evaluation, items: Any, result: Any) -> bool:
    found = items_of(items, "sort", run)
    kept: list[Any] = []
    for item in _sorted(found, found, run):
        if not kept or not identical(kept[-1], item, run.trail):
            kept.append(item)
    return unify(result, kept, run.trail)


def _msort(run: Evaluation, items: Any, result: Any) -> bool:
    found = items_of(items, "msort", run)
    return unify(result, _sorted(found, found, run), run.trail)


def _first_of_pair(pair: Any) -> Any:
    pair = deref(pair)
    if type(pair) is not Struct or pair.name != "-" or len(pair.args) != 2:
        raise RuleError(f"keysort needs a list of key-value, and {show(pair)[:80]!r} is none")
    return pair.args[0]


def _keysort(run: Evaluation, items: Any, result: Any) -> bool:
    found = items_of(items, "keysort", run)
    return unify(result, _sorted(found, map(_first_of_pair, found), run), run.trail)


def _numbers(items: Any, what: str, run: Evaluation) -> list[Any]:
    found = [deref(item) for item in items_of(items, what, run)]
    for number in found:
        if type(number) is not int and type(number) is not float:
            raise RuleError(f"{what} needs numbers, and {show(number)!r} is none")
    return found


def _sum(run: Evaluation, items: Any, result: Any) -> bool:
    return unify(result, checked(sum(_numbers(items, "sum_list", run))), run.trail)


def _extreme(what: str, choose: Callable[[list[Any]], Any]) -> Callable[..., bool]:
    def extreme(run: Evaluation, items: Any, result: Any) -> bool:
        numbers = _numbers(items, what, run)
        return bool(numbers) and unify(result, choose(numbers), run.trail)

    return extreme


def _between(run: Evaluation, low: Any, high: Any, number: Any) -> Iterator[None]:
    first, high, number = _number(low, "between"), deref(high), deref(number)
    last = WORD - 1 if high in ("inf", "infinite") else _number(high, "between")
    if type(number) is not Ref:
        if first <= _number(number, "between") <= last:
            yield
        return
    for value in range(first, last + 1):
        number.value = value
        run.trail.append(number)
        yield


def _numlist(run: Evaluation, low: Any, high: Any, result: Any) -> bool:
    first, last = _number(low, "numlist"), _number(high, "numlist")
    if last - first >= LIST_LIMIT:
        raise RuleError(f"a list has at most {LIST_LIMIT} items")
    run.count(max(0, last - first) // SCAN)
    return first <= last and unify(result, list(range(first, last + 1)), run.trail)


def _flatten(run: Evaluation, items: Any, result: Any) -> bool:
    flat: list[Any] = []
    waiting = [iter([deref(items)])]
    while waiting:
        for item in waiting[-1]:
            item = deref(item)
            if type(item) is list:
                run.count(1 + len(item) // SCAN)
                waiting.append(iter(item))
                break
            flat.append(item)
            bounded(flat)
        else:
            waiting.pop()
    return unify(result, flat, run.trail)


PREDICATES: Final[tuple[Predicate, ...]] = (
    define(
        "member(_item, [item, ...])",
        "tt",
        "Unifies with every item in turn.",
        "member(_severity, ['CRITICAL', 'FATAL'])",
        _member,
        "nondet",
    ),
    define(
        "memberchk(item, [item, ...])",
        "tt",
        "Unifies with the first item that fits.",
        "memberchk(_hostname, ['web1', 'web2'])",
        _memberchk,
    ),
    define(
        "length([item, ...], _length)",
        "tt",
        "Gives the number of items of a list, or a list of that many variables.",
        "length([_hostname, _msg], _n)",
        _length,
    ),
    define(
        "append(left, right, whole)",
        "ttt",
        "Joins two lists, or gives every way to cut one in two.",
        "append(['a'], _rest, _whole)",
        _append,
        "nondet",
    ),
    define("reverse(list, _reversed)", "tt", "Turns a list round.", "reverse([1, 2], _r)", _reverse),
    define(
        "nth0(_number, list, _item)",
        "ttt",
        "Gives the item of that number, counted from 0, or every number and item.",
        "nth0(0, [a, b], _first)",
        _nth(0),
        "nondet",
    ),
    define(
        "nth1(_number, list, _item)", "ttt", "The same, counted from 1.", "nth1(1, [a, b], _first)", _nth(1), "nondet"
    ),
    define("nth(_number, list, _item)", "ttt", "The same as nth1.", "nth(_at, [a, b], b)", _nth(1), "nondet"),
    define("last(list, _item)", "tt", "Gives the last item.", "last([a, b], _last)", _last),
    define(
        "select(_item, list, _rest)",
        "ttt",
        "Takes each item that fits out of the list in turn.",
        "select(_one, [a, b], _others)",
        _select,
        "nondet",
    ),
    define(
        "delete(list, item, _rest)",
        "ttt",
        "The list without all items that fit.",
        "delete([a, b, a], a, _rest)",
        _delete,
    ),
    define(
        "subtract(list, others, _rest)",
        "vvt",
        "The items that are not among the others.",
        "subtract([a, b], [b], _rest)",
        _subtract,
    ),
    define(
        "intersection(list, others, _both)",
        "vvt",
        "The items that are among the others, too.",
        "intersection([a, b], [b, c], _both)",
        _intersection,
    ),
    define(
        "union(list, others, _all)",
        "vvt",
        "The items that are not among the others, and the others.",
        "union([a, b], [b, c], _all)",
        _union,
    ),
    define(
        "list_to_set(list, _set)",
        "vt",
        "Each item once, where it is first.",
        "list_to_set([b, a, b], _s)",
        _list_to_set,
    ),
    define(
        "sort(list, _sorted)",
        "tt",
        "Sorts by the order of terms (see @<), and keeps each item once.",
        "sort([web2, web1, web2], _hosts)",
        _sort,
    ),
    define("msort(list, _sorted)", "tt", "Sorts, and keeps all items.", "msort([3, 1, 3], _sorted)", _msort),
    define(
        "keysort(list, _sorted)",
        "tt",
        "Sorts a list of key-value by key; those with the same key stay in their order.",
        "keysort([2-b, 1-a], _sorted)",
        _keysort,
    ),
    define("sum_list(list, _sum)", "tt", "Adds the numbers up.", "sum_list([1, 2], _sum)", _sum),
    define("sumlist(list, _sum)", "tt", "The same as sum_list.", "sumlist([1, 2], _sum)", _sum),
    define("max_list(list, _number)", "tt", "The largest number.", "max_list([1, 2], _max)", _extreme("max_list", max)),
    define(
        "min_list(list, _number)", "tt", "The smallest number.", "min_list([1, 2], _min)", _extreme("min_list", min)
    ),
    define(
        "between(low, high, _number)",
        "ttt",
        "Every whole number from low to high, or whether it is one; high may be inf.",
        "between(1, 3, _n)",
        _between,
        "nondet",
    ),
    define("numlist(low, high, _list)", "ttt", "The list of these numbers.", "numlist(1, 3, _list)", _numlist),
    define("flatten(list, _flat)", "tt", "The items of lists within lists.", "flatten([a, [b, [c]]], _flat)", _flatten),
)
