"""Events for other servers: in order, once each, until they are acknowledged; what can never arrive fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from opentec.eif.control import Busy, Error
from opentec.eif.frame import FrameReader
from opentec.rim.errors import Superseded
from opentec.rules.destinations import FILE
from opentec.server import forwarder as module
from opentec.server.child import Context
from opentec.server.forwarder import Forwarder
from opentec.server.instance import Instance
from tests.server.kit import Receiver, closed_port, make_context, make_instance, receiver, until

OWN = "tec@5f0c7a3e"


def destinations(context: Context, text: str, name: str = "a" * 64) -> None:
    """Make a snapshot with this tec_forward.conf the active rule base."""
    folder = context.instance.rule_bases / name
    (folder / FILE).parent.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(text)
    (context.instance.rule_bases / "current").write_text(name + "\n")


def to_port(context: Context, *ports: int, more: str = "") -> None:
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    destinations(context, f"ServerLocation={hosts}\n{more}")


def log_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "far"
    folder.mkdir()
    return folder


class Ends:
    """A forwarder, and the ends that it recorded."""

    def __init__(self, context: Context) -> None:
        self.ends: dict[str, tuple[bool, str]] = {}
        self.pauses: list[float] = []
        self.before_pause: Callable[[], Any] = lambda: None
        self.failure: BaseException | None = None
        self.forwarder = Forwarder(context, self._finish, sleep=self._sleep)
        self.forwarder.ended = self._ended

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self.failure = self.failure or task.exception()

    async def _finish(self, row: str, done: bool, reason: str) -> None:
        assert row not in self.ends
        self.ends[row] = done, reason

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        result = self.before_pause()
        if result is not None:
            await result
        await asyncio.sleep(0)

    def take(self, row: str, destination: str = "default", class_name: str = "Disk_Full", **slots: Any) -> None:
        self.forwarder.take(row, f"forward:{destination}", json.dumps({"forward": [class_name, slots]}))

    async def wait(self, *rows: str) -> list[tuple[bool, str]]:
        await until(lambda: self.failure or all(row in self.ends for row in rows))
        if self.failure:
            raise self.failure
        return [self.ends[row] for row in rows]


@pytest.fixture
async def ends(context: Context) -> AsyncIterator[Ends]:
    found = Ends(context)
    yield found
    await found.forwarder.close()


async def test_events_arrive_in_order_with_this_server_in_their_path(
    context: Context, ends: Ends, tmp_path: Path
) -> None:
    async with receiver(log_folder(tmp_path)) as far:
        to_port(context, far.port)
        for number in range(3):
            ends.take(f"r{number}", hostname=f"web'{number}", size=number, tags=["a b", "c;d"])
        assert await ends.wait("r0", "r1", "r2") == [(True, f"acknowledged by 127.0.0.1:{far.port}")] * 3
        assert far.told() == [
            ("Disk_Full", {"hostname": f"web'{n}", "size": n, "tags": ["a b", "c;d"], "server_path": [OWN]})
            for n in range(3)
        ]
        await until(lambda: not ends.forwarder.room_of_kinds())
        assert not ends.pauses and ends.forwarder.room == 500
        # a later one begins a queue anew
        ends.take("r3", server_path=["far@1", "x"])
        await ends.wait("r3")
        assert far.told()[3][1]["server_path"] == ["far@1", "x", OWN]


async def test_a_row_that_is_sent_again_is_taken_once(context: Context, tmp_path: Path) -> None:
    async with receiver(log_folder(tmp_path)) as far:
        to_port(context, far.port)
        for _ in range(2):  # as after a restart between acknowledgement and record
            again = Ends(context)
            again.take("r1", hostname="web1")
            assert (await again.wait("r1"))[0][0]
            await again.forwarder.close()
        assert len(far.log()) == 1
        # another instance's row of the same name is another event
        other = make_context(make_instance(tmp_path / "other", uuid="0" * 31 + "1"))
        to_port(other, far.port)
        third = Ends(other)
        third.take("r1", hostname="web1")
        await third.wait("r1")
        await third.forwarder.close()
        assert len(far.log()) == 2


async def test_a_destination_that_is_away_is_tried_again(
    context: Context, ends: Ends, tmp_path: Path, caplog: Any
) -> None:
    caplog.set_level("INFO")
    started: list[Receiver] = []
    async with contextlib.AsyncExitStack() as stack:
        to_port(context, stack.enter_context(closed_port()))

        async def start() -> None:
            far = await stack.enter_async_context(receiver(log_folder(tmp_path)))
            started.append(far)
            to_port_of(far)

        def to_port_of(far: Receiver) -> None:
            destinations(context, f"ServerLocation=127.0.0.1:{far.port}", "b" * 64)

        ends.before_pause = lambda: start() if len(ends.pauses) == 9 else None
        ends.take("r1", hostname="web1")
        ends.take("r2", hostname="web2")
        assert [done for done, _ in await ends.wait("r1", "r2")] == [True, True]
        assert [slots["hostname"] for _, slots in started[0].told()] == ["web1", "web2"]
    assert ends.pauses == [0.5, 1, 2, 5, 10, 30, 30, 30, 30]
    assert caplog.text.count("events for default wait: 127.0.0.1:") == 1
    assert caplog.text.count("connection refused") == 1
    assert "destination default takes events again" in caplog.text and not ends.forwarder.problems


async def test_the_servers_of_a_destination_are_tried_in_turn(context: Context, ends: Ends, tmp_path: Path) -> None:
    with closed_port() as away:
        async with receiver(log_folder(tmp_path)) as far:
            to_port(context, away, far.port)
            ends.take("r1")
            assert await ends.wait("r1") == [(True, f"acknowledged by 127.0.0.1:{far.port}")]


async def test_destinations_do_not_wait_for_one_another(
    context: Context, ends: Ends, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(module, "ALL_HELD", 62)
    ends.before_pause = asyncio.Event().wait  # the destination that is away is tried once, and never again
    with closed_port() as away:
        async with receiver(log_folder(tmp_path)) as far:
            destinations(context, f"ServerLocation=127.0.0.1:{away}\n[near]\nServerLocation=127.0.0.1:{far.port}\n")
            for number in range(60):
                ends.take(f"away{number}")
            ends.take("r1", "near")
            assert (await ends.wait("r1"))[0][0]
            # a queue is filled up again when half of it is gone
            await until(lambda: ends.forwarder.room_of_kinds() == {"forward:default": 0})
            assert ends.forwarder.room == 2 and list(ends.ends) == ["r1"]


async def test_a_queue_says_when_half_of_it_is_gone(
    context: Context, ends: Ends, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(module, "HELD", 4)
    said: list[int] = []
    ends.forwarder.has_room = lambda: said.append(ends.forwarder.room_of_kinds()["forward:default"])
    async with receiver(log_folder(tmp_path)) as far:
        to_port(context, far.port)
        for number in range(4):
            ends.take(f"r{number}")
        await ends.wait("r3")
    assert said == [2]


async def test_what_the_other_server_rejects_has_failed(context: Context, ends: Ends, tmp_path: Path) -> None:
    async with receiver(log_folder(tmp_path)) as far:
        to_port(context, far.port)
        ends.take("r1", class_name="Disk_Fulll")
        ends.take("r2")
        (rejected, accepted) = await ends.wait("r1", "r2")
        assert rejected == (
            False,
            f"127.0.0.1:{far.port} rejects it: class 'Disk_Fulll' is not defined; did you mean 'Disk_Full'?",
        )
        assert accepted[0]


@pytest.mark.parametrize(
    ("conf", "destination", "slots", "reason"),
    [
        ("ServerLocation=h", "default", {"server_path": ["far@1", OWN]}, "it has passed this server already (far@1, "),
        ("", "default", {}, f"the active rule base has no destination in {FILE}; a ServerLocation there makes one"),
        ("[far]\nServerLocation=h", "fra", {}, f"there is no destination 'fra' in {FILE}; did you mean 'far'?"),
        ("ServerLocation=h", "default", {"a b": 1}, "'a b' is not a name of a class or slot"),
    ],
)
async def test_what_can_never_be_forwarded_fails(
    context: Context, ends: Ends, conf: str, destination: str, slots: dict[str, Any], reason: str
) -> None:
    destinations(context, conf)
    ends.take("r1", destination, **slots)
    ((done, said),) = await ends.wait("r1")
    assert not done and said.startswith(f"not forwarded: {reason}")


async def test_what_no_server_would_read_does_not_hold_up_the_others(
    context: Context, ends: Ends, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(module, "MAX_FRAME", 200)
    async with receiver(log_folder(tmp_path)) as far:
        to_port(context, far.port)
        ends.take("r1", hostname="x" * 200)
        ends.take("r2", hostname="web1")
        (refused, accepted) = await ends.wait("r1", "r2")
        assert (
            not refused[0] and refused[1].startswith("not forwarded: it has ") and "a frame 200 at most" in refused[1]
        )
        assert accepted[0] and len(far.told()) == 1


async def test_without_a_conf_there_is_no_destination(context: Context, ends: Ends) -> None:
    to_port(context, 1)
    (context.instance.rule_bases / ("a" * 64) / FILE).unlink()
    ends.take("r1")
    ((done, _),) = await ends.wait("r1")
    assert not done


async def test_a_rule_base_that_cannot_be_read_is_waited_for(context: Context, ends: Ends, tmp_path: Path) -> None:
    async with receiver(log_folder(tmp_path)) as far:
        ends.before_pause = lambda: to_port(context, far.port)
        ends.take("r1")
        assert (await ends.wait("r1"))[0][0]
        assert len(ends.pauses) == 1


@contextlib.asynccontextmanager
async def scripted(answer: bytes | None, *, close: bool = True) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that answers what it gets first, and closes; None: it reads to the end and says nothing."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            if answer is None:
                heard.append(await reader.read())
            else:
                heard.append(await reader.read(65536))
                writer.write(answer)
                if not close:
                    heard.append(await reader.read(65536))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        server.close()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Busy(1000).encode(), "the server is busy"),
        (Error("no").encode(), "the server refuses: no"),
        (b"", "the server closed the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20, "not an answer of the acknowledged mode"),
    ],
)
async def test_a_server_that_does_not_take_it_is_tried_again(
    context: Context, ends: Ends, answer: bytes, problem: str
) -> None:
    async with scripted(answer) as (port, heard):
        to_port(context, port)
        ends.take("r1")
        await until(lambda: len(ends.pauses) > 1)
        assert problem in ends.forwarder.problems["default"] and not ends.ends
        assert len(heard) > 1
        await ends.forwarder.close()


async def test_a_server_that_does_not_greet_is_given_up(context: Context, ends: Ends, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "GREETING", 0.02)
    async with scripted(None) as (port, _):
        to_port(context, port)
        ends.take("r1")
        await until(lambda: ends.pauses)
        assert ends.forwarder.problems["default"].endswith("no answer in time")
        await ends.forwarder.close()


async def test_plain_eif_is_sent_at_most_once(context: Context, ends: Ends) -> None:
    async with contextlib.AsyncExitStack() as stack:
        away = stack.enter_context(closed_port())
        port, heard = await stack.enter_async_context(scripted(None))
        to_port(context, away, port, more="AckMode=NO\n")
        ends.take("r1", hostname="web1")
        assert await ends.wait("r1") == [(True, f"handed to 127.0.0.1:{port}, which confirms nothing")]
        await until(lambda: heard)
        reader = FrameReader(max_event=4096, strict=None)
        reader.feed(heard[0])
        (frame,) = reader.frames()
        assert b"Disk_Full;hostname=web1;server_path=['" + OWN.encode() in frame.data.replace(b"[t", b"['t")


async def test_a_superseded_server_forwards_nothing(context: Context, ends: Ends, monkeypatch: Any) -> None:
    monkeypatch.setattr(Context, "superseded", lambda self: True)
    to_port(context, 1)
    ends.take("r1")
    with pytest.raises(Superseded):
        await ends.wait("r1")


def test_the_sender_is_of_the_row_and_the_instance(instance: Instance) -> None:
    first, again = (Forwarder(make_context(instance, n), None) for n in (1, 2))  # type: ignore[arg-type]
    assert first.sender("r1") == again.sender("r1") != first.sender("r2")
