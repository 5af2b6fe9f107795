"""Parameters and shared setup: one test for each row, steps before those of each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from opentec.events.errors import SourceErrors
from opentec.rules.rulebase import load_rule_base
from opentec.testing import parameters
from opentec.testing.binding import bind
from opentec.testing.report import as_text
from opentec.testing.results import Result
from opentec.testing.runner import Runner
from opentec.testing.spec import Spec, read_spec

HEAD = "rulebase: ..\ntests:\n  - name: {name}\n    parameters: {rows}\n    steps:\n"
STEP = "      - {at: 0s, event: {class: '${class}', drive: '${drive}'}}\n"


def read(folder: Path, text: str) -> Spec:
    path = folder / "tests" / "p.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return read_spec(path, "p.yaml")


def errors_of(folder: Path, text: str) -> list[str]:
    with pytest.raises(SourceErrors) as caught:
        read(folder, text)
    return [str(error).partition("\n")[0] for error in caught.value.errors]


def results(folder: Path, runner: Runner, text: str) -> list[Result]:
    return [runner.run(bound) for bound in bind(read(folder, text), runner.rule_base.classes)]


def test_one_test_for_each_row(folder: Path, runner: Runner) -> None:
    text = HEAD.format(
        name="a ${drive} of ${class}", rows="[{class: Disk_Full, drive: 'C:'}, {class: Disk, drive: '$${x}'}]"
    )
    text += STEP + "      - {at: 60s, expect: [{class: '${class}', drive: '${drive}', severity: FATAL}]}\n"
    first, second = results(folder, runner, text)
    assert first.passed
    assert (first.name, first.line) == ("a C: of Disk_Full", 3)
    assert (second.name, second.line) == ("a $${x} of Disk", 3)
    (failure,) = second.failures
    assert failure.wanted == "Disk drive='$${x}' severity='FATAL'"
    assert "only this test: tec test 'p.yaml::a $${x} of Disk'" in as_text(second)


def test_a_name_that_says_no_parameter_gets_the_values(folder: Path) -> None:
    rows = "[{class: Disk, info: a}, {class: Disk, info: [b, [c]]}]"
    step = "      - {at: 0s, event: {class: '${class}'}, timers: [{info: '${info}'}]}\n"
    spec = read(folder, HEAD.format(name="t", rows=rows) + step)
    assert [case.name for case in spec.cases] == ["t [Disk, a]", "t [Disk, [b, [c]]]"]


def test_a_value_that_is_a_list_stands_alone(folder: Path, runner: Runner) -> None:
    text = HEAD.format(name="${n}", rows="[{n: one, tags: [a, b]}, {n: two, tags: x}]")
    text += "      - {at: 0s, event: {class: Disk, tags: '${tags}'}, expect: [{tags: '${tags}'}]}\n"
    assert all(result.passed for result in results(folder, runner, text))
    assert errors_of(folder, text.replace("expect: [{tags: '${tags}'}]", "expect: [{msg: 'x${tags}'}]")) == [
        "p.yaml:6:72: parameter 'tags' is no text, and stands within one; write ${tags} and nothing else"
    ]


def test_steps_may_be_parameters(folder: Path, runner: Runner) -> None:
    rows = "\n      - {at: 59s, severity: WARNING}\n      - {at: 60s, severity: FATAL}"
    text = HEAD.format(name="${at}", rows=rows).replace("    steps:\n", "    start: 2026-03-01T08:00:00Z\n    steps:\n")
    text += "      - {at: 0s, event: {class: Disk_Full, drive: a}}\n"
    text += "      - {at: '${at}', expect: [{severity: '${severity}'}]}\n"
    assert [(result.name, result.passed) for result in results(folder, runner, text)] == [("59s", True), ("60s", True)]


def test_without_parameters_a_text_stays(folder: Path, runner: Runner) -> None:
    text = "rulebase: ..\ntests:\n  - name: a ${b}\n    steps:\n"
    text += "      - {at: 0s, event: {class: Disk, drive: '$${a}'}, expect: [{drive: '$${a}'}]}\n"
    (result,) = results(folder, runner, text)
    assert (result.name, result.passed) == ("a ${b}", True)


def test_a_dollar_for_itself(folder: Path) -> None:
    rows = "[{class: Disk, drive: x}]"
    spec = read(folder, HEAD.format(name="$${drive} ${drive} $5 $", rows=rows) + STEP)
    assert [case.name for case in spec.cases] == ["${drive} x $5 $"]


@pytest.mark.parametrize(
    ("rows", "messages"),
    [
        ("{}", ["p.yaml:4:17: 'parameters' must be a list, found a mapping; write '- ' before each item"]),
        ("[]", ["p.yaml:4:17: 'parameters' has no rows; write one mapping of values for each test"]),
        ("[x]", ["p.yaml:4:18: a row of parameters must be a mapping, found 'x'; write key: value"]),
        ("[{}]", ["p.yaml:4:18: a row of parameters has no values; write {name: value}"]),
        ("[{a-b: 1}]", ["p.yaml:4:19: 'a-b' is no name of a parameter; use letters, digits and _"]),
        (
            "[{class: Disk, drive: a}, {class: Disk, drve: a}]",
            [
                "p.yaml:4:43: this row has no 'drive'; the first row, in line 4, has it",
                "p.yaml:4:57: the first row has no parameter 'drve'; all rows name the same ones",
            ],
        ),
        (
            "[{class: Disk, driv: a}]",
            [
                "p.yaml:6:52: there is no parameter 'drive'; did you mean 'driv'?",
                "p.yaml:4:32: nothing in the test names the parameter 'driv'; "
                "write ${driv} where it belongs, or take it out",
            ],
        ),
        (
            "[{class: Disk}]",
            ["p.yaml:6:52: there is no parameter 'drive'; there is class; $${ is ${ as text"],
        ),
        (
            "[{class: Disk, drive: a}, {class: Disk, drive: a}]",
            ["p.yaml:3:5: two tests have the name 't [Disk, a]'; the first is in line 3"],
        ),
    ],
)
def test_what_is_wrong_with_parameters(folder: Path, rows: str, messages: list[str]) -> None:
    assert errors_of(folder, HEAD.format(name="t", rows=rows) + STEP) == messages


def test_an_error_is_told_once_for_all_rows(folder: Path, runner: Runner) -> None:
    text = HEAD.format(name="${n}", rows="[{n: 1}, {n: 2}]")
    wrong = text + "      - {at: 0, event: {class: Disk}}\n"
    assert len(errors_of(folder, wrong)) == 1
    with pytest.raises(SourceErrors) as caught:
        bind(read(folder, text + "      - {at: 0s, event: {class: Dsk}}\n"), runner.rule_base.classes)
    assert len(caught.value.errors) == 1


def test_there_is_a_limit_to_rows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "MAX_ROWS", 2)
    assert errors_of(folder, HEAD.format(name="${n}", rows="[{n: 1}, {n: 2}, {n: 3}]") + STEP) == [
        "p.yaml:4:17: 'parameters' has 3 rows, 2 at most; split the test"
    ]


def aliases(depth: int) -> str:
    lists = "a: &a0 [x]\n" + "".join(
        f"      b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, depth + 1)
    )
    text = f"rulebase: ..\ntests:\n  - name: t\n    parameters:\n    - {lists}      info: *a{depth}\n    steps:\n"
    return text + "      - {at: 0s, timers: [{info: '${info}'}]}\n"


def test_aliases_of_aliases_are_as_many_values_as_they_name(folder: Path) -> None:
    (message,) = errors_of(folder, aliases(11))
    assert "this is not YAML: aliases make more than 16777216 characters of this file; split it" in message
    errors = errors_of(folder, aliases(5))
    assert "'info' is a value or a list, found more than 10000 items" in errors[0]
    assert any("names the parameter 'b1'" in error for error in errors)


def test_parameters_make_no_more_than_a_file_may_have(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = HEAD.format(name="t", rows="[{x: aaaaaaaaaaaaaaaaaaaa}]") + "      - {at: 0s, event: {class: Disk, drive: '"
    assert len(read(folder, text + "${x}${x}'}}\n").cases) == 1
    monkeypatch.setattr(parameters, "MAX_FILE", 39)
    assert errors_of(folder, text + "${x}${x}'}}\n") == [
        "p.yaml:6:46: parameters make a text of more than 39 characters"
    ]


@pytest.mark.parametrize("rows", [0, 2])
def test_setup_and_rows_make_no_more_than_a_file_may_have(
    folder: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    steps = "[{at: 0s, event: {class: Disk, drive: '${x}'}}]"
    case = f"  - {{name: a, parameters: [{', '.join(f'{{x: {row}}}' for row in range(rows))}], steps: {steps}}}\n"
    case = case if rows else "".join(f"  - {{name: {name}, steps: {steps}}}\n" for name in "ab")
    text = f"rulebase: ..\nsetup: [{{at: 0s, expect_no: [{', '.join(['{class: Disk}'] * 10)}]}}]\ntests:\n{case}"
    assert len(read(folder, text).cases) == 2
    monkeypatch.setattr("opentec.testing.document.MAX_SAID", 150)
    message = "p.yaml:1:1: setup and parameters make more than 150 characters of this file; split it"
    assert errors_of(folder, text) == [message]


SETUP = """\
rulebase: ..
setup:
  - at: 0s
    event: {class: Disk_Full, drive: 'C:'}
  - at: 10s
    expect: [{drive: 'C:'}]
