"""The disk buffer: what was flushed is given back in order, whatever happens to the process, the disk or its bits."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opentec.eif import segment as segment_module
from opentec.eif.buffer import Buffered, Damage, DiskBuffer
from opentec.eif.errors import BufferFault, BufferFull, BufferLocked, BufferUnusable
from opentec.eif.frame import text_of
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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "buffer"


def small(monkeypatch: pytest.MonkeyPatch, size: int = 1000) -> None:
    """Segments of `size` bytes."""
    monkeypatch.setattr("opentec.eif.buffer.SEGMENT_SIZE", size)


class TestOrderly:
    def test_what_is_flushed_is_read_back(self, path: Path) -> None:
        with opened(path) as buffer:
            assert (buffer.next_sequence, buffer.acked, buffer.durable, buffer.pending) == (1, 0, 0, 0)
            assert buffer.append(text(1), LOG, 10) == 1
            assert buffer.append(b"A;n=2;END") == 2
            assert buffer.read(0) == []  # not durable yet: sending it might use its sequence twice
            buffer.flush()
            first, second = buffer.read(0)
            assert first == Buffered(1, 1_000_000, LOG, 10, b"\x03A;n=1;END\n\x01")
            assert second == Buffered(2, 1_000_000, None, 0, b"\x03A;n=2;END\n\x01")
            assert (buffer.next_sequence, buffer.durable, buffer.pending) == (3, 2, 2)
            sender = buffer.sender
        with opened(path) as buffer:
            assert buffer.sender == sender
            assert buffer.read(0) == [first, second]
            assert buffer.read(1) == [second]
            assert buffer.positions() == {LOG: 10}
            assert buffer.append(text(3)) == 3
            buffer.flush()
            assert texts(buffer.read(0)) == [text(1), text(2), text(3)]
            assert buffer.damages == []

    def test_an_acknowledgement_survives(self, path: Path) -> None:
        with opened(path) as buffer:
            fill(buffer, 5)
            buffer.ack(3)
            buffer.ack(2)  # older ones change nothing
            assert (buffer.acked, buffer.pending) == (3, 2)
            with pytest.raises(ValueError, match="newest on disk is 5"):
                buffer.ack(6)
        with opened(path) as buffer:
            assert (buffer.acked, buffer.next_sequence) == (3, 6)
            assert texts(buffer.read(buffer.acked)) == [text(4), text(5)]
            buffer.ack(5)
        with opened(path) as buffer:
            assert (buffer.acked, buffer.next_sequence, buffer.pending) == (5, 6, 0)
            assert buffer.damages == []

    def test_segments_come_and_go(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        small(monkeypatch)
        with opened(path) as buffer:
            fill(buffer, 200)
            names = sorted(path.glob("*.seg"))
            assert len(names) > 10
            assert texts(buffer.read(0, 1000)) == [text(n) for n in range(1, 201)]
            for after in (0, 1, 57, 199, 200):
                assert texts(buffer.read(after, 3)) == [text(n) for n in range(after + 1, min(after + 4, 201))]
            buffer.ack(100)
            assert texts(buffer.read(100, 1)) == [text(101)]
            assert len(sorted(path.glob("*.seg"))) < len(names)
            buffer.ack(200)
            assert len(sorted(path.glob("*.seg"))) == 1
            size = buffer.size
            fill(buffer, 1, 201)
            assert buffer.size < size + 1000
        with opened(path) as buffer:
            assert buffer.damages == []
            assert texts(buffer.read(200)) == [text(201)]

    def test_records_longer_than_a_piece(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("opentec.eif.reading._PIECE", 200)
        with opened(path) as buffer:
            for length in (10, 1000, 60_000, 1, 150, 200):
                buffer.append(f"A;m='{'x' * length}';END")
            buffer.flush()
            assert [len(event.data) for event in buffer.read(0)] == [23, 1013, 60013, 14, 163, 213]

    def test_what_is_appended_during_a_read_comes_with_the_next(self, path: Path) -> None:
        with opened(path) as buffer:
            fill(buffer, 10)
            assert len(buffer.read(0, 4)) == 4
            fill(buffer, 10, 11)
            assert texts(buffer.read(4, 100)) == [text(n) for n in range(5, 21)]

    def test_files_are_remembered_when_their_segment_is_gone(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        small(monkeypatch, 2000)
        with opened(path) as buffer:
            buffer.append(text(1), OTHER, 77)
            fill(buffer, 100, 2)
            buffer.append(text(102), OTHER, 50)  # an older place of the same file
            buffer.flush()
            buffer.ack(102)
        with opened(path) as buffer:
            assert len(list(path.glob("*.seg"))) == 1
            assert buffer.positions() == {LOG: 1010, OTHER: 77}
            buffer.append(text(103), OTHER, 90)
            buffer.flush()
            assert buffer.read(102)[0].file == OTHER

    def test_many_files_open_a_new_segment(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("opentec.eif.buffer.MAX_FILES", 10)
        monkeypatch.setattr("opentec.eif.buffer._RESTATED_FILES", 3)
        with opened(path) as buffer:
            for n in range(40):
                buffer.append(text(n), FileRef("s", f"/{n}", "g"), n + 1)
            buffer.flush()
            assert [event.file and event.file.path for event in buffer.read(0)] == [f"/{n}" for n in range(40)]
            assert 4 <= len(list(path.glob("*.seg"))) <= 7
            assert list(buffer.positions().values())[-1] == 40

    def test_it_flushes_by_itself(self, path: Path) -> None:
        with opened(path) as buffer:
            for _ in range(30):
                buffer.append("A;m='" + "x" * 60_000 + "';END")
            assert buffer.durable > 0

    def test_the_real_clock_and_machine(self, path: Path) -> None:
        with DiskBuffer(path) as buffer:
            buffer.append(text(1))
            buffer.flush()
            assert buffer.read(0)[0].time > 1_700_000_000_000_000
        with DiskBuffer(path) as buffer:
            assert buffer.next_sequence == 2


class TestLimits:
    def test_full_refuses_and_drops_nothing(self, path: Path) -> None:
        with opened(path, max_size=16_000, max_event=1000) as buffer:
            count = 0
            while not buffer.full:
                buffer.append(text(count))
                count += 1
            with pytest.raises(BufferFull, match="BufEvtMaxSize"):
                for _ in range(1000):
                    buffer.append(text(count))
                    count += 1
            buffer.flush()
            assert buffer.size <= 16_000
            assert len(buffer.read(0, 10_000)) == count
            buffer.ack(count)
            assert not buffer.full
            buffer.append(text(count))

    def test_sizes_that_make_no_sense(self, path: Path) -> None:
        with pytest.raises(ValueError, match="BufEvtMaxSize must be at least 256"):
            opened(path, max_size=100 * 1024)
        with opened(path) as buffer, pytest.raises(ValueError, match="cut it first"):
            buffer.append("A;m='" + "x" * 70_000 + "';END")

    @pytest.mark.parametrize("call", ["pwrite", "fdatasync", "fsync"])
    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
    def test_a_disk_that_fails(self, path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int) -> None:
        small(monkeypatch)
        with opened(path) as buffer:
            fill(buffer, 30)
            with monkeypatch.context() as patch:
                patch.setattr(f"opentec.eif.buffer.os.{call}", failing(code, getattr(os, call)))
                for number in range(31, 61):
                    buffer.append(text(number), LOG, number * 10)
                with pytest.raises(BufferFull if code == errno.ENOSPC else BufferFault, match=str(path)):
                    buffer.flush()
                assert buffer.full == (code == errno.ENOSPC)
                assert buffer.durable < 60
            shutil.copytree(path, path.with_name("copy"))
            with opened(path.with_name("copy")) as copy:
                assert texts(copy.read(0, 100)) == [text(n) for n in range(1, buffer.durable + 1)]
                assert copy.damages == []
            buffer.flush()
            assert not buffer.full
            assert texts(buffer.read(0, 100)) == [text(n) for n in range(1, 61)]
        with opened(path) as buffer:
            assert texts(buffer.read(0, 100)) == [text(n) for n in range(1, 61)]
            assert buffer.damages == []

    def test_a_disk_that_takes_a_part(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with opened(path) as buffer:
            pwrite = os.pwrite

            def part(handle: int, data: bytes, at: int) -> int:
                return pwrite(handle, data[:7], at)

            with monkeypatch.context() as patch:
                patch.setattr("opentec.eif.buffer.os.pwrite", part)
                fill(buffer, 10)
            assert texts(buffer.read(0)) == [text(n) for n in range(1, 11)]


def failing(code: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """The real call once more, then the error: the failure comes in the middle of a flush."""
    calls = 0

    def fail(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(code, os.strerror(code))
        return real(*arguments)

    return fail


class TestOpening:
    def test_a_second_opener_is_refused(self, path: Path) -> None:
        with opened(path), pytest.raises(BufferLocked, match=f"in use by process {os.getpid()}"):
            opened(path)
        opened(path).close()

    def test_a_file_where_the_directory_should_be(self, path: Path) -> None:
        path.write_text("")
        with pytest.raises(BufferUnusable, match="is not a directory: BufEvtPath"):
            opened(path)
        with pytest.raises(BufferUnusable, match="part of it is not a directory"):
            opened(path / "below")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
    def test_no_permission(self, path: Path) -> None:
        path.mkdir()
        path.chmod(0o500)
        with pytest.raises(BufferUnusable, match="no permission to use the buffer"):
            opened(path)

    @pytest.mark.parametrize(
        ("code", "message"), [(errno.EACCES, "no permission to use the buffer"), (errno.EROFS, "Read-only")]
    )
    def test_errors_of_the_lock_are_explained(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, code: int, message: str
    ) -> None:
        path.mkdir()

        def refuse(*_: Any) -> int:
            raise OSError(code, os.strerror(code), str(path))

        monkeypatch.setattr("opentec.eif.identity.os.open", refuse)
        with pytest.raises(BufferUnusable, match=message):
            opened(path)

    @pytest.mark.parametrize(
        ("code", "message"), [(errno.EACCES, "no permission to use"), (errno.EIO, "cannot be read")]
    )
    def test_errors_of_reading_are_explained(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, code: int, message: str
    ) -> None:
        opened(path).close()

        def refuse(path: Path) -> bytes:
            raise OSError(code, os.strerror(code), str(path))

        monkeypatch.setattr(Path, "read_bytes", refuse)
        with pytest.raises(BufferUnusable, match=message):
            opened(path)
        monkeypatch.undo()
        opened(path).close()  # the lock was given back

    @pytest.mark.parametrize("what", ["segment", "identity", "ack"])
    def test_another_format_version_is_refused_by_name(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, what: str
    ) -> None:
        module = "segment" if what == "segment" else "identity" if what == "ack" else "buffer"
        with monkeypatch.context() as patch:
            patch.setattr(f"opentec.eif.{module}.FORMAT_VERSION", 3)
            opened(path).close()
        with pytest.raises(BufferUnusable, match="of format version 3, this program reads version 0"):
            opened(path)

    def test_a_clone_gets_a_new_sender(self, path: Path) -> None:
        with opened(path) as buffer:
            fill(buffer, 5)
            buffer.ack(2)
            sender = buffer.sender
        with opened(path, machine="m2") as buffer:
            assert buffer.sender != sender
            assert (buffer.acked, buffer.next_sequence, buffer.pending) == (0, 4, 3)
            assert texts(buffer.read(0)) == [text(3), text(4), text(5)]
            assert [event.sequence for event in buffer.read(0)] == [1, 2, 3]
            assert buffer.append(text(6)) == 4
            buffer.flush()
            buffer.ack(1)
            sender = buffer.sender
        with opened(path, machine="m2") as buffer:
            assert buffer.sender == sender
            assert (buffer.acked, buffer.next_sequence) == (1, 5)

    def test_a_buffer_that_moved_on_purpose_keeps_its_sender(self, path: Path) -> None:
        with opened(path) as buffer:
            fill(buffer, 5)
            sender = buffer.sender
        for machine in ("m2", "m2"):
            with opened(path, machine=machine, adopt=True) as buffer:
                assert (buffer.sender, buffer.next_sequence) == (sender, 6)
        with opened(path, machine="m2") as buffer:
            assert buffer.sender == sender

    def test_a_machine_without_an_id(self, path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr("opentec.eif.identity._MACHINE_ID", tmp_path / "none")
        with DiskBuffer(path) as buffer:
            sender = buffer.sender
        with opened(path, machine="m1") as buffer:  # unknown is not another one
            assert buffer.sender == sender

    def test_leftovers_of_an_unfinished_write_are_removed(self, path: Path) -> None:
        opened(path).close()
        (path / "0000000000000009.seg.tmp").write_bytes(b"half")
        with opened(path) as buffer:
            assert buffer.next_sequence == 1
        assert list(path.glob("*.tmp")) == []


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


def flip(file: Path, at: int, bit: int = 3) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1 << bit
    file.write_bytes(data)


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


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(0, 400)),
            st.tuples(st.just("flush"), st.just(0)),
            st.tuples(st.just("ack"), st.integers(0, 30)),
            st.tuples(st.just("reopen"), st.just(0)),
            st.tuples(st.just("renew"), st.just(0)),
        ),
        max_size=60,
    )
)
def test_it_behaves_like_a_list(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]) -> None:
    patch = pytest.MonkeyPatch()
    small(patch, 700)
    patch.setattr("os.fsync", lambda handle: None)
    patch.setattr("os.fdatasync", lambda handle: None)
    path = tmp_path_factory.mktemp("model") / "buffer"
    model: list[str] = []  # everything durable and not acknowledged
    waiting: list[str] = []
    count = 0
    buffer = opened(path)
    try:
        for step, number in steps:
            if step == "append":
                waiting.append(f"A;n={count};m='{'x' * number}';END")
                buffer.append(waiting[-1], LOG, count + 1)
                count += 1
            elif step == "flush":
                buffer.flush()
                model, waiting = model + waiting, []
            elif step == "ack":
                done = min(number, len(model))
                buffer.ack(buffer.acked + done)
                model = model[done:]
            elif step == "renew":
                buffer.renew()
                assert buffer.acked == 0
            else:
                buffer.close()
                buffer, waiting = opened(path), []
            events = buffer.read(buffer.acked, 1000)
            assert texts(events) == model
            assert [event.sequence for event in events] == list(range(buffer.acked + 1, buffer.durable + 1))
            assert buffer.pending == len(model) + len(waiting)
        assert buffer.damages == []
    finally:
        buffer.close()
        patch.undo()


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
