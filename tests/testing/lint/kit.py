"""A rule base from text, and what lint says of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from opentec.testing.lint.diagnostics import Diagnostic, choose
from opentec.testing.lint.linting import lint
from tests.testing.kit import make_rule_base

# codes, rules, and further arguments of lint() -> the diagnostics of rule set `disk`
Look = Callable[..., list[Diagnostic]]
FULL = "event: _event of_class 'Disk_Full'"


def look(folder: Path, codes: str, rules: str = "", **options: object) -> list[Diagnostic]:
    """What lint says of rules, for these codes, with the tests left out."""
    if not (folder / "TEC_RULES").is_dir():
        make_rule_base(folder, rules)
    options.setdefault("run", False)
    return lint(folder, choose(codes.split(",")), **options).diagnostics  # type: ignore[arg-type]


def lines(found: list[Diagnostic]) -> list[tuple[str, int]]:
    """Code and line of each."""
    return [(one.code, one.line) for one in found]


def rule(name: str, body: str, *, kind: str = "rule", event: str = FULL, clauses: str = "") -> str:
    """A rule in one line; of a plain rule the body is its reception_action."""
    action = "reception_action" if kind == "rule" else "action"
    return f"{kind}: {name}: ( description: 'x', {event}, {clauses} {action}: ( {body} ) ).\n"
