from __future__ import annotations

from pathlib import Path

import pytest

from opentec.testing.lint.diagnostics import Diagnostic
from tests.testing.lint.kit import Look, look


@pytest.fixture
def says(tmp_path: Path) -> Look:
    """`says(codes, rules)`: the diagnostics of a rule base with these rules."""

    def of(codes: str, rules: str = "", **options: object) -> list[Diagnostic]:
        return look(tmp_path / "base", codes, rules, **options)

    return of
