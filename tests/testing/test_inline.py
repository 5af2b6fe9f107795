"""Examples in the comments of rules are tests, and what is wrong with them has its place in the rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from opentec.events.errors import SourceErrors
from opentec.rules.rulebase import RuleBase, RuleBaseError
from opentec.testing.binding import bind
from opentec.testing.inline import find_examples, read_examples
from opentec.testing.runner import Runner
from opentec.testing.spec import Spec
from tests.testing.kit import RULES, make_rule_base

EXAMPLES = """\
% Disks.
%
% example: a full disk that nobody looks at becomes fatal
%   - at: 0s
%     event: {class: Disk_Full, hostname: h, drive: 'C:'}
%
%   - at: 61s
%     expect: [{class: Disk_Full, severity: FATAL}]
% Behind it there is prose again: an example: ends here.
"""
SECOND = """
  % example: it's closed
  %   start: 2026-03-01T08:00:00Z
  %   steps:
  %     - {at: 0s, event: {class: Disk_Full, drive: 'C:'}}
  %     - at: 1s
  %       event: {class: Disk_OK, drive: 'C:'}
  %       expect: [{status: CLOSED}]
"""
RLS = Path("base/TEC_RULES/disk.rls")


def read(text: str) -> Spec | None:
    return read_examples(text, RLS, Path("base"))


def names(text: str) -> list[str]:
    spec = read(text)
    return [] if spec is None else [case.name for case in spec.cases]


def wrong(text: str) -> list[str]:
    with pytest.raises(SourceErrors) as raised:
        read(text)
    return [f"{error.file}:{error.line}:{error.column}: {error.message}" for error in raised.value.errors]


def test_examples_are_tests_with_their_lines(base: RuleBase) -> None:
    spec = read(EXAMPLES + RULES + SECOND)
    assert spec is not None
    assert [(case.name, case.file, case.mark.line, case.mark.column) for case in spec.cases] == [
        ("a full disk that nobody looks at becomes fatal", str(RLS), 3, 3),
        ("it's closed", str(RLS), len((EXAMPLES + RULES).splitlines()) + 2, 5),
    ]
    assert [step.mark.line for step in spec.cases[0].steps] == [4, 7]
    assert spec.cases[1].start == 1_772_352_000_000_000
    assert (spec.path, spec.rule_base) == (RLS, Path("base"))
    results = [Runner(base).run(bound) for bound in bind(spec, base.classes)]
    assert [result.passed for result in results] == [True, True]


def test_an_example_can_fail(base: RuleBase) -> None:
    spec = read(EXAMPLES.replace("61s", "59s"))
    assert spec is not None
    (bound,) = bind(spec, base.classes)
    result = Runner(base).run(bound)
    assert [(failure.file, failure.line) for failure in result.failures] == [(str(RLS), 8)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        RULES,
        "% For example: this is prose\n",
        "% Example: so is this\n%   - at: 0s\n",
        "/* a block comment\n% example: n\n%   - at: 0s\n*/\n",
        "rule: r: ( description: 'one \\\n% example: n\\\n%   - at: 0s' ).\n",
        'x("100 %\n% example: n\n%   - at: 0s\n").\n'.replace("\n", "\\\n"),
        "x. % example: n\n%   - at: 0s\n",
        "/* never closed\n% example: n\n",
    ],
)
def test_what_is_no_example(text: str) -> None:
    assert names(text) == []


def test_quotes_and_percent_signs_before_an_example() -> None:
    tricky = "x('it''s 5 %', \"\\\" %\", 'a\\\\'). /* ' */ % don't\n"
    body = "%   - {at: 0s, expect_no: [{class: Disk}]}\n"
    assert names(tricky + "% example: one\n" + body) == ["one"]
    assert names("\ufeff% example: one\r\n" + body.replace("\n", "\r\n") + "\r\n% example: two\n" + body) == [
        "one",
        "two",
    ]
    assert names("%% example: one\n" + body.replace("%", "%%")) == ["one"]
    # an unclosed quote is wrong in the rules, which say so themselves; it does not hide what stands below
    assert names("x('\n% example: one\n" + body) == ["one"]


def test_an_example_ends_with_its_comment_block() -> None:
    body = "%   - {at: 0s, expect_no: [{class: Disk}]}\n"
    spec = read("% example: one\n" + body + "\n" + body + "% example: two\n" + body)
    assert spec is not None
    assert [(case.name, len(case.steps)) for case in spec.cases] == [("one", 1), ("two", 1)]


def test_what_is_wrong_has_its_place_in_the_rules() -> None:
    body = "%   - {at: 0s, expect_no: [{class: Disk}]}\n"
    assert wrong("\n% example: one\n%   - at: 0s\n%     evnt: {class: Disk}\n") == [
        f"{RLS}:4:7: a step has no key 'evnt'"
    ]
    assert wrong("% example: one\n" + body + "% example: one\n" + body) == [f"{RLS}:3:3: two tests have the name 'one'"]
    assert wrong("% example: one\n% - at: 0s\n") == [f"{RLS}:1:3: the example 'one' has no steps"]
    assert wrong("% example: one\n") == [f"{RLS}:1:3: the example 'one' has no steps"]
    assert wrong("% example:\n" + body) == [f"{RLS}:1:3: the name of a test is empty"]
    assert wrong(f"% example: {'x' * 501}\n" + body) == [
        f"{RLS}:1:3: the name of an example has at most 500 characters"
    ]
    with pytest.raises(SourceErrors) as caught:
        read("% example: 'one'\n")
    assert caught.value.errors[0].source_line == "% example: 'one'"  # not the YAML that is made of it
    swallowed = '% example: one\n%   - at: "0s\n\n% example: two\n%     0s"\n'
    assert wrong(swallowed)[0] == f"{RLS}:1:3: a quote in the examples of this file is never closed"
    (said,) = wrong("% example: one\n%   - {at: 0s\n")
    assert said.startswith(f"{RLS}:") and "this is not YAML" in said


def test_the_examples_of_a_rule_base_are_those_of_its_active_rule_sets(tmp_path: Path) -> None:
    folder = make_rule_base(tmp_path / "base", EXAMPLES + RULES)
    (folder / "TEC_RULES" / "off.rls").write_text(EXAMPLES)
    (spec,) = find_examples(folder)
    assert spec.path == folder / "TEC_RULES" / "disk.rls"
    assert spec.rule_base == folder
    (folder / "TEC_RULES" / "rule_sets").write_text("disk\noff\nbad\nworse\nnone\n")
    (folder / "TEC_RULES" / "none.rls").write_text(RULES)
    (folder / "TEC_RULES" / "bad.rls").write_bytes(b"\xff")
    (folder / "TEC_RULES" / "worse.rls").write_text("% example: a\n")
    with pytest.raises(SourceErrors) as raised:
        find_examples(folder)
    assert [(Path(error.file).name, error.line) for error in raised.value.errors] == [("bad.rls", 1), ("worse.rls", 1)]
    with pytest.raises(RuleBaseError):
        find_examples(tmp_path)
