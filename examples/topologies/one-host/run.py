"""One host, two server processes, one directory: a death, a hang and a planned move, and the gap of each."""

import signal
import sys
import time
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "redbook"))

import interpreter  # noqa: F401
from stage import Stage, perform, wait, wait_acknowledged

from tests.faults.client import Load

TTL = 3.0  # seconds, of the heartbeat `normal`


def main() -> int:
    return perform("one host", play)


def play(stage: Stage) -> int:
    stage.say("two nodes on one host share a directory; black serves, brown stands by")
    server = stage.server()
    for node in ("black", "brown"):
        stage.run(server, "tec", "start", node=node)
    sender = server.sender()
    with Load([sender]) as load:
        wait_acknowledged(sender)
        begun = time.monotonic()
        stage.say(f"death: kill -9 of the {server.signal('black', signal.SIGKILL)} processes of black")
        server.wait_for("brown", "up")
        wait_acknowledged(sender)
        death = sender.longest_gap(begun, time.monotonic())
        stage.say("brown serves; black is started again and stands by")
        stage.run(server, "tec", "start", node="black")
        server.wait_for("black", "standby")

        begun = time.monotonic()
        stage.say("planned move")
        stage.run(server, "tec", "switch", node="brown")
        server.wait_for("black", "up")
        wait_acknowledged(sender)
        move = sender.longest_gap(begun, time.monotonic())
        server.wait_for("brown", "standby")

        begun = time.monotonic()
        stage.say(
            f"hang: SIGSTOP to the {server.signal('black', signal.SIGSTOP)} processes of black; its port still accepts"
        )
        try:
            server.wait_for("brown", "up")
            wait_acknowledged(sender)
            hang = sender.longest_gap(begun, time.monotonic())
        finally:
            server.signal("black", signal.SIGCONT)
        stage.say("black wakes up and must give way: it stands by, or was ended because it held the database")
        server.gave_way("black")
        if not load.finish():
            stage.check(f"the sender is done: {sender.trouble}", False)
    server.wait_idle()
    lost, doubled = server.sums(sender.acked)
    stage.gap("death", death, 1.0)
    stage.gap("planned move", move, 0.5)
    stage.gap("hang", hang, TTL + 1)
    stage.check("the hang was no shorter than the time to live less one beat", hang > TTL - 0.6)
    stage.check(f"{sender.acked} test events were acknowledged: {lost} lost, {doubled} doubled", not lost + doubled)
    wait("three notices", lambda: len(server.events("TEC_Failover")) > 2)
    notices = server.events("TEC_Failover")
    stage.check(f"one notice for each: {len(notices)}", len(notices) == 3)
    stage.show(*notices)
    server.stop()
    return stage.verdict("a death, a planned move and a hang; nothing was lost, nothing doubled")


if __name__ == "__main__":
    sys.exit(main())
