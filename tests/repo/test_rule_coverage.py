"""docs/rule-language.md leaves nothing out: every construct and predicate has its row, and every row its test."""

from __future__ import annotations

import re

import pytest

from opentec.events.loader import classes_of
from opentec.rules import batching, clauses, effects, evaluation, facts, rulebase_sources, running, terms
from opentec.rules.arithmetic import _BINARY, _UNARY
from opentec.rules.checker import check_rules
from opentec.rules.compiled import compile_rules
from opentec.rules.parser import parse_rules
from opentec.rules.predicates import (
    PREDICATES,
    REFUSED,
    REGISTRY,
    activity,
    counters,
    definitions,
    keys,
    windows,
)
from opentec.rules.predicates import facts as recorded
from opentec.rules.predicates import globals as globals_
from opentec.rules.rulebase import Settings
from tests.repo.checkout import ROOT
from tests.repo.rule_coverage import HEADING, PAGE, functions, further, pattern_of, table, witnesses, witnesses_of
from tests.repo.rule_names import CONSTRUCTS, NAMES, SEMANTICS, Construct

TEXT = PAGE.read_text(encoding="utf-8")
# what the examples of the page speak of and the shipped classes do not have
CLASSES = """
TEC_CLASS: Link_Down ISA EVENT DEFINES { location: STRING; };
TEC_CLASS: Host_Down ISA EVENT DEFINES { location: STRING; };
"""


def rows() -> dict[str, str]:
    """The rows of the last table by their first cell."""
    found: dict[str, str] = {}
    for line in TEXT.partition(HEADING)[2].splitlines():
        if line.startswith("| ") and not line.startswith(("| ---", "| construct |", "| predicate |", "| what holds |")):
            name = re.split(r"(?<!\\) \| ", line[2:])[0]
            assert name not in found
            found[name] = line
    return found


def without_tests(text: str) -> list[str]:
    """The lines of the last table without the column of tests, which may name another one that is as good."""
    return [re.sub(r"\[test_.*", "", line) for line in text.partition(HEADING)[2].splitlines()]


def test_the_table_is_what_is_made() -> None:
    assert without_tests(TEXT) == without_tests(table()), (
        "the last tables of docs/rule-language.md are out of date; run: python -m tests.repo.rule_coverage"
    )


def test_nothing_is_missing() -> None:
    assert [line for line in rows().values() if "MISSING" in line] == []


@pytest.mark.parametrize("name", [*NAMES, *further()])
def test_every_predicate_is_there_or_refused_and_has_a_test(name: str) -> None:
    row = rows()[f"`{name}`"]
    if name in REFUSED:
        assert "refused: " in row
    else:
        assert name in PREDICATES
        assert witnesses(name), f"no test uses {name}"


@pytest.mark.parametrize("construct", CONSTRUCTS, ids=lambda construct: construct.title)
def test_every_construct_has_a_test(construct: Construct) -> None:
    found = witnesses_of(construct)
    assert found
    assert found[0].says(construct.pattern)


def test_every_test_that_is_named_exists_and_uses_what_it_is_named_for() -> None:
    named = 0
    for name, row in rows().items():
        found = re.search(r"\[(\S+)\]\(\.\./tests/rules/(\S+)\) `([\w.]+)`", row)
        assert found is not None, row
        assert found[1] == found[2]
        one = functions().get(f"{found[1]}::{found[3]}")
        assert one is not None, f"{found[3]} is not in {found[1]}"
        predicate = name.strip("`")
        if predicate in NAMES and predicate not in REFUSED:
            assert one.says(pattern_of(predicate)), row
            named += 1
    assert named > 100


@pytest.mark.parametrize("title", SEMANTICS)
def test_what_people_rely_on_has_a_test(title: str) -> None:
    assert SEMANTICS[title] in functions()


def test_every_predicate_of_the_registry_is_in_the_table() -> None:
    shown = {name for (name, _), predicate in REGISTRY.items() if not predicate.internal}
    assert shown <= {name.strip("`") for name in rows()}


def test_a_function_says_what_stands_in_its_texts_and_in_those_that_it_names() -> None:
    one = functions()["test_tracing.py::test_one_error_a_minute_for_each_rule"]
    assert one.says(pattern_of("log_error"))
    assert not one.says(pattern_of("clear_closed_events"))


def examples() -> list[str]:
    """The rules of the page, and those of README.md, which speaks of the same classes."""
    return re.findall(r"```prolog\n(.*?)```", TEXT + (ROOT / "README.md").read_text(), flags=re.DOTALL)


def test_the_examples_of_the_page_load() -> None:
    found = examples()
    assert len(found) >= 10
    names = ("root.baroc", "tec.baroc", "nt.baroc", "logfile.baroc")
    shipped = [(ROOT / "rules/default/TEC_CLASSES" / name).read_text() for name in names]
    table_of_classes = classes_of("\n".join([*shipped, CLASSES]))
    sets = [parse_rules(text, f"example{number}.rls") for number, text in enumerate(found)]
    assert check_rules(sets, table_of_classes, PREDICATES, reach=True) == []
    compile_rules(sets, table_of_classes)


@pytest.mark.parametrize("setting", Settings.__struct_fields__)
def test_every_setting_is_on_the_page(setting: str) -> None:
    assert f"| `{setting}` |" in TEXT


@pytest.mark.parametrize(
    "limit",
    [
        *(evaluation.DERIVED_LIMIT, evaluation.PROGRAM_LIMIT, evaluation.DID_LIMIT, running.CHANGE_DEPTH),
        *(clauses.CALL_DEPTH, facts.FACT_LIMIT, terms.TEXT_LIMIT, terms.LIST_LIMIT, evaluation.SLOT_ITEMS),
        *(counters.COUNTER_LIMIT, windows.KEY_LIMIT, definitions.LIMIT, activity.COUNT_LIMIT, keys.KEY_LIMIT),
        *(globals_.GLOBAL_LIMIT, recorded.RECORD_LIMIT, effects.FIRED_LIMIT, batching.RULES_SIZE // 1024),
        *(Settings().step_limit, Settings().cache_size, rulebase_sources.MAX_RULE_SETS),
    ],
)
def test_every_limit_is_on_the_page(limit: int) -> None:
    assert re.search(rf"\b{limit:,}\b", TEXT.partition("## Limits")[2].partition("\n## ")[0])


@pytest.mark.parametrize("function", sorted({*_BINARY, *_UNARY}))
def test_every_function_of_arithmetic_is_on_the_page(function: str) -> None:
    (row,) = (line for line in TEXT.splitlines() if line.startswith("| `_x is e`"))
    assert f" {function} " in f"{row.replace('`', ' ')} "
