"""`tec test`: selection, order, processes, reports, coverage and mutation, and the exit statuses of these."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from opentec.commands import test_run
from opentec.commands.cli import run as run_command
from opentec.commands.test import Wishes
from opentec.commands.test import test as tec_test
from opentec.commands.test_output import Output, parse_annotations
from tests.testing.kit import make_rule_base, write_spec

GOOD = "- {at: 0s, event: {class: Disk_Full}, expect: [{class: Disk_Full}]}"
BAD = "- {at: 0s, event: {class: Disk_Full}, expect: [{class: Disk_OK}]}"
CI = ("GITHUB_ACTIONS", "GITHUB_WORKSPACE", "TF_BUILD", "CI_PROJECT_DIR", "BUILD_SOURCESDIRECTORY")
EXAMPLE = """
% example: a full disk is stored
%   - {at: 0s, event: {class: Disk_Full}, expect: [{class: Disk_Full}]}
"""


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A rule base with tests a, b, c, of which b fails; the current folder."""
    monkeypatch.setenv("OPENTEC_CACHE", str(tmp_path / "cache"))
    for name in CI:
        monkeypatch.delenv(name, raising=False)
    folder = make_rule_base(tmp_path / "base")
    monkeypatch.chdir(folder)
    for name in "abc":
        path = write_spec(folder, BAD if name == "b" else GOOD, name=f"tests/{name}.yaml")
        path.write_text(path.read_text().replace("name: t", f"name: {name}"))
    return folder


