from __future__ import annotations

from pathlib import Path

import pytest

from opentec.events import ClassTable, load_classes

REPOSITORY = Path(__file__).parents[2]
DEFAULT = REPOSITORY / "rules" / "default"


@pytest.fixture(scope="session")
def default_folder() -> Path:
    return DEFAULT / "TEC_CLASSES"


@pytest.fixture(scope="session")
def root_text(default_folder: Path) -> str:
    """The shipped root.baroc, to put a test's own classes behind."""
    return (default_folder / "root.baroc").read_text()


@pytest.fixture(scope="session")
def table() -> ClassTable:
    return load_classes(DEFAULT)
