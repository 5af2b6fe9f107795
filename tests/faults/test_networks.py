"""A network that fails between senders and nodes is no failover; one that comes of it is seen."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, cast

import pytest

from tests.faults import networks
from tests.faults.checker import Verdict
from tests.faults.sections import Result
from tests.faults.stage import Stage


class _Cluster:
    def wait_up(self) -> str:
        return "black"


class _Stage:
    """Nothing happens on it, but that the epoch is another one from a fault on."""

    def __init__(self, failover_at: int) -> None:
        self.cluster, self.chance = _Cluster(), random.Random(1)
        self._looks, self._failover = 0, 2 * failover_at  # the epoch is looked at before and after each fault

    def epoch(self) -> int:
        self._looks += 1
        return 1 + (self._looks >= self._failover)

    def settle(self) -> str:
        return "black"

    def finish(self) -> Verdict:
        return Verdict()


@pytest.mark.parametrize(("at", "bad"), [(2, ["fault 2 (cut, 0.0 s): a failover, epoch 1 to 2"]), (9, [])])
def test_a_failover_during_a_network_fault_is_bad(monkeypatch: pytest.MonkeyPatch, at: int, bad: list[str]) -> None:
    monkeypatch.setattr(networks, "HELD", (0.0, 0.0))
    result, healed = Result("link-cut"), []
    stage = cast(Stage, _Stage(at))
    networks._during(result, stage, 3, lambda text: None, lambda: "cut", lambda: healed.append(1))
    assert result.bad == bad
    assert result.sound == (not bad)
    assert (result.faults, len(healed)) == (3, 3)


@pytest.mark.parametrize("fault", [networks.link_cut, pytest.param(networks.one_way, marks=pytest.mark.nightly)])
def test_nodes_that_senders_do_not_reach_keep_the_lease(tmp_path: Path, fault: Any) -> None:
    """In namespaces as root, else through a proxy."""
    result: Result = fault(tmp_path / "stage", 1, random.Random(1), print)
    assert result.sound, result
    assert result.verdict is not None and result.verdict.epochs == 1
