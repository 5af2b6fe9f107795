"""Running an example of examples/redbook or examples/topologies as a person would, and seeing that nothing stays."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.faults.harness import ROOT, processes, wait_for

LATE = 10.0  # seconds by which a busy machine may break a promised gap
_GAP = re.compile(r"^ +gap +(.+): ([0-9.]+) s without an acknowledgement, promised ([0-9.]+) s", re.MULTILINE)


@dataclass
class Ran:
    """An example that has ended. `checks`: what it said of each check, "ok" or "FAIL" first."""

    status: int
    lines: list[str]
    gaps: dict[str, tuple[float, float]]  # what -> seconds, promised seconds

    @property
    def last(self) -> str:
        return self.lines[-1]

    @property
    def checks(self) -> list[str]:
        return [line.strip() for line in self.lines if line.startswith(("    ok ", "    FAIL"))]


def environment(folder: Path) -> Mapping[str, str]:
    """The example makes its folder in `folder`."""
    return {**os.environ, "TMPDIR": str(folder)}


def run(example: str, folder: Path, *arguments: str) -> Ran:
    """Run it; asserts that it leaves no process, no file and no mount in `folder`."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / example / "run.py"), *arguments],
        env=environment(folder),
        cwd=folder,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=170,
    )
    nothing_left(folder)
    print(done.stdout)  # the story of a failure
    gaps = {what: (float(seconds), float(promised)) for what, seconds, promised in _GAP.findall(done.stdout)}
    return Ran(done.returncode, done.stdout.splitlines(), gaps)


def nothing_left(folder: Path) -> None:
    """No process that names `folder`, nothing in it, nothing mounted there."""
    wait_for("the last process ends", lambda: not [one for one in processes() if str(folder) in one.title], 5)
    assert str(folder) not in Path("/proc/self/mounts").read_text()
    assert list(folder.iterdir()) == []


def sound(ran: Ran, verdict: str, checks: int) -> None:
    """It ended well: so many checks, its gaps not grossly broken, and its last line."""
    assert ran.status == 0, ran.lines
    assert ran.last == verdict
    assert [check.split()[0] for check in ran.checks] == ["ok"] * checks
    for what, (seconds, promised) in ran.gaps.items():
        assert seconds < promised + LATE, what
