"""How an error in a source file is shown."""

from __future__ import annotations

import pytest

from opentec.events.errors import SourceError


@pytest.mark.parametrize("column", [1, 90, 5000, 9_999])
def test_a_long_line_is_cut_to_what_is_around_the_column(column: int) -> None:
    line = "".join(chr(ord("a") + n % 26) for n in range(10_000))
    _, shown, caret = str(SourceError("no", file="a.rls", line=1, column=column, source_line=line)).split("\n")
    assert len(shown) <= 204
    assert shown[caret.index("^")] == line[column - 1]


def test_the_caret_stands_below_the_column_behind_tabs() -> None:
    _, shown, caret = str(SourceError("no", file="a.rls", line=1, column=4, source_line="\ta\tbc")).split("\n")
    assert (shown, caret) == ("     a bc", "       ^")
