"""The forms in which Windows events arrive as JSON: all of one event must say the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from opentec.adapters.nt.forms import from_object, read_record
from opentec.adapters.nt.record import NotAnEvent, NtRecord, as_number, as_text, clean, event_type_of, slots_of

FAILURE = "0x8010000000000000"
DATE = "2026-03-01T08:00:00.1234567Z"
VALUES = {"SubjectUserSid": "S-1-5-18", "TargetUserName": "bob", "LogonType": "3"}
MESSAGE = "An account failed to log on."

LIBRARY = {
    "Event": {
        "#attributes": {"xmlns": "http://schemas.microsoft.com/win/2004/08/events/event"},
        "System": {
            "Provider": {"#attributes": {"Name": "Microsoft-Windows-Security-Auditing"}},
            "EventID": 4625,
            "Level": 0,
            "Task": 12544,
            "Keywords": FAILURE,
            "TimeCreated": {"#attributes": {"SystemTime": DATE}},
            "EventRecordID": 7000000001,
            "Channel": "Security",
            "Computer": "web1.example.com",
            "Security": None,
        },
        "EventData": VALUES,
        "RenderingInfo": {"Message": MESSAGE},
    }
}
XML_LIKE = {
    "System": {
        "Provider": {"@Name": "Microsoft-Windows-Security-Auditing"},
        "EventID": {"@Qualifiers": "0", "#text": "4625"},
        "Level": "0",
        "Task": "12544",
        "Keywords": FAILURE,
        "TimeCreated": {"@SystemTime": DATE},
        "EventRecordID": "7000000001",
        "Channel": "Security",
        "Computer": "web1.example.com",
        "Security": {},
    },
    "EventData": {"Data": [{"@Name": name, "#text": value} for name, value in VALUES.items()]},
    "RenderingInfo": {"Message": MESSAGE},
}
NXLOG = {
    "EventTime": DATE,
    "Hostname": "web1.example.com",
    "Keywords": -9218868437227405312,
    "EventType": "AUDIT_FAILURE",
    "SeverityValue": 4,
    "Severity": "ERROR",
    "EventID": 4625,
    "SourceName": "Microsoft-Windows-Security-Auditing",
    "Task": 12544,
    "RecordNumber": 7000000001,
    "Channel": "Security",
    "Message": MESSAGE,
    **VALUES,
}
WINLOGBEAT = {
    "@timestamp": DATE,
    "message": MESSAGE,
    "log": {"level": "information"},
    "host": {"name": "collector"},
    "winlog": {
        "channel": "Security",
        "provider_name": "Microsoft-Windows-Security-Auditing",
        "event_id": "4625",
        "record_id": 7000000001,
        "computer_name": "web1.example.com",
        "task": "12544",
        "keywords": ["Audit Failure"],
        "event_data": VALUES,
    },
}
OLD_WINLOGBEAT = {
    "@timestamp": DATE,
    "message": MESSAGE,
    "level": "Information",
    "log_name": "Security",
    "source_name": "Microsoft-Windows-Security-Auditing",
    "event_id": 4625,
    "record_number": "7000000001",
    "computer_name": "web1.example.com",
    "task": "12544",
    "keywords": ["Audit Failure"],
    "event_data": VALUES,
}
DOTTED = {
    "@timestamp": DATE,
    "message": MESSAGE,
    "log.level": "information",
    **{f"winlog.{name}": value for name, value in WINLOGBEAT["winlog"].items()},  # type: ignore[attr-defined]
}


@pytest.mark.parametrize(
    "form",
    [LIBRARY, XML_LIKE, NXLOG, WINLOGBEAT, OLD_WINLOGBEAT, DOTTED],
    ids=["lib", "xml", "nxlog", "beat", "old", "dots"],
)
def test_every_form_says_the_same(form: dict[str, Any]) -> None:
    record = read_record(json.dumps(form))
    assert (record.log, record.source, record.event_id) == ("Security", "Microsoft-Windows-Security-Auditing", 4625)
    assert (record.event_type, record.severity, record.category) == ("Audit_Failure", "WARNING", "12544")
    assert (record.computer, record.date, record.record_id) == ("web1.example.com", DATE, "7000000001")
    assert (record.message, record.sid) == (MESSAGE, "S-1-5-18")
    assert VALUES.items() <= record.data.items()
    if form is not NXLOG:  # where the values stand among other fields, their places mean nothing
        assert record.values == list(VALUES.values())


def test_get_winevent() -> None:
    record = from_object(
        {
            "Id": 7036,
            "LogName": "System",
            "ProviderName": "Service Control Manager",
            "RecordId": 5,
            "MachineName": "web1",
            "UserId": {"BinaryLength": 12, "Value": "S-1-5-18"},
            "TimeCreated": "/Date(1767225600000)/",
            "Level": 4,
            "LevelDisplayName": "Information",
            "TaskDisplayName": None,
            "KeywordsDisplayNames": ["Classic"],
            "Message": "The service entered the running state.",
            "Properties": [{"Value": "Spooler"}, {"Value": "running"}],
        }
    )
    assert (record.source, record.event_id, record.event_type) == ("Service Control Manager", 7036, "Information")
    assert (record.values, record.sid, record.category) == (["Spooler", "running"], "S-1-5-18", "")


def test_classic_events_have_values_without_names() -> None:
    system = {"Provider": {"Name": "EventLog"}, "EventID": 6009, "Channel": "System", "Level": 2}
    for data in ({"Data": {"#text": ["a", "", "b"]}, "Binary": "00"}, {"Data": ["a", "", "b"]}):
        record = from_object({"System": system, "EventData": data})
        assert record.values == ["a", "", "b"]
        assert record.event_type == "Error"
    assert from_object({"System": system, "EventData": {"Data": "one"}}).values == ["one"]
    assert from_object({"System": system, "EventData": "one"}).values == ["one"]
    assert record.text in ("EventLog 6009: a, b", "EventLog 6009: Binary=00")


def test_user_data() -> None:
    system = {"Provider": {"Name": "Microsoft-Windows-Eventlog"}, "EventID": 104, "Channel": "System"}
    inner = {"#attributes": {"xmlns": "x"}, "SubjectUserName": "tony", "Channel": "Application"}
    record = from_object({"System": system, "EventData": None, "UserData": {"LogFileCleared": inner}})
    assert record.data == {"SubjectUserName": "tony", "Channel": "Application"}


def test_qualifiers_in_the_id_are_taken_off() -> None:
    record = from_object({"EventID": 0x40001B7C, "SourceName": "x"})
    assert record.event_id == 0x1B7C
    assert from_object({"EventID": -1073734820, "SourceName": "x"}).event_id == 7004  # 0xC0001B5C


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ("{}", "neither a source nor a log"),
        ('{"SourceName": "x"}', "no event id"),
        ('{"SourceName": "x", "EventID": "many"}', "no event id"),
        ('{"SourceName": "x", "EventID": true}', "no event id"),
        ('{"System": {"EventID": 0, "Provider": null}}', "neither Provider nor Channel"),
        ('{"a":' * 5000, "not JSON"),
        ('{"a":' + "[" * 50000 + "]" * 50000 + "}", "not JSON"),
        ('{"EventID": ' + "9" * 5000 + "}", "not JSON"),
    ],
)
def test_what_is_no_event(text: str, reason: str) -> None:
    with pytest.raises(NotAnEvent, match=reason):
        read_record(text)


@pytest.mark.parametrize(
    ("level", "keywords", "expected"),
    [
        (1, None, "Critical"),
        ("Warning", None, "Warning"),
        ("INFO", None, "Information"),
        ("Fehler", None, "Information"),
        (0, "0x8020000000000000", "Audit_Success"),
        (5, ["Classic"], "Verbose"),
        (None, "Audit Success", "Audit_Success"),
        ("FailureAudit", None, "Audit_Failure"),
        (99, None, "Information"),
    ],
)
def test_event_types(level: object, keywords: object, expected: str) -> None:
    assert event_type_of(level, keywords) == expected


def test_values_become_text_on_one_line() -> None:
    assert clean("a\r\n\tb  c\x00 ") == "a b c\\x00"
    assert as_text({"a": 1, "b": None}) == "a=1, b="
    assert as_text([True, 1.5, {"Value": "x"}]) == "true, 1.5, x"
    assert (as_number("0x10"), as_number("007"), as_number("x"), as_number(None)) == (16, 7, None, None)


def test_slots() -> None:
    record = NtRecord(log="System", source="Some Source", event_id=3, computer="web1.example.com", sid="N/A")
    slots = slots_of(record, replace_spaces=True, adapter_host="collector", label_host="")
    assert slots["sub_source"] == "Some_Source"
    assert (slots["hostname"], slots["fqhostname"]) == ("web1.example.com", "web1.example.com")
    assert slots["msg"] == "Some Source 3"
    assert "record_id" not in slots
    slots = slots_of(record, replace_spaces=False, adapter_host="collector", label_host="me")
    assert (slots["sub_source"], slots["hostname"]) == ("Some Source", "me")
    assert "fqhostname" not in slots


def test_a_message_made_of_values_is_not_without_end() -> None:
    record = NtRecord(source="x", event_id=1, data={f"n{number}": "1" for number in range(50)})
    assert record.text.endswith("n19=1, ... (50 values)")
