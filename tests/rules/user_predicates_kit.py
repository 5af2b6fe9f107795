"""A predicates.py from text, what it declares, and an engine that uses it: what its tests share."""

from __future__ import annotations

import msgspec

from opentec.rules.engine import Engine
from opentec.rules.selectors.indexed import IndexedSelector
from opentec.rules.user_predicates.declaration import Declaration, UserPredicates
from opentec.rules.user_predicates.module import Report, read
from tests.rules.engine_kit import Kit, rule_base

HEAD = "from collections.abc import Iterable, Iterator\nfrom typing import *\n" + (
    "from opentec.rules import EventView, Seconds, Value, predicate\n"
)
LINES = HEAD.count("\n")


def report(source: str) -> Report:
    return read(HEAD + source, ())[0]


def declared(source: str) -> Declaration:
    found = report(source)
    assert not found.faults, found.faults
    (one,) = found.declarations
    return one


def faults(source: str) -> list[str]:
    """`line:column: message; hint` of everything wrong, lines counted behind the head."""
    return [f"{one.line - LINES}:{one.column}: {one.message}; {one.hint}" for one in report(source).faults]


def kit(source: str, *actions: str, **settings: int) -> Kit:
    """An engine with these predicates and a rule on Disk with these actions."""
    found = report(source)
    assert not found.faults, found.faults
    bodies = ", ".join(f"action: ({action})" for action in actions)
    text = f"rule: r: (event: _event of_class Disk where [hostname: _hostname, size: _size, tags: _tags], {bodies})."
    user = UserPredicates(HEAD + source, (), found.declarations)
    made = Kit()
    made.base = msgspec.structs.replace(rule_base(text, check=False, **settings), user_predicates=user)
    made.engine = Engine(made.base, IndexedSelector())
    return made


def outcome(source: str, goals: str, **slots: object) -> str:
    """What `goals` leave in _x of a Disk event, or the message of the TEC_Error."""
    found = kit(source, f"{goals}, sprintf(_text, '%s', [_x]), set_event_message(_event, _text)")
    found.event(0, "Disk", hostname="web1", size=7, tags=["a", "b"], **slots)
    return said(found)


def said(found: Kit) -> str:
    errors = [event.get("msg") for event in found.stored("TEC_Error")]
    return str(errors[0] if errors else found.stored("Disk")[0].get("msg"))
