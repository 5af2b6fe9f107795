"""docs/testing-rules.md and docs/rule-language.md: every command runs as shown, every predicate has its row."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from opentec.rules.control import CONTROL
from opentec.rules.parser_terms import TEST_OPERATORS
from opentec.shipped import shipped
from opentec.testing.spec import CASE_KEYS, SPEC_KEYS, STEP_KEYS

ROOT = Path(__file__).parents[2]
TESTING = ROOT / "docs" / "testing-rules.md"
LANGUAGE = ROOT / "docs" / "rule-language.md"
EXAMPLE = ROOT / "examples" / "first-rule-base"
TEC = "from opentec.commands.main import main; main()"


def blocks() -> list[tuple[str, str]]:
    """Commands of the page, in order, each with the output that it shows, or "" where it shows none."""
    found = re.findall(r"^```(sh|text)\n(.*?)^```$", TESTING.read_text(), flags=re.MULTILINE | re.DOTALL)
    steps: list[tuple[str, str]] = []
    for kind, text in found:
        if kind == "sh":
            steps.append((text, ""))
        else:
            steps[-1] = (steps[-1][0], text)
    return steps


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """An environment in which `tec` and `python3` are those of this checkout."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, line in (("tec", f"-c {shlex.quote(TEC)}"), ("python3", "")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {line} "$@"\n')
        program.chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    # annotations of a CI system that runs this would stand in the output
    quiet = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "TF_BUILD"))}
    return {**quiet, "PATH": path, "OPENTEC_CACHE": str(tmp_path / "cache"), "opentec": str(ROOT)}


def run(command: str, folder: Path, shell: dict[str, str]) -> str:
    """What a command prints, which must end well."""
    done = subprocess.run(
        ["sh", "-e", "-c", command],
        cwd=folder,
        env=shell,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_every_command_of_the_page_does_what_it_shows(tmp_path: Path, shell: dict[str, str]) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    steps = blocks()
    assert len(steps) == 15
    assert sum(bool(shown) for _, shown in steps) == 9
    for command, shown in steps:
        printed = run(command, folder, shell)
        if shown:
            assert printed == shown
    workflow = (folder / ".github" / "workflows" / "rules.yml").read_text()
    commands = re.findall(r"^ *- run: (tec .*)$", workflow, flags=re.MULTILINE)
    assert "\n".join(commands) + "\n" == steps[-1][1]
    for command in commands[:-1]:  # the page has run the last one, but for its processes
        run(command, folder, shell)
    assert (folder / "junit.xml").is_file()


def test_the_example_is_what_the_page_writes() -> None:
    text = TESTING.read_text()
    for name in ("TEC_CLASSES/backup.baroc", "TEC_RULES/backup.rls", "tests/backup.yaml"):
        assert f"cat > {name} <<'END_OF_FILE'\n{(EXAMPLE / name).read_text()}END_OF_FILE\n" in text


@pytest.mark.parametrize("name", ["root.baroc", "tec.baroc"])
def test_the_example_has_the_shipped_base_classes(name: str) -> None:
    assert (EXAMPLE / "TEC_CLASSES" / name).read_text() == (
        shipped("rules", "default", "TEC_CLASSES") / name
    ).read_text()


def test_every_key_has_its_row() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \| (file|test|step) \|", TESTING.read_text(), flags=re.MULTILINE))
    wanted = {("file", SPEC_KEYS), ("test", CASE_KEYS), ("step", STEP_KEYS)}
    assert rows == {(key, place) for place, keys in wanted for key in keys}


@pytest.mark.parametrize("name", sorted({name for name, _ in CONTROL} | set(TEST_OPERATORS)))
def test_every_construct_is_described(name: str) -> None:
    assert re.search(rf"`[^`\n]*(?<![\w=<>\\:]){re.escape(name)}(?![\w=<>\\:])[^`\n]*`", LANGUAGE.read_text())
