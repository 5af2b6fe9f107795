"""A log that grows, two nodes, a kill and a hang; and at the end every line is counted. `make demo` runs it.

Exit status 0: nothing was lost, nothing was doubled, all sums balance, and every epoch that opened its port posted its
notice. 1: one of these does not hold, 2: the demo could not be run to its end. Everything it starts it ends.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(1, str(ROOT))  # the fault tests' sender and log reader, which share no code with the server

from count import Fault, Sums, Tale, as_json, count, table  # noqa: E402
from nodes import ENDING, NODES, PATIENCE, Demo, DemoFailed  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from samplelog import repeated, sample  # noqa: E402
from show import Screen  # noqa: E402
from writer import Writer  # noqa: E402

from tests.faults.client import Load, Sender  # noqa: E402

LINES: Final = 20_000
LIMIT: Final = 1_000_000  # lines of a log that are taken
SECONDS: Final = 26.0  # in which the log grows
SHORTEST: Final = 12.0
HANG: Final = 3.0  # seconds of SIGSTOP; the time-to-live of the fast lease is 1 s
RATE: Final = 50.0  # heartbeats a second, by which the service is measured
NAMED: Final = 10  # of each kind of trouble that are printed


def main() -> int:
    arguments = _arguments()
    folder: Path = arguments.dir
    console = Console()
    if not console.is_terminal:
        console.width = 130
    try:
        if arguments.recount:
            tale = Tale.load(folder)
            sums = count(folder, tale)
        else:
            tale = play(folder, arguments.log, arguments.lines, console)
            sums = count(folder, tale)
    except DemoFailed as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"demo: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("demo: interrupted; everything it had started was ended", file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(as_json(sums, tale)))
    else:
        _print(sums, tale, folder, console)
    return 0 if sums.good else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="tail a log of yours, repeated to --lines lines, instead of the sample"
    )
    parser.add_argument(
        "--lines",
        type=int,
        default=LINES,
        metavar="N",
        help=f"how many lines the log grows by, at least (default {LINES})",
    )
    parser.add_argument(
        "--dir", type=Path, default=ROOT / "demo-run", metavar="DIR", help="where it works (default demo-run)"
    )
    parser.add_argument("--recount", action="store_true", help="only count again what an earlier demo left in --dir")
    parser.add_argument("--json", action="store_true", help="print the numbers as one JSON object")
    arguments = parser.parse_args()
    if not 100 <= arguments.lines <= LIMIT:
        parser.error(f"--lines {arguments.lines}: from 100 to {LIMIT}")
    return arguments


# -- the story --------------------------------------------------------------------------------------------------------


def play(folder: Path, log: Path | None, lines: int, console: Console) -> Tale:
    """Run it all; gives what only the one who ran it can say. Raises DemoFailed, OSError."""
    text, problems = _text(log, lines)
    tale = Tale(written=len(text), problems=problems, probe="", probe_acked=0)
    with _clean_end(folder) as demo, Screen(demo, console) as screen:
        if log is not None and len(text) == LIMIT:
            screen.say(f"{log} has more than {LIMIT:,} lines: the first {LIMIT:,} are taken")
        screen.say("`tec init` makes a server of two nodes that share one directory; both start")
        demo.make()
        demo.start("black")
        demo.start("brown")
        screen.say("black serves, brown stands by; an adapter tails a log, and a heartbeat sender watches the service")
        probe = Sender(
            [("127.0.0.1", port) for port in demo.ports.values()],
            lambda number: "TEC_Heartbeat;hostname='demo';interval=60;END",
            name="heartbeat",
            rate=RATE,
        )
        screen.without_service = lambda: time.monotonic() - probe.acks[-1][0] if probe.acks else 0.0
        seconds = max(SHORTEST, SECONDS * min(1.0, len(text) / LINES))
        writer = screen.writer = Writer(demo.log, text, seconds)
        with Load([probe]) as load, contextlib.closing(_Stopping(writer)):
            demo.start_adapter()
            writer.start()
            _faults(demo, screen, writer, probe, tale)
            _finish(demo, screen, writer, load)
            tale.probe, tale.probe_acked = probe.uuid.hex(), probe.acked
            if probe.violations:
                raise DemoFailed("the server broke its promise to the heartbeat sender: " + "; ".join(probe.violations))
        screen.say("`tec stop` ends both nodes; now every line is counted")
        demo.stop()
    tale.save(folder)
    return tale


def _text(log: Path | None, lines: int) -> tuple[list[bytes], int | None]:
    """What the log will say, and how many problems recover in it, where that is known."""
    if log is None:
        made = sample(lines)
        return made.lines, made.problems
    found: list[bytes] = []
    with log.open("rb") as file:
        for line in file:
            found.append(line.removesuffix(b"\n"))
            if len(found) == LIMIT:
                break
    if not found:
        raise DemoFailed(f"{log} is empty; --log wants a log with lines in it")
    return list(repeated(found, lines)), None


def _faults(demo: Demo, screen: Screen, writer: Writer, probe: Sender, tale: Tale) -> None:
    black, brown = NODES
    writer.hold = 0.5
    _until(demo, writer, 0.25)
    while not demo.positions():  # on a busy machine the adapter may not have begun
        demo.check_adapter()
        time.sleep(0.05)
    begun = time.monotonic()
    screen.faults[black] = "killed"
    number = demo.signal(black, signal.SIGKILL)
    screen.say(f"SIGKILL: all {number} processes of {black} are gone in mid-stream; the adapter buffers what it reads")
    _takeover(demo, probe, brown, begun)
    tale.faults.append(Fault("SIGKILL", black, brown, probe.longest_gap(begun, time.monotonic())))
    screen.say(
        f"{brown} has sealed the log and serves after {tale.faults[-1].gap:.2f} s; {black} is started again, as standby"
    )
    demo.start(black)
    del screen.faults[black]
    demo.wait_for(black, "standby")
    writer.hold = 0.9
    _until(demo, writer, 0.6)
    begun = time.monotonic()
    screen.faults[brown] = "stopped by SIGSTOP"
    number = demo.signal(brown, signal.SIGSTOP)
    screen.say(
        f"SIGSTOP: all {number} processes of {brown} hang, its port still accepts connections and nobody answers"
    )
    try:
        _takeover(demo, probe, black, begun)
        tale.faults.append(Fault("SIGSTOP", brown, black, probe.longest_gap(begun, time.monotonic())))
        screen.say(f"{black} has taken over after {tale.faults[-1].gap:.2f} s")
        time.sleep(max(0.0, begun + HANG - time.monotonic()))
    finally:
        demo.signal(brown, signal.SIGCONT)
    del screen.faults[brown]
    screen.say(f"SIGCONT: what is left of {brown} wakes up and thinks that it serves; it must give way")
    if demo.gave_way(brown):
        screen.say(f"{brown} saw the newer epoch, wrote nothing, and stands by")
    else:
        # it was stopped within a transaction; nobody else could have written
        screen.say(
            f"{brown} had hung with the lock of the database, so {black} ended it; it is started again, as standby"
        )
        demo.start(brown)
        demo.wait_for(brown, "standby")
    writer.hold = 1.0


def _until(demo: Demo, writer: Writer, share: float) -> None:
    while writer.share < share:
        demo.check_adapter()
        if writer.fault is not None:
            raise writer.fault
        time.sleep(0.02)


def _takeover(demo: Demo, probe: Sender, node: str, begun: float) -> None:
    """Wait until the heartbeat is acknowledged again, by `node`."""
    demo.wait_for(node, "up")
    end = time.monotonic() + PATIENCE
    while probe.epochs[-1] != demo.newest_epoch() or probe.acks[-1][0] < begun:
        if time.monotonic() > end:
            raise DemoFailed(f"no acknowledgement from {node} within {PATIENCE:.0f} s: {probe.trouble}")
        time.sleep(0.02)
    time.sleep(0.5)  # the first events after a takeover belong to the picture


def _finish(demo: Demo, screen: Screen, writer: Writer, load: Load) -> None:
    while writer.is_alive():
        demo.check_adapter()
        time.sleep(0.05)
    if writer.fault is not None:
        raise writer.fault
    screen.say("the log has reached its end; the adapter sends what is left in its buffer")
    demo.drain_adapter()
    if not load.finish(PATIENCE):
        raise DemoFailed(f"the heartbeat sender waits for an acknowledgement: {load.senders[0].trouble}")
    screen.say("the server works off what is in its reception log")
    end = time.monotonic() + PATIENCE
    while not demo.is_idle():
        if time.monotonic() > end:
            raise DemoFailed(f"events still wait after {PATIENCE:.0f} s; `tec status -d {demo.directory}` says more")
        time.sleep(0.1)


class _Stopping:
    def __init__(self, writer: Writer) -> None:
        self.close = writer.stop


@contextlib.contextmanager
def _clean_end(folder: Path) -> Iterator[Demo]:
    """A demo of which nothing runs afterwards, whatever happened, Ctrl-C and SIGTERM included."""

    def interrupted(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    demo = Demo(folder)
    handlers = {number: signal.signal(number, interrupted) for number in ENDING}
    try:
        yield demo
    finally:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)
        try:
            demo.close()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


# -- the end ----------------------------------------------------------------------------------------------------------


def _print(sums: Sums, tale: Tale, folder: Path, console: Console) -> None:
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    shown.add_column("what became of the log")
    shown.add_column("", justify="right")
    shown.add_column("", style="dim")
    for row in table(sums, tale):
        style = "bold red" if row[0] in ("lost", "doubled") and row[1] != "0" else ""
        shown.add_row(*row, style=style)
    console.print(shown)
    for title, found in (("lost", sums.lost), ("doubled", sums.doubled), ("does not balance", sums.problems)):
        for item in found[:NAMED]:
            console.print(f"{title}: {item}", style="red", highlight=False, markup=False)
        if len(found) > NAMED:
            console.print(f"{title}: and {len(found) - NAMED} more", style="red", highlight=False)
    directory, tec = _short(folder / "tec"), _short(Path(sys.executable).with_name("tec"))
    verdict = (
        "Every line is accounted for: nothing lost, nothing doubled."
        if sums.good
        else "It does NOT balance: see above."
    )
    gaps = " and ".join(f"{fault.gap:.1f} s" for fault in tale.faults)
    console.print(
        f"""
Two nodes shared one directory. One was killed, the other hung; the standby took over, after {gaps}.
{verdict}
  {tec} list -d {directory} --severity MINOR     the problems that are left; without --severity everything
  {tec} why -d {directory} EVENT                 which rules made an event what it is; its key stands first in the list
  {tec} log -d {directory}                       the reception log: one order for everything, with what became of it""",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _short(path: Path) -> Path:
    with contextlib.suppress(ValueError):
        return path.absolute().relative_to(Path.cwd())
    return path.absolute()


if __name__ == "__main__":
    sys.exit(main())
