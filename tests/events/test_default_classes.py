"""The class files that ship."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from opentec.events import ClassTable, parse_baroc
from opentec.events.image import BASE_SLOTS


def test_the_base_has_the_slots_of_the_repository(table: ClassTable) -> None:
    assert set(table.get("EVENT").slots) == set(BASE_SLOTS)


def test_severities_and_states_have_tecs_numbers(table: ClassTable) -> None:
    assert table.enumerations["SEVERITY"].members == {
        "UNKNOWN": 10,
        "HARMLESS": 20,
        "WARNING": 30,
        "MINOR": 40,
        "CRITICAL": 50,
        "FATAL": 60,
    }
    assert table.enumerations["STATUS"].members == {"OPEN": 0, "RESPONSE": 10, "ACK": 20, "CLOSED": 30}


@pytest.mark.parametrize(
    ("name", "parent", "slots"),
    [
        ("TEC_Start", "EVENT", []),
        ("TEC_Stop", "EVENT", []),
        ("TEC_DB", "EVENT", ["sql_code"]),
        ("TEC_Error", "EVENT", []),
        (
            "TEC_Failover",
            "TEC_Notice",
            ["epoch", "from_node", "to_node", "reason", "gap", "skipped_epochs", "rule_base"],
        ),
        ("TEC_Recovered", "TEC_Notice", ["records", "interrupted_tasks"]),
        ("TEC_Tick", "EVENT", []),
        ("TEC_Heartbeat", "EVENT", []),
        ("TEC_Maintenance", "EVENT", []),
        ("Escalate_event", "EVENT", []),
        ("TEC_BufferDamaged", "TEC_Notice", []),
        ("TEC_BufferOverflow", "TEC_Notice", ["file", "lines"]),
        ("Su_Success", "Logfile_Base", []),
        ("Root_Login_Success_From", "Logfile_Base", []),
        ("Ssh_Login_Failure", "Logfile_Sshd", ["user", "from_host", "port", "program", "pid"]),
        ("Ssh_Invalid_User", "Logfile_Sshd", ["user", "from_host"]),
        ("Ssh_Break_In_Attempt", "Logfile_Sshd", ["from_host"]),
        ("Systemd_Unit_Failed", "Logfile_Base", ["unit"]),
        ("NT_Disk_Full", "NT_Base", ["drive", "eventid", "sid", "category", "event_type", "log"]),
        ("NT_Logon_Failure", "NT_Base", ["user"]),
    ],
)
def test_classes_that_others_rely_on(table: ClassTable, name: str, parent: str, slots: list[str]) -> None:
    cls = table.get(name)
    assert cls.is_a(parent)
    assert set(slots) <= set(cls.slots)


def test_sources_and_severities(table: ClassTable) -> None:
    assert table.get("NT_Disk_Full").defaults["source"] == "NT"
    assert table.get("Ssh_Login_Success").defaults["source"] == "LOGFILE"
    assert table.get("TEC_Start").defaults["severity"] == "HARMLESS"
    assert table.get("TEC_DB").defaults["severity"] == "CRITICAL"
    assert table.get("Su_Failure").defaults["severity"] == "WARNING"


def test_the_first_example_is_legal(table: ClassTable) -> None:
    for name in ("NT_Disk_Full", "NT_Disk_OK"):
        assert table.check(name, {"hostname": "web1", "drive": "C:"}) == {"hostname": "web1", "drive": "C:"}
        assert table.get(name).dup_slots == ("hostname", "drive")


def test_exact_duplicates_of_one_host_can_be_told(table: ClassTable) -> None:
    """An adapter's event is never the duplicate of another host's."""
    for cls in table.classes.values():
        if cls.is_a("Logfile_Base") or cls.is_a("NT_Base"):
            assert "hostname" in cls.dup_slots, cls.name


def test_every_file_is_loaded(default_folder: Path, table: ClassTable) -> None:
    named = [line for line in (default_folder / ".load_classes").read_text().splitlines() if not line.startswith("#")]
    assert sorted(named) == sorted(path.name for path in default_folder.glob("*.baroc"))
    declared = [one.name.text for name in named for one in parse_baroc((default_folder / name).read_text(), name)]
    assert declared == sorted(declared, key=declared.index)
    assert set(declared) == set(table.classes) | set(table.enumerations)


def loaded_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys, json; print(json.dumps(list(sys.modules)))"],
        capture_output=True,
        check=True,
        text=True,
    )
    return set(json.loads(done.stdout))


def test_client_commands_do_not_pay_for_the_server() -> None:
    modules = loaded_by("import opentec.events as e; e.format_event; e.parse_event; e.EventRejected")
    assert not modules & {"lark", "msgspec", "pydantic", "sqlalchemy", "difflib"}


def test_a_compiled_table_needs_no_lark() -> None:
    modules = loaded_by("from opentec.events import ClassTable, EventParser; EventParser(ClassTable([], []))")
    assert "lark" not in modules


def test_the_face_of_the_package_is_complete() -> None:
    import opentec.events

    names = [name for name in dir(opentec.events) if name[0] != "_" and name[0].isupper()]
    assert {"ClassTable", "EventParser", "SourceErrors"} <= set(names)
    for name in opentec.events._MODULE_OF:
        assert getattr(opentec.events, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        opentec.events.Nothing  # noqa: B018
