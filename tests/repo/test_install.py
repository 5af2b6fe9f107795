"""Set-up: what it says when something is missing, and what it leaves alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.repo.checkout import ROOT, script


@pytest.fixture
def setup_venv(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    script("setup_durable_rules", monkeypatch)
    return script("setup_venv", monkeypatch)


@pytest.fixture
def durable(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("setup_durable_rules", monkeypatch)


def fake_python(folder: Path, name: str, *, new_enough: bool, has_venv: bool) -> Path:
    """A program that answers find_python.sh's two questions as told."""
    path = folder / name
    path.write_text(
        "#!/bin/sh\ncase $2 in\n"
        f"*version_info\\ \\<*) exit {0 if new_enough else 1};;\n"
        f"*ensurepip*) exit {0 if has_venv else 1};;\n"
        "*print*) echo python3.12-venv;;\nesac\n"
    )
    path.chmod(0o755)
    return path


def find_python(path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(ROOT / "packaging" / "find_python.sh")],
        env={"PATH": str(path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_first_good_python_is_taken(tmp_path: Path) -> None:
    fake_python(tmp_path, "python3", new_enough=False, has_venv=True)
    fake_python(tmp_path, "python3.13", new_enough=True, has_venv=False)
    good = fake_python(tmp_path, "python3.12", new_enough=True, has_venv=True)
    assert find_python(tmp_path).stdout.strip() == str(good)


def test_a_python_without_venv_names_its_package(tmp_path: Path) -> None:
    bad = fake_python(tmp_path, "mypython", new_enough=True, has_venv=False)
    done = find_python(tmp_path, PYTHON="mypython")
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"setup: {bad} cannot make virtual environments; on Debian: apt-get install python3.12-venv"
    )


def test_an_unusable_python_is_named(tmp_path: Path) -> None:
    fake_python(tmp_path, "old", new_enough=False, has_venv=True)
    done = find_python(tmp_path, PYTHON="old")
    assert done.returncode == 1
    assert "PYTHON=old is not a Python 3.11 or newer" in done.stderr


def make_stamp(setup_venv: ModuleType, root: Path) -> Path:
    for name in setup_venv.INPUTS:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(name)
    venv = root / ".venv"
    venv.mkdir()
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.12.1\n")
    (venv / ".setup-stamp").write_text(setup_venv.digest(root))
    return venv


def test_a_stamp_holds_until_an_input_changes(setup_venv: ModuleType, tmp_path: Path) -> None:
    venv = make_stamp(setup_venv, tmp_path)
    assert setup_venv.is_current(tmp_path, venv)
    assert setup_venv.is_current(tmp_path, venv, "3.12")
    assert not setup_venv.is_current(tmp_path, venv, "3.13")
    (tmp_path / "constraints.txt").write_text("changed")
    assert not setup_venv.is_current(tmp_path, venv)


def test_no_environment_is_not_current(setup_venv: ModuleType, tmp_path: Path) -> None:
    make_stamp(setup_venv, tmp_path)
    assert not setup_venv.is_current(tmp_path, tmp_path / "elsewhere")
    assert setup_venv.venv_version(tmp_path / "elsewhere") == ""


def test_a_failed_install_shows_the_end_of_pips_output(setup_venv: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    output = "\n".join(f"line {n}" for n in range(100))
    monkeypatch.setattr(setup_venv, "pip", lambda *_: subprocess.CompletedProcess([], 1, output))
    with pytest.raises(setup_venv.SetupFailed, match="could not install hatchling") as caught:
        setup_venv.pip_install(Path("python"), "hatchling")
    assert "line 99" in str(caught.value)
    assert "line 10\n" not in str(caught.value)
    assert "make setup again" in str(caught.value)


@pytest.mark.parametrize(("status", "said"), [(0, "evtx installed"), (1, "evtx left out: no wheel")])
def test_evtx_costs_a_line_at_most(
    setup_venv: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int,
    said: str,
) -> None:
    monkeypatch.setattr(setup_venv, "pip", lambda *_: subprocess.CompletedProcess([], status, ""))
    setup_venv.install_nt(Path("python"))
    assert said in capsys.readouterr().out


def test_no_compiler_is_one_line(durable: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran = []
    monkeypatch.setattr(durable, "self_test", lambda _: False)
    monkeypatch.setattr(durable, "run_pip", lambda _, arguments, __: ran.append(arguments[0]) or True)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert durable.install(Path(sys.executable), tmp_path) == (
        "durable-rules left out: no C compiler (apt-get install gcc python3-dev); the built-in indexed selector is used"
    )
    assert ran == ["uninstall"]


@pytest.mark.parametrize(
    ("built", "passes", "said"),
    [
        (True, True, "durable-rules built, self-test passed"),
        (True, False, "durable-rules left out: it failed its self-test"),
        (False, False, "durable-rules left out: it could not be built"),
    ],
)
def test_a_build_counts_only_when_it_passes_its_self_test(
    durable: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, built: bool, passes: bool, said: str
) -> None:
    tests = iter([False, passes])
    ran = []
    monkeypatch.setattr(durable, "self_test", lambda _: next(tests))
    monkeypatch.setattr(durable, "missing_for_build", lambda _: "")
    monkeypatch.setattr(durable, "run_pip", lambda _, arguments, __: ran.append(arguments[0]) or built)
    assert durable.install(Path("python"), tmp_path).startswith(said)
    assert ran == (["install"] if passes else ["install", "uninstall"])


def test_the_self_test_sees_a_broken_module(
    durable: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "durable_rules_engine.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert not durable.self_test(Path(sys.executable))


def test_the_self_test_passes_where_the_module_is_sound(durable: ModuleType) -> None:
    pytest.importorskip("durable_rules_engine", reason="durable-rules is not installed here")
    assert durable.self_test(Path(sys.executable))


def test_ci_runs_from_anywhere_without_an_active_environment() -> None:
    run = ROOT / ".ci" / "run"
    assert os.access(run, os.X_OK)
    text = run.read_text()
    assert "set -euo pipefail" in text
    assert text.rstrip().endswith("ci")
