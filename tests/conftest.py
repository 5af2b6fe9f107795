"""Marks and profiles that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

TESTS = Path(__file__).parent
MARKED_FOLDERS = ("acceptance", "faults")

# A busy machine must not fail a property for its slowness. The usual run tries the same examples each time, so that a
# change is judged by what it changes; nightly looks longer, and elsewhere each time.
settings.register_profile("default", deadline=None, derandomize=True)
settings.register_profile("nightly", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in tests/acceptance and tests/faults carries the mark of its folder, so that `-m` can be trusted."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""
        if folder in MARKED_FOLDERS:
            item.add_marker(folder)
