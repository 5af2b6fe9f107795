"""Runs the named checks in order, each with a line for its time and its budget; stops at the first that fails.

`make test`, `make ci` and `make nightly` are lists of these names. A step that hangs is ended, with its children, at
three times its budget, so that CI always reports. With --keep-going a failure ends nothing: what takes hours shall say
all that it can. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
PYTEST = (PYTHON, "-m", "pytest")
UNIT = "not acceptance and not faults and not nightly"
CODE = tuple(name for name in ("src", "packaging", "tests", "examples", "bench") if (ROOT / name).is_dir())
HANG_FACTOR = 3
KEEP_GOING = "--keep-going"
# a test of the night may take minutes; where each thread is then is of no interest
PATIENT = ("-o", "faulthandler_timeout=1800")


def chaos(kills: int, stops: int) -> tuple[str, ...]:
    seed = os.environ.get("SEED", "1")
    return (PYTHON, "-m", "tests.faults.chaos", "--kills", str(kills), "--stops", str(stops), "--seed", seed)


def section(name: str, count: int) -> tuple[str, ...]:
    seed = os.environ.get("SEED", "1")
    return (PYTHON, "-m", "tests.faults.chaos", "--section", name, "--count", str(count), "--seed", seed)


@dataclass(frozen=True)
class Step:
    """One check: its command, and its budget in seconds."""

    command: tuple[str, ...]
    budget: float


STEPS = {
    "lint": Step((PYTHON, "-m", "ruff", "check", *CODE), 10),
    "format": Step((PYTHON, "-m", "ruff", "format", "--check", *CODE), 10),
    "types": Step((PYTHON, "-m", "mypy", "--strict"), 60),
    "arrows": Step((str(Path(PYTHON).parent / "lint-imports"), "--no-cache"), 20),
    "unit": Step(
        (*PYTEST, "-n", "2", "-m", UNIT, "--durations=5", "--cov", "--cov-report=", "--cov-report=json:coverage.json"),
        300,
    ),
    # one changed rule set stays within the budget; a change of all of them takes as long as it takes
    "mutation": Step((PYTHON, "-m", "tests.rules_default.mutated"), 120),
    "coverage": Step((PYTHON, "packaging/check_coverage.py", "coverage.json"), 10),
    "acceptance": Step(
        (*PYTEST, "-n", "2", "--dist", "loadfile", "-m", "acceptance and not nightly", "--durations=5"), 240
    ),
    "faults": Step((*PYTEST, "-n", "2", "-m", "faults and not nightly", "--durations=5"), 120),
    "chaos": Step(chaos(9, 3), 90),
    "chaos-mix": Step(section("mix", 17), 90),
    "nightly": Step((*PYTEST, "-m", "nightly", "--ignore=tests/pacemaker", "--durations=10", *PATIENT), 2700),
    "properties": Step(
        (
            *("env", "HYPOTHESIS_PROFILE=nightly", *PYTEST, "-n", "2", "--dist", "worksteal", "--durations=10"),
            *("-m", f"hypothesis and {UNIT}", *PATIENT),
        ),
        1800,
    ),
    "nightly-chaos": Step(chaos(200, 50), 900),
    "nightly-mix": Step((*section("mix", 170), "--required"), 900),
    # needs root and the packages of a cluster; where they are missing it says so and is no failure
    "pacemaker": Step((*PYTEST, "-m", "nightly", "-rs", "-s", "tests/pacemaker", *PATIENT), 600),
    # a set-up and all unit tests for each
    "pythons": Step(("bash", "packaging/check_pythons.sh"), 1500),
    "bench": Step((PYTHON, "-m", "bench"), 1200),
    "bench-gap": Step((PYTHON, "-m", "bench", "gap", "--rounds", "10", "--waiting", "0", "--check"), 600),
    "bench-rules": Step((PYTHON, "-m", "bench", "rules", "--check"), 900),
    "bench-default": Step((PYTHON, "-m", "bench", "default", "--check"), 300),
    "bench-tester": Step((PYTHON, "-m", "bench", "tester", "--check"), 180),
}


def run(step: Step) -> int:
    """The step's exit status; 124, as of timeout(1), when it hung."""
    process = subprocess.Popen(step.command, cwd=ROOT, start_new_session=True)
    try:
        return process.wait(step.budget * HANG_FACTOR)
    except subprocess.TimeoutExpired:
        return 124
    finally:
        # Also after success: a server that a failed test left behind must not outlive its step.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run_steps(
    names: Sequence[str],
    steps: dict[str, Step],
    clock: Callable[[], float] = time.monotonic,
    *,
    keep_going: bool = False,
) -> int:
    """Run the steps in order, up to the first that fails or all of them; 0, or the status of the first that failed."""
    begun = clock()
    failed: dict[str, int] = {}
    for name in names:
        step = steps[name]
        print(f"== {name}: {' '.join(step.command[1:])}", flush=True)
        started = clock()
        status = run(step)
        took = clock() - started
        if status != 0:
            what = f"hung, ended after {took:.0f} s" if status == 124 else f"failed with status {status}"
            print(f"== {name}: {what}, after {took:.1f} s; again alone: {shlex.join(step.command)}", flush=True)
            failed[name] = status
            if not keep_going:
                return status
            continue
        over = "" if took <= step.budget else "   OVER ITS BUDGET"
        print(f"== {name}: ok in {took:.1f} s (budget {step.budget:.0f} s){over}", flush=True)
    if failed:
        print(f"== failed, of {len(names)} steps in {clock() - begun:.0f} s: {', '.join(failed)}", flush=True)
        return next(iter(failed.values()))
    print(f"== ok in {clock() - begun:.0f} s: {', '.join(names)}", flush=True)
    return 0


def main(arguments: Sequence[str]) -> int:
    names = [name for name in arguments if name != KEEP_GOING]
    unknown = [name for name in names if name not in STEPS]
    if unknown or not names:
        print(
            f"ci.py: unknown step {', '.join(unknown) or '(none given)'}; there are {', '.join(STEPS)}", file=sys.stderr
        )
        return 2
    # a step leads a session of its own: only we can end it when somebody ends us
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    return run_steps(names, STEPS, keep_going=KEEP_GOING in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
