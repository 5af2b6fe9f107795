"""Writing records behind the end of a segment."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from opentec.eif.reading import Buffered, Segment
from opentec.eif.segment import DECLARATION, EVENT, FileRef, encode_record


class Batch(NamedTuple):
    """The bytes of the first `taken` events and of the declarations of files that they need, up to place `end`."""

    data: bytes
    end: int
    taken: int
    declared: dict[FileRef, int]


def encode_batch(
    segment: Segment,
    events: Sequence[Buffered],
    declare: Callable[[int, int, FileRef, int], bytes],
    *,
    max_size: int,
    max_files: int,
) -> Batch:
    """As many of `events` as `segment` takes before it has `max_size` bytes or `max_files` files, at least one.

    `declare(salt, place, file, number)` gives the declaration of a file.
    """
    parts: list[bytes] = []
    declared: dict[FileRef, int] = {}
    at = segment.size
    taken = 0
    for event in events:
        number = 0
        if event.file is not None:
            number = segment.numbers.get(event.file) or declared.get(event.file, 0)
            if not number:
                number = declared[event.file] = len(segment.files) + len(declared) + 1
                parts.append(declare(segment.salt, at, event.file, number))
                at += len(parts[-1])
        parts.append(
            encode_record(segment.salt, at, EVENT, event.data, event.sequence, event.time, event.end_offset, number)
        )
        at += len(parts[-1])
        taken += 1
        if at >= max_size or len(segment.files) + len(declared) >= max_files:
            break
    return Batch(b"".join(parts), at, taken, declared)


def encode_declaration(salt: int, at: int, file: FileRef, number: int, position: int, time: int) -> bytes:
    """The declaration of a file up to whose end offset `position` events were buffered before."""
    payload = msgspec.msgpack.encode([file.scope, file.path, file.generation])
    return encode_record(salt, at, DECLARATION, payload, 0, time, position, number)


def write_behind(handle: int, data: bytes, end: int) -> None:
    """Write `data` behind the end of a file; after an OSError the file is as long as it was."""
    try:
        view, at = memoryview(data), end
        while view:
            written = os.pwrite(handle, view, at)
            view, at = view[written:], at + written
    except OSError:
        os.ftruncate(handle, end)
        raise
