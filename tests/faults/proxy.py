"""A TCP proxy between senders and a node that behaves as networks do: cuts, silence, ghosts, resets in mid-frame."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from tests.faults.client import Address
from tests.faults.harness import free_port

_MAGIC = b"<START>>"
_PART = 65536
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST


class _Link:
    """One connection through the proxy: `client` is the sender's end, `server` the node's."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.proxy, self.client, self.server = proxy, client, server
        self.ghost = False  # its client is gone, which the node does not know
        self.reset_at_next = False

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, up: bool) -> None:
        """Carry bytes one way until an end closes."""
        try:
            while data := await reader.read(_PART):
                await self.proxy._may_pass(up)
                if up and self.reset_at_next:
                    writer.write(data[: cut(data, self.proxy.chance)])
                    with contextlib.suppress(OSError):
                        await writer.drain()
                    self.proxy.resets += 1
                    self.abort()
                    return
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            if up and self.ghost:
                await self.proxy._may_pass(up)  # the node learns only now that nobody is there
            writer.close()

    def abort(self) -> None:
        """Both ends get a reset."""
        for one in (self.client, self.server):
            with contextlib.suppress(OSError):
                one.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            one.transport.abort()


def cut(data: bytes, chance: random.Random) -> int:
    """Where to cut `data` so that a frame is torn."""
    at = chance.randrange(1, len(data)) if len(data) > 1 else 0
    return at - 1 if data[at : at + len(_MAGIC)] == _MAGIC else at


class Proxy:
    """Listens on loopback for one node. A context manager; every method may be called from any thread."""

    def __init__(self, target: Address, chance: random.Random) -> None:
        self.target, self.chance, self.resets = target, chance, 0
        self.address: Address = ("127.0.0.1", free_port())
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._main, name="proxy", daemon=True)
        self._ready = threading.Event()
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._cut = False
        self._open = {True: asyncio.Event(), False: asyncio.Event()}  # client to node, node to client

    # -- what happens to the network --------------------------------------------------------------------------------

    def cut(self) -> None:
        """The link is gone: connections break, new ones are refused."""
        self._do(self._set_cut)

    def silence(self, *, up: bool = False, down: bool = False) -> None:
        """Nothing passes from the sender to the node (`up`), or back (`down`); no end is told. It passes later."""
        self._do(lambda: self._set_silent(up, down))

    def half_open(self) -> None:
        """Senders lose their connections and the node does not hear of it; what was on its way arrives later."""
        self._do(self._set_half_open)

    def reset(self) -> int:
        """Each connection is reset within the next frame that it carries; gives how many there are."""
        count: int = self._do(self._set_reset)
        return count

    def heal(self) -> None:
        """The network is sound; what was held arrives."""
        self._do(self._set_sound)

    def _set_cut(self) -> None:
        self._cut = True
        for link in self._links:
            link.abort()

    def _set_silent(self, up: bool, down: bool) -> None:
        for way, off in ((True, up), (False, down)):
            if off:
                self._open[way].clear()

    def _set_half_open(self) -> None:
        self._open[True].clear()
        for link in self._links:
            link.ghost = True
            link.client.transport.abort()

    def _set_reset(self) -> int:
        for link in self._links:
            link.reset_at_next = True
        return len(self._links)

    def _set_sound(self) -> None:
        self._cut = False
        for way in self._open.values():
            way.set()

    # -- the machinery ----------------------------------------------------------------------------------------------

    def _do(self, change: Callable[[], Any]) -> Any:
        async def run() -> Any:
            return change()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    async def _may_pass(self, up: bool) -> None:
        await self._open[up].wait()

    async def _connected(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        if self._cut:
            client.transport.abort()
            return
        try:
            from_node, server = await asyncio.open_connection(*self.target)
        except OSError:
            client.close()
            return
        link = _Link(self, client, server)
        self._links.add(link)
        # cancelled at the end of the proxy, which is no news to anybody
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(
                self._own(link.pump(reader, server, True)), self._own(link.pump(from_node, client, False))
            )
        self._links.discard(link)

    def _own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._set_sound()
        self._stopped = asyncio.Event()
        server = await asyncio.start_server(self._connected, *self.address)
        self._ready.set()
        await self._stopped.wait()
        server.close()
        for link in list(self._links):
            link.abort()
        mine = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(lambda: self._stopped.set())
        self._thread.join(10)
