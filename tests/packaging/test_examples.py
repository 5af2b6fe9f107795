"""The examples for Pacemaker, keepalived and Kubernetes: what can be checked here of what cannot be run here.

That their probe lines say the right thing of a real pair is in tests/acceptance/test_probe_lines.py.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from opentec.commands.main import build
from tests.faults.harness import ROOT
from tests.packaging import crm
from tests.packaging.probes import KEEPALIVED, KUBERNETES, container, keepalived_line, manifests

PACKAGING = ROOT / "packaging"
TEC = Path(sys.executable).parent / "tec"
EXAMPLES = sorted((PACKAGING / "pacemaker").glob("*.crm"))


def known_options(command: str) -> set[str]:
    app = typer.main.get_command(build([command]))
    command_object = app.commands[command]  # type: ignore[attr-defined]
    return {option for parameter in command_object.params for option in parameter.opts}


def check_command(words: list[str]) -> None:
    """A command line of an example is one that `tec` would take."""
    assert Path(words[0]).name == "tec"
    unknown = [word for word in words[2:] if word.startswith("-")]
    assert set(unknown) <= known_options(words[1]), words


# -- Pacemaker --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_parameters_are_those_of_the_agents(example: Path) -> None:
    text = re.sub(r"\\\n\s*", " ", example.read_text())
    for name, line in re.findall(r"^primitive \S+ ocf:opentec:(\w+) (.*)$", text, flags=re.MULTILINE):
        agent = (PACKAGING / "ocf" / name).read_text()
        given = re.search(r"params (.*?) op ", line)
        assert given is not None
        assert set(re.findall(r"(\w+)=", given[1])) <= set(re.findall(r'<parameter name="(\w+)"', agent))
        advised = dict(re.findall(r'<action name="(\w+)" timeout="(\d+)s"', agent))
        for action, timeout in re.findall(r"op (\w+) (?:interval=\w+ )?timeout=(\d+)s", line):
            assert int(timeout) >= int(advised[action]), f"{name} {action}"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_no_example_goes_without_fencing(example: Path) -> None:
    text = example.read_text()
    assert "stonith-enabled=true" in text and "fencing_topology" in text and "stonith-enabled=false" not in text


class TestCrmsh:
    pytestmark = crm.needed

    @pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
    def test_crmsh_takes_the_example(self, tmp_path: Path, example: Path) -> None:
        done = crm.load(tmp_path, example.read_text())
        assert done.returncode == 0 and "ERROR" not in done.stdout + done.stderr, done.stdout + done.stderr
        assert 'provider="opentec"' in (tmp_path / "cib.xml").read_text()

    @pytest.mark.parametrize(
        ("name", "found"),
        [
            ("opentec.crm", ['attribute="pingd"', 'hours="1-4"', 'name="priority-fencing-delay"', 'name="priority"']),
            ("standby.crm", ['attribute="pingd"', 'name="pcmk_delay_max"']),
        ],
    )
    def test_crmsh_takes_its_optional_parts(self, tmp_path: Path, name: str, found: list[str]) -> None:
        """What is commented, and what the last comment of each advises."""
        text = crm.with_optional_parts((PACKAGING / "pacemaker" / name).read_text())
        if name == "opentec.crm":
            text = text.replace("dc-deadtime=5s", "dc-deadtime=5s priority-fencing-delay=3s")
            text = re.sub(r"^(group .*)$", r"\1 meta priority=10", text, flags=re.MULTILINE)
        else:
            text = text.replace("lanplus=1", "lanplus=1 pcmk_delay_max=5s")
        done = crm.load(tmp_path, text)
        assert done.returncode == 0 and "ERROR" not in done.stdout + done.stderr, done.stdout + done.stderr
        cib = (tmp_path / "cib.xml").read_text()
        assert [part for part in found if part not in cib] == []

    def test_crmsh_would_say_what_is_wrong(self, tmp_path: Path) -> None:
        done = crm.load(tmp_path, EXAMPLES[0].read_text().replace("params instance=", "params instances="))
        assert done.returncode or "ERROR" in done.stdout + done.stderr


# -- keepalived -------------------------------------------------------------------------------------------------------


def test_keepalived_asks_what_tec_knows_and_says_that_it_does_not_fence() -> None:
    words = keepalived_line()
    assert Path(words[0]).name == "env"
    check_command(words[2:])
    deadline, limit = float(words[words.index("--timeout") + 1]), re.search(r"^    timeout (\d+)$", KEEPALIVED, re.M)
    assert limit is not None and deadline < float(limit[1]), "it answers before it is given up"
    assert "nopreempt" in KEEPALIVED and "No fencing" in KEEPALIVED and "state MASTER" not in KEEPALIVED


@pytest.mark.skipif(shutil.which("keepalived", path=crm.SBIN) is None, reason="keepalived is not installed")
@pytest.mark.skipif(os.geteuid() != 0, reason="keepalived is for root")
def test_keepalived_understands_the_sample(tmp_path: Path) -> None:
    links = [path.name for path in Path("/sys/class/net").iterdir() if path.name != "lo"]
    if not links:
        pytest.skip("no network interface but loopback")
    text = KEEPALIVED.replace("eth0", links[0]).replace("/opt/opentec/bin/tec", str(TEC))
    text = text.replace("script_user opentec", "script_user root")  # there is no such user here

    def check(text: str) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "keepalived.conf"
        path.write_text(text)
        command = [str(shutil.which("keepalived", path=crm.SBIN)), "-t", "-f", str(path)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    done = check(text)
    assert done.returncode == 0, done.stdout + done.stderr
    assert check(text.replace("nopreempt", "nopreemt")).returncode != 0, "it would say what is wrong"


# -- Kubernetes -------------------------------------------------------------------------------------------------------


def test_one_replica_and_a_volume_for_one() -> None:
    spec = manifests()["StatefulSet"]["spec"]
    assert spec["replicas"] == 1
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"], "never SQLite on a volume that several nodes write"


def test_names_and_ports_fit_together() -> None:
    found = manifests()
    spec = found["StatefulSet"]["spec"]
    template = spec["template"]
    assert spec["selector"]["matchLabels"] == template["metadata"]["labels"] == found["Service"]["spec"]["selector"]
    assert spec["serviceName"] == found["Service"]["metadata"]["name"]
    (port,) = found["Service"]["spec"]["ports"]
    server = container()
    assert port["targetPort"] in [entry["name"] for entry in server["ports"]]
    volumes = {volume["name"] for volume in template["spec"]["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]}
    for one in (server, *template["spec"]["initContainers"]):
        assert {mount["name"] for mount in one["volumeMounts"]} <= volumes
        assert (
            one["securityContext"]["readOnlyRootFilesystem"] and not one["securityContext"]["allowPrivilegeEscalation"]
        )
    configs = [volume["configMap"]["name"] for volume in template["spec"]["volumes"] if "configMap" in volume]
    assert configs == [found["ConfigMap"]["metadata"]["name"]]


def test_probes_are_commands_of_tec_with_a_deadline_of_their_own() -> None:
    server = container()
    for name in KUBERNETES:
        probe = server[name]
        words = probe["exec"]["command"]
        check_command(words)
        assert float(words[words.index("--timeout") + 1]) < probe["timeoutSeconds"]
    live = server["livenessProbe"]
    assert "--live" in live["exec"]["command"]
    assert live["periodSeconds"] * live["failureThreshold"] > 2 * 10, "the master mends what hangs after 10 s by itself"


def test_the_configuration_is_one_that_a_server_takes(tmp_path: Path) -> None:
    directory = tmp_path / "tec"
    for command in (
        ["init", str(directory), "--name", "tec"],
        ["config", "check", "-d", str(directory)],
    ):
        done = subprocess.run([str(TEC), *command], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        (directory / "tec_server.toml").write_text(manifests()["ConfigMap"]["data"]["tec_server.toml"])
