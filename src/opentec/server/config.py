"""tec_server.toml: every key, its unit, its default and its bounds. Loaded once, at the edge; strict."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from opentec.events.names import nearest, shown
from opentec.ha.command import check_command
from opentec.ha.lease import PRESETS, Preset
from opentec.server.errors import ConfigError
from opentec.server.instance import DEFAULT_PORT, HOST, Instance

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


# a node's becomes part of paths, and of the titles of its processes
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class ServerSection(_Section):
    """Who this server is."""

    name: _Name = "tec"
    """Logical name of the server, whatever node it runs on."""
    rule_base: str = "rules"
    """Folder with TEC_CLASSES and TEC_RULES, relative to the instance directory."""


class NodeSection(_Section):
    """One node that may run this server."""

    listen: str = f"127.0.0.1:{DEFAULT_PORT}"
    """HOST:PORT for events. Beyond loopback there is no encryption yet."""

    @field_validator("listen")
    @classmethod
    def _address(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not HOST.fullmatch(host) or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(f"{value!r} is not HOST:PORT, for example 127.0.0.1:{DEFAULT_PORT}")
        return value

    @property
    def host(self) -> str:
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.listen.rpartition(":")[2])


class RxSection(_Section):
    """The reception log and what comes into it."""

    segment_size: Annotated[int, Field(ge=64 << 10, le=64 << 20)] = 16 << 20
    """Bytes of one segment."""
    retain_days: Annotated[float, Field(gt=0)] = 7
    """Days that committed segments are kept."""
    retain_size: Annotated[int, Field(ge=1 << 20)] = 2 << 30
    """Bytes of committed segments that are kept."""
    limit: Annotated[int, Field(ge=1 << 20)] = 10 << 30
    """Bytes of the log at which sockets are no longer read."""
    free_percent: Annotated[float, Field(ge=0, lt=100)] = 5
    """Percent of the disk that the log leaves free."""
    max_event: Annotated[int, Field(ge=1024, le=1 << 20)] = 64 << 10
    """Bytes of one event's text; a longer one is recorded as rejected with its first KiB."""
    max_connections: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Connections at a time; more are told to come again."""
    window: Annotated[int, Field(ge=1, le=10_000)] = 256
    """Events of one sender that may be under way unacknowledged."""
    backlog: Annotated[int, Field(ge=1 << 16)] = 8 << 20
    """Bytes waiting to be made durable at which sockets pause."""
    idle_limit: Annotated[float, Field(ge=60)] = 86_400
    """Seconds after which a connection that sends nothing is closed."""


class RimSection(_Section):
    """The repository."""

    path: str = "rim/tec.db"
    """SQLite file, relative to the instance directory."""
    allow_network_fs: bool = False
    """SQLite's locks are not sound on network file systems; true takes that risk."""


class HaSection(_Section):
    """Lease and failover."""

    heartbeat: Literal["slow", "normal", "fast"] = "normal"
    """Beat and time-to-live: slow 2/10 s, normal 0.6/3 s, fast 0.2/1 s."""
    beat: Annotated[float, Field(ge=0, le=60)] = 0
    """Seconds between two beats; 0 = those of `heartbeat`."""
    ttl: Annotated[float, Field(ge=0, le=600)] = 0
    """Seconds without a beat after which the standby takes over; 0 = those of `heartbeat`."""
    disk_limit: Literal["auto"] | Annotated[float, Field(ge=0, le=600)] = "auto"
    """Seconds that the disk may take to make records durable before the node gives way; 0 = never. auto: two thirds of
    the time-to-live where there is a second node, and never where there is none."""
    local_disks: Annotated[list[str], Field(max_length=16)] = []
    """Folders on this node's own disks: where one cannot be written, the node gives way and does not take over. Without
    effect where there is one node only."""
    fence_command: Annotated[list[str], Field(max_length=64)] = []
    """Argument list that ends a stale server on another host; {node}, {pid}, {epoch} and {address} are replaced."""
    fence_limit: Annotated[float, Field(ge=1, le=3600)] = 60
    """Seconds that the fencing command may take."""

    @field_validator("fence_command")
    @classmethod
    def _placeholders(cls, value: list[str]) -> list[str]:
        check_command(value)
        return value

    @field_validator("local_disks")
    @classmethod
    def _from_the_root(cls, value: list[str]) -> list[str]:
        for folder in value:
            if not folder.startswith("/"):
                raise ValueError(f"{folder!r} is not a folder from the root, such as /var/lib")
        return value

    @model_validator(mode="after")
    def _gives_way_in_time(self) -> HaSection:
        self.preset  # noqa: B018 - raises ValueError where the beat does not fit the time to live
        return self

    @property
    def preset(self) -> Preset:
        """Beat and time to live as they are in force."""
        named = PRESETS[self.heartbeat]
        return Preset(round(self.beat * 1e6) or named.beat_us, round(self.ttl * 1e6) or named.ttl_us)


