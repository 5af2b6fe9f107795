"""Only what ended the last run is named as the reason of its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from opentec.commands.endings import awaited, last_words


def log(folder: Path, *lines: str) -> Path:
    path = folder / "tec_master.log"
    path.write_text("".join(f"2026-03-01T{line}\n" for line in lines))
    return path


@pytest.mark.parametrize("begun", ["epoch 2 is ours: lock free", "standing by for brown"])
def test_an_error_of_a_run_before_is_no_reason(tmp_path: Path, begun: str) -> None:
    path = log(tmp_path, "08:00:00.000 ERROR the disk hangs", f"08:00:01.000 INFO {begun}", "08:00:02.000 INFO up")
    assert last_words(path) == f"; its log is {path}"
    path.write_text(path.read_text() + "2026-03-01T08:00:03.000 CRITICAL it ends\n")
    assert last_words(path) == f"; the last error in {path}: 2026-03-01T08:00:03.000 CRITICAL it ends"


@pytest.mark.parametrize(("end", "named"), [("07:59:30.000", True), ("08:00:00.000", True), ("08:00:00.001", False)])
def test_an_error_that_was_got_over_is_no_reason(tmp_path: Path, end: str, named: bool) -> None:
    """A minute before the end is long enough to have got over it."""
    path = log(tmp_path, "07:59:00.000 ERROR rule crashed", f"{end} INFO tec_rule is up again", "a traceback")
    assert ("rule crashed" in last_words(path)) is named


def test_a_start_that_failed_is_the_last_thing_that_happened(tmp_path: Path) -> None:
    path = log(tmp_path, "08:00:00.000 INFO epoch 2 is ours: lock free", "09:00:00.000 ERROR the port is taken")
    assert "the port is taken" in last_words(path)


@pytest.mark.parametrize("text", ["", "no time in it\n", "2026-13-01T08:00:00.000 INFO never\n"])
def test_a_log_that_says_nothing_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tec_master.log"
    path.write_text(text)
    assert last_words(path) == f"; its log is {path}"
    assert awaited(path) == ""


def test_without_a_log_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert (last_words(tmp_path / "none"), awaited(tmp_path / "none")) == ("", "")


def test_what_a_node_waits_for_is_the_last_line_only(tmp_path: Path) -> None:
    waits = "08:00:00.000 ERROR node black stands by again when this is mended: rx/: Read-only\x1b file system"
    assert awaited(log(tmp_path, waits)) == "rx/: Read-only\\x1b file system"
    assert awaited(log(tmp_path, waits, "08:00:09.000 INFO standing by for brown")) == ""
