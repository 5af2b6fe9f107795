"""Annotations: what the CI systems read, and that no text can become a command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opentec.events.errors import SourceError
from opentec.testing.annotations import MAX_TEXT, Note, code_quality, command, detect, note_of, notes_of, root_of
from opentec.testing.results import Difference, Failure, Near, Result

ROOT = Path("/src")
NOTE = Note("/src/tests/a,b.yaml", 4, 0, "title: one, two", "50 %\nnext ::error::x")


@pytest.mark.parametrize(
    ("kind", "note", "line"),
    [
        (
            "github",
            NOTE,
            "::error file=tests/a%2Cb.yaml,line=4,title=title%3A one%2C two::50 %25%0Anext ::error::x",
        ),
        (
            "github",
            NOTE._replace(file="/src/a.yaml", column=7, title="t", text="a\r\x1b\u2028"),
            "::error file=a.yaml,line=4,col=7,title=t::a%0D\\x1b\\x2028",
        ),
        (
            "azure",
            NOTE._replace(file="/src/a;b].yaml"),
            "##vso[task.logissue type=error;sourcepath=a%3Bb%5D.yaml;linenumber=4;]50 %AZP25%0Anext ::error::x",
        ),
        (
            "azure",
            NOTE._replace(file="/elsewhere/a.yaml", column=2, text="x"),
            "##vso[task.logissue type=error;sourcepath=/elsewhere/a.yaml;linenumber=4;columnnumber=2;]x",
        ),
    ],
)
def test_a_command(kind: str, note: Note, line: str) -> None:
    assert command(kind, note, ROOT) == line


@pytest.mark.parametrize("kind", ["github", "azure"])
def test_a_command_is_one_line(kind: str) -> None:
    everything = "".join(map(chr, range(0x3000)))
    line = command(kind, Note(everything, 1, 1, everything, everything), ROOT)
    assert len(line.splitlines()) == 1
    assert line.isprintable()


def test_the_report_for_gitlab() -> None:
    same = NOTE._replace(file="/src/a.yaml")
    moved = same._replace(line=9)
    report = json.loads(code_quality([same, moved, NOTE], ROOT))
    assert report[0] | {"fingerprint": ""} == {
        "description": same.text,
        "check_name": same.title,
        "fingerprint": "",
        "severity": "major",
        "location": {"path": "a.yaml", "lines": {"begin": 4}},
    }
    assert len({one["fingerprint"] for one in report}) == 3
    # the same failure at another line is the same one
    assert json.loads(code_quality([moved], ROOT))[0]["fingerprint"] == report[0]["fingerprint"]
    assert json.loads(code_quality([], ROOT)) == []
    assert json.loads(code_quality([same._replace(text="\udcff")], ROOT))


def test_relative_paths_are_those_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rules").mkdir()
    monkeypatch.chdir(tmp_path / "rules")
    note = NOTE._replace(file="tests/../tests/a.yaml")
    assert "sourcepath=rules/tests/a.yaml;" in command("azure", note, tmp_path)


def test_a_note_for_each_expectation_that_does_not_hold() -> None:
    near = Near("1.1", "Disk", "2026", (Difference("msg", "a", "b"), Difference("drive", "C", "C")))
    result = Result(
        "t.yaml",
        3,
        "name",
        (
            Failure("t.yaml", 8, "+1m", "2026", "expect", "Disk msg='a'", (near, near)),
            Failure("t.yaml", 9, "+1m", "2026", "expect_no", "Disk", (near,)),
            Failure("t.yaml", 10, "+1m", "2026", "expect", "x" * MAX_TEXT, ()),
        ),
    )
    first, second, third = notes_of(result)
    assert (first.file, first.line, first.column) == ("t.yaml", 8, 0)
    assert first.text.split("\n")[:3] == ["name", "at +1m", "expected: Disk msg='a'"]
    assert "- msg: 'a'" in first.text and "+ msg: 'b'" in first.text
    assert "not expected, but there: Disk" in second.text
    assert "what happened" not in first.text + second.text
    assert len(third.text) == MAX_TEXT


def test_an_error_is_a_note_with_its_hint() -> None:
    error = SourceError("no such slot", file="a.yaml", line=2, column=3, hint="take msg")
    assert note_of(error) == Note("a.yaml", 2, 3, "tec test: nothing was run", "no such slot; take msg")
    error = SourceError("no such slot", file="a.yaml", line=2, column=3)
    assert note_of(error).text == "no such slot"


@pytest.mark.parametrize(
    ("environment", "kind"),
    [
        ({}, ""),
        ({"GITHUB_ACTIONS": "true"}, "github"),
        ({"GITHUB_ACTIONS": "false"}, ""),
        ({"TF_BUILD": "True"}, "azure"),
        ({"GITLAB_CI": "true"}, ""),
    ],
)
def test_who_reads_what_is_printed(environment: dict[str, str], kind: str) -> None:
    assert detect(environment) == kind


def test_the_folder_of_the_checkout() -> None:
    assert root_of("github", {"GITHUB_WORKSPACE": "/w"}) == Path("/w")
    assert root_of("gitlab", {"CI_PROJECT_DIR": "/w"}) == Path("/w")
    assert root_of("azure", {}) == Path.cwd()
