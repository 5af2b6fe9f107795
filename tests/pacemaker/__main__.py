"""`python -m tests.pacemaker`: two Pacemaker nodes, one server, one fault after the other, then a count.

Prints a line for each fault and one JSON object at the end. The exit status is 0 only if nothing acknowledged was lost
or doubled and never two nodes served at a time; 77 where the machine cannot run it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from tests.faults import plans
from tests.faults.checker import Checker
from tests.faults.client import Patience, Sender
from tests.faults.harness import Late, wait_for
from tests.pacemaker.lab import NODES, Disk, Lab, missing
from tests.pacemaker.scenarios import SCENARIOS, Drive, Outcome
from tests.pacemaker.service import GROUP, ClientLoad, Instance, Owners, Tailed, configuration

SKIPPED: Final = 77
_RATE: Final = 100.0  # events, and lines, a second
_FINISH: Final = 90.0


def run(folder: Path, names: list[str], rounds: int) -> dict[str, Any]:
    """All scenarios, `rounds` times; gives the report. Raises Late when something does not come back."""
    started = time.monotonic()
    with Disk(folder / "disk") as disk, Instance(disk.folder) as instance, Lab(folder / "lab", disk) as lab:
        sender = _sender("moving", instance, plans.PLAIN)
        repeats = _sender("repeats", instance, plans.REPEATED)
        tailed = Tailed(disk.folder / "tailed", instance, rate=_RATE, rotate=2000)
        _configure(lab, configuration(instance, disk.folder / "tailed" / "adapter.conf", disk))
        drive = Drive(lab, instance, sender)
        with Owners(lab, instance.directory) as owners, tailed, ClientLoad(lab, [sender, repeats]) as load:
            drive.settle()
            outcomes = []
            for _ in range(rounds):
                for name in names:
                    outcome = drive.run(name)
                    outcomes.append(outcome)
                    _show(outcome, time.monotonic() - started)
            if not load.finish(_FINISH):
                raise Late(f"not everything is acknowledged: {sender.trouble}, {repeats.trouble}")
            tailed.finish()
            _stop(lab, drive)
        left = instance.left()
        senders = [(sender, plans.PLAIN), (repeats, plans.REPEATED)]
        verdict = Checker(instance.directory, senders, lines=tailed.lines).check()
        if not verdict.sound or owners.doubles or left:
            print(verdict, *owners.doubles[:5], *left, instance.logs(), sep="\n", file=sys.stderr)
        return {
            **verdict.summary(),
            "sound": verdict.sound and not owners.doubles and not left,
            "two_owners": len(owners.doubles),
            "looks": owners.looks,
            "left": len(left),
            "faults": len(outcomes),
            "outage": summary(outcomes),
            "outcomes": [asdict(outcome) for outcome in outcomes],
            "seconds": round(time.monotonic() - started, 1),
        }


def summary(outcomes: list[Outcome]) -> dict[str, dict[str, float]]:
    """Outages of each scenario: how many, median, longest."""
    found: dict[str, list[float]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.scenario, []).append(outcome.outage)
    return {
        name: {"n": len(values), "p50": round(statistics.median(values), 2), "max": max(values)}
        for name, values in found.items()
    }


def _sender(name: str, instance: Instance, plan: plans.Plan) -> Sender:
    patience = Patience(greeting=0.5, acknowledgement=1.0, retry=0.02)
    return Sender(instance.servers, lambda n: plan.text(name, n), name, rate=_RATE, window=100, patience=patience)


def _configure(lab: Lab, text: str) -> None:
    file = lab.folder / "cluster.crm"
    file.write_text(text)
    wait_for("both nodes are online", lambda: lab.online(NODES[0]) == list(NODES), 60)
    lab.inside(NODES[0], "crm", "configure", "load", "update", str(file))


def _stop(lab: Lab, drive: Drive) -> None:
    """Stop the group as an administrator does."""
    words = ("--resource", "opentec", "--meta", "--set-parameter", "target-role", "--parameter-value", "Stopped")
    lab.inside(NODES[0], "crm_resource", *words)
    try:
        wait_for("the group stops", lambda: not set(GROUP) & set(lab.resources(NODES[0])), _FINISH)
    except Late as late:
        raise Late(f"{late}\n{drive.state()}") from None


def _show(outcome: Outcome, at: float) -> None:
    fenced = f"  fenced {', '.join(outcome.fenced)}" if outcome.fenced else ""
    print(
        f"{at:6.1f} s  {outcome.scenario:<15} outage {outcome.outage:5.2f} s  well again after {outcome.settled:5.1f} s"
        f"  {outcome.before} -> {outcome.after}{fenced}",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.pacemaker", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=1, help="of all scenarios (default %(default)s)")
    parser.add_argument("--only", action="append", choices=list(SCENARIOS), help="this scenario; may be repeated")
    parser.add_argument("--keep", type=Path, help="use this new folder, and keep it")
    parser.add_argument("--optional", action="store_true", help="no failure where the machine cannot run it")
    options = parser.parse_args()
    if why := missing():
        print(f"tests.pacemaker: not run: {why}", file=sys.stderr)
        return 0 if options.optional else SKIPPED
    folder = options.keep or Path(tempfile.mkdtemp(prefix="tec-pacemaker-", dir="/var/tmp"))
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)  # Pacemaker's own user must reach it
    sound = False
    try:
        report = run(folder, options.only or list(SCENARIOS), options.rounds)
        sound = bool(report["sound"])
        print(json.dumps(report), flush=True)
    finally:
        if sound and options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"kept: {folder}", file=sys.stderr)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
