from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from opentec.rim.repository import Repository
from opentec.rim.sqlite import create_repository, open_repository
from tests.rim.rows import INSTANCE, NAME


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A repository that nobody has open."""
    place = tmp_path / "tec.db"
    await create_repository(place, INSTANCE, NAME)
    return place


@pytest.fixture
async def repository(path: Path) -> AsyncIterator[Repository]:
    """An open repository, claimed by epoch 1."""
    opened = await open_repository(path, INSTANCE, NAME)
    await opened.claim(1)
    yield opened
    await opened.close()
