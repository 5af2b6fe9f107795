"""The pipeline with a sink that can be full, fail, or lose its memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opentec.adapters.conf import AdapterConf
from opentec.adapters.filters import parse_filter
from opentec.adapters.logfile import unmatched as unmatched_module
from opentec.adapters.logfile.adapter import Counters, LogfileAdapter
from opentec.adapters.logfile.fmt import parse_formats
from opentec.adapters.logfile.positions import PositionFile
from opentec.adapters.logfile.rotation import HELD_DELETED
from opentec.eif.errors import BufferFault, BufferFull
from opentec.eif.segment import FileRef
from opentec.events.text import parse_event

FORMATS = parse_formats(
    """FORMAT Line
%s*
msg $1
hostname LABEL
END
FORMAT *DISCARD*
noise%s*
END
FORMAT Pair
first %s%nsecond %s
a $1
b $2
END
REGEX Never
^unmatched$
END
""",
    "x.fmt",
)[:3]
ONLY_EVENTS = parse_formats("FORMAT Event\nevent %s*\nmsg $1\nEND\nFORMAT *DISCARD*\nnoise%s*\nEND", "x.fmt")


class Memory:
    """A sink: takes `room` events, makes them durable when flushed."""

    def __init__(self) -> None:
        self.room = 10**9
        self.taken: list[tuple[str, FileRef | None, int]] = []
        self.durable: list[tuple[str, FileRef | None, int]] = []
        self.broken = False

    @property
    def full(self) -> bool:
        return self.room <= 0

    def append(self, text: str | bytes, file: FileRef | None = None, end_offset: int = 0) -> int:
        if self.room <= 0:
            raise BufferFull("full", Path("buffer"))
        self.room -= 1
        self.taken.append((text if isinstance(text, str) else text.decode(), file, end_offset))
        return len(self.taken)

    def flush(self) -> None:
        if self.broken:
            raise BufferFault("broken", Path("buffer"))
        self.durable = list(self.taken)

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        return [parse_event(text) for text, _, _ in self.taken]

    @property
    def messages(self) -> list[Any]:
        return [slots.get("msg") for _, slots in self.events]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "messages"


@pytest.fixture
def start(tmp_path: Path, log: Path) -> Any:
    """Makes an adapter over one log; every one is closed at the end."""
    made: list[LogfileAdapter] = []

    def make(sink: Memory, formats: Any = FORMATS, reports: list[str] | None = None, **options: Any) -> LogfileAdapter:
        conf = AdapterConf("a.conf", log_sources=[str(log)], node_name="web1", file_scope="volume1", **options)
        conf.label_host, conf.adapter_hostname = "labelled", "adapter1"
        positions = PositionFile(tmp_path / "positions")
        report = (lambda _text: None) if reports is None else reports.append
        made.append(LogfileAdapter(conf, formats, sink, positions, report=report))
        return made[-1]

    yield make
    for adapter in made:
        adapter.close()


Start = Callable[..., LogfileAdapter]


def drive(adapter: LogfileAdapter) -> None:
    while adapter.step():
        pass


def test_lines_become_events_with_their_place_in_the_file(log: Path, start: Start) -> None:
    log.write_text("one\nnoise\nit's; two\n")
    sink = Memory()
    adapter = start(sink)
    drive(adapter)
    assert sink.events == [
        ("Line", {"msg": "one", "hostname": "labelled", "adapter_host": "adapter1"}),
        ("Line", {"msg": "it's; two", "hostname": "labelled", "adapter_host": "adapter1"}),
    ]
    file = sink.taken[0][1]
    assert file is not None
    assert (file.scope, file.path) == ("volume1", str(log))
    assert [end for _, _, end in sink.taken] == [4, 20]
    assert adapter.counters == Counters(lines=3, discarded=1, events=2)


def test_filters_and_unmatched_lines(log: Path, start: Start, tmp_path: Path) -> None:
    log.write_text("event a\nevent b\nelse\nnoise\n")
    sink = Memory()
    adapter = start(sink, ONLY_EVENTS, filters=[parse_filter("Class=Event;msg=a")], unmatch_log=tmp_path / "unmatched")
    drive(adapter)
    adapter.flush()
    assert sink.messages == ["b"]
    assert adapter.counters == Counters(lines=4, discarded=1, unmatched=1, filtered=1, events=1)
    assert (tmp_path / "unmatched").read_text() == "else\n"


def test_a_full_sink_stops_in_the_middle_and_goes_on_there(log: Path, start: Start) -> None:
    log.write_text("".join(f"line {number}\n" for number in range(10)))
    sink = Memory()
    sink.room = 4
    adapter = start(sink)
    assert adapter.step() is False
    assert adapter.waiting
    adapter.flush()
    adapter.save()  # saves nothing: what was read was not all taken
    assert start(Memory()).counters == Counters()
    sink.room = 3
    adapter.step()
    sink.room = 100
    adapter.step()
    assert sink.messages == [f"line {number}" for number in range(10)]
    assert adapter.counters.lines == adapter.counters.events == 10
    assert not adapter.has_work


def test_a_killed_adapter_sends_again_with_the_same_identity_and_counts_once(log: Path, start: Start) -> None:
    log.write_text("one\n")
    sink = Memory()
    adapter = start(sink)
    drive(adapter)
    adapter.flush()
    adapter.save()
    log.write_text("one\ntwo\n")
    drive(adapter)
    adapter.flush()  # and killed before the save
    second = Memory()
    adapter = start(second)
    drive(adapter)
    assert second.taken == sink.taken[1:]
    assert adapter.counters == Counters(lines=2, events=2)


def test_nothing_is_saved_when_the_sink_fails(log: Path, start: Start) -> None:
    log.write_text("one\n")
    sink = Memory()
    sink.broken = True
    adapter = start(sink)
    drive(adapter)
    with pytest.raises(BufferFault):
        adapter.flush()
    assert start(Memory()).counters == Counters()


def test_the_same_positions_are_written_once(log: Path, start: Start, tmp_path: Path) -> None:
    log.write_text("one\n")
    adapter = start(Memory())
    drive(adapter)
    adapter.save()
    written = (tmp_path / "positions").stat().st_mtime_ns, (tmp_path / "positions").stat().st_ino
    adapter.save()
    assert ((tmp_path / "positions").stat().st_mtime_ns, (tmp_path / "positions").stat().st_ino) == written


def test_damaged_positions_are_named_and_lines_come_as_new_ones(log: Path, start: Start, tmp_path: Path) -> None:
    log.write_text("one\n")
    sink = Memory()
    adapter = start(sink)
    drive(adapter)
    adapter.save()
    (tmp_path / "positions").write_bytes(b"x")
    reports: list[str] = []
    drive(start(sink, reports=reports))
    assert sink.messages == ["one", "one"]
    assert sink.taken[0][1] != sink.taken[1][1]
    assert "positions" in reports[0]


@pytest.mark.parametrize("saved", [None, [], {}, {"files": None}, {"files": [{"path": "log"}]}])
def test_incomplete_positions_are_damage(log: Path, start: Start, tmp_path: Path, saved: object) -> None:
    """Their checksum is right, and what they hold is not what an adapter saves."""
    log.write_text("a\n")
    first = start(Memory())
    drive(first)
    first.save()
    PositionFile(tmp_path / "positions").save(saved)
    sink, reports = Memory(), list[str]()
    drive(start(sink, reports=reports))
    assert "a saved position" in reports[0] or "no list of files" in reports[0]
    assert sink.taken == []  # the save before was good
    PositionFile(tmp_path / "positions").save(saved)
    drive(start(sink, reports=reports))
    assert "read from their beginning" in reports[-1]
    assert sink.messages == ["a"]


def test_formats_of_several_lines_across_polls_and_restarts(log: Path, start: Start) -> None:
    log.write_text("first a\n")
    sink = Memory()
    adapter = start(sink)
    drive(adapter)
    log.write_text("first a\nsecond b\nsecond c\n")
    drive(adapter)
    assert [name for name, _ in sink.events] == ["Line", "Pair", "Line"]
    assert sink.events[1][1]["a"] == "a"
    adapter.flush()
    log.write_text("first a\nsecond b\nsecond c\nfirst d\n")
    drive(adapter)
    adapter.save()
    log.write_text("first a\nsecond b\nsecond c\nfirst d\nsecond e\n")
    second = Memory()
    drive(start(second))
    assert second.events == [("Pair", {"a": "d", "b": "e", "adapter_host": "adapter1"})]


def test_long_lines_are_cut_with_a_mark(log: Path, start: Start) -> None:
    log.write_text("x" * 5000 + "\n" + "y" * 300_000 + "\nshort\r\n")
    sink = Memory()
    adapter = start(sink, event_max_size=1000)
    drive(adapter)
    assert [len(text) <= 1000 for text, _, _ in sink.taken] == [True] * 3
    assert [message[0] for message in sink.messages] == ["x", "y", "s"]
    kept = len(sink.messages[1].split(" ")[0])
    assert sink.messages[1].endswith(f" [cut: {300_000 - kept} bytes]")
    assert adapter.counters.cut == 2
    assert sink.messages[2] == "short"


def test_lost_lines_are_named_by_an_event(log: Path, start: Start) -> None:
    sink = Memory()
    sink.room = 0
    reports: list[str] = []
    adapter = start(sink, reports=reports)
    for number in range(HELD_DELETED + 2):
        log.write_text(f"a {number}\nb {number}\n")
        adapter.step()
        log.unlink()
    log.write_text("last\n")
    adapter.step()
    adapter.save()
    sink.room = 1000
    drive(adapter)
    overflows = [slots for name, slots in sink.events if name == "TEC_BufferOverflow"]
    assert [slots["lines"] for slots in overflows] == ["2", "2"]
    assert overflows[0]["file"] == str(log)
    assert adapter.counters.lost_lines == 4
    assert adapter.counters.lines == HELD_DELETED * 2 + 1
    assert len(reports) == 2


def test_lines_lost_for_another_reason(log: Path, start: Start) -> None:
    log.write_text("one\npart")
    sink = Memory()
    adapter = start(sink)
    drive(adapter)
    log.write_text("")
    drive(adapter)
    name, slots = sink.events[-1]
    assert (name, slots["bytes"], "lines" in slots) == ("TEC_LinesLost", "4", False)


def test_problems_are_told_once(log: Path, start: Start) -> None:
    log.mkdir()
    reports: list[str] = []
    adapter = start(Memory(), reports=reports)
    drive(adapter)
    drive(adapter)
    assert reports == [f"{log} cannot be read: it is not a regular file"]


def test_an_unmatch_log_that_fails_does_not_stop_events(log: Path, start: Start, tmp_path: Path) -> None:
    log.write_text("else\nmore\nevent a\n")
    reports: list[str] = []
    sink = Memory()
    adapter = start(sink, ONLY_EVENTS, reports, unmatch_log=tmp_path / "no" / "folder")
    drive(adapter)
    adapter.flush()
    assert sink.messages == ["a"]
    assert ["UnmatchLog" in report for report in reports] == [True]


def test_the_unmatch_log_is_rotated(log: Path, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unmatched_module, "SIZE_LIMIT", 10)
    path = tmp_path / "unmatched"
    log.write_text("else where\n")
    adapter = start(Memory(), ONLY_EVENTS, unmatch_log=path)
    drive(adapter)
    adapter.flush()
    with log.open("a") as file:
        file.write("more\n")
    drive(adapter)
    adapter.flush()
    assert (path.with_name("unmatched.1").read_text(), path.read_text()) == ("else where\n", "more\n")


def test_counters_that_were_saved_by_another_release() -> None:
    assert Counters.from_data({"lines": 3, "cut": "x", "unknown": 1}) == Counters(lines=3)
    assert Counters.from_data(None) == Counters()
