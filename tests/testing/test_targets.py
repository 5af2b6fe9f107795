"""FILE, FOLDER, FILE:LINE and FILE::NAME."""

from __future__ import annotations

from pathlib import Path

import pytest

from opentec.testing.collection import collect
from opentec.testing.targets import Target, parse_target
from tests.testing.kit import make_rule_base

TESTS = """rulebase: ..
tests:
  - name: first
    steps:
      - {at: 0s, event: {class: Disk}}

  - name: 'it: is ::odd'
    steps: [{at: 0s, event: {class: Disk}}]
"""


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A rule base with two tests, in lines 3 and 7; the current folder."""
    folder = make_rule_base(tmp_path / "base")
    (folder / "tests").mkdir()
    (folder / "tests" / "t.yaml").write_text(TESTS)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("given", "target"),
    [
        ("tests", Target(Path("tests"))),
        ("t.yaml", Target(Path("t.yaml"))),
        ("t.yaml:12", Target(Path("t.yaml"), None, 12)),
        ("t.yaml::a name", Target(Path("t.yaml"), "a name")),
        ("t.yaml::a::b:3", Target(Path("t.yaml"), "a::b:3")),
        ("a/x.test.yaml::12", Target(Path("a/x.test.yaml"), "12")),
        ("C:/x/t.yaml:12", Target(Path("C:/x/t.yaml"), None, 12)),
        ("C:/x/t.yaml", Target(Path("C:/x/t.yaml"))),
        ("r.rls:7", Target(Path("r.rls"), None, 7)),
        ("t.yaml:", Target(Path("t.yaml:"))),
        ("t.yaml:1x", Target(Path("t.yaml:1x"))),
        ("folder:12", Target(Path("folder:12"))),
    ],
)
def test_what_is_meant(given: str, target: Target) -> None:
    assert parse_target(given) == target


def test_a_file_that_is_there_is_that_file(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml:12"
    path.touch()
    assert parse_target(path) == Target(path)


def names(*paths: str) -> list[str]:
    collected = collect(paths)
    assert collected.errors == []
    assert collected.tests == len(collected.order)
    return [bound.case.name for _, bound in collected.order]


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["tests/t.yaml"], ["first", "it: is ::odd"]),
        (["tests/t.yaml:3"], ["first"]),
        (["tests/t.yaml:6"], ["first"]),
        (["tests/t.yaml:7"], ["it: is ::odd"]),
        (["tests/t.yaml:999"], ["it: is ::odd"]),
        (["tests/t.yaml::it: is ::odd"], ["it: is ::odd"]),
        (["tests/t.yaml:8", "tests/t.yaml::first"], ["first", "it: is ::odd"]),
        (["tests/t.yaml:8", "tests/t.yaml:7"], ["it: is ::odd"]),
        (["tests/t.yaml:3", "."], ["first", "it: is ::odd"]),
    ],
)
def test_one_test_of_a_file(paths: list[str], found: list[str]) -> None:
    assert names(*paths) == found


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("tests/t.yaml:2", "tests/t.yaml:2:1: no test holds this line; the first begins in line 3"),
        ("tests/t.yaml::frist", "tests/t.yaml:1:1: there is no test 'frist'; did you mean 'first'?"),
        ("tests/t.yaml::z", "tests/t.yaml:1:1: there is no test 'z'; --collect-only lists the tests"),
        (
            "t.yaml:2",
            "t.yaml:1:1: there is no such file or folder; "
            "name a test file, or a folder with tests/*.yaml or *.test.yaml in it",
        ),
    ],
)
def test_what_names_no_test(path: str, message: str) -> None:
    assert [str(error) for error in collect([path]).errors] == [message]


def test_a_line_of_a_file_without_tests(base: Path) -> None:
    (base / "tests" / "t.yaml").write_text("rulebase: ..\ntests: []\n")
    assert "it has no tests" in str(collect(["tests/t.yaml:1"]).errors[0])
