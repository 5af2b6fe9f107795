"""Do log and repository fit together? Looked at before a node serves, while nobody holds the lease."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

from opentec.events.records import epoch_of, name_of
from opentec.log.errors import LogError
from opentec.rim.mounts import network_file_system
from opentec.server.config import Config
from opentec.server.errors import ServerError
from opentec.server.instance import Instance


class Standing(NamedTuple):
    """Where the repository stands, and what is wrong with that ("" = nothing)."""

    epoch: int
    position: int
    gap: str


def standing(instance: Instance, config: Config) -> Standing:
    """Compare repository and log. Raises ServerError when either cannot be read."""
    epoch, position = _repository(config.repository_path(instance), instance.uuid())
    log = instance.log_store()
    try:
        found = log.extents()
    except LogError as error:
        raise ServerError(str(error)) from error
    gap = ""
    if found and position < found[0].start and not (position == 0 and log.is_complete()):
        gap = (
            f"the repository wants to go on at {name_of(position)}, but the oldest segment of the log begins at "
            f"{name_of(found[0].start)}: records between are missing"
        )
    elif position and (not found or epoch_of(position) > found[-1].epoch):
        last = name_of(found[-1].start) if found else "nowhere"
        gap = f"the repository stands at {name_of(position)}, the log ends with the segment at {last}"
        gap += ": the repository is ahead of the log directory"
    else:
        for segment in found:
            if segment.epoch == epoch_of(position) and segment.end is not None and segment.end < position:
                following = [other for other in found if other.start > segment.start and other.epoch == segment.epoch]
                if not following:
                    gap = (
                        f"the repository stands at {name_of(position)}, its epoch was sealed at {name_of(segment.end)}"
                    )
    return Standing(epoch, position, gap)


def refuse_network(instance: Instance, config: Config) -> None:
    """Raises ServerError when the repository, or what several nodes share, lies on a network file system, unless the
    configuration takes the risk.

    SQLite's locks are not sound there; neither may the lease's be, and a node may read too late what another one wrote.
    """
    if config.rim.allow_network_fs:
        return
    repository = config.repository_path(instance)
    if kind := network_file_system(repository):
        raise ServerError(
            f"{repository} lies on a {kind} file system: SQLite's locks do not protect it there, and a failover may "
            "damage it; one node can have it on a local disk (rim.path), several need a disk or a cluster file system "
            "(GFS2, OCFS2) that all of them reach; or set rim.allow_network_fs if losing it is acceptable"
        )
    if len(config.nodes) < 2:
        return
    for folder, what in ((instance.ha, "the lease"), (instance.rx, "the reception log")):
        if kind := network_file_system(folder):
            raise ServerError(
                f"{folder} lies on a {kind} file system: it does not keep {what} sound for {len(config.nodes)} nodes; "
                "put the directory on a disk or a cluster file system (GFS2, OCFS2) that all of them reach, or set "
                "rim.allow_network_fs if losing events is acceptable"
            )


def _repository(path: Path, instance: str) -> tuple[int, int]:
    """Epoch and position; raises ServerError with what a person can do."""
    try:
        path.open("rb").close()
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2)
    except FileNotFoundError as error:
        raise ServerError(
            f"{path}: there is no repository; check the mount and rim.path in tec_server.toml, put back a copy of it, "
            "or begin anew with `tec init` and a new directory"
        ) from error
    except (OSError, sqlite3.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ServerError(
            f"{path}: the repository cannot be opened: {why}; check its owner, its mode and the mount"
        ) from error
    try:
        row = connection.execute("SELECT epoch, position, instance FROM repository").fetchone()
    except sqlite3.Error as error:
        raise ServerError(
            f"{path}: the repository cannot be read: {error}; restore a backup, or check that it is the right file"
        ) from error
    finally:
        connection.close()
    if row is None:
        raise ServerError(f"{path}: the repository is empty; it was not made by `tec init`")
    if row[2] != instance:
        raise ServerError(
            f"{path} belongs to instance {row[2]}, this directory is instance {instance}: "
            "the repository of another server was put here"
        )
    return int(row[0]), int(row[1])
