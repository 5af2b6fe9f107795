"""Processes of the server inside one test: an instance directory, the context a child gets, and a client by hand."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from opentec.eif.control import Control, File, Hello, parse_control
from opentec.eif.frame import Frame, FrameReader, data_of, encode_frame
from opentec.events.image import COLUMNS
from opentec.events.records import Kind, Record, Verdict, decode_event, decode_rejected
from opentec.ha import epochs
from opentec.log.clock import LogClock
from opentec.log.reader import iterate
from opentec.log.segments import recover
from opentec.log.writer import LogWriter, open_writer
from opentec.rim.sqlite import create_repository
from opentec.rules.rulebase import RuleBase
from opentec.server.child import Context, reset_words
from opentec.server.config import Config, load_config
from opentec.server.dispatch import Dispatch
from opentec.server.instance import CONFIG_NAME, Instance
from opentec.server.intake import Intake
from opentec.server.progress import CHILDREN, Progress, Word
from opentec.server.receiver import Connection
from opentec.server.reception import Reception
from opentec.server.rpc import Peer, RpcClient, RpcServer
from opentec.server.rule import RuleProcess
from tests.rules.engine_kit import classes, rule_base

UUID = "5f0c7a3e00004000800000000000000a"
PATIENCE = 30.0  # seconds that anything may take on a busy machine; nothing waits for them to pass
_PORTS = range(11000, 21000)  # below what the kernel gives to outgoing connections
WALL = 1_772_352_000_000_000  # 2026-03-01T08:00:00Z, microseconds


async def until(ready: Callable[[], Any]) -> Any:
    """The first true value of `ready`, looked at again whenever the loop has turned."""
    async with asyncio.timeout(PATIENCE):
        while not (found := ready()):
            await asyncio.sleep(0.001)
    return found


def free_port() -> int:
    """A port of loopback that nobody has now."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port of loopback that refuses connections for as long as this lasts."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


class Clock:
    """Wall and boot-time clock of a test: they stand still until the test moves them."""

    def __init__(self) -> None:
        self.wall, self.boot = WALL, 1_000_000

    def pass_seconds(self, seconds: float) -> None:
        self.wall += round(seconds * 1e6)
        self.boot += round(seconds * 1e6)

    def log_clock(self, last: int = 0) -> LogClock:
        return LogClock(last, wall=lambda: self.wall, boot=lambda: self.boot)


def make_instance(directory: Path, text: str = "", *, uuid: str = UUID) -> Instance:
    """An instance directory without a repository."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("rx", "ha", "rulebase", "rim", "log"):
        (directory / name).mkdir(exist_ok=True)
    (directory / "instance").write_text(uuid + "\n")
    (directory / CONFIG_NAME).write_text(text or f'[nodes.black]\nlisten = "127.0.0.1:{free_port()}"\n')
    return Instance(directory)


async def make_repository(instance: Instance, config: Config) -> Path:
    path = config.repository_path(instance)
    await create_repository(path, instance.uuid(), config.server.name)
    return path


def make_context(instance: Instance, epoch: int = 1, base: RuleBase | None = None, **changes: Any) -> Context:
    """What a child of epoch `epoch` gets; the epoch's file exists, so it is not superseded."""
    epochs.path_of(instance.ha, epoch).touch()
    context = Context(
        instance,
        load_config(instance),
        "black",
        epoch,
        Progress(),
        base or rule_base(),
        {"class": "TEC_Start", "msg": "starts", "source": "TEC", "hostname": "tec"},
    )
    context.runtime.mkdir(parents=True, exist_ok=True)
    for name, value in changes.items():
        setattr(context, name, value)
    return context


def with_config(context: Context, section: str, **values: Any) -> None:
    """Change keys of one section of a context's configuration."""
    changed = getattr(context.config, section).model_copy(update=values)
    context.config = context.config.model_copy(update={section: changed})


