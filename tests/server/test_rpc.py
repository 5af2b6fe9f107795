"""Messages between processes, over a real socket: refusals, faults, pushes, ends and damaged messages."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from opentec.server.control import Control
from opentec.server.errors import NotRunning, Refused
from opentec.server.rpc import MAX_MESSAGE, Peer, RpcClient, RpcServer
from tests.server.kit import packed, until


class Service:
    """What the tests ask."""

    def __init__(self, path: Path) -> None:
        self.peers: list[Peer] = []
        self.gone: list[Peer] = []
        self.release = asyncio.Event()
        self.finished: list[str] = []
        self.server = RpcServer(path, self.handle, gone=self.gone.append)

    async def handle(self, peer: Peer, operation: str, argument: Any) -> Any:
        if peer not in self.peers:
            self.peers.append(peer)
        match operation:
            case "echo":
                return argument
            case "slow":
                await self.release.wait()
                self.finished.append(argument)
                return argument
            case "fail":
                raise ZeroDivisionError("a fault")
        raise Refused(f"no {operation!r}")


@contextlib.asynccontextmanager
async def service(runtime: Path) -> AsyncIterator[Service]:
    found = Service(runtime / "test.sock")
    await found.server.start()
    try:
        yield found
    finally:
        found.release.set()
        found.server.close()
        for peer in found.peers:
            peer.close()


async def test_answers_refusals_and_order(runtime: Path) -> None:
    async with service(runtime) as served:
        client = await RpcClient.connect(served.server.path)
        slow = client.start("slow", "later")
        assert await client.call("echo", {"a": [1, b"2", None]}) == {"a": [1, b"2", None]}
        with pytest.raises(Refused, match="no 'nothing'"):
            await client.call("nothing")
        assert not slow.done()
        served.release.set()
        assert await slow == "later"
        client.close()


async def test_the_peer_is_who_the_kernel_says(runtime: Path) -> None:
    async with service(runtime) as served:
        client = await RpcClient.connect(served.server.path)
        await client.call("echo")
        (peer,) = served.peers
        assert (peer.pid, peer.uid, peer.gid, peer.is_own) == (os.getpid(), os.getuid(), os.getgid(), True)
        peer.uid = os.getuid() + 1
        assert not peer.is_own
        assert served.server.path.stat().st_mode & 0o777 == 0o660
        client.close()


async def test_what_a_server_says_unasked(runtime: Path) -> None:
    async with service(runtime) as served:
        client = await RpcClient.connect(served.server.path)
        await client.call("echo")
        served.peers[0].send("ignored", 1)
        await client.call("echo")
        said: list[Any] = []
        client.pushed = lambda name, argument: said.append((name, argument))
        served.peers[0].send("work", 7)
        await client.call("echo")
        assert said == [("work", 7)]
        client.close()


async def test_a_request_that_was_begun_is_finished_though_its_peer_is_gone(runtime: Path) -> None:
    async with service(runtime) as served:
        client = await RpcClient.connect(served.server.path)
        begun = client.start("slow", "half a commit")
        await client.call("echo")
        client.close()
        assert isinstance((await asyncio.gather(begun, return_exceptions=True))[0], ConnectionError)
        await until(lambda: served.gone)
        served.peers[0].send("work")  # nobody hears it, nothing happens
        served.release.set()
        await until(lambda: served.finished)
        assert served.finished == ["half a commit"]


async def test_a_handler_s_fault_ends_the_process(runtime: Path) -> None:
    async with service(runtime) as served:
        client = await RpcClient.connect(served.server.path)
        asked = [client.start("fail"), client.start("fail")]
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(served.server.failed(), 20)
        client.close()
        await asyncio.gather(*asked, return_exceptions=True)


async def test_the_end_of_the_server_is_an_error_for_whoever_waits_and_whoever_comes(runtime: Path) -> None:
    async with service(runtime) as served:
        client = await RpcClient.connect(served.server.path)
        ended: list[bool] = []
        client.gone = lambda: ended.append(True)
        await client.call("echo")
        waiting = client.start("slow")
        served.peers[0].close()
        with pytest.raises(ConnectionResetError, match="closed the connection"):
            await waiting
        await client.closed.wait()
        assert ended == [True]
        with pytest.raises(ConnectionResetError, match="the connection is closed"):
            await client.call("echo")


@pytest.mark.parametrize(
    "data",
    [
        packed(7),
        packed([1, 2]),
        packed({"a": 1}),
        b"\x03\0\0\0\xc1\xc1\xc1",
        (MAX_MESSAGE + 1).to_bytes(4, "little"),
    ],
)
async def test_what_is_no_message_closes_the_connection_with_one_line(
    runtime: Path, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with service(runtime) as served:
        reader, writer = await asyncio.open_unix_connection(served.server.path)
        writer.write(data)
        assert await asyncio.wait_for(reader.read(), 20) == b""
        (line,) = [record for record in caplog.records if record.name != "asyncio"]
        assert f"pid {os.getpid()} on test.sock" in line.getMessage() and line.exc_info is None
        writer.close()


async def ask(path: Path, *calls: tuple[str, Any]) -> list[Any]:
    """What a command does, in a thread of its own."""

    def work() -> list[Any]:
        with Control(path, timeout=20) as control:
            return [control.call(*call) for call in calls]

    return await asyncio.to_thread(work)


async def test_a_command_asks_one_thing_after_the_other(runtime: Path) -> None:
    async with service(runtime) as served:
        assert await ask(served.server.path, ("echo", 1), ("echo", "x" * 3_000_000)) == [1, "x" * 3_000_000]
        with pytest.raises(Refused, match="no 'nothing'"):
            await ask(served.server.path, ("nothing", None))


async def test_a_command_passes_over_what_was_said_unasked(runtime: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        writer.write(packed([0, "work", None]) + packed([1, True, "mine"]))
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, runtime / "test.sock")
    assert await ask(runtime / "test.sock", ("echo", 1)) == ["mine"]
    server.close()


async def test_a_command_says_that_nobody_runs(runtime: Path) -> None:
    with pytest.raises(NotRunning, match="the server is not running"):
        Control(runtime / "test.sock")
    (runtime / "file").touch()
    with pytest.raises(NotRunning, match="the server is not running"):
        Control(runtime / "file")  # a socket that nobody listens on any more
    with pytest.raises(NotRunning, match="does not answer"):
        Control(runtime / ("x" * 200))


async def test_a_command_says_that_it_may_not_ask(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    import socket

    monkeypatch.setattr(socket.socket, "connect", refuse, raising=False)
    with pytest.raises(NotRunning, match="permission denied; the server belongs to another user"):
        Control(runtime / "test.sock")


async def test_a_command_does_not_wait_for_ever(runtime: Path) -> None:
    async with service(runtime) as served:

        def hangs() -> None:
            with Control(served.server.path, timeout=0.01) as control:
                control.call("slow")

        with pytest.raises(NotRunning, match=r"does not answer on test\.sock"):
            await asyncio.to_thread(hangs)


async def test_a_command_says_that_the_server_went_away(runtime: Path) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        writer.close()

    server = await asyncio.start_unix_server(hang_up, runtime / "test.sock")
    with pytest.raises(NotRunning, match="closed the connection"):
        await ask(runtime / "test.sock", ("echo", None))
    server.close()
