"""What the library may do with a damaged chunk, by a stand-in for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from opentec.adapters.nt.chunks import CHUNK_HEADER, parse_chunk_header, walk
from opentec.adapters.nt.decode import decode
from tests.adapters.nt.evtx_files import chunk


class PanicException(BaseException):  # the name is the library's
    pass


def install(monkeypatch: pytest.MonkeyPatch, *rows: Any) -> None:
    """The library gives these rows, and raises those that are exceptions."""

    class Parser:
        def __init__(self, file: Any, threads: int) -> None:
            assert file.read(8) == b"ElfFile\0"

        def records_json(self) -> Rows:
            if rows and rows[0] == "unreadable":
                raise RuntimeError("no chunk")
            return Rows()

    class Rows:
        def __init__(self) -> None:
            self.rows = iter(rows)

        def __iter__(self) -> Iterator[Any]:
            return self

        def __next__(self) -> Any:
            row = next(self.rows)
            if isinstance(row, BaseException):
                raise row
            return {"event_record_id": row, "data": f"text {row}"}

    module = ModuleType("evtx")
    module.PyEvtxParser = Parser  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "evtx", module)


def decoded(*_: Any) -> dict[int, str]:
    data = chunk(1, 4)
    header = parse_chunk_header(data[:CHUNK_HEADER], 0)
    assert header is not None
    return decode(b"ElfFile\0".ljust(4096, b"\0"), data, header, walk(data, header))


@pytest.mark.parametrize(
    ("rows", "numbers"),
    [
        ((1, 2, 3, 4), [1, 2, 3, 4]),
        ((1, RuntimeError("bad record"), 3, 4), [1, 3, 4]),
        ((1, PanicException("index out of range"), 3), [1]),
        ((0, 1, 9), [1]),  # numbers that no whole record has
        (("unreadable",), []),
        ((RuntimeError("again"),) * 100_000, []),
    ],
)
def test_what_cannot_be_decoded_is_left_out(
    monkeypatch: pytest.MonkeyPatch, rows: tuple[Any, ...], numbers: list[int]
) -> None:
    install(monkeypatch, *rows)
    assert decoded() == {number: f"text {number}" for number in numbers}


def test_an_interruption_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        decoded()
