"""Configuration files of adapters: every keyword, and every error with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from opentec.adapters.conf import CONF_LIMIT, AdapterConf, Server, parse_conf, read_conf
from opentec.events.errors import SourceErrors

LEAST = "ServerLocation=tec1\nBufEvtPath=buffer\nNodeName=web1\n"
SOURCES = "\nLogSources=/var/log/messages"
PATH = Path("/etc/opentec/a.conf")


def conf(text: str, **options: str) -> AdapterConf:
    return parse_conf(LEAST + text, PATH, **options)


def errors(text: str) -> list[str]:
    with pytest.raises(SourceErrors) as caught:
        parse_conf(text, PATH, required=("ServerLocation", "NodeName", "BufEvtPath", "LogSources"))
    return [str(error).split("\n")[0] for error in caught.value.errors]


def test_defaults() -> None:
    found = conf("")
    assert found.servers == [Server("tec1", 5529)]
    assert found.buffer_path == Path("/etc/opentec/buffer")
    assert (found.buffering, found.buffer_max_kb) == ("YES", 65_536)
    assert (found.poll_interval, found.retry_interval, found.event_max_size) == (1.0, 1.0, 4096)
    assert found.read_existing
    assert found.filter_mode == "OUT"
    assert found.file_scope == found.adapter_hostname == found.label_host == "web1"
    assert not found.notes


def test_paths_do_not_depend_on_where_the_adapter_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.conf"
    file.write_text(LEAST + "LogSources=logs/app.log")
    (tmp_path / "logs").mkdir()
    for folder, path in ((tmp_path, "a.conf"), (tmp_path / "logs", "../a.conf"), (tmp_path, str(file))):
        monkeypatch.chdir(folder)
        found = read_conf(Path(path))
        assert (found.log_sources, found.buffer_path) == ([str(tmp_path / "logs/app.log")], tmp_path / "buffer")


def test_all_keywords() -> None:
    found = parse_conf(
        """
        # a comment
        serverlocation=black:5530,brown
        ServerLocation=[::1]:5531,10.0.0.1
        ServerPort=5529
        BufferEvents=memory_only
        BufEvtMaxSize=1024
        BufEvtPath=/var/buf
        LogSources=/var/log/a,/var/log/b*.log
        LogSources=relative.log
        PollInterval=0.25
        RetryInterval=5
        EventMaxSize=2048
        FilterMode=IN
        Filter:Class=A;x=1
        Filter:Class=B
        UnmatchLog=unmatched
        FormatFile=/etc/x.fmt
        ReadExisting=NO
        NodeName=web1
        FileScope=volume1
        AdapterHostname=adapter1
        LabelHost=label1
        """,
        PATH,
    )
    assert found.servers == [
        Server("black", 5530),
        Server("brown", 5529),
        Server("::1", 5531),
        Server("10.0.0.1", 5529),
    ]
    assert (found.buffering, found.buffer_max_kb, found.buffer_path) == ("MEMORY_ONLY", 1024, Path("/var/buf"))
    assert found.log_sources == ["/var/log/a", "/var/log/b*.log", "/etc/opentec/relative.log"]
    assert (found.poll_interval, found.retry_interval, found.event_max_size) == (0.25, 5.0, 2048)
    assert (found.filter_mode, [each.class_name for each in found.filters]) == ("IN", ["A", "B"])
    assert (found.unmatch_log, found.format_file) == (Path("/etc/opentec/unmatched"), Path("/etc/x.fmt"))
    assert not found.read_existing
    assert (found.node_name, found.file_scope) == ("web1", "volume1")
    assert (found.adapter_hostname, found.label_host) == ("adapter1", "label1")


def test_ports_for_each_server() -> None:
    found = parse_conf("ServerLocation=a,b\nServerPort=1,2\nBufEvtPath=b\nNodeName=n", PATH)
    assert found.servers == [Server("a", 1), Server("b", 2)]


def test_the_node_of_the_command_line_wins() -> None:
    found = conf("", node="web2")
    assert (found.node_name, found.file_scope) == ("web2", "web2")


def test_keywords_without_meaning_are_told() -> None:
    found = conf("ConnectionMode=CO\nFilterCache:Class=A\nBufEvtMaxSize=64\n")
    assert [note.split(": ", 1)[1] for note in found.notes] == [
        "ConnectionMode is not used: the connection is kept open and acknowledged",
        "FilterCache is not used: events are filtered before they are buffered, never afterwards",
        "BufEvtMaxSize=64 is taken as 256, the least",
    ]
    assert found.buffer_max_kb == 256


def test_keywords_of_one_adapter() -> None:
    found = parse_conf(LEAST + "LanguageID=ENGLISH\n", PATH, extra=("LanguageID",))
    assert found.extra == {"LanguageID": "ENGLISH"}
    assert "not known" in errors(LEAST + "LanguageID=ENGLISH" + SOURCES)[0]


def test_the_node_is_never_guessed() -> None:
    (error,) = errors("ServerLocation=a\nBufEvtPath=b" + SOURCES)
    assert error.startswith("/etc/opentec/a.conf:1:1: NodeName is missing; add NodeName=")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("LogSuorces=/a", "4:1: keyword 'LogSuorces' is not known; did you mean 'LogSources'?"),
        ("xyzzy=1", "4:1: keyword 'xyzzy' is not known; docs/adapters.md lists the keywords"),
        ("nonsense", "4:1: 'nonsense' is not keyword=value; comments begin with '#'"),
        ("PollInterval:3", "4:1: 'PollInterval:3' is not keyword=value"),
        ("PollInterval=1\nPollInterval=2", "5:1: PollInterval is given twice; the first is in line 4"),
        ("PollInterval=0", "4:14: PollInterval is seconds, more than 0 and at most 86400, not '0'"),
        ("RetryInterval=soon", "4:15: RetryInterval is seconds"),
        ("RetryInterval=", "4:15: RetryInterval has no value"),
        ("BufferEvents=MAYBE", "4:14: BufferEvents is YES or NO or MEMORY_ONLY, not 'MAYBE'"),
        ("EventMaxSize=5", "4:14: EventMaxSize is a whole number from 256 to 65000, not '5'"),
        ("EventMaxSize=4k", "4:14: EventMaxSize is a whole number"),
        ("LogSources=/a,,/b", "4:15: LogSources has an empty entry"),
        ("LogSources=/a/**/b", "4:12: '**' is not allowed"),
        ("ServerPort=0", "4:12: port 0 would ask a portmapper"),
        ("ServerPort=70000", "4:12: '70000' is not a port"),
        ("ServerPort=1,2", "4:12: ServerPort names 2 ports for 1 servers; give one for all, or one each"),
        ("ServerLocation=@EventServer", "4:16: '@EventServer' is not a host or host:port; Framework destinations"),
        ("ServerLocation=a:x", "4:16: 'x' is not a port"),
        ("ServerLocation=a,b,c,d,e,f,g,h", "4:30: ServerLocation names more than 8 servers"),
        ("Filter:x=1", "4:8: the filter names no class; the form is Filter:Class=NAME"),
        ("FilterMode=IN", "4:12: FilterMode=IN without a Filter line sends nothing"),
        ("FileScope=a b", "4:11: 'a b' is not a name"),
    ],
)
def test_errors_name_the_place_and_the_next_step(line: str, message: str) -> None:
    (error,) = errors(LEAST + line + ("" if line.startswith("LogSources") else SOURCES))
    assert error.startswith(f"{PATH}:{message}")


def test_all_errors_come_at_once() -> None:
    found = errors("x=1\nPollInterval=0\n")
    assert [error.split(": ", 1)[1].split(" is ")[0] for error in found] == [
        "keyword 'x'",
        "ServerLocation",
        "NodeName",
        "BufEvtPath",
        "LogSources",
        "PollInterval",
    ]


def test_a_memory_buffer_needs_no_folder() -> None:
    assert parse_conf("BufferEvents=NO", PATH, required=("BufEvtPath",)).buffer_path is None


def test_nothing_is_required_of_who_only_wants_the_servers() -> None:
    found = parse_conf("ServerLocation=tec1", PATH)
    assert (found.servers, found.node_name, found.buffer_path) == ([Server("tec1", 5529)], "", None)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text(LEAST)
    assert read_conf(path).buffer_path == tmp_path / "buffer"
    path.write_text("#" * (CONF_LIMIT + 1))
    with pytest.raises(SourceErrors, match="more than"):
        read_conf(path)
