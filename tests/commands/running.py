"""What the tests of commands share: running one, and a server that is not one."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from opentec.commands import main as tec
from opentec.server.errors import Refused

_length = struct.Struct("<I")
Handler = Callable[[str, Any], Any]


class Ran(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


class Runner:
    """`tec(...)` runs a command in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Ran:
        return self.entry(lambda: tec.main([str(argument) for argument in arguments]))

    def entry(self, function: Callable[[], Any]) -> Ran:
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            function()
        out, err = self._capsys.readouterr()
        return Ran(int(ended.value.code or 0), out, err)


class FakeProcess:
    """One control socket; `handle(operation, argument)` gives the answers, Refused refuses, None as answer is None."""

    def __init__(self, path: Path, handle: Handler) -> None:
        self.calls: list[tuple[str, Any]] = []
        self._handle = handle
        self._open: list[socket.socket] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self.path = path
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as file:
            while head := file.read(4):
                request, operation, argument = msgspec.msgpack.decode(file.read(*_length.unpack(head)))
                self.calls.append((operation, argument))
                try:
                    answer = [request, True, self._handle(operation, argument)]
                except Refused as error:
                    answer = [request, False, str(error)]
                except ConnectionError:
                    return
                data = msgspec.msgpack.encode(answer)
                connection.sendall(_length.pack(len(data)) + data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.path.unlink(missing_ok=True)
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)


def lines(text: str) -> Sequence[str]:
    return text.rstrip("\n").split("\n")
