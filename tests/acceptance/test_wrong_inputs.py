"""What goes wrong on a first day: each is answered by one clear message, and nothing is lost."""

from __future__ import annotations

import shutil
import socket

import pytest

from tests.acceptance.conftest import MakeCluster
from tests.acceptance.test_commands import listed, wait_listed
from tests.faults.harness import Cluster


def refused(cluster: Cluster, *words: str, node: str = "black") -> str:
    """Starting fails with one message that has all of `words`, and leaves no process."""
    done = cluster.tec("start", node=node)
    said = done.stderr.strip()
    assert done.returncode not in (0, 4), (done, cluster.logs())
    assert "Traceback" not in said
    for word in words:
        assert word in said, said
    assert not cluster.left(), said
    return said


def posted(cluster: Cluster, count: int) -> None:
    assert cluster.tec("post", "Load_Event", "TEST").returncode == 0
    wait_listed(cluster, count, "--class", "Load_Event")


def test_a_busy_port(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    with socket.create_server(("127.0.0.1", cluster.ports["black"])):
        refused(cluster, f"127.0.0.1:{cluster.ports['black']}", "tec_server.toml")
    cluster.start()
    posted(cluster, 1)


def test_an_unreadable_repository(server: Cluster) -> None:
    posted(server, 1)
    server.stop()
    kept = server.repository.with_name("kept")
    server.repository.rename(kept)
    refused(server, str(server.repository))
    server.repository.write_bytes(b"this is not a database, whatever its name says" * 100)
    refused(server, str(server.repository))
    with pytest.raises(AssertionError):
        listed(server)
    kept.replace(server.repository)
    server.start()
    posted(server, 2)


def test_a_repository_from_yesterday(server: Cluster) -> None:
    """Put back from an old copy it is replayed; put back newer than the log it is refused."""
    posted(server, 1)
    server.stop()
    copy = server.repository.with_name("copy")
    shutil.copy(server.repository, copy)
    server.start()
    posted(server, 2)
    server.stop()
    newer = server.repository.with_name("newer")
    server.repository.rename(newer)
    copy.rename(server.repository)
    server.start()
    assert len(wait_listed(server, 2, "--class", "Load_Event")) == 2
    server.stop()
    for segment in (server.directory / "rx").glob("rx.*"):
        if segment.name > "rx.1":
            segment.unlink()
    for lease in (server.directory / "ha").iterdir():
        lease.unlink()
    refused(server, "log")


def test_a_broken_rule_base(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    rules = cluster.rules / "TEC_RULES" / "load.rls"
    good = rules.read_text()
    rules.write_text(good.replace("'Load_Repeat'", "'Load_Repaet'"))
    refused(cluster, "load.rls:4:", "Load_Repaet", "did you mean 'Load_Repeat'")
    rules.write_text(good)
    cluster.start()
    posted(cluster, 1)
    cluster.stop()
    # from now on there is one that works: it stays, loudly
    rules.write_text(good + "rule: broken: (\n")
    done = cluster.tec("start")
    assert done.returncode == 0, done.stderr
    assert "load.rls:" in done.stderr
    posted(cluster, 2)
    assert len(wait_listed(cluster, 1, "--class", "TEC_Error")) == 1


def test_another_servers_name_or_directory(server: Cluster) -> None:
    server.stop()
    server.settings["server"]["name"] = "other"
    server.configure()
    refused(server, "'tec'", "'other'")
    server.settings["server"]["name"] = "tec"
    server.configure()
    identity = server.directory / "instance"
    mine = identity.read_text()
    identity.write_text("0" * 31 + "1\n")
    refused(server, "0" * 31 + "1")
    identity.write_text(mine)
    server.start()
    posted(server, 1)


def test_a_directory_that_another_server_holds(server: Cluster) -> None:
    """The same directory and node, but none of the other's sockets: a second master is refused."""
    elsewhere = dict(server.environment)
    server.environment["TEC_RUNTIME_DIR"] = str(server.runtime / "elsewhere")
    done = server.tec("start")
    assert (done.returncode, done.stdout) == (1, ""), done
    assert "node black already runs with pid " in done.stderr and "set TEC_RUNTIME_DIR as it has it" in done.stderr
    assert "runs, but not under this TEC_RUNTIME_DIR" in server.tec("status").stdout
    server.environment = elsewhere
    posted(server, 1)
    assert server.tec("status").returncode == 0


def test_wrong_configuration(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    cluster.settings["rx"]["segment_sise"] = 1
    cluster.configure()
    for command in (["config", "check"], ["start"]):
        done = cluster.tec(*command)
        assert done.returncode in (1, 2), done
        assert "rx.segment_sise" in done.stderr
        assert "did you mean 'segment_size'" in done.stderr
    (cluster.directory / "tec_server.toml").write_text("[server\n")
    assert cluster.tec("start").returncode == 2
    nowhere = cluster.tec("start", "-d", str(cluster.directory / "rx"))
    assert nowhere.returncode == 2
    assert "tec init" in nowhere.stderr
    unknown = cluster.tec("stat")
    assert unknown.returncode == 2
    assert "status" in unknown.stderr
