"""What the machine can do just now, measured beside everything else: its speed drifts, only ratios can be compared."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import time
from pathlib import Path
from typing import Final

from bench.events import texts
from bench.rim_bench import ROWS_PER_ROUND, batches, raw
from opentec.rim.repository import _UPDATE
from opentec.rim.sqlite import create_repository

BATCH: Final = 1000
SYNCS: Final = 200
TEXTS: Final = 20_000
_SLOT: Final = re.compile(r"([A-Za-z_]\w*)=('(?:[^']|'')*'|[^;]*);")


def calibrate(folder: Path) -> dict[str, float]:
    """Rows a second of bare sqlite3, fdatasyncs a second, event texts a second through one regular expression.

    `folder` must lie on the disk that is measured.
    """
    return {"sqlite_rows": _sqlite(folder), "fdatasyncs": _fdatasync(folder), "parse_loop": _parse()}


def _sqlite(folder: Path) -> float:
    """Batches of 1,000 rows, one in ten updated, with outcomes: what dispatch writes, without dispatch."""
    path = folder / "calibration.db"
    asyncio.run(create_repository(path, "bench", "bench"))
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("synchronous = FULL", "wal_autocheckpoint = 8000", "cache_size = -65536"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("UPDATE repository SET epoch = 1")
    seconds = raw(connection, batches(0, BATCH), _UPDATE)
    connection.close()
    for name in ("", "-wal", "-shm"):
        path.with_name(path.name + name).unlink(missing_ok=True)
    return ROWS_PER_ROUND / seconds


def _fdatasync(folder: Path) -> float:
    path = folder / "calibration.log"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        os.posix_fallocate(handle, 0, SYNCS * 4096)
        os.fsync(handle)
        begun = time.perf_counter()
        for _ in range(SYNCS):
            os.write(handle, b"x" * 4096)
            os.fdatasync(handle)
        return SYNCS / (time.perf_counter() - begun)
    finally:
        os.close(handle)
        path.unlink()


def _parse() -> float:
    made = texts(TEXTS, 1)
    begun = time.process_time()
    for text in made:
        dict(_SLOT.findall(text))
    return TEXTS / (time.process_time() - begun)
