"""Which servers an event goes to: -S, a configuration file, the instance, TEC_SERVER, or the default.

Light: wpostemsg imports it. Of a configuration file only ServerLocation and ServerPort count; whether the rest makes
an adapter is not asked here.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from opentec.commands.cli import Failure, Status

Server = tuple[str, int]

DEFAULT_PORT: Final = 5529
SERVER_LIMIT: Final = 8  # tec.md 4.1
_CONF_LIMIT: Final = 1 << 20  # bytes
_CONFIG: Final = "tec_server.toml"
_SERVER: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:@\[\]]+)(?::(\d{1,5}))?")


def servers_of(server: str | None, conf: Path | None, directory: Path | None) -> list[Server]:
    """The servers to try, in order; raises Failure with USAGE, ConfigError, InstanceError."""
    if server is not None:
        return parse_servers(server, "-S")
    if conf is not None:
        return servers_of_conf(conf)
    if directory is not None or os.environ.get("TEC_DIR") or Path(_CONFIG).is_file():
        from opentec.server.instance import find_instance

        return list(find_instance(directory).nodes().values())
    return parse_servers(os.environ.get("TEC_SERVER") or f"127.0.0.1:{DEFAULT_PORT}", "TEC_SERVER")


def parse_servers(text: str, origin: str, ports: list[int] | None = None) -> list[Server]:
    """`HOST[:PORT],...`, IPv6 addresses as [ADDRESS]:PORT.

    `origin` says in messages where the text stands; `ports` are those of ServerPort, one each or one for all.
    """
    items = [item.strip() for item in text.split(",")]
    if len(items) > SERVER_LIMIT:
        raise _usage(f"{origin} names {len(items)} servers, {SERVER_LIMIT} at most")
    servers: list[Server] = []
    for number, item in enumerate(items):
        listed = (ports[number] if number < len(ports) else ports[0]) if ports else DEFAULT_PORT
        found = _SERVER.fullmatch(item)
        port = int(found[2] or listed) if found else 0
        if found is None or not 0 < port < 65536:
            raise _usage(f"{origin} {item!r} is not HOST[:PORT], for example tec1:{DEFAULT_PORT}")
        servers.append((found[1].strip("[]"), port))
    return servers


def servers_of_conf(conf: Path) -> list[Server]:
    """ServerLocation and ServerPort of a `keyword=value` file (tec.md 4.1); raises Failure with USAGE."""
    try:
        with conf.open("rb") as file:
            text = file.read(_CONF_LIMIT).decode("utf-8", "replace")
    except OSError as error:
        raise _usage(f"-f {conf}: {error.strerror}") from error
    found: dict[str, str] = {}
    for line in text.splitlines():
        keyword, equals, value = line.partition("=")
        name = keyword.strip().lower()
        if equals and value.strip() and name in ("serverlocation", "serverport"):
            found[name] = f"{found[name]},{value.strip()}" if name in found else value.strip()
    if "serverlocation" not in found:
        raise _usage(f"-f {conf}: it has no ServerLocation; add ServerLocation=HOST")
    ports = [_port(conf, item.strip()) for item in found.get("serverport", str(DEFAULT_PORT)).split(",")]
    return parse_servers(found["serverlocation"], f"{conf}: ServerLocation", ports)


def _port(conf: Path, text: str) -> int:
    if text == "0":
        raise _usage(f"{conf}: ServerPort 0 asks a portmapper, which is not done here; name the port, {DEFAULT_PORT}")
    if not text.isascii() or not text.isdecimal() or int(text) > 65535:
        raise _usage(f"{conf}: ServerPort {text!r} is not a port")
    return int(text)


def _usage(message: str) -> Failure:
    return Failure(message, Status.USAGE)
