"""What a Windows event says, whatever form it came in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

SEVERITIES: Final = {
    "Critical": "FATAL",
    "Error": "CRITICAL",
    "Warning": "WARNING",
    "Audit_Failure": "WARNING",
}  # all others are HARMLESS
_LEVELS: Final = {1: "Critical", 2: "Error", 3: "Warning", 4: "Information", 5: "Verbose"}
_NAMES: Final = {
    "critical": "Critical",
    "fatal": "Critical",
    "error": "Error",
    "err": "Error",
    "warning": "Warning",
    "warn": "Warning",
    "information": "Information",
    "informational": "Information",
    "info": "Information",
    "logalways": "Information",
    "success": "Success",
    "verbose": "Verbose",
    "debug": "Verbose",
    "auditsuccess": "Audit_Success",
    "successaudit": "Audit_Success",
    "auditfailure": "Audit_Failure",
    "failureaudit": "Audit_Failure",
}
EVENT_TYPES: Final = tuple(dict.fromkeys(_NAMES.values()))
_AUDIT_FAILURE: Final = 1 << 52
_AUDIT_SUCCESS: Final = 1 << 53
_SPACE: Final = re.compile(r"[\t\n\r\x0b\x0c ]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
SHOWN: Final = 20  # values that a made-up message holds
_LARGEST_ID: Final = 2**31 - 1


class NotAnEvent(ValueError):
    """A record or a line is not a Windows event in any form that is known; the text says what is missing."""


@dataclass(slots=True)
class NtRecord:
    """One Windows event. `data` holds what the event says by name, `values` the same by position; all is text."""

    log: str = ""
    source: str = ""
    event_id: int = 0
    event_type: str = "Information"
    category: str = ""
    sid: str = ""
    computer: str = ""
    date: str = ""
    record_id: str = ""
    message: str = ""
    data: dict[str, str] = field(default_factory=dict)
    values: list[str] = field(default_factory=list)

    @property
    def severity(self) -> str:
        """SEVERITY by the kind of event."""
        return SEVERITIES.get(self.event_type, "HARMLESS")

    @property
    def text(self) -> str:
        """The message as Windows rendered it; a log file holds none, and then source, number and values stand in."""
        if self.message:
            return self.message
        named = [f"{name}={value}" for name, value in self.data.items() if value and name != "Binary"]
        values = named or [value for value in self.values if value]
        more = f", ... ({len(values)} values)" if len(values) > SHOWN else ""
        said = ", ".join(values[:SHOWN]) + more
        return f"{self.source} {self.event_id}" + (f": {said}" if said else "")


def clean(text: str) -> str:
    """`text` on one line: a run of blanks and line ends becomes one blank, another control character `\\xHH`."""
    if text.isprintable() and "  " not in text:
        return text.strip(" ")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", _SPACE.sub(" ", text)).strip(" ")


def as_text(value: object) -> str:
    """A JSON value as the text of a slot: "" for null, lists joined by `, `."""
    match value:
        case None:
            return ""
        case str():
            return clean(value)
        case bool():
            return "true" if value else "false"
        case list():
            return ", ".join([as_text(each) for each in value])
        case dict():
            for name in ("#text", "Value", "value", "content", "_"):
                if name in value:
                    return as_text(value[name])
            return ", ".join([f"{clean(str(name))}={as_text(each)}" for name, each in value.items()])
    return str(value)


def as_number(value: object) -> int | None:
    """A number given as number, decimal or 0x text; None when it is none."""
    if isinstance(value, dict):
        value = value.get("#text", value.get("Value"))
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    try:
        return int(value, 0) if isinstance(value, str) else value
    except ValueError:
        return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else None


def event_id_of(value: object) -> int:
    """EventID; raises NotAnEvent. Classic sources put qualifiers into the high half, and forwarders may leave them."""
    number = as_number(value)
    if number is None:
        raise NotAnEvent("it has no event id")
    return number & 0xFFFF if not 0 <= number <= 0xFFFF else number


def kind_of_name(name: str) -> str:
    """The event type that a word names, or ""."""
    return _NAMES.get(re.sub(r"[\s_-]", "", name).casefold(), "")


def event_type_of(level: object, keywords: object) -> str:
    """NT_EVENT_TYPE from level (number or name) and keywords (bits or names). Audits are told by keywords only."""
    bits = as_number(keywords)
    if bits is not None:
        if bits & _AUDIT_FAILURE:
            return "Audit_Failure"
        if bits & _AUDIT_SUCCESS:
            return "Audit_Success"
    else:
        for name in keywords if isinstance(keywords, list) else [keywords]:
            kind = kind_of_name(as_text(name))
            if kind.startswith("Audit"):
                return kind
    number = as_number(level)
    if number is not None:
        return _LEVELS.get(number, "Information")
    return kind_of_name(as_text(level)) or "Information"


def record_id_of(value: object) -> str:
    number = as_number(value)
    return str(number) if number is not None else ""


def slots_of(record: NtRecord, *, replace_spaces: bool, adapter_host: str, label_host: str) -> dict[str, str]:
    """The slots that every NT class has (rules/default/TEC_CLASSES/nt.baroc).

    With `label_host` hostname is that (HostnameIsAdapterHost), else the computer that wrote the event.
    """

    def word(text: str) -> str:
        return text.replace(" ", "_") if replace_spaces else text

    computer = label_host or record.computer or adapter_host
    slots: Mapping[str, str] = {
        "source": "NT",
        "sub_source": word(record.source),
        "hostname": computer,
        "fqhostname": computer if "." in computer.strip(".") else "",
        "adapter_host": adapter_host,
        "log": record.log,
        "eventid": str(record.event_id),
        "event_type": record.event_type,
        "category": word(record.category),
        "sid": word(record.sid),
        "record_id": record.record_id,
        "date": record.date,
        "msg": record.text,
    }
    return {name: value for name, value in slots.items() if value}
