"""The wheel carries what ships, the constraints pin what it needs, and the repository keeps its shape."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from opentec import __version__, shipped
from tests.repo.checkout import ROOT, files, project

FOLDERS = {".ci", "adapters", "bench", "docs", "examples", "packaging", "rules", "src", "tests"}
MAX_LINES = 500


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    entries = [line.partition("==") for line in lines if line and not line.startswith("#")]
    assert all(separator for _, separator, _ in entries), "every line of constraints.txt is name==version"
    return {normal(name): version for name, _, version in entries}


def requirements() -> list[str]:
    data = project()["project"]
    return [*data["dependencies"], *(entry for extra in data["optional-dependencies"].values() for entry in extra)]


@pytest.mark.parametrize("requirement", requirements())
def test_every_requirement_is_pinned(requirement: str) -> None:
    name = re.split(r"[\[<>=!~; ]", requirement)[0]
    assert normal(name) in pins()


def test_indirect_requirements_are_pinned() -> None:
    """What the pinned packages themselves need here is pinned too; an extra of theirs that nobody asked for is not."""
    pinned = pins()
    missing = set()
    for name in pinned:
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for need in needs:
            plain, _, marker = need.partition(";")
            other = normal(re.split(r"[\[(<>=!~; ]", plain.strip())[0])
            if not marker and other not in pinned:
                missing.add(f"{other} (needed by {name})")
    assert missing == set()


def test_no_lock_file_is_committed() -> None:
    locks = {"poetry.lock", "uv.lock", "pdm.lock", "Pipfile.lock", "pylock.toml"}
    assert [path for path in files() if path.name in locks] == []


def test_versions_agree() -> None:
    assert project()["project"]["version"] == __version__


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.mark.parametrize("folder", ["rules", "adapters"])
def test_the_wheel_carries_what_ships(wheel: zipfile.ZipFile, folder: str) -> None:
    ours = {path.relative_to(ROOT).as_posix() for path in files() if path.is_relative_to(ROOT / folder)}
    assert ours
    assert {f"opentec/_data/{name}" for name in ours} <= set(wheel.namelist())


def test_the_wheel_carries_data_and_typing(wheel: zipfile.ZipFile) -> None:
    source = ROOT / "src"
    ours = {path.relative_to(source).as_posix() for path in files() if path.is_relative_to(source)}
    assert "opentec/py.typed" in ours
    assert ours <= set(wheel.namelist())


def test_an_unpacked_wheel_finds_its_shipped_data(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    code = "from opentec.shipped import shipped; print(shipped('rules')); shipped('rules', 'no-such')"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(tmp_path / "opentec" / "_data" / "rules")
    assert "rules/no-such is not among what opentec ships" in done.stderr


def test_a_checkout_finds_its_shipped_data() -> None:
    assert shipped.shipped("rules") == ROOT / "rules"
    assert shipped.shipped("adapters") == ROOT / "adapters"
    with pytest.raises(FileNotFoundError, match="rules/nothing is not among what opentec ships"):
        shipped.shipped("rules", "nothing")


@pytest.mark.parametrize(("command", "target"), sorted(project()["project"]["scripts"].items()))
def test_console_scripts_lead_to_a_function(command: str, target: str) -> None:
    module, _, function = target.partition(":")
    assert callable(getattr(importlib.import_module(module), function, None)), f"{command}: {target} does not exist"


def test_top_level_folders() -> None:
    assert {parts[0] for path in files() if len(parts := path.relative_to(ROOT).parts) > 1} <= FOLDERS


def test_no_source_file_is_too_long() -> None:
    sources = [path for path in files() if path.suffix == ".py" and path.is_relative_to(ROOT / "src")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_packaging_is_no_package() -> None:
    """With an __init__.py the folder would hide the library of the same name from everything run at the root."""
    assert not (ROOT / "packaging" / "__init__.py").exists()
