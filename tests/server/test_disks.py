"""The active node tries its disks out: one folder of each disk, what fails gives way, a full shared disk does not."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from opentec.server import disks as module
from opentec.server.child import Context, Demote
from opentec.server.config import NodeSection as Node
from opentec.server.disks import disks_of, try_disks
from opentec.server.progress import Word
from tests.server.kit import until, with_config


def test_one_folder_of_each_disk(context: Context, tmp_path: Path) -> None:
    assert disks_of(context) == [(context.instance.ha, False)], "the log is on the same disk"
    with_config(context, "ha", local_disks=["/dev/shm", str(tmp_path)])
    assert len(disks_of(context)) == 1, "a single node has nobody to give way to"
    brown = Node(listen="127.0.0.1:1")
    context.config = context.config.model_copy(update={"nodes": {**context.config.nodes, "brown": brown}})
    found = disks_of(context)
    assert found[0] == (Path("/dev/shm"), True) and len(found) == 2
    with_config(context, "ha", local_disks=["/nowhere"])
    with pytest.raises(Demote, match="/nowhere: No such file or directory; check the disk and the mount"):
        disks_of(context)


@pytest.mark.parametrize(
    ("number", "own", "unsafe", "gives_way"),
    [
        (errno.EIO, False, False, True),
        (errno.EROFS, True, False, True),
        (errno.ENOSPC, True, False, True),
        (errno.ENOSPC, False, False, False),
        (errno.EIO, False, True, False),
    ],
)
async def test_what_fails_gives_way(
    context: Context, monkeypatch: pytest.MonkeyPatch, number: int, own: bool, unsafe: bool, gives_way: bool
) -> None:
    tries = 0

    def fails(folder: Path, node: str) -> float:
        nonlocal tries
        tries += 1
        assert context.progress[Word.PROBE_SINCE], "the master sees how long it takes"
        raise OSError(number, os.strerror(number))

    async def at_once(seconds: float) -> None:
        assert seconds == 1.0
        await asyncio.sleep(0)

    monkeypatch.setattr(module, "probe", fails)
    monkeypatch.setattr(module.hooks, "unsafe", lambda rule: unsafe)
    monkeypatch.setattr(module, "disks_of", lambda context: [(context.instance.ha, own)])
    trying = asyncio.ensure_future(try_disks(context, at_once))
    if gives_way:
        with pytest.raises(Demote, match="this node cannot write there"):
            await trying
    else:
        await until(lambda: tries > 2)
        trying.cancel()
    assert context.progress[Word.PROBE_SINCE] == 0 or not gives_way
