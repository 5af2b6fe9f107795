"""What the tests of the disk buffer share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from opentec.eif.buffer import DiskBuffer
from opentec.eif.frame import text_of
from opentec.eif.reading import Buffered
from opentec.eif.segment import FileRef

LOG = FileRef("black", "/var/log/messages", "17-abc-0")
OTHER = FileRef("black", "/var/log/auth.log", "18-def-0")


def opened(path: Path, **options: Any) -> DiskBuffer:
    return DiskBuffer(path, **({"machine": "m1", "clock": lambda: 1_000_000} | options))


def text(number: int) -> str:
    return f"A;n={number};END"


def texts(events: list[Buffered]) -> list[str]:
    return [text_of(event.data) for event in events]


def fill(buffer: DiskBuffer, count: int, start: int = 1) -> None:
    for number in range(start, start + count):
        buffer.append(text(number), LOG, number * 10)
    buffer.flush()


def small(monkeypatch: pytest.MonkeyPatch, size: int = 1000) -> None:
    """Segments of `size` bytes."""
    monkeypatch.setattr("opentec.eif.buffer.SEGMENT_SIZE", size)


def flip(file: Path, at: int, bit: int = 3) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1 << bit
    file.write_bytes(data)
