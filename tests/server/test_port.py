"""Could a standby open its port, if it had to?"""

from __future__ import annotations

import socket

import pytest

from opentec.server import port as module
from opentec.server.config import NodeSection
from opentec.server.port import port_trouble
from tests.server.kit import free_port


def test_a_free_port_stays_free() -> None:
    number = free_port()
    for _ in range(2):
        assert port_trouble("black", NodeSection(listen=f"127.0.0.1:{number}")) == ""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", number))
        taken.listen()


def test_a_port_that_another_program_has() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        assert port_trouble("black", NodeSection(listen=f"127.0.0.1:{number}"), elsewhere=True) == (
            f"[nodes.black] listen = 127.0.0.1:{number}: another program has the port; free it, or give the node "
            "another one"
        )


def test_an_address_that_is_not_this_machine_s() -> None:
    node = NodeSection(listen="192.0.2.1:5529")  # kept for examples, RFC 5737
    assert "the address is not this machine's now; correct it, unless a cluster manager" in port_trouble("black", node)
    assert port_trouble("black", node, elsewhere=True) == ""


def test_both_families_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    bound: list[tuple[str, int]] = []

    class Trial:
        def __init__(self, *given: int) -> None: ...
        def __enter__(self) -> Trial:
            return self

        def __exit__(self, *given: object) -> None: ...
        def setsockopt(self, *given: int) -> None: ...
        def bind(self, address: tuple[str, int]) -> None:
            bound.append(address)
            if address[0] == "::1":
                raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module.socket, "socket", Trial)
    found = [(socket.AF_INET, 1, 6, "", ("127.0.0.1", 80)), (socket.AF_INET6, 1, 6, "", ("::1", 80))]
    monkeypatch.setattr(module.socket, "getaddrinfo", lambda *given, **more: found)
    assert "it cannot be opened: Permission denied" in port_trouble("black", NodeSection(listen="tec:80"))
    assert [host for host, _ in bound] == ["127.0.0.1", "::1"]


def test_a_name_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*given: object, **more: object) -> list[object]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(module.socket, "getaddrinfo", unknown)
    said = port_trouble("black", NodeSection(listen="nowhere:5529"), elsewhere=True)
    assert "the host has no address: Name or service not known" in said
