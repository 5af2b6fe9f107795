"""`tec test`: what it finds, what it prints, its exit statuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from opentec.commands.cli import run as run_command
from opentec.commands.test import test as tec_test
from opentec.testing.collection import find_specs
from tests.testing.kit import make_rule_base, write_spec

GOOD = "- {at: 0s, event: {class: Disk_Full}, expect: [{class: Disk_Full}]}"
BAD = "- {at: 0s, event: {class: Disk_Full}, expect: [{class: Disk_OK}]}"


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A rule base that is the current folder."""
    folder = make_rule_base(tmp_path / "base")
    monkeypatch.chdir(folder)
    return folder


def tec(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        run_command(tec_test, "tec test", arguments)
    return int(ended.value.code or 0)


def lines(capsys: pytest.CaptureFixture[str]) -> list[Any]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_all_passed(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_spec(base, GOOD)
    assert tec() == 0
    assert capsys.readouterr().out == "tests/t.yaml\n  ok    t\n1 passed\n"


def test_some_failed(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_spec(base, GOOD, name="tests/a.yaml")
    write_spec(base, BAD, name="tests/b.yaml")
    assert tec(".") == 1
    out = capsys.readouterr().out
    assert out.startswith("tests/a.yaml\n  ok    t\ntests/b.yaml\n  FAIL  t\n      tests/b.yaml:6: at 0s")
    assert "  only this test: tec test tests/b.yaml::t\n" in out
    assert out.endswith("1 passed, 1 failed\n")


def test_stop_at_the_first_failure(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "abc":
        write_spec(base, GOOD if name == "a" else BAD, name=f"tests/{name}.yaml")
    assert tec("-x") == 1
    assert capsys.readouterr().out.endswith("1 passed, 1 failed, 1 not run\n")
    assert tec() == 1
    assert capsys.readouterr().out.endswith("1 passed, 2 failed\n")


def test_by_name(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_spec(base, GOOD)
    path.write_text(path.read_text().replace("name: t", "name: a Full disk"))
    write_spec(base, BAD, name="tests/u.yaml")
    assert tec("-k", "full DISK") == 0
    assert capsys.readouterr().out == "tests/t.yaml\n  ok    a Full disk\n1 passed\n"
    assert tec("-k", "empty") == 5
    assert capsys.readouterr().err == "tec test: none of the 2 tests has 'empty' in its name\n"


def test_no_tests(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tec() == 5
    assert capsys.readouterr().err == "tec test: no tests in .; tests are in files tests/*.yaml or *.test.yaml\n"
    assert tec("-k", "x") == 5


def test_every_error_is_shown_and_nothing_is_run(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_spec(base, GOOD, name="tests/a.yaml")
    write_spec(base, GOOD.replace("Disk_OK", "Disk_K").replace("Full", "Ful"), name="tests/b.yaml")
    write_spec(base, "- {att: 0s}", name="tests/c.yaml")
    assert tec(".", "gone") == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert [line for line in shown.err.splitlines() if not line.startswith(" ")] == [
        "gone:1:1: there is no such file or folder; "
        "name a test file, or a folder with tests/*.yaml or *.test.yaml in it",
        "tests/b.yaml:6:33: class 'Disk_Ful' is not defined; did you mean 'Disk_Full'?",
        "tests/b.yaml:6:61: class 'Disk_Ful' is not defined; did you mean 'Disk_Full'?",
        "tests/c.yaml:6:10: a step has no key 'att'; did you mean 'at'?",
        "tests/c.yaml:6:9: a step has no 'at'; add at: ...",
        "tec test: nothing was run: 5 errors",
    ]


def test_a_rule_base_that_does_not_compile(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_spec(base, GOOD, name="tests/a.yaml")
    write_spec(base, GOOD, name="tests/b.yaml")
    rules = base / "TEC_RULES" / "disk.rls"
    rules.write_text(rules.read_text().replace("'Disk_OK'", "'Disk_K'"))
    assert tec() == 2
    err = capsys.readouterr().err
    assert err.startswith("TEC_RULES/disk.rls:14:26: class 'Disk_K' is not defined; did you mean 'Disk_OK'?\n")
    assert err.endswith("tec test: nothing was run: 1 error\n")


def test_a_rule_base_that_is_not_there(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_spec(base, GOOD)
    path.write_text(path.read_text().replace("rulebase: ..", "rulebase: ../gone"))
    assert tec("--json") == 2
    (error,) = lines(capsys)
    assert (error["file"], error["line"], error["column"]) == ("tests/t.yaml", 1, 11)
    assert error["error"].startswith("gone: there is no such folder")
    assert error["hint"] == "'rulebase' is relative to the folder of this file"


def test_a_file_that_cannot_be_read(
    base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_spec(base, GOOD)

    def refuse(self: Path, *arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert tec() == 2
    assert capsys.readouterr().err.startswith("tests/t.yaml:1:1: cannot be read: Permission denied\n")


def test_json(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_spec(base, GOOD, name="tests/a.yaml")
    write_spec(base, BAD, name="tests/b.yaml")
    assert tec("--json") == 1
    good, bad, sums = lines(capsys)
    assert good == {"file": "tests/a.yaml", "line": 3, "name": "t", "outcome": "passed", "rules": ["disk/full"]}
    assert (bad["outcome"], bad["failures"][0]["kind"], bad["failures"][0]["line"]) == ("failed", "expect", 6)
    assert bad["happened"][0]["what"] == "Disk_Full"
    assert sums == {"passed": 1, "failed": 1, "not_run": 0}


def test_control_characters_do_not_reach_the_terminal(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_spec(base, '- {at: 0s, event: {class: EVENT, msg: "\\e[31m"}, expect: [{class: Disk}]}')
    assert tec() == 1
    assert "\x1b" not in capsys.readouterr().out


def test_where_tests_are_found(tmp_path: Path) -> None:
    for name in (
        "tests/a.yaml",
        "sub/tests/b.yaml",
        "sub/c.test.yaml",
        "sub/other.yaml",
        "tests/deeper/d.yaml",
        "tests/.hidden.yaml",
        ".venv/tests/e.yaml",
        "tests/readme.md",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found, errors = find_specs([tmp_path, tmp_path / "tests", tmp_path / "sub" / "other.yaml"])
    assert errors == []
    names = [str(path.relative_to(tmp_path)) for path in found]
    assert names == ["sub/c.test.yaml", "sub/tests/b.yaml", "tests/a.yaml", "sub/other.yaml"]
    assert find_specs([tmp_path / "tests"])[0] == [tmp_path / "tests" / "a.yaml"]


def test_the_command_loads_nothing_heavy() -> None:
    heavy = "{'pydantic', 'sqlalchemy', 'lark', 'yaml', 'asyncio', 'rich'}"
    code = f"import sys; from opentec.commands import test; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_profile_comes_behind_the_tests(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_spec(base, GOOD)
    assert tec("--profile") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[:3] == ["tests/t.yaml", "  ok    t", "what the rules of . cost:"]
    assert out[3].split() == ["rule", "tried", "matched", "actions", "steps", "total", "us", "us", "each"]
    assert out[4].split()[:4] == ["disk/full", "1", "1", "2"]
    assert len({len(line) for line in out[3:-1]}) == 1
    assert out[-1] == "1 passed"
    assert tec("--profile", "--json") == 0
    (profile,) = [line for line in lines(capsys) if "profile" in line]
    assert profile["rulebase"] == "."
    assert (profile["profile"][0]["rule"], profile["profile"][0]["tried"]) == ("disk/full", 1)


def test_a_failed_test_counts_once_in_the_profile(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_spec(base, BAD)
    assert tec("--profile") == 1
    assert "  disk/full      1        1        2" in capsys.readouterr().out