def log_of(directory: Path, limit: int, since: int = 0) -> list[Record]:
    return [record for page in iterate(directory, since, limit) for record in page]


def told(record: Record) -> Any:
    """A record as a test wants to see it: class and slots, or why it was rejected."""
    if record.kind not in (Kind.EVENT, Kind.NOTICE):
        return Kind(record.kind).name
    if record.verdict == Verdict.REJECTED:
        return decode_rejected(record.payload).reason
    payload = decode_event(record.payload)
    return payload.class_name, payload.slots


class Receiver:
    """Intake and port, without the rest of the process."""

    def __init__(self, directory: Path, epoch: int = 1, *, writer: dict[str, Any] | None = None, **limits: int) -> None:
        self.directory, self.clock = directory, Clock()
        recovered = recover(directory, UUID)
        self.writer: LogWriter = open_writer(directory, UUID, epoch, recovered, **(writer or {}))
        self.superseded = False
        wanted = {"max_event": 2048, "max_connections": 4, "window": 16, "backlog": 1 << 20} | limits
        self.progress = Progress()
        self.intake = Intake(
            self.writer,
            self.clock.log_clock(recovered.time),
            classes(),
            self.progress,
            lambda: self.superseded,
            **wanted,
        )
        self.connections: list[Connection] = []

    async def start(self) -> None:
        self.server = await asyncio.get_running_loop().create_server(self._connection, "127.0.0.1", 0)
        self.port: int = self.server.sockets[0].getsockname()[1]
        self.running = asyncio.ensure_future(self.intake.run())

    def _connection(self) -> Connection:
        self.connections.append(Connection(self.intake))
        return self.connections[-1]

    async def stop(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        self.server.close()
        self.intake.close()

    def log(self) -> list[Record]:
        return log_of(self.directory, self.writer.durable)

    def told(self) -> list[Any]:
        return [told(record) for record in self.log()]


@contextlib.asynccontextmanager
async def receiver(directory: Path, epoch: int = 1, **options: Any) -> AsyncIterator[Receiver]:
    found = Receiver(directory, epoch, **options)
    await found.start()
    try:
        yield found
    finally:
        await found.stop()


class Client:
    """One connection to a port for events, spoken by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._frames = FrameReader(max_event=1 << 20, strict=True)
        self._queue: list[Control] = []

    @classmethod
    async def connect(cls, port: int) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def send(self, *frames: bytes | Control) -> None:
        self._writer.write(b"".join(item if isinstance(item, bytes) else item.encode() for item in frames))

    async def greet(self, sender: bytes = b"a" * 16, following: int = 1, kind: str = "long") -> Control:
        self.send(Hello(sender, following, kind))
        return await self.answer()

    async def answer(self) -> Control:
        """The next control frame; raises EOFError when the server has closed the connection instead."""
        async with asyncio.timeout(PATIENCE):
            while not self._queue:
                data = await self._reader.read(65536)
                if not data:
                    raise EOFError
                self._frames.feed(data)
                for frame in self._frames.frames():
                    assert isinstance(frame, Frame)
                    control = parse_control(frame)
                    assert control is not None
                    self._queue.append(control)
        return self._queue.pop(0)

    async def end(self) -> bytes:
        """Wait for the end of the connection; what came before it."""
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionError):
                return await self._reader.read()
            return b""

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


def event(sequence: int = 0, name: str = "Disk_Full", *, file: int = 0, end: int = 0, **slots: Any) -> bytes:
    """One event's frame."""
    text = f"{name};" + "".join(f"{slot}={value};" for slot, value in slots.items()) + "END"
    return encode_frame(data_of(text), sequence, end, file)


def declared(number: int = 1, generation: str = "g1", path: str = "/var/log/messages") -> File:
    return File(number, "black", path, generation)


def packed(message: Any) -> bytes:
    data = msgspec.msgpack.encode(message)
    return len(data).to_bytes(4, "little") + data


class Process:
    """One of the server's processes as a task of the test. `kill` ends it as the kernel would: in the middle."""

    def __init__(self, context: Context, work: Any, servers: list[RpcServer]) -> None:
        self.context, self.work, self._servers = context, work, servers
        self.peers: list[Peer] = []
        for server in servers:
            self._note_peers(server)
        self.task: asyncio.Task[None] = asyncio.ensure_future(work.run())

    def _note_peers(self, server: RpcServer) -> None:
        handle = server._handle

        async def noting(peer: Peer, operation: str, argument: Any) -> Any:
            if peer not in self.peers:
                self.peers.append(peer)
            return await handle(peer, operation, argument)

        server._handle = noting

    async def kill(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        for server in self._servers:
            for running in server._running:
                running.cancel()
            server.close()
        for peer in self.peers:
            peer.close()
        for name in ("_reception", "_dispatch"):
            client = getattr(self.work, name, None)
            if isinstance(client, RpcClient):
                client.close()
        if isinstance(self.work, Reception):
            if self.work._server is not None:
                self.work._server.close()
            self.work._intake.close()
        if isinstance(self.work, Dispatch):
            repository = getattr(self.work, "_repository", None)
            if repository is not None:
                await repository.close()


class Node:
    """Reception, dispatch and rule process of one node in one loop, over their real sockets and a real SQLite file."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.progress = context.progress
        self.processes: dict[str, Process] = {}

    def start(self, *names: str) -> None:
        for name in names or ("reception", "dispatch", "rule"):
            reset_words(self.progress, CHILDREN.index(name))
            work: Any
            match name:
                case "reception":
                    work = Reception(self.context)
                    servers = [work._rpc]
                case "dispatch":
                    work = Dispatch(self.context)
                    servers = [work._rpc]
                case _:
                    work, servers = RuleProcess(self.context), []
            self.processes[name] = Process(self.context, work, servers)

    async def ready(self, *names: str) -> None:
        wanted = [CHILDREN.index(name) for name in names or ("reception", "dispatch", "rule")]
        await until(lambda: self.ended() or all(self.progress[Word.READY_RECEPTION + number] for number in wanted))
        for process in self.ended():
            process.task.result()

    def ended(self) -> list[Process]:
        return [process for process in self.processes.values() if process.task.done()]

    async def kill(self, *names: str) -> None:
        for name in names or tuple(self.processes):
            await self.processes.pop(name).kill()

    def work(self, name: str) -> Any:
        return self.processes[name].work

    async def post(self, *events: tuple[str, dict[str, Any]]) -> None:
        """Record events as reception does, and wait until they are published."""
        intake = self.work("reception")._intake
        for class_name, slots in events:
            intake.add_event(Frame(0, 0, 0, event(0, class_name, **slots)[36:]))
        await intake.durable()

    async def committed(self) -> None:
        """Wait until the repository stands at the end of the log."""
        await until(lambda: self.ended() or self.progress[Word.COMMITTED] >= self.progress[Word.DURABLE] > 0)
        for process in self.ended():
            process.task.result()

    async def ask(self, socket_name: str, operation: str, argument: Any = None) -> Any:
        client = await RpcClient.connect(self.context.runtime / f"{socket_name}.sock")
        try:
            async with asyncio.timeout(PATIENCE):
                return await client.call(operation, argument)
        finally:
            client.close()

    async def rows(self) -> list[dict[str, Any]]:
        """The stored events, oldest first, with their own slots."""
        page = await self.ask("dispatch", "dump", {})
        found = [dict(zip(COLUMNS, row, strict=True)) for row in page]
        for row in found:
            row |= msgspec.json.decode(row["slots"] or "{}")
        return found


@contextlib.asynccontextmanager
async def node(context: Context, *, repository: bool = True) -> AsyncIterator[Node]:
    """A node whose processes run and are ready."""
    if repository:
        await make_repository(context.instance, context.config)
    found = Node(context)
    found.start()
    try:
        await found.ready()
        yield found
    finally:
        await found.kill()
