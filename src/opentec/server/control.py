"""What a command uses to ask a process of the server: one blocking request after the other, no event loop."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from opentec.server.errors import NotRunning, Refused

_length = struct.Struct("<I")


class Control:
    """A connection to one socket of the server. Raises NotRunning when nobody listens."""

    def __init__(self, path: Path, timeout: float = 10.0) -> None:
        """`timeout`: seconds to wait for one answer."""
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            self._socket.close()
            raise NotRunning("the server is not running") from error
        except PermissionError as error:
            self._socket.close()
            raise NotRunning(f"{path}: permission denied; the server belongs to another user or group") from error
        except OSError as error:
            self._socket.close()
            raise NotRunning(f"the server does not answer ({error})") from error
        self._next = 0

    def call(self, operation: str, argument: Any = None) -> Any:
        """One request and its answer; raises Refused, NotRunning."""
        self._next += 1
        try:
            data = msgspec.msgpack.encode([self._next, operation, argument])
            self._socket.sendall(_length.pack(len(data)) + data)
            while True:
                (length,) = _length.unpack(self._exactly(4))
                request, ok, result = msgspec.msgpack.decode(self._exactly(length))
                if request == self._next:
                    break
        except TimeoutError as error:
            raise NotRunning(f"the server does not answer on {self.path.name}") from error
        except OSError as error:
            raise NotRunning(f"the server closed the connection ({error})") from error
        if not ok:
            raise Refused(result)
        return result

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            part = self._socket.recv(min(1 << 20, count - len(data)))
            if not part:
                raise ConnectionResetError("end of connection")
            data += part
        return bytes(data)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Control:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
