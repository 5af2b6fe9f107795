from __future__ import annotations

import pytest

import opentec.testing


def test_the_names_of_the_package_are_there() -> None:
    for name in ("Case", "Collected", "Result", "Runner", "Spec", "collect", "find_specs", "read_spec"):
        assert name in dir(opentec.testing)
        assert getattr(opentec.testing, name).__name__ == name


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        opentec.testing.nothing  # noqa: B018