class RulesSection(_Section):
    """The rule process. What changes results belongs to the rule base, not here."""

    selector: Literal["auto", "durable-rules", "indexed"] = "auto"
    """Which implementation narrows down the rules; auto takes durable-rules where its self-test passes."""
    window: Annotated[int, Field(ge=100)] = 20_000
    """Effects that may wait for their commit before the rule process stops reading."""
    batch: Annotated[int, Field(ge=1, le=10_000)] = 1000
    """Records of one transaction at most."""


class TasksSection(_Section):
    """What leaves the server: programs, tasks, and events for other servers."""

    concurrency: Annotated[int, Field(ge=1, le=1000)] = 4
    """Programs at a time."""
    time_limit: Annotated[float, Field(gt=0)] = 300
    """Seconds after which a program is ended; a task of tasks.toml may have its own."""
    output_limit: Annotated[int, Field(ge=0, le=1 << 20)] = 4096
    """Bytes of output that are kept."""
    retain_days: Annotated[float, Field(gt=0)] = 7
    """Days that ended programs, tasks and forwarded events are kept in the outbox."""
    forward_limit: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    """Events that may wait for one destination; beyond it the oldest fail."""


class SupervisionSection(_Section):
    """How the master watches the other four processes."""

    hang_after: Annotated[float, Field(ge=0.5)] = 10
    """Seconds without a sign of life after which a process is killed and started again."""
    stuck_after: Annotated[float, Field(ge=1)] = 30
    """Seconds without a commit, with events waiting, after which the server is unhealthy."""
    transaction_after: Annotated[float, Field(ge=1)] = 10
    """Seconds that one transaction may take before the server is unhealthy."""
    growing_after: Annotated[float, Field(ge=10)] = 600
    """Seconds for which the backlog may grow without ever being empty before the server is unhealthy."""
    restarts: Annotated[int, Field(ge=1)] = 20
    """Restarts of one process within a minute after which the server gives up."""


class Config(_Section):
    """All of tec_server.toml."""

    server: ServerSection = ServerSection()
    nodes: Annotated[dict[_Name, NodeSection], Field(min_length=1)] = {"node1": NodeSection()}
    rx: RxSection = RxSection()
    rim: RimSection = RimSection()
    ha: HaSection = HaSection()
    rules: RulesSection = RulesSection()
    tasks: TasksSection = TasksSection()
    supervision: SupervisionSection = SupervisionSection()

    @property
    def disk_limit(self) -> float:
        """Seconds after which a disk that does not answer makes this node give way; 0 = never."""
        if self.ha.disk_limit != "auto":
            return self.ha.disk_limit
        # alone it would give way to nobody
        return self.ha.preset.step_down_us / 1e6 if len(self.nodes) > 1 else 0.0

    @property
    def local_disks(self) -> list[Path]:
        """`ha.local_disks` where there is a second node; a single one has nobody to give way to."""
        return [Path(folder) for folder in self.ha.local_disks] if len(self.nodes) > 1 else []

    def disks(self, instance: Instance) -> list[Path]:
        """The folders that a node must be able to write before it serves."""
        return [instance.ha, instance.rx, *self.local_disks]

    def repository_path(self, instance: Instance) -> Path:
        return instance.directory / self.rim.path

    def rule_base_path(self, instance: Instance) -> Path:
        return instance.directory / self.server.rule_base


