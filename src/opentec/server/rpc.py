"""Messages between the processes, and from commands to them: MessagePack behind a length, on unix sockets.

A request is [id, operation, argument], its answer [id, ok, result]; what a server says unasked, [0, name, argument].
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from opentec.server.errors import Refused, ServerError

MAX_MESSAGE: Final = 256 << 20
_length = struct.Struct("<I")
_ucred = struct.Struct("3i")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_log = logging.getLogger(__name__)


def frame(message: Any) -> bytes:
    data = _encode(message)
    return _length.pack(len(data)) + data


async def read_message(reader: asyncio.StreamReader) -> Any:
    """The next message; raises asyncio.IncompleteReadError at the end."""
    (length,) = _length.unpack(await reader.readexactly(4))
    if length > MAX_MESSAGE:
        raise ServerError(f"a message of {length} bytes is over the limit of {MAX_MESSAGE}")
    return _decode(await reader.readexactly(length))


class Peer:
    """One connection, as the serving process sees it."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        sock: socket.socket = writer.get_extra_info("socket")
        self.pid, self.uid, self.gid = _ucred.unpack(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _ucred.size)
        )
        self.closed = False
        self.data: dict[str, Any] = {}

    @property
    def is_own(self) -> bool:
        """Does the peer run as the server's own user, or as root?"""
        return self.uid in (os.geteuid(), 0)

    def send(self, name: str, argument: Any = None) -> None:
        """Push a message; the peer's speed is the owner's concern."""
        if not self.closed:
            self._writer.write(frame([0, name, argument]))

    def answer(self, request: int, ok: bool, result: Any) -> None:
        if not self.closed:
            self._writer.write(frame([request, ok, result]))

    def close(self) -> None:
        self.closed = True
        self._writer.close()


Handler = Callable[[Peer, str, Any], Awaitable[Any]]


class RpcServer:
    """Serves one socket. `handle(peer, operation, argument)` gives the answer; ServerError becomes a refusal.

    A request that was begun is finished even when its peer is gone: half a commit would be nobody's.
    """

    def __init__(self, path: Path, handle: Handler, *, gone: Callable[[Peer], None] | None = None) -> None:
        self.path, self._handle, self._gone = path, handle, gone
        self._server: asyncio.Server | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Raises OSError when the socket cannot be made."""
        self._failed = asyncio.get_running_loop().create_future()
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._connected, self.path, limit=1 << 20)
        self.path.chmod(0o660)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(writer)
        try:
            while True:
                request, operation, argument = await read_message(reader)
                task = asyncio.ensure_future(self._one(peer, request, operation, argument))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        except (asyncio.IncompleteReadError, ConnectionError, ValueError, TypeError, ServerError) as error:
            if not isinstance(error, asyncio.IncompleteReadError | ConnectionError):
                _log.warning("pid %d on %s: %s", peer.pid, self.path.name, error)
        except asyncio.CancelledError:
            # the process ends; before Python 3.12 asyncio logs the cancellation of this task as an error
            return
        finally:
            peer.closed = True
            if self._gone:
                self._gone(peer)
            writer.close()

    async def _one(self, peer: Peer, request: int, operation: str, argument: Any) -> None:
        try:
            result = await self._handle(peer, operation, argument)
        except ServerError as error:
            peer.answer(request, False, str(error))
        except Exception as error:
            if self._failed is not None and not self._failed.done():
                self._failed.set_exception(error)
        else:
            peer.answer(request, True, result)

    async def failed(self) -> None:
        """Raises what a handler raised that is no refusal: a dead task must end its process."""
        assert self._failed is not None
        await asyncio.shield(self._failed)

    def close(self) -> None:
        if self._server:
            self._server.close()
            self.path.unlink(missing_ok=True)


class RpcClient:
    """A connection from one process of the server to another. Refusals raise Refused, its end ConnectionError."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._next = 0
        self.pushed: Callable[[str, Any], None] | None = None
        self.gone: Callable[[], None] | None = None
        self.closed = asyncio.Event()
        self._task = asyncio.ensure_future(self._read())

    @classmethod
    async def connect(cls, path: Path) -> RpcClient:
        return cls(*await asyncio.open_unix_connection(path, limit=1 << 20))

    async def _read(self) -> None:
        try:
            while True:
                request, a, b = await read_message(self._reader)
                if request == 0:
                    if self.pushed:
                        self.pushed(a, b)
                    continue
                future = self._waiting.pop(request, None)
                if future and not future.done():
                    if a:
                        future.set_result(b)
                    else:
                        future.set_exception(Refused(b))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.closed.set()
            self._writer.close()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(ConnectionResetError("the other process closed the connection"))
            self._waiting.clear()
            if self.gone:
                self.gone()

    def start(self, operation: str, argument: Any = None) -> asyncio.Future[Any]:
        """Send a request without waiting; the future holds its answer."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.closed.is_set():
            future.set_exception(ConnectionResetError("the connection is closed"))
            return future
        self._next += 1
        self._waiting[self._next] = future
        self._writer.write(frame([self._next, operation, argument]))
        return future

    async def call(self, operation: str, argument: Any = None) -> Any:
        return await self.start(operation, argument)

    def close(self) -> None:
        self._writer.close()
        self._task.cancel()
        self.closed.set()
