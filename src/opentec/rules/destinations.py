"""TEC_RULES/tec_forward.conf: where forward_event sends events to (tec.md 3.6 names the file, not its form).

TEC's `keyword=value` lines (tec.md 4.1). What stands before any section is the destination `default`; `[NAME]` begins
another one, which is our choice. Where there is no `default`, the first section is it.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from opentec.events.errors import SourceError
from opentec.events.names import nearest, shown

FILE: Final = "TEC_RULES/tec_forward.conf"
DEFAULT: Final = "default"
NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", re.ASCII)
DEFAULT_PORT: Final = 5529
SERVERS: Final = 8  # of one destination (tec.md 4.1)
DESTINATIONS: Final = 100

_KEYWORDS: Final = ("ServerLocation", "ServerPort", "AckMode")
# of TEC's own file: they load, and mean nothing here, where the outbox is the buffer
_UNUSED: Final = (
    *("BufEvtPath", "BufEvtMaxSize", "BufEvtRdblkLen", "BufEvtShrinkSize", "BufferEvents", "BufferFlushRate"),
    *("ConnectionMode", "EventMaxSize", "MaxPacketSize", "NO_UTF8_CONVERSION", "RetryInterval", "TestMode"),
)
_HOST: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}|\[[0-9A-Fa-f:.]{2,45}\]", re.ASCII)
_PORT: Final = re.compile(r"[0-9]{1,5}", re.ASCII)


class Destination(msgspec.Struct, frozen=True):
    """Servers that share one log, tried in order; `acknowledged` False: plain EIF, which confirms nothing."""

    name: str
    servers: tuple[tuple[str, int], ...]
    acknowledged: bool = True


class _Section(msgspec.Struct):
    name: str
    line: int
    values: dict[str, tuple[str, int]] = {}


def parse_destinations(text: str) -> tuple[dict[str, Destination], list[SourceError]]:
    """The destinations by name, and everything that is wrong, each with its line; what is wrong is left out."""
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self._lines = text.replace("\r\n", "\n").split("\n")
        self._errors: list[SourceError] = []

    def read(self) -> tuple[dict[str, Destination], list[SourceError]]:
        sections = [_Section(DEFAULT, 1)]
        for number, line in enumerate(self._lines, 1):
            stripped = line.strip()
            if not stripped or stripped.startswith("#"):
                continue
            if stripped.startswith("["):
                self._begin(sections, number, stripped)
            else:
                self._keyword(sections[-1], number, stripped)
        found: dict[str, Destination] = {}
        for section in sections:
            if section.line > 1 or section.values:
                servers = self._servers(section)
                is_acknowledged = self._mode(section)
                if servers:
                    found[section.name] = Destination(section.name, servers, is_acknowledged)
        if found and DEFAULT not in found:
            found[DEFAULT] = next(iter(found.values()))
        return found, sorted(self._errors, key=lambda error: error.line)

    def _fail(self, number: int, message: str, hint: str = "") -> None:
        line = self._lines[number - 1] if number <= len(self._lines) else ""
        column = len(line) - len(line.lstrip()) + 1
        self._errors.append(SourceError(message, file=FILE, line=number, column=column, source_line=line, hint=hint))

    def _begin(self, sections: list[_Section], number: int, text: str) -> None:
        name = text[1:-1].strip() if text.endswith("]") else ""
        if not NAME.fullmatch(name):
            self._fail(
                number, f"{shown(text)} does not begin a destination", "the form is [NAME], on a line of its own"
            )
        elif any(section.name == name and (section.values or section.line > 1) for section in sections):
            self._fail(number, f"destination {name!r} is given twice", "put its keywords together")
        elif len(sections) > DESTINATIONS:
            self._fail(number, f"there are more than {DESTINATIONS} destinations")
            return
        sections.append(_Section(name, number))

    def _keyword(self, section: _Section, number: int, text: str) -> None:
        keyword, equals, value = (part.strip() for part in text.partition("="))
        known = {name.casefold(): name for name in (*_KEYWORDS, *_UNUSED)}
        name = known.get(keyword.casefold(), "")
        if not equals:
            self._fail(number, f"{shown(text)} is not keyword=value", "comments begin with '#'")
        elif not name:
            near = nearest(keyword, tuple(known.values()))
            hint = f"did you mean {near!r}?" if near else f"the keywords are {', '.join(_KEYWORDS)}"
            self._fail(number, f"keyword {shown(keyword)} is not known", hint)
        elif not value:
            self._fail(number, f"{name} has no value")
        elif name in section.values:
            self._fail(number, f"{name} is given twice", f"the first is in line {section.values[name][1]}")
        else:
            section.values[name] = value, number

    def _servers(self, section: _Section) -> tuple[tuple[str, int], ...]:
        if "ServerLocation" not in section.values:
            self._fail(
                section.line, f"destination {section.name!r} has no ServerLocation", "add ServerLocation=HOST[:PORT]"
            )
            return ()
        text, number = section.values["ServerLocation"]
        ports_text, ports_line = section.values.get("ServerPort", (str(DEFAULT_PORT), number))
        ports = [self._port(ports_line, port.strip()) for port in ports_text.split(",")]
        hosts = [host.strip() for host in text.split(",")]
        if len(hosts) > SERVERS:
            self._fail(number, f"ServerLocation names {len(hosts)} servers, {SERVERS} at most")
        if len(ports) not in (1, len(hosts)):
            self._fail(
                ports_line, f"ServerPort names {len(ports)} ports for {len(hosts)} servers", "give one, or one each"
            )
            return ()
        servers = []
        for at, item in enumerate(hosts):
            host, colon, own_port = item.rpartition(":")
            if not colon or (":" in host and not host.endswith("]")) or item.endswith("]"):
                host, own_port = item, ""
            port = self._port(number, own_port) if own_port else ports[at] if len(ports) > 1 else ports[0]
            if not _HOST.fullmatch(host):
                hint = "Framework destinations such as @EventServer do not exist here" if host.startswith("@") else ""
                self._fail(number, f"{shown(item)} is not HOST or HOST:PORT", hint or "for example tec2:5529")
            elif port:
                servers.append((host.strip("[]"), port))
        return tuple(servers)

    def _port(self, number: int, text: str) -> int:
        if text == "0":
            self._fail(number, "port 0 would ask a portmapper, which is not done here", f"the port is {DEFAULT_PORT}")
            return 0
        if not _PORT.fullmatch(text) or int(text) > 65_535:
            self._fail(number, f"{shown(text)} is not a port", "ports are 1 to 65535")
            return 0
        return int(text)

    def _mode(self, section: _Section) -> bool:
        value, number = section.values.get("AckMode", ("YES", 0))
        if value.upper() not in ("YES", "NO"):
            self._fail(number, f"AckMode is YES or NO, not {shown(value)}")
        return value.upper() != "NO"
