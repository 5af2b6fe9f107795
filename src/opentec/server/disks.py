"""The active node tries its disks out while nothing is written, since a dead disk is noticed by nobody who is idle."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from opentec.ha.disk import probe
from opentec.server import hooks
from opentec.server.child import Context, Demote
from opentec.server.progress import Word, boot_us

_INTERVAL: Final = 1.0  # seconds
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def disks_of(context: Context) -> list[tuple[Path, bool]]:
    """The folders to try, one of each disk, and whether it is this node's own. Raises Demote."""
    local = [(folder, True) for folder in context.config.local_disks]
    found: dict[int, tuple[Path, bool]] = {}
    for folder, own in [*local, (context.instance.ha, False), (context.instance.rx, False)]:
        try:
            found.setdefault(folder.stat().st_dev, (folder, own))
        except OSError as error:
            raise Demote(f"{folder}: {error.strerror}; check the disk and the mount") from error
    return list(found.values())


async def try_disks(context: Context, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Write a block to each disk once a second or so, for ever; raises Demote when one fails.

    The page says since when a trial lasts, so that the master sees one that hangs. A full disk is no reason where both
    nodes share it (reception pauses its sockets); this node's own is.
    """
    progress, node = context.progress, context.node
    interval = max(_INTERVAL, context.config.ha.preset.beat_us / 1e6)
    disks = await asyncio.to_thread(disks_of, context)
    while True:
        await pause(interval)
        for folder, own in disks:
            progress[Word.PROBE_SINCE] = boot_us()
            try:
                await asyncio.to_thread(_try, folder, node)
            except OSError as error:
                if hooks.unsafe("no-self-demotion") or (error.errno in _FULL and not own):
                    continue
                raise Demote(f"{folder}: {error.strerror}: this node cannot write there") from error
            finally:
                progress[Word.PROBE_SINCE] = 0


def _try(folder: Path, node: str) -> None:
    hooks.reach("disk.trial")
    probe(folder, node)
