"""From bytes to text: nothing lost, nothing that breaks a reader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentec.adapters.logfile.text import HARD_LIMIT, event_text, line_text, shorten


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"plain", "plain"),
        (b"crlf\r", "crlf"),
        (b"blanks at the end \t ", "blanks at the end"),
        (b"  at the front", "  at the front"),
        ("grün €".encode(), "grün €"),
        (b"latin \xfc", "latin \\xfc"),
        (b"nul\0 and soh\x01", "nul\\x00 and soh\\x01"),
        (b"tab\tstays", "tab\tstays"),
        (b"a\rb", "a\\x0db"),
        (b"", ""),
    ],
)
def test_text(line: bytes, text: str) -> None:
    assert line_text(line, 4096) == (text, False)


def test_cut() -> None:
    assert line_text(b"x" * 10, 10) == ("x" * 10, False)
    assert line_text(b"x" * 11, 10) == ("x" * 10 + " [cut: 1 bytes]", True)
    assert line_text(b"x" * 10, 10, length=1000) == ("x" * 10 + " [cut: 990 bytes]", True)
    assert line_text("xxé".encode(), 3) == ("xx [cut: 2 bytes]", True)
    assert line_text("xx€y".encode(), 4) == ("xx [cut: 4 bytes]", True)


@given(st.binary(max_size=60).filter(lambda line: b"\n" not in line), st.integers(8, 70))
def test_any_bytes(line: bytes, limit: int) -> None:
    text, cut = line_text(line, limit)
    assert cut == (len(line.rstrip(b" \t\r")) > limit)
    assert not any(character < " " and character != "\t" for character in text)
    text.encode("utf-8")


def test_shorten_cuts_the_longest() -> None:
    slots = shorten({"msg": "m" * 100, "user": "alice", "command": "c" * 90}, 60)
    assert slots["user"] == "alice"
    assert len(slots["msg"]) + len(slots["command"]) <= 190 - 60
    assert slots["msg"].endswith(" bytes]")


def test_shorten_adds_to_the_mark_that_is_there() -> None:
    slots = shorten({"msg": "m" * 100 + " [cut: 50 bytes]"}, 40)
    assert slots == {"msg": "m" * 59 + " [cut: 91 bytes]"}


def test_shorten_gives_up_on_short_values() -> None:
    with pytest.raises(ValueError, match="too long"):
        shorten({"a": "1", "b": "2"}, 100)
    with pytest.raises(ValueError, match="too long"):
        shorten({}, 1)


def test_event_text_of_many_slots() -> None:
    text, cut = event_text("A", {f"slot_{number}": "x" for number in range(50)}, 100)
    assert (len(text) > 100, cut) == (True, False)  # nothing to cut, and better long than lost
    text, cut = event_text("A", {f"slot_{number}": "x" for number in range(9000)}, 100)
    assert (len(text) <= HARD_LIMIT, cut) == (True, True)


def test_event_text_counts_quotes() -> None:
    text, cut = event_text("A", {"msg": "'" * 400}, 500)
    assert (len(text) <= 500, cut) == (True, True)
