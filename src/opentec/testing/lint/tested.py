"""L501: rules that no test fires. The tests of the rule base are run for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from opentec.events.errors import SourceError
from opentec.testing.coverage_plan import author
from opentec.testing.lint.diagnostics import Diagnostic, found
from opentec.testing.lint.model import Model


class Tested(msgspec.Struct):
    """What the tests of a rule base did."""

    fired: set[str] = set()  # RULE_SET/RULE
    tests: int = 0
    failed: int = 0
    errors: list[SourceError] = []  # of test files; then nothing was run


def run_tests(folder: Path, cache: Path | None = None) -> Tested:
    """Run the tests in the folder of a rule base, those that name this rule base; `cache` as of `collect`."""
    from opentec.testing.collection import collect

    collected = collect([folder], cache)
    if collected.errors:
        return Tested(errors=list(collected.errors))
    here = folder.resolve()
    collected.keep(lambda group, bound: group.folder.resolve() == here)
    tested = Tested()
    for result in collected.run():
        tested.tests += 1
        tested.failed += not result.passed
        tested.fired.update(result.fired)
    return tested


def check_tested(model: Model, tested: Tested) -> Iterator[Diagnostic]:
    """Rules that fired in no test."""
    fired = {f"{rule_set.name}/{rule.name}": f"{rule_set.name}/{author(rule)}" for rule_set, rule in model.rules}
    seen = {fired.get(name, name) for name in tested.fired}
    for rule_set, rule in model.written:
        if f"{rule_set.name}/{rule.name}" not in seen:
            why = "fires in no test" if tested.tests else "has no test, for there are none"
            hint = "write one in tests/*.yaml; docs/testing-rules.md shows how"
            yield found("L501", rule.place, f"{rule.source_kind or rule.kind} {rule.name!r} {why}", hint)
