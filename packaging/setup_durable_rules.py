"""Builds durable-rules where this machine can, tries it in a process of its own, and leaves it out where it fails.

It is a C extension without wheels, so it needs a compiler and Python's headers. It still calls PyEval_CallObject, which
Python 3.13 no longer exports; CPPFLAGS points that call at its successor. pip would otherwise keep a build without the
flag in its cache, hence --no-cache-dir. Without it the built-in indexed selector does the same work.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

REQUIREMENT = "durable-rules==2.0.28"
CPPFLAGS = "-O2 -DPyEval_CallObject=PyObject_CallObject"
BUILD_SECONDS = 300
SELF_TEST_SECONDS = 30

# The narrow subset that opentec uses: one trigger fact, a class flag and an equality, one match and one that is none.
SELF_TEST = """
import json
import durable_rules_engine as engine

rules = {"r0": {"all": [{"new": {"$and": [{"isa.NT_Disk": 1}, {"severity": "FATAL"}]}}], "pri": 1, "cap": 65535}}
handle = engine.create_ruleset("self-test", json.dumps(rules))

def matches(severity):
    fact = {"id": "n", "isa": {"NT_Disk": 1, "EVENT": 1}, "severity": severity}
    code, state = engine.assert_fact(handle, json.dumps(fact))
    found = []
    if code == 0:
        started = engine.start_action_for_state(handle, state)
        message = started and started[1]
        while message:
            found += json.loads(message)
            message = engine.complete_and_start_action(handle, state)
        engine.retract_fact(handle, '{"id": "n"}')
    return found

assert matches("FATAL") == ["r0"], "a matching fact selected no rule"
assert matches("WARNING") == [], "a fact that does not match selected a rule"
assert matches("FATAL") == ["r0"], "the second matching fact selected no rule"
engine.delete_ruleset(handle)
"""

HEADERS_PROBE = "import pathlib, sysconfig; print(pathlib.Path(sysconfig.get_path('include'), 'Python.h').is_file())"


def self_test(python: Path) -> bool:
    """Whether the durable-rules of `python` imports and selects rightly; a crash or a hang there costs us nothing."""
    try:
        done = subprocess.run(
            [str(python), "-c", SELF_TEST], capture_output=True, timeout=SELF_TEST_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def missing_for_build(python: Path) -> str:
    """What a build lacks, with the Debian packages that bring it; "" when nothing."""
    if not any(shutil.which(name) for name in ((os.environ.get("CC") or "cc").split()[0], "gcc")):
        return "no C compiler (apt-get install gcc python3-dev)"
    probe = subprocess.run([str(python), "-c", HEADERS_PROBE], capture_output=True, text=True, check=False)
    if probe.stdout.strip() != "True":
        return "no Python headers (apt-get install python3-dev)"
    return ""


def run_pip(python: Path, arguments: list[str], constraints: Path) -> bool:
    environment = {
        **os.environ,
        "CPPFLAGS": CPPFLAGS,
        "PIP_CONSTRAINT": str(constraints),
        "PIP_BUILD_CONSTRAINT": str(constraints),
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    command = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", *arguments]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=BUILD_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def install(python: Path, constraints: Path) -> str:
    """Install durable-rules for `python` if it builds and passes its self-test; one line that says how it went."""
    if self_test(python):
        return "durable-rules passed its self-test: it is the default selector"
    reason = missing_for_build(python)
    if not reason:
        built = run_pip(python, ["install", "--no-cache-dir", "--force-reinstall", REQUIREMENT], constraints)
        if built and self_test(python):
            return "durable-rules built, self-test passed: it is the default selector"
        reason = "it failed its self-test on this Python" if built else "it could not be built"
    run_pip(python, ["uninstall", "--yes", "durable-rules"], constraints)
    return f"durable-rules left out: {reason}; the built-in indexed selector is used"
