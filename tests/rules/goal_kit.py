"""One goal in one rule: what it gives, what it complains of, what it notes."""

from __future__ import annotations

from typing import Any

from tests.rules.engine_kit import Kit

RULE = """rule: r: ( event: _e of_class 'Link_Down' where [ hostname: _h, msg: _m, repeat_count: _n, severity: _s ],
  action: ( {body} ) )."""


def solutions(body: str, /, **settings: Any) -> list[str]:
    """What `_x` is in every solution of the body, as text; a complaint of the engine counts as one."""
    goal = f"{body}, sprintf(_text, '%s', [_x]), generate_event('Disk_OK', [msg=_text])"
    kit = Kit(RULE.format(body=goal), check=False, **settings)
    kit.event(0, "Link_Down", hostname="web1", msg="down", repeat_count=7)
    errors = [text.partition("rule set1/r: ")[2] for text in kit.values("msg", "TEC_Error")]
    return [*kit.values("msg", "Disk_OK"), *errors]


def did(kit: Kit) -> list[str]:
    """What the rules of the last record noted."""
    return [sentence for fired in kit.effects[-1].fired for sentence in fired.did]
