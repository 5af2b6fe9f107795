"""The disk buffer: what was flushed is given back in order, whatever happens to the process, the disk or its bits."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opentec.eif.buffer import DiskBuffer
from opentec.eif.errors import BufferFault, BufferFull, BufferLocked, BufferUnusable
from opentec.eif.reading import Buffered
from opentec.eif.segment import FileRef
from tests.eif.buffers import LOG, OTHER, fill, opened, small, text, texts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "buffer"


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
    """The real call once more, then the error: the failure comes in the middle of a flush. No room stays no room."""
    calls = 0

    def fail(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2 or (calls > 2 and code == errno.ENOSPC):
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
        with pytest.raises(BufferUnusable, match="of format version 3, this program reads version 1"):
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
