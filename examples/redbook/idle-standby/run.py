"""Redbook 4.5: the TEC server in an idle standby cluster, verified before and after black is lost."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))

import interpreter  # noqa: F401
from stage import Adapter, Server, Stage, perform, wait, wait_acknowledged

from opentec.commands.processes import PROCESSES
from tests.faults.client import Load

SU = "Mar  1 08:00:{0:02} black su[{1}]: FAILED SU (to root) intruder{0} on pts/1\n"
NT = {"EventID": 7034, "SourceName": "Service Control Manager", "Channel": "System", "Hostname": "pooh"}


def main() -> int:
    return perform("idle standby", play)


def play(stage: Stage) -> int:
    stage.say("black and brown share a disk with the server's directory: black serves, brown is the idle standby")
    server = stage.server()
    for node in ("black", "brown"):
        stage.run(server, "tec", "start", node=node)
    stage.say("black has a logfile adapter, its BufEvtPath on the shared disk too (step 13); pooh an NT adapter (14)")
    su, nt = stage.folder / "su.log", stage.folder / "pooh.jsonl"
    adapters = (
        stage.adapter("adapter", server.addresses, su, NodeName="black"),
        stage.adapter("pooh", server.addresses, nt, nt=True, NodeName="pooh"),
    )
    adapters[0].start("black")
    adapters[1].start("pooh")
    sender = server.sender()
    with Load([sender]) as load:
        wait_acknowledged(sender)
        stage.say("the verification of 4.5.2.2, before the failover")
        verify(stage, server, "black", adapters, su, nt, 1)
        begun = time.monotonic()
        number = server.signal("black", signal.SIGKILL)
        adapters[0].kill()
        stage.say(f"step 16: black dies: kill -9 of its {number} processes, and of its adapter")
        server.wait_for("brown", "up")
        wait_acknowledged(sender)
        seconds = sender.longest_gap(begun, time.monotonic())
        stage.say("brown serves; the cluster manager starts black's adapter there, and the same steps again:")
        adapters[0].start("black", "--adopt")
        verify(stage, server, "brown", adapters, su, nt, 2)
        if not load.finish():
            stage.check(f"the sender is done: {sender.trouble}", False)
    server.wait_idle()
    lost, doubled = server.sums(sender.acked)
    stage.gap("failover", seconds, 1.0)
    stage.check(
        f"{sender.acked} test events were acknowledged meanwhile: {lost} lost, {doubled} doubled", not lost + doubled
    )
    notices = server.events("TEC_Failover")
    stage.check(f"one notice says what happened: {notices[0] if notices else 'none'}", len(notices) == 1)
    stage.say("the redbook had to stop the server three times (4.5.4); once is enough, and more is harmless")
    for _ in range(3):
        stage.run(server, "wstopesvr", node="brown")
    stage.check("no process is left", not server.of("black") and not server.of("brown"))
    return stage.verdict("steps 10, 11 and 15 hold before and after the failover; nothing was lost, nothing doubled")


def verify(
    stage: Stage, server: Server, node: str, adapters: tuple[Adapter, ...], su: Path, nt: Path, turn: int
) -> None:
    """Steps 10, 11 and 15 of 4.5.2.2, the `turn`-th time."""
    found = server.of(node)
    stage.show(f"{node}$ ps -ef | grep tec_", *(f"{pid:7} {name}" for name, pid in found.items()))
    stage.check(f"step 10: five processes on {node}", tuple(found) == PROCESSES)
    message = f"Test_Event of round {turn}"
    stage.run(server, "wpostemsg", "-m", message, "TEC_Notice", node)
    arrived(stage, server, "step 10: the test event is in the repository", "TEC_Notice", message)

    program = subprocess.Popen(["sleep", "300"])
    stage.show("pooh: framemaker.exe is killed; the monitor, which looks for it, finds none")
    program.kill()
    program.wait()
    message = f"framemaker.exe is not running ({turn})"
    stage.run(server, "wpostemsg", "-r", "MINOR", "-m", message, "hostname=pooh", "TEC_Notice", "monitor", node="pooh")
    arrived(stage, server, "step 11: the monitor's event is in the repository", "TEC_Notice", message)

    with su.open("a") as log:
        log.write(SU.format(turn, 800 + turn))
    with nt.open("a") as log:
        log.write(json.dumps({**NT, "EventType": "ERROR", "param1": f"Spooler{turn}", "param2": "1"}) + "\n")
    for adapter in adapters:
        adapter.check()
    arrived(stage, server, f"step 15: the logfile adapter on {node} sends", "Su_Failure", f"intruder{turn}")
    arrived(stage, server, "step 15: the NT adapter on pooh sends", "NT_Service_Failed", f"Spooler{turn}")


def arrived(stage: Stage, server: Server, what: str, class_name: str, part: str) -> None:
    found = wait(f"an event {class_name} with {part!r}", lambda: server.events(class_name, part))
    stage.check(f"{what}: {found[0]}", len(found) == 1)


if __name__ == "__main__":
    sys.exit(main())
