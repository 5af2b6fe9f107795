"""`tec replay` of a dump and of a log file: the same questions as of segments, answered from text."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from opentec.commands.log import text_of
from opentec.commands.replay_scratch import Scratch
from opentec.commands.shown import column, event_text, slots_of
from opentec.events.errors import SourceErrors
from opentec.events.image import COLUMNS
from opentec.events.records import Disposition, Kind, Record, Verdict, decode_event, decode_rejected, name_of
from opentec.rules.rulebase import RuleBase
from opentec.testing.inputs import TEXT_LIMIT
from opentec.testing.replay import Replay
from opentec.testing.replay_log import PAGE
from opentec.testing.replay_text import DumpRecording, LineRecording
from tests.testing.kit import RULES, Run, make_rule_base

START = 1_772_352_000  # 2026-03-01T08:00:00Z
FORMATS = """\
FORMAT Disk_Full
%t %s disk %s full at %s
hostname $2
drive $3
used $4
END
FORMAT Disk_OK
%t %s disk %s fine
hostname $2
drive $3
END
FORMAT *DISCARD*
%t %s debug %s*
END
"""
LINES = """\
Mar  1 08:00:00 h1 disk C: full at 90
Mar  1 08:00:01 h1 debug nothing
Mar  1 08:00:01 h1 disk C: full at 95
Mar  1 08:00:02 h1 something else
Mar  1 08:00:03 h1 disk D: full at much
Mar  1 08:00:04 h1 disk E: full at 50
Mar  1 08:02:04 h1 disk C: fine
"""


@pytest.fixture
def formats(tmp_path: Path) -> Path:
    path = tmp_path / "disk.fmt"
    path.write_text(FORMATS)
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "messages"
    path.write_text(LINES)
    return path


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """Two events that are one, their recovery, one that was refused, an operator's change, one of a later class."""
    full = {"class": "Disk_Full", "slots": {"hostname": "h1", "drive": "C:", "used": 5}}
    change = {"class": "CHANGE", "slots": {"status": "ACK"}, "event": [START + 3, 1, 1], "user": "ann"}
    records: list[tuple[int, Disposition, dict[str, Any]]] = [
        (0, Disposition.STORED, full),
        (1, Disposition.DROPPED, full),
        (2, Disposition.REJECTED, {"text": b"Disk_Full;a=b;END", "reason": "no slot 'a'"}),
        (3, Disposition.STORED, {"class": "Disk", "slots": {"drive": "Z:"}}),
        (4, Disposition.APPLIED, change),
        (5, Disposition.APPLIED, change | {"event": [START, 99, 1]}),
        (6, Disposition.STORED, {"class": "Disk_Later", "slots": {}}),
        (100, Disposition.DROPPED, {"class": "Disk_OK", "slots": full["slots"]}),
    ]
    path = tmp_path / "dump.txt"
    more = {"position": 1 << 44, "reason": None, "date_reception": 0, "event_handle": 0}
    path.write_text(
        "\n".join(
            text_of(more | {"time": (START + at) * 1_000_000, "disposition": disposition} | record, number)
            for number, (at, disposition, record) in enumerate(records, 1)
        )
    )
    return path


def variant(tmp_path: Path) -> Path:
    return make_rule_base(tmp_path / "new", RULES.replace("'FATAL'", "'MINOR'"))


def records(recording: DumpRecording | LineRecording, base: RuleBase) -> list[Record]:
    return [record for page in recording.pages(base.classes) for record in page]


# lines


