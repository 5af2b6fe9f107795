"""What is different between two rule bases, as a person means it: comments, layout and places do not count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from opentec.events.classes import ClassTable, EventClass
from opentec.events.slots import Slot
from opentec.rules import destinations
from opentec.rules.ast import Rule, RuleSet
from opentec.rules.rulebase import RuleBase

ADDED: Final = "added"
REMOVED: Final = "removed"
CHANGED: Final = "changed"
_SIGNS: Final = {ADDED: "+", REMOVED: "-", CHANGED: "~"}
_NOT_COMPARED: Final = ("place", "name", "actions", "type")


class Difference(msgspec.Struct, frozen=True):
    """One difference; `kind` is class, enumeration, rule_set, rule, clauses, setting, predicates or forwarding."""

    kind: str
    what: str  # ADDED, REMOVED or CHANGED
    name: str
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{_SIGNS[self.what]} {self.kind.replace('_', ' ')} {self.name}"
        return f"{text}: {', '.join(self.details)}" if self.details else text


def compare(before: RuleBase, after: RuleBase, folders: tuple[Path, Path] | None = None) -> list[Difference]:
    """Everything that `after` does otherwise than `before`, in the order of the kinds.

    `folders` hold their sources, for tec_forward.conf, which is no part of the compiled form. Raises OSError.
    """
    found = [
        *_enumerations(before.classes, after.classes),
        *_classes(before.classes, after.classes),
        *_rule_sets(before.rule_sets, after.rule_sets),
        *_settings(before, after),
        *_predicates(before, after),
    ]
    if folders is not None:
        old, new = (_text(folder / destinations.FILE) for folder in folders)
        if old != new:
            found.append(Difference("forwarding", _what(old, new), destinations.FILE))
    return found


def _text(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _what(old: object, new: object) -> str:
    return ADDED if old is None else REMOVED if new is None else CHANGED


def _names(old: Iterable[str], new: Iterable[str]) -> list[str]:
    """The names of both, those of the new one in its order, then those that are gone."""
    return list(dict.fromkeys([*new, *old]))


# classes


def _enumerations(before: ClassTable, after: ClassTable) -> Iterable[Difference]:
    for name in _names(before.enumerations, after.enumerations):
        old, new = before.enumerations.get(name), after.enumerations.get(name)
        if old is None or new is None:
            yield Difference("enumeration", _what(old, new), name)
        elif list(old.members.items()) != list(new.members.items()):
            details = _values(old.members, new.members)
            yield Difference("enumeration", CHANGED, name, tuple(details) or ("the order of its members",))


def _classes(before: ClassTable, after: ClassTable) -> Iterable[Difference]:
    for name in _names(before.classes, after.classes):
        old, new = before.classes.get(name), after.classes.get(name)
        if old is None or new is None:
            yield Difference("class", _what(old, new), name)
        elif details := _class(old, new, before, after):
            yield Difference("class", CHANGED, name, tuple(details))


def _class(old: EventClass, new: EventClass, before: ClassTable, after: ClassTable) -> list[str]:
    details = [] if old.parent == new.parent else [f"ISA {new.parent}, was {old.parent}"]
    mine, yours = _own(old, before), _own(new, after)
    for name in _names(mine, yours):
        was, now = mine.get(name), yours.get(name)
        if was is None or now is None:
            details.append(f"slot {name} {_what(was, now)}")
        elif _slot(was) != _slot(now):
            details.append(f"slot {name}: " + " and ".join(_values(_slot(was), _slot(now))))
    return details


def _own(cls: EventClass, table: ClassTable) -> dict[str, Slot]:
    """The slots that a class declares or restates: what it inherits, its parent's difference tells."""
    inherited = table.classes[cls.parent].slots if cls.parent else {}
    return {name: slot for name, slot in cls.slots.items() if inherited.get(name) is not slot}


