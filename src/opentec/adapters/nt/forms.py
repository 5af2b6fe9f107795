"""The forms in which Windows events arrive as JSON (docs/adapters-nt.md lists them with examples).

Nested: `Event` with `System` and `EventData` or `UserData`, attributes in `#attributes`, under `@Name` or plain.
Flat: one object with the names that NXLog, Winlogbeat (fields at the top or under `winlog`) or Get-WinEvent give.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from opentec.adapters.nt.record import (
    NotAnEvent,
    NtRecord,
    as_text,
    clean,
    event_id_of,
    event_type_of,
    record_id_of,
)

_ATTRIBUTES: Final = ("#attributes", "_attributes", "$")
_DATA_LIMIT: Final = 1000  # values of one event
# names in the order in which they are looked for; those of one row mean the same
_LOG: Final = ("channel", "log_name", "logname", "log")
_SOURCE: Final = ("provider_name", "providername", "sourcename", "source_name", "provider", "source", "event.provider")
_ID: Final = ("event_id", "eventid", "id", "eventcode", "event.code")
_RECORD: Final = ("record_id", "recordid", "recordnumber", "record_number", "eventrecordid")
_COMPUTER: Final = ("computer_name", "computername", "computer", "machinename", "hostname", "host.name", "host")
_DATE: Final = ("eventtime", "timecreated", "time_created", "@timestamp", "systemtime", "timegenerated", "timestamp")
_LEVEL: Final = ("eventtype", "entrytype", "leveldisplayname", "level", "log.level", "severity")
_KEYWORDS: Final = ("keywordsdisplaynames", "keywords")
_CATEGORY: Final = ("taskdisplayname", "category", "task")
_SID: Final = ("userid", "user_id", "user.identifier", "sid")
_MESSAGE: Final = ("message", "rendereddescription")
_DATA: Final = ("event_data", "eventdata", "user_data", "userdata", "properties")
_TAKEN: Final = frozenset(
    (*_LOG, *_SOURCE, *_ID, *_RECORD, *_COMPUTER, *_DATE, *_LEVEL, *_KEYWORDS, *_CATEGORY, *_SID, *_MESSAGE, *_DATA)
)


def read_record(text: str) -> NtRecord:
    """A Windows event from JSON text; raises NotAnEvent with what is wrong."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "numbers or nesting beyond all limits"
        raise NotAnEvent(f"it is not JSON: {reason}") from None
    if not isinstance(data, dict):
        raise NotAnEvent("it is not a JSON object")
    try:
        return from_object(data)
    except RecursionError:
        raise NotAnEvent("it is nested too deep") from None


def from_object(data: dict[str, Any]) -> NtRecord:
    """A Windows event from a JSON object in any of the forms; raises NotAnEvent."""
    event = data.get("Event")
    if not isinstance(event, dict):
        event = data
    if isinstance(event.get("System"), dict):
        return _nested(event)
    return _flat(data)


def _nested(event: dict[str, Any]) -> NtRecord:
    system = event["System"]
    rendering = event.get("RenderingInfo")
    rendered: dict[str, Any] = rendering if isinstance(rendering, dict) else {}
    data, values = _event_data(event.get("EventData"))
    if not values:
        data, values = _user_data(event.get("UserData"))
    source = as_text(_attribute(system.get("Provider"), "Name"))
    log = as_text(system.get("Channel"))
    if not source and not log:
        raise NotAnEvent("it names neither Provider nor Channel")
    category = as_text(rendered.get("Task")) or as_text(system.get("Task"))
    return NtRecord(
        log=log,
        source=source or log,
        event_id=event_id_of(system.get("EventID")),
        event_type=event_type_of(system.get("Level"), system.get("Keywords")),
        category="" if category == "0" else category,
        sid=as_text(_attribute(system.get("Security"), "UserID")) or data.get("SubjectUserSid", ""),
        computer=as_text(system.get("Computer")),
        date=as_text(_attribute(system.get("TimeCreated"), "SystemTime")),
        record_id=record_id_of(system.get("EventRecordID")),
        message=as_text(rendered.get("Message")) or as_text(event.get("Message")),
        data=data,
        values=values,
    )


