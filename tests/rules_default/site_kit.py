"""The shipped rule base with a site's own parameters: a rule set behind the others, as docs/shipped-rules.md says."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from opentec.events.classes import ClassTable
from opentec.events.loader import load_classes
from opentec.rules.compiled_cache import load_cached
from opentec.rules.rulebase import RuleBase
from opentec.shipped import shipped
from opentec.testing.binding import BoundCase, bind
from opentec.testing.results import Result
from opentec.testing.runner import Runner
from opentec.testing.spec import read_spec

SITE = Path(__file__).parent / "site"
COMPILED = Path(__file__).parents[2] / ".pytest_cache" / "compiled"  # one worker compiles for all


@cache
def default_base() -> RuleBase:
    """The shipped rule base as it is."""
    return load_cached(shipped("rules", "default"), COMPILED)


@cache
def default_classes() -> ClassTable:
    """Its classes, for what needs no rules: tests are collected in each worker, and each would compile them."""
    return load_classes(shipped("rules", "default"))


@cache
def site_base(name: str) -> RuleBase:
    """The shipped rule base with `site/NAME.rls` as its last rule set, named site."""
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "rules"
        shutil.copytree(shipped("rules", "default"), copy, ignore=shutil.ignore_patterns("tests"))
        shutil.copy(SITE / f"{name}.rls", copy / "TEC_RULES" / "site.rls")
        with (copy / "TEC_RULES" / "rule_sets").open("a", encoding="utf-8") as rule_sets:
            rule_sets.write("\nsite\n")
        return load_cached(copy, COMPILED)


@cache
def site_runner(name: str) -> Runner:
    return Runner(site_base(name), SITE)


@cache
def site_cases() -> tuple[tuple[str, BoundCase], ...]:
    """Every test in `site`, with the name of its rule set."""
    return tuple(
        (path.stem, bound) for path in sorted(SITE.glob("*.yaml")) for bound in bind(read_spec(path), default_classes())
    )


@cache
def site_result(number: int) -> Result:
    """What came of the test of that number."""
    name, bound = site_cases()[number]
    return site_runner(name).run(bound)
