"""docs/predicates.md says what the table of predicates says, and every example on it runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from opentec.rules.ast import Atom, Compound
from opentec.rules.parser import parse_rules
from opentec.rules.predicates import GROUPS, REFUSED
from opentec.rules.predicates.page import page
from opentec.rules.predicates.registry import Predicate
from tests.rules.engine_kit import Kit

PAGE = Path(__file__).parents[2] / "docs/predicates.md"
SHOWN = [predicate for group in GROUPS.values() for predicate in group if not predicate.internal]
# what examples may take for granted besides the slots of the filter, by what they mention
GIVEN = {
    r"(?<!\w)_dup\b": "first_duplicate(_event, event: _dup)",
    r"(?<!\w)_down\b|_related_": "first_instance(event: _down of_class 'TEC_Stop')",
    r"length\(_hosts\b": "_hosts = [web1]",
    r"(?<!\w)_state\b": "_state = _status",
    r"(?<!\w)_x\b": "( _x = _hostname ; true )",
    r"_causal_|_related_": "first_instance(event: _cause0 of_class 'Link_Up'), link_effect_to_cause(_event, _cause0)",
    r"_related_": "link_effect_to_cause(_down, _cause0)",
    r"_effect_": "first_instance(event: _effect0 of_class 'Link_Up'), link_effect_to_cause(_effect0, _event)",
}
# definitions come first: examples use what the examples of these make
DEFINES = re.compile(r"create_\w+|init_\w+|set_global_var|recorda|rerecord|assert")
RULE = """
rule: definitions: ( event: _event of_class 'Link_Up' where [ hostname: _hostname, msg: _msg ], {definitions} ).
rule: example: ( event: _event of_class within ['Link_Down', 'TEC_Start', 'TEC_Stop', 'TEC_Notice']
  where [ hostname: _hostname equals 'web1', msg: _msg, repeat_count: _count, status: _status, severity: _severity ],
  reception_action: ( {given} {example}, generate_event('Disk_OK', []) ) )."""
IN_A_CHANGE_RULE = """
change_rule: example: ( event: _event of_class 'Link_Down' where [ ],
  action: ( {example}, generate_event('Disk_OK', []) ) )."""
SCENE = ("Link_Up", "TEC_Stop", "TEC_Notice", *["Link_Down"] * 12, "TEC_Start", "TEC_Stop")


def given(example: str) -> str:
    """The goals that bind what the example uses and does not bind itself."""
    return "".join(
        f"{goal}, "
        for mentioned, goal in GIVEN.items()
        if re.search(mentioned, example) and not re.search(f"event: (?:{mentioned})", example)
    )


def test_the_page_is_what_the_table_gives() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "docs/predicates.md is out of date; run: python -m opentec.rules.predicates.page > docs/predicates.md"
    )


def test_the_page_has_every_predicate_and_every_refusal() -> None:
    text = page()
    for predicate in SHOWN:
        assert f"`{predicate.signature.replace('|', chr(92) + '|')}`" in text
    for name in REFUSED:
        assert f"`{name}`" in text
    assert "$" not in text  # what is internal is not there


def test_every_row_has_its_cells() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    cells = {len(re.split(r"(?<!\\)\|", row)) for row in rows if row.count("|") > 3}
    assert cells == {6}


def goals(body: object) -> Iterator[tuple[str, int]]:
    """Every term of a body that may be a goal, as name and arity."""
    if isinstance(body, Atom):
        yield body.value, 0
    elif isinstance(body, Compound):
        yield body.name, len(body.args)
        for argument in body.args:
            yield from goals(argument)


@pytest.mark.parametrize("predicate", SHOWN, ids=lambda predicate: f"{predicate.name}/{predicate.arity}")
def test_every_example_shows_its_predicate(predicate: Predicate) -> None:
    (rule,) = parse_rules(f"rule: r: ( event: _e of_class 'EVENT', action: ( {predicate.example} ) ).", "r.rls").rules
    assert (predicate.name, predicate.arity) in set(goals(rule.actions[0].body))


@pytest.mark.parametrize("predicate", SHOWN, ids=lambda predicate: f"{predicate.name}/{predicate.arity}")
def test_every_example_runs_and_succeeds(predicate: Predicate) -> None:
    defining = [one.example for one in SHOWN if DEFINES.fullmatch(one.name)]
    definitions = ", ".join(f"action: ( {given(example)}{example} )" for example in defining)
    text = RULE.format(definitions=definitions, given=given(predicate.example), example=predicate.example)
    if predicate.name == "drop_change_request":
        text = IN_A_CHANGE_RULE.format(example=predicate.example)
    kit = Kit(text)
    for at, name in enumerate(SCENE):
        severity = "WARNING" if name == "TEC_Stop" else "CRITICAL"
        kit.event(at, name, hostname="web1", origin="web1", msg="down", severity=severity)
    if "drop_received_event" not in predicate.example:
        kit.change(60, kit.stored("Link_Down")[0].key, severity="MINOR")
    assert kit.values("msg", "TEC_Error") == [] or predicate.name == "log_error"
    assert kit.stored("Disk_OK"), "it never succeeds"
