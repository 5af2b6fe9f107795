"""Two nodes on a cluster file system: the configuration is checked, and run as far as one host can run it.

`run.py DIR` takes a folder in DIR, which may lie on a cluster file system; without DIR it is a temporary folder.
"""

import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "redbook"))

import interpreter  # noqa: F401
from stage import DemoFailed, Stage, perform, wait_acknowledged

from tests.faults.client import Load

HERE = Path(__file__).resolve().parent
CLUSTERED = ("gfs2", "ocfs2")


def main() -> int:
    return perform("cluster file system", play)


def play(stage: Stage) -> int:
    parent = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else stage.folder
    if not parent.is_dir():
        raise DemoFailed(f"{parent} is no folder; name one on the cluster file system, or none")
    if parent == stage.folder:
        server = stage.server()
    else:
        holder = tempfile.TemporaryDirectory(prefix="tec-trial.", dir=parent)
        stage.at_the_end(holder.cleanup)
        server = stage.server(directory=Path(holder.name) / "tec")
    kind = file_system(server.directory)
    stage.say(
        f"the directory of the server lies on {kind}"
        + ("" if kind in CLUSTERED else ", which is no cluster file system")
    )

    config = server.directory / "tec_server.toml"
    text = (HERE / "tec_server.toml").read_text()
    for node, port in server.ports.items():
        text = re.sub(rf'(\[nodes\.{node}\]\nlisten = )".*"', rf'\1"127.0.0.1:{port}"', text)
    local = stage.folder / "local-disk"
    local.mkdir()
    config.write_text(text.replace("/var/lib/opentec", str(local)))
    stage.say("tec_server.toml of this folder, with addresses and local disk of this host")
    stage.run(server, "tec", "config", "check", node="black")
    for node in ("black", "brown"):
        stage.run(server, "tec", "start", node=node)
    sender = server.sender()
    with Load([sender]) as load:
        wait_acknowledged(sender)
        begun = time.monotonic()
        stage.say(f"kill -9 of the {server.signal('black', signal.SIGKILL)} processes of black")
        server.wait_for("brown", "up")
        wait_acknowledged(sender)
        death = sender.longest_gap(begun, time.monotonic())
        if not load.finish():
            stage.check(f"the sender is done: {sender.trouble}", False)
    server.wait_idle()
    lost, doubled = server.sums(sender.acked)
    stage.gap("death of the server, not of its host", death, 1.0)
    stage.check(f"{sender.acked} test events were acknowledged: {lost} lost, {doubled} doubled", not lost + doubled)
    server.stop()
    stage.show(
        "",
        "tested     this configuration; takeover between two nodes of ONE host; fence_command with a lease that names",
        "           another host (tests/faults/test_guards.py)",
        "UNTESTED   two hosts: locks, links and shared memory of SQLite through GFS2 or OCFS2, the death of a host,",
        "           and how long the file system stands still then",
    )
    return stage.verdict("the configuration is good and runs on one host; two hosts are UNTESTED")


def file_system(path: Path) -> str:
    """The type of the file system that a path lies on."""
    done = subprocess.run(["stat", "-f", "-c", "%T", str(path)], text=True, capture_output=True, timeout=10)
    return done.stdout.strip() or "an unknown file system"


if __name__ == "__main__":
    sys.exit(main())
