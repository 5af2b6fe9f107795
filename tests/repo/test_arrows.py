"""The import arrows hold, and the check that says so can fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo.checkout import ROOT

LINT_IMPORTS = str(Path(sys.executable).parent / "lint-imports")
PARTS = ("events", "eif", "rules", "log", "rim", "ha", "server", "adapters", "testing", "commands")


def check_arrows(source: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(source)}
    command = [LINT_IMPORTS, "--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    return subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree with every part and no import."""
    for name in ("", *PARTS):
        folder = tmp_path / "opentec" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
    (tmp_path / "opentec" / "shipped.py").touch()
    return tmp_path


def test_the_source_keeps_the_arrows() -> None:
    done = check_arrows(ROOT / "src")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_tree_without_imports_passes(source: Path) -> None:
    done = check_arrows(source)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("events", "rules"),
        ("rules", "log"),
        ("log", "rim"),
        ("eif", "rules"),
        ("rim", "eif"),
        ("ha", "events"),
        ("ha", "log"),
        ("rules", "server"),
        ("server", "commands"),
    ],
)
def test_a_wrong_arrow_is_found(source: Path, importer: str, imported: str) -> None:
    (source / "opentec" / importer / "wrong.py").write_text(f"import opentec.{imported}\n")
    done = check_arrows(source)
    assert done.returncode == 1
    assert f"opentec.{importer}.wrong -> opentec.{imported}" in done.stdout


def test_a_part_that_no_contract_knows_is_found(source: Path) -> None:
    (source / "opentec" / "elsewhere.py").touch()
    assert check_arrows(source).returncode == 1