def load_config(instance: Instance) -> Config:
    """Read and check the configuration; raises ConfigError that names every wrong key, one a line."""
    try:
        return Config.model_validate(instance.raw_config())
    except ValidationError as error:
        # one line for a key, whatever number of types its value was tried as
        raise ConfigError("\n".join(dict.fromkeys(_explain(instance, item) for item in error.errors()))) from error


# keys whose types say nothing to a person, who needs to see the form
_A_NAME: Final = "a name: letters, digits, '_', '.' and '-', 64 at most, a letter or a digit first"
_WANTED: Final = {
    "server.name": _A_NAME,
    "ha.disk_limit": 'a number of seconds from 0 to 600, nor "auto"; for example disk_limit = 2.0',
    "ha.fence_command": 'a list of texts; for example fence_command = ["/usr/sbin/fence_ipmilan", "-n", "{node}"]',
    "ha.local_disks": 'a list of texts; for example local_disks = ["/var/lib"]',
}
_KINDS: Final = {"bool_type": "true or false", "bool_parsing": "true or false", "string_type": "a text in quotes"}
_QUOTED: Final = re.compile("'([^']*)'")


def _explain(instance: Instance, item: ErrorDetails) -> str:
    """One line: the file, the key, what is wrong, and what would be right."""
    loc = item["loc"]
    key = ".".join(str(part) for part in loc)
    named = ".".join(str(part) for part in loc[:2])
    value = shown(item["input"], 80)
    message = str(item["msg"]).removeprefix("Value error, ")
    match item["type"]:
        case "value_error":
            pass
        case "extra_forbidden" if loc[0] == "nodes" and isinstance(item["input"], dict):
            name = ".".join((*map(str, loc[1:]), *_deeper(item["input"])))
            message = f'a name with a point stands in quotes: [nodes."{name}"]'
        case "string_pattern_mismatch" if loc[-1] == "[key]":
            key, message = named, f"{value} is not {_A_NAME}"
        case "extra_forbidden":
            message = f"there is no such key{_suggest(loc)}"
        case _ if named in _WANTED:
            near = _near(item["input"], ("auto",) if named == "ha.disk_limit" else ())
            key, message = named, f"{value} is not {_WANTED[named]}{near}"
        case "literal_error":
            expected = str(item["ctx"]["expected"])
            message = f"{value} is not {expected}{_near(item['input'], _QUOTED.findall(expected))}"
        case "dict_type" | "model_type":
            table = "nodes.NAME" if key == "nodes" else key
            message = f"{value} is not a section; its keys stand below a line [{table}]"
        case kind if kind in _KINDS:
            message = f"{value} is not {_KINDS[kind]}"
        case "too_short":  # of nodes: no other key is a table or a list with a least length
            message = 'there is no node; write [nodes.node1], and below it listen = "HOST:PORT"'
        case _:
            # what could not be read as a number needs no second half that says so
            message = message.replace("Input", value, 1).partition(", unable to parse")[0]
    return f"{instance.config_file}: {key}: {message}"


def _deeper(section: object) -> Iterator[str]:
    """The headings of sections in one another, of which each is all that the one before has."""
    while isinstance(section, dict) and len(section) == 1:
        ((name, section),) = section.items()
        if isinstance(section, dict):
            yield str(name)


def _near(value: object, words: Iterable[str]) -> str:
    """The word that was meant, for the end of a message."""
    near = nearest(str(value), words)
    return f"; did you mean {near!r}?" if near else ""


def _suggest(loc: tuple[int | str, ...]) -> str:
    """For a key that there is not: the section that has it, else the nearest one, else those that there are."""
    name = str(loc[-1])
    sections = {f"[{title}]": section for title, section in _sections().items()}
    if homes := [title for title, section in sections.items() if name in section.model_fields]:
        return f"; it belongs to {' or '.join(homes)}"
    below = len(loc) > 1
    here = NodeSection if loc[0] == "nodes" and below else _sections().get(str(loc[0]), Config) if below else Config
    return _near(name, here.model_fields) or f"; known are {', '.join(here.model_fields)}"


def _sections() -> dict[str, type[BaseModel]]:
    """The sections of the file by their headings."""
    found: dict[str, type[BaseModel]] = {"nodes.NAME": NodeSection}
    for title, field in Config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found[title] = field.annotation
    return found
