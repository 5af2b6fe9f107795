"""One event, one verdict: the synchronous client against scripted servers."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest

from opentec.eif.client import PostResult, post, post_plain
from opentec.eif.control import Ack, Busy, Error, Hello, Unknown, Welcome
from opentec.eif.frame import FrameReader, data_of
from tests.eif.scripted import ManualClock, Peer, Server, Store, serving, until

SENDER = bytes(range(16))
TEXT = "NT_Disk_Full;hostname=web1;END"


async def posting(*servers: tuple[str, int], **options: object) -> PostResult:
    return await asyncio.to_thread(post, list(servers), TEXT, **({"sender": SENDER} | options))  # type: ignore[arg-type]


@pytest.fixture
def nobody() -> tuple[str, int]:
    """An address where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        host, port = bound.getsockname()
        return host, port


def answering(*answers: bytes, hang: bool = True) -> Callable[[Peer], Awaitable[None]]:
    """Each frame that comes gets the next answer; then silence, or the end."""

    async def behave(peer: Peer) -> None:
        for answer in answers:
            await peer.frame()
            peer.raw(answer)
        if hang:
            await asyncio.Event().wait()

    return behave


WELCOME = Welcome(7, 0, 1).encode()


async def test_accepted() -> None:
    store = Store()
    async with serving(Server(store)) as address:
        assert await posting(address) == PostResult("accepted", "", address, 1)
    ((frame, file),) = store.events
    assert (frame.sequence, frame.data, file) == (1, data_of(TEXT), None)
    assert store.last == {SENDER: 1}


async def test_the_greeting_says_once() -> None:
    seen: list[Hello] = []

    async def behave(peer: Peer) -> None:
        seen.append(await peer.hello())

    async with serving(behave) as address:
        result = await posting(address, sender=None)
    assert result.reason == f"{address[0]}:{address[1]}: the server closed the connection"
    assert (seen[0].next, seen[0].kind, len(seen[0].sender)) == (1, "once", 16)


async def test_rejected() -> None:
    store = Store()
    store.refuse = lambda frame: "class 'NT_Disk_Full' is not defined"
    async with serving(Server(store)) as address:
        assert await posting(address) == PostResult("rejected", "class 'NT_Disk_Full' is not defined", address)


async def test_the_next_server_when_nobody_listens(nobody: tuple[str, int]) -> None:
    store = Store()
    async with serving(Server(store)) as address:
        assert (await posting(nobody, address)).server == address


async def test_nobody_at_all(nobody: tuple[str, int]) -> None:
    result = await posting(nobody)
    assert (result.status, result.reason) == ("unconfirmed", f"{nobody[0]}:{nobody[1]}: connection refused")
    assert (await posting()).reason == "no server is configured"


@pytest.mark.parametrize("answer", [b"", Busy(100).encode(), Error("not now").encode(), b"HTTP/1.1 400\r\n"])
async def test_a_server_that_does_not_greet_is_not_available(answer: bytes) -> None:
    store = Store()
    async with serving(answering(answer)) as hung, serving(Server(store)) as address:
        assert await posting(hung, address, greeting_timeout=0.05) == PostResult("accepted", "", address)
        result = await posting(hung, greeting_timeout=0.05)
        assert result.status == "unconfirmed"
    assert len(store.events) == 1


async def test_a_lost_acknowledgement_does_not_double() -> None:
    store = Store()
    first = Server(store)
    first.stop_after = 1
    async with serving(first) as dying, serving(Server(store)) as standby:
        assert await posting(dying, standby) == PostResult("accepted", "", standby)
    assert len(store.events) == 1
    assert first.connections == 1


async def test_an_answer_of_a_server_that_has_forgotten() -> None:
    async with serving(answering(Unknown(7, 0, 1).encode(), Ack(1).encode())) as address:
        assert (await posting(address)).status == "accepted"


async def test_no_acknowledgement_in_time() -> None:
    async with serving(answering(WELCOME)) as address:
        result = await posting(address, ack_timeout=0.05)
    assert (result.status, result.reason) == (
        "unconfirmed",
        f"{address[0]}:{address[1]}: no acknowledgement within 0.05 s",
    )


async def test_patience_goes_round_again(nobody: tuple[str, int]) -> None:
    clock = ManualClock()
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock.advance(seconds)

    result = await posting(nobody, clock=clock, sleep=sleep, patience=1.0)
    assert result.status == "unconfirmed"
    assert len(pauses) == 5


async def test_an_event_that_was_sent_is_tried_longer() -> None:
    clock = ManualClock()
    server = Server(Store())
    server.stop_after = 0
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock.advance(seconds)
        if len(pauses) == 3:
            server.stop_after = None

    async with serving(server) as address:
        result = await posting(address, clock=clock, sleep=sleep)
    assert (result.status, len(pauses)) == ("accepted", 3)


async def test_a_drip_of_bytes_does_not_extend_the_time() -> None:
    clock = ManualClock()

    async def drip(peer: Peer) -> None:
        await peer.hello()
        while True:
            peer.raw(WELCOME[:1] if clock.now == 1000 else b"<")
            clock.advance(1)
            await asyncio.sleep(0.001)

    async with serving(drip) as address:
        result = await posting(address, clock=clock, sleep=lambda seconds: None)
    assert result.reason.endswith(("no answer to the greeting within 2 s", "stands where <START>> is expected"))


async def test_plain(nobody: tuple[str, int]) -> None:
    got: list[bytes] = []

    async def behave(peer: Peer) -> None:
        got.append((await peer.frame()).data)

    async with serving(behave) as address:
        result = await asyncio.to_thread(post_plain, [nobody, address], TEXT)
        assert result == PostResult("sent", "", address, 0)
        await until(lambda: bool(got))
    assert got == [data_of(TEXT)]
    result = await asyncio.to_thread(post_plain, [nobody], TEXT)
    assert result == PostResult("unconfirmed", f"{nobody[0]}:{nobody[1]}: connection refused", None, 0)
    assert post_plain([], TEXT).reason == "no server is configured"


def test_the_client_is_light() -> None:
    # wpostemsg must start in less than 0.3 s
    code = "import sys, opentec.eif.client; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"asyncio", "pydantic", "sqlalchemy", "lark", "typer", "logging"}.isdisjoint(modules)
    assert FrameReader.__module__ in modules
