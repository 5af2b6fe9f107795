"""A server of real processes for each test that asks for one; nothing of it is left when the test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.harness import Cluster

MakeCluster = Callable[..., Cluster]


@pytest.fixture
def make_cluster(tmp_path: Path) -> Iterator[MakeCluster]:
    """Makes instances; the arguments are those of Cluster, without the folder."""
    with ExitStack() as stack:

        def make(*nodes: str, **options: Any) -> Cluster:
            folder = tmp_path / f"instance{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            return stack.enter_context(Cluster(folder, nodes or ("black",), **options))

        yield make


@pytest.fixture
def server(make_cluster: MakeCluster) -> Cluster:
    """An instance with one node, started."""
    cluster = make_cluster()
    cluster.start()
    return cluster


@pytest.fixture
def pair(make_cluster: MakeCluster) -> Cluster:
    """An instance with two nodes: black serves, brown stands by."""
    cluster = make_cluster("black", "brown")
    cluster.start("black")
    cluster.start("brown")
    return cluster
