"""Bodies of rules for tests: what `_x` is in every solution, run for real."""

from __future__ import annotations

from tests.rules.engine_kit import Kit

RULE = """rule: r: ( event: _e of_class 'Link_Down' where [ hostname: _h, msg: _m, repeat_count: _n, severity: _s ],
  action: ( {body} ) )."""


def solve(kit: Kit, at: float = 0, **slots: object) -> list[str]:
    """Send the event that the rule takes; gives what `_x` was in every solution, then complaints of the engine."""
    before = len(kit.stored())
    kit.event(at, "Link_Down", **{"hostname": "web1", "msg": "down", "repeat_count": 7, **slots})
    new = kit.stored()[before:]
    found = [event.get("msg") for event in new if event.class_name == "Disk_OK"]
    complaints = [event.get("msg") for event in new if event.class_name == "TEC_Error"]
    return found + [text.partition("rule set1/r: ")[2] for text in complaints]


def kit_of(body: str, clauses: str = "", check: bool = True) -> Kit:
    """A rule base of clauses and the rule, which generates an event for each solution of the body."""
    goal = f"{body}, sprintf(_text, '%s', [_x]), generate_event('Disk_OK', [msg=_text])"
    return Kit(clauses + "\n" + RULE.format(body=goal), check=check)


def solutions(body: str, clauses: str = "", check: bool = True, **slots: object) -> list[str]:
    return solve(kit_of(body, clauses, check), **slots)
