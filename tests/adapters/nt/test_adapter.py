"""The pipeline, with a sink that can be full, and with real logs where they are at hand."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opentec.adapters.logfile.positions import PositionFile
from opentec.adapters.logfile.rotation import HELD_DELETED
from opentec.adapters.nt.adapter import Counters, NtAdapter
from opentec.adapters.nt.conf import parse_nt_conf
from opentec.adapters.nt.decode import decode as library
from opentec.adapters.nt.mapping import parse_mapping, read_mapping
from opentec.eif.errors import BufferFull
from opentec.eif.segment import FileRef
from opentec.events import load_classes
from opentec.events.text import parse_event
from opentec.shipped import shipped
from tests.adapters.nt.evtx_files import chunk, decode, event_json, record, write_log

DATA = Path(__file__).parents[4] / "shared" / "data" / "evtx"
MAP = """CLASS NT_Disk_Full
SELECT EventId=2013
MAP drive = $n
END
CLASS *DISCARD*
SELECT EventId=99
END"""


class Memory:
    """A sink that takes `room` events."""

    def __init__(self) -> None:
        self.room = 10**9
        self.taken: list[tuple[str, dict[str, Any], FileRef | None, int]] = []

    @property
    def full(self) -> bool:
        return len(self.taken) >= self.room

    def append(self, text: str | bytes, file: FileRef | None = None, end_offset: int = 0) -> int:
        if self.full:
            raise BufferFull("full", Path())
        self.taken.append((*parse_event(text.decode() if isinstance(text, bytes) else text), file, end_offset))
        return len(self.taken)

    def flush(self) -> None:
        pass

    @property
    def ends(self) -> list[int]:
        return [end for _, _, _, end in self.taken]


class Run:
    """An adapter over a folder, its sink, and what it reported."""

    def __init__(self, folder: Path, more: str = "", sources: str = "*.evtx,*.jsonl", decoder: Any = decode) -> None:
        self.sink, self.reports, self.folder = Memory(), list[str](), folder
        head = f"ServerLocation=tec\nNodeName=n1\nBufEvtPath=buffer\nLogSources={sources}\n{more}"
        self.conf = parse_nt_conf(head, folder / "a.conf")
        self.decoder = decoder
        self.mapping = parse_mapping(MAP, "x.map")
        self.start()

    def start(self) -> None:
        positions = PositionFile(self.folder / "positions")
        self.adapter = NtAdapter(
            self.conf, self.mapping, self.sink, positions, report=self.reports.append, decoder=self.decoder
        )

    def all(self) -> Counters:
        for _ in range(100):
            self.adapter.step()
            if self.sink.full or not self.adapter.has_work:
                break
        self.adapter.flush()
        self.adapter.save()
        return self.adapter.counters

    def restart(self) -> None:
        self.adapter.close()
        self.start()


Starter = Callable[..., Run]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    runs: list[Run] = []

    def make(more: str = "", **options: Any) -> Run:
        runs.append(Run(tmp_path, more, **options))
        return runs[-1]

    yield make
    for run in runs:
        run.adapter.close()


def test_a_record_becomes_an_event(tmp_path: Path, start: Starter) -> None:
    write_log(tmp_path / "Application.evtx", chunk(7, 8))
    run = start()
    assert run.all().events == 2
    name, slots, file, end = run.sink.taken[0]
    assert (name, end) == ("NT_Event", 7)
    assert file is not None
    assert (file.scope, file.path) == ("n1", str(tmp_path / "Application.evtx"))
    assert slots == {
        "source": "NT",
        "sub_source": "Some_Source",
        "hostname": "web1",
        "adapter_host": "n1",
        "log": "Application",
        "eventid": "42",
        "event_type": "Information",
        "record_id": "7",
        "msg": "Some Source 42: n=7",
        "severity": "HARMLESS",
    }


def test_what_becomes_of_each_record(tmp_path: Path, start: Starter) -> None:
    ids = {1: 2013, 2: 99, 3: 5, 4: 6, 5: 42}
    parts = [record(number, text=event_json(number, EventID=ids[number])) for number in ids]
    write_log(tmp_path / "a.evtx", chunk(1, 5, records=parts))
    run = start("PreFilter:EventId=5\nFilter:Class=NT_Event;eventid=6\nHostnameIsAdapterHost=YES")
    counters = run.all()
    assert [(name, slots.get("drive"), slots["hostname"]) for name, slots, _, _ in run.sink.taken] == [
        ("NT_Disk_Full", "1", "n1"),
        ("NT_Event", None, "n1"),
    ]
    assert "severity" not in run.sink.taken[0][1]  # the class's own applies
    assert counters == Counters(records=5, discarded=1, prefiltered=1, filtered=1, events=2)


def test_json_lines_have_offsets_of_bytes(tmp_path: Path, start: Starter) -> None:
    lines = "\ufeff" + event_json(1) + "\r\n\n" + "nonsense\n" + "[1]\n" + event_json(2) + "\n"
    (tmp_path / "a.jsonl").write_bytes(lines.encode())
    run = start("UnmatchLog=unmatched")
    assert run.all() == Counters(records=4, unreadable=2, events=2)
    assert run.sink.ends == [len(("\ufeff" + event_json(1) + "\r\n").encode()), len(lines.encode())]
    assert (tmp_path / "unmatched").read_text() == "nonsense\n[1]\n"
    assert len(run.reports) == 1
    assert "no Windows event: it is not JSON" in run.reports[0]


def identities(run: Run) -> list[tuple[str, int]]:
    return [(file.path[-5:], end) for _, _, file, end in run.sink.taken if file is not None]


def test_a_full_sink_stops_reading_and_loses_nothing(start: Starter) -> None:
    run = start()
    write_log(run.folder / "a.evtx", chunk(1, 9))
    (run.folder / "b.jsonl").write_text("".join(event_json(number) + "\n" for number in range(3)))
    for room in range(1, 13):
        run.sink.room = room
        run.all()
        assert len(run.sink.taken) == room
    ids = [slots["record_id"] for _, slots, _, _ in run.sink.taken]
    assert ids == ["0", "1", "2", *(str(number) for number in range(1, 10))]
    assert run.adapter.counters == Counters(records=12, events=12)


def test_what_a_full_sink_did_not_take_is_not_behind_the_saved_position(start: Starter) -> None:
    run = start()
    write_log(run.folder / "a.evtx", chunk(1, 9))
    run.sink.room = 5
    run.all()
    run.restart()
    run.sink.room = 100
    run.all()
    assert [end for _, end in identities(run)] == [*range(1, 6), *range(1, 10)]
    assert len(set(identities(run))) == 9


def test_restarts_repeat_nothing_that_was_saved(tmp_path: Path, start: Starter) -> None:
    log, lines = tmp_path / "a.evtx", tmp_path / "b.jsonl"
    run = start()
    for number in range(1, 5):
        write_log(log, chunk(1, number))
        with lines.open("a") as file:
            file.write(event_json(number) + "\n")
        assert run.all().events == 2 * number
        run.restart()
    assert Counter(slots["record_id"] for _, slots, _, _ in run.sink.taken) == {str(each): 2 for each in range(1, 5)}


def test_lost_positions_repeat_with_the_same_identity(tmp_path: Path, start: Starter) -> None:
    """So the server notices, for event logs; JSON lines become a new generation."""
    write_log(tmp_path / "a.evtx", chunk(1, 3))
    run = start()
    run.all()
    (tmp_path / "positions").write_bytes(b"damaged")
    run.restart()
    run.all()
    assert "not a file of saved positions" in run.reports[0]
    assert run.sink.ends == [1, 2, 3, 1, 2, 3]
    assert len({file for _, _, file, _ in run.sink.taken}) == 1


@pytest.mark.parametrize(
    "saved", [None, [], {}, {"evtx": {"logs": []}}, {"evtx": {"logs": [{}]}, "json": {"files": []}}]
)
def test_incomplete_positions_are_damage(tmp_path: Path, start: Starter, saved: object) -> None:
    (tmp_path / "a.jsonl").write_text(event_json(1) + "\n")
    run = start()
    run.all()
    PositionFile(tmp_path / "positions").save(saved)
    run.restart()
    assert "saved" in run.reports[0]
    run.all()
    assert len(run.sink.taken) == 1  # the save before was good


def test_what_is_lost_is_named_in_its_place(tmp_path: Path, start: Starter) -> None:
    parts = [record(1), b"\xff" * 64, record(3), record(4, text=json.dumps({"Event": {"System": {"EventID": 0}}}))]
    write_log(tmp_path / "a.evtx", chunk(1, 4, records=parts), b"\xff" * 65536)
    run = start()
    counters = run.all()
    lost = [(slots.get("lines"), slots.get("bytes"), end) for name, slots, _, end in run.sink.taken if name[0] == "T"]
    assert lost == [(None, "65536", 1), ("1", None, 2), ("1", None, 4)]
    assert run.sink.ends == [1, 1, 2, 3, 4]
    assert (counters.lost_records, counters.damaged_chunks, counters.events) == (2, 1, 2)
    assert (counters.records, counters.unreadable) == (3, 1)
    assert len(run.reports) == 3
    table = load_classes(shipped("rules", "default", "TEC_CLASSES"))
    for name, slots, _, _ in run.sink.taken:
        table.check(name, slots)
    files = {file for name, _, file, _ in run.sink.taken if name == "TEC_LinesLost" and file is not None}
    assert {file.path.partition("#")[2] for file in files} == {"", str(4096 + 65536)}


def test_lines_that_are_rotated_away_unread_are_named(start: Starter) -> None:
    run = start()
    run.sink.room = 0
    for _ in range(HELD_DELETED + 2):
        (run.folder / "b.jsonl").write_text(event_json(1) + "\n")
        run.adapter.step()
        (run.folder / "b.jsonl").unlink()
    run.sink.room = 100
    counters = run.all()
    lost = [slots for name, slots, _, _ in run.sink.taken if name in ("TEC_LinesLost", "TEC_BufferOverflow")]
    assert lost
    assert sum(int(slots["lines"]) for slots in lost) == counters.lost_lines
    assert counters.events + counters.lost_lines == HELD_DELETED + 2
    assert "lost from" in run.reports[0]


def test_problems_are_told_once(tmp_path: Path, start: Starter) -> None:
    (tmp_path / "a.evtx").write_text("something else")
    run = start()
    run.all()
    run.all()
    assert len(run.reports) == 1
    assert "a.evtx cannot be read: it is not a Windows event log" in run.reports[0]


def test_an_event_over_the_limit_is_cut(tmp_path: Path, start: Starter) -> None:
    text = json.dumps({"SourceName": "x", "EventID": 1, "Message": "long " * 1000})
    (tmp_path / "b.jsonl").write_text(text + "\n")
    run = start("EventMaxSize=1000")
    assert run.all().cut == 1
    assert "[cut: " in run.sink.taken[0][1]["msg"]


# the library, on logs that Windows wrote


def real(name: str) -> str:
    if importlib.util.find_spec("evtx") is None:
        pytest.skip("the extra nt is not installed")
    if not (DATA / name).exists():
        pytest.skip(f"shared/data/evtx/{name} is not at hand")
    return str(DATA / name)


def real_run(start: Starter, name: str) -> Run:
    run = start(sources=real(name), decoder=library)
    run.mapping = read_mapping(shipped("adapters", "nt", "tecad_nt.map"))
    run.restart()
    return run


@pytest.mark.parametrize(
    ("name", "records", "classes"),
    [
        ("Security_short_selected.evtx", 7, {"NT_Logon_Failure": 2, "NT_Security": 5}),
        ("new-user-security.evtx", 4, {"NT_Group_Member_Added": 3, "NT_Account_Created": 1}),
        ("system.evtx", 1881, {"NT_Service_Installed": 57, "NT_Service_Failed": 15, "NT_Log_Cleared": 2}),
    ],
)
def test_real_logs(start: Starter, name: str, records: int, classes: dict[str, int]) -> None:
    run = real_run(start, name)
    counters = run.all()
    assert (counters.records, counters.events, counters.lost_records) == (records, records, 0)
    assert run.sink.ends == list(range(1, records + 1))
    assert classes.items() <= Counter(name for name, _, _, _ in run.sink.taken).items()
    table = load_classes(shipped("rules", "default", "TEC_CLASSES"))
    for class_name, slots, _, _ in run.sink.taken:
        table.check(class_name, slots)


def test_a_real_log_with_damaged_chunks(start: Starter) -> None:
    """Records 45691 to 47705 in a ring, with holes. The library alone gives 270 of them, out of order, and says nothing
    of most that are missing."""
    run = real_run(start, "sample_with_a_bad_chunk_magic.evtx")
    counters = run.all()
    assert (counters.events, counters.damaged_chunks) == (298, 2)
    assert counters.events + counters.lost_records == 47705 - 45691 + 1
    in_log = [end for _, _, file, end in run.sink.taken if file is not None and "#" not in file.path]
    assert in_log == sorted(set(in_log))
    assert in_log[0] == 45691
    assert in_log[-1] == 47705
