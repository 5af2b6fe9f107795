"""Coverage as text for people, and as data for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from opentec.testing.coverage_data import (
    ACTION,
    BOTH,
    CLASS,
    CLAUSE,
    CONDITION,
    RULE,
    TIMER,
    CoverageData,
    Item,
    counted,
    dead,
    never,
    percent,
    rounded_down,
    unreached,
)

_PLURALS: Final = {
    RULE: "rules",
    ACTION: "actions",
    CONDITION: "conditions",
    TIMER: "timers",
    CLAUSE: "clauses",
    CLASS: "classes",
}


def lines(data: CoverageData) -> list[str]:
    """The report of one rule base: a line for each rule set, below it what was not seen of it, and where that is."""
    return list(_lines(data))


def _lines(data: CoverageData) -> Iterator[str]:
    seen, total = counted(data)
    yield f"coverage of {data.folder}: {percent(data)} % ({seen} of {total})"
    reasons = _reasons(data)
    names = list(dict.fromkeys(item.rule_set for item in data.items if item.rule_set))
    width = max(map(len, [*names, "classes"]))
    for name in names:
        items = [item for item in data.items if item.rule_set == name]
        yield f"  {name:{width}}  {_share(data, items):>5}  {', '.join(_counts(data, items))}"
        for missing in _missing(data, items, reasons):
            yield f"      {missing}"
    items = [item for item in data.items if item.kind == CLASS]
    if items:
        yield f"  {'classes':{width}}  {_share(data, items):>5}  {', '.join(_counts(data, items))}"
        for item in items:
            if never(data, item):
                yield f"      {item.place}: class {item.text} was never seen as an event"


def _share(data: CoverageData, items: Sequence[Item]) -> str:
    within = set(map(id, items))
    return f"{rounded_down(*counted(data, lambda item: id(item) in within))} %"


def _counts(data: CoverageData, items: Sequence[Item]) -> Iterator[str]:
    for kind, plural in _PLURALS.items():
        of_kind = [item for item in items if item.kind == kind]
        if of_kind:
            sides = [side for item in of_kind for side in data.seen[item.at : item.at + len(item.sides)]]
            yield f"{plural} {sum(sides)}/{len(sides)}"


def _reasons(data: CoverageData) -> dict[str, str]:
    """Why rules were not reached, by RULE_SET/RULE."""
    reasons = {one.rule: one.why for one in dead(data)}
    for name, guard in unreached(data).items():
        if name not in reasons:
            while_held = f" while its first goals held: {guard}" if guard else ""
            reasons[name] = f"there was no event for it{while_held}"
    return reasons


def _missing(data: CoverageData, items: Sequence[Item], reasons: dict[str, str]) -> Iterator[str]:
    """What was not seen of a rule set. Of a rule that was not reached one line says all."""
    silent = {item.rule for item in items if item.kind == RULE and never(data, item)}
    for item in sorted(items, key=lambda item: int(item.place.rpartition(":")[2])):
        sides = never(data, item)
        name = f"{item.rule_set}/{item.rule}"
        if not sides:
            continue
        if item.kind == RULE:
            yield f"{item.place}: rule {item.rule} never fired" + (f": {reasons[name]}" if name in reasons else "")
        elif item.rule and name in reasons:
            continue
        elif item.kind == CONDITION:
            what = "tested" if sides == BOTH else sides[0]
            yield f"{item.place}: {_of(item)}{item.text} was never {what}"
        elif item.kind == ACTION:
            if data.seen[item.begun]:
                yield f"{item.place}: {_of(item)}{item.text} never reached its end{_where(data, item)}"
            elif item.rule not in silent:
                yield f"{item.place}: {_of(item)}{item.text} was never begun"
        elif item.kind == TIMER:
            what = "was never set" if "set" in sides else "never fired"
            yield f"{item.place}: {_of(item)}{item.text} {what}"
        else:
            yield f"{item.place}: {item.text} was never called"


def _of(item: Item) -> str:
    return f"rule {item.rule}: " if item.rule else ""


def _where(data: CoverageData, item: Item) -> str:
    """The goal that an action never came behind."""
    begun = [text for at, text in item.goals if data.seen[at]]
    return f": it never came behind {begun[-1]}" if begun else ""


def as_data(data: CoverageData) -> dict[str, Any]:
    """The report as JSON has it: sums, every item with what was seen of it, and rules that are never reached."""
    seen, total = counted(data)
    return {
        "rulebase": data.folder,
        "content_hash": data.content_hash,
        "percent": percent(data),
        "seen": seen,
        "total": total,
        "rule_sets": [_sums(data, name) for name in dict.fromkeys(i.rule_set for i in data.items if i.rule_set)],
        "items": [_item(data, item) for item in data.items],
        "dead": [
            {"rule": one.rule, "place": one.place, "by": one.by, "why": one.why, "proven": one.proven}
            for one in dead(data)
        ],
    }


def _sums(data: CoverageData, rule_set: str) -> dict[str, Any]:
    seen, total = counted(data, lambda item: item.rule_set == rule_set)
    return {"rule_set": rule_set, "percent": rounded_down(seen, total), "seen": seen, "total": total}


def _item(data: CoverageData, item: Item) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": item.kind, "place": item.place, "text": item.text}
    if item.rule_set:
        found["rule"] = f"{item.rule_set}/{item.rule}" if item.rule else item.rule_set
    missing = never(data, item)
    found["seen"] = {side: side not in missing for side in item.sides}
    if item.kind == ACTION:
        found["begun"] = bool(data.seen[item.begun])
    return found
