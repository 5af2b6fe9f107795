"""What a node says of itself beside its health: how recovery goes, what its disk does, what an operator should know."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from opentec.events.records import name_of
from opentec.ha import epochs
from opentec.ha.errors import LeaseDirectoryError
from opentec.rim.mounts import network_file_system
from opentec.rim.schema import SCHEMA_VERSION
from opentec.rim.sqlite import version_warnings
from opentec.server.config import Config
from opentec.server.instance import Instance
from opentec.server.progress import Progress, Word, boot_us


def warnings_of(instance: Instance, config: Config) -> list[str]:
    """What does not make a server unhealthy and should be known all the same; found out once, at the start."""
    found = version_warnings(sqlite3.sqlite_version_info)
    path = config.repository_path(instance)
    if kind := network_file_system(path):
        found.append(f"{path} is on a {kind} file system, as rim.allow_network_fs permits: its locks protect nothing")
    return found + fence_warnings(config)


def fence_warnings(config: Config) -> list[str]:
    """What keeps the fencing program from being run on this node, before it is needed."""
    program = next(iter(config.ha.fence_command), None)
    if program is None:
        return []
    if not Path(program).is_file():
        return [f"ha.fence_command: there is no program {program} on this node; install it, or correct the path"]
    if not os.access(program, os.X_OK):
        return [f"ha.fence_command: user {os.geteuid()} may not run {program}; check its owner and mode"]
    return []


def too_old(holder: epochs.EpochFile) -> str:
    """Why this node cannot take over from a holder of a newer version (docs/upgrade.md)."""
    return (
        f"epoch {holder.number} on node {holder.node} writes version {holder.version} of the repository, this opentec "
        f"version {SCHEMA_VERSION}: install the newer opentec on this node, too"
    )


def numbers(progress: Progress) -> dict[str, Any]:
    """What the page that the five processes share says, for `tec status`."""
    return {
        "durable": name_of(progress[Word.DURABLE]),
        "committed": name_of(progress[Word.COMMITTED]),
        "connections": progress[Word.CONNECTIONS],
        "acknowledged": progress[Word.ACKED],
        "rejected": progress[Word.REJECTED],
        "log_bytes": progress[Word.RX_BYTES],
        "disk": disk(progress),
        "programs_waiting": progress[Word.PROGRAMS],
        "forwards_waiting": progress[Word.FORWARDS],
        "recovered": bool(progress[Word.RECOVERED]),
        "recovery": recovery(progress),
    }


def recovery(progress: Progress, clock: Callable[[], int] = boot_us) -> dict[str, Any] | None:
    """How far a takeover has got with what the epoch before left behind; None where nothing was left.

    `records` are done, `to_go` is what remains at their average size, `rate` records a second, `seconds` so far.
    """
    total = progress[Word.REPLAY_BYTES]
    if not total:
        return None
    ended = progress[Word.REPLAY_ENDED]
    seconds = max(0.0, ((ended or clock()) - progress[Word.REPLAY_SINCE]) / 1e6)
    records, done = progress[Word.REPLAYED], min(total, progress[Word.REPLAYED_BYTES])
    to_go = 0 if ended else round((total - done) * records / done) if done else None
    return {
        "done": bool(ended),
        "records": records,
        "to_go": to_go,
        "bytes": done,
        "bytes_to_go": 0 if ended else total - done,
        "rate": round(records / seconds) if seconds else 0,
        "seconds": round(seconds, 1),
    }


def disk(progress: Progress, clock: Callable[[], int] = boot_us) -> dict[str, Any]:
    """How long the disk takes to make records durable: milliseconds of the last time, and of the last slow one."""
    slow_at = progress[Word.SLOW_SYNC_AT]
    return {
        "sync_ms": round(progress[Word.SYNC_LAST] / 1000, 1),
        "slow_ms": round(progress[Word.SLOW_SYNC] / 1000) if slow_at else None,
        "slow_ago": round((clock() - slow_at) / 1e6) if slow_at else None,
    }


def stale_writer(instance: Instance, progress: Progress) -> str:
    """Who keeps the database locked from another host, for a person; "" when nobody is known to."""
    number = progress[Word.FENCING]
    if not number:
        return ""
    with suppress(FileNotFoundError, LeaseDirectoryError):
        return f"epoch {number}, node {epochs.read(instance.ha, number).node or 'unknown'}"
    return f"epoch {number}"