def _attribute(node: object, name: str) -> object:
    """An attribute of an XML element that became JSON, or the text of an element that has none."""
    if not isinstance(node, dict):
        return node
    for holder in (*(node.get(key) for key in _ATTRIBUTES), node):
        if isinstance(holder, dict):
            for key in (name, f"@{name}", f"-{name}", f"_{name}"):
                if key in holder:
                    return holder[key]
    return None


def _event_data(node: object) -> tuple[dict[str, str], list[str]]:
    data: dict[str, str] = {}
    values: list[str] = []

    def add(name: str, value: object) -> None:
        if len(values) < _DATA_LIMIT:
            text = as_text(value)
            if name:
                data.setdefault(clean(name), text)
            if name != "Binary":
                values.append(text)

    entries = node.items() if isinstance(node, dict) else [("Data", node)] if node is not None else []
    for name, value in entries:
        if name in _ATTRIBUTES or name.startswith(("@", "xmlns")):
            continue
        if name != "Data":
            add(name, value)
            continue
        inner = value.get("#text") if isinstance(value, dict) and _attribute(value, "Name") is None else value
        for each in inner if isinstance(inner, list) else [] if inner is None else [inner]:
            own = _attribute(each, "Name") if isinstance(each, dict) else None
            add(as_text(own), each)
    return data, values


def _user_data(node: object) -> tuple[dict[str, str], list[str]]:
    """UserData holds one element of the event's own, and that the values."""
    if not isinstance(node, dict):
        return {}, []
    inner = [value for name, value in node.items() if name not in _ATTRIBUTES and isinstance(value, dict)]
    return _event_data(inner[0] if len(inner) == 1 else node)


def _flat(data: dict[str, Any]) -> NtRecord:
    fields: dict[str, Any] = {}
    for name, value in data.items():
        folded = name.casefold()
        if folded == "winlog" and isinstance(value, dict):
            fields.update({key.casefold(): each for key, each in value.items()})
        else:
            fields.setdefault(folded.removeprefix("winlog."), value)
    source, log = as_text(_first(fields, _SOURCE)), as_text(_first(fields, _LOG))
    if not source and not log:
        raise NotAnEvent("it names neither a source nor a log")
    named, values = _flat_data(fields, data)
    category = as_text(_first(fields, _CATEGORY))
    return NtRecord(
        log=log,
        source=source or log,
        event_id=event_id_of(_first(fields, _ID)),
        event_type=_flat_type(fields),
        category="" if category == "0" else category,
        sid=as_text(_first(fields, _SID)) or named.get("SubjectUserSid", ""),
        computer=as_text(_first(fields, _COMPUTER)),
        date=as_text(_first(fields, _DATE)),
        record_id=record_id_of(_first(fields, _RECORD)),
        message=as_text(_first(fields, _MESSAGE)),
        data=named,
        values=values,
    )


def _first(fields: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """The first of `names` that is there and holds no object; `a.b` also means b within a."""
    for name in names:
        value = fields.get(name)
        if value is None and "." in name:
            outer, _, inner = name.partition(".")
            holder = fields.get(outer)
            value = holder.get(inner) if isinstance(holder, dict) else None
        if isinstance(value, dict):
            value = value.get("Value", value.get("value"))
        if value is not None and value != "":
            return value
    return None


def _flat_type(fields: Mapping[str, Any]) -> str:
    """The event type: by the keywords for audits, else by the first level that is there."""
    level = _first(fields, _LEVEL)
    kind = event_type_of(level, _first(fields, _KEYWORDS))
    audited = event_type_of(level, level)
    return audited if kind == "Information" and audited.startswith("Audit") else kind


def _flat_data(fields: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    for name in _DATA:
        holder = fields.get(name)
        if isinstance(holder, list):
            return _event_data({"Data": holder})
        if isinstance(holder, dict):
            return _event_data({key: value for key, value in holder.items() if key != "xml_name"})
    # the values stand among the fields themselves
    return _event_data(
        {
            name: value
            for name, value in data.items()
            if name.casefold() not in _TAKEN and not isinstance(value, (dict, list)) and not name.startswith("@")
        }
    )
