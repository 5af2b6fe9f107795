"""Map files: what they select, what they make of an event, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from opentec.adapters.nt.mapping import SIZE_LIMIT, Mapping, parse_mapping, read_mapping
from opentec.adapters.nt.record import NtRecord
from opentec.adapters.nt.selection import SelectionError, parse_selection
from opentec.events import ClassTable, load_classes
from opentec.events.errors import SourceErrors
from opentec.shipped import shipped


def event(event_id: int = 1, log: str = "System", source: str = "Some Source", **more: object) -> NtRecord:
    return NtRecord(log=log, source=source, event_id=event_id, **more)  # type: ignore[arg-type]


def made(text: str, record: NtRecord) -> tuple[str, dict[str, str]]:
    block = parse_mapping(text, "x.map").find(record)
    assert block is not None
    return block.class_name, block.slots_of(record)


def errors(text: str) -> list[str]:
    with pytest.raises(SourceErrors) as caught:
        parse_mapping(text, "x.map")
    return [str(error).partition("\n")[0] for error in caught.value.errors]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ("Log=system", True),
        ("Log=Security,SYSTEM", True),
        ("Log=Security", False),
        ("Source=some_source", True),
        ("Source=Other,Some Source;EventId=7", False),
        ("EventId=1-3,9", True),
        ("eventid = 2", False),
        ("EventType=Error", True),
        ("EventType=Audit Failure,AuditSuccess", False),
    ],
)
def test_selections(selection: str, expected: bool) -> None:
    assert parse_selection(selection).matches(event(event_type="Error")) is expected


@pytest.mark.parametrize(
    ("selection", "message", "hint"),
    [
        ("", "nothing is selected", "at least one"),
        ("EvntId=1", "'EvntId=1' is not", "did you mean 'EventId'?"),
        ("Log", "'Log' is not", "the form is"),
        ("Log=a;Log=b", "given twice", "commas"),
        ("Log=a,,b", "empty value", ""),
        ("EventId=x", "neither a number nor a range", "1000"),
        ("EventId=5-4", "selects nothing", "lower one first"),
        ("EventId=70000", "selects nothing", "65535"),
        ("EventType=Eror", "not known", "did you mean 'Error'?"),
        ("EventType=zzz", "not known", "Critical"),
    ],
)
def test_wrong_selections(selection: str, message: str, hint: str) -> None:
    with pytest.raises(SelectionError, match=message) as caught:
        parse_selection(selection)
    assert hint in caught.value.hint


def test_the_first_block_that_takes_the_event_decides() -> None:
    text = "CLASS A\nSELECT EventId=2\nEND\nCLASS B\nSELECT Log=System\nEND\nCLASS C\nSELECT EventId=1\nEND\n"
    assert made(text, event(1))[0] == "B"
    assert made(text, event(2))[0] == "A"
    assert parse_mapping(text, "x").find(event(3, log="Other")) is None


def test_conditions() -> None:
    text = "CLASS A\nSELECT EventId=1\nWHEN $state | $2 = Running, up\nEND\nCLASS B\nSELECT EventId=1\nEND\n"
    assert made(text, event(data={"state": "running"}))[0] == "A"
    assert made(text, event(values=["x", "UP"]))[0] == "A"
    assert made(text, event(data={"state": "stopped"}))[0] == "B"
    assert made(text, event())[0] == "B"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("$name", "bob"),
        ("${a name}", "x y"),
        ("$2", "two"),
        ("$9 | $none | $dash | constant", "constant"),
        ("'it''s $name' | word", "it's $name"),
        ('"say ""$name"" to ${a name}"', 'say "bob" to x y'),
        ('"$none is not there" | $1', "one"),
        ("$Event.Log", "System"),
        ("$Event.Message | $Event.Text", "Some Source 1: name=bob, a name=x y, dash=-"),
        ('"$Event.Severity $Event.EventId"', "HARMLESS 1"),
        ("a/b:c-d*", "a/b:c-d*"),
    ],
)
def test_values(value: str, expected: str) -> None:
    record = event(data={"name": "bob", "a name": "x y", "dash": "-"}, values=["one", "two"])
    assert made(f"CLASS A\n  SELECT EventId=1\n  MAP slot = {value}\nEND", record) == ("A", {"slot": expected})


def test_a_slot_without_a_value_is_left_out() -> None:
    assert made("CLASS A\nSELECT EventId=1\nMAP slot = $none\nEND", event()) == ("A", {})


def test_all_that_is_wrong_is_said_with_its_place() -> None:
    text = """# a comment
