"""Redbook 4.5.2.2 step 13: BufEvtPath on the shared disk; a node dies with a full buffer, the other one sends it."""

import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))

import interpreter  # noqa: F401
from stage import Adapter, Stage, perform, wait

from opentec.eif.buffer import DiskBuffer

LINES = 3000
SIZE = 256  # KB, the least that an adapter takes; a third of what the lines need
LINE = "Mar  1 08:00:00 black CRON[{0}]: (user{0}) CMD (/opt/shop/bin/expire-carts)\n"


def main() -> int:
    return perform("adapter failover", play)


def play(stage: Stage) -> int:
    server = stage.server()
    log = stage.folder / "cron.log"
    adapter = stage.adapter("shared-disk", server.addresses, log, BufEvtMaxSize=SIZE)
    stage.say(f"black's adapter tails a log of {LINES} lines; BufEvtPath is on the shared disk, and no server runs")
    log.write_text("".join(LINE.format(number) for number in range(1, LINES + 1)))
    adapter.start("logs")
    wait("the buffer is full", lambda: is_full(adapter))
    adapter.kill()
    with DiskBuffer(adapter.folder / "buffer") as buffer:
        waiting = buffer.pending
    stage.say(f"kill -9: black is dead. {waiting} events are in the buffer, {LINES - waiting} lines still in the log")
    stage.check("the buffer was full, and did not hold all", 0 < waiting < LINES)
    stage.say("the disk moves to brown, and a server starts")
    server.start("black")
    stage.show("brown$ tecad_logfile -c tecad_logfile.conf --node logs --adopt --once")
    adapter.drain("logs", "--adopt")
    server.wait_idle()
    times = Counter(record["user"] for record in server.records() if record["class"] == "Cron_Job")
    lost = sum(not times[f"user{number}"] for number in range(1, LINES + 1))
    doubled = sum(count > 1 for count in times.values())
    stage.check(
        f"{LINES} lines, {times.total()} events in the log of the server: {lost} lost, {doubled} doubled",
        not lost + doubled,
    )
    server.stop()
    return stage.verdict(f"{waiting} buffered events were sent by the other node; each of {LINES} lines is one event")


def is_full(adapter: Adapter) -> bool:
    """Whether the buffer has nearly reached its size, and does not grow."""
    adapter.check()
    before = adapter.buffered
    time.sleep(0.5)  # five polls
    return before == adapter.buffered > 0.9 * SIZE * 1024


if __name__ == "__main__":
    sys.exit(main())
