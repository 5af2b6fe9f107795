"""Raw log lines through a format file, and dumps, as the events that they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from opentec.adapters.conf import AdapterConf
from opentec.adapters.logfile.adapter import LogfileAdapter
from opentec.adapters.logfile.fmt import read_formats
from opentec.commands.log import text_of
from opentec.commands.shown import event_text
from opentec.events.errors import SourceErrors
from opentec.events.records import Disposition
from opentec.events.text import parse_event
from opentec.shipped import shipped
from opentec.testing.inputs import HOST, LineReader, formats_in, iterate_dump, lines_of, read_dump, read_lines

SHIPPED = shipped("adapters", "logfile", "tecad_logfile.fmt")
FORMATS = """\
FORMAT Disk_Full
%t %s disk %s is full%s*
hostname $2
drive $3
msg PRINTF("%s: %s", FILENAME_, drive)
-FILENAME_ FILENAME
origin DEFAULT
END
FORMAT *DISCARD*
noise %s*
END
FORMAT Disk_Two
first %s%nsecond %s
drive $1
msg $2
END
"""


@pytest.fixture
def formats(tmp_path: Path) -> Path:
    path = tmp_path / "disk.fmt"
    path.write_text(FORMATS)
    return path


def dump(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "dump.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def wrong(path: Path) -> list[str]:
    with pytest.raises(SourceErrors) as raised:
        read_dump(path, "d.txt")
    return [f"{error.line}:{error.column}: {error.message}" for error in raised.value.errors]


# lines


def test_lines_become_events_or_are_discarded_or_unmatched(formats: Path) -> None:
    found = read_lines(
        formats, ["Mar  1 08:00:00 web1 disk C: is full!\n", "some noise here", b"\xff\n"], "host9", "/var/log/disk"
    )
    assert [(line.number, line.verdict, line.class_name) for line in found] == [
        (1, "event", "Disk_Full"),
        (2, "discarded", "*DISCARD*"),
        (3, "unmatched", ""),
    ]
    assert found[0].slots == {
        "hostname": "web1",
        "drive": "C:",
        "msg": "/var/log/disk: C:",
        "origin": "host9",
        "adapter_host": "host9",
    }
    assert (found[0].time, found[0].place) == ("Mar  1 08:00:00", f"{formats}:1")
    assert (found[2].line, found[2].slots, found[2].time, found[2].place) == ("\\xff", {}, "", "")


def test_a_format_of_several_lines_takes_the_lines_before(formats: Path) -> None:
    found = read_lines(formats, ["first a", "second b", "second c"])
    assert [line.verdict for line in found] == ["unmatched", "event", "unmatched"]
    assert found[1].slots == {"drive": "a", "msg": "b", "adapter_host": HOST}


def test_why_a_line_is_unmatched(formats: Path) -> None:
    reader = LineReader(formats_in(formats))
    assert reader.why_unmatched("Mar  1 08:00:00 web1 disk C: is empty") == (
        f"Disk_Full expects 'full%s*' where the line has ' empty' ({formats}:1)"
    )
    assert reader.why_unmatched("") == "no format begins as this line does"


def test_a_format_file_that_is_wrong_or_missing(tmp_path: Path) -> None:
    (tmp_path / "bad.fmt").write_text("FORMAT A\n%q\nEND\n")
    with pytest.raises(SourceErrors, match=r"bad.fmt:2:1: .*specifier"):
        read_lines(tmp_path / "bad.fmt", ["x"])
    with pytest.raises(SourceErrors, match=r"none.fmt:1:1: cannot be read: No such file"):
        read_lines(tmp_path / "none.fmt", ["x"])
    with pytest.raises(SourceErrors, match=r"none.log:1:1: cannot be read: No such file"):
        list(lines_of(tmp_path / "none.log"))


class Sink:
    full = False

    def __init__(self) -> None:
        self.texts: list[str] = []

    def append(self, text: str | bytes, file: object = None, end_offset: int = 0) -> int:
        self.texts.append(text.decode() if isinstance(text, bytes) else text)
        return len(self.texts)

    def flush(self) -> None: ...


def test_it_is_what_the_adapter_sends(tmp_path: Path) -> None:
    """Short and long lines, quotes, lists that are none, bytes that are no UTF-8."""
    log = tmp_path / "messages"
    lines = [
        b"Mar  1 08:00:00 web1 sshd[12]: Failed password for root from 10.0.0.1 port 22 ssh2",
        b'Mar  1 08:00:01 web1 app: it\'s [a, b]; "c" \xff\x01\t',
        b"Mar  1 08:00:02 web1 app: " + "é'".encode() * 900,
        b"Mar  1 08:00:03 web1 app: " + b"x" * 10_000 + b"\r",
        b"nothing that is known",
    ]
    log.write_bytes(b"\n".join(lines) + b"\n")
    conf = AdapterConf("", log_sources=[str(log)], adapter_hostname="h", label_host="h")
    sink = Sink()
    adapter = LogfileAdapter(conf, read_formats(SHIPPED), sink)
    while adapter.step():
        pass
    adapter.close()
    sent = [parse_event(text) for text in sink.texts]
    found = read_lines(SHIPPED, lines_of(log), "h", str(log))
    assert [(line.class_name, line.slots) for line in found if line.verdict == "event"] == sent
    assert len(sent) == 4
    assert any("[cut: " in str(slots) for _, slots in sent)


# dumps


def record(at: int, disposition: int, number: int = 1, reason: str | None = None, **more: object) -> str:
    """A record as `tec log` prints it."""
    data = {"position": 1 << 44, "time": at * 1_000_000, "disposition": disposition, "reason": reason}
    return text_of(data | {"date_reception": 0, "event_handle": 0} | more, number) + "\n"


def test_what_tec_log_prints_is_read_back(tmp_path: Path) -> None:
    slots = {"hostname": "h", "msg": "it's; END", "tags": ["a b", "c"], "used": 5}
    path = dump(
        tmp_path,
        record(1_772_352_000, Disposition.STORED, **{"class": "Disk_Full"}, slots=slots)
        + record(1_772_352_001, Disposition.REJECTED, 2, "no class 'X'", text=b"X;a=b;END")
        + record(1_772_352_002, Disposition.REJECTED, 3, "not an event", text=b"what?")
        + record(
            1_772_352_003,
            Disposition.APPLIED,
            4,
            **{"class": "CHANGE"},
            slots={"status": "ACK"},
            event=[5, 1, 1],
            user="ann",
        )
        + record(1_772_352_004, Disposition.WAITING, 5, **{"class": "Disk_OK"}, slots={}),
    )
    found = read_dump(path)
    assert [(one.line, one.kind, one.class_name, one.time, one.reason) for one in found] == [
        (3, "event", "Disk_Full", 1_772_352_000_000_000, ""),
        (15, "rejected", "X", 1_772_352_001_000_000, "no class 'X'"),
        (23, "rejected", "", 1_772_352_002_000_000, "not an event"),
        (31, "change", "CHANGE", 1_772_352_003_000_000, ""),
        (42, "event", "Disk_OK", 1_772_352_004_000_000, ""),
    ]
    assert found[0].slots == slots | {"used": "5"}
    assert found[3].slots == {"event": "5.1", "status": "ACK", "user": "ann"}
    assert found[1].text == "X;a=b;END"


def test_an_original_dump_is_read_too(tmp_path: Path) -> None:
    path = dump(
        tmp_path,
        b"1~8~65537~1074080912(Jan 14 11:48:32 2004)\n### EVENT ###\nDisk_Full;hostname=h;\n"
        b"msg='a\n\n END\nb \xe9';END\n\n"
        b"### END EVENT ###\nPARSING_FAILED~'Line 1: Class Disk_Full undefined'\n\n"
        b"1~9~65537~1074080913(Jan 14\n### EVENT ###\nDisk_OK;END\x01\n### END EVENT ###\nPROCESSED\n",
    )
    failed, good = read_dump(path)
    assert (failed.kind, failed.reason) == ("rejected", "Line 1: Class Disk_Full undefined")
    assert failed.slots == {"hostname": "h", "msg": "a\n\n END\nb é"}
    assert (good.kind, good.class_name, good.time) == ("event", "Disk_OK", 1_074_080_913_000_000)


def test_a_dump_of_the_repository_gives_what_was_sent(tmp_path: Path) -> None:
    row = {"server_handle": 1, "date_reception": 1_772_352_000, "event_handle": 2, "hostname": "h", "msg": "don't\nEND"}
    path = dump(
        tmp_path,
        event_text("Disk_Full", row | {"status": "CLOSED", "repeat_count": 3, "severity": "FATAL"})
        + "\n\nDisk_OK;\nmsg='two\nEND\nlines';\n END \n\x03Disk_OK;a=b;END\n",
    )
    found = read_dump(path)
    assert [(one.class_name, one.slots, one.time) for one in found] == [
        ("Disk_Full", {"hostname": "h", "msg": "don't\\nEND", "severity": "FATAL"}, 1_772_352_000_000_000),
        ("Disk_OK", {"msg": "two\nEND\nlines"}, None),
        ("Disk_OK", {"a": "b"}, None),
    ]


def test_every_text_that_is_no_event_is_an_error_with_its_place(tmp_path: Path) -> None:
    frame = "1~1~65537~1772352000(x)\n### EVENT ###\n{}\n### END EVENT ###\nPROCESSED\n\n"
    path = dump(tmp_path, frame.format("A;a=b") + frame.format("B;END") + "C;\na;\nEND\n")
    assert wrong(path) == [
        "3:6: expected ';' after the value of slot 'a', found the end of the text",
        "14:2: expected '=' after the slot 'a', found ';\\nEND'",
    ]
    kinds = [(one.kind, one.error is None) for one in iterate_dump(path)]
    assert kinds == [("rejected", False), ("event", True), ("rejected", False)]


def test_what_is_no_dump(tmp_path: Path) -> None:
    assert wrong(dump(tmp_path, "\n\n")) == ["1:1: the dump has no record"]
    assert wrong(dump(tmp_path, "\nhello world\n")) == ["2:1: 'hello world' begins no event"]
    assert wrong(dump(tmp_path, "A;a='b;\nEND\n")) == ["1:1: no END ends this event"]
    assert wrong(dump(tmp_path, "\n### EVENT ###\nA;END\n")) == ["2:1: no '### END EVENT ###' ends this record"]
    with pytest.raises(SourceErrors, match=r"none.txt:1:1: cannot be read: No such file"):
        read_dump(tmp_path / "none.txt")


def test_records_of_a_dump_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opentec.testing.inputs.TEXT_LIMIT", 20)
    assert wrong(dump(tmp_path, "x" * 30)) == ["1:1: the line has more than 20 bytes"]
    assert wrong(dump(tmp_path, "A;a='b;\n" + "c\n" * 20)) == ["1:1: no END ends this event"]
    assert wrong(dump(tmp_path, "### EVENT ###\n" + "c\n" * 20)) == ["1:1: no '### END EVENT ###' ends this record"]


def test_a_time_of_reception_that_no_calendar_has_is_none(tmp_path: Path) -> None:
    (found,) = read_dump(dump(tmp_path, "Disk_OK;a=b;date_reception=99999999999;END\n"))
    assert (found.time, found.slots) == (None, {"a": "b", "date_reception": "99999999999"})
