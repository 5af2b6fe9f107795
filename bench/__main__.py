"""`python -m bench` (`make bench`): what the whole server does, beside what this machine can do in the same minutes.

Real processes, real SQLite, senders in acknowledged mode. Rounds are interleaved and every figure is the median of at
least three, because a machine changes its speed; compare ratios, not figures of different days.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from bench import default_bench, engine_bench, gap_bench, rim_bench, rules_bench, tester
from bench.calibrate import calibrate
from bench.gaps import gaps
from bench.report import AIM, render, verdict
from bench.server import measure, server
from opentec.rules.selectors import durable_rules_problem

SELECTORS: Final = ("durable-rules", "indexed")
RATE: Final = 10_000


def main() -> int:
    arguments = _arguments()
    # ended from outside it must end its servers too
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if arguments.part == "engine":
        sys.argv[1:] = []
        engine_bench.main()
        return 0
    if arguments.part == "rules":
        return rules_bench.main(quick=arguments.quick, check=arguments.check)
    if arguments.part == "default":
        return default_bench.main(quick=arguments.quick, check=arguments.check)
    if arguments.part == "tester":
        return tester.main(quick=arguments.quick, check=arguments.check)
    if arguments.part == "rim":
        asyncio.run(rim_bench.main())
        return 0
    quick = arguments.quick
    if arguments.part == "gap":
        waiting = min(arguments.waiting, 20_000) if quick else arguments.waiting
        rounds = 1 if quick else arguments.rounds
        figures = gap_bench.main(arguments.dir, rounds=rounds, waiting=waiting, backlog=arguments.backlog)
        print(json.dumps(figures) if arguments.json else gap_bench.render(figures))
        missed = gap_bench.missed(figures) if arguments.check else []
        for text in missed:
            _say(text)
        return 1 if missed else 0
    rounds, seconds, faults = (1, 2.0, 1) if quick else (arguments.rounds, arguments.seconds, arguments.faults)
    selectors = list(SELECTORS)
    if problem := durable_rules_problem():
        _say(f"{problem}: only the indexed selector is measured")
        selectors.remove("durable-rules")
    result: dict[str, Any] = {"selectors": selectors, "seconds": seconds, "rate": RATE, "rounds": []}
    with tempfile.TemporaryDirectory(prefix="tec-bench-", dir=arguments.dir) as name:
        folder = Path(name)
        _say(f"gaps: {faults} kills and {faults} hangs")
        result["gaps"] = gaps(_made(folder / "gaps"), faults)
        for number in range(rounds):
            # the order turns, so that no selector always comes first
            order = selectors if number % 2 == 0 else selectors[::-1]
            result["rounds"].append(_round(folder / str(number), order, seconds, number + 1, rounds))
        if arguments.sustained and not quick:
            result["sustained"] = _sustained(folder / "sustained", selectors[0], arguments.sustained)
    if arguments.json:
        print(json.dumps(result))
    else:
        print(render(result))
        print(verdict(result))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument(
        "part",
        nargs="?",
        choices=("server", "gap", "engine", "rules", "default", "tester", "rim"),
        default="server",
        help="what to measure",
    )
    parser.add_argument(
        "--quick", action="store_true", help="one short round and one fault of each kind: under a minute"
    )
    parser.add_argument(
        "--check", action="store_true", help="gap, rules, default, tester: fail where a gap or a cost is too high"
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="interleaved rounds (default 3)")
    parser.add_argument("--seconds", type=float, default=8.0, metavar="S", help="of one load (default 8)")
    parser.add_argument("--faults", type=int, default=10, metavar="N", help="kills, and as many hangs (default 10)")
    parser.add_argument(
        "--sustained", type=float, default=60.0, metavar="S", help="of one long load, 0 = none (default 60)"
    )
    parser.add_argument(
        "--backlog",
        type=int,
        default=gap_bench.BACKLOG,
        metavar="N",
        help="gap: events that wait when a fault comes (default %(default)s)",
    )
    parser.add_argument(
        "--waiting",
        type=int,
        default=gap_bench.WAITING,
        metavar="N",
        help="gap: events that wait at a start, 0 = none (default %(default)s)",
    )
    parser.add_argument("--dir", default="/var/tmp", metavar="DIR", help="on the disk to measure (default /var/tmp)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    found = parser.parse_args()
    if found.part == "gap" and found.check and not (found.rounds or found.quick):
        parser.error("gap --check: with --rounds 0 no gap is measured; take --rounds 1 or more")
    return found


def _round(folder: Path, selectors: list[str], seconds: float, number: int, rounds: int) -> dict[str, Any]:
    _say(f"round {number} of {rounds}: calibration")
    found: dict[str, Any] = {"calibration": calibrate(_made(folder))}
    for selector in selectors:
        _say(f"round {number} of {rounds}: {selector}")
        with server(_made(folder / selector), selector) as subject:
            measure(subject, 1.0, 1000)  # what only the first events pay
            found[selector] = {
                "offered": measure(subject, seconds, RATE),
                "aim": measure(subject, seconds, AIM),
                "saturated": measure(subject, seconds, None),
            }
    return found


def _sustained(folder: Path, selector: str, seconds: float) -> dict[str, Any]:
    _say(f"{seconds:g} s at {AIM:,} events a second")
    with server(_made(folder), selector) as subject:
        measure(subject, 1.0, 1000)
        return {**measure(subject, seconds, AIM), "seconds": seconds, "selector": selector}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
