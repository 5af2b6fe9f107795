"""The processes know the log through its store only, so another store needs no change in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from opentec.log.segments import segment_paths
from opentec.log.store import LogDirectory
from opentec.server.child import Context
from opentec.server.instance import Instance
from opentec.server.preflight import standing
from tests.server.kit import UUID, node

EVENT = ("Link_Up", {"hostname": "h1"})


async def test_a_log_that_lies_elsewhere(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(Instance, "log_store", lambda self: LogDirectory(elsewhere, UUID))
    async with node(context) as tec:
        await tec.post(EVENT)
        await tec.committed()
        await tec.kill()
        assert standing(context.instance, context.config).gap == ""
        tec.start()
        await tec.ready()
        await tec.post(EVENT)
        await tec.committed()
        assert [row["hostname"] for row in await tec.rows() if row["class"] == "Link_Up"] == ["h1", "h1"]
        assert (await tec.ask("dispatch", "waiting")) == 0
        assert (await tec.ask("dispatch", "log", [0, 100]))["records"]
    assert len(segment_paths(elsewhere)) == 2 and segment_paths(context.instance.rx) == []
