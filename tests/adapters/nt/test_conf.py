"""The NT adapter's configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from opentec.adapters.nt.conf import NtConf, parse_nt_conf, read_nt_conf
from opentec.adapters.nt.record import NtRecord
from opentec.events.errors import SourceErrors
from opentec.shipped import shipped

PATH = Path("/etc/opentec/a.conf")
LEAST = "ServerLocation=tec\nNodeName=n\nBufEvtPath=b\n"


def conf(text: str, sources: str = "*.evtx,x.jsonl") -> NtConf:
    return parse_nt_conf(f"{LEAST}LogSources={sources}\n{text}", PATH)


def errors(text: str, sources: str = "*.evtx,x.jsonl") -> list[str]:
    with pytest.raises(SourceErrors) as caught:
        conf(text, sources)
    return [str(error).partition("\n")[0].removeprefix(f"{PATH}:") for error in caught.value.errors]


def test_the_least() -> None:
    found = conf("")
    assert found.evtx_sources == ["/etc/opentec/*.evtx"]
    assert found.json_sources == ["/etc/opentec/x.jsonl"]
    assert (found.catch_up, found.replace_spaces, found.hostname_is_adapter_host) == (-1, True, False)
    assert (found.map_file, found.common.notes) == (None, [])
    assert found.passes(NtRecord())


def test_nt_keywords() -> None:
    found = conf(
        "NumEventsToCatchUp=0\nspacereplacement = false\nHostnameIsAdapterHost=YES\nMapFile=my.map\n"
        "LanguageID=ENGLISH\nPreFilter:Log=Security;EventId=1\nPreFilter=Source=x\nFilter:Class=A\nFormatFile=f"
    )
    assert (found.catch_up, found.replace_spaces, found.hostname_is_adapter_host) == (0, False, True)
    assert found.map_file == Path("/etc/opentec/my.map")
    assert [note.partition(" ")[2] for note in found.common.notes] == [
        "LanguageID is not used: messages stay as they arrive",
        "FormatFile is not used: events become classes by MapFile",
    ]
    assert len(found.common.filters) == 1
    assert not found.passes(NtRecord(log="Security", event_id=1))
    assert not found.passes(NtRecord(source="X"))
    assert found.passes(NtRecord(log="Security", event_id=2))


def test_pre_filter_mode_in() -> None:
    found = conf("PreFilterMode=in\nPreFilter:EventType=Error")
    assert found.passes(NtRecord(event_type="Error"))
    assert not found.passes(NtRecord())


def test_read_existing_and_catching_up() -> None:
    assert conf("ReadExisting=NO").catch_up == 0
    assert conf("ReadExisting=NO\nNumEventsToCatchUp=-1").catch_up == -1
    found = conf("NumEventsToCatchUp=10")
    assert found.catch_up == 10
    assert "files of JSON lines are read from their beginning" in found.common.notes[0]
    assert conf("NumEventsToCatchUp=10", "*.evtx").common.notes == []


def test_all_that_is_wrong_is_said_with_its_place() -> None:
    text = """NumEventsToCatchUp=-2
PreFilter:EvntId=1
PreFilterMode=both
SpaceReplacement=maybe
NumEventsToCatchUp=1
MapFile=
PrefilterMod=IN
PollInterval=x"""
    assert errors(text) == [
        "5:20: NumEventsToCatchUp is -1, 0 or a number, not '-2'; -1 begins with the oldest event, 0 with the next, n"
        " goes back by n",
        "6:11: 'EvntId=1' is not Log, Source, EventId, EventType with a value; did you mean 'EventId'?",
        "7:15: PreFilterMode is IN or OUT, not 'both'",
        "8:18: SpaceReplacement is YES or NO, not 'maybe'",
        "9:20: NumEventsToCatchUp is given twice; the first is in line 5",
        "10:9: MapFile has no value",
        "11:1: keyword 'PrefilterMod' is not known; did you mean 'PreFilterMode'?",
        "12:14: PollInterval is seconds, more than 0 and at most 86400, not 'x'",
    ]


def test_a_mode_that_sends_nothing() -> None:
    assert "sends nothing" in errors("PreFilterMode=IN")[0]


def test_a_pattern_that_means_logs_and_lines() -> None:
    assert "may mean both" in errors("", "logs/*")[0]


def test_what_is_missing() -> None:
    with pytest.raises(SourceErrors) as caught:
        parse_nt_conf("", PATH)
    assert [error.message.partition(" ")[0] for error in caught.value.errors] == [
        "ServerLocation",
        "NodeName",
        "BufEvtPath",
        "LogSources",
    ]


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_bytes(b"#" * (1 << 21))
    with pytest.raises(SourceErrors, match="more than"):
        read_nt_conf(path)


def test_the_shipped_configuration_is_right() -> None:
    found = read_nt_conf(shipped("adapters", "nt", "tecad_nt.conf"), node="web1")
    assert found.common.notes == []
    assert found.common.node_name == "web1"
    assert (found.catch_up, len(found.evtx_sources), len(found.json_sources)) == (0, 1, 1)
