"""What the tester says of a scenario is what five real processes store of it.

The records of a test of the shipped rule base are written to the reception log of a new instance, with their log
times; a server recovers the log; its repository is compared with the effects that the tester saw. Scenarios are moved
28 years ahead (days of the week and dates are the same), so that log time stands ahead of the wall clock and timers
behind the last step do not fall due while the server runs.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import pytest

from opentec.commands.replay import Scratch
from opentec.events.records import OFFSET_BITS, Kind, Record, decode_activate
from opentec.log.segments import recover
from opentec.log.writer import open_writer
from opentec.rules.batching import BatchBuilder
from opentec.rules.effects import Effects
from opentec.rules.rulebase import RuleBase, load_compiled, snapshot
from opentec.rules.snapshots import CURRENT, SEEN, write_mark
from opentec.server.instance import Instance
from opentec.shipped import shipped
from opentec.testing.binding import BoundCase
from opentec.testing.collection import collect
from opentec.testing.replay import Replay
from opentec.testing.replay_log import SegmentLog
from opentec.testing.replay_verify import differences
from opentec.testing.runner import Runner
from tests.acceptance.conftest import MakeCluster
from tests.faults.harness import Cluster, wait_for

OWN = Path(__file__).parent / "scenarios" / "steps.yaml"
YEARS = 28
SAMPLE = 30  # scenarios of a usual run; `nightly` has all

Seen = list[tuple[Record, Effects]]


def scenarios() -> dict[str, tuple[RuleBase, BoundCase]]:
    """Every test of the shipped rule base, and ours, by a name that says where it stands."""
    collected = collect([Path(str(shipped("rules", "default"))), OWN])
    assert not collected.errors, collected.errors
    return {
        f"{Path(bound.case.file).stem}: {bound.case.name}": (group.rule_base, bound)
        for group in collected.groups
        for bound in group.cases
    }


SCENARIOS = scenarios()


def sample() -> list[str]:
    """The same ones in every run: of each file the first by a hash of its name, then the first of what is left."""
    order = sorted(SCENARIOS, key=lambda name: zlib.crc32(name.encode()))
    first = {name.partition(":")[0]: name for name in reversed(order)}
    chosen = {*first.values(), *(name for name in order if name.startswith(f"{OWN.stem}:"))}
    left = [name for name in order if name not in chosen]
    return sorted([*chosen, *left[: SAMPLE - len(chosen)]])


def moved(bound: BoundCase) -> BoundCase:
    """The scenario YEARS later, and without what it expects: its texts may name the year."""
    start = datetime.fromtimestamp(bound.case.start // 1_000_000, UTC)
    later = int(start.replace(year=start.year + YEARS).timestamp()) * 1_000_000 + bound.case.start % 1_000_000
    steps = tuple(msgspec.structs.replace(step, expectations=()) for step in bound.steps)
    return msgspec.structs.replace(bound, case=msgspec.structs.replace(bound.case, start=later), steps=steps)


def run(base: RuleBase, bound: BoundCase) -> Seen:
    """The records of a scenario and what the tester's engine made of them."""
    seen: Seen = []
    result = Runner(base, None, None, lambda record, effects: seen.append((record, effects))).run(bound)
    assert result.passed, result.failures
    return seen


def store(path: Path, seen: Seen) -> None:
    """Commit effects to a new repository, as dispatch would.

    Each record by itself: behind a restart an event is another object.
    """
    builder = BatchBuilder(0)
    with Scratch(path) as scratch:
        for _, effects in seen:
            builder.add(effects)
            scratch.commit(builder.build())


def write_log(cluster: Cluster, records: Sequence[Record], others: Iterable[Path]) -> None:
    """Make the instance one whose servers received these records and ended before they processed any.

    `others`: folders of the rule bases that rule later.
    """
    instance = Instance(cluster.directory)
    content_hash = snapshot(cluster.rules, instance.rule_bases)
    for folder in others:
        content_hash = snapshot(folder, instance.rule_bases)
    for mark in (CURRENT, SEEN):
        write_mark(instance.rule_bases, mark, content_hash)
    for epoch, group in groupby(records, key=lambda record: record.position >> OFFSET_BITS):
        (instance.directory / "ha" / f"epoch.{epoch}").write_bytes(b"")
        writer = open_writer(instance.rx, instance.uuid(), epoch, recover(instance.rx, instance.uuid()))
        for record in group:
            position = writer.add(int(record.kind), record.time, record.payload, verdict=int(record.verdict))
            assert position == record.position
            if record.kind == Kind.ACTIVATE:
                active = decode_activate(record.payload)
                writer.activated(active.rule_base, active.name)
        writer.write(writer.take())
        writer.close()


def recovered(cluster: Cluster) -> None:
    """Start the server, wait until it has stored everything that its log holds, and stop it."""
    cluster.start()

    def idle() -> bool:
        status = cluster.status("black")
        return bool(status and status["recovered"] and status["committed"] == status["durable"])

    wait_for("everything is stored", idle)
    cluster.stop()


def outcomes(path: Path, until: int) -> dict[int, tuple[Any, ...]]:
    """What became of the records of before `until`, with the rules that fired."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return {row[0]: row for row in connection.execute("SELECT * FROM outcome WHERE position < ?", (until,))}


def compare(cluster: Cluster, seen: Seen, folder: Path) -> None:
    """The tester's effects, the server's repository, and what a replay of the server's log comes to, are one.

    A server adds records of its own behind the scenario, and rules may change the scenario's events by them. So the
    whole repository is compared with a replay of the whole log, and the tester's with a replay of the scenario's part.
    """
    expected, replayed = folder / "expected.db", folder / "replayed.db"
    store(expected, seen)
    until = seen[-1][0].after
    assert outcomes(cluster.repository, until) == outcomes(expected, until)
    instance = Instance(cluster.directory)
    with Scratch(replayed) as scratch:
        for _ in Replay(SegmentLog(instance.rx, until), scratch, partial(load_compiled, instance.rule_bases)).run():
            pass
    assert list(differences(replayed, expected)) == []
    done = cluster.tec("replay", "--verify", str(cluster.directory), "--json")
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert said[-1].get("same") is True, (said, done.stderr)


def course(make_cluster: MakeCluster, folder: Path, name: str, lost: int = 0) -> None:
    """One scenario through a server; the last `lost` records never arrive."""
    base, bound = SCENARIOS[name]
    seen = run(base, moved(bound))
    cluster = make_cluster()
    shutil.rmtree(cluster.rules)
    shutil.copytree(shipped("rules", "default"), cluster.rules)
    records = [record for record, _ in seen]
    others = [step.reload.folder for step in bound.steps if step.reload is not None]
    write_log(cluster, records[:-lost] if lost else records, others)
    recovered(cluster)
    compare(cluster, seen, folder)


@pytest.mark.parametrize("name", sample())
def test_five_processes_store_what_the_tester_says(make_cluster: MakeCluster, tmp_path: Path, name: str) -> None:
    course(make_cluster, tmp_path, name)


def test_a_difference_is_noticed(make_cluster: MakeCluster, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        course(make_cluster, tmp_path, sample()[0], lost=1)


@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted(set(SCENARIOS) - set(sample())))
def test_all_of_them(make_cluster: MakeCluster, tmp_path: Path, name: str) -> None:
    course(make_cluster, tmp_path, name)
