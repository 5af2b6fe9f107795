"""examples/ci: every file is what its reader expects, and every command in it is one of ours."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from opentec.commands.cli import CONTEXT, new_app
from opentec.commands.coercion import simplify
from opentec.commands.main import COMMANDS, load

CI = Path(__file__).parents[2] / "examples" / "ci"
YAML = sorted(path.name for path in CI.glob("*.y*ml"))
FILES = sorted(path.name for path in CI.iterdir())


def texts(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for value in node.values():
            yield from texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value)
    elif isinstance(node, str):
        yield node


def commands(name: str) -> list[str]:
    """The lines of a file that run tec."""
    text = (CI / name).read_text(encoding="utf-8")
    found = texts(yaml.safe_load(text)) if name in YAML else [text]
    return [line.strip() for one in found for line in one.splitlines() if re.match(r"\s*tec ", line)]


def parse(line: str) -> dict[str, Any]:
    """The parameters of a command; fails as the command would."""
    words = shlex.split(line.replace("$(RULES)", "rules"))[1:]
    name = max((name for name in COMMANDS if words[: len(name.split())] == name.split()), key=len)
    app = new_app()
    app.command(context_settings=CONTEXT)(load(name))
    command = typer.main.get_command(app)
    simplify(command)
    parameters: dict[str, Any] = command.make_context(f"tec {name}", words[len(name.split()) :]).params
    return parameters


@pytest.mark.parametrize("name", FILES)
def test_every_command_is_understood(name: str) -> None:
    found = commands(name)
    assert found
    for line in found:
        parse(line)
    assert any(line.startswith("tec test rules") or "tec test $(RULES)" in line for line in found)


def test_a_command_that_is_not_ours_is_found() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse("tec test rules --junitt x")


def test_the_readme_names_every_file() -> None:
    text = (CI / "README.md").read_text(encoding="utf-8")
    assert [name for name in FILES if name != "README.md" and f"`{name}`" not in text] == []


def test_github() -> None:
    flow = yaml.safe_load((CI / "github.yml").read_text(encoding="utf-8"))
    assert set(flow[True]) == {"push", "pull_request", "schedule"}  # YAML 1.1 reads `on` as a truth
    for job in flow["jobs"].values():
        assert job["runs-on"]
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])
    written = parse(next(line for line in commands("github.yml") if "--junit" in line))
    uploaded = flow["jobs"]["test"]["steps"][-1]["with"]["path"].split()
    assert uploaded == [str(written["junit"]), str(written["cov_json"])]


def test_gitlab() -> None:
    flow = yaml.safe_load((CI / "gitlab-ci.yml").read_text(encoding="utf-8"))
    (line,) = [line for line in commands("gitlab-ci.yml") if "--junit" in line]
    written = parse(line)
    reports = flow["rules"]["artifacts"]["reports"]
    assert reports["junit"] == str(written["junit"])
    assert f"gitlab={reports['codequality']}" == written["annotations"]
    pattern = flow["rules"]["coverage"]
    match = re.search(pattern.strip("/"), "  coverage of rules/default: 93 % (1 of 2)")
    assert match is not None and match[1] == "93"


def test_azure() -> None:
    flow = yaml.safe_load((CI / "azure-pipelines.yml").read_text(encoding="utf-8"))
    assert all(("task" in step) != ("script" in step) for step in flow["steps"])
    (line,) = [line for line in commands("azure-pipelines.yml") if "--junit" in line]
    assert flow["steps"][-1]["inputs"]["testResultsFiles"] == str(parse(line)["junit"])


def test_pre_commit() -> None:
    (repo,) = yaml.safe_load((CI / "pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    (hook,) = repo["hooks"]
    assert repo["repo"] == "local"
    pattern = re.compile(hook["files"])
    for name in ("TEC_RULES/a.rls", "TEC_RULES/rule_sets", "TEC_CLASSES/.load_classes", "tests/a.yaml"):
        assert pattern.search(f"rules/{name}")
    assert not pattern.search("rules/README.md")
    assert not pattern.search("other/a.rls")


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_the_makefile_is_one() -> None:
    done = subprocess.run(
        ["make", "-n", "-f", CI / "rules.mk", "rules-check", "rules-test", "rules-mutate", "RULES=here"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "tec lint here\n" in done.stdout
