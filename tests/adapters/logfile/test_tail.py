"""Tailing: rotation, truncation, restarts. Every scenario checks that each line comes once, and under which name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opentec.adapters.logfile.generation import READ_BYTES, LogFile
from opentec.adapters.logfile.rotation import HELD_DELETED, KEPT, SETTLED, Lost
from opentec.adapters.logfile.tail import Chunk, Tailer


class Reader:
    """A tailer over a folder, which can be restarted, and all that it gave out."""

    def __init__(self, *sources: Path, **options: Any) -> None:
        self.sources = [str(source) for source in sources]
        self.options = options
        self.lost: list[Lost] = []
        self.chunks: list[Chunk] = []
        self.tailer = self._start(None)

    def _start(self, state: Any) -> Tailer:
        return Tailer(self.sources, state, on_lost=self.lost.append, **self.options)

    def restart(self) -> None:
        state = self.tailer.to_data()
        self.tailer.close()
        self.tailer = self._start(state)

    def stop(self) -> Any:
        state = self.tailer.to_data()
        self.tailer.close()
        return state

    def go_on(self, state: Any) -> None:
        self.tailer = self._start(state)

    def poll(self, times: int = 1) -> list[str]:
        """Polls until nothing is left, and gives the new lines."""
        new: list[str] = []
        for _ in range(times):
            while True:
                chunks = self.tailer.poll()
                self.chunks += chunks
                new += [line.decode() for chunk in chunks for line, _ in chunk.lines]
                if not self.tailer.behind:
                    break
        return new

    @property
    def ranges(self) -> dict[str, list[int]]:
        """End offsets by generation."""
        found: dict[str, list[int]] = {}
        for chunk in self.chunks:
            found.setdefault(chunk.generation, []).extend(end for _, end in chunk.lines)
        return found


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder / "messages"


@pytest.fixture
def reader(log: Path) -> Any:
    reader = Reader(log)
    yield reader
    reader.tailer.close()


def add(path: Path, *lines: str, end: str = "\n") -> None:
    with path.open("a") as file:
        file.write("\n".join(lines) + end)


def age(path: Path, seconds: int) -> None:
    """Make a file older, so that no two modification times are equal by chance."""
    info = path.stat()
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns - seconds * 1_000_000_000))


def test_lines_come_with_their_end_offsets(log: Path, reader: Reader) -> None:
    add(log, "one", "two")
    assert reader.poll() == ["one", "two"]
    add(log, "three")
    assert reader.poll() == ["three"]
    assert list(reader.ranges.values()) == [[4, 8, 14]]
    assert reader.chunks[1].start == 8
    assert reader.poll() == []


def test_a_file_need_not_exist_yet(log: Path, reader: Reader) -> None:
    assert reader.poll() == []
    add(log, "one")
    assert reader.poll() == ["one"]


def test_a_line_waits_for_its_newline(log: Path, reader: Reader) -> None:
    add(log, "whole", "par", end="")
    assert reader.poll() == ["whole"]
    add(log, "tial")
    assert reader.poll() == ["partial"]


def test_the_carriage_return_is_left_to_who_reads_the_text(log: Path, reader: Reader) -> None:
    log.write_bytes(b"one\r\ntwo\r\n")
    assert reader.poll() == ["one\r", "two\r"]
    assert list(reader.ranges.values()) == [[5, 10]]


def test_existing_lines_can_be_skipped(log: Path) -> None:
    add(log, "old", "par", end="")
    reader = Reader(log, log.with_name("later"), read_existing=False)
    assert reader.poll() == []
    add(log, "tial")
    add(log.with_name("later"), "first")
    assert reader.poll() == ["partial", "first"]
    (skipping,) = [name for name in reader.ranges if "@" in name]
    assert skipping.endswith("@4")  # another name than that of a reader from the beginning
    reader.restart()
    add(log, "more")
    assert reader.poll() == ["more"]
    reader.tailer.close()


def test_a_short_first_line_that_is_not_complete_is_not_skipped(log: Path) -> None:
    add(log, "par", end="")
    reader = Reader(log, read_existing=False)
    assert reader.poll() == []
    add(log, "tial")
    assert reader.poll() == ["partial"]
    reader.tailer.close()


def test_a_renamed_file_is_read_to_its_end_before_the_new_one(log: Path, reader: Reader) -> None:
    add(log, "one")
    assert reader.poll() == ["one"]
    writer = log.open("a")
    log.rename(log.with_name("messages.1"))
    writer.write("late\n")
    writer.flush()
    add(log, "new")
    assert reader.poll() == ["late", "new"]
    writer.write("later\n")
    writer.close()
    assert reader.poll() == ["later"]
    assert sorted(reader.ranges.values()) == [[4], [4, 9, 15]]
    assert not reader.lost


def test_a_deleted_file_is_read_to_its_end(log: Path, reader: Reader) -> None:
    add(log, "one")
    reader.poll()
    add(log, "two")
    log.unlink()
    add(log, "new")
    assert reader.poll() == ["two", "new"]


def test_the_last_line_without_newline_comes_when_the_file_is_finished(log: Path, reader: Reader) -> None:
    add(log, "one", "no newline", end="")
    reader.poll()
    log.rename(log.with_name("messages.1"))
    add(log, "new")
    assert reader.poll() == ["new"]
    assert reader.poll(SETTLED + 1) == ["no newline"]
    assert reader.poll(SETTLED + 1) == []


def test_a_file_that_was_rotated_twice_between_two_polls_is_read(log: Path, reader: Reader) -> None:
    add(log, "first")
    age(log, 10)
    reader.poll()
    log.rename(log.with_name("messages.2"))
    add(log, "second")
    age(log, 5)
    log.rename(log.with_name("messages.1"))
    add(log, "third")
    assert reader.poll() == ["second", "third"]


def test_older_rotated_files_are_not_read(log: Path, reader: Reader) -> None:
    old = log.with_name("messages.1")
    add(old, "ancient")
    age(old, 100)
    add(log, "one")
    assert reader.poll() == ["one"]
    old.rename(log.with_name("messages.2"))
    log.rename(old)
    add(log, "two")
    assert reader.poll() == ["two"]


def test_a_rotated_file_that_is_newer_than_its_empty_log_is_not_read_again(log: Path, reader: Reader) -> None:
    log.write_text("")
    age(log, 100)
    old = log.with_name("messages.1")
    add(old, "written by a program that still has it open")
    assert reader.poll(2) == []
    log.with_name("unrelated").write_text("x")
    assert reader.poll(2) == []
    reader.restart()
    assert reader.poll(2) == []
    add(old, "late")
    log.with_name("unrelated2").write_text("x")
    assert reader.poll(2) == ["late"]
    add(log, "one")
    assert reader.poll(2) == ["one"]


def test_a_copy_kept_by_hand_is_not_a_rotation(log: Path, reader: Reader) -> None:
    add(log, "one", "two")
    reader.poll()
    shutil.copy(log, log.with_name("messages.old"))
    add(log, "three")
    assert reader.poll(2) == ["three"]


def test_a_copy_kept_by_hand_before_a_rotation_is_not_read(log: Path, reader: Reader) -> None:
    add(log, "one", "two")
    reader.poll()
    shutil.copy(log, log.with_name("messages.old"))
    log.rename(log.with_name("messages.1"))
    add(log, "three")
    assert reader.poll(2) == ["three"]


def test_a_log_that_begins_with_the_same_line_each_time_and_was_copied_away(log: Path, reader: Reader) -> None:
    log.write_text("# header\n")
    reader.poll()
    add(log, "one")
    shutil.copy(log, log.with_name("messages.1"))
    log.write_text("# header\ntwo\n")
    # nothing in the file itself tells that it was begun again; the copy does
    assert reader.poll(2) == ["one", "# header", "two"]


def test_truncation_begins_a_new_generation(log: Path, reader: Reader) -> None:
    add(log, "one", "two")
    reader.poll()
    log.write_text("x\n")
    assert reader.poll() == ["x"]
    assert sorted(reader.ranges.values()) == [[2], [4, 8]]


def test_truncation_with_the_same_first_line_gets_another_ordinal(log: Path, reader: Reader) -> None:
    for _ in range(3):
        log.write_text("# header\n")
        reader.poll()
        add(log, "line")
        reader.poll()
    names = list(reader.ranges)
    assert [name.rsplit("-", 1)[1] for name in names] == ["0", "1", "2"]
    assert len({name.rsplit("-", 1)[0] for name in names}) == 1


def test_a_file_written_anew_beyond_the_position_within_one_poll_is_noticed(log: Path, reader: Reader) -> None:
    log.write_text("# header\nfirst content\n")
    reader.poll()
    log.write_text("# header\nother content, and longer than before\n")
    assert reader.poll() == ["# header", "other content, and longer than before"]


def test_copy_and_truncate_finishes_the_copy(log: Path, reader: Reader) -> None:
    add(log, "one")
    reader.poll()
    add(log, "two")
    copy = log.with_name("messages.1")
    shutil.copy(log, copy)
    log.write_text("")
    assert reader.poll() == ["two"]
    add(log, "three")
    assert reader.poll() == ["three"]
    # the copy goes on as the generation that it copies: another reader of the log gives the same range
    assert sorted(reader.ranges.values()) == [[4, 8], [6]]
    assert not reader.lost


def test_truncated_without_a_copy_the_known_rest_is_reported(log: Path, reader: Reader) -> None:
    add(log, "one", "par", end="")
    reader.poll()
    log.write_text("")
    assert reader.poll() == []
    assert [(lost.lines, lost.bytes, lost.overflow) for lost in reader.lost] == [(None, 3, False)]
    assert "truncated" in reader.lost[0].reason
    assert reader.tailer.lost_bytes == 3


# restarts


def test_positions_survive(log: Path, reader: Reader) -> None:
    add(log, "one")
    reader.poll()
    reader.restart()
    add(log, "two")
    assert reader.poll() == ["two"]
    assert list(reader.ranges.values()) == [[4, 8]]


def test_a_file_rotated_while_away_is_finished(log: Path, reader: Reader) -> None:
    add(log, "one")
    reader.poll()
    state = reader.stop()
    add(log, "two")
    log.rename(log.with_name("messages.1"))
    add(log, "three")
    reader.go_on(state)
    assert reader.poll() == ["two", "three"]
    assert sorted(reader.ranges.values()) == [[4, 8], [6]]
    assert not reader.lost


def test_files_that_came_and_went_while_away_are_read(log: Path, reader: Reader) -> None:
    add(log, "one")
    age(log, 30)
    reader.poll()
    state = reader.stop()
    add(log, "two")
    age(log, 20)
    log.rename(log.with_name("messages-20260301"))
    add(log, "three")
    age(log, 10)
    log.rename(log.with_name("messages-20260302"))
    add(log, "four")
    reader.go_on(state)
    assert reader.poll() == ["two", "three", "four"]


def test_a_log_that_is_not_there_just_now_is_finished_under_its_new_name(log: Path, reader: Reader) -> None:
    add(log, "one")
    reader.poll()
    state = reader.stop()
    add(log, "two")
    log.rename(log.with_name("messages.1"))
    reader.go_on(state)
    assert reader.poll() == ["two"]
    add(log, "three")
    assert reader.poll() == ["three"]


def test_a_copy_made_while_away_is_finished(log: Path, reader: Reader) -> None:
    add(log, "one", "two")
    reader.poll()
    state = reader.stop()
    add(log, "three")
    shutil.copy(log, log.with_name("messages.1"))
    log.write_text("four\n")
    reader.go_on(state)
    assert reader.poll() == ["three", "four"]
    assert not reader.lost


def test_a_file_deleted_while_away_is_reported(log: Path, reader: Reader) -> None:
    add(log, "one", "par", end="")
    reader.poll()
    state = reader.stop()
    log.rename(log.with_name("elsewhere.gz"))
    log.with_name("elsewhere.gz").write_text("packed")
    add(log, "new")
    reader.go_on(state)
    assert reader.poll() == ["new"]
    assert [(lost.lines, lost.bytes) for lost in reader.lost] == [(None, 3)]
    reader.restart()
    assert reader.poll() == []
    assert len(reader.lost) == 1  # told once


def test_a_file_truncated_while_away_whose_copy_is_compressed_is_reported(log: Path, reader: Reader) -> None:
    add(log, "one", "two")
    reader.poll()
    state = reader.stop()
    add(log, "three")
    log.with_name("messages.1.gz").write_text("packed")
    log.write_text("")
    add(log, "new")
    reader.go_on(state)
    assert reader.poll() == ["new"]
    assert [(lost.lines, lost.bytes) for lost in reader.lost] == [(None, 0)]
    assert "truncated while" in reader.lost[0].reason
    reader.restart()
    assert reader.poll() == []
    assert len(reader.lost) == 1  # told once


def test_a_rewritten_file_is_not_taken_for_a_grown_one_after_a_restart(log: Path, reader: Reader) -> None:
    log.write_text("# header\nold\n")
    reader.poll()
    state = reader.stop()
    log.write_text("# header\nnew and longer\n")
    reader.go_on(state)
    assert reader.poll() == ["# header", "new and longer"]
    assert [name.rsplit("-", 1)[1] for name in reader.ranges] == ["0", "1"]


def test_lost_positions_make_new_generations(log: Path) -> None:
    add(log, "one")
    first, second = Reader(log), Reader(log, doubt=77)
    assert first.poll() == second.poll() == ["one"]
    assert list(second.ranges) == [name.removesuffix("-0") + "-77" for name in first.ranges]
    first.tailer.close()
    second.tailer.close()


def test_two_readers_out_of_step_agree_on_names_and_offsets(log: Path, reader: Reader) -> None:
    other = Reader(log)
    add(log, "one", "two")
    reader.poll()
    add(log, "three")
    other.poll()
    reader.poll()
    log.rename(log.with_name("messages.1"))
    add(log, "four")
    reader.poll()
    add(log, "five")
    other.poll()
    reader.poll()
    assert reader.ranges == other.ranges
    other.tailer.close()


def test_a_log_that_was_deleted_and_read_begins_anew_even_with_the_same_inode_and_line(log: Path) -> None:
    reader = Reader(log.with_name("mess*"))
    log.write_text("# header\n")
    reader.poll()
    log.unlink()
    reader.poll(SETTLED + 2)
    inode = reader.chunks[0].generation.split("-")[0]
    for _ in range(50):  # a file system is free to use the number again; most do at once
        log.write_text("# header\n")
        if str(log.stat().st_ino) == inode:
            break
        log.rename(log.with_name(f"other{_}.gz"))
    else:
        log.write_text("# header\n")  # somebody else has the number: another one must do as well
    assert reader.poll() == ["# header"]
    assert len(reader.ranges) == 2
    assert not reader.lost
    reader.restart()
    assert reader.poll() == []
    reader.tailer.close()


@pytest.mark.parametrize(
    "state",
    [
        [],
        {"files": 3},
        {"files": [{}]},
        {"files": [{**LogFile("a", 1).to_data(), "offset": -1}]},
        {"files": [{**LogFile("a", 1).to_data(), "path": 1}]},
        {"files": [{**LogFile("a", 1).to_data(), "offset": 5}]},
    ],
)
def test_a_state_that_is_none_is_refused(state: Any) -> None:
    with pytest.raises(ValueError, match="saved"):
        Tailer(["a"], state)


# wildcards


def test_a_wildcard_takes_new_files_and_leaves_rotated_ones_to_their_log(log: Path) -> None:
    reader = Reader(log.with_name("mess*"))
    add(log, "one")
    old = log.with_name("messages.1")
    add(old, "ancient")
    age(old, 100)
    assert reader.poll() == ["one"]
    add(log.with_name("messy"), "two")
    add(log.with_name("messy.gz"), "packed")
    assert reader.poll() == ["two"]
    old.rename(log.with_name("messages.2"))
    log.rename(old)
    assert reader.poll() == []
    add(log, "three")
    assert reader.poll() == ["three"]
    assert {chunk.path for chunk in reader.chunks} == {str(log), str(log.with_name("messy"))}
    reader.tailer.close()


def test_dated_files_without_a_base_are_logs_of_their_own(log: Path) -> None:
    reader = Reader(log.with_name("app.log*"))
    add(log.with_name("app.log-20260301"), "one")
    add(log.with_name("app.log-20260302"), "two")
    assert reader.poll() == ["one", "two"]
    reader.tailer.close()


def test_a_log_renamed_within_the_wildcard_goes_on_after_a_restart(log: Path) -> None:
    reader = Reader(log.with_name("*.log"))
    first, second = log.with_name("a.log"), log.with_name("b.log")
    add(first, "one")
    reader.poll()
    first.rename(second)
    add(second, "two")
    assert reader.poll() == ["two"]
    reader.restart()
    add(second, "three")
    assert reader.poll() == ["three"]
    reader.tailer.close()


def test_positions_of_logs_that_are_not_named_any_more_are_kept(log: Path, reader: Reader) -> None:
    add(log, "one")
    reader.poll()
    state = reader.stop()
    other = Tailer([str(log.with_name("other"))], state)
    assert other.poll() == []
    kept = other.to_data()
    add(log, "two")
    reader.go_on(kept)
    assert reader.poll() == ["two"]


def test_one_file_under_two_names_is_read_once(log: Path) -> None:
    add(log, "one")
    os.link(log, log.with_name("linked"))
    reader = Reader(log, log.with_name("linked"))
    assert reader.poll() == ["one"]
    reader.tailer.close()


def test_what_is_no_file_is_named_as_a_problem(log: Path) -> None:
    log.mkdir()
    os.mkfifo(log.with_name("pipe"))
    reader = Reader(log, log.with_name("pipe"))
    assert reader.poll() == []
    assert set(reader.tailer.problems) == {str(log), str(log.with_name("pipe"))}
    log.rmdir()
    add(log, "one")
    assert reader.poll() == ["one"]
    reader.tailer.close()


# limits


def test_a_line_without_end_is_not_kept_in_memory(log: Path) -> None:
    reader = Reader(log, line_limit=100)
    big = "x" * (READ_BYTES * 2 + 1000)
    add(log, "one", big, "two")
    assert reader.poll() == ["one", "x" * 100, "two"]
    assert reader.ranges[reader.chunks[0].generation] == [4, 4 + len(big) + 1, 4 + len(big) + 5]
    reader.restart()
    add(log, "three")
    assert reader.poll() == ["three"]
    reader.tailer.close()


def test_a_first_line_without_end_has_an_identity(log: Path) -> None:
    reader = Reader(log, line_limit=100)
    add(log, "x" * (READ_BYTES + 10), end="")
    assert reader.poll() == []
    add(log, "y")
    assert reader.poll() == ["x" * 100]
    add(log, "two")
    reader.restart()
    assert reader.poll() == ["two"]
    reader.tailer.close()


def test_files_take_turns(log: Path) -> None:
    other = log.with_name("other")
    reader = Reader(log, other)
    add(log, *["x" * 99] * 10_000)
    add(other, "quiet")
    first = reader.tailer.poll(max_bytes=1000)
    assert reader.tailer.behind
    second = reader.tailer.poll(max_bytes=1000)
    assert [chunk.path for chunk in first + second] == [str(log), str(other), str(log)]
    reader.tailer.close()


def test_a_poll_of_nothing_still_holds_rotated_files(log: Path, reader: Reader) -> None:
    add(log, "one")
    reader.poll()
    for number in range(3):
        add(log, f"held {number}")
        assert reader.tailer.poll(0) == []
        log.unlink()
        add(log, f"new {number}")
        assert reader.tailer.poll(0) == []
        assert reader.tailer.behind
    assert reader.poll() == ["held 0", "new 0", "held 1", "new 1", "held 2", "new 2"]


def test_too_many_deleted_files_are_given_up_and_counted(log: Path, reader: Reader) -> None:
    for number in range(HELD_DELETED + 3):
        add(log, f"a {number}", f"b {number}")
        reader.tailer.poll(0)
        log.unlink()
    add(log, "last")
    reader.tailer.poll(0)
    lines = reader.poll()
    assert [(lost.lines, lost.overflow) for lost in reader.lost] == [(2, True)] * 3
    assert reader.tailer.lost_lines == 6
    assert lines[0] == "a 3"
    assert len(lines) == HELD_DELETED * 2 + 1


def test_finished_files_are_closed_and_few_are_remembered(log: Path, reader: Reader) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(KEPT + 4):
        add(log, f"line {number}")
        reader.poll(2)
        log.unlink()
        add(log, "next")
        reader.poll(SETTLED + 2)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2
    assert len(reader.tailer.to_data()["files"]) <= KEPT + 1


def test_context_in_front_of_a_restored_position(log: Path) -> None:
    reader = Reader(log, context=2)
    add(log, "one", "two", "three")
    reader.poll()
    assert reader.chunks[-1].before == []
    reader.restart()
    add(log, "four")
    reader.poll()
    assert reader.chunks[-1].before == [b"two", b"three"]
    add(log, "five")
    reader.poll()
    assert reader.chunks[-1].before == []
    reader.tailer.close()


# everything at once

STEPS: dict[str, Callable[[Path, Reader], None]] = {
    "poll": lambda _log, reader: (reader.poll(), None)[1],
    "hold": lambda _log, reader: (reader.tailer.poll(0), None)[1],
    "restart": lambda _log, reader: reader.restart(),
}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(["write", "write", "poll", "hold", "restart", "rename", "copytruncate"]),
        min_size=4,
        max_size=40,
    ),
    st.booleans(),
)
def test_no_line_is_lost_and_none_comes_twice(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], header: bool
) -> None:
    """A log that is written, rotated either way while its files exist, and read by a reader that restarts."""
    log = tmp_path_factory.mktemp("logs") / "messages"
    reader = Reader(log)
    written: list[str] = []
    clock = 1_700_000_000
    rotations = 0

    def touch() -> None:
        nonlocal clock
        clock += 1
        os.utime(log, (clock, clock))

    for step in ["write", "poll", *steps, "write", "poll"]:
        if step == "write":
            written.append(f"line {len(written)}")
            add(log, written[-1])
            touch()
        elif step in ("rename", "copytruncate") and log.exists():
            for number in range(rotations, 0, -1):
                log.with_name(f"messages.{number}").rename(log.with_name(f"messages.{number + 1}"))
            rotations += 1
            if step == "rename":
                log.rename(log.with_name("messages.1"))
            else:
                shutil.copy2(log, log.with_name("messages.1"))
                log.write_text("")
                touch()
                if header:
                    add(log, "# header")
                    touch()
        elif step in STEPS:
            STEPS[step](log, reader)
    got = [line.decode() for chunk in reader.chunks for line, _ in chunk.lines if line != b"# header"]
    reader.tailer.close()
    # the order of two generations is kept unless both ways of rotation met between two polls
    assert all(ends == sorted(ends) for ends in reader.ranges.values())
    if header and {"rename", "copytruncate"} <= set(steps):
        # every generation begins with the same line: where both ways of rotation meet, identity is in doubt
        assert set(got) >= set(written)
        return
    assert sorted(got) == sorted(written)
    assert not reader.lost
