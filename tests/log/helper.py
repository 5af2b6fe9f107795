"""Making small logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from opentec.events.records import Kind, Record
from opentec.log.reader import iterate
from opentec.log.segments import recover
from opentec.log.writer import LogWriter, open_writer

INSTANCE = "0" * 32
SENDER = b"s" * 16


def writer_of(directory: Path, epoch: int, **options: Any) -> LogWriter:
    return open_writer(directory, INSTANCE, epoch, recover(directory, INSTANCE), **options)


def add(writer: LogWriter, count: int, *, first: int = 1, payload: bytes = b"payload") -> None:
    """Events `first`, `first` + 1, ... of one sender, one microsecond apart; durable when this returns."""
    for number in range(first, first + count):
        writer.add(Kind.EVENT, number, payload + b"%d" % number, sender=SENDER, sequence=number)
    writer.write(writer.take())


def read_all(directory: Path, limit: int, since: int = 0, count: int = 7) -> list[Record]:
    return [record for page in iterate(directory, since, limit, count) for record in page]
