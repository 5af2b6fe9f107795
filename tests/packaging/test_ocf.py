"""The OCF agents: what they say of themselves, and every action against a real server and a real adapter."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.faults.harness import Cluster, process, wait_for
from tests.faults.tailing import FORMATS
from tests.packaging.ocf import (
    AGENTS,
    CONFIGURED,
    GENERIC,
    INSTALLED,
    NOT_RUNNING,
    SUCCESS,
    TEC,
    UNIMPLEMENTED,
    Agent,
    openers,
)

SCRIPTS = ("server", "adapter", "functions.sh")
BASHISMS = r"\[\[|==|\bfunction \w|\blocal\b|\bsource\b|<<<|\$'|\bdeclare\b|\+=|&>|\$\{\w+(/|\^|,|:\d)"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_posix_sh(name: str) -> None:
    path = AGENTS / name
    for shell in ("sh", "dash"):
        if shutil.which(shell):
            done = subprocess.run([shell, "-n", str(path)], capture_output=True, text=True, timeout=10, check=False)
            assert done.returncode == 0, done.stderr
    code = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
    code = re.sub(r"<<'END'.*?\nEND\n", "", code, flags=re.S)
    assert re.findall(BASHISMS, code) == []
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "-x", str(path)], check=True, cwd=AGENTS)


@pytest.mark.parametrize("name", ["server", "adapter"])
def test_the_agent_describes_itself(name: str) -> None:
    agent = Agent(name)
    assert agent("meta-data") == SUCCESS
    root = ElementTree.fromstring(agent.said)
    assert root.get("name") == name
    assert {action.get("name") for action in root.iter("action")} == {
        "start",
        "stop",
        "monitor",
        "meta-data",
        "validate-all",
    }
    described = {str(parameter.get("name")): parameter for parameter in root.iter("parameter")}
    used = set(re.findall(r"OCF_RESKEY_(\w+)", agent.program.read_text()))
    assert set(described) == used
    for parameter, entry in described.items():
        assert entry.findtext("longdesc") and entry.findtext("shortdesc"), parameter
        default = re.search(rf"OCF_RESKEY_{parameter}:-(.*?)}}", agent.program.read_text())
        content = entry.find("content")
        assert default is not None and content is not None
        assert content.get("default", "") == default[1], f"{parameter}: what is described is not what holds"


def test_an_action_that_there_is_not() -> None:
    assert Agent("server")("promote") == UNIMPLEMENTED
    assert Agent("adapter")("") == UNIMPLEMENTED


@pytest.mark.parametrize(
    ("parameters", "status", "said"),
    [
        ({"instance": "relative"}, CONFIGURED, "absolute path"),
        ({"patience": "soon"}, CONFIGURED, "'soon' is not a number"),
        ({"tec": "/nowhere/tec"}, INSTALLED, "/nowhere/tec is not an executable"),
        ({"user": "nobody-of-that-name"}, INSTALLED, "there is no user"),
        ({"instance": "/nowhere"}, INSTALLED, "holds no tec_server.toml"),
    ],
)
def test_a_server_that_cannot_be_started_here(
    tmp_path: Path, parameters: dict[str, str], status: int, said: str
) -> None:
    (tmp_path / "tec_server.toml").touch()
    agent = Agent("server", **({"instance": tmp_path, "user": getpass.getuser()} | parameters))
    for action in ("validate-all", "start"):
        assert agent(action) == status
        assert said in agent.said
    assert agent("monitor") == NOT_RUNNING, "whatever is wrong with it, it does not run"
    assert agent("stop") == SUCCESS, "a stop never fails"


def test_a_start_that_was_given_up_is_ended_and_other_nodes_are_not(tmp_path: Path) -> None:
    """It might still serve after the stop; and the name of one node may begin with that of another."""
    sleep = [sys.executable, "-S", "-c", "print(flush=True); import time; time.sleep(600)"]
    given_up = [*sleep, "start", "-d", str(tmp_path), "--node", "black"]
    other = [*sleep, "-m", "opentec.server.start", str(tmp_path), "black2", "0.0", "5"]
    with (
        subprocess.Popen(given_up, stdout=subprocess.PIPE) as first,
        subprocess.Popen(other, stdout=subprocess.PIPE) as second,
    ):
        try:
            for one in (first, second):
                assert one.stdout is not None and one.stdout.readline()
            agent = Agent("server", instance=tmp_path, node="black", user=getpass.getuser(), stop_timeout=1)
            assert agent("monitor") == GENERIC
            assert agent("stop") == SUCCESS
            assert first.wait(20) == -signal.SIGKILL and second.poll() is None
            assert agent("monitor") == NOT_RUNNING
        finally:
            first.kill()
            second.kill()


# -- a real server ----------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, ("black", "brown"), hang_after=2.0) as found:
        yield found


def agent_of(cluster: Cluster, node: str = "black", **parameters: object) -> Agent:
    given = {"instance": cluster.directory, "node": node, "runtime": cluster.runtime, "user": getpass.getuser()}
    return Agent("server", **{**given, "patience": 10, "probe_timeout": 2, **parameters})


@pytest.mark.acceptance
def test_a_server_from_start_to_stop(cluster: Cluster) -> None:
    agent = agent_of(cluster)
    assert agent("validate-all") == SUCCESS, agent.said
    assert agent("monitor") == NOT_RUNNING
    assert agent("start") == SUCCESS, agent.said
    assert cluster.active() == "black", "a start returns when it serves"
    assert agent("start") == SUCCESS, "it runs already"
    assert agent("monitor") == SUCCESS
    # a process that dies is the master's to start again, and no affair of the cluster
    cluster.process("black", "tec_rule").signal(signal.SIGKILL)
    assert agent("monitor") == SUCCESS, agent.said
    assert agent("stop") == SUCCESS
    assert cluster.left() == [] and openers(cluster.directory) == []
    assert agent("stop") == SUCCESS, "harmless when repeated"
    assert agent("monitor") == NOT_RUNNING


@pytest.mark.acceptance
def test_a_server_that_hangs_is_an_error_and_can_be_stopped(cluster: Cluster) -> None:
    agent = agent_of(cluster, patience=90)
    assert agent("start") == SUCCESS, agent.said
    for one in cluster.five("black").values():
        one.signal(signal.SIGSTOP)
    assert agent("monitor") == GENERIC
    assert "ocf-exit-reason:" in agent.said and "does not answer" in agent.said
    assert agent.took < 60, "a server that is silent is not waited for"
    assert agent("stop") == SUCCESS
    assert cluster.left() == [] and openers(cluster.directory) == []


@pytest.mark.acceptance
def test_what_a_dead_master_left_is_no_stopped_server(cluster: Cluster) -> None:
    """As a process in state D would be: only when nothing is left may another node have the storage."""
    agent = agent_of(cluster)
    title = f"tec_dispatch -d {cluster.directory} --node black"
    with subprocess.Popen([title], executable=shutil.which("cat"), stdin=subprocess.PIPE) as left:
        wait_for("its command line", lambda: title in process(left.pid).title)
        assert agent("monitor", node="blac") == agent("monitor", node="black2") == NOT_RUNNING, "another node's"
        assert agent("monitor") == GENERIC
        assert "tec_master is gone" in agent.said
        assert agent("stop") == SUCCESS
        assert left.wait(10) == -signal.SIGKILL


@pytest.mark.acceptance
def test_a_node_that_stands_by_counts_where_it_was_said(cluster: Cluster) -> None:
    cluster.start("black")
    agent = agent_of(cluster, "brown", standby="true")
    assert agent("start") == SUCCESS, agent.said
    assert cluster.standby() == "brown"
    assert agent("monitor") == SUCCESS
    assert agent("monitor", standby="false", patience=0) == GENERIC
    assert "stands by" in agent.said
    assert agent("stop") == SUCCESS
    assert cluster.active() == "black", "one node was stopped, not the server"


@pytest.mark.acceptance
def test_a_configuration_that_is_not_right(cluster: Cluster) -> None:
    agent = agent_of(cluster)
    cluster.settings["ha"]["heartbeat"] = "sometimes"
    cluster.configure()
    assert agent("validate-all") == CONFIGURED and "heartbeat" in agent.said
    assert agent("start") == CONFIGURED and "heartbeat" in agent.said
    assert agent_of(cluster, "blcak")("start") == CONFIGURED
    cluster.settings["ha"]["heartbeat"] = "fast"
    cluster.configure()
    assert agent_of(cluster, "blcak")("validate-all") == CONFIGURED


@pytest.mark.acceptance
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_server_of_another_user() -> None:
    if subprocess.run(["runuser", "-u", "nobody", "--", str(TEC), "version"], capture_output=True).returncode:
        pytest.skip("this checkout is closed to other users")
    with tempfile.TemporaryDirectory(prefix="tec-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with Cluster(folder) as cluster:
            subprocess.run(["chown", "-R", "nobody", str(cluster.directory)], check=True)
            cluster.runtime.chmod(0o755)
            runtime = cluster.runtime / "of-nobody"
            agent = agent_of(cluster, user="nobody", runtime=runtime)
            assert agent("start") == SUCCESS, agent.said
            owners = {Path(f"/proc/{one.pid}").stat().st_uid for one in cluster.left()}
            assert owners == {runtime.stat().st_uid} != {0}
            assert agent("monitor") == SUCCESS
            assert agent("stop") == SUCCESS
            assert cluster.left() == []


# -- a real adapter ---------------------------------------------------------------------------------------------------


@pytest.fixture
def adapter(tmp_path: Path) -> Iterator[Agent]:
    (tmp_path / "adapter.fmt").write_text(FORMATS)
    conf = tmp_path / "adapter.conf"
    conf.write_text(
        f"ServerLocation=127.0.0.1:9\nNodeName=web1\nBufEvtPath={tmp_path}/buffer\nLogSources={tmp_path}/app.log\n"
        "FormatFile=adapter.fmt\nPollInterval=0.1\n"
    )
    found = Agent("adapter", conf=conf, user=getpass.getuser(), stop_timeout=5)
    yield found
    found("stop")


@pytest.mark.acceptance
def test_an_adapter_from_start_to_stop(adapter: Agent, tmp_path: Path) -> None:
    assert adapter("validate-all") == SUCCESS, adapter.said
    assert adapter("monitor") == NOT_RUNNING
    assert adapter("start") == SUCCESS, adapter.said
    assert adapter("start") == SUCCESS
    assert adapter("monitor") == SUCCESS, adapter.said
    pid = int((tmp_path / "buffer" / "lock").read_text().split()[0])
    os.kill(pid, signal.SIGSTOP)
    assert adapter("monitor") == GENERIC and "stopped by a signal" in adapter.said
    assert adapter("stop", stop_timeout=1) == SUCCESS
    assert adapter("monitor") == NOT_RUNNING and openers(tmp_path) == []
    assert adapter("stop") == SUCCESS


@pytest.mark.acceptance
def test_an_adapter_that_cannot_be_started_here(adapter: Agent, tmp_path: Path) -> None:
    assert adapter("validate-all", conf="adapter.conf") == CONFIGURED
    assert adapter("validate-all", kind="syslog") == CONFIGURED
    assert adapter("validate-all", probe_timeout="x") == CONFIGURED
    assert adapter("start", conf=tmp_path / "nowhere.conf") == INSTALLED and "nowhere.conf is not there" in adapter.said
    (tmp_path / "adapter.conf").write_text("PolInterval=1\n")
    assert adapter("validate-all") == CONFIGURED and "PollInterval" in adapter.said
    assert adapter("start") == CONFIGURED
    assert adapter("monitor") == NOT_RUNNING


@pytest.mark.acceptance
def test_what_runs_is_found_however_it_is_asked_for(adapter: Agent, tmp_path: Path) -> None:
    """Not running is said only when that is certain: else a second one would start, and a stop would end nothing."""
    assert adapter("start") == SUCCESS, adapter.said
    odd = f"/{tmp_path}/.//./adapter.conf"
    assert adapter("monitor", conf=odd) == SUCCESS, adapter.said
    # its name cannot be looked up for a moment
    assert adapter("monitor", user="nobody-of-that-name") == GENERIC
    assert adapter("stop", user="nobody-of-that-name", conf=odd) == SUCCESS
    assert adapter("monitor") == NOT_RUNNING and openers(tmp_path) == []


# -- what the cluster manager's own tester says -----------------------------------------------------------------------


def _ocf_tester(agent: Agent) -> None:
    tester = shutil.which("ocf-tester", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if tester is None or shutil.which("xmllint") is None:
        pytest.skip("ocf-tester (package resource-agents) or xmllint is not installed")
    options = [word for name, value in agent.parameters.items() for word in ("-o", f"{name}={value}")]
    command = [tester, "-n", "test", *options, str(agent.program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed all tests" in done.stdout


@pytest.mark.acceptance
@pytest.mark.skipif(os.geteuid() != 0, reason="ocf-tester is for root")
def test_ocf_tester_accepts_the_server(cluster: Cluster) -> None:
    _ocf_tester(agent_of(cluster))
    assert cluster.left() == []


@pytest.mark.acceptance
@pytest.mark.skipif(os.geteuid() != 0, reason="ocf-tester is for root")
def test_ocf_tester_accepts_the_adapter(adapter: Agent) -> None:
    assert TEC.exists()
    _ocf_tester(adapter)