def tec(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        run_command(tec_test, "tec test", arguments)
    return int(ended.value.code or 0)


def ran(text: str) -> list[str]:
    """The tests of a report, in order."""
    lines = [line.split() for line in text.splitlines()]
    return [words[1] for words in lines if words and words[0] in ("ok", "FAIL")]


def objects(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def mend(base: Path) -> None:
    path = base / "tests" / "b.yaml"
    path.write_text(path.read_text().replace("Disk_OK", "Disk_Full"))


# selection


def test_the_tests_that_failed_last(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tec("--last-failed") == 1
    out = capsys.readouterr().out
    assert out.startswith("none of these tests failed when it ran last: all are run\n")
    assert ran(out) == ["a", "b", "c"]
    assert tec("--lf") == 1
    assert ran(capsys.readouterr().out) == ["b"]
    # other paths, the same rule base
    assert tec("tests/b.yaml", "tests/a.yaml", "--lf") == 1
    assert ran(capsys.readouterr().out) == ["b"]
    mend(base)
    assert tec("--lf") == 0
    assert ran(capsys.readouterr().out) == ["b"]
    assert tec("--lf", "--json") == 0
    shown = capsys.readouterr()
    assert [one["name"] for one in objects(shown.out)[:-1]] == ["a", "b", "c"]
    assert shown.err == "tec test: none of these tests failed when it ran last: all are run\n"


def test_what_did_not_run_is_remembered(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tec()
    tec("-k", "a")
    capsys.readouterr()
    tec("--lf")
    assert ran(capsys.readouterr().out) == ["b"]


def test_nothing_is_remembered_without_the_cache(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tec("--no-cache") == 1
    assert not (base.parent / "cache").exists()
    capsys.readouterr()
    tec("--lf", "--no-cache")
    assert ran(capsys.readouterr().out) == ["a", "b", "c"]


def test_a_seed_gives_its_order_again(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(12):
        write_spec(base, GOOD, name=f"tests/n{number}.yaml")
    assert tec("--shuffle") == 1
    out = capsys.readouterr().out
    first = out.splitlines()[0]
    assert first.startswith("shuffled with --seed ")
    seed = first.rpartition(" ")[2]
    assert tec("--seed", seed) == 1
    assert capsys.readouterr().out == out
    assert tec("--seed", "1", "--json") == 1
    one = objects(capsys.readouterr().out)
    assert one[-1]["seed"] == 1
    assert tec("--seed", "2", "--json") == 1
    two = objects(capsys.readouterr().out)
    assert [data["file"] for data in one[:-1]] != [data["file"] for data in two[:-1]]


def test_collect_only(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tec("--collect-only") == 0
    assert capsys.readouterr().out == "tests/a.yaml:3  a\ntests/b.yaml:3  b\ntests/c.yaml:3  c\n3 tests\n"
    assert tec("--collect-only", "-k", "b", "--json") == 0
    test, sums = objects(capsys.readouterr().out)
    assert test == {"file": "tests/b.yaml", "line": 3, "name": "b", "rulebase": "."}
    assert sums == {"collected": 1}
    assert tec("--collect-only", "-k", "x") == 5
    assert tec("--collect-only", "-k", "a") == 0
    assert capsys.readouterr().out.endswith("1 test\n")


def test_one_test_by_its_place(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tec("tests/a.yaml:3", "tests/c.yaml::c") == 0
    assert ran(capsys.readouterr().out) == ["a", "c"]
    assert tec("tests/a.yaml::x") == 2
    assert capsys.readouterr().err.startswith("tests/a.yaml:1:1: there is no test 'x'")


def test_the_examples_in_rules_are_tests(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = base / "TEC_RULES" / "disk.rls"
    rules.write_text(rules.read_text() + EXAMPLE)
    assert tec("--collect-only") == 0
    lines = capsys.readouterr().out.splitlines()
    place = f"TEC_RULES/disk.rls:{len(rules.read_text().splitlines()) - 1}"
    assert lines == [
        "tests/a.yaml:3  a",
        "tests/b.yaml:3  b",
        "tests/c.yaml:3  c",
        f"{place}  a full disk is stored",
        "4 tests",
    ]
    # a file of tests is only itself, a folder of tests stands for its rule base, and a file of rules for its examples
    assert tec("--collect-only", "tests/a.yaml") == 0
    assert capsys.readouterr().out.endswith("1 test\n")
    assert tec("--collect-only", "tests") == 0
    assert capsys.readouterr().out.endswith("4 tests\n")
    assert tec("TEC_RULES/disk.rls", ".", "-k", "full") == 0
    assert capsys.readouterr().out == "TEC_RULES/disk.rls\n  ok    a full disk is stored\n1 passed\n"
    assert tec(place, "--json") == 0
    assert objects(capsys.readouterr().out)[-1] == {"passed": 1, "failed": 0, "not_run": 0}
    for path in (base / "tests").iterdir():
        path.unlink()
    assert tec() == 0
    assert capsys.readouterr().out.endswith("1 passed\n")


def test_a_wrong_example_is_shown_with_its_place(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = base / "TEC_RULES" / "disk.rls"
    rules.write_text(rules.read_text() + EXAMPLE.replace("expect:", "exect:"))
    assert tec() == 2
    assert "TEC_RULES/disk.rls:" in capsys.readouterr().err
    (base / "lost.rls").write_text("")
    assert tec("lost.rls") == 2
    assert "so the examples of this file cannot run" in capsys.readouterr().err


def test_a_folder_that_is_no_whole_rule_base_has_no_examples(base: Path, tmp_path: Path) -> None:
    broken = make_rule_base(tmp_path / "broken")
    (broken / "TEC_CLASSES" / "root.baroc").unlink()
    (broken / "TEC_CLASSES" / "disk.baroc").unlink()
    (broken / "TEC_CLASSES").rmdir()
    assert tec(str(broken)) == 5


def test_tests_that_end_in_yml_are_told(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = "and tests are in files tests/*.yaml or *.test.yaml: rename"
    for name in ("b", "c"):
        (base / "tests" / f"{name}.yaml").unlink()
    (base / "tests" / "a.yaml").rename(base / "tests" / "a.yml")
    assert tec() == 5
    assert capsys.readouterr().err == f"tec test: no tests in .; tests/a.yml ends in .yml, {where} it\n"
    (base / "b.test.yml").touch()
    (base / "other.yml").touch()
    (base / "tests" / ".hidden.yml").touch()
    assert tec() == 5
    assert capsys.readouterr().err == f"tec test: no tests in .; b.test.yml and 1 more end in .yml, {where} them\n"


def test_a_cache_that_others_may_write_is_told_once(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tec("-k", "a") == 0
    cache = base.parent / "cache"
    (cache / "rulebases").chmod(0o777)
    capsys.readouterr()
    assert tec("-k", "a") == 0
    text = f"tec test: others may write the cache {cache}/rulebases, so it is not used; "
    assert capsys.readouterr().err == f"{text}remove it, or name another with OPENTEC_CACHE\n"
    for quiet in ("--json", "--no-cache"):
        assert tec("-k", "a", quiet) == 0
        assert capsys.readouterr().err == ""


# processes


def test_several_processes_print_the_same(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tec() == 1
    alone = capsys.readouterr().out
    assert tec("-j", "2") == 1
    assert capsys.readouterr().out == alone
    assert tec("-j", "2", "-x") == 1
    assert capsys.readouterr().out.endswith("1 passed, 1 failed, 1 not run\n")


def test_as_many_processes_as_processors(
    base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert tec("-j", "0", "-k", "a") == 0
    assert tec("-j", "257") == 2
    assert "-j 257: at most 256 processes" in capsys.readouterr().err
    assert tec("-j", "-1") == 2


# reports


def test_junit(base: Path) -> None:
    (base / "out").mkdir()
    assert tec("--junit", "out/junit.xml") == 1
    root = ElementTree.parse(base / "out" / "junit.xml").getroot()
    assert (root.attrib["tests"], root.attrib["failures"]) == ("3", "1")
    write_spec(base, "- {att: 0s}")
    assert tec("--junit", "out/junit.xml") == 2
    root = ElementTree.parse(base / "out" / "junit.xml").getroot()
    assert (root.attrib["tests"], root.attrib["errors"]) == ("2", "2")


def test_a_report_that_cannot_be_written(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = (("--junit", "tests"), ("--cov-json", "tests"), ("--annotations", "gitlab=tests"))
    for option, file in places:
        assert tec(option, file) == 2
        shown = capsys.readouterr()
        assert shown == ("", "tec test: tests: Is a directory; name another file. Nothing was run\n")
    assert tec("--junit", "gone/deep/junit.xml") == 2
    text = "tec test: gone/deep/junit.xml: there is no folder gone/deep; make it first. Nothing was run\n"
    assert capsys.readouterr() == ("", text)
    assert not (base / "gone").exists()


def test_a_report_that_others_own(
    base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert tec("--junit", "junit.xml") == 2
    assert capsys.readouterr().err == "tec test: junit.xml: Permission denied; name another file. Nothing was run\n"


def test_a_folder_of_reports_that_goes_away_meanwhile(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from opentec.commands.cli import Failure

    output = Output(False, parse_annotations("none", False, {}), {})
    with pytest.raises(Failure, match="No such file or directory; nothing was written there") as failed:
        output.finish(base / "gone" / "junit.xml")
    assert failed.value.status == 2


def test_github_and_azure_are_found_out(
    base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(base.parent))
    assert tec() == 1
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("::error file=base/tests/b.yaml,line=6,title=tec test%3A a test failed::b%0Aat 0s%0A")
    assert tec("--json") == 1
    assert all(line.startswith("{") for line in capsys.readouterr().out.splitlines())
    assert tec("--annotations", "none") == 1
    assert "::error" not in capsys.readouterr().out
    assert tec("--annotations", "azure", "-k", "b") == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("##vso[task.logissue type=error;sourcepath=tests/b.yaml;linenumber=6;]")
    write_spec(base, "- {att: 0s}")
    assert tec() == 2
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(
        "::error file=base/tests/t.yaml,line=6,col=10,title=tec test%3A nothing was run::a step has"
    )


def test_the_report_for_gitlab(base: Path) -> None:
    assert tec("--annotations", "gitlab", "--json") == 1
    (one,) = json.loads((base / "gl-code-quality-report.json").read_text())
    assert one["location"] == {"path": "tests/b.yaml", "lines": {"begin": 6}}
    mend(base)
    (base / "out").mkdir()
    assert tec("--annotations", "gitlab=out/quality.json") == 0
    assert json.loads((base / "out" / "quality.json").read_text()) == []


def test_no_text_of_an_event_becomes_a_command(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = "- {at: 0s, event: {class: Disk, msg: '##vso[x]y ##[z]\\n::error::w'}, expect: [{class: Disk_OK}]}"
    write_spec(base, steps)
    assert tec("--annotations", "azure", "tests/t.yaml") == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "##" in line and "## " not in line] == lines[-1:]
    assert lines[-1].startswith("##vso[task.logissue ")
    assert lines[-1].count("##") == 1


def workflow_commands(text: str) -> list[str]:
    """The lines that GitHub takes for commands, and those with one of Azure's."""
    return [line for line in text.splitlines() if line.lstrip().startswith("::") or "##[" in line or "##vso[" in line]


@pytest.mark.parametrize("command", ["::error ::x", "##vso[task.complete]x", "##[error]x"])
@pytest.mark.parametrize("option", ["github", "azure", "none", "--json"])
def test_no_line_of_a_test_file_becomes_a_command(
    base: Path, command: str, option: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # a key of its own line; where it would be a comment, in quotes
    key = f"'{command}'" if command.startswith("#") else command
    write_spec(base, f"- at: 0s\n  event:\n    class: Disk_Full\n    {key}: 1")
    arguments = [option] if option == "--json" else ["--annotations", option]
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert tec("tests/t.yaml", *arguments) == 2
    shown = capsys.readouterr()
    ours = [line for line in shown.out.splitlines() if line.startswith(("::error file=", "##vso[task.logissue "))]
    assert workflow_commands(shown.err) == []
    assert workflow_commands(shown.out) == ours
    assert bool(ours) == (option in ("github", "azure"))
    assert command[2:7] in shown.out + shown.err


def test_what_a_ci_system_would_take_for_its_own_is_broken() -> None:
    output = Output(False, parse_annotations("none", False, {}), {"TF_BUILD": "True"})
    assert output.clean("    ::error ::x") == "    : :error ::x"
    assert output.clean("a ::error ::x ##[b] ##vso[c]") == "a ::error ::x ## [b] ## vso[c]"
    alone = Output(False, parse_annotations("none", False, {}), {})
    assert alone.clean("    ::error ::x\x1b ##[b]") == "    ::error ::x\\x1b ##[b]"


def test_json_stays_json_where_commands_are_read(
    base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_BUILD", "True")
    path = write_spec(base, GOOD)
    path.write_text(path.read_text().replace("name: t", "name: 'a ###[x] ##vso[y]'"))
    assert tec("tests/t.yaml", "--json") == 0
    out = capsys.readouterr().out
    assert "##" not in out
    assert objects(out)[0]["name"] == "a ###[x] ##vso[y]"


@pytest.mark.parametrize("given", ["x", "github=f", "gitlab=", "none=x", "azure="])
def test_annotations_that_are_not_known(base: Path, given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert tec("--annotations", given) == 2
    assert "the kinds are github, gitlab, azure, gitlab=FILE and none" in capsys.readouterr().err


def test_annotations_do_not_mix_with_json(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tec("--annotations", "github", "--json") == 2
    assert "leave one out" in capsys.readouterr().err
    assert parse_annotations("none", True, {"GITHUB_ACTIONS": "true"}).kind == ""


# coverage and mutation


def test_coverage(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mend(base)
    assert tec("--cov") == 0
    out = capsys.readouterr().out
    assert "what the tests have seen of .:\n" in out
    assert out.endswith("3 passed\n")
    assert tec("--cov-fail-under", "0", "--json", "-j", "2") == 0
    (found,) = [one for one in objects(capsys.readouterr().out) if "coverage" in one]
    assert found["rulebase"] == "."
    assert tec("--cov-json", "cov.json") == 0
    assert json.loads((base / "cov.json").read_text()) == {"rulebases": [found]}
    capsys.readouterr()
    assert tec("--cov-fail-under", "100") == 3
    assert "of ., less than 100 %" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--cov-fail-under", "--mutate-fail-under"])
@pytest.mark.parametrize("given", ["101", "-1"])
def test_per_cent_end_at_100(base: Path, option: str, given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert tec(option, given) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert ("101 is more than 100" if given == "101" else "-1 is less than 0") in shown.err


def test_a_test_that_fails_is_worse_than_low_coverage(base: Path) -> None:
    assert tec("--cov-fail-under", "100") == 1


def test_mutation(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mend(base)
    assert tec("--mutate", "--rule-set", "disk") == 0
    out = capsys.readouterr().out
    assert "mutation score: " in out
    assert out.endswith("3 passed\n")
    assert tec("--mutate-fail-under", "100", "--json", "--rule-set", "disk") == 3
    shown = capsys.readouterr()
    (found,) = [one for one in objects(shown.out) if "mutation" in one]
    assert found["mutation"]["score"] < 100
    assert "of the broken rules, less than 100 %" in shown.err
    assert tec("--mutate", "--rule-set", "dish") == 2
    assert "did you mean 'disk'?" in capsys.readouterr().err


def test_a_mark_that_means_nothing_is_an_error(base: Path) -> None:
    mend(base)
    rules = base / "TEC_RULES" / "disk.rls"
    rules.write_text("% mutation: equivalent swap-alternatives: there are none\n" + rules.read_text())
    assert tec("--mutate") == 2


def test_people_see_how_far_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    output = Output(False, parse_annotations("none", False, {}), {})
    output.progress(1, 2)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    output.progress(1, 2)
    output.progress(2, 2)
    assert capsys.readouterr().err == "\r1 of 2 mutants\r2 of 2 mutants\n"


def test_rules_are_not_broken_while_tests_fail(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tec("--mutate") == 1
    out = capsys.readouterr().out
    assert "rules are not broken on purpose while tests fail" in out
    assert "mutation score" not in out


def test_a_test_that_turns_out_wrong_ends_the_run(
    base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentec.testing import runner

    monkeypatch.setattr(runner, "MAX_TICKS", 0)
    write_spec(base, f"{GOOD}\n- {{at: 1d, expect: [{{class: Disk_Full}}]}}")
    assert tec("--junit", "junit.xml") == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("tests/t.yaml:7:")
    assert shown.err.endswith("tec test: stopped: 1 error\n")
    root = ElementTree.parse(base / "junit.xml").getroot()
    assert (root.attrib["tests"], root.attrib["failures"], root.attrib["errors"]) == ("4", "1", "1")


def test_the_rule_base_is_compiled_once(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from opentec.rules import compiled_cache

    assert tec("-k", "a") == 0

    def never(folder: Path) -> None:
        raise AssertionError(folder)

    monkeypatch.setattr(compiled_cache, "load_rule_base", never)
    assert tec("-k", "a") == 0
    assert test_run.run(Wishes((".",), "a"), {"OPENTEC_CACHE": str(base.parent / "cache")}) == 0
