"""What an operator should know although the server is healthy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from opentec.server import report
from opentec.server.config import load_config
from tests.server.kit import make_instance


def warnings(tmp_path: Path, ha: str) -> list[str]:
    instance = make_instance(tmp_path / "tec", f"[ha]\n{ha}\n")
    return report.warnings_of(instance, load_config(instance))


@pytest.fixture(autouse=True)
def sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of which nothing else is to be said."""
    monkeypatch.setattr(report, "version_warnings", lambda version: [])
    monkeypatch.setattr(report, "network_file_system", lambda path: "")


def test_a_fencing_program_that_cannot_be_run(tmp_path: Path) -> None:
    assert warnings(tmp_path, "") == []
    program = tmp_path / "fence"
    command = f'fence_command = ["{program}", "{{node}}"]'
    missing = f"ha.fence_command: there is no program {program} on this node; install it, or correct the path"
    assert warnings(tmp_path, command) == [missing]
    program.mkdir()
    assert warnings(tmp_path, command) == [missing]
    program.rmdir()
    program.touch(0o600)
    assert warnings(tmp_path, command) == [
        f"ha.fence_command: user {os.geteuid()} may not run {program}; check its owner and mode"
    ]
    program.chmod(0o700)
    assert warnings(tmp_path, command) == []


def test_it_comes_beside_other_warnings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "network_file_system", lambda path: "nfs")
    first, second = warnings(tmp_path, 'fence_command = ["/no/such/fence"]')
    assert "is on a nfs file system" in first and "there is no program /no/such/fence" in second