def _slot(slot: Slot) -> dict[str, Any]:
    named = slot.type.enumeration or slot.type.kind
    return {
        "type": f"LIST_OF {named}" if slot.type.is_list else named,
        "default": slot.default,
        "dup_detect": slot.dup_detect,
        "parse": slot.parse,
    }


def _values(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    details = []
    for name in _names(old, new):
        if name not in old or name not in new:
            details.append(f"{name} {ADDED if name not in old else REMOVED}")
        elif old[name] != new[name]:
            details.append(f"{name} {new[name]!r}, was {old[name]!r}")
    return details


# rules


def _rule_sets(before: Sequence[RuleSet], after: Sequence[RuleSet]) -> Iterable[Difference]:
    old, new = ({one.name: one for one in rule_sets} for rule_sets in (before, after))
    kept = [name for name in new if name in old]
    for name in _names(old, new):
        if name not in old or name not in new:
            there = new.get(name) or old[name]
            what = ADDED if name not in old else REMOVED
            yield Difference("rule_set", what, name, (f"{len(there.rules)} rules",))
        else:
            yield from _rules(old[name], new[name])
    if kept != [name for name in old if name in new]:
        yield Difference("rule_set", CHANGED, "order", (f"now {', '.join(new)}",))


def _rules(before: RuleSet, after: RuleSet) -> Iterable[Difference]:
    old, new = ({rule.name: rule for rule in one.rules} for one in (before, after))
    for name in _names(old, new):
        was, now = old.get(name), new.get(name)
        if was is None or now is None:
            yield Difference("rule", _what(was, now), f"{after.name}.{name}")
        elif details := _rule(was, now):
            yield Difference("rule", CHANGED, f"{after.name}.{name}", tuple(details))
    if [name for name in new if name in old] != [name for name in old if name in new]:
        yield Difference("rule_set", CHANGED, after.name, ("the order of its rules",))
    if _plain(before.clauses) != _plain(after.clauses):
        yield Difference("clauses", CHANGED, after.name, (f"{len(after.clauses)}, were {len(before.clauses)}",))


def _rule(old: Rule, new: Rule) -> list[str]:
    details = [
        name
        for name in Rule.__struct_fields__
        if name not in _NOT_COMPARED and _plain(getattr(old, name)) != _plain(getattr(new, name))
    ]
    was, now = ({action.name: _plain(action) for action in rule.actions} for rule in (old, new))
    for name in _names(was, now):
        if was.get(name) != now.get(name):
            details.append(f"action {name} {_what(was.get(name), now.get(name))}")
    if not details and list(was) != list(now):
        details.append("the order of its actions")
    return details


def _plain(value: Any) -> Any:
    """A syntax tree as data, without places."""
    return _without_places(msgspec.to_builtins(value))


def _without_places(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_places(item) for key, item in value.items() if key != "place"}
    if isinstance(value, list | tuple):
        return [_without_places(item) for item in value]
    return value


# what else there is


def _settings(before: RuleBase, after: RuleBase) -> Iterable[Difference]:
    old, new = msgspec.to_builtins(before.settings), msgspec.to_builtins(after.settings)
    for name in old:
        if old[name] != new[name]:
            yield Difference("setting", CHANGED, name, (f"{new[name]!r}, was {old[name]!r}",))


def _predicates(before: RuleBase, after: RuleBase) -> Iterable[Difference]:
    old, new = before.user_predicates, after.user_predicates
    if old == new:
        return
    was, now = (
        {f"{one.name}/{one.arity}": msgspec.structs.replace(one, place="") for one in user.declarations}
        for user in (old, new)
    )
    changed = False
    for name in _names(was, now):
        if was.get(name) != now.get(name):
            changed = True
            yield Difference("predicates", _what(was.get(name), now.get(name)), name)
    if not changed:
        # what a function does cannot be told from its declaration
        yield Difference("predicates", CHANGED, "the code" if old.source != new.source else "the packages")
