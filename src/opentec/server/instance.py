"""Where everything of one server lies. Light: commands import it, so it reads TOML without checking it all.

`INSTANCE/` is on the storage that fails over; sockets and process files are node-local, in the runtime directory.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opentec.events.names import nearest
from opentec.server.errors import ConfigError, InstanceError
from opentec.server.toml import parse_toml

if TYPE_CHECKING:
    from opentec.log.store import LogStore

CONFIG_NAME: Final = "tec_server.toml"
DEFAULT_PORT: Final = 5529
HOST: Final = re.compile(r"""[^\s,=/@"'\\]+""")  # two addresses, or more than an address, are no host
_SOCKET_PATH: Final = 107  # bytes of a unix socket's path


class Instance:
    """Paths of an instance directory, as one node sees it."""

    def __init__(self, directory: Path) -> None:
        """Raises InstanceError when `directory` holds no configuration."""
        self.directory = directory.resolve()
        if not (self.directory / CONFIG_NAME).is_file():
            raise InstanceError(
                f"{directory} is not an instance directory: it holds no {CONFIG_NAME}; "
                f"`tec init {directory}` makes one, -d DIR or TEC_DIR names another"
            )

    @property
    def config_file(self) -> Path:
        return self.directory / CONFIG_NAME

    @property
    def rx(self) -> Path:
        return self.directory / "rx"

    @property
    def ha(self) -> Path:
        return self.directory / "ha"

    @property
    def rule_bases(self) -> Path:
        return self.directory / "rulebase"

    def logs(self, node: str) -> Path:
        return self.directory / "log" / node

    def uuid(self) -> str:
        """The identity of this instance, as 32 hex digits; raises InstanceError when there is none."""
        try:
            return (self.directory / "instance").read_text().strip()
        except OSError as error:
            raise InstanceError(
                f"{self.directory / 'instance'}: {error.strerror}; was this directory made by `tec init`?"
            ) from error

    def log_store(self) -> LogStore:
        """The reception log; raises InstanceError when this instance has no identity."""
        from opentec.log.store import LogDirectory

        return LogDirectory(self.rx, self.uuid())

    def runtime(self, node: str) -> Path:
        """Directory of this node's sockets. Short, because a socket's path has 107 bytes at most."""
        name = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:12]
        return runtime_root() / f"{name}-{node}"

    def raw_config(self) -> dict[str, Any]:
        """The configuration as TOML has it, unchecked; raises ConfigError."""
        try:
            return parse_toml(self.config_file, self.config_file.read_bytes())
        except OSError as error:
            raise ConfigError(f"{self.config_file}: {error.strerror}") from error

    def nodes(self) -> dict[str, tuple[str, int]]:
        """Node name -> listen address, in the order of the file."""
        found: dict[str, tuple[str, int]] = {}
        tables = self.raw_config().get("nodes", {})
        if not isinstance(tables, dict) or not all(isinstance(node, dict) for node in tables.values()):
            raise ConfigError(f"{self.config_file}: each node is a table, for example [nodes.node1]")
        for name, node in tables.items():
            host, _, port = str(node.get("listen", f"127.0.0.1:{DEFAULT_PORT}")).rpartition(":")
            found[name] = (host.strip("[]"), int(port) if port.isdigit() else DEFAULT_PORT)
        return found


def find_instance(directory: Path | None = None) -> Instance:
    """The instance that -d, else TEC_DIR, else the current directory names; raises InstanceError."""
    if directory is not None:
        return Instance(directory)
    named = os.environ.get("TEC_DIR")
    return Instance(Path(named) if named else Path.cwd())


def choose_node(instance: Instance, wanted: str | None) -> str:
    """The node to act for: --node, else TEC_NODE, else the only one there is; raises ConfigError."""
    nodes = instance.nodes()
    name = wanted or os.environ.get("TEC_NODE") or (next(iter(nodes)) if len(nodes) == 1 else None)
    if not nodes:
        raise ConfigError(
            f"{instance.config_file} names no node; write [nodes.{wanted or 'node1'}] and below it "
            f'listen = "127.0.0.1:{DEFAULT_PORT}"'
        )
    if name is None:
        raise ConfigError(
            f"this server has the nodes {', '.join(nodes)}: say which one this is with --node or TEC_NODE"
        )
    if name not in nodes:
        near = nearest(name, nodes)
        hint = f"; did you mean {near!r}?" if near else ""
        origin = "" if wanted else " (from TEC_NODE)"
        raise ConfigError(
            f"node {name!r}{origin} is not in {instance.config_file}; its nodes are {', '.join(nodes)}{hint}"
        )
    return name


def runtime_root() -> Path:
    """The directory for sockets: TEC_RUNTIME_DIR, XDG_RUNTIME_DIR/opentec, /run/opentec for root, or one in /tmp."""
    named = os.environ.get("TEC_RUNTIME_DIR")
    if named:
        return Path(named)
    session = os.environ.get("XDG_RUNTIME_DIR")
    if session:
        return Path(session) / "opentec"
    if os.geteuid() == 0:
        return Path("/run/opentec")
    return Path(f"/tmp/opentec-{os.geteuid()}")  # noqa: S108 - make_private checks owner and mode


def make_private(directory: Path) -> None:
    """Make a directory of the runtime tree, 0750; raises InstanceError when it is somebody else's."""
    longest = len(os.fsencode(directory / "reception.sock"))
    if longest > _SOCKET_PATH:
        raise InstanceError(
            f"{directory} is too long for sockets ({longest} bytes, {_SOCKET_PATH} fit): "
            "set TEC_RUNTIME_DIR to a shorter directory"
        )
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as error:
        raise InstanceError(
            f"{directory} cannot be made for sockets: {error.strerror}; TEC_RUNTIME_DIR names another place"
        ) from error
    for path in (directory, directory.parent):
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), 0):
            raise InstanceError(f"{path} is not a directory of this user: sockets are not made there")


def new_uuid() -> str:
    return uuid.uuid4().hex
