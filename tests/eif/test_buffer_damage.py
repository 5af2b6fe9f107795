"""The disk buffer after kills, torn writes and flipped bits: nothing that was flushed is lost in silence."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from opentec.eif import segment as segment_module
from opentec.eif.buffer import DiskBuffer
from opentec.eif.reading import Damage
from tests.eif.buffers import OTHER, fill, flip, opened, small, text, texts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "buffer"


class TestTorn:
    def test_at_each_byte_of_the_last_record(self, path: Path) -> None:
        with opened(path) as buffer:
            fill(buffer, 3)
            (segment,) = path.glob("*.seg")
            before = segment.stat().st_size
            fill(buffer, 1, 4)
        whole = segment.read_bytes()
        for size in range(before, len(whole)):
            segment.write_bytes(whole[:size])
            with opened(path) as buffer:
                assert texts(buffer.read(0)) == [text(1), text(2), text(3)]
                assert buffer.torn == size - before
                assert buffer.damages == []
                assert buffer.append(text(5)) == 4
                buffer.flush()
            with opened(path) as buffer:
                assert texts(buffer.read(0)) == [text(1), text(2), text(3), text(5)]
                assert buffer.torn == 0

    def test_zeros_at_the_end(self, path: Path) -> None:
        with opened(path) as buffer:
            fill(buffer, 3)
        (segment,) = path.glob("*.seg")
        with segment.open("ab") as file:
            file.write(bytes(5000))
        with opened(path) as buffer:
            assert buffer.torn == 5000
            assert buffer.append(text(4)) == 4
            buffer.flush()
            assert len(buffer.read(0)) == 4

    def test_the_last_record_damaged_does_not_give_its_sequence_away(self, path: Path) -> None:
        # it may have been sent: another event with its sequence would be taken for a repetition
        with opened(path) as buffer:
            fill(buffer, 3)
        (segment,) = path.glob("*.seg")
        whole = segment.read_bytes()
        last = whole.rindex(segment_module.EVENT)
        for at in range(last, len(whole)):
            work = path.with_name(f"work{at}")
            shutil.copytree(path, work)
            flip(work / segment.name, at)
            with opened(work) as buffer:
                assert buffer.next_sequence > 3
                assert buffer.damaged_places == 1
                events = buffer.read(0)
                assert texts(events[:2]) == [text(1), text(2)]
                assert all(line.startswith("TEC_BufferDamaged;") for line in texts(events[2:]))
                assert events[-1].sequence == buffer.next_sequence - 1
                buffer.append(text(4))
                buffer.flush()
                assert texts(buffer.read(events[-1].sequence)) == [text(4)]
            with opened(work) as buffer:
                assert texts(buffer.read(events[-1].sequence)) == [text(4)]
            shutil.rmtree(work)


class TestDamage:
    def test_three_hundred_bit_flips_are_each_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        small(monkeypatch, 1200)
        monkeypatch.setattr("os.fsync", lambda handle: None)
        monkeypatch.setattr("os.fdatasync", lambda handle: None)
        path = tmp_path / "pristine"
        with opened(path) as buffer:
            fill(buffer, 60)
            buffer.ack(10)
        files = [file for file in sorted(path.iterdir()) if file.name != "lock"]
        chance = random.Random(17)
        for round_ in range(300):
            work = tmp_path / f"work{round_}"
            shutil.copytree(path, work)
            file = work / chance.choice(files).name
            at = chance.randrange(file.stat().st_size)
            flip(file, at, chance.randrange(8))
            named: list[Damage] = []
            with opened(work, on_damage=named.append) as buffer:
                events = buffer.read(buffer.acked, 1000)
                assert buffer.damaged_places == len(named) >= 1, (file.name, at)
                assert named[0].path == file
                assert str(file) in str(named[0])
                lost = [event for event in texts(events) if event.startswith("TEC_BufferDamaged")]
                assert len(lost) <= 7
                rest = [event for event in texts(events) if not event.startswith("TEC_BufferDamaged")]
                expected = [text(n) for n in range(buffer.acked + 1, 61)]
                assert buffer.acked == 10 or (buffer.acked == 0 and file.name == "ack")
                assert [event for event in rest if event in expected] == rest
                assert len(rest) >= len(expected) - (1 if file.suffix == ".seg" else 0)
                assert [event.sequence for event in events] == list(range(buffer.acked + 1, buffer.next_sequence))
            shutil.rmtree(work)

    def test_while_it_is_read(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        small(monkeypatch, 3000)
        named: list[Damage] = []
        with opened(path, on_damage=named.append) as buffer:
            fill(buffer, 100)
            first = sorted(path.glob("*.seg"))[0]
            raw = first.read_bytes()
            flip(first, raw.index(b"n=5;"))
            flip(first, raw.index(b"n=9;") - 30)
            for _ in range(2):
                events = texts(buffer.read(0, 1000))
                for n in range(1, 101):
                    assert events[n - 1] == text(n) or n in (5, 9)
                assert f"event 5 of the disk buffer {first} was damaged" in events[4]
                assert "event 9" in events[8]
            assert [texts(buffer.read(n, 1))[0] for n in range(100)] == events
            assert len(named) == buffer.damaged_places == 2

    def test_a_segment_that_vanishes_or_shrinks(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        small(monkeypatch)
        with opened(path) as buffer:
            fill(buffer, 100)
            first, second, *_ = sorted(path.glob("*.seg"))
            first.unlink()
            os.truncate(second, 500)
            events = buffer.read(0, 1000)
            assert [event.sequence for event in events] == list(range(1, 101))
            assert texts(events)[-1] == text(100)
            assert {damage.path for damage in buffer.damages} == {first, second}
        with opened(path) as buffer:
            assert [event.sequence for event in buffer.read(0, 1000)] == list(range(1, 101))
            assert "segments before this one are missing" in str(buffer.damages[-1])
            assert buffer.damages[-1].first == 1

    def test_both_copies_of_a_segment_header(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        small(monkeypatch)
        with opened(path) as buffer:
            fill(buffer, 100)
            sender = buffer.sender
        second = sorted(path.glob("*.seg"))[1]
        flip(second, 3)
        flip(second, 35)
        with opened(path) as buffer:
            assert buffer.sender == sender
            events = texts(buffer.read(0, 1000))
            lost = [n for n, event in enumerate(events, 1) if event.startswith("TEC_BufferDamaged")]
            assert lost[0] == int(second.stem)
            assert len(lost) == buffer.damages[0].last - buffer.damages[0].first + 1
            assert events[-1] == text(100)
            buffer.ack(100)
        assert second.with_suffix(".bad").exists()

    def test_both_copies_of_the_last_header(self, path: Path) -> None:
        with opened(path) as buffer:
            fill(buffer, 10)
            sender = buffer.sender
        (segment,) = path.glob("*.seg")
        flip(segment, 3)
        flip(segment, 35)
        with opened(path) as buffer:
            assert buffer.sender != sender  # its sequences may have been used
            assert segment.with_suffix(".bad").exists()
            assert buffer.damaged_places == 1
            assert buffer.append(text(1)) == buffer.durable + 1
        with opened(path) as buffer:
            assert buffer.damages == []

    def test_one_damaged_slot_of_two(self, path: Path) -> None:
        with opened(path) as buffer:
            fill(buffer, 10)
            buffer.ack(4)
            buffer.ack(5)
        for at in (20, 52):
            work = path.with_name(f"work{at}")
            shutil.copytree(path, work)
            flip(work / "ack", at)
            with opened(work) as buffer:
                assert buffer.acked in (4, 5)
                assert "damaged slot" in str(buffer.damages[0])
            with opened(work) as buffer:
                assert buffer.damages == []

    def test_acknowledgements_lost_are_found_in_the_segments(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        small(monkeypatch)
        with opened(path) as buffer:
            fill(buffer, 100)
            buffer.ack(90)
            oldest = int(sorted(path.glob("*.seg"))[0].stem)
        (path / "ack").unlink()
        with opened(path) as buffer:
            assert buffer.acked == oldest - 1 > 0
            assert texts(buffer.read(90, 1000)) == [text(n) for n in range(91, 101)]

    def test_the_identity_lost(self, path: Path) -> None:
        with opened(path) as buffer:
            fill(buffer, 3)
            buffer.ack(1)
            sender = buffer.sender
        good = (path / "identity").read_bytes()
        for bad, count in (
            (b"", 1),
            (b"\n\n", 1),
            (good.replace(b"sender", b"sander"), 1),
            (good.replace(b"\n", b"x", 1), 0),
        ):
            (path / "identity").write_bytes(bad)
            with opened(path) as buffer:
                assert texts(buffer.read(0)) == [text(2), text(3)]
                assert (buffer.sender != sender) == bool(count)
                assert "a damaged line" in str(buffer.damages[0])
        (path / "identity").unlink()
        with opened(path) as buffer:
            assert [event.sequence for event in buffer.read(0)] == [1, 2]

    def test_all_segments_missing(self, path: Path) -> None:
        with opened(path) as buffer:
            fill(buffer, 3)
            sender = buffer.sender
        for file in path.glob("*.seg"):
            file.unlink()
        with opened(path) as buffer:
            assert buffer.sender != sender
            assert buffer.pending == 0
            assert "missing" in str(buffer.damages[0])

    def test_a_damaged_declaration_never_lends_its_number(self, path: Path) -> None:
        with opened(path) as buffer:
            fill(buffer, 2)
        (segment,) = path.glob("*.seg")
        flip(segment, segment.read_bytes().index(b"messages"))
        with opened(path) as buffer:
            buffer.append(text(3), OTHER, 5)
            buffer.flush()
            assert [event.file for event in buffer.read(0)] == [None, None, OTHER]
            assert "no event is lost" in str(buffer.damages[0])
            assert buffer.positions() == {OTHER: 5}

    def test_the_acknowledgement_is_newer_than_the_records(self, path: Path) -> None:
        # a disk that forgot flushed records: their sequences have been used
        with opened(path) as buffer:
            fill(buffer, 3)
            (segment,) = path.glob("*.seg")
            size = segment.stat().st_size
            fill(buffer, 3, 4)
            buffer.ack(6)
        os.truncate(segment, size)
        with opened(path) as buffer:
            assert buffer.next_sequence == 7
            fill(buffer, 2, 7)
            assert texts(buffer.read(6)) == [text(7), text(8)]
        with opened(path) as buffer:
            assert texts(buffer.read(6)) == [text(7), text(8)]


APPENDER = """
import sys
from pathlib import Path
from opentec.eif import buffer as module
module.SEGMENT_SIZE = 20_000
buffer = module.DiskBuffer(Path(sys.argv[1]))
while True:
    for _ in range(20):
        buffer.append(f"A;n={buffer.next_sequence};END")
    buffer.flush()
    buffer.ack(buffer.durable - 30 if buffer.durable > 30 else 0)
    print(buffer.durable, buffer.acked, flush=True)
"""


@pytest.mark.faults
def test_kill_9_while_it_appends(path: Path) -> None:
    chance = random.Random(5)
    durable = 0
    for _ in range(12):
        process = subprocess.Popen([sys.executable, "-c", APPENDER, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        wanted = chance.randrange(1, 40)
        for _ in range(wanted):
            line = process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().splitlines(keepends=True)
        process.wait()
        process.stdout.close()
        durable, acked = map(int, [text for text in (line, *rest) if text.endswith("\n")][-1].split())
        with DiskBuffer(path) as buffer:
            assert buffer.damages == []
            assert buffer.durable >= durable
            assert buffer.acked >= acked
            assert texts(buffer.read(buffer.acked, 100_000)) == [
                text(n) for n in range(buffer.acked + 1, buffer.next_sequence)
            ]
