"""`tec replay`: a recorded log through rule bases, in log time; what differs, and whether it is what was stored."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from opentec.commands import main as tec
from opentec.commands.replay_run import work_folder
from opentec.commands.replay_scratch import Scratch
from opentec.events.records import (
    ActivatePayload,
    ChangePayload,
    EventPayload,
    Kind,
    QuarantinePayload,
    RejectedPayload,
    encode,
    name_of,
    position_of,
)
from opentec.log.codec import RECORD_SIZE
from opentec.log.errors import LogError
from opentec.log.segments import recover
from opentec.log.writer import LogWriter, open_writer
from opentec.rules.rulebase import RuleBase, RuleBaseError, load_compiled, load_rule_base, snapshot
from opentec.testing.replay import NOTHING, Explain, Replay, ReplayError
from opentec.testing.replay_log import SegmentLog, describe
from opentec.testing.replay_tally import DISTINCT, OTHERS, Tally
from opentec.testing.replay_verify import differences, position_of_repository
from tests.testing.kit import CLASSES, RULES, Ran, Run, make_rule_base

INSTANCE = "0" * 32
START = 1_772_352_000_000_000  # microseconds: 2026-03-01T08:00:00Z
SECOND = 1_000_000
MORE = """
rule: run: (
  event: _event of_class 'Disk_Full' where [drive: equals 'run'],
  reception_action: ( exec_program(_event, 'df', '%s', ['-h'], 'NO'), generate_event('Disk', [drive=_x]) )
).
"""


class Log:
    """A log in the making. Times are in seconds from START."""

    def __init__(self, folder: Path, epoch: int = 1, **options: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.writer: LogWriter = open_writer(folder, INSTANCE, epoch, recover(folder, INSTANCE), **options)

    def add(self, kind: Kind, at: float, payload: Any = None, **more: Any) -> int:
        """One durable record; its position."""
        data = b"" if payload is None else encode(payload)
        position = self.writer.add(kind, START + round(at * SECOND), data, **more)
        self.writer.write(self.writer.take())
        return position

    def event(self, at: float, class_name: str = "Disk_Full", **slots: Any) -> int:
        slots = {"hostname": "h1", "drive": "C:"} | slots
        return self.add(Kind.EVENT, at, EventPayload(class_name, slots))

    def change(self, at: float, key: str, user: str = "ann", **slots: Any) -> int:
        date, handle = key.split(".")
        return self.add(Kind.CHANGE, at, ChangePayload((int(date), int(handle), 1), slots, user))

    def activate(self, at: float, base: RuleBase) -> int:
        payload = ActivatePayload(base.content_hash, base.name, msgspec.to_builtins(base.settings))
        return self.add(Kind.ACTIVATE, at, payload)


def key(at: int, handle: int = 1) -> str:
    return f"{START // SECOND + at}.{handle}"


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "rx")


def disks(log: Log) -> None:
    """A problem, its repeat, its recovery; another that grows late; an event of no class; one that was refused."""
    log.event(0)
    log.event(1)
    log.event(2, "Disk_OK")
    log.event(3, drive="D:")
    log.event(4, "Disk_Fll")
    log.add(Kind.EVENT, 5, RejectedPayload("not an event", b"?", 1), verdict=1)
    log.add(Kind.TICK, 200)


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Callable[[str], Scratch]]:
    made: list[Scratch] = []

    def make(name: str = "s") -> Scratch:
        made.append(Scratch(tmp_path / f"{name}.db"))
        return made[-1]

    yield make
    for one in made:
        one.close()


def none(content_hash: str) -> RuleBase:
    raise RuleBaseError(f"no rule base {content_hash}")


def run(log: Log, scratch: Scratch, base: RuleBase | None, explain: Explain = NOTHING, load: Any = none) -> Tally:
    """A replay to its end; the scratch repository is closed."""
    replay = Replay(SegmentLog(log.folder), scratch, load, base, explain)
    list(replay.run())
    scratch.close()
    return replay.tally


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def variant(tmp_path: Path, change: Callable[[str], str], name: str = "new") -> Path:
    """A rule base whose rules are RULES, changed."""
    return make_rule_base(tmp_path / name, change(RULES))


# the replay itself


def test_the_log_is_fed_through_in_log_time(log: Log, base: RuleBase, scratch: Callable[[], Scratch]) -> None:
    disks(log)
    one = scratch()
    tally = run(log, one, base)
    assert tally.records == {"EVENT": 6, "TICK": 1}
    # the ACTIVATE of its own fires no rule here
    assert tally.outcomes == {"STORED": 2, "DROPPED": 2, "REJECTED": 2, "FIRED": 1}
    assert {name: count.fired for name, count in tally.rules.items()} == {"disk/full": 3, "disk/late": 1, "disk/ok": 1}
    assert tally.rules["disk/full"].actions == {"count": 1, "wait": 2}
    assert sorted(tally.reasons) == [
        f"class 'Disk_Fll' is not defined in the rule base {base.name!r}",
        "not an event",
    ]
    found = rows(one.path, "SELECT drive.value, status, severity, repeat_count FROM event, json_each(slots) AS drive")
    assert found == [("C:", "CLOSED", "WARNING", 1), ("D:", "OPEN", "FATAL", 0)]
    assert (tally.started, tally.ended, tally.total) == (START, START + 200 * SECOND, 7)


def test_a_timer_fires_at_its_own_time(log: Log, base: RuleBase, scratch: Callable[[], Scratch]) -> None:
    log.event(0)
    log.event(500, drive="E:")
    one = scratch()
    run(log, one, base)
    (modified,) = rows(one.path, "SELECT last_modified_time FROM event WHERE severity = 'FATAL'")
    assert modified == (START // SECOND + 60,)


def test_the_given_rule_base_rules_whatever_the_log_activates(
    log: Log, base: RuleBase, scratch: Callable[[], Scratch]
) -> None:
    position = log.activate(0, msgspec.structs.replace(base, content_hash="f" * 64))
    log.event(1)
    tally = run(log, scratch(), base)
    assert tally.rule_bases == [base.content_hash]
    assert tally.activations == [position]
    assert tally.records == {"ACTIVATE": 1, "EVENT": 1}


def test_the_recorded_rule_bases_rule_when_none_is_given(
    log: Log, base: RuleBase, scratch: Callable[[str], Scratch], tmp_path: Path
) -> None:
    other = load_rule_base(variant(tmp_path, lambda rules: rules.replace("'FATAL'", "'CRITICAL'")))
    bases = {base.content_hash: base, other.content_hash: other}
    log.event(0, drive="A:")  # before the first ACTIVATE, as the first record of a server is
    log.activate(1, base)
    log.event(2, drive="B:")
    log.add(Kind.TICK, 90)
    log.activate(100, other)
    log.event(101, drive="C:")
    log.add(Kind.TICK, 300)
    one = scratch("one")
    tally = run(log, one, None, load=bases.__getitem__)
    assert tally.rule_bases == [base.content_hash, other.content_hash]
    assert [row[0] for row in rows(one.path, "SELECT severity FROM event WHERE class LIKE 'Disk%'")] == [
        *("FATAL", "FATAL", "CRITICAL")
    ]
    with pytest.raises(RuleBaseError):
        run(log, scratch("two"), None)


def test_without_an_activation_no_recorded_rule_base_is_known(log: Log, scratch: Callable[[], Scratch]) -> None:
    log.event(0)
    with pytest.raises(ReplayError, match="give one with --rules"):
        run(log, scratch(), None)


def test_a_change_of_an_event_outside_the_cache(
    log: Log, scratch: Callable[[], Scratch], tmp_path: Path, base: RuleBase
) -> None:
    small = msgspec.structs.replace(base, settings=msgspec.structs.replace(base.settings, cache_size=3))
    for number in range(10):
        log.event(number, "Disk", drive=f"{number}")
    log.change(11, key(0), status="CLOSED")
    log.change(12, key(77), status="CLOSED")
    one = scratch()
    assert one.event_row((1 << 63, 1, 1)) is None, "no event can be called that"
    tally = run(log, one, small)
    assert tally.outcomes == {"STORED": 10, "APPLIED": 1, "REFUSED": 1}
    assert rows(one.path, "SELECT administrator FROM event WHERE status = 'CLOSED'") == [("ann",)]


def test_what_is_quarantined_or_damaged_is_passed_over(
    log: Log, base: RuleBase, scratch: Callable[[], Scratch]
) -> None:
    poison = log.event(0, drive="P:")
    damaged = log.event(1, drive="X:")
    log.event(2, drive="C:")
    log.add(Kind.QUARANTINE, 3, QuarantinePayload(poison, "kills the rule process"))
    (segment,) = log.folder.iterdir()
    data = bytearray(segment.read_bytes())
    data[data.index(b"X:")] ^= 1
    segment.write_bytes(data)
    one = scratch()
    tally = run(log, one, base)
    assert tally.records["DAMAGED"] == 1
    assert tally.outcomes == {"FAILED": 2, "STORED": 1}
    assert rows(one.path, "SELECT position FROM outcome WHERE disposition = 4") == [(poison,), (damaged,)]
    assert f"the record at {name_of(damaged)} is damaged" in tally.reasons


def test_what_is_quarantined_is_known_though_the_replay_ends_before(log: Log) -> None:
    """A server may commit what is behind such a record, and end before it has come to the one that names it."""
    poison, behind = log.event(0, drive="P:"), log.event(1)
    log.add(Kind.QUARANTINE, 2, QuarantinePayload(poison, "kills the rule process"))
    recording = SegmentLog(log.folder, behind)
    assert [record.position for page in recording.pages() for record in page] == [poison]
    assert list(recording.quarantined) == [poison]


def test_what_the_repository_refuses_ends_the_replay(log: Log, base: RuleBase, scratch: Callable[[], Scratch]) -> None:
    position = log.event(0, used=1 << 63, repeat_count=1 << 63)
    with pytest.raises(ReplayError, match=f"refuses the record at {name_of(position)}"):
        run(log, scratch(), base)


def test_many_records_are_many_transactions(
    log: Log, base: RuleBase, scratch: Callable[[], Scratch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opentec.testing.replay.BATCH", 4)
    for number in range(30):
        log.event(number, "Disk", drive=f"{number}")
    one = scratch()
    assert run(log, one, base).outcomes == {"STORED": 30}
    assert rows(one.path, "SELECT count(*) FROM event WHERE class = 'Disk'") == [(30,)]


def test_texts_are_counted_up_to_a_limit(log: Log, base: RuleBase, scratch: Callable[[], Scratch]) -> None:
    for number in range(DISTINCT + 5):
        log.writer.add(Kind.EVENT, START, encode(EventPayload(f"No{number}", {})))
    log.writer.write(log.writer.take())
    tally = run(log, scratch(), base)
    assert (len(tally.reasons), tally.reasons[OTHERS]) == (DISTINCT + 1, 5)


def test_explain_is_for_the_records_that_are_asked_for(
    log: Log, base: RuleBase, scratch: Callable[[str], Scratch]
) -> None:
    positions = [log.event(at, "Disk_OK") for at in (0, 10, 10.5, 20, 30)]
    for name, explain, wanted in (
        ("position", Explain(position=positions[1]), positions[1:2]),
        ("second", Explain(second=START // SECOND + 10), positions[1:4]),  # a timer of that second fires in the last
    ):
        one = scratch(name)
        run(log, one, base, explain)
        explained = rows(one.path, "SELECT position FROM outcome WHERE rules LIKE '%was%' OR rules LIKE '%ended%'")
        assert [row[0] for row in explained] == wanted


# the log


def test_the_end_of_a_segment_that_nothing_seals(log: Log, base: RuleBase) -> None:
    log.event(0)
    last = log.event(1)
    (segment,) = log.folder.iterdir()
    end = SegmentLog(log.folder)
    records = [record for page in end.pages() for record in page]
    assert (records[-1].position, end.size) == (last, records[-1].after - position_of(1, 0))
    torn = bytearray(segment.read_bytes())
    at = torn.rindex(b"C:")
    torn[at] ^= 1  # the last payload was not written whole: nobody was told that it was
    segment.write_bytes(torn)
    found = [record for page in SegmentLog(log.folder).pages() for record in page]
    assert [record.position for record in found] == [records[0].position]
    segment.with_name(segment.name + ".bad").write_text("0")
    assert SegmentLog(log.folder).size == 0


def test_segments_one_missing_and_a_log_that_was_cut(tmp_path: Path) -> None:
    log = Log(tmp_path / "rx", segment_size=1000)
    for number in range(60):
        log.event(number)
    names = sorted((path.name for path in log.folder.iterdir()), key=lambda name: int(name.split(".")[2]))
    assert len(names) > 4
    whole = SegmentLog(log.folder)
    assert (whole.whole, describe(whole)) == (True, "")
    one = SegmentLog(log.folder / names[1])
    assert not one.whole
    assert one.size < whole.size
    assert all(record.position >= one.begins for page in one.pages() for record in page)
    (log.folder / names[0]).unlink()
    cut = SegmentLog(log.folder)
    assert not cut.whole
    assert name_of(cut.begins) in describe(cut)
    (log.folder / names[2]).unlink()
    with pytest.raises(LogError, match=rf"between {names[1]} and {names[3]} a segment is missing"):
        SegmentLog(log.folder)


def test_a_segment_of_an_earlier_epoch_is_missing(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        Log(tmp_path / "rx", epoch).event(epoch)
    (tmp_path / "rx" / "rx.2.0").unlink()
    with pytest.raises(LogError, match=r"segment rx\.2\.0 is missing, which rx\.3\.0 names"):
        SegmentLog(tmp_path / "rx")


def test_what_is_no_log_is_said(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(LogError, match="holds no segments"):
        SegmentLog(tmp_path)
    with pytest.raises(LogError, match=r"rx\.EPOCH\.NUMBER"):
        SegmentLog(tmp_path / "x")


# verify


def test_every_row_counts(log: Log, base: RuleBase, scratch: Callable[[str], Scratch]) -> None:
    disks(log)
    log.event(300, drive="Z:")
    one, two = scratch("one"), scratch("two")
    for each in (one, two):
        run(log, each, base)
    assert list(differences(one.path, two.path)) == []
    with closing(sqlite3.connect(two.path)) as connection, connection:
        connection.execute("UPDATE event SET msg = 'other' WHERE eid = 1")
        connection.execute("DELETE FROM outcome WHERE position = (SELECT max(position) FROM outcome)")
        connection.execute("UPDATE rule_state SET value = x'07' WHERE key = 'eid'")
        connection.execute("INSERT INTO rule_state VALUES ('fact:x', x'01')")
        connection.execute("UPDATE timer SET due = 5")
        connection.execute("UPDATE repository SET position = 5")
        outbox = "INSERT INTO outbox (id, position, eid, kind, data) VALUES (?, 0, 1, 'program', ?)"
        connection.execute(outbox, ("a", '{"argv":["df"]}'))
        connection.execute(outbox, ("b", '{"argv":["df"],"operator":"ann"}'))  # no rule asked for it
    found = list(differences(one.path, two.path))
    assert [(one.table, one.column) for one in found] == [
        ("position", ""),
        ("event", "msg"),
        ("outcome", ""),
        ("timer", "due"),
        ("state", "value"),
        ("state", ""),
        ("outbox", ""),
    ]
    assert str(found[1]) == f"event {key(0)} msg: replayed , stored other"
    assert str(found[2]).endswith("replayed STORED, stored nothing")
    # what is missing in the stored outbox may have been deleted when its time was over
    assert [one.table for one in differences(two.path, one.path) if one.table == "outbox"] == ["outbox"]
    assert [one for one in differences(two.path, one.path, outbox_whole=False) if one.table == "outbox"] == []


def test_values_that_only_lie_otherwise_are_the_same(
    log: Log, base: RuleBase, scratch: Callable[[str], Scratch]
) -> None:
    log.event(0)
    one, two = scratch("one"), scratch("two")
    for each, value in ((one, {"a": 1, "b": 2}), (two, {"b": 2, "a": 1})):
        run(log, each, base)
        with closing(sqlite3.connect(each.path)) as connection, connection:
            connection.execute("INSERT INTO rule_state VALUES ('x:y', ?)", (msgspec.msgpack.encode(value),))
    assert list(differences(one.path, two.path)) == []


def test_a_repository_of_another_instance(scratch: Callable[[], Scratch]) -> None:
    one = scratch()
    one.close()
    assert position_of_repository(one.path, INSTANCE) == 0
    with pytest.raises(ValueError, match="not the repository of this instance"):
        position_of_repository(one.path, "1" * 32)


# the command, one rule base


def test_the_summary(log: Log, folder: Path, replay: Run) -> None:
    disks(log)
    ran = replay("--log", log.folder, "--rules", folder)
    assert ran.status == 0
    for words in (
        "rule base base",
        "2026-03-01T08:00:00Z to 2026-03-01T08:03:20Z",
        "records   EVENT 6, TICK 1",
        "outcomes  DROPPED 2, FIRED 1, REJECTED 2, STORED 2",
        "3  disk/full: count 1, wait 2",
        "not an event",
        "at end    CLOSED 1, OPEN 1; timers 0",
    ):
        assert words in ran.out, ran.out
    assert "7 records in" in ran.err
    (data,) = replay("--log", log.folder, "--rules", folder, "--json").objects
    assert data["rules"]["disk/full"] == {"fired": 3, "actions": {"count": 1, "wait": 2}}
    assert data["at_the_end"]["severities"] == {"FATAL": 1}


def test_two_runs_give_the_same_bytes(log: Log, folder: Path, tmp_path: Path) -> None:
    disks(log)
    new = variant(tmp_path, lambda rules: rules.replace("'FATAL'", "'MINOR'") + MORE.replace("_x", "'E:'"))
    for drive in ("run", "a", "b"):
        log.event(300, drive=drive)
    command = [sys.executable, "-m", "opentec.commands.main", "replay", "--log", str(log.folder)]
    command += ["--rules", str(new), "--against", str(folder)]
    done = [
        subprocess.run(
            [*command, *more], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=False
        )
        for seed, more in (("1", ["--json"]), ("2", ["--json"]))
    ]
    assert [one.returncode for one in done] == [1, 1], done
    assert done[0].stdout == done[1].stdout


def test_a_rule_is_followed(log: Log, folder: Path, replay: Run) -> None:
    disks(log)
    ran = replay("--log", log.folder, "--rules", folder, "--rule", "disk/late")
    assert ran.status == 0
    assert f"{key(3)} FIRED: " in ran.out
    assert f"severity of {key(3)} is now FATAL" in ran.out
    (one,) = replay("--log", log.folder, "--rules", folder, "--rule", "disk/ok", "--json").objects
    assert (one["event"], one["disposition"]) == (key(2), "DROPPED")
    wrong = replay("--log", log.folder, "--rules", folder, "--rule", "disk/lat")
    assert (wrong.status, "did you mean 'disk/late'?" in wrong.err) == (2, True)


def test_an_event_is_explained(log: Log, folder: Path, replay: Run) -> None:
    disks(log)
    options = ("--log", log.folder, "--rules", folder)
    ran = replay(*options, "--event", key(0))
    assert ran.status == 0
    assert f"{key(0)} Disk_Full (CLOSED): STORED" in ran.out
    assert "rule disk/full, wait" in ran.out
    assert "first_duplicate" in ran.out  # where the action count ended
    (one,) = replay(*options, "--event", "rx:1:0", "--json").objects
    assert (one["position"], one["disposition"]) == ("rx:1:0", "STORED")
    for wrong in ("rx:1:1", key(77), "rx:1", "x"):
        assert replay(*options, "--event", wrong).status == 2, wrong


def test_nothing_stays_behind_where_a_signal_ends_it() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, ExitStack() as stack:
        folder = work_folder(stack)
        assert folder.is_dir()
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 128 + signal.SIGTERM
    assert not folder.exists()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_bar_on_a_terminal(log: Log, folder: Path, replay: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    disks(log)
    monkeypatch.setattr("opentec.commands.replay_run.is_terminal", lambda: True)
    ran = replay("--log", log.folder, "--rules", folder)
    assert ran.status == 0
    assert ran.out.startswith("rule base base")


def test_what_is_wrong_is_status_2(log: Log, folder: Path, replay: Run, tmp_path: Path) -> None:
    log.event(0)
    broken = variant(tmp_path, lambda rules: rules.replace("Disk_OK", "Disk_KO"), "broken")
    there = ("--log", log.folder)
    for arguments, said in (
        ((), "--log names"),
        (there, "--rules FOLDER, or --recorded"),
        ((*there, "--recorded", "--diff"), "--diff needs --rules"),
        ((*there, "--against", folder), "say which rules"),
        ((*there, "--rules", folder, "--against", folder, "--recorded"), "--against compares"),
        ((*there, "--rules", folder, "--rule", "late"), "SET/RULE"),
        ((*there, "--recorded"), "give one with --rules"),
        ((*there, "--rules", tmp_path / "none"), "none"),
        (("--log", tmp_path / "none", "--rules", folder), "none"),
        (("--log", folder, "--rules", folder), "holds no segments"),
        (("--verify", tmp_path, *there), "no other option"),
        (("--verify", tmp_path), "is not an instance directory"),
    ):
        ran = replay(*arguments)
        assert ran.status == 2, (arguments, ran.out, ran.err)
        assert said in ran.err, (arguments, ran.err)
        assert "unexpected" not in ran.err
    ran = replay(*there, "--rules", broken)
    assert ran.status == 2
    assert "disk.rls" in ran.err and "did you mean 'Disk_OK'?" in ran.err and "nothing was replayed" in ran.err
    errors = replay(*there, "--rules", broken, "--json").objects
    assert all(one["line"] for one in errors) and errors


# the command, two rule bases


def compared(replay: Run, log: Log, folder: Path, new: Path, *more: object) -> Ran:
    return replay("--log", log.folder, "--against", folder, "--rules", new, *more)


def test_the_same_rules_under_other_names_make_no_difference(
    log: Log, folder: Path, replay: Run, tmp_path: Path
) -> None:
    disks(log)
    new = variant(tmp_path, lambda rules: rules.replace("rule: full:", "rule: filled:"))
    ran = compared(replay, log, folder, new)
    assert ran.status == 0, ran.out
    assert "no difference" in ran.out
    assert "disk/filled: fired otherwise 0 times in the old, 3 times in the new" in ran.out


def test_a_severity_that_differs(log: Log, folder: Path, replay: Run, tmp_path: Path) -> None:
    disks(log)
    new = variant(tmp_path, lambda rules: rules.replace("'FATAL'", "'MINOR'"))
    ran = compared(replay, log, folder, new)
    assert ran.status == 1
    assert "1  severity FATAL -> MINOR" in ran.out
    assert f"  {key(3)} Disk_Full h1:   [disk/late]\n      severity: FATAL -> MINOR" in ran.out
    *_, difference, summary = compared(replay, log, folder, new, "--json").objects
    assert difference["slots"] == {"severity": ["FATAL", "MINOR"]}
    assert difference["rules"] == ["disk/late"]
    assert summary["rules"] == {"disk/late": {"only_old": 1, "only_new": 1, "changes": {"severity FATAL -> MINOR": 1}}}
    assert (summary["same"], summary["outcomes"]) == (False, {})


def test_a_forwarded_event_that_differs(log: Log, folder: Path, replay: Run, tmp_path: Path) -> None:
    """What is stored in the end may be the same all the same."""
    rule = "rule: send: ( event: _e of_class 'Disk_OK', action: ( {} ) )."
    sides = (
        "forward_event(_e, hq), set_event_severity(_e, 'FATAL')",
        "set_event_severity(_e, 'FATAL'), forward_event(_e, hq)",
    )
    bases = [make_rule_base(tmp_path / name, rule.format(goals)) for name, goals in zip("ab", sides, strict=True)]
    for base in bases:
        (base / "TEC_RULES" / "tec_forward.conf").write_text("[hq]\nServerLocation=hq.example.com\n")
    log.event(0, "Disk_OK")
    log.event(1, "Disk_OK")
    *_, summary = compared(replay, log, bases[0], bases[1], "--json").objects
    assert summary["events"] == {}
    assert summary["outbox"] == {"only old: forward Disk_OK to hq": 2, "only new: forward Disk_OK to hq": 2}
    *_, summary = compared(replay, log, bases[0], bases[0], "--json").objects
    assert summary["same"] is True


def test_events_that_one_side_only_has(log: Log, folder: Path, replay: Run, tmp_path: Path) -> None:
    disks(log)
    new = variant(tmp_path, lambda rules: rules.replace("drop_received_event, commit_rule", "commit_rule"))
    *_, difference, summary = compared(replay, log, folder, new, "--json").objects
    assert summary["outcomes"] == {"DROPPED -> STORED": 1}
    assert summary["events"] == {"only new: Disk_Full": 1}
    assert (difference["old"], difference["new"]) == (None, key(1))
    assert difference["instead"] == "DROPPED: dropped by rule disk/full"
    assert difference["rules"] == ["disk/full"]
    ran = compared(replay, log, folder, new, "--rule", "disk/full")
    assert (
        ran.out == f"{key(1)} Disk_Full h1: : only new (the other: DROPPED: dropped by rule disk/full)  [disk/full]\n"
    )
    assert ran.status == 1
    assert compared(replay, log, folder, new, "--rule", "disk/ok").out == ""


def test_handles_that_move_are_no_difference(log: Log, folder: Path, replay: Run, tmp_path: Path) -> None:
    """One event more in a second gives those behind it other handles, also where an effect names its cause."""
    link = "rule: link: ( event: _e of_class 'Disk_OK' where [drive: equals 'L:'], reception_action: (\n"
    link += (
        "first_instance(event: _c of_class 'Disk_Full' where [drive: equals 'L:']), link_effect_to_cause(_e, _c) ) ).\n"
    )
    more = MORE.replace("_x", "'E:'")
    old = variant(
        tmp_path, lambda rules: link + rules.replace("'CLOSED'), drop_received_event )", "'CLOSED') )"), "old"
    )
    new = tmp_path / "new"
    make_rule_base(new, (old / "TEC_RULES" / "disk.rls").read_text() + more)
    for at, drive in ((0.1, "run"), (0.2, "L:"), (0.3, "M:")):
        log.event(at, drive=drive)
    log.event(0.4, "Disk_OK", drive="L:")
    ran = compared(replay, log, old, new, "--json")
    *found, summary = ran.objects[2:]
    assert [one["differs"] for one in found] == ["event", "event", "outbox"]
    assert summary["events"] == {"num_actions changed": 1, "only new: Disk": 1}
    assert summary["outbox"] == {"only new: program df -h": 1}
    assert found[2]["rules"] == ["disk/run"]
    assert summary["timers"] == {"old": 0, "new": 0}
    # the event that is the third in the old is the fourth in the new
    sides = compared(replay, log, old, new, "--event", key(0, 3), "--json").objects
    assert [one["event"] for one in sides] == [key(0, 3), key(0, 4)]
    assert [one["slots"]["drive"] for one in sides] == ["M:", "M:"]
    gone = compared(replay, log, new, old, "--event", key(0, 2))  # the one that was generated
    assert "old:" in gone.out and "new: there is no such event" in gone.out


def test_a_cause_that_differs(log: Log, folder: Path, replay: Run, tmp_path: Path) -> None:
    rule = "rule: link: ( event: _e of_class 'Disk_OK' where [], reception_action: (\n"
    rule += (
        "first_instance(event: _c of_class 'Disk_Full' where [drive: equals '{}']), link_effect_to_cause(_e, _c) ) ).\n"
    )
    old, new = (make_rule_base(tmp_path / drive, rule.format(f"{drive}:")) for drive in "AB")
    log.event(0, drive="A:")
    log.event(1, drive="B:")
    log.event(2, "Disk_OK", drive="C:")
    *_, difference, summary = compared(replay, log, old, new, "--json").objects
    assert difference["slots"] == {"cause": [key(0), key(1)]}
    assert summary["events"] == {"cause changed": 1}


def test_slots_of_a_class_and_timers_that_wait(log: Log, folder: Path, replay: Run, tmp_path: Path) -> None:
    new = variant(
        tmp_path,
        lambda rules: (
            rules.replace("set_timer(_event, 60, 'late')", "set_timer(_event, 90, 'late')")
            + "rule: use: ( event: _e of_class 'Disk' where [], reception_action: ( bo_set_slotval(_e, used, 7) ) ).\n"
        ),
    )
    log.event(0)
    *_, difference, summary = compared(replay, log, folder, new, "--json").objects
    assert difference["slots"] == {"used": [None, 7]}
    assert summary["timers"] == {"old": 1, "new": 1}
    assert "timers that wait at the end: only old 1, only new 1" in compared(replay, log, folder, new).out


def test_many_differences_are_cut_for_people(log: Log, folder: Path, replay: Run, tmp_path: Path) -> None:
    new = variant(tmp_path, lambda rules: rules.replace("'FATAL'", "'MINOR'"))
    for number in range(25):
        log.event(number, drive=f"{number}")
    log.add(Kind.TICK, 500)
    ran = compared(replay, log, folder, new)
    assert ran.out.count("severity: FATAL -> MINOR") == 20
    assert "... and 5 more" in ran.out


def test_classes_that_differ_are_of_no_rule(log: Log, folder: Path, replay: Run, tmp_path: Path) -> None:
    new = variant(tmp_path, lambda rules: rules)
    classes = CLASSES.replace("used: INTEGER;", "used: INTEGER; severity: default = MINOR;")
    (new / "TEC_CLASSES" / "disk.baroc").write_text(classes)
    log.event(0, "Disk")
    log.add(Kind.TICK, 1)
    *_, summary = compared(replay, log, folder, new, "--json").objects
    assert summary["rules"] == {
        "(no rule)": {"only_old": 0, "only_new": 0, "changes": {"severity WARNING -> MINOR": 1}}
    }


def test_a_record_has_the_size_that_the_log_says(log: Log) -> None:
    """The bar counts bytes of records."""
    first, second = log.add(Kind.TICK, 0), log.add(Kind.TICK, 1)
    assert second - first == RECORD_SIZE
    assert SegmentLog(log.folder).size == 2 * RECORD_SIZE


# the command on an instance directory


@pytest.fixture
def stored(tmp_path: Path, folder: Path, scratch: Callable[[str], Scratch], capsys: pytest.CaptureFixture[str]) -> Path:
    """An instance directory with a log, the snapshot of its rule base, and a repository of a few records less."""
    directory = tmp_path / "tec"
    with pytest.raises(SystemExit):
        tec.main(["init", str(directory)])
    (directory / "instance").write_text(INSTANCE)
    content_hash = snapshot(folder, directory / "rulebase")
    log = Log(directory / "rx", segment_size=2000)
    log.activate(0, load_compiled(directory / "rulebase", content_hash))
    disks(log)
    one = scratch("stored")
    run(log, one, None, load=lambda wanted: load_compiled(directory / "rulebase", wanted))
    one.path.replace(directory / "rim" / "tec.db")
    log.event(300, drive="never committed")
    return directory


def test_verify(stored: Path, replay: Run) -> None:
    ran = replay("--verify", stored)
    assert ran.status == 0, ran.err
    assert ran.out.startswith("no difference: 8 records up to rx:1:")
    (end,) = replay("--verify", stored, "--json").objects
    assert (end["same"], end["differences"], end["records"]) == (True, 0, 8)
    with closing(sqlite3.connect(stored / "rim" / "tec.db")) as connection, connection:
        connection.execute("UPDATE event SET severity = 'MINOR'")
    ran = replay("--verify", stored)
    assert ran.status == 1
    assert f"event {key(3)} severity: replayed FATAL, stored MINOR" in ran.out
    assert "2 differences up to rx:1:" in ran.out
    *lines, end = replay("--verify", stored, "--json").objects
    assert ([one["column"] for one in lines], end["same"]) == (["severity", "severity"], False)


def test_what_cannot_be_verified(stored: Path, replay: Run) -> None:
    (stored / "instance").write_text("1" * 32)
    assert "not the repository of this instance" in replay("--verify", stored).err
    (stored / "instance").write_text(INSTANCE)
    log = Log(stored / "rx", epoch=2)
    log.event(400)
    (stored / "rx" / "rx.1.0").unlink()
    with closing(sqlite3.connect(stored / "rim" / "tec.db")) as connection, connection:
        connection.execute("UPDATE repository SET position = ?", (log.writer.durable,))
    ran = replay("--verify", stored)
    assert (ran.status, "cannot be verified" in ran.err) == (2, True), ran.err
    # what was before is not known, but what is there can be replayed
    ran = replay("--log", stored, "--recorded")
    assert ran.status == 0, ran.err
    assert "nothing is known here" in ran.err
    (stored / "rim" / "tec.db").unlink()
    assert replay("--verify", stored).status == 2


def test_an_instance_has_its_rule_bases(stored: Path, folder: Path, replay: Run) -> None:
    ran = replay("--log", stored, "--recorded", "--json")
    assert ran.status == 0
    assert ran.objects[0]["rules"]["disk/full"]["fired"] == 4
    assert replay("--log", stored, "--rules", folder, "--diff").status == 0
    assert replay("--log", stored / "rx", "--rules", folder, "--diff").status == 2
    for snapshot_ in (stored / "rulebase").iterdir():
        snapshot_.rename(snapshot_.with_name("0" * 64))
    assert "there is no rule base" in replay("--log", stored, "--recorded").err
