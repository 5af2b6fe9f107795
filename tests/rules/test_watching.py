"""Several watchers as one."""

from __future__ import annotations

from typing import Any

from opentec.rules.compiled import CompiledRules
from opentec.rules.watching import Watchers


class Named:
    def __init__(self, name: str, said: list[tuple[str, Any]]) -> None:
        self.name, self.said = name, said

    def watch(self, rules: CompiledRules) -> CompiledRules:
        self.said.append((self.name, rules.compiler))
        changed: Any = self.name
        return rules._replace(compiler=changed)


def test_each_sees_what_the_one_before_made() -> None:
    said: list[tuple[str, Any]] = []
    nothing: Any = "compiled"
    rules = Watchers(Named("first", said), Named("second", said)).watch(CompiledRules({}, (), (), nothing))
    assert said == [("first", "compiled"), ("second", "first")]
    last: Any = rules.compiler
    assert last == "second"


def test_none_leave_the_rules_as_they_are() -> None:
    nothing: Any = None
    rules = CompiledRules({}, (), (), nothing)
    assert Watchers().watch(rules) is rules
