"""Runs actions of the OCF agents as a cluster manager does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.faults.harness import ROOT

AGENTS = ROOT / "packaging" / "ocf"
TEC = Path(sys.executable).parent / "tec"
SUCCESS, GENERIC, UNIMPLEMENTED, INSTALLED, CONFIGURED, NOT_RUNNING = 0, 1, 3, 5, 6, 7


class Agent:
    """One resource of an agent. `agent("start")` gives the exit status; `said` is what the agent wrote about it."""

    def __init__(self, name: str, **parameters: object) -> None:
        self.program = AGENTS / name
        self.parameters = {"tec": TEC} | parameters
        self.said = ""
        self.took = 0.0

    def __call__(self, action: str, **parameters: object) -> int:
        given = {f"OCF_RESKEY_{name}": str(value) for name, value in (self.parameters | parameters).items()}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TEC_", "OCF_"))}
        begun = time.monotonic()
        done = subprocess.run(
            [str(self.program), action],
            env={**kept, **given, "OCF_ROOT": "/usr/lib/ocf", "OCF_RESOURCE_INSTANCE": "test"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.took = time.monotonic() - begun
        self.said = done.stdout + done.stderr
        return done.returncode


def openers(directory: Path) -> list[str]:
    """Processes that have a file open below a directory, or stand in it."""
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            links = [entry / "cwd", *(entry / "fd").iterdir()]
        except OSError:
            continue
        for link in links:
            try:
                if link.readlink().is_relative_to(directory):
                    found.add(f"{entry.name} {link.readlink()}")
            except OSError:
                continue
    return sorted(found)
