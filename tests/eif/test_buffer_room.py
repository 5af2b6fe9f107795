"""The disk buffer on a disk that has less room than what waits: it goes on in smaller steps, and nothing is lost."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from opentec.eif.buffer import DiskBuffer
from opentec.eif.errors import BufferFull
from tests.eif.buffers import LOG, opened, small, text, texts


class Disk:
    """Lets the files of a folder have `room` bytes together; what goes beyond is written in part, then refused."""

    def __init__(self, folder: Path, room: int, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.room = folder, room
        self.writes = 0
        self._write, self._pwrite = os.write, os.pwrite
        patch.setattr("os.pwrite", self.pwrite)
        patch.setattr(
            "os.write", lambda handle, data: self.pwrite(handle, data, os.lseek(handle, 0, os.SEEK_CUR), True)
        )

    def pwrite(self, handle: int, data: bytes | memoryview, at: int, moves: bool = False) -> int:
        if str(self.folder) + "/" in str(Path(f"/proc/self/fd/{handle}").readlink()):
            self.writes += 1
            used = sum(file.stat().st_size for file in self.folder.iterdir())
            room = max(self.room, used) - used + os.fstat(handle).st_size - at
            if data and room <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            data = data[:room]
        return self._write(handle, data) if moves else self._pwrite(handle, data, at)


def check_copy(buffer: DiskBuffer, copy_path: Path) -> None:
    """What a crash would leave now: everything durable and not acknowledged, and no number that is used twice."""
    shutil.copytree(buffer.path, copy_path)
    with opened(copy_path) as copy:
        assert copy.damages == []
        assert copy.sender == buffer.sender
        assert (copy.acked, copy.next_sequence) == (buffer.acked, buffer.durable + 1)
        assert copy.read(copy.acked, 10_000) == buffer.read(buffer.acked, 10_000)
    shutil.rmtree(copy_path)


@pytest.mark.parametrize("segment", [1000, 4 << 20])
@pytest.mark.parametrize("at_once", [5, 1000])
def test_what_is_sent_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segment: int, at_once: int) -> None:
    small(monkeypatch, segment)
    monkeypatch.setattr("os.fsync", lambda handle: None)
    monkeypatch.setattr("os.fdatasync", lambda handle: None)
    count = 120
    with opened(tmp_path / "buffer") as buffer:
        for number in range(count):
            buffer.append(text(number), LOG, number + 1)
        sent: list[str] = []
        with monkeypatch.context() as patch:
            Disk(buffer.path, 3000, patch)
            refused = 0
            while len(sent) < count:
                durable = buffer.durable
                try:
                    buffer.flush()
                except BufferFull:
                    refused += 1
                check_copy(buffer, tmp_path / "copy")
                new = buffer.read(buffer.acked, at_once)
                assert new, "it stands"
                sent += texts(new)
                buffer.ack(buffer.acked + len(new))
                check_copy(buffer, tmp_path / "copy")
                assert buffer.durable >= durable
            assert refused >= 3
        assert sent == [text(number) for number in range(count)]
        assert (buffer.pending, buffer.full) == (0, False)
        assert buffer.positions() == {LOG: count}
    with opened(tmp_path / "buffer") as buffer:
        assert (buffer.damages, buffer.pending, buffer.next_sequence) == ([], 0, count + 1)
        assert buffer.positions() == {LOG: count}


def test_a_refused_flush_takes_few_attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path / "buffer") as buffer:
        for number in range(5000):
            buffer.append(text(number))
        disk = Disk(buffer.path, 100_000, monkeypatch)
        with pytest.raises(BufferFull, match="nothing buffered is lost"):
            buffer.flush()
        assert buffer.durable > 1000
        assert buffer.size - buffer._waiting_size > 99_500
        assert disk.writes < 60


def test_no_room_at_all_leaves_a_buffer_that_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Space that came free goes to somebody else: between two segments, where a crash finds an empty one."""
    with opened(tmp_path / "buffer") as buffer:
        for number in range(100):
            buffer.append(text(number), LOG, number + 1)
        buffer.flush()
        buffer.ack(100)
        buffer.append(text(100), LOG, 101)
        with monkeypatch.context() as patch:
            Disk(buffer.path, 0, patch)
            for _ in range(2):
                with pytest.raises(BufferFull):
                    buffer.flush()
            assert buffer.full
            check_copy(buffer, tmp_path / "copy")
        buffer.flush()
        assert texts(buffer.read(100)) == [text(100)]
        buffer.ack(101)
        assert len(list(buffer.path.glob("*.seg"))) == 1


def test_what_is_not_acknowledged_keeps_its_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path / "buffer") as buffer:
        for number in range(100):
            buffer.append(text(number))
        buffer.flush()
        buffer.ack(99)
        buffer.append(text(100))
        with monkeypatch.context() as patch:
            Disk(buffer.path, 0, patch)
            with pytest.raises(BufferFull):
                buffer.flush()
        assert texts(buffer.read(99)) == [text(99)]
        check_copy(buffer, tmp_path / "copy")