// another
SELECT EventId=1
CLASS 9A
SELEKT EventId=1
SELECT EvntId=1
MAP x
MAP slot = $Event.Messge
MAP slot = "open
MAP other = a |
MAP more = "${}"
WHEN $1 running
END
CLASS *DISCARD*
MAP slot = a
CLASS B
END
CLASS C
SELECT EventId=1"""
    assert errors(text) == [
        "x.map:3:1: SELECT outside of a block; a block begins with CLASS NAME",
        "x.map:4:7: '9A' is not the name of a class; or *DISCARD*, to throw events away",
        "x.map:5:1: 'SELEKT' is not known; did you mean SELECT?",
        "x.map:6:8: 'EvntId=1' is not Log, Source, EventId, EventType with a value; did you mean 'EventId'?",
        "x.map:7:5: 'x' is not slot = value",
        "x.map:8:12: $Event has no field 'Messge'; did you mean $Event.Message?",
        "x.map:9:5: slot 'slot' is mapped twice; alternatives are separated by '|'",
        'x.map:9:12: \'"open\' is no value; write $name, ${a name}, "text" or a word',
        "x.map:10:16: slot 'other' has no value here",
        "x.map:11:12: ${} names nothing",
        "x.map:12:6: '$1 running' is no condition; such as WHEN $param2 = running,paused",
        "x.map:15:5: *DISCARD* has no slots",
        "x.map:16:1: the block of *DISCARD* (x.map:14) has no END; write END before",
        "x.map:17:1: the block of B has no SELECT; it would take every event",
        "x.map:19:1: the block of C (x.map:18) has no END",
    ]


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "x.map"
    path.write_bytes(b"#" * (SIZE_LIMIT + 1))
    with pytest.raises(SourceErrors, match="more than"):
        read_mapping(path)


# what ships


@pytest.fixture(scope="module")
def mapping() -> Mapping:
    return read_mapping(shipped("adapters", "nt", "tecad_nt.map"))


@pytest.fixture(scope="module")
def classes() -> ClassTable:
    return load_classes(shipped("rules", "default", "TEC_CLASSES"))


def test_the_shipped_map_names_classes_and_slots_that_exist(mapping: Mapping, classes: ClassTable) -> None:
    for block in mapping.blocks:
        assert set(block.maps) <= set(classes.get(block.class_name).slots), block.place


def test_every_class_that_an_event_can_become_is_mapped(mapping: Mapping, classes: ClassTable) -> None:
    """NT_Disk_OK has no Windows event: whoever knows that a disk has room again says so."""
    mapped = {block.class_name for block in mapping.blocks} | {"NT_Event", "NT_Disk_OK"}
    leaves = {name for name in classes.classes if name.startswith("NT_")}
    parents = {classes.get(name).parent for name in leaves}
    assert leaves - mapped <= parents


SERVICES = {"log": "System", "source": "Service Control Manager"}


@pytest.mark.parametrize(
    ("record", "class_name", "slots"),
    [
        (
            event(7036, **SERVICES, values=["Print Spooler", "running"]),
            "NT_Service_Start",
            {"service": "Print Spooler"},
        ),
        (
            event(7036, **SERVICES, data={"param1": "Print Spooler", "param2": "stopped"}),
            "NT_Service_Stop",
            {"service": "Print Spooler", "msg": "the service Print Spooler is stopped now"},
        ),
        (
            event(7034, **SERVICES, data={"param1": "Spooler", "param2": "3"}),
            "NT_Service_Failed",
            {"times": "3", "msg": "the service Spooler ended unexpectedly, 3 times so far"},
        ),
        (event(2013, source="srv", values=["\\Device\\x", "C:"]), "NT_Disk_Full", {"drive": "C:"}),
        (event(6008, source="EventLog"), "NT_Unexpected_Shutdown", {"msg": "the system was not shut down cleanly"}),
        (
            event(4625, log="Security", data={"TargetUserName": "bob", "IpAddress": "-", "Status": "0xc000006d"}),
            "NT_Logon_Failure",
            {"user": "bob", "reason": "0xc000006d", "msg": "logon of bob failed: 0xc000006d"},
        ),
        (event(4776, log="Security", event_type="Audit_Success"), "NT_Security", {"severity": "HARMLESS"}),
        (event(1102, log="Security", data={"SubjectUserName": "eve"}), "NT_Log_Cleared", {"user": "eve"}),
        (event(1102, log="System", source="x"), "", {}),
    ],
)
def test_what_windows_writes(mapping: Mapping, record: NtRecord, class_name: str, slots: dict[str, str]) -> None:
    block = mapping.find(record)
    assert (block.class_name if block else "") == class_name
    if block is not None:
        assert slots.items() <= block.slots_of(record).items()
