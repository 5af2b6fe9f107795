"""From the bytes of a line to the text of an event.

A line is taken as UTF-8. A byte that is not, and every control character but the tab, is written out as `\\xHH`, so
nothing is lost and nothing (a NUL, the wire's 0x01) can break what reads it later. The carriage return of a CRLF
ending and blanks at the end go. A line over the size limit is cut and says so.
"""

from __future__ import annotations

import re
from typing import Final

from opentec.events.text import format_event

HARD_LIMIT: Final = 65_400  # bytes of an event text that every server takes
_SHORTENINGS: Final = 8
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

_MARK: Final = re.compile(r" \[cut: (\d{1,18}) bytes\]\Z", re.ASCII)


def mark(lost: int) -> str:
    """What stands in the place of `lost` bytes that were cut."""
    return f" [cut: {lost} bytes]"


def line_text(line: bytes, limit: int, length: int | None = None) -> tuple[str, bool]:
    """The text of a line and whether it was cut to `limit` bytes.

    `length` is the line's whole length where the reader gave only its beginning. The mark comes on top of the limit.
    """
    line = line.rstrip(b" \t\r")
    whole = len(line) if length is None else length
    cut = whole > limit
    if cut:
        line = line[:limit]
        # not in the middle of a character
        while line and 0x80 <= line[-1] < 0xC0 and len(line) > limit - 3:
            line = line[:-1]
        if line and line[-1] >= 0xC0:
            line = line[:-1]
    text = line.decode("utf-8", "backslashreplace")
    if not text.isprintable() and _CONTROL.search(text):
        text = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    return (text + mark(whole - len(line)), True) if cut else (text, False)


def shorten(slots: dict[str, str], excess: int) -> dict[str, str]:
    """`slots` with `excess` bytes or more less: the longest values are cut, each with a mark.

    Raises ValueError when the values together are not long enough for that.
    """
    slots = dict(slots)
    while excess > 0:
        name = max(slots, key=lambda slot: len(slots[slot].encode()), default="")
        text = slots.get(name, "")
        marked = _MARK.search(text)
        lost = int(marked[1]) if marked else 0
        value = (text[: marked.start()] if marked else text).encode()
        room = len(mark(lost + len(value))) - (len(marked[0]) if marked else 0)
        kept = value[: max(0, len(value) - excess - room)].decode("utf-8", "ignore")
        new = kept + mark(lost + len(value) - len(kept.encode()))
        if len(new.encode()) >= len(text.encode()):
            raise ValueError(f"an event is {excess} bytes too long, and its slots are too short to be cut")
        excess -= len(text.encode()) - len(new.encode())
        slots[name] = new
    return slots


def event_text(class_name: str, slots: dict[str, str], limit: int) -> tuple[bytes, bool]:
    """The text of an event and whether values were cut to bring it to `limit` bytes.

    An event that has many slots and no long one may stay over the limit; over what a server takes, slots go.
    """
    text = format_event(class_name, slots).encode("utf-8", "replace")
    cut = False
    for _ in range(_SHORTENINGS):
        if len(text) <= limit:
            break
        try:
            slots = shorten(slots, len(text) - limit)
        except ValueError:
            break
        cut = True
        text = format_event(class_name, slots).encode("utf-8", "replace")
    if len(text) > HARD_LIMIT:
        text, cut = format_event(class_name, _first_slots(slots)).encode("utf-8", "replace"), True
    return text, cut


def _first_slots(slots: dict[str, str]) -> dict[str, str]:
    """As many slots, from the first one on, as fit into any event even if every character were a quote."""
    kept, size = {}, 1000
    for name, value in slots.items():
        size += len(name) + 2 * len(value.encode("utf-8", "replace")) + 4
        if size > HARD_LIMIT:
            break
        kept[name] = value
    return kept
