"""Event filters."""

from __future__ import annotations

import pytest

from opentec.adapters.filters import parse_filter, passes


@pytest.mark.parametrize(
    ("text", "class_name", "slots", "expected"),
    [
        ("Class=A", "A", {}, True),
        ("Class=A", "B", {}, False),
        ("Class=A", "a", {}, False),
        ("Class=A;x=1", "A", {"x": "1"}, True),
        ("Class=A;x=1;y=two words ;", "A", {"x": "1", "y": "two words"}, True),
        ("Class=A;x=1;y=2", "A", {"x": "1"}, False),
        ("Class=A;x='a;''b'", "A", {"x": "a;'b"}, True),
        ("Class=A;x=re:'ITM_.*'", "A", {"x": "ITM_Disk"}, True),
        ("Class=A;x=re:'ITM_.*'", "A", {"x": "an ITM_Disk"}, False),
        ("Class=A;x=re:'ITM_.*'", "A", {}, False),
        ("x=1;Class=A", "A", {"x": "1"}, True),
    ],
)
def test_match(text: str, class_name: str, slots: dict[str, str], expected: bool) -> None:
    assert parse_filter(text).matches(class_name, slots) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x=1", "names no class"),
        ("Class=A;nonsense", "'nonsense' is not slot=value"),
        ("Class=A;x='open", "is not slot=value"),
        ("Class=A;x=re:'('", "the expression for 'x' is wrong"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        parse_filter(text)


def test_modes() -> None:
    filters = [parse_filter("Class=A"), parse_filter("Class=B")]
    assert [passes(filters, "OUT", name, {}) for name in "ABC"] == [False, False, True]
    assert [passes(filters, "IN", name, {}) for name in "ABC"] == [True, True, False]
    assert passes([], "OUT", "A", {})
