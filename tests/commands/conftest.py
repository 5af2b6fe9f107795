from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opentec.ha import process as ids
from opentec.ha.lease import Lease
from opentec.server.instance import Instance
from tests.commands.running import FakeProcess, Handler, Runner


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A short runtime directory, for a socket's path has 107 bytes; and nothing of the caller's settings."""
    for name in ("TEC_DIR", "TEC_NODE", "TEC_SERVER", "TEC_DEBUG", "WLOCALHOST"):
        monkeypatch.delenv(name, raising=False)
    runtime = tempfile.mkdtemp(prefix="tec-")
    monkeypatch.setenv("TEC_RUNTIME_DIR", runtime)
    yield
    shutil.rmtree(runtime)


@pytest.fixture
def tec(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def instance(tec: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    """An instance with the nodes black and brown, which TEC_DIR names; no server runs."""
    directory = tmp_path / "i"
    ran = tec("init", directory, "--name", "redbook", "--node", "black=127.0.0.1:1", "--node", "brown=127.0.0.1:2")
    assert ran.status == 0, ran
    monkeypatch.setenv("TEC_DIR", str(directory))
    return Instance(directory)


@pytest.fixture
def lease(instance: Instance) -> Iterator[Lease]:
    """Node black holds the lease, on another machine as far as its file says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids, "boot_id", lambda: "another")
        held = Lease.claim(instance.ha, "black", ["127.0.0.1:1"], 0)
    assert held is not None
    yield held
    held.release()


@pytest.fixture
def process(instance: Instance) -> Iterator[Callable[..., FakeProcess]]:
    """`process("dispatch", handle)` listens on that socket of node black."""
    made: list[FakeProcess] = []

    def make(name: str, handle: Handler, node: str = "black") -> FakeProcess:
        made.append(FakeProcess(instance.runtime(node) / f"{name}.sock", handle))
        if name != "master":
            (instance.runtime(node) / "master.sock").touch()  # there is a master; nobody asks it anything
        return made[-1]

    yield make
    for each in made:
        each.close()
