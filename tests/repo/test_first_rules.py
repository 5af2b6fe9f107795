"""The first ten minutes of docs/rule-language.md: what a newcomer types gives what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.repo.checkout import ROOT

_SECTION: Final = (ROOT / "docs/rule-language.md").read_text().partition("## The first ten minutes")[2]
TEXT: Final = _SECTION.partition("\n### ")[0]


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)


def run(*command: str, folder: Path) -> str:
    # python3 of the page is the one that opentec is installed for
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_rules_pass_the_tests_as_the_page_shows(tmp_path: Path) -> None:
    (commands,), (tests,), (shown,) = blocks("sh"), blocks("yaml"), blocks("text")
    rules = blocks("prolog")
    assert len(rules) == 4
    run("sh", "-e", "-c", commands, folder=tmp_path)
    folder = tmp_path / "mine"
    (folder / "TEC_RULES/first.rls").write_text("\n".join(rules))
    (folder / "tests/first.yaml").write_text(tests)
    assert run(sys.executable, "-m", "opentec.commands.main", "test", folder=folder) == shown
