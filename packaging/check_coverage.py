"""Compares a coverage report with the floors of coverage-floors.toml, and the floors with their own history.

    python packaging/check_coverage.py coverage.json

Exits 1 when a package or the whole is below its floor, when a package with a floor was not measured at all, or when a
floor is lower than any commit had it. A percentage counts lines and branches together, as coverage's own total does.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FLOORS = "coverage-floors.toml"


def flat(text: str) -> dict[str, float]:
    """The floors in the text of a floors file: {"total": 80, "log": 90, ...}."""
    data = tomllib.loads(text)
    return {"total": data["total"], **data["packages"]}


def percentages(report: Mapping[str, Any]) -> dict[str, float]:
    """Per cent covered of every package of opentec in a `coverage json` report, and of the whole as "total"."""
    covered: Counter[str] = Counter()
    possible: Counter[str] = Counter()
    for name, entry in report["files"].items():
        parts = Path(name).parts
        inside = parts[parts.index("opentec") + 1 :]
        summary = entry["summary"]
        for group in ("total", inside[0]) if len(inside) > 1 else ("total",):
            covered[group] += summary["covered_lines"] + summary["covered_branches"]
            possible[group] += summary["num_statements"] + summary["num_branches"]
    return {group: 100 * covered[group] / possible[group] for group in possible if possible[group]}


def shortfalls(measured: Mapping[str, float], floors: Mapping[str, float]) -> list[str]:
    """A sentence for every floor that the measurement does not reach."""
    problems = []
    for name, floor in floors.items():
        if name not in measured:
            problems.append(f"{name}: has a floor of {floor} % but nothing of it was measured")
        elif measured[name] < floor:
            problems.append(f"{name}: {measured[name]:.1f} % is below its floor of {floor} %: add tests for it")
    return problems


def lowered(now: Mapping[str, float], before: Mapping[str, float], commit: str) -> list[str]:
    """A sentence for every floor that is lower than, or gone since, `commit`."""
    return [
        f"{name}: its floor was {floor} % in commit {commit[:10]}; floors only rise"
        for name, floor in before.items()
        if now.get(name, 0) < floor
    ]


def history(root: Path) -> dict[str, str]:
    """The text of the floors file in every commit that changed it; empty outside a git checkout."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
        return done.stdout if done.returncode == 0 else ""

    commits = git("log", "--format=%H", "--diff-filter=AM", "--", FLOORS).split()
    return {commit: text for commit in commits if (text := git("show", f"{commit}:{FLOORS}"))}


def main(arguments: Sequence[str]) -> int:
    floors = flat((ROOT / FLOORS).read_text())
    measured = percentages(json.loads(Path(arguments[0]).read_text()))
    for name, percent in sorted(measured.items()):
        print(f"coverage: {name:<10} {percent:5.1f} %" + (f"   floor {floors[name]} %" if name in floors else ""))
    problems = shortfalls(measured, floors)
    for commit, text in history(ROOT).items():
        problems += lowered(floors, flat(text), commit)
    for problem in dict.fromkeys(problems):
        print(f"coverage: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
