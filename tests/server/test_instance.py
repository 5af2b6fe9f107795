"""Where an instance's things lie, which node acts, and where sockets are made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from opentec.server import instance as module
from opentec.server.errors import ConfigError, InstanceError
from opentec.server.instance import Instance, choose_node, find_instance, make_private, new_uuid, runtime_root
from tests.server.kit import UUID, make_instance

TWO = '[nodes.black]\nlisten = "127.0.0.1:5529"\n[nodes.brown]\nlisten = "[::1]:x"\n'


def test_what_is_no_instance(tmp_path: Path) -> None:
    with pytest.raises(InstanceError, match="holds no tec_server.toml; `tec init .*` makes one, -d DIR or TEC_DIR"):
        Instance(tmp_path)


def test_the_directory_is_named_by_option_environment_or_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, three = (make_instance(tmp_path / name) for name in ("one", "two", "three"))
    monkeypatch.chdir(three.directory)
    assert find_instance().directory == three.directory
    monkeypatch.setenv("TEC_DIR", str(two.directory))
    assert find_instance().directory == two.directory
    assert find_instance(one.directory).directory == one.directory


def test_paths_and_identity(tmp_path: Path) -> None:
    instance = make_instance(tmp_path)
    assert instance.uuid() == UUID
    assert instance.logs("black") == tmp_path / "log/black"
    assert instance.runtime("black") != instance.runtime("brown")
    assert instance.runtime("black").parent == runtime_root()
    (tmp_path / "instance").unlink()
    with pytest.raises(InstanceError, match="was this directory made by `tec init`"):
        instance.uuid()
    assert len(new_uuid()) == 32


def test_nodes_without_checking_the_rest(tmp_path: Path) -> None:
    instance = make_instance(tmp_path, TWO + "[nodes.plain]\n[rx]\nno_such_key = 1\n")
    assert instance.nodes() == {
        "black": ("127.0.0.1", 5529),
        "brown": ("::1", 5529),
        "plain": ("127.0.0.1", 5529),
    }


@pytest.mark.parametrize("text", ["nodes = 7\n", "[nodes]\nblack = '127.0.0.1:5529'\n"])
def test_nodes_that_are_no_tables(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"each node is a table, for example \[nodes.node1\]"):
        make_instance(tmp_path, text).nodes()


def test_the_node_to_act_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only, both = make_instance(tmp_path / "only"), make_instance(tmp_path / "both", TWO)
    assert choose_node(only, None) == "black"
    with pytest.raises(ConfigError, match="has the nodes black, brown: say which one this is with --node or TEC_NODE"):
        choose_node(both, None)
    with pytest.raises(ConfigError, match="its nodes are black, brown; did you mean 'black'.$"):
        choose_node(both, "blak")
    monkeypatch.setenv("TEC_NODE", "brwn")
    with pytest.raises(ConfigError, match=r"node 'brwn' \(from TEC_NODE\) is not in .*; did you mean 'brown'.$"):
        choose_node(both, None)
    monkeypatch.setenv("TEC_NODE", "brown")
    assert choose_node(both, None) == "brown"
    assert choose_node(both, "black") == "black"
    with pytest.raises(ConfigError, match="node 'blue' is not in .*; its nodes are black, brown"):
        choose_node(both, "blue")


@pytest.mark.parametrize(("wanted", "shown"), [(None, "node1"), ("black", "black")])
def test_a_file_without_a_node(tmp_path: Path, wanted: str | None, shown: str) -> None:
    instance = make_instance(tmp_path, "[rx]\n")
    with pytest.raises(ConfigError) as error:
        choose_node(instance, wanted)
    assert str(error.value) == (
        f'{instance.config_file} names no node; write [nodes.{shown}] and below it listen = "127.0.0.1:5529"'
    )


def test_the_runtime_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEC_RUNTIME_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert runtime_root() == Path("/run/user/7/opentec")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert runtime_root() == Path("/run/opentec")
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    assert runtime_root() == Path("/tmp/opentec-7")


def test_sockets_are_made_in_a_directory_of_this_user(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_private(runtime / "sub" / "node")
    make_private(runtime / "sub" / "node")
    assert (runtime / "sub" / "node").stat().st_mode & 0o777 == 0o750
    (runtime / "link").symlink_to(runtime / "sub")
    with pytest.raises(InstanceError, match="link is not a directory of this user"):
        make_private(runtime / "link" / "node")
    monkeypatch.setattr(module.os, "geteuid", lambda: os.getuid() + 1)
    if os.getuid():
        with pytest.raises(InstanceError, match="is not a directory of this user"):
            make_private(runtime / "sub" / "node")


def test_a_place_where_no_sockets_can_be_made(runtime: Path) -> None:
    with pytest.raises(InstanceError, match=r"is too long for sockets \(\d+ bytes, 107 fit\): set TEC_RUNTIME_DIR"):
        make_private(runtime / ("x" * 100))
    (runtime / "file").touch()
    for path in (runtime / "file", runtime / "file" / "below"):
        with pytest.raises(InstanceError, match="cannot be made for sockets: .*; TEC_RUNTIME_DIR names another place"):
            make_private(path)
