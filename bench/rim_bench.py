"""How much the repository costs beside raw sqlite3: the same rows, the same pragmas, batches of the same size.

Rounds of both are interleaved, since a machine's speed drifts; what counts is the ratio. `python bench/rim_bench.py`.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

from opentec.events.image import COLUMNS, EventRow
from opentec.events.records import Disposition
from opentec.rim import schema
from opentec.rim.batch import Batch, OutcomeRow
from opentec.rim.repository import Repository
from opentec.rim.sqlite import create_repository, open_repository

ROUNDS = 7
ROWS_PER_ROUND = 10_000
GOAL = 1.5
INSERT = f"INSERT INTO event VALUES ({', '.join('?' * len(COLUMNS))})"


def event(eid: int) -> EventRow:
    values = {name: 0 if name in schema.INTEGER_COLUMNS else f"{name} of {eid % 300}" for name in COLUMNS}
    values |= {"eid": eid, "position": eid, "date_reception": 1_772_352_000 + eid // 1000, "event_handle": eid % 1000}
    values |= {"server_handle": 1, "slots": '{"drive":"C:","percent":"97","note":"what does not fit a base slot"}'}
    return tuple(values[name] for name in COLUMNS)


def batches(first: int, size: int) -> list[Batch]:
    made = []
    for start in range(first, first + ROWS_PER_ROUND, size):
        eids = range(start, start + size)
        outcomes = [OutcomeRow(eid, Disposition.STORED, eid, 1_772_352_000, eid % 1000) for eid in eids]
        updates = [event(eid) for eid in range(start, start + size, 10)]
        made.append(Batch(start, start + size, [event(eid) for eid in eids], updates, outcomes))
    return made


def raw(connection: sqlite3.Connection, work: list[Batch], update: str) -> float:
    plain = [
        (
            batch,
            [(o.position, o.disposition, o.eid, o.date_reception, o.event_handle, None, None) for o in batch.outcomes],
        )
        for batch in work
    ]
    begun = time.perf_counter()
    for batch, outcomes in plain:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE repository SET position = ? WHERE epoch = 1", (batch.after,))
        connection.executemany(INSERT, batch.inserts)
        connection.executemany(update, batch.updates)
        connection.executemany("INSERT INTO outcome VALUES (?, ?, ?, ?, ?, ?, ?)", outcomes)
        connection.execute("COMMIT")
    return time.perf_counter() - begun


async def ours(repository: Repository, work: list[Batch]) -> float:
    begun = time.perf_counter()
    for batch in work:
        await repository.commit(batch, 1)
    return time.perf_counter() - begun


async def compare(folder: Path, size: int) -> None:
    from opentec.rim.repository import _UPDATE

    for name in ("ours", "raw"):
        await create_repository(folder / f"{name}{size}.db", "bench", "bench")
    repository = await open_repository(folder / f"ours{size}.db", "bench", "bench")
    await repository.claim(1)
    connection = sqlite3.connect(folder / f"raw{size}.db", isolation_level=None)
    for pragma in ("synchronous = FULL", "wal_autocheckpoint = 8000", "cache_size = -65536"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("UPDATE repository SET epoch = 1")
    times: dict[str, list[float]] = {"ours": [], "raw": []}
    for round_ in range(ROUNDS):
        work = batches(round_ * ROWS_PER_ROUND, size)
        times["raw"].append(raw(connection, work, _UPDATE))
        times["ours"].append(await ours(repository, work))
    await repository.close()
    connection.close()
    rate = {name: ROWS_PER_ROUND / statistics.median(values) / 1000 for name, values in times.items()}
    ratios = [mine / theirs for mine, theirs in zip(times["ours"], times["raw"], strict=True)]
    ratio = statistics.median(ratios)
    print(
        f"batch {size:5}: raw sqlite3 {rate['raw']:6.1f} k events/s, repository {rate['ours']:6.1f} k events/s, "
        f"ratio of times {ratio:.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        + (f", goal {GOAL}: {'met' if ratio <= GOAL else 'MISSED'}" if size == 1000 else "")
    )


async def main() -> None:
    # beside the checkout: a temporary folder in memory would make fsync free
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench") as folder:
        for size in (10, 100, 1000):
            await compare(Path(folder), size)


if __name__ == "__main__":
    asyncio.run(main())