def test_lines_become_records_at_their_places(log: Path, formats: Path, base: RuleBase) -> None:
    recording = LineRecording(log, formats, "h9", 2026)
    found = records(recording, base)
    assert [(name_of(one.position), name_of(one.after), one.time // 1_000_000 - START) for one in found] == [
        ("rx:1:1", "rx:1:3", 0),
        ("rx:1:3", "rx:1:5", 1),
        ("rx:1:5", "rx:1:6", 3),
        ("rx:1:6", "rx:1:7", 4),
        ("rx:1:7", "rx:1:8", 124),
    ]
    assert [one.verdict for one in found] == [0, 0, Verdict.REJECTED, 0, 0]
    assert decode_event(found[0].payload).slots == {
        "hostname": "h1",
        "drive": "C:",
        "used": 90,
        "adapter_host": "h9",
    }
    rejected = decode_rejected(found[2].payload)
    assert rejected.reason.startswith("slot 'used' of class Disk_Full: 'much'")
    assert rejected.text == b"Mar  1 08:00:03 h1 disk D: full at much"
    assert recording.verdicts == {"event": 5, "discarded": 1, "unmatched": 1}
    assert recording.size == 7
    assert records(recording, base) == found, "a recording may be read again"
    assert recording.verdicts["event"] == 5


def test_lines_that_say_no_year_need_one(log: Path, formats: Path, base: RuleBase, replay: Run, folder: Path) -> None:
    ran = replay("--lines", log, "--format", formats, "--rules", folder)
    assert ran.status == 2
    assert f"{log}:1:1: the time 'Mar 1 08:00:00' says no year" in ran.err
    assert "--year" in ran.err


def test_many_lines_are_many_pages(tmp_path: Path, formats: Path, base: RuleBase) -> None:
    path = tmp_path / "many"
    path.write_text("".join(f"2026-03-01T08:00:00Z h{number} disk C: fine\n" for number in range(PAGE + 1)))
    pages = list(LineRecording(path, formats).pages(base.classes))
    assert [len(page) for page in pages] == [PAGE, 1]
    assert sum(page[-1].after - page[0].position for page in pages) == PAGE + 1
    (tmp_path / "none").write_text("")
    assert list(LineRecording(tmp_path / "none", formats).pages(base.classes)) == []


def test_a_very_long_line_is_one_line(tmp_path: Path, formats: Path, base: RuleBase) -> None:
    path = tmp_path / "long"
    path.write_bytes(b"x" * (3 * TEXT_LIMIT) + b"\n2026-03-01T08:00:00Z h disk C: fine")
    recording = LineRecording(path, formats)
    assert [name_of(one.position) for one in records(recording, base)] == ["rx:1:2"]
    assert recording.size == 2


def test_a_day_of_raw_log(log: Path, formats: Path, folder: Path, replay: Run, tmp_path: Path) -> None:
    options = ("--lines", log, "--format", formats, "--year", "2026", "--rules", folder)
    ran = replay(*options)
    assert ran.status == 0, ran.err
    for words in (
        "rx:1:1 to rx:1:8, 2026-03-01T08:00:00Z to 2026-03-01T08:02:04Z",
        "records   EVENT 5",
        "outcomes  DROPPED 2, REJECTED 1, STORED 2",
        "3  disk/full: count 1, wait 2",
        "at end    CLOSED 1, OPEN 1; timers 0",
    ):
        assert words in ran.out, ran.out
    assert f"{log}: lines: 5 events, 1 discarded, 1 unmatched; `tec adapter try" in ran.err
    assert "rule disk/full, count" in replay(*options, "--event", "rx:1:3").out
    late = replay(*options, "--rule", "disk/late", "--json").objects
    # both timers fire before the next line; the event of the first is closed by it
    assert [(one["event"], one["actions"]) for one in late] == [
        (f"{START}.1", ["action_1"]),
        (f"{START + 4}.1", ["action_1"]),
    ]
    new = replay(*options, "--against", variant(tmp_path), "--json")
    assert new.status == 1
    *_, summary = new.objects
    assert summary["rules"]["disk/late"]["changes"] == {"severity MINOR -> FATAL": 2}
    shifted = replay(*options, "--zone", "Europe/Berlin", "--json").objects
    assert shifted[0]["since"] == "2026-03-01T07:00:00Z"


def test_the_shipped_formats_are_the_default(tmp_path: Path, replay: Run) -> None:
    path = tmp_path / "auth.log"
    path.write_text("2026-03-01T08:00:00Z h su: 'su root' failed for ann on /dev/pts/0\nnothing\n")
    ran = replay("--lines", path, "--hostname", "h", "--rules", tmp_path / "none")
    assert ran.status == 2 and "none" in ran.err
    from opentec.shipped import shipped

    ran = replay("--lines", path, "--rules", shipped("rules", "default"), "--json")
    assert ran.status == 0, ran.err
    assert ran.objects[0]["records"] == {"EVENT": 1}


# dumps


def test_a_dump_becomes_records(dump: Path, base: RuleBase) -> None:
    recording = DumpRecording(dump)
    found = records(recording, base)
    assert [(one.kind, one.verdict, one.time // 1_000_000 - START) for one in found] == [
        (Kind.EVENT, 0, 0),
        (Kind.EVENT, 0, 1),
        (Kind.EVENT, Verdict.REJECTED, 2),
        (Kind.EVENT, 0, 3),
        (Kind.CHANGE, 0, 4),
        (Kind.CHANGE, 0, 5),
        (Kind.EVENT, Verdict.REJECTED, 6),
        (Kind.EVENT, 0, 100),
    ]
    assert [decode_rejected(found[at].payload).reason for at in (2, 6)] == [
        "no slot 'a'",
        "class 'Disk_Later' is not defined; did you mean 'Disk_Full'?",
    ]
    assert sum(page[-1].after - page[0].position for page in recording.pages(base.classes)) <= recording.size


def test_a_dump_is_replayed(dump: Path, folder: Path, replay: Run, tmp_path: Path) -> None:
    options = ("--log", dump, "--rules", folder)
    (data,) = replay(*options, "--json").objects
    assert data["outcomes"] == {"APPLIED": 1, "DROPPED": 2, "REFUSED": 1, "REJECTED": 2, "STORED": 2}
    assert data["rules"]["disk/late"]["fired"] == 1
    assert data["at_the_end"]["statuses"] == {"ACK": 1, "CLOSED": 1}
    assert f"{START + 3}.1 Disk (ACK)" in replay(*options, "--event", f"{START + 3}.1").out
    ran = replay(*options, "--against", variant(tmp_path))
    assert (ran.status, "1  severity MINOR -> FATAL" in ran.out) == (1, True), ran.out


def test_a_dump_of_the_repository_is_received_again(dump: Path, folder: Path, base: RuleBase, tmp_path: Path) -> None:
    with Scratch(tmp_path / "one.db") as scratch:
        list(Replay(DumpRecording(dump), scratch, lambda wanted: base, base).run())
    with closing(sqlite3.connect(tmp_path / "one.db")) as connection:
        rows = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM event ORDER BY eid").fetchall()
    path = tmp_path / "repository.txt"
    path.write_text("\n".join(event_text(column(row, "class"), slots_of(row)) for row in rows))
    found = records(DumpRecording(path), base)
    assert [(decode_event(one.payload).class_name, one.verdict) for one in found] == [
        (column(row, "class"), Verdict.ACCEPTED) for row in rows
    ]
    assert [one.time // 1_000_000 for one in found] == [column(row, "date_reception") for row in rows]
    assert decode_event(found[0].payload).slots["used"] == 5
    assert len(found) >= 2


def test_changes_and_texts_that_are_none(tmp_path: Path, base: RuleBase) -> None:
    path = tmp_path / "odd"
    path.write_text("CHANGE;event=x;user=ann;END\nDisk;a b;END\nDisk;END\n")
    found = records(DumpRecording(path), base)
    assert [one.verdict for one in found] == [Verdict.REJECTED, Verdict.REJECTED, 0]
    assert "'x' is not an event" in decode_rejected(found[0].payload).reason
    assert decode_rejected(found[1].payload).text == b"Disk;a b;END"
    path.write_text("\n")
    with pytest.raises(SourceErrors, match="the dump has no record"):
        records(DumpRecording(path), base)
    with pytest.raises(SourceErrors, match="cannot be read"):
        DumpRecording(tmp_path / "missing")


# both


@pytest.mark.parametrize("kind", ["lines", "dump"])
def test_two_processes_give_the_same_bytes(
    kind: str, log: Path, formats: Path, dump: Path, folder: Path, tmp_path: Path
) -> None:
    source = ["--log", dump] if kind == "dump" else ["--lines", log, "--format", formats, "--year", "2026"]
    command = [sys.executable, "-m", "opentec.commands.main", "replay", *map(str, source), "--json"]
    command += ["--rules", str(folder), "--against", str(variant(tmp_path))]
    processes = [
        subprocess.Popen(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for seed in ("1", "2")
    ]
    done = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [1, 1], done
    assert done[0][0] == done[1][0]
    assert len(done[0][0].splitlines()) > 3


def test_what_is_wrong_is_status_2(log: Path, dump: Path, folder: Path, replay: Run, tmp_path: Path) -> None:
    rules = ("--rules", folder)
    (tmp_path / "text").write_text("hello world\n")
    for arguments, said in (
        (("--log", dump, "--lines", log, *rules), "--lines in its place"),
        (("--log", dump, "--year", "2026", *rules), "--year says how to read --lines"),
        (("--log", dump, "--format", log, *rules), "--format says how"),
        (("--lines", log, "--year", "1900", *rules), "a year from 1970"),
        (("--lines", log, "--zone", "Mars", *rules), "is no time zone"),
        (("--lines", log, "--zone", "../x", *rules), "is no time zone"),
        (("--lines", log, "--format", log, *rules), "expected FORMAT"),
        (("--lines", tmp_path / "no", *rules), "cannot be read"),
        (("--log", dump, "--recorded"), "does not say which rule bases ruled"),
        (("--log", dump, *rules, "--diff"), "to compare --against"),
        (("--log", tmp_path / "text", *rules), "begins no event"),
        (("--verify", tmp_path, "--lines", log), "no other option"),
    ):
        ran = replay(*arguments)
        assert ran.status == 2, (arguments, ran.out, ran.err)
        assert said in ran.err, (arguments, ran.err)
        assert "unexpected" not in ran.err
