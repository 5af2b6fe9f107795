"""Redbook 4.7.2.2: two logfile adapters in mutual takeover tail one log; each line once, and the book's duplicates."""

import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))

import interpreter  # noqa: F401
from stage import Adapter, Server, Stage, perform, wait

LINES = 100  # in each half
LINE = "Mar  1 08:00:00 black su[{0}]: FAILED SU (to root) {1}{0} on pts/1\n"


def main() -> int:
    return perform("mutual takeover of adapters", play)


def play(stage: Stage) -> int:
    stage.say("black and brown share one su.log and the server; each has an adapter with its own BufEvtPath")
    server = stage.server()
    for node in ("black", "brown"):
        server.start(node)
    log, pair = adapters(stage, server, "once", FileScope="shared_logs")
    stage.show("FileScope=shared_logs    in both configurations: a line is the same line, whoever reads it")
    pair[0].start("tec")
    pair[1].start("tmr")
    write(log, "once", 0)
    read(pair, LINES)
    stage.say(
        "black dies, server and adapter (kill -9); brown takes over the server, and black's adapter beside its own"
    )
    server.signal("black", signal.SIGKILL)
    pair[0].kill()
    write(log, "once", LINES)
    server.wait_for("brown", "up")
    pair[0].start("tec", "--adopt")
    read(pair, 2 * LINES)
    finish(pair)

    stage.say("the same two adapters on brown without FileScope: each names the log after itself, as in the redbook")
    alone(stage, server, "counted")
    stage.say("and once more without the rule set that counts what comes again")
    stage.run(server, "tec", "rulebase", "deactivate-rule", "duplicates", "rules")
    stage.run(server, "tec", "rulebase", "load", "rules")
    alone(stage, server, "twice")
    server.wait_idle()
    shared, counted, apart = (became(server, name) for name in ("once", "counted", "twice"))
    stage.show("", "                              lines   received   stored   counted as repetitions")
    for name, lines, found in (
        ("one identity", 2 * LINES, shared),
        ("each its own", LINES, counted),
        ("the same, not counted", LINES, apart),
    ):
        stage.show(f"{name:27} {lines:7}  {received(found):8} {found['STORED']:8} {found['DROPPED']:12}")
    stage.show("")
    stage.check(
        "one identity: each line is one event, read by two adapters and with a takeover",
        shared == {"STORED": 2 * LINES},
    )
    stage.check(
        "each its own: each line is received twice; the rules store one and count the other",
        counted == {"STORED": LINES, "DROPPED": LINES},
    )
    stage.check("without that rule: each line is stored twice, as in 4.7.2.2", apart == {"STORED": 2 * LINES})
    server.stop()
    return stage.verdict(
        f"{2 * LINES} lines, {shared['STORED']} events; without one identity {LINES} lines, {received(counted)} "
        f"received, {counted['STORED']} stored, and {apart['STORED']} stored where no rule counts duplicates"
    )


def alone(stage: Stage, server: Server, name: str) -> None:
    """Two adapters without one identity read a log to its end."""
    log, pair = adapters(stage, server, name)
    pair[0].start("tec")
    pair[1].start("tmr")
    write(log, name, 0)
    read(pair, LINES)
    finish(pair)
    server.wait_idle()


def adapters(stage: Stage, server: Server, name: str, **more: object) -> tuple[Path, tuple[Adapter, Adapter]]:
    """A new log, and two adapters that tail it."""
    log = stage.folder / f"su-{name}.log"
    first, second = (stage.adapter(f"{one}-{name}", server.addresses, log, **more) for one in ("tec", "tmr"))
    return log, (first, second)


def write(log: Path, name: str, after: int) -> None:
    with log.open("a") as file:
        file.write("".join(LINE.format(number, name) for number in range(after + 1, after + LINES + 1)))


def read(pair: Sequence[Adapter], lines: int) -> None:
    """Wait until each adapter has read so many lines; else the test would show nothing."""

    def have() -> bool:
        for one in pair:
            one.check()
        return all(one.lines == lines for one in pair)

    wait(f"both adapters read {lines} lines", have)


def finish(pair: Sequence[Adapter]) -> None:
    """All that was read is acknowledged, and both adapters have ended."""
    for one, node in zip(pair, ("tec", "tmr"), strict=True):
        one.close()
        one.drain(node)


def received(found: Counter[str]) -> int:
    """Events that the server took in; one that it refuses is none."""
    return found["STORED"] + found["DROPPED"]


def became(server: Server, name: str) -> Counter[str]:
    """What became of the events of one log, each disposition that there is."""
    found: Counter[str] = Counter()
    for record in server.records():
        if record["class"] == "Su_Failure" and record["from_user"].startswith(name):
            found[record["disposition"]] += 1
    return found


if __name__ == "__main__":
    sys.exit(main())
