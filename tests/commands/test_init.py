from __future__ import annotations

import json
import re
import shutil
import socket
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from opentec.commands.template import server_toml
from opentec.ha.lease import Lease
from opentec.rim.errors import RepositoryUnavailable
from opentec.server import port
from opentec.server.config import Config, load_config
from opentec.server.instance import Instance
from tests.commands.running import Runner


@pytest.fixture(autouse=True)
def ports(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Every port is free, whatever this machine has, but for a test that asks for what is really tried."""
    real = port.port_trouble
    monkeypatch.setattr(port, "port_trouble", lambda *given, **more: "")
    return real


def keys(model: type, prefix: str = "") -> dict[str, object]:
    """Every key of the configuration with its default, `section.key`."""
    found: dict[str, object] = {}
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if hasattr(default, "model_dump"):
            found |= {f"{name}.{key}": value for key, value in default.model_dump().items()}
    return found


def test_an_instance_has_everything_a_server_needs(tec: Runner, tmp_path: Path) -> None:
    ran = tec("init", tmp_path / "new", "--port", "6000")
    assert ran.status == 0
    instance = Instance(tmp_path / "new")
    assert re.fullmatch("[0-9a-f]{32}", instance.uuid())
    assert instance.nodes() == {"node1": ("127.0.0.1", 6000)}
    config = load_config(instance)
    assert config.repository_path(instance).is_file()
    assert (config.rule_base_path(instance) / "TEC_CLASSES" / "root.baroc").is_file()
    for folder in ("rx", "ha", "rulebase", "rim", "log"):
        assert stat.S_IMODE((instance.directory / folder).stat().st_mode) & 0o027 == 0, folder
    assert ran.out.splitlines()[2:5] == [f"  export TEC_DIR={tmp_path / 'new'}", "  tec start", "  tec status"]


def test_every_node_is_started(tec: Runner, tmp_path: Path) -> None:
    one = tec("init", tmp_path / "a b", "--node", "black=127.0.0.1:7001", "--node", "brown=127.0.0.1:7002")
    assert one.out.splitlines()[2:6] == [
        f"  export TEC_DIR='{tmp_path / 'a b'}'",
        "  tec start --node black",
        "  tec start --node brown",
        "  tec status",
    ]
    two = tec("init", tmp_path / "two", "--node", "black=10.0.0.1:5529", "--node", "hut=[::1]:5529")
    assert two.out.splitlines()[3:5] == [
        "  tec start --node black  # on the machine with 10.0.0.1:5529",
        "  tec start --node hut    # on the machine with [::1]:5529",
    ]


def test_nodes_and_name_are_kept(instance: Instance) -> None:
    assert load_config(instance).server.name == "redbook"
    assert instance.nodes() == {"black": ("127.0.0.1", 1), "brown": ("127.0.0.1", 2)}


def test_repeating_changes_nothing(tec: Runner, instance: Instance) -> None:
    before = {path: path.read_bytes() for path in instance.directory.rglob("*") if path.is_file()}
    ran = tec("init", instance.directory, "--name", "other")
    assert ran.status == 0
    assert "already an instance" in ran.out
    assert {path: path.read_bytes() for path in instance.directory.rglob("*") if path.is_file()} == before
    assert json.loads(tec("init", instance.directory, "--json").out)["made"] is False


def test_nodes_with_one_address_are_warned_of(tec: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = ["--node", "black=127.0.0.1:7001", "--node", "brown=127.0.0.1:7001", "--node", "far=10.0.0.1:7001"]
    said = (
        "warning: nodes black and brown have one address, 127.0.0.1:7001: while one hangs, the other cannot open the "
        "port; give each a port of its own\n"
    )
    ran = tec("init", tmp_path / "one", *nodes, "--node", "farther=10.0.0.1:7001")
    assert (ran.status, ran.err) == (0, said)
    ran = tec("config", "check", "-d", tmp_path / "one")
    assert (ran.status, ran.err) == (0, said)


def test_a_directory_with_something_else_is_refused(tec: Runner, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    ran = tec("init", tmp_path)
    assert ran.status == 2
    assert "is not empty: it holds photos" in ran.err
    assert not (tmp_path / "tec_server.toml").exists()


def test_a_file_is_refused(tec: Runner, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert tec("init", tmp_path / "file").status == 2


def test_what_was_interrupted_can_be_repeated(tec: Runner, tmp_path: Path) -> None:
    (tmp_path / "rx").mkdir()
    (tmp_path / "instance").write_text("0" * 32 + "\n")
    assert tec("init", tmp_path).status == 0
    assert Instance(tmp_path).uuid() == "0" * 32


def test_a_repository_without_an_instance_is_not_overwritten(tec: Runner, tmp_path: Path) -> None:
    (tmp_path / "rim").mkdir()
    (tmp_path / "rim" / "tec.db").write_text("precious")
    ran = tec("init", tmp_path)
    assert ran.status == 1
    assert "there is a file already" in ran.err
    assert (tmp_path / "rim" / "tec.db").read_text() == "precious"
    assert not (tmp_path / "tec_server.toml").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        ["--node", "black"],
        ["--node", "black=host"],
        ["--node", "bl ack=host:1"],
        ["--node", "black=host:70000"],
        ["--node", 'black=ho"st:1'],
        ["--node", "black=http://host:1"],
        ["--node", "black=127.0.0.1:1,brown=127.0.0.1:2"],
        ["--node", "a=h:1", "--node", "a=h:2"],
        ["--port", "0"],
        ["--name", "no/slash"],
    ],
)
def test_wrong_options_make_nothing(tec: Runner, tmp_path: Path, wrong: list[str]) -> None:
    assert tec("init", tmp_path / "new", *wrong).status == 2
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("black=127.0.0.1:99999", "'99999' is no port: 1 to 65535"),
        ("bl ack=127.0.0.1:1", "'bl ack' is no name of a node: letters, digits, '_' and '-', 32 at most"),
        ("black", "NAME=HOST:PORT, for example black=127.0.0.1:5529"),
    ],
)
def test_a_wrong_node_is_told_what_is_wrong_with_it(tec: Runner, tmp_path: Path, node: str, said: str) -> None:
    assert said in tec("init", tmp_path / "new", "--node", node).err


def full(*given: object, **more: object) -> None:
    raise OSError(28, "No space left on device", "tec.db")


def copied_nothing(source: object, target: Path, **more: object) -> None:
    target.mkdir()
    failed = [("a", str(target / name), f"[Errno 28] No space left on device: '{name}'") for name in "ab"]
    raise shutil.Error(failed)


@pytest.mark.parametrize("free", [100 << 10, 1 << 30])
@pytest.mark.parametrize("there", [True, False])
def test_a_full_disk_leaves_nothing_half_made(
    tec: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool, free: int
) -> None:
    directory = tmp_path / "new"
    if there:
        (directory / "rx").mkdir(parents=True)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    room = " (100 KiB are free there; make room, or name a directory on another disk)" if free < 1 << 20 else ""
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", copied_nothing)
        ran = tec("init", directory)
    first = directory / "rules/a"
    assert (ran.status, ran.out, ran.err) == (
        1,
        "",
        f"tec: {directory} cannot be made: {first}: No space left on device{room}; what was made of it is removed "
        "again\n",
    )
    assert [path.name for path in tmp_path.rglob("*")] == (["new", "rx"] if there else [])
    with monkeypatch.context() as patch:
        patch.setattr("opentec.commands.init._write", full)
        assert f"cannot be made: tec.db: No space left on device{room}; " in tec("init", directory).err
    with monkeypatch.context() as patch:
        patch.setattr("opentec.rim.sqlite._create", unavailable)
        assert f"cannot be made: the disk is full{room}; " in tec("init", directory).err
    assert [path.name for path in tmp_path.rglob("*")] == (["new", "rx"] if there else [])
    assert tec("init", directory).status == 0


def unavailable(*given: object) -> None:
    raise RepositoryUnavailable("the disk is full")


def test_the_file_shows_every_key_with_its_default() -> None:
    text = server_toml("tec", {"node1": "127.0.0.1:5529"})
    uncommented = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    assert Config.model_validate(tomllib.loads(uncommented)) == Config.model_validate(tomllib.loads(text)) == Config()
    shown = tomllib.loads(uncommented)
    assert {f"{section}.{key}" for section in shown if section != "nodes" for key in shown[section]} == set(
        keys(Config)
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[rx]\nsegment_siz = 1\n", "rx.segment_siz: there is no such key; did you mean 'segment_size'?"),
        ("[rx\n", "tec_server.toml"),
    ],
)
def test_config_check_names_what_is_wrong(tec: Runner, instance: Instance, text: str, said: str) -> None:
    assert tec("config", "check").status == 0
    instance.config_file.write_text(text)
    ran = tec("config", "check")
    assert ran.status == 1
    assert said in ran.err
    assert json.loads(tec("config", "check", "--json").out)["errors"]


def test_config_check_warns_of_a_missing_rule_base(tec: Runner, instance: Instance) -> None:
    text = instance.config_file.read_text()
    instance.config_file.write_text(text.replace('# rule_base = "rules"', 'rule_base = "rulez"'))
    ran = tec("config", "check")
    folder = instance.directory / "rulez"
    assert ran.status == 0
    assert ran.err == f"warning: server.rule_base: there is no folder {folder}; make it, or correct the name\n"


def test_config_check_warns_of_a_fencing_program_that_cannot_run(tec: Runner, instance: Instance) -> None:
    program = instance.directory / "fence"
    text = instance.config_file.read_text()
    instance.config_file.write_text(re.sub(r"(?m)^# fence_command = .*", f'fence_command = ["{program}"]', text))
    ran = tec("config", "check")
    assert ran.status == 0 and ran.out.endswith(": right\n")
    assert ran.err.startswith(f"warning: ha.fence_command: there is no program {program} on this node; ")
    program.touch(0o600)
    (said,) = json.loads(tec("config", "check", "--json").out)["warnings"]
    assert f"may not run {program}; check its owner and mode" in said
    program.chmod(0o700)
    assert tec("config", "check").err == ""


def test_config_check_warns_of_a_port_that_a_node_could_not_open(
    tec: Runner, instance: Instance, monkeypatch: pytest.MonkeyPatch, ports: Callable[..., str]
) -> None:
    monkeypatch.setattr(port, "port_trouble", ports)
    text = instance.config_file.read_text()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        instance.config_file.write_text(
            text.replace("127.0.0.1:1", f"127.0.0.1:{number}").replace("127.0.0.1:2", "192.0.2.1:2")
        )
        said = f"warning: [nodes.black] listen = 127.0.0.1:{number}: another program has the port; "
        ran = tec("config", "check")
        assert ran.status == 0 and ran.err.startswith(said) and ran.err.count("\n") == 1, "brown may belong elsewhere"
        monkeypatch.setenv("TEC_NODE", "brown")
        assert "warning: [nodes.brown] listen = 192.0.2.1:2: the address is not this" in tec("config", "check").err
        monkeypatch.delenv("TEC_NODE")
        holder = Lease.claim(instance.ha, "black", [], 0)
        assert holder is not None
        assert tec("config", "check").err == "", "black serves, and has the port itself"
        holder.release()
        assert tec("config", "check").err.startswith(said)
    shutil.rmtree(instance.ha)
    assert "ha: No such file or directory; check that the instance directory is mounted" in tec("config", "check").err
