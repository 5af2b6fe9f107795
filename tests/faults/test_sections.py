"""The sections of the fault plan that need no server, in small; and what the others rely on."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import flips, points
from tests.faults.proxy import Proxy, cut
from tests.faults.sections import Result, registry


@pytest.mark.parametrize("section", [flips.log, flips.buffer])
def test_bits_that_flip(tmp_path: Path, section: object) -> None:
    told: list[str] = []
    result: Result = section(tmp_path, 100, random.Random(1), told.append)  # type: ignore[operator]
    assert result.sound and result.faults == 100, result


def test_every_named_place_of_the_server_is_in_a_list() -> None:
    known = {*points.UNDER_LOAD, *points.AT_TAKEOVER, *points.AT_LOAD, *points.ELSEWHERE}
    assert points.places() == known, "a new place needs a list in tests/faults/points.py"
    assert len(points.plan(0)) == registry()["points"].full


def test_a_frame_is_torn_and_not_parted() -> None:
    data = b"<START>>one<START>>two"
    for seed in range(200):
        assert cut(data, random.Random(seed)) not in (0, 11, len(data))


class Echo:
    """A server that sends back what it gets, and remembers it."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = self._socket.getsockname()
        self.got: list[bytes] = []
        self.ended = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(1000):
                    self.got.append(data)
                    connection.sendall(data)
            except OSError:
                self.got.append(b"reset")
        self.ended.set()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    found = Echo()
    yield found
    found.close()


def connected(proxy: Proxy) -> socket.socket:
    client = socket.create_connection(proxy.address, timeout=10)
    client.sendall(b"hello")
    assert client.recv(100) == b"hello"
    return client


def silent(client: socket.socket) -> bool:
    client.settimeout(0.1)
    try:
        client.recv(100)
    except TimeoutError:
        return True
    finally:
        client.settimeout(10)
    return False


class TestProxy:
    def test_cut(self, echo: Echo) -> None:
        with Proxy(echo.address, random.Random(1)) as proxy:
            with connected(proxy) as client:
                proxy.cut()
                with pytest.raises(ConnectionResetError):
                    client.recv(100)
            proxy.heal()
            connected(proxy).close()

    @pytest.mark.parametrize("way", ["up", "down"])
    def test_what_one_way_holds_comes_later(self, echo: Echo, way: str) -> None:
        with Proxy(echo.address, random.Random(1)) as proxy, connected(proxy) as client:
            proxy.silence(up=way == "up", down=way == "down")
            client.sendall(b"more")
            assert silent(client)
            assert (b"more" in echo.got) == (way == "down")
            proxy.heal()
            assert client.recv(100) == b"more"

    def test_a_ghost_says_its_last_words_and_goes(self, echo: Echo) -> None:
        with Proxy(echo.address, random.Random(1)) as proxy, connected(proxy) as client:
            proxy.silence(up=True)
            client.sendall(b"late")
            assert silent(client)
            proxy.half_open()
            assert not client.recv(100), "it is closed"
            assert not echo.ended.is_set()
            proxy.heal()
            assert echo.ended.wait(10)
            assert b"late" in echo.got

    def test_reset_within_a_frame(self, echo: Echo) -> None:
        with Proxy(echo.address, random.Random(1)) as proxy, connected(proxy) as client:
            assert proxy.reset() == 1
            client.sendall(b"<START>>" + bytes(100))
            with pytest.raises(ConnectionResetError):
                client.recv(1)
            assert echo.ended.wait(10)
            assert proxy.resets == 1
            assert len(b"".join(echo.got)) < 5 + 108
