"""What tests have seen of a rule base, as data that processes can send and add up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

RULE = "rule"
CONDITION = "condition"
ACTION = "action"
TIMER = "timer"
CLAUSE = "clause"
CLASS = "class"
BOTH = ("true", "false")  # sides of a condition


class Item(msgspec.Struct, frozen=True, array_like=True):
    """Something that tests can see, in one or two ways: a condition true and false, a timer set and fired."""

    kind: str  # one of the words above
    rule_set: str  # "" for a class, which belongs to the rule base
    rule: str  # as its author named it; "" for a clause and a class
    place: str  # file:line
    text: str  # as it is written
    at: int  # of its first side in `CoverageData.seen`; the others follow
    sides: tuple[str, ...]
    begun: int = 0  # of an action: where it is seen that it was begun
    goals: tuple[tuple[int, str], ...] = ()  # of an action: where each goal is seen, and how it is called


class Tried(msgspec.Struct, frozen=True, array_like=True):
    """A rule of the engine: whether its filter was ever tried."""

    rule_set: str
    rule: str  # as its author named it
    at: int
    guard: str = ""  # the goals that its actions begin with; while they fail, the filter is not tried


class Dead(msgspec.Struct, frozen=True):
    """A rule that cannot be reached, or never was."""

    rule: str  # RULE_SET/RULE
    place: str  # file:line
    by: str  # the rule that ends before it, as RULE_SET/RULE
    why: str
    proven: bool  # from the sources, for any event; otherwise it was so in every test


class CoverageData(msgspec.Struct):
    """What was seen of one rule base. `seen` has a byte for each side of each item, 0 or 1."""

    folder: str
    content_hash: str
    items: tuple[Item, ...]
    tried: tuple[Tried, ...]
    shadowed: tuple[Dead, ...]  # proven
    seen: bytes
    # of rules that were not tried: those that ended evaluation before them, as RULE_SET/RULE
    ended: dict[str, list[str]] = {}


def merge(datas: Sequence[CoverageData]) -> CoverageData:
    """What several runs over one rule base saw together. Raises ValueError for none, or for different rule bases."""
    if not datas:
        raise ValueError("there is no coverage to merge")
    first = datas[0]
    seen = 0
    ended: dict[str, set[str]] = {}
    for data in datas:
        if data.content_hash != first.content_hash or len(data.seen) != len(first.seen):
            raise ValueError(f"coverage of {data.folder} and of {first.folder} is not of the same rule base")
        seen |= int.from_bytes(data.seen, "big")
        for rule, by in data.ended.items():
            ended.setdefault(rule, set()).update(by)
    together = {rule: sorted(by) for rule, by in sorted(ended.items())}
    return msgspec.structs.replace(first, seen=seen.to_bytes(len(first.seen), "big"), ended=together)


def counted(data: CoverageData, wanted: Callable[[Item], bool] = lambda item: True) -> tuple[int, int]:
    """How many sides of the items that are wanted were seen, and how many there are."""
    seen = total = 0
    for item in data.items:
        if wanted(item):
            seen += sum(data.seen[item.at : item.at + len(item.sides)])
            total += len(item.sides)
    return seen, total


def rounded_down(seen: int, total: int) -> int:
    """Whole percent, so that 100 means all; nothing at all is covered wholly."""
    return 100 * seen // total if total else 100


def percent(data: CoverageData) -> int:
    """How much of everything was seen, in whole percent rounded down."""
    return rounded_down(*counted(data))


def fully_covered(data: CoverageData) -> bool:
    """Whether every rule fired and every action reached its end."""
    seen, total = counted(data, lambda item: item.kind in (RULE, ACTION))
    return seen == total


def never(data: CoverageData, item: Item) -> tuple[str, ...]:
    """The sides of an item that were not seen."""
    return tuple(side for number, side in enumerate(item.sides, item.at) if not data.seen[number])


def dead(data: CoverageData) -> list[Dead]:
    """Rules that an earlier rule keeps from being reached: those that are proven, then those that tests never reached.

    A rule that was tried in any test is not among the second.
    """
    found = list(data.shadowed)
    named = {one.rule for one in found}
    places = {f"{item.rule_set}/{item.rule}": item.place for item in data.items if item.kind == RULE}
    for name in unreached(data):
        by = data.ended.get(name)
        if by and name not in named:
            what = "ended evaluation before it in every test that has an event for it"
            found.append(Dead(name, places[name], by[0], f"never reached: {by[0]} {what}", proven=False))
    return found


def unreached(data: CoverageData) -> dict[str, str]:
    """Rules whose filter was never tried on an event of their class, each with its guard, as RULE_SET/RULE."""
    found: dict[str, str] = {}
    reached = set()
    for rule in data.tried:
        name = f"{rule.rule_set}/{rule.rule}"
        if data.seen[rule.at]:
            reached.add(name)
        else:
            found[name] = rule.guard
    return {name: guard for name, guard in found.items() if name not in reached}
