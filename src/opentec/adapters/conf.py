"""Adapter configuration files: TEC's `keyword=value` lines (tec.md 4.1).

One keyword a line, `#` comments. LogSources, ServerLocation and ServerPort take comma lists and may be repeated, so
may Filter; every other keyword stands once. Keywords are compared without regard to case. Sizes keep TEC's units.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NamedTuple

from opentec.adapters.filters import Filter, FilterMode, parse_filter
from opentec.events.errors import SourceError, SourceErrors
from opentec.events.names import nearest, shown

DEFAULT_PORT: Final = 5529
SERVER_LIMIT: Final = 8
CONF_LIMIT: Final = 1 << 20  # bytes of a configuration file
SMALLEST_EVENT: Final = 256  # bytes; below that the class and the base slots do not fit
LARGEST_EVENT: Final = 65_000  # bytes; what a server takes is a little more (docs/protocol.md, rule 6)
SMALLEST_BUFFER: Final = 256  # KB

Buffering = Literal["YES", "NO", "MEMORY_ONLY"]

# keywords of the original that have no meaning here: old files load, and the reader is told
UNUSED: Final = {
    "AdapterCdsFile": "format files are used as they are",
    "AdapterErrorFile": "messages go to standard error",
    "AdapterType": "the command says which adapter it is",
    "BufferFlushRate": "the buffer is sent as fast as the server acknowledges",
    "BufEvtShrinkSize": "the buffer frees its space by itself",
    "ConnectionMode": "the connection is kept open and acknowledged",
    "FilterCache": "events are filtered before they are buffered, never afterwards",
    "MaxPacketSize": "events travel one a frame",
    "NO_UTF8_CONVERSION": "events are sent as UTF-8",
    "getport_total_timeout_usec": "no portmapper is asked",
}


class Server(NamedTuple):
    """One entry of ServerLocation with its port."""

    host: str
    port: int


@dataclass(slots=True)
class AdapterConf:
    """A checked configuration. Times are seconds, EventMaxSize is bytes, BufEvtMaxSize is KB as in TEC."""

    file: str
    servers: list[Server] = field(default_factory=list)
    buffer_path: Path | None = None
    buffering: Buffering = "YES"
    buffer_max_kb: int = 65_536
    log_sources: list[str] = field(default_factory=list)
    poll_interval: float = 1.0
    retry_interval: float = 1.0
    event_max_size: int = 4096
    filter_mode: FilterMode = "OUT"
    filters: list[Filter] = field(default_factory=list)
    unmatch_log: Path | None = None
    format_file: Path | None = None
    read_existing: bool = True
    node_name: str = ""
    file_scope: str = ""
    adapter_hostname: str = ""
    label_host: str = ""
    extra: dict[str, str] = field(default_factory=dict)  # keywords of one adapter only, by their name
    notes: list[str] = field(default_factory=list)  # what the reader should be told, one sentence each


class _Entry(NamedTuple):
    value: str
    line: int
    column: int
    text: str


_KEYWORDS: Final = (
    "ServerLocation",
    "ServerPort",
    "BufEvtPath",
    "BufferEvents",
    "BufEvtMaxSize",
    "LogSources",
    "PollInterval",
    "RetryInterval",
    "EventMaxSize",
    "FilterMode",
    "Filter",
    "UnmatchLog",
    "FormatFile",
    "ReadExisting",
    "NodeName",
    "FileScope",
    "AdapterHostname",
    "LabelHost",
)
_REPEATED: Final = frozenset({"ServerLocation", "ServerPort", "LogSources", "Filter"})
_WHAT: Final = {
    "ServerLocation": "the host of the event server, or up to eight with commas, the first one tried first",
    # never guessed: two clones with one guessed name would pass for one machine, and the server would take the lines
    # of the second for repeats of the first
    "NodeName": "the name of this machine (`hostname` prints it), or start with --node",
    "BufEvtPath": "the folder for the disk buffer and the positions, or set BufferEvents=MEMORY_ONLY",
    "LogSources": "the files to read, with commas",
}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,254}", re.ASCII)
_SECONDS: Final = re.compile(r"\d{1,7}(?:\.\d{1,6})?", re.ASCII)
_COUNT: Final = re.compile(r"\d{1,9}", re.ASCII)


def read_conf(
    path: Path, *, node: str = "", extra: tuple[str, ...] = (), required: tuple[str, ...] = ()
) -> AdapterConf:
    """Read and check a configuration file.

    `node` overrides NodeName (a service unit gives it), `extra` names the keywords of one adapter only, `required`
    those that must be there (BufEvtPath only where a disk buffer is wanted). Relative paths are taken from the file's
    own folder. Raises SourceErrors with everything that is wrong, OSError when the
    file cannot be read.
    """
    data = path.read_bytes()
    if len(data) > CONF_LIMIT:
        raise SourceErrors([_error(path, f"the file has more than {CONF_LIMIT} bytes", hint="is it the right file?")])
    return parse_conf(data.decode("utf-8", "replace"), path, node=node, extra=extra, required=required)


def parse_conf(
    text: str, path: Path, *, node: str = "", extra: tuple[str, ...] = (), required: tuple[str, ...] = ()
) -> AdapterConf:
    """As `read_conf`, from the text of the file `path`."""
    return _Reader(path, extra).read(text, node, required)


def _error(path: Path, message: str, entry: _Entry | None = None, hint: str = "") -> SourceError:
    line, column, text = (entry.line, entry.column, entry.text) if entry else (1, 1, "")
    return SourceError(message, file=str(path), line=line, column=column, source_line=text, hint=hint)


class _Reader:
    """One reading of one file; `errors` collects all that is wrong."""

    def __init__(self, path: Path, extra: tuple[str, ...]) -> None:
        self.path = path
        self.extra = extra
        self.errors: list[SourceError] = []
        self.conf = AdapterConf(file=str(path))
        self.entries: dict[str, list[_Entry]] = {}

    def read(self, text: str, node: str, required: tuple[str, ...]) -> AdapterConf:
        for number, line in enumerate(text.split("\n"), 1):
            self._line(number, line.rstrip())
        conf = self.conf
        self._servers()
        self._paths()
        conf.buffering = self._choice("BufferEvents", ("YES", "NO", "MEMORY_ONLY"), "YES")  # type: ignore[assignment]
        conf.buffer_max_kb = self._count("BufEvtMaxSize", 65_536, low=1, high=999_999_999)
        if conf.buffer_max_kb < SMALLEST_BUFFER:
            # old files may have TEC's own default of 64
            conf.notes.append(
                f"{self.path}: BufEvtMaxSize={conf.buffer_max_kb} is taken as {SMALLEST_BUFFER}, the least"
            )
            conf.buffer_max_kb = SMALLEST_BUFFER
        conf.event_max_size = self._count("EventMaxSize", 4096, low=SMALLEST_EVENT, high=LARGEST_EVENT)
        conf.poll_interval = self._seconds("PollInterval", 1.0)
        conf.retry_interval = self._seconds("RetryInterval", 1.0)
        conf.read_existing = self._choice("ReadExisting", ("YES", "NO"), "YES") == "YES"
        self._filters()
        self._names(node)
        conf.extra = {name: entries[-1].value for name, entries in self.entries.items() if name in self.extra}
        self._check_required(required)
        if self.errors:
            raise SourceErrors(sorted(self.errors, key=lambda error: (error.line, error.column)))
        return conf

    def _line(self, number: int, line: str) -> None:
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            return
        column = len(line) - len(line.lstrip()) + 1
        # `Filter:Class=..` is the one keyword that a colon ends
        head = re.match(r"\s*(\w+)\s*([=:])\s*", line, re.ASCII)
        if head is None or (head[2] == ":" and head[1].casefold() not in ("filter", "filtercache")):
            entry = _Entry(stripped, number, column, line)
            self._fail(entry, f"{shown(stripped)} is not keyword=value", "comments begin with '#'")
            return
        entry = _Entry(line[head.end() :], number, head.end() + 1, line)
        known = {name.casefold(): name for name in (*_KEYWORDS, *self.extra, *UNUSED)}
        name = known.get(head[1].casefold())
        if name is None:
            near = nearest(head[1], tuple(known.values()))
            hint = f"did you mean {near!r}?" if near else "docs/adapters.md lists the keywords"
            self._fail(entry._replace(column=column), f"keyword {head[1]!r} is not known", hint)
        elif name in UNUSED:
            self.conf.notes.append(f"{self.path}:{number}: {name} is not used: {UNUSED[name]}")
        elif name in self.entries and name not in _REPEATED:
            first = self.entries[name][0].line
            self._fail(entry._replace(column=column), f"{name} is given twice", f"the first is in line {first}")
        else:
            self.entries.setdefault(name, []).append(entry)

    def _fail(self, entry: _Entry, message: str, hint: str = "") -> None:
        self.errors.append(_error(self.path, message, entry, hint))

    def _check_required(self, required: tuple[str, ...]) -> None:
        given = {
            "NodeName": bool(self.conf.node_name),
            "BufEvtPath": self.conf.buffering != "YES",
        }
        for name in required:
            if name not in self.entries and not given.get(name):
                self.errors.append(_error(self.path, f"{name} is missing", hint=f"add {name}=..., {_WHAT[name]}"))

    def _one(self, name: str) -> _Entry | None:
        entries = self.entries.get(name)
        if entries and not entries[0].value:
            self._fail(entries[0], f"{name} has no value")
            return None
        return entries[0] if entries else None

    def _list(self, name: str) -> list[_Entry]:
        items = []
        for entry in self.entries.get(name, []):
            column = entry.column
            for part in entry.value.split(","):
                item = part.strip()
                at = entry._replace(value=item, column=column + len(part) - len(part.lstrip()))
                column += len(part) + 1
                if item:
                    items.append(at)
                else:
                    self._fail(at, f"{name} has an empty entry", "entries are separated by one comma each")
        return items

    def _servers(self) -> None:
        locations = self._list("ServerLocation")
        ports = [port for entry in self._list("ServerPort") if (port := self._port(entry, entry.value))]
        if len(ports) > 1 and len(ports) != len(locations):
            entry = self.entries["ServerPort"][0]
            self._fail(
                entry,
                f"ServerPort names {len(ports)} ports for {len(locations)} servers",
                "give one for all, or one each",
            )
        for number, entry in enumerate(locations):
            if number == SERVER_LIMIT:
                self._fail(entry, f"ServerLocation names more than {SERVER_LIMIT} servers")
                break
            host, colon, port_text = entry.value.rpartition(":")
            if not colon or (":" in host and not host.endswith("]")):
                host, port_text = entry.value, ""
            host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
            listed = ports[number] if number < len(ports) else ports[0] if ports else DEFAULT_PORT
            port = self._port(entry, port_text) if port_text else listed
            if not _NAME.fullmatch(host) and not re.fullmatch(r"[0-9A-Fa-f:]{2,45}", host):
                hint = "Framework destinations such as @EventServer do not exist here" if host.startswith("@") else ""
                self._fail(entry, f"{shown(entry.value)} is not a host or host:port", hint)
            elif port:
                self.conf.servers.append(Server(host, port))

    def _port(self, entry: _Entry, text: str) -> int:
        if text == "0":
            self._fail(
                entry, "port 0 would ask a portmapper, which is not supported", f"the usual port is {DEFAULT_PORT}"
            )
            return 0
        if not _COUNT.fullmatch(text) or int(text) > 65_535:
            self._fail(entry, f"{shown(text)} is not a port", "ports are 1 to 65535")
            return 0
        return int(text)

    def _paths(self) -> None:
        # a log's path is part of its lines' identity: it must not depend on where the adapter was started from
        folder = self.path.parent.resolve()
        for name, slot in (("BufEvtPath", "buffer_path"), ("UnmatchLog", "unmatch_log"), ("FormatFile", "format_file")):
            if entry := self._one(name):
                setattr(self.conf, slot, folder / entry.value)
        for entry in self._list("LogSources"):
            if "**" in entry.value:
                self._fail(entry, "'**' is not allowed in LogSources", "name the folders, or use one '*' a level")
            else:
                self.conf.log_sources.append(str(folder / entry.value))

    def _choice(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        entry = self._one(name)
        if entry is None:
            return default
        value = entry.value.upper()
        if value not in allowed:
            self._fail(entry, f"{name} is {' or '.join(allowed)}, not {shown(entry.value)}")
            return default
        return value

    def _count(self, name: str, default: int, low: int, high: int) -> int:
        entry = self._one(name)
        if entry is None:
            return default
        if not _COUNT.fullmatch(entry.value) or not low <= int(entry.value) <= high:
            self._fail(entry, f"{name} is a whole number from {low} to {high}, not {shown(entry.value)}")
            return default
        return int(entry.value)

    def _seconds(self, name: str, default: float) -> float:
        entry = self._one(name)
        if entry is None:
            return default
        if not _SECONDS.fullmatch(entry.value) or not 0 < float(entry.value) <= 86_400:
            self._fail(entry, f"{name} is seconds, more than 0 and at most 86400, not {shown(entry.value)}")
            return default
        return float(entry.value)

    def _filters(self) -> None:
        mode = self._choice("FilterMode", ("IN", "OUT"), "OUT")
        self.conf.filter_mode = "IN" if mode == "IN" else "OUT"
        for entry in self.entries.get("Filter", []):
            try:
                self.conf.filters.append(parse_filter(entry.value))
            except ValueError as error:
                self._fail(entry, str(error), "the form is Filter:Class=NAME;slot=value;... or slot=re:'expression'")
        if mode == "IN" and "Filter" not in self.entries:
            self._fail(self.entries["FilterMode"][0], "FilterMode=IN without a Filter line sends nothing")

    def _names(self, node: str) -> None:
        conf = self.conf
        for name, slot in (
            ("NodeName", "node_name"),
            ("FileScope", "file_scope"),
            ("AdapterHostname", "adapter_hostname"),
            ("LabelHost", "label_host"),
        ):
            entry = self._one(name)
            if entry is None:
                continue
            if _NAME.fullmatch(entry.value):
                setattr(conf, slot, entry.value)
            else:
                self._fail(entry, f"{shown(entry.value)} is not a name", "letters, digits and . _ : -")
        conf.node_name = node or conf.node_name
        conf.file_scope = conf.file_scope or conf.node_name
        conf.adapter_hostname = conf.adapter_hostname or conf.node_name
        conf.label_host = conf.label_host or conf.adapter_hostname
