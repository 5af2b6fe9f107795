"""A master that is being started, while the lease is free: does it serve with what its start chose, or stand by?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from opentec.ha import marks, watch
from opentec.ha.lease import Lease
from opentec.server import master as module
from opentec.server.activation import Chosen
from opentec.server.config import load_config
from opentec.server.instance import Instance, make_private
from opentec.server.master import Master
from tests.rules.engine_kit import rule_base
from tests.server.kit import make_instance, until
from tests.server.test_dispatch import segment

CHOSEN = Chosen("a" * 64, "a" * 64, "", "")
NODES = '[nodes.black]\nlisten = "127.0.0.1:5529"\n[nodes.brown]\nlisten = "127.0.0.1:5530"\n'


@pytest.fixture
def instance(tmp_path: Any) -> Instance:
    """Black was told to leave its epoch to whichever other node stands by, and has ended."""
    found = make_instance(tmp_path / "tec", NODES)
    make_private(found.runtime("black"))
    held = Lease.claim(found.ha, "black", [], 0)
    assert held is not None
    segment(found.rx, 1, 1)
    marks.request_switch(found.ha, 1)
    held.release()
    return found


class Starts(Master):
    """The master of a start that found nobody at work, and chose a rule base."""

    def __init__(self, instance: Instance) -> None:
        self.words: list[dict[str, Any]] = []
        self.settled: list[str] = []
        config, base = load_config(instance), rule_base()
        super().__init__(
            instance,
            config,
            "black",
            base,
            [],
            self.words.append,
            chosen=CHOSEN,
            alone=True,
            claimed=lambda: self.settled.append(self._state),
        )


@pytest.fixture
def starts(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> Iterator[Starts]:
    monkeypatch.setattr(module, "_LOOK", 0.001)
    found = Starts(instance)
    yield found
    if found._lease is not None:
        found._lease.release()


async def test_nobody_stands_by_so_what_was_chosen_is_activated(
    starts: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_READY_US", 20_000)
    assert await asyncio.wait_for(starts._stand_by(), 20)
    assert starts.settled == ["starting"] and starts.words == []
    assert starts._context is not None
    assert starts._context.activates and starts._context.chosen is CHOSEN


async def test_a_node_that_stands_by_was_faster_so_what_was_chosen_waits_for_another_start(
    instance: Instance, starts: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_READY_US", 60_000_000)
    standing = asyncio.ensure_future(starts._stand_by())
    await asyncio.sleep(0)
    assert starts.settled == [], "as long as it may serve, no command reads the files of the stopped server"
    brown = Lease.claim(instance.ha, "brown", [], 1)
    assert brown is not None
    await until(lambda: starts.words)
    assert starts.words == [{"state": "standby", "active": "brown"}] and starts.settled == ["standby"]
    brown.release()
    assert await asyncio.wait_for(standing, 20)
    assert starts._context is not None
    assert not starts._context.activates and starts._context.chosen is None
