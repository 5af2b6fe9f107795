"""The quick start of docs/adapters.md and examples/logfile-adapter, run as a newcomer would, in real processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.harness import free_port, wait_for

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "logfile-adapter"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Runs a program as a user whose home is empty and to whom `tec` and the adapter are installed.

    A server that is left in ~/events is stopped at the end.
    """
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, line in (
        ("tec", "-m opentec.commands.main"),
        ("tecad_logfile", "-m opentec.commands.main adapter logfile"),
        ("python3", ""),
    ):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {line} "$@"\n')
        (programs / name).chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    runtime = tempfile.mkdtemp(prefix="tec-", dir="/tmp")  # sockets have short names only
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TEC_")},
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(home),
        "TEC_RUNTIME_DIR": runtime,
    }

    def program(*arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            arguments,
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    try:
        yield program
    finally:
        if (home / "events").exists():
            program("tec", "stop", "-d", str(home / "events"))
        shutil.rmtree(runtime)


def test_the_quick_start_leads_to_events(run: Run) -> None:
    part = (ROOT / "docs" / "adapters.md").read_text().partition("## Quick start\n")[2].partition("\n## ")[0]
    commands = re.findall(r"^```sh\n(.*?)^```$", part, flags=re.MULTILINE | re.DOTALL)
    assert len(commands) == 4
    script = "".join(commands).replace("5529", str(free_port()))
    shown = run("sh", "-e", "-c", script).stdout
    wanted = {"Ssh_Login_Failure", "Su_Failure", "Systemd_Unit_Failed"}
    assert wanted <= set(shown.split()), "of `tec adapter try`"

    def listed() -> Any:
        lines = run("tec", "list", "-d", "events", "--json").stdout.splitlines()
        found = {event["class"] for event in map(json.loads, lines) if event["adapter_host"] == "web1"}
        return found >= wanted

    wait_for("the three lines are stored", listed)


def test_the_example_does_what_its_page_shows(run: Run) -> None:
    shown = run("python3", str(EXAMPLE / "run.py")).stdout
    page = (EXAMPLE / "README.md").read_text()
    end = shown.partition("\n\n")[2]
    assert end.endswith("the sums balance\n")
    assert "".join(f"    {line}\n" for line in end.splitlines()) in page
