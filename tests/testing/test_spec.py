"""Test files: what they may say, and what is said of those that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from opentec.events.errors import SourceErrors
from opentec.rules.rulebase import RuleBase
from opentec.testing import document
from opentec.testing.binding import bind
from opentec.testing.instants import SECOND
from opentec.testing.spec import DEFAULT_START, STEP_KEYS, read_spec
from opentec.testing.spec_data import Pattern
from tests.testing.kit import spec_of

HEAD = "rulebase: ..\ntests:\n  - name: t\n    steps:\n"


def errors_of(path: Path, text: str) -> list[str]:
    with pytest.raises(SourceErrors) as caught:
        spec_of(path, text)
    return [str(error).partition("\n")[0] for error in caught.value.errors]


def test_a_whole_file(tmp_path: Path) -> None:
    text = """\
rulebase: ../base
tests:
  - name: a recovery closes the problem
    start: 2026-03-01T08:00:00Z
    steps:
      - at: 0s
        event: {class: Disk_Full, hostname: web1, drive: 'C:', tags: [a, no]}
      - at: +30s
        event: {class: Disk_OK, used: 010}
        expect: [{class: Disk_Full, status: CLOSED}, {drive: 'C:'}]
        expect_no:
          - class: Disk_OK
"""
    spec = spec_of(tmp_path / "a.yaml", text)
    assert spec.rule_base == tmp_path / "../base"
    (case,) = spec.cases
    assert (case.file, case.mark.line, case.name) == ("a.yaml", 3, "a recovery closes the problem")
    assert case.start == 1_772_352_000 * SECOND
    first, second = case.steps
    assert (first.at, first.said, first.mark.line) == (0, "0s", 6)
    assert first.arrivals
    assert first.arrivals[0].event.class_name == "Disk_Full"
    assert {slot: raw.value for slot, raw in first.arrivals[0].event.slots.items()} == {
        "hostname": "web1",
        "drive": "C:",
        "tags": ["a", "no"],
    }
    assert second.at == 30 * SECOND
    assert second.arrivals
    assert second.arrivals[0].event.slots["used"].value == "010"
    named = [
        (one.kind, [pattern.class_name for pattern in one.patterns if isinstance(pattern, Pattern)])
        for one in second.expectations
    ]
    assert named == [("expect", ["Disk_Full", None]), ("expect_no", ["Disk_OK"])]


def test_a_start_is_not_needed(tmp_path: Path) -> None:
    spec = spec_of(tmp_path / "a.yaml", HEAD + "      - {at: 0s, event: {class: A}}\n")
    assert spec.cases[0].start == DEFAULT_START


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("", ["a.yaml:1:1: a test file must be a mapping, found nothing; write key: value"]),
        ("- a\n", ["a.yaml:1:1: a test file must be a mapping, found a list; write key: value"]),
        (
            "rulebase: ..\ntest: []\n",
            [
                "a.yaml:2:1: a test file has no key 'test'; did you mean 'tests'?",
                "a.yaml:1:1: a test file has no 'tests'; add tests: ...",
            ],
        ),
        (
            "rulebase: ''\ntests: {}\n",
            [
                "a.yaml:1:11: 'rulebase' is empty; name the folder of the rule base, relative to this file",
                "a.yaml:2:8: 'tests' must be a list, found a mapping; write '- ' before each item",
            ],
        ),
        ("rulebase: [a]\ntests: []\n", ["a.yaml:1:11: 'rulebase' must be one value, found a list"]),
        ("rulebase: a\nrulebase: b\ntests: []\n", ["a.yaml:2:1: a test file has the key 'rulebase' twice; keep one"]),
        ("rulebase: a\n[b]: c\ntests: []\n", ["a.yaml:2:1: a key of a test file must be a word, found a list"]),
        (
            "rulebase: ..\ntests:\n  - {name: ' ', steps: []}\n  - x\n  - {nme: b, steps: []}\n",
            [
                "a.yaml:3:12: the name of a test is empty; say in one line what the rules must do",
                "a.yaml:3:24: the test has no steps",
                "a.yaml:4:5: a test must be a mapping, found 'x'; write key: value",
                "a.yaml:5:6: a test has no key 'nme'; did you mean 'name'?",
                "a.yaml:5:5: a test has no 'name'; add name: ...",
                "a.yaml:5:21: the test has no steps",
            ],
        ),
        (
            "rulebase: ..\ntests:\n  - {name: a, start: soon, steps: [{at: 0s, event: {class: A}}]}\n",
            ["a.yaml:3:22: 'soon' is not a time; write it as 2026-03-01T08:00:00Z or 2026-03-01 08:00 Europe/Berlin"],
        ),
        (HEAD + "      - foo\n", ["a.yaml:5:9: a step must be a mapping, found 'foo'; write key: value"]),
        (HEAD + "      - at: 0s\n", ["a.yaml:5:9: the step does nothing; add event:, expect: or expect_no:"]),
        (HEAD + "      - event: {class: A}\n", ["a.yaml:5:9: a step has no 'at'; add at: ..."]),
        (
            HEAD + "      - at: 0s\n        evnt: {class: A}\n",
            ["a.yaml:6:9: a step has no key 'evnt'; did you mean 'event'?"],
        ),
        (
            HEAD + "      - at: 0s\n        program: 3\n",
            [f"a.yaml:6:9: a step has no key 'program'; a step has {', '.join(STEP_KEYS)}"],
        ),
        (
            HEAD + "      - at: 5\n        event: {class: A}\n",
            [
                "a.yaml:5:13: '5' is not a time; write 0s, +30s, +5m or 2h; "
                "units are ms, s, m, h and d, and may be joined as in 1h30m"
            ],
        ),
        (
            HEAD + "      - {at: 5s, event: {class: A}}\n      - {at: 4s, event: {class: A}}\n",
            [
                "a.yaml:6:14: '4s' lies before the step above, which is at 5s; "
                "put the steps in their order, or write +4s to count from the step above"
            ],
        ),
        (HEAD + "      - {at: 0s, event: {hostname: a}}\n", ["a.yaml:5:25: the event has no class; add class: ..."]),
        (HEAD + "      - {at: 0s, event: {class: [a]}}\n", ["a.yaml:5:33: 'class' must be one value, found a list"]),
        (
            HEAD + "      - {at: 0s, event: {class: A, drive: {C: }}}\n",
            [
                "a.yaml:5:43: the value of slot 'drive' must be one value, found a mapping; "
                "quote a text with a colon in it: 'C:'"
            ],
        ),
        (
            HEAD + "      - {at: 0s, event: {class: A, tags: [a, [b]]}}\n",
            ["a.yaml:5:46: an item of slot 'tags' must be one value, found a list"],
        ),
        (
            HEAD + "      - {at: 0s, expect: {class: A}}\n",
            ["a.yaml:5:26: 'expect' must be a list, found a mapping; write '- ' before each item"],
        ),
        (
            HEAD + "      - {at: 0s, expect: [], expect_no: [{}]}\n",
            [
                "a.yaml:5:18: 'expect' is an empty list; name at least one event, or take it out",
                "a.yaml:5:42: an expected event names neither a class nor a slot; write {class: ..., slot: value}",
            ],
        ),
        (HEAD + "      - {at: 0s, no_actions: false}\n", ["a.yaml:5:30: 'no_actions' can only be true; take it out"]),
        (HEAD + "      - {at: 0s, failover: no}\n", ["a.yaml:5:28: 'failover' can only be true; take it out"]),
        (
            HEAD + "\t- a\n",
            [
                "a.yaml:5:1: this is not YAML: while scanning for the next token, "
                "found character that cannot start any token; indent with spaces, a tab is none"
            ],
        ),
        (
            HEAD + "      - at: 0s\n     - at: 1s\n",
            [
                "a.yaml:6:6: this is not YAML: while parsing a block mapping, did not find expected key; "
                "look at the indentation and the brackets of this line and of those above"
            ],
        ),
        (
            HEAD + "      - {at: 0s, event: {class: A, drive: C:}}\n",
            [
                "a.yaml:5:44: this is not YAML: while scanning a plain scalar, found unexpected ':'; "
                "quote values that hold ': ' or begin with a sign"
            ],
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, messages: list[str]) -> None:
    assert errors_of(tmp_path / "a.yaml", text) == messages


def test_two_tests_of_one_name(tmp_path: Path) -> None:
    test = "  - {name: a, steps: [{at: 0s, event: {class: A}}]}\n"
    assert errors_of(tmp_path / "a.yaml", "rulebase: ..\ntests:\n" + test + test) == [
        "a.yaml:4:5: two tests have the name 'a'; the first is in line 3"
    ]


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"rulebase: ..\ntests: \xff\n")
    with pytest.raises(SourceErrors, match=r"a\.yaml:2:1: the byte 0xff is not UTF-8; save the file as UTF-8"):
        read_spec(path)
    assert any("not YAML" in message for message in errors_of(path, "rulebase: \x07\n"))


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "MAX_FILE", 20)
    assert errors_of(tmp_path / "a.yaml", "rulebase: ..\ntests: []\n") == [
        "a.yaml:1:1: the file is larger than 20 bytes; split it"
    ]


def test_a_file_with_too_many_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opentec.testing.spec_steps.MAX_STEPS", 2)
    step = "      - {at: 0s, event: {class: A}}\n"
    assert errors_of(tmp_path / "a.yaml", HEAD + step + step) == [
        "a.yaml:6:9: a file has at most 2 steps and events; split it",
    ]
    many = "      - {at: 0s, event: {class: A}, repeat: 2, every: 1s}\n"
    assert errors_of(tmp_path / "a.yaml", HEAD + many) == [
        "a.yaml:5:18: a file has at most 2 steps and events; split it",
    ]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_nesting_without_end_is_an_error(tmp_path: Path, opening: str) -> None:
    (message,) = errors_of(tmp_path / "a.yaml", opening * 100_000)
    column = 1 + 32 * len(opening)
    assert message.startswith(f"a.yaml:1:{column}: this is not YAML: lists and mappings are nested too deeply")


def test_anchors(tmp_path: Path) -> None:
    text = HEAD.replace("tests:", "tests:\n  - name: first\n    steps: &steps\n      - {at: 0s, event: {class: A}}")
    spec = spec_of(tmp_path / "a.yaml", text.replace("    steps:\n", "    steps: *steps\n", 2))
    assert [case.steps for case in spec.cases] == [spec.cases[0].steps] * 2
    assert errors_of(tmp_path / "a.yaml", "rulebase: ..\ntests: &t\n  - *t\n")[0].startswith(
        "a.yaml:3:5: this is not YAML: nothing is named &t above"
    )


def test_one_document(tmp_path: Path) -> None:
    (message,) = errors_of(tmp_path / "a.yaml", "rulebase: ..\ntests: []\n---\nrulebase: ..\ntests: []\n")
    assert message.startswith("a.yaml:3:1: this is not YAML: a second document begins here")


@pytest.mark.parametrize(
    ("step", "messages"),
    [
        ("event: {class: Disk_Fll}", ["a.yaml:5:33: class 'Disk_Fll' is not defined; did you mean 'Disk_Full'?"]),
        (
            "event: {class: Disk, drv: x, used: much, date_reception: 4}",
            [
                "a.yaml:5:39: class Disk has no slot 'drv'; did you mean 'drive'?",
                "a.yaml:5:47: slot 'used' of class Disk: 'much' is not an INTEGER",
                "a.yaml:5:59: slot 'date_reception' is assigned by the server and cannot be sent; leave it out",
            ],
        ),
        ("expect: [{class: Dsk, drive: x}]", ["a.yaml:5:35: class 'Dsk' is not defined; did you mean 'Disk'?"]),
        (
            "expect: [{class: Disk, drv: x, status: CLSED}]",
            [
                "a.yaml:5:41: class Disk has no slot 'drv'; did you mean 'drive'?",
                "a.yaml:5:49: slot 'status' of class Disk: 'CLSED' is not a STATUS "
                "(OPEN, RESPONSE, ACK, CLOSED); did you mean 'CLOSED'?",
            ],
        ),
        (
            "expect_no: [{drv: x}, {used: much}, {used: 3}]",
            [
                "a.yaml:5:31: no class has a slot 'drv'; did you mean 'drive'?",
                "a.yaml:5:41: slot 'used' of class Disk: 'much' is not an INTEGER",
            ],
        ),
    ],
)
def test_what_the_classes_do_not_know(tmp_path: Path, base: RuleBase, step: str, messages: list[str]) -> None:
    spec = spec_of(tmp_path / "a.yaml", HEAD + f"      - {{at: 0s, {step}}}\n")
    with pytest.raises(SourceErrors) as caught:
        bind(spec, base.classes)
    assert [str(error).partition("\n")[0] for error in caught.value.errors] == messages
