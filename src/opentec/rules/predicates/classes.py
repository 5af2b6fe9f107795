"""Classes, enumerations and settings of the rule base as data (names: tec.md 3.6; the order of arguments is ours).

All of it is in the rule base, so the same answers come after a failover. A class that does not exist is an error, not
a failure: else a wrong name would look like a class that is simply not above the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from opentec.events.classes import EventClass
from opentec.events.errors import EventRejected
from opentec.events.names import nearest
from opentec.rules.evaluation import Evaluation
from opentec.rules.predicates.registry import Predicate
from opentec.rules.terms import Ref, RuleError, deref, show, undo, unify

TREE_LINES: Final = 50  # classes of a tree that print_class_tree names


def _class(run: Evaluation, name: Any) -> EventClass:
    if type(name) is not str:
        raise RuleError(f"the name of a class is text, not {show(name)!r}")
    try:
        return run.shapes.table.get(name)
    except EventRejected as wrong:
        raise RuleError(str(wrong)) from None


def _slots(run: Evaluation, name: str, slots: Any) -> bool:
    return unify(slots, list(_class(run, name).slots), run.trail)


def _has_slot(run: Evaluation, name: str, slot: str) -> bool:
    return slot in _class(run, name).slots


def _options(run: Evaluation, name: str, options: Any) -> bool:
    enumerations = run.shapes.table.enumerations
    found = enumerations.get(name)
    if found is None:
        near = nearest(name, enumerations)
        raise RuleError(f"enumeration {name!r} is not defined" + (f"; did you mean {near!r}?" if near else ""))
    return unify(options, sorted(found.members, key=found.members.__getitem__), run.trail)


def _supers(run: Evaluation, above: Any, below: Any) -> Iterator[None]:
    return _related(run, above, below, None)


def _direct_supers(run: Evaluation, above: Any, below: Any) -> Iterator[None]:
    return _related(run, above, below, 2)


def _related(run: Evaluation, above: Any, below: Any, generations: int | None) -> Iterator[None]:
    """Pairs of classes of which the first is above the second, nearest first; `generations` counts the second in."""
    above, below = deref(above), deref(below)
    if type(above) is not Ref:
        _class(run, above)
    classes = run.shapes.table.classes.values() if type(below) is Ref else (_class(run, below),)
    mark = len(run.trail)
    for cls in classes:
        for ancestor in cls.ancestors[1:generations]:
            if unify(below, cls.name, run.trail) and unify(above, ancestor, run.trail):
                yield
            undo(run.trail, mark)
        run.count(1)


def _print_tree(run: Evaluation, name: str) -> bool:
    root = _class(run, name)
    below = [cls for cls in run.shapes.table.classes.values() if cls.is_a(name)]
    depth = len(root.ancestors)
    lines = sorted("/".join(reversed(cls.ancestors[: len(cls.ancestors) - depth + 1])) for cls in below)
    for line in lines[:TREE_LINES]:
        run.note(line)
    if len(lines) > TREE_LINES:
        run.note(f"... and {len(lines) - TREE_LINES} more classes below {name}")
    return True


def _config(run: Evaluation, name: str, value: Any, default: Any = None) -> bool:
    settings = msgspec.structs.asdict(run.settings)
    if name in settings:
        found = settings[name]
        return unify(value, str(found).lower() if type(found) is bool else found, run.trail)
    return default is not None and unify(value, default, run.trail)


PREDICATES: Final = (
    Predicate(
        name="bo_get_class_slots",
        modes="st",
        signature="bo_get_class_slots(class, _slots)",
        effect="Gives the names of all slots of a class, those of EVENT first.",
        determinism="semidet",
        example="bo_get_class_slots('TEC_Notice', _slots)",
        function=_slots,
    ),
    Predicate(
        name="bo_is_defined_for_class",
        modes="ss",
        signature="bo_is_defined_for_class(class, slot)",
        effect="Succeeds when the class has the slot, its own or inherited.",
        determinism="semidet",
        example="bo_is_defined_for_class('TEC_Notice', hostname)",
        function=_has_slot,
    ),
    Predicate(
        name="bo_get_enum_options",
        modes="st",
        signature="bo_get_enum_options(enumeration, _members)",
        effect="Gives the members of an enumeration in the order of their numbers.",
        determinism="semidet",
        example="bo_get_enum_options('SEVERITY', [_lowest | _])",
        function=_options,
    ),
    Predicate(
        name="bo_is_super_of",
        modes="tt",
        signature="bo_is_super_of(_super, _class)",
        effect="Succeeds when the class inherits from the other, at any distance. Either may be unbound.",
        determinism="nondet",
        example="bo_is_super_of('EVENT', 'TEC_Notice')",
        function=_supers,
        many=True,
    ),
    Predicate(
        name="bo_is_direct_super_of",
        modes="tt",
        signature="bo_is_direct_super_of(_super, _class)",
        effect="Succeeds when the first is the class that the second names after ISA. Either may be unbound.",
        determinism="nondet",
        example="bo_is_direct_super_of(_super, 'TEC_Notice')",
        function=_direct_supers,
        many=True,
    ),
    Predicate(
        name="print_class_tree",
        modes="s",
        signature="print_class_tree(class)",
        effect=f"Notes the class and what inherits from it, up to {TREE_LINES} classes, for `tec why`.",
        determinism="det",
        example="print_class_tree('TEC_Notice')",
        function=_print_tree,
    ),
    *(
        Predicate(
            name="get_config_param",
            modes="st" + "v" * given,
            signature=f"get_config_param(name, _value{', default' * given})",
            effect=f"Gives a setting of the rule base (rulebase.toml); {otherwise} when there is no such setting.",
            determinism="semidet",
            example=f"get_config_param({name}, _value{default})",
            function=_config,
        )
        for given, otherwise, name, default in ((0, "fails", "cache_size", ""), (1, "the default", "pager", ", 'none'"))
    ),
)
