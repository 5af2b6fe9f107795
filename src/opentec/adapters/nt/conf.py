"""The configuration of the NT adapter: what all adapters know, and the NT keywords (tec.md 4.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePath
from typing import Final

from opentec.adapters.conf import CONF_LIMIT, AdapterConf, parse_conf
from opentec.adapters.filters import FilterMode
from opentec.adapters.nt.reader import is_evtx
from opentec.adapters.nt.record import NtRecord
from opentec.adapters.nt.selection import Selection, SelectionError, parse_selection
from opentec.events.errors import SourceError, SourceErrors
from opentec.events.names import shown

KEYWORDS: Final = (
    "NumEventsToCatchUp",
    "PreFilter",
    "PreFilterMode",
    "SpaceReplacement",
    "HostnameIsAdapterHost",
    "LanguageID",
    "MapFile",
)
REQUIRED: Final = ("ServerLocation", "NodeName", "BufEvtPath", "LogSources")
_LINE: Final = re.compile(r"\s*(\w+)\s*([=:])\s*", re.ASCII)
_YES_NO: Final = {"YES": True, "TRUE": True, "NO": False, "FALSE": False}
MOST: Final = 1_000_000_000


@dataclass(slots=True)
class NtConf:
    """A checked configuration. `catch_up` is NumEventsToCatchUp: -1 the oldest event, 0 the next, n the n newest."""

    common: AdapterConf
    evtx_sources: list[str]
    json_sources: list[str]
    catch_up: int = -1
    prefilters: list[Selection] = field(default_factory=list)
    prefilter_mode: FilterMode = "OUT"
    replace_spaces: bool = True
    hostname_is_adapter_host: bool = False
    map_file: Path | None = None

    def passes(self, record: NtRecord) -> bool:
        """Whether PreFilter lets an event through: with OUT when no line matches it, with IN when one does."""
        return any(each.matches(record) for each in self.prefilters) == (self.prefilter_mode == "IN")


@dataclass(frozen=True, slots=True)
class _Entry:
    value: str
    line: int
    column: int
    text: str


def read_nt_conf(path: Path, *, node: str = "") -> NtConf:
    """Read and check a configuration file; `node` overrides NodeName.

    Raises SourceErrors with everything that is wrong, OSError when the file cannot be read.
    """
    data = path.read_bytes()
    if len(data) > CONF_LIMIT:
        error = f"the file has more than {CONF_LIMIT} bytes"
        raise SourceErrors([SourceError(error, file=str(path), line=1, column=1, hint="is it the right file?")])
    return parse_nt_conf(data.decode("utf-8", "replace"), path, node=node)


def parse_nt_conf(text: str, path: Path, *, node: str = "") -> NtConf:
    """As `read_nt_conf`, from the text of the file `path`."""
    return _Reader(path).read(text, node)


class _Reader:
    """Takes the NT keywords out and leaves the rest, on its own lines, to what reads every adapter's file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.errors: list[SourceError] = []
        self.entries: dict[str, list[_Entry]] = {}

    def read(self, text: str, node: str) -> NtConf:
        names = {name.casefold(): name for name in KEYWORDS}
        rest = []
        for number, line in enumerate(text.split("\n"), 1):
            head = _LINE.match(line)
            name = names.get(head[1].casefold(), "") if head else ""
            if head is None or not name or (head[2] == ":" and name != "PreFilter"):
                rest.append(line)
                continue
            rest.append("")
            value = line[head.end() :].strip()
            entry = _Entry(value, number, head.end() + 1, line.rstrip())
            if name in self.entries and name != "PreFilter":
                self._fail(entry, f"{name} is given twice", f"the first is in line {self.entries[name][0].line}")
            elif not value:
                self._fail(entry, f"{name} has no value")
            else:
                self.entries.setdefault(name, []).append(entry)
        common = AdapterConf(str(self.path))
        try:
            common = parse_conf("\n".join(rest), self.path, node=node, extra=KEYWORDS, required=REQUIRED)
        except SourceErrors as errors:
            self.errors += errors.errors
        else:
            self._sources(common)
        conf = self._conf(common)
        if self.errors:
            raise SourceErrors(sorted(self.errors, key=lambda error: (error.line, error.column)))
        return conf

    def _fail(self, entry: _Entry | None, message: str, hint: str = "") -> None:
        line, column, text = (entry.line, entry.column, entry.text) if entry else (1, 1, "")
        self.errors.append(
            SourceError(message, file=str(self.path), line=line, column=column, source_line=text, hint=hint)
        )

    def _sources(self, common: AdapterConf) -> None:
        for source in common.log_sources:
            name = PurePath(source).name
            if not is_evtx(source) and fnmatch("log.evtx", name):
                hint = "a name that ends in .evtx means event logs, any other one files of JSON lines"
                self._fail(None, f"LogSources: {shown(name)} may mean both", hint)

    def _conf(self, common: AdapterConf) -> NtConf:
        conf = NtConf(
            common,
            [source for source in common.log_sources if is_evtx(source)],
            [source for source in common.log_sources if not is_evtx(source)],
            catch_up=-1 if common.read_existing else 0,
        )
        entry = self._one("NumEventsToCatchUp")
        if entry is not None:
            if re.fullmatch(r"-1|\d{1,10}", entry.value, re.ASCII) and int(entry.value) <= MOST:
                conf.catch_up = int(entry.value)
            else:
                hint = "-1 begins with the oldest event, 0 with the next, n goes back by n"
                self._fail(entry, f"NumEventsToCatchUp is -1, 0 or a number, not {shown(entry.value)}", hint)
            if conf.catch_up > 0 and conf.json_sources:
                common.notes.append(
                    f"{self.path}:{entry.line}: NumEventsToCatchUp={conf.catch_up} applies to .evtx logs; "
                    "files of JSON lines are read from their beginning"
                )
        for entry in self.entries.get("PreFilter", []):
            try:
                conf.prefilters.append(parse_selection(entry.value))
            except SelectionError as error:
                self._fail(entry, str(error), error.hint)
        entry = self._one("PreFilterMode")
        if entry is not None and entry.value.upper() in ("IN", "OUT"):
            conf.prefilter_mode = "IN" if entry.value.upper() == "IN" else "OUT"
            if conf.prefilter_mode == "IN" and not self.entries.get("PreFilter"):
                self._fail(entry, "PreFilterMode=IN without a PreFilter line sends nothing")
        elif entry is not None:
            self._fail(entry, f"PreFilterMode is IN or OUT, not {shown(entry.value)}")
        conf.replace_spaces = self._flag("SpaceReplacement", True)
        conf.hostname_is_adapter_host = self._flag("HostnameIsAdapterHost", False)
        if entry := self._one("LanguageID"):
            common.notes.append(f"{self.path}:{entry.line}: LanguageID is not used: messages stay as they arrive")
        if entry := self._one("MapFile"):
            conf.map_file = self.path.parent / entry.value
        if common.format_file is not None:
            common.notes.append(f"{self.path}: FormatFile is not used: events become classes by MapFile")
        return conf

    def _one(self, name: str) -> _Entry | None:
        entries = self.entries.get(name)
        return entries[0] if entries else None

    def _flag(self, name: str, default: bool) -> bool:
        entry = self._one(name)
        if entry is None:
            return default
        if entry.value.upper() not in _YES_NO:
            self._fail(entry, f"{name} is YES or NO, not {shown(entry.value)}")
            return default
        return _YES_NO[entry.value.upper()]
