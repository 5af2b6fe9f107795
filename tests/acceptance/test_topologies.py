"""Each topology runs, and keeps its own promise."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tests.acceptance.examples import run, sound
from tests.faults.harness import ROOT


def test_one_host(tmp_path: Path) -> None:
    ran = run("topologies/one-host", tmp_path)
    sound(ran, "one host: a death, a planned move and a hang; nothing was lost, nothing doubled", checks=3)
    assert {what: promised for what, (_, promised) in ran.gaps.items()} == {"death": 1, "planned move": 0.5, "hang": 4}


def test_moving_disk(tmp_path: Path) -> None:
    ran = run("topologies/moving-disk", tmp_path)
    sound(ran, "moving disk: the server followed its disk twice; nothing was lost, nothing doubled", checks=4)
    assert {promised for _, promised in ran.gaps.values()} == {5}


def test_cluster_file_system(tmp_path: Path) -> None:
    ran = run("topologies/cluster-filesystem", tmp_path)
    sound(ran, "cluster file system: the configuration is good and runs on one host; two hosts are UNTESTED", checks=1)


def test_its_configuration_names_a_command_that_fences() -> None:
    config = tomllib.loads((ROOT / "examples/topologies/cluster-filesystem/tec_server.toml").read_text())
    assert set(config["nodes"]) == {"black", "brown"}
    assert "{node}" in config["ha"]["fence_command"]
