"""Makes or refreshes .venv: opentec in editable form, its tools, and the extras that this machine can have.

Run by `make setup` with the Python that packaging/find_python.sh chose; standard library only. A stamp in .venv holds a
digest of everything that decides its content, and is written last: an interrupted run is simply continued by the next.
`--check` says by its exit status whether .venv is up to date (0) or not (1), and does nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import setup_durable_rules

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
INPUTS = (
    "pyproject.toml",
    "constraints.txt",
    "packaging/setup_venv.py",
    "packaging/setup_durable_rules.py",
)
PIP_TAIL = 15
"""Lines of pip's output shown when it fails."""


class SetupFailed(Exception):
    """Set-up cannot go on; the text says what failed and what to do."""


def digest(root: Path) -> str:
    """The fingerprint of the files under `root` that decide what .venv contains."""
    total = hashlib.sha256()
    for name in INPUTS:
        total.update(f"{name}\0".encode() + (root / name).read_bytes() + b"\0")
    return total.hexdigest()


def venv_version(venv: Path) -> str:
    """The version of the Python in `venv` as "3.11"; "" when there is no environment."""
    configuration = venv / "pyvenv.cfg"
    lines = configuration.read_text().splitlines() if configuration.is_file() else []
    for line in lines:
        key, _, value = line.partition("=")
        if key.strip() in ("version", "version_info"):
            return ".".join(value.strip().split(".")[:2])
    return ""


def is_current(root: Path, venv: Path, wanted: str = "") -> bool:
    """Whether `venv` was set up completely from the present files of `root`, with Python `wanted` when given."""
    stamp = venv / ".setup-stamp"
    if wanted and venv_version(venv) != wanted:
        return False
    return stamp.is_file() and stamp.read_text() == digest(root)


def say(text: str) -> None:
    print(f"setup: {text}", flush=True)


def pip(python: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run pip in the environment of `python`, with the constraints; gives the finished process, output in `stdout`."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    environment = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def pip_install(python: Path, *arguments: str) -> None:
    """Install what opentec cannot do without. Raises SetupFailed with the end of pip's output."""
    done = pip(python, ["install", "--quiet", "--constraint", "constraints.txt", *arguments])
    if done.returncode != 0:
        tail = "\n".join(f"    {line}" for line in done.stdout.splitlines()[-PIP_TAIL:])
        raise SetupFailed(
            f"pip could not install {arguments[-1]}:\n{tail}\n"
            "Check the network and pip's configuration (python3 -m pip config list), then run make setup again."
        )


def make_venv(venv: Path, wanted: str) -> Path:
    """A working environment at `venv`, kept when it works and has Python `wanted` (any version when ""); its Python."""
    python = venv / "bin" / "python"
    if python.exists() and wanted in ("", venv_version(venv)):
        probe = subprocess.run([str(python), "-c", "import pip"], capture_output=True, check=False)
        if probe.returncode == 0:
            return python
    say(f"making .venv with Python {sys.version.split()[0]}")
    if venv.exists():
        shutil.rmtree(venv)
    made = subprocess.run([sys.executable, "-m", "venv", str(venv)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise SetupFailed(
            f"{sys.executable} -m venv failed: {(made.stdout + made.stderr).strip()}\n"
            f"On Debian: apt-get install python{sys.version_info.major}.{sys.version_info.minor}-venv"
        )
    return python


def install_nt(python: Path) -> None:
    """The library behind tecad_nt's .evtx files: compiled wheels only, because its source needs a Rust compiler."""
    arguments = ["install", "--quiet", "--constraint", "constraints.txt", "--only-binary", "evtx", "evtx"]
    if pip(python, arguments).returncode == 0:
        say("evtx installed: tecad_nt reads .evtx files")
    else:
        say("evtx left out: no wheel for this Python and machine; tecad_nt reads JSON lines only")


def set_up(root: Path, venv: Path, wanted: str) -> None:
    """Bring `venv` up to date. Raises SetupFailed; whatever is optional costs one line instead."""
    started = time.monotonic()
    stamp = venv / ".setup-stamp"
    stamp.unlink(missing_ok=True)
    python = make_venv(venv, wanted)
    say("installing opentec and its tools (a minute on the first run)")
    pip_install(python, "hatchling")
    pip_install(python, "--no-build-isolation", "--editable", ".[dev]")
    install_nt(python)
    say(setup_durable_rules.install(python, root / "constraints.txt"))
    stamp.write_text(digest(root))
    say(f"ready in {time.monotonic() - started:.0f} s")


def main(arguments: Sequence[str]) -> int:
    if "--check" in arguments:
        return 0 if is_current(ROOT, VENV) else 1
    asked_for = "{}.{}".format(*sys.version_info[:2]) if os.environ.get("PYTHON") else ""
    with (ROOT / ".setup-stamp.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_current(ROOT, VENV, asked_for):
            return 0
        try:
            set_up(ROOT, VENV, asked_for)
        except SetupFailed as error:
            print(f"setup: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
