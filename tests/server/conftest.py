from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from opentec.server.child import Context
from opentec.server.instance import Instance
from tests.server.kit import make_context, make_instance


@pytest.fixture(autouse=True)
def runtime() -> Iterator[Path]:
    """Sockets of the test, under a path that is short enough for them."""
    directory = Path(tempfile.mkdtemp(prefix="tec"))
    with pytest.MonkeyPatch.context() as patch:  # its own, since a test may undo what it patched
        patch.setenv("TEC_RUNTIME_DIR", str(directory))
        for name in ("TEC_DIR", "TEC_NODE"):
            patch.delenv(name, raising=False)
        yield directory
    shutil.rmtree(directory)


@pytest.fixture(autouse=True)
async def settled(runtime: Path) -> AsyncIterator[None]:
    """Lets both ends of every connection that the test closed see it before the loop is closed."""
    yield
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return make_instance(tmp_path / "tec")


@pytest.fixture
def context(instance: Instance) -> Context:
    return make_context(instance)
