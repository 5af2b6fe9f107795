"""Showing a configuration of Pacemaker to crmsh, in a mount namespace that has the shipped agents. Needs root."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.faults.harness import ROOT

SBIN: Final = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_COMMAND: Final = re.compile(r"# ?(?=(?:primitive|clone|group|location|order|property|rsc_defaults) )")

needed = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can show the agents to crmsh in a namespace"),
    pytest.mark.skipif(shutil.which("crm", path=SBIN) is None, reason="crmsh is not installed"),
]


def with_optional_parts(text: str) -> str:
    """The configuration with every command in it that is commented out."""
    found, inside = [], False
    for line in text.splitlines():
        if not inside and _COMMAND.match(line):
            inside = True
        if inside:
            line = line.removeprefix("# ")
            inside = line.endswith("\\")
        found.append(line)
    return "\n".join([*found, ""])


def load(folder: Path, text: str, programs: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Load it into an empty configuration, `folder`/cib.xml, and verify that. `programs`: a folder over /usr/sbin."""
    agents = folder / "resource.d"
    shutil.copytree(ROOT / "packaging" / "ocf", agents / "opentec")
    example, cib = folder / "example.crm", folder / "cib.xml"
    example.write_text(text)
    cib.write_text(subprocess.run(["cibadmin", "--empty"], capture_output=True, text=True, check=True).stdout)
    over = {"/usr/lib/ocf/resource.d": agents} | ({"/usr/sbin": programs} if programs else {})
    mounts = [f"mount -t overlay overlay -o lowerdir={upper}:{folder} {folder}" for folder, upper in over.items()]
    steps = [*mounts, f"crm configure load update {example}", f"crm_verify -x {cib}"]
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", " && ".join(steps)],
        env={**os.environ, "CIB_file": str(cib), "PATH": SBIN, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