tests:
  - name: a
    steps:
      - {at: +50s, expect: [{severity: FATAL}]}
  - name: b
    steps:
      - {at: 59s, expect: [{severity: WARNING}]}
"""


def test_setup_comes_before_the_steps_of_each_test(folder: Path, runner: Runner) -> None:
    assert [result.passed for result in results(folder, runner, SETUP)] == [True, True]
    assert errors_of(folder, SETUP.replace("59s", "9s")) == [
        "p.yaml:13:14: '9s' lies before the step above, which is at 10s; "
        "put the steps in their order, or write +9s to count from the step above"
    ]
    (failure, *_) = results(folder, runner, SETUP.replace("[{drive: 'C:'}]", "[{drive: 'D:'}]"))[0].failures
    assert (failure.file, failure.line) == ("p.yaml", 6)


def test_parameters_count_in_the_setup_too(folder: Path, runner: Runner) -> None:
    text = SETUP.replace("'C:'", "'${drive}'").replace(
        "  - name: a\n", "  - name: a\n    parameters: [{drive: 'C:'}]\n"
    )
    text = text[: text.index("  - name: b")]
    (result,) = results(folder, runner, text)
    assert (result.name, result.passed) == ("a [C:]", True)


def test_setup_of_another_file(folder: Path, runner: Runner) -> None:
    shared = folder / "tests" / "shared" / "disk.setup.yaml"
    shared.parent.mkdir(parents=True, exist_ok=True)
    shared.write_text("setup:\n  - at: 0s\n    event: {class: Disk_Full, drive: 'C:'}\n    expect: [{drive: 'C:'}]\n")
    text = SETUP.replace("rulebase: ..\n", "rulebase: ..\ninclude: shared/disk.setup.yaml\n").replace(
        "  - at: 0s\n    event: {class: Disk_Full, drive: 'C:'}\n", ""
    )
    assert [result.passed for result in results(folder, runner, text)] == [True, True]
    twice = text.replace("include: shared", "include: [shared/disk.setup.yaml, shared").replace(
        ".yaml\n", ".yaml]\n", 1
    )
    assert [result.passed for result in results(folder, runner, twice)] == [True, True]
    # what fails or is wrong there has its place there
    shared.write_text(shared.read_text().replace("expect: [{drive: 'C:'}]", "expect: [{drive: 'E:'}]"))
    (result, _) = results(folder, runner, text)
    assert [(failure.file, failure.line) for failure in result.failures] == [("shared/disk.setup.yaml", 4)]
    shared.write_text("setup:\n  - {at: 0, event: {class: Disk}}\n")
    assert [error.partition(": ")[0] for error in errors_of(folder, text)] == ["shared/disk.setup.yaml:2:10"]
    with pytest.raises(SourceErrors, match=r"shared/disk\.setup\.yaml:2:29: class 'Dsk' is not defined"):
        shared.write_text("setup:\n  - {at: 0s, event: {class: Dsk}}\n")
        results(folder, runner, text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "p.yaml:2:10: 'shared.yaml' cannot be read: No such file or directory; it is relative to this file"),
        ("", "shared.yaml:1:1: an included file has no 'setup'; add setup: ..."),
        ("tests: []", "shared.yaml:1:1: an included file has no key 'tests'; an included file has setup"),
        ("[", "shared.yaml:2:1: this is not YAML"),
        ("setup: \xff", "shared.yaml:1:1: the byte 0xff is not UTF-8; save the file as UTF-8"),
    ],
)
def test_what_is_wrong_with_an_included_file(tmp_path: Path, content: str | None, message: str) -> None:
    (tmp_path / "tests").mkdir()
    if content is not None:
        (tmp_path / "tests" / "shared.yaml").write_bytes(content.encode("latin-1"))
    text = "rulebase: ..\ninclude: shared.yaml\ntests: []\n"
    assert errors_of(tmp_path, text)[0].startswith(message)


def test_a_name_is_one_line(folder: Path) -> None:
    text = 'rulebase: ..\ntests:\n  - name: "a\\nb"\n    steps: [{at: 0s, event: {class: A}}]\n'
    assert errors_of(folder, text) == [
        "p.yaml:3:11: the name of a test is more than one line; say in one line what must happen"
    ]


def test_a_runner_of_the_same_rule_base_runs_them_again(folder: Path) -> None:
    runner = Runner(load_rule_base(folder))
    bound = bind(read(folder, SETUP), runner.rule_base.classes)
    assert [runner.run(case) for case in bound] == [runner.run(case) for case in bound]
