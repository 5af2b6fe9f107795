"""The tester: 1,000 tests of ten events each on the shipped rule base, and how long `tec test` takes to start.

`python -m bench tester` prints medians of interleaved rounds, with what a Python that does nothing takes beside them;
`--check` fails where a limit is exceeded. The limits are those of two cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from opentec.shipped import shipped

CASES: Final = 1000
EVENTS: Final = 10  # of each case
FILES: Final = 10
STARTS: Final = 10
LIMITS: Final = {"-j 2": 10.0, "no test of that name": 0.5, "--collect-only": 0.5, "one test": 0.5}  # seconds
TEC: Final = (sys.executable, "-c", "from opentec.commands.main import main; main()")
NAME: Final = "a storm is over when it was quiet for two minutes, and tells its total"

Found = dict[str, list[float]]  # seconds of each round, by what was run


def case(number: int) -> str:
    """A test of ten events: log lines, a problem three times, another one, a recovery."""
    host = f"host{number}"
    slots = f"hostname: {host}, severity: WARNING"
    events = [
        *(f"class: Logfile_Message, hostname: {host}, program: app, msg: line {line}" for line in range(3)),
        *[f"class: NT_Disk_Full, {slots}, drive: C"] * 3,
        *(f"class: Systemd_Unit_Failed, {slots}, unit: unit{unit}" for unit in range(2)),
        f"class: Kernel_Link_Down, {slots}, interface: eth0",
        f"class: Kernel_Link_Up, hostname: {host}, interface: eth0",
    ]
    assert len(events) == EVENTS
    lines = [f"  - name: case {number}", "    steps:"]
    lines += [f"      - {{at: {second}s, event: {{{event}}}}}" for second, event in enumerate(events)]
    lines += [
        f"      - at: {EVENTS}s",
        "        expect:",
        "          - {class: NT_Disk_Full, drive: C, repeat_count: 2}",
        "          - {class: Systemd_Unit_Failed, unit: unit1, status: OPEN}",
        "          - {class: Kernel_Link_Down, status: CLOSED}",
        "        expect_no: [{class: Kernel_Link_Up}]",
    ]
    return "\n".join(lines)


def write(folder: Path, cases: int, files: int = FILES) -> None:
    """The tests, as files of one folder."""
    (folder / "tests").mkdir(parents=True)
    each = -(-cases // files)
    for begin in range(0, cases, each):
        tests = "\n".join(case(number) for number in range(begin, min(begin + each, cases)))
        text = f"rulebase: {shipped('rules', 'default')}\ntests:\n{tests}\n"
        (folder / "tests" / f"{begin:06}.yaml").write_text(text, encoding="utf-8")


def timed(command: Sequence[str], environment: Mapping[str, str], status: int, last: str) -> float:
    """Seconds that a program takes. Raises RuntimeError where it does not end as it should."""
    begun = time.perf_counter()
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False
    )
    took = time.perf_counter() - begun
    if done.returncode != status or not done.stdout.rstrip().endswith(last):
        raise RuntimeError(f"{' '.join(command[2:])} ended with {done.returncode}: {done.stdout[-1000:]}")
    return took


def runs(folder: Path, environment: Mapping[str, str], cases: int) -> Iterator[tuple[str, float]]:
    """One round of whole runs."""
    # files, as a folder would bring the examples of the rule base too
    files = [str(path) for path in sorted((folder / "tests").iterdir())]
    for jobs in ("1", "2"):
        command = [*TEC, "test", *files, "-j", jobs]
        yield f"-j {jobs}", timed(command, environment, 0, f"{cases} passed")


def starts(environment: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    """One round of starts."""
    default = str(shipped("rules", "default"))
    yield "python, nothing", timed([sys.executable, "-c", ""], environment, 0, "")
    yield "no test of that name", timed([*TEC, "test", default, "-k", "onetest"], environment, 5, "in its name")
    yield "--collect-only", timed([*TEC, "test", default, "--collect-only"], environment, 0, " tests")
    yield "one test", timed([*TEC, "test", default, "-k", NAME], environment, 0, "1 passed")


def measure(rounds: int, cases: int = CASES, count: int = STARTS) -> Found:
    """Seconds of everything, with a cache of its own that is warm."""
    found: Found = {}
    with tempfile.TemporaryDirectory(prefix="tec-bench-") as name:
        folder = Path(name)
        environment = {**os.environ, "OPENTEC_CACHE": str(folder / "cache")}
        write(folder / "cases", cases)
        list(starts(environment))  # the first one compiles
        rows = [row for _ in range(rounds) for row in runs(folder / "cases", environment, cases)]
        rows += [row for _ in range(count) for row in starts(environment)]
    for what, seconds in rows:
        found.setdefault(what, []).append(seconds)
    return found


def problems(found: Found) -> list[str]:
    """What took longer than it may."""
    return [
        f"tester, {what}: {median(found[what]):.2f} s, at most {limit:g} s"
        for what, limit in LIMITS.items()
        if what in found and median(found[what]) > limit
    ]


def render(found: Found, cases: int) -> str:
    """Markdown."""
    lines = ["| `tec test` | seconds, median (least-greatest) | |", "| --- | --- | --- |"]
    nothing = median(found["python, nothing"])
    for what, values in found.items():
        middle = median(values)
        if what.startswith("-j"):
            note = f"{cases / middle:,.0f} tests/s, {middle / cases / EVENTS * 1e6:,.0f} us for an event"
        else:
            note = f"{middle / nothing:.1f} times a Python that does nothing"
        lines.append(f"| {what} | {middle:.2f} ({min(values):.2f}-{max(values):.2f}) | {note} |")
    return "\n".join(lines)


def main(quick: bool = False, check: bool = False) -> int:
    """Measure and print; 1 where `check` finds a limit exceeded."""
    found = measure(1 if quick else 3)
    print(f"{CASES:,} tests of {EVENTS} events on the shipped rule base, and {STARTS} starts of each kind\n")
    print(render(found, CASES))
    wrong = problems(found)
    for line in wrong:
        print(f"bench: {line}", file=sys.stderr)
    return 1 if check and wrong else 0
