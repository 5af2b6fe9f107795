"""tec_server.toml: every message names the file, the key, what is wrong, and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from opentec.server.config import load_config
from opentec.server.errors import ConfigError
from tests.server.kit import make_instance

NODE = '[nodes.black]\nlisten = "127.0.0.1:5529"\n'


def test_defaults(tmp_path: Path) -> None:
    instance = make_instance(tmp_path, "# nothing said\n")
    config = load_config(instance)
    assert config.server.name == "tec" and list(config.nodes) == ["node1"]
    assert (config.nodes["node1"].host, config.nodes["node1"].port) == ("127.0.0.1", 5529)
    assert config.repository_path(instance) == instance.directory / "rim/tec.db"
    assert config.rule_base_path(instance) == instance.directory / "rules"


@pytest.mark.parametrize(
    ("text", "beat", "ttl", "limit"),
    [
        (NODE, 600_000, 3_000_000, 0.0),
        (NODE + "[nodes.brown]\n", 600_000, 3_000_000, 2.0),
        (NODE + "[nodes.brown]\n[ha]\nheartbeat = 'fast'\n", 200_000, 1_000_000, 0.667),
        (NODE + "[nodes.brown]\n[ha]\nbeat = 0.3\n", 300_000, 3_000_000, 2.0),
        (NODE + "[ha]\nheartbeat = 'slow'\nbeat = 3\nttl = 12\ndisk_limit = 5\n", 3_000_000, 12_000_000, 5.0),
    ],
)
def test_the_heartbeat_in_force(tmp_path: Path, text: str, beat: int, ttl: int, limit: float) -> None:
    config = load_config(make_instance(tmp_path, text))
    assert (config.ha.preset.beat_us, config.ha.preset.ttl_us) == (beat, ttl)
    assert config.disk_limit == pytest.approx(limit, abs=0.001)


def test_an_ipv6_address(tmp_path: Path) -> None:
    node = load_config(make_instance(tmp_path, '[nodes.black]\nlisten = "[::1]:5530"\n')).nodes["black"]
    assert (node.host, node.port) == ("::1", 5530)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[rx]\nsegmentsize = 7\n", "rx.segmentsize: there is no such key; did you mean 'segment_size'?"),
        ("[rx]\nzzz = 7\n", "rx.zzz: there is no such key; known are segment_size, retain_days"),
        ("[rx]\nsegment_size = 7\n", "rx.segment_size: 7 should be greater than or equal to 65536"),
        ("[rx]\nmax_event = 10000000\n", "rx.max_event: 10000000 should be less than or equal to 1048576"),
        ("[rx]\nwindow = 'x'\n", "rx.window: 'x' should be a valid integer"),
        ("[rx]\nwindow = 1.5\n", "rx.window: 1.5 should be a valid integer, got a number with a fractional part"),
        ("[rx]\nretain_days = nan\n", "rx.retain_days: nan should be greater than 0"),
        ("[serber]\nname = 'x'\n", "serber: there is no such key; did you mean 'server'?"),
        ("[server]\nname = 'a b'\n", "server.name: 'a b' is not a name: letters, digits"),
        ("[ha]\nheartbeat = 'quick'\n", "ha.heartbeat: 'quick' is not 'slow', 'normal' or 'fast'"),
        ("[ha]\nheartbeat = 'fats'\n", "ha.heartbeat: 'fats' is not 'slow', 'normal' or 'fast'; did you mean 'fast'?"),
        ("[ha]\nheartbeat = 3\n", "ha.heartbeat: 3 is not 'slow', 'normal' or 'fast'"),
        ("[ha]\nHeartbeat = 'fast'\n", "ha.Heartbeat: there is no such key; did you mean 'heartbeat'?"),
        ("heartbeat = 'fast'\n", "heartbeat: there is no such key; it belongs to [ha]"),
        ("[rules]\nttl = 3\n", "rules.ttl: there is no such key; it belongs to [ha]"),
        ("[ha]\nwindow = 3\n", "ha.window: there is no such key; it belongs to [rx] or [rules]"),
        ("[server]\nlisten = 'h:1'\n", "server.listen: there is no such key; it belongs to [nodes.NAME]"),
        ("[node.black]\nlisten = 'h:1'\n", "node: there is no such key; did you mean 'nodes'?"),
        ("[zzz]\n", "zzz: there is no such key; known are server, nodes, rx"),
        (
            "[ha]\nbeat = 1\n",
            "ha: a beat every 1 s does not fit a time to live of 3 s: the active node gives way after ",
        ),
        ("[ha]\nttl = 1.5\n", "ha: a beat every 0.6 s does not fit a time to live of 1.5 s"),
        ("[ha]\nttl = -1\n", "ha.ttl: -1 should be greater than or equal to 0"),
        (
            "[ha]\ndisk_limit = -1\n",
            'ha.disk_limit: -1 is not a number of seconds from 0 to 600, nor "auto"; for example ',
        ),
        ("[ha]\ndisk_limit = 'x'\n", "ha.disk_limit: 'x' is not a number of seconds"),
        (
            "[ha]\ndisk_limit = 'Auto'\n",
            "ha.disk_limit: 'Auto' is not a number of seconds from 0 to 600, nor \"auto\"; "
            "for example disk_limit = 2.0; did you mean 'auto'?",
        ),
        ("[ha]\nlocal_disks = '/var'\n", "ha.local_disks: '/var' is not a list of texts; for example local_disks = "),
        ("[rim]\nallow_network_fs = 'perhaps'\n", "rim.allow_network_fs: 'perhaps' is not true or false"),
        ("[rim]\nallow_network_fs = 'maybe'\n", "rim.allow_network_fs: 'maybe' is not true or false"),
        ("[rim]\nallow_network_fs = []\n", "rim.allow_network_fs: [] is not true or false"),
        ("[rim]\npath = 7\n", "rim.path: 7 is not a text in quotes"),
        (
            "[ha]\nfence_command = '/f a'\n",
            "ha.fence_command: '/f a' is not a list of texts; for example fence_command = [\"/",
        ),
        ("[ha]\nfence_command = ['/f', 1]\n", "ha.fence_command: 1 is not a list of texts"),
        ("[ha]\nfence_command = ['fence']\n", "ha.fence_command: the program 'fence' must be named from the root"),
        (
            "[ha]\nfence_command = ['/f', '{nod}']\n",
            "ha.fence_command: '{nod}': there is no placeholder {nod}",
        ),
        ("[ha]\nlocal_disks = ['var']\n", "ha.local_disks: 'var' is not a folder from the root, such as /var/lib"),
        ("[rx]\nidle_limit = 5\n", "rx.idle_limit: 5 should be greater than or equal to 60"),
        ("[rules]\nselector = 'rete'\n", "rules.selector: 'rete' is not 'auto', 'durable-rules' or 'indexed'"),
        (
            "[rules]\nselector = 'idnexed'\n",
            "rules.selector: 'idnexed' is not 'auto', 'durable-rules' or 'indexed'; did you mean 'indexed'?",
        ),
        ("[nodes.black]\nlisten = '5529'\n", "nodes.black.listen: '5529' is not HOST:PORT, for example 127.0.0.1:5529"),
        ("[nodes.black]\nlisten = 'h:70000'\n", "nodes.black.listen: 'h:70000' is not HOST:PORT"),
        ("[nodes.black]\nlisten = 'h:1,g:2'\n", "nodes.black.listen: 'h:1,g:2' is not HOST:PORT, for example"),
        (
            "[nodes.web1.lab.org]\nlisten = 'h:7'\n",
            'nodes.web1.lab: a name with a point stands in quotes: [nodes."web1.lab.org"]',
        ),
        ("[nodes.web1.lab]\n", 'nodes.web1.lab: a name with a point stands in quotes: [nodes."web1.lab"]'),
        ("[nodes.black]\nlisten = ':1'\n", "nodes.black.listen: ':1' is not HOST:PORT"),
        ("[nodes.black]\nlistne = 'h:7'\n", "nodes.black.listne: there is no such key; did you mean 'listen'?"),
        ("nodes = {}\n", 'nodes: there is no node; write [nodes.node1], and below it listen = "HOST:PORT"'),
        (
            "[nodes.web1.lab]\nlisten = 'h:7'\n",
            'nodes.web1.lab: a name with a point stands in quotes: [nodes."web1.lab"]',
        ),
        ("[nodes.'a b']\nlisten = 'h:7'\n", "nodes.a b: 'a b' is not a name: letters, digits"),
        ("[nodes.'../b']\n", "nodes.../b: '../b' is not a name: letters, digits"),
        ("nodes = 7\n", "nodes: 7 is not a section; its keys stand below a line [nodes.NAME]"),
        ("rx = 7\n", "rx: 7 is not a section; its keys stand below a line [rx]"),
        ("[nodes]\nblack = 'h:1'\n", "nodes.black: 'h:1' is not a section; its keys stand below a line [nodes.black]"),
    ],
)
def test_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    instance = make_instance(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load_config(instance)
    assert f"{instance.config_file}: {message}" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tasks\n", "1:7: Expected ']'"),
        ("# a\na = \n", "2:5: Invalid value"),
        ("[ha]\nheartbeat = fast  # or slow\n", '2:13: Invalid value; a text stands in quotes: heartbeat = "fast"'),
        (
            "[rim]\nallow_network_fs = True\n",
            "2:20: Invalid value; true and false are written in small letters: allow_",
        ),
    ],
)
def test_what_is_no_toml_has_its_place(tmp_path: Path, text: str, message: str) -> None:
    instance = make_instance(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load_config(instance)
    assert str(error.value).startswith(f"{instance.config_file}:{message}")


def test_every_wrong_key_has_its_line(tmp_path: Path) -> None:
    instance = make_instance(tmp_path, "[rx]\nwindow = 0\nbacklog = 0\n" + NODE)
    with pytest.raises(ConfigError) as error:
        load_config(instance)
    assert [line.split(": ")[1] for line in str(error.value).splitlines()] == ["rx.window", "rx.backlog"]


def test_a_file_that_is_no_text_or_cannot_be_read(tmp_path: Path) -> None:
    instance = make_instance(tmp_path, NODE)
    instance.config_file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=":1:1: byte 0xff is not UTF-8; save the file as UTF-8"):
        load_config(instance)
    instance.config_file.unlink()
    instance.config_file.mkdir()
    with pytest.raises(ConfigError, match="Is a directory"):
        load_config(instance)
