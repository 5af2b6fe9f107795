"""Bit rot: one flipped bit at a time in a copy of a log or of an adapter's buffer, then recovery and reading.

Each is named, only the damaged record may be lost, and every later one is recovered. A flip in the last record of an
unsealed segment is reported as a discarded tail: it cannot be told from a write that power cut short.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from opentec.eif.reading import Damage
from opentec.log.codec import DAMAGED
from opentec.log.segments import damaged_heads, recover, segments
from tests.eif import buffers
from tests.faults.sections import Result, Say
from tests.log.helper import INSTANCE, add, read_all, writer_of

SEALED, LAST = 60, 36  # records in sealed segments, and in the one that is not
GROUPS = (1, 2, 3, 4, 5, 6, 7, 8)  # records of its groups, in any order


@contextmanager
def said(name: str) -> Iterator[list[str]]:
    """What a logger says meanwhile, from warnings on."""
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger(name)
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


def _make_log(directory: Path, chance: random.Random) -> int:
    writer = writer_of(directory, 1, segment_size=2000)
    add(writer, SEALED)
    writer.close()
    writer = writer_of(directory, 2, segment_size=8000)
    first = SEALED + 1
    for size in chance.sample(GROUPS, len(GROUPS)):
        add(writer, size, first=first)  # a group
        first += size
    writer.close()
    return writer.durable


def log(folder: Path, count: int, chance: random.Random, say: Say) -> Result:
    """A bit anywhere in any segment: preambles, headers, records; sealed or not."""
    result = Result("flips-log")
    pristine, work = folder / "pristine", folder / "work"
    pristine.mkdir(parents=True)
    end = _make_log(pristine, chance)
    with mock.patch.multiple(os, fsync=lambda handle: None, fdatasync=lambda handle: None):
        _flip_log(result, pristine, work, end, count, chance)
    say(f"flips-log {result.faults}/{count}  {result.more}")
    return result


def _flip_log(result: Result, pristine: Path, work: Path, end: int, count: int, chance: random.Random) -> None:
    everything = read_all(pristine, end)
    assert [record.sequence for record in everything] == list(range(1, SEALED + LAST + 1))
    kinds = dict.fromkeys(("record", "tail", "head"), 0)
    for number in range(1, count + 1):
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(pristine, work)
        found = segments(work)
        segment = chance.choice([*found, found[-1]])
        data = bytearray(segment.path.read_bytes())
        records_at = segment.preamble.records_at
        unsealed = segment.name == found[-1].name
        used = records_at + (end - segment.start if unsealed else segment.length or 0)
        at = chance.randrange(records_at if chance.random() < 0.2 else used)
        data[at] ^= 1 << chance.randrange(8)
        segment.path.write_bytes(data)
        where = f"{number}: byte {at} of {segment.name}"
        with said("opentec.log") as told:
            recovered = recover(work, INSTANCE)
            if unsealed and at < records_at:
                add(writer_of(work, 3), 1, first=SEALED + LAST + 1)  # the next writer seals them all again
            kept = list(read_all(work, recovered.end))
            told += damaged_heads(work)
        lost = sorted({record.sequence for record in everything} - {record.sequence for record in kept})
        damaged = [(record.position, record.after) for record in kept if record.kind == DAMAGED]
        place = segment.start + at - records_at
        hit = [record for record in everything if at >= records_at and record.position <= place < record.after]
        if not hit:
            kinds["head"] += 1
            right = bool(told) and not lost and not damaged and recovered.end == end
        elif recovered.end < end:
            kinds["tail"] += 1
            right = hit == everything[-1:] and recovered.end == hit[0].position and recovered.discarded > 0
            right = right and lost == [hit[0].sequence] and not damaged
        else:
            kinds["record"] += 1
            # the stand-in names the record that was hit, and nothing else
            right = damaged == [(hit[0].position, hit[0].after)] and lost == [hit[0].sequence]
        if not right:
            end_at = f"end {recovered.end} of {end}"
            result.bad.append(f"{where}: hit {hit}, lost {lost}, stand-ins {damaged}, {end_at}, told {told}")
        result.faults += 1
    result.more |= kinds


def buffer(folder: Path, count: int, chance: random.Random, say: Say) -> Result:
    """A bit anywhere in any file of the buffer but its lock."""
    result = Result("flips-buffer")
    folder.mkdir(parents=True, exist_ok=True)
    pristine, work = folder / "pristine", folder / "work"
    nothing = mock.patch.multiple(os, fsync=lambda handle: None, fdatasync=lambda handle: None)
    with nothing, mock.patch("opentec.eif.buffer.SEGMENT_SIZE", 1200):
        with buffers.opened(pristine) as made:
            buffers.fill(made, 60)
            made.ack(10)
        files = [file for file in sorted(pristine.iterdir()) if file.name != "lock"]
        for number in range(1, count + 1):
            shutil.rmtree(work, ignore_errors=True)
            shutil.copytree(pristine, work)
            file = work / chance.choice(files).name
            at = chance.randrange(file.stat().st_size)
            buffers.flip(file, at, chance.randrange(8))
            named: list[Damage] = []
            with said("opentec.eif"), buffers.opened(work, on_damage=named.append) as opened:
                events = opened.read(opened.acked, 1000)
                kept = {text for text in buffers.texts(events) if not text.startswith("TEC_BufferDamaged")}
                wanted = {buffers.text(n) for n in range(opened.acked + 1, 61)}
                sound = [
                    bool(named) and named[0].path == file and opened.damaged_places == len(named),
                    kept <= wanted and len(wanted - kept) <= (file.suffix == ".seg"),
                    opened.acked in ((0, 10) if file.name == "ack" else (10,)),
                    [e.sequence for e in events] == list(range(opened.acked + 1, opened.next_sequence)),
                ]
            if not all(sound):
                result.bad.append(f"{number}: byte {at} of {file.name}: {sound}, named {named}, lost {wanted - kept}")
            result.faults += 1
    say(f"flips-buffer {result.faults}/{count}")
    return result
