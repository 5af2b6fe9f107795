from __future__ import annotations

from pathlib import Path

import pytest

from opentec.commands.cli import Failure
from opentec.commands.servers import parse_servers, servers_of, servers_of_conf
from opentec.server.instance import Instance


def test_servers_come_from_the_first_place_that_names_any(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    conf = tmp_path / "a.conf"
    conf.write_text("ServerLocation=tec1,tec2\nServerPort=6001\n")
    monkeypatch.setenv("TEC_SERVER", "tec9:9")
    monkeypatch.chdir(tmp_path)
    assert servers_of("s:7", conf, None) == [("s", 7)]
    assert [host for host, _ in servers_of(None, conf, None)] == ["tec1", "tec2"]
    assert servers_of(None, None, None) == [("127.0.0.1", 1), ("127.0.0.1", 2)]
    monkeypatch.delenv("TEC_DIR")
    assert servers_of(None, None, None) == [("tec9", 9)]
    monkeypatch.chdir(instance.directory)
    assert servers_of(None, None, None) == [("127.0.0.1", 1), ("127.0.0.1", 2)]


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("ServerLocation=tec1", [("tec1", 5529)]),
        ("# c\nserverlocation = tec1 , tec2:7\nServerPort=6001\nLogSources=/x\n", [("tec1", 6001), ("tec2", 7)]),
        ("ServerLocation=a,b\nServerPort=1,2", [("a", 1), ("b", 2)]),
        ("ServerLocation=a\nServerLocation=b\nServerPort=1\nServerPort=2", [("a", 1), ("b", 2)]),
    ],
)
def test_a_conf(tmp_path: Path, text: str, servers: list[tuple[str, int]]) -> None:
    (tmp_path / "a.conf").write_text(text)
    assert servers_of_conf(tmp_path / "a.conf") == servers


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("LogSources=/x\n", "it has no ServerLocation"),
        ("ServerLocation=a b", "ServerLocation 'a b' is not HOST"),
        ("ServerLocation=@EventServer", "is not HOST"),
        ("ServerLocation=a\nServerPort=0", "portmapper"),
        ("ServerLocation=a\nServerPort=x", "ServerPort 'x' is not a port"),
    ],
)
def test_a_conf_that_names_no_server_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.conf").write_text(text)
    with pytest.raises(Failure, match=said) as caught:
        servers_of_conf(tmp_path / "a.conf")
    assert caught.value.status == 2


def test_ipv6_servers() -> None:
    assert parse_servers("[::1]:7,[fe80::1]", "-S") == [("::1", 7), ("fe80::1", 5529)]
