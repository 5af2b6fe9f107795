"""Global variables, in groups (tec.md 3.6: names; what they take and give is our choice).

They are state of the server: stored with the event that set them, there after a restart, a reload and a failover.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from opentec.rules.evaluation import Evaluation
from opentec.rules.keyed import Keyed, check_key
from opentec.rules.predicates.define import define
from opentec.rules.predicates.registry import Predicate
from opentec.rules.terms import (
    LIST_LIMIT,
    Ref,
    RuleError,
    Struct,
    deref,
    freeze_measured,
    show,
    thaw,
    undo,
    unify,
    unify_all,
)

SCAN: Final = 16  # variables looked at for one step
GLOBAL_LIMIT: Final = 250_000  # global variables that all rules together may set


class Globals(Keyed):
    """Values by group and name."""

    section = "global"


def _group(key: Any) -> Any:
    return check_key(key, "the group of a global variable")


def _keys(group: Any, name: Any) -> tuple[Any, Any]:
    return _group(group), check_key(name, "the name of a global variable")


def _set(run: Evaluation, group: Any, name: Any, value: Any) -> bool:
    keys = _keys(group, name)
    data = run.frozen(value, "a global variable")
    variables = run.store.view(Globals)
    if variables.get(keys) is None and len(run.store.section(Globals.section)) >= GLOBAL_LIMIT:
        raise RuleError(f"there are {GLOBAL_LIMIT} global variables already; erase those that are not needed any more")
    variables.put(keys, data)
    run.note(f"set global {keys[0]}/{keys[1]}"[:200])
    return True


def _get(run: Evaluation, group: Any, name: Any, value: Any, default: Any) -> bool:
    data = run.store.view(Globals).get(_keys(group, name))
    return unify(value, default if data is None else thaw(data), run.trail)


def _get_group(run: Evaluation, group: Any, result: Any) -> bool:
    variables, first = run.store.view(Globals), _group(group)
    run.count(variables.size(first) // SCAN)
    if variables.size(first) > LIST_LIMIT:
        raise RuleError(f"a list has at most {LIST_LIMIT} items, and group {show(first)} has more variables")
    found = variables.group(first)
    return unify(result, [Struct("=", (keys[1], thaw(data))) for keys, data in found], run.trail)


def _get_all(run: Evaluation, group: Any, name: Any, value: Any) -> Iterator[None]:
    variables, group = run.store.view(Globals), deref(group)
    first = None if type(group) is Ref else _group(group)
    run.count(variables.size(first) // SCAN)
    found: Any = variables.all() if first is None else variables.group(first)
    mark = len(run.trail)
    for keys, data in found:
        if unify_all(keys, (group, name), run.trail) and unify(value, thaw(data), run.trail):
            yield
        undo(run.trail, mark)


def _reset(run: Evaluation, group: Any, value: Any) -> bool:
    data, size = freeze_measured(value, "a global variable")
    variables = run.store.view(Globals)
    run.put_out(size * variables.size(_group(group)))
    run.count(variables.size(_group(group)) // SCAN)
    found = variables.group(_group(group))
    for keys, _ in found:
        variables.put(keys, data)
    run.note(f"reset {len(found)} globals of {show(group)}"[:200])
    return True


def _exists(run: Evaluation, group: Any, name: Any) -> bool:
    return run.store.view(Globals).get(_keys(group, name)) is not None


def _erase(run: Evaluation, group: Any) -> bool:
    variables = run.store.view(Globals)
    run.count(variables.size(_group(group)) // SCAN)
    found = variables.group(_group(group))
    for keys, _ in found:
        variables.put(keys, None)
    run.note(f"erased {len(found)} globals of {show(group)}"[:200])
    return True


def _erase_one(run: Evaluation, group: Any, name: Any) -> bool:
    keys = _keys(group, name)
    run.store.view(Globals).put(keys, None)
    run.note(f"erased global {keys[0]}/{keys[1]}"[:200])
    return True


PREDICATES: Final[tuple[Predicate, ...]] = (
    define(
        "set_global_var(group, name, value)",
        "ttt",
        "Sets a global variable to any term without events.",
        "set_global_var(last, _hostname, _msg)",
        _set,
        "det",
    ),
    define(
        "get_global_var(group, name, _value, default)",
        "tttt",
        "Gives the value, or the default when it was never set.",
        "get_global_var(last, _hostname, _text, none)",
        _get,
    ),
    define(
        "get_global_grp(group, _list)",
        "tt",
        "Gives all variables of a group as a list of name=value, sorted by name.",
        "get_global_grp(last, _list)",
        _get_group,
    ),
    define(
        "get_globals(_group, _name, _value)",
        "ttt",
        "Gives every variable that fits, sorted by group and name.",
        "get_globals(last, _name, _value)",
        _get_all,
        "nondet",
    ),
    define(
        "reset_global_grp(group, value)",
        "tt",
        "Sets every variable of a group to the value.",
        "reset_global_grp(last, none)",
        _reset,
        "det",
    ),
    define(
        "global_exists(group, name)",
        "tt",
        "Succeeds when the variable was set.",
        "global_exists(last, _hostname)",
        _exists,
    ),
    define("erase_globals(group)", "t", "Takes all variables of a group away.", "erase_globals(last)", _erase, "det"),
    define(
        "erase_globals(group, name)",
        "tt",
        "Takes one variable away.",
        "erase_globals(last, _hostname)",
        _erase_one,
        "det",
    ),
)
