"""Examples that are started with a Python that cannot run them say in one sentence what to run."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from tests.faults.harness import ROOT

RUNS = sorted(path for folder in ("redbook", "topologies") for path in (ROOT / "examples" / folder).glob("*/run.py"))
OLDEST = (3, 6)  # what a machine of 2018 has as its python3


@pytest.fixture
def interpreter() -> ModuleType:
    """The module, in a Python that has everything."""
    spec = importlib.util.spec_from_file_location("interpreter", ROOT / "examples/redbook/interpreter.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_are_examples() -> None:
    assert len(RUNS) == 7


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.parent.name)
def test_without_opentec_it_says_what_to_run(path: Path, tmp_path: Path) -> None:
    # -S: without what is installed in .venv
    done = subprocess.run(
        [sys.executable, "-S", "-B", str(path)], cwd=tmp_path, capture_output=True, text=True, timeout=30
    )
    name = path.relative_to(ROOT)
    said = (
        f"{name}: {sys.executable} has no opentec; run `make setup` in {ROOT}, then there `.venv/bin/python {name}`\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


@pytest.mark.parametrize(
    "path", [*RUNS, ROOT / "examples/redbook/interpreter.py"], ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_an_old_python_understands_it_up_to_the_message(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=OLDEST)
    imported = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imported]
    assert "__future__" not in names  # annotations are not known before 3.7
    if path in RUNS:
        before = names[: names.index("interpreter")]
        assert set(before) <= sys.stdlib_module_names | {"collections.abc"}
        assert "typing" not in {node.module for node in imported if isinstance(node, ast.ImportFrom)}


def test_what_a_python_lacks(interpreter: ModuleType) -> None:
    assert interpreter.trouble((3, 11, 0), lambda name: name) == ""
    assert interpreter.trouble((3, 10, 9), lambda name: name) == "is Python 3.10, and 3.11 is needed"
    assert interpreter.trouble((3, 13, 0), {"msgspec": 1}.get) == "has no opentec"
    assert interpreter.trouble((3, 13, 0), {"opentec": 1}.get) == "has no opentec"


def test_the_needed_python_is_that_of_the_project(interpreter: ModuleType) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">={}.{}".format(*interpreter.NEEDED)


def test_a_script_of_another_place_has_its_whole_path(interpreter: ModuleType) -> None:
    assert interpreter.advice("/elsewhere/run.py", "x").startswith(f"/elsewhere/run.py: {sys.executable} x; run ")
