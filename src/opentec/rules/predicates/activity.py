"""Event activity: how many events there were, by class and by values of slots.

TEC writes its report into a file; rules here have none (docs/rule-engine.md), so the report goes to what `tec why`
tells of the rule, or into a list. The names are TEC's (tec.md 3.6), the arguments our choice.
"""

from __future__ import annotations

from typing import Any, Final

from opentec.events.names import nearest, shown
from opentec.rules.evaluation import Evaluation
from opentec.rules.event import Event
from opentec.rules.predicates.criteria import slots_of
from opentec.rules.predicates.definitions import text_list
from opentec.rules.predicates.keys import key_of, values_of
from opentec.rules.predicates.registry import Predicate
from opentec.rules.terms import RuleError, unify

COUNT_LIMIT: Final = 10_000  # different values that are counted; what comes after them is counted as others
GROUP_LIMIT: Final = 20  # groups of slots
_NOTES: Final = 50  # lines of a report among what a rule did
_TEXT: Final = 80  # characters of one value in a report
_SECTION: Final = "activity"  # `definition`: [excluded, groups], `since`: seconds
_COUNTS: Final = "activity_count"
_OTHERS: Final = "others"
_SCAN: Final = 16  # counts looked at for one step of the step limit


def _init(run: Evaluation, excluded: Any, groups: Any) -> bool:
    if type(excluded) is not list or type(groups) is not list or len(groups) > GROUP_LIMIT:
        raise RuleError(f"event activity takes a list of classes to leave out, and one of {GROUP_LIMIT} slots at most")
    classes = text_list(excluded, "the classes to leave out") if excluded else []
    for name in classes:
        if run.shapes.find(name) is None:
            near = nearest(name, run.shapes.table.classes)
            hint = f"; did you mean {near!r}?" if near else ""
            raise RuleError(f"event activity: class {shown(name)} is not defined{hint}")
    known = slots_of(run, run.shapes.table.classes)
    read = [text_list(group, "what event activity counts by") for group in groups]
    for slot in [slot for group in read for slot in group if slot not in known]:
        near = nearest(slot, sorted(known))
        hint = f"; did you mean {near!r}?" if near else ""
        raise RuleError(f"event activity: no class has a slot {shown(slot)}{hint}")
    definition = [classes, read]
    if run.store.get(_SECTION, "definition") != definition:
        _reset(run)
        run.store.put(_SECTION, "definition", definition)
    return True


def _definition(run: Evaluation) -> Any:
    found = run.store.get(_SECTION, "definition")
    if found is None:
        raise RuleError("event activity is not counted yet; init_event_activity begins it")
    return found


def _update(run: Evaluation, event: Event) -> bool:
    excluded, groups = _definition(run)
    if not {*event.cls.ancestors, event.class_name}.isdisjoint(excluded):
        return True
    _count(run, ["class"], [event.class_name])
    for group in groups:
        values = [event.get(slot) for slot in group]
        if None not in values:
            _count(run, group, [value[:_TEXT] if type(value) is str else value for value in values])
    return True


def _count(run: Evaluation, group: list[str], values: list[Any]) -> None:
    store = run.store
    key = key_of([group, values], "what event activity counts")
    count = store.get(_COUNTS, key)
    if count is None and len(store.section(_COUNTS)) >= COUNT_LIMIT:
        key = _OTHERS
        count = store.get(_COUNTS, key)
    store.put(_COUNTS, key, (count or 0) + 1)


def _reset(run: Evaluation) -> bool:
    counted = sorted(run.store.section(_COUNTS))
    run.count(len(counted) // _SCAN)
    for key in counted:
        run.store.put(_COUNTS, key, None)
    run.store.put(_SECTION, "since", run.seconds)
    return True


def _lines(run: Evaluation, least: int) -> list[str]:
    """The report: class first, then the groups as defined; the most frequent values first."""
    _, groups = _definition(run)
    counts = run.store.section(_COUNTS)
    run.count(len(counts) // _SCAN)
    place = {tuple(group): number for number, group in enumerate((["class"], *groups))}
    found = []
    for key, count in counts.items():
        if key != _OTHERS and count >= least:
            group, values = values_of(key)
            text = " ".join(f"{slot} {value}" for slot, value in zip(group, values, strict=True))
            found.append((place[tuple(group)], -count, text))
    lines = [f"{text}: {-count}" for _, count, text in sorted(found)]
    if counts.get(_OTHERS, 0) >= max(1, least):
        lines.append(f"others: {counts[_OTHERS]}")
    return lines


def _print(run: Evaluation) -> bool:
    since = run.seconds - run.store.get(_SECTION, "since", run.seconds)
    lines = _lines(run, 1)
    run.note(f"event activity of {since} s, {len(lines)} lines")
    for line in lines[:_NOTES]:
        run.note(line)
    return True


def _report(run: Evaluation, least: int, lines: Any) -> bool:
    return unify(lines, _lines(run, least), run.trail)


PREDICATES: Final[tuple[Predicate, ...]] = (
    Predicate(
        name="init_event_activity",
        modes="vv",
        signature="init_event_activity([class, ...], [slot, ...])",
        effect="Begins to count events by class and by the values of each slot, or of several in a list of their own; "
        "leaves out the classes and those that inherit from them. The same again goes on counting.",
        determinism="det",
        example="init_event_activity(['TEC_Notice'], [hostname, [hostname, severity]])",
        function=_init,
    ),
    Predicate(
        name="update_event_activity",
        modes="e",
        signature="update_event_activity(_event)",
        effect="Counts an event.",
        determinism="det",
        example="update_event_activity(_event)",
        function=_update,
    ),
    Predicate(
        name="reset_event_activity",
        modes="",
        signature="reset_event_activity",
        effect="Sets all counts to nothing.",
        determinism="det",
        example="reset_event_activity",
        function=_reset,
    ),
    Predicate(
        name="print_event_activity",
        modes="",
        signature="print_event_activity",
        effect=f"Tells the counts among what the rule did, {_NOTES} lines at most.",
        determinism="det",
        example="print_event_activity",
        function=_print,
    ),
    Predicate(
        name="print_event_activity",
        modes="it",
        signature="print_event_activity(least, _lines)",
        effect="Gives the counts from the least on as a list of texts, such as 'hostname web1: 12'.",
        determinism="semidet",
        example="print_event_activity(10, _lines)",
        function=_report,
    ),
)
