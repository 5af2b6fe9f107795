"""One replay from the command line: with a bar on a terminal, in a folder of its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentec.commands.cli import Failure, Status, say, say_json, visible, warn

if TYPE_CHECKING:
    from opentec.commands.replay_scratch import Scratch
    from opentec.rules.rulebase import RuleBase
    from opentec.server.instance import Instance
    from opentec.testing.replay import Explain
    from opentec.testing.replay_log import Recording
    from opentec.testing.replay_tally import Tally


def run_one(
    recording: Recording,
    scratch: Scratch,
    load: Callable[[str], RuleBase],
    given: RuleBase | None,
    explain: Explain,
    side: str = "",
) -> Tally:
    """One replay to its end; how fast it was goes to standard error. `side` says which one of two it is."""
    from opentec.testing.replay import Replay

    one = Replay(recording, scratch, load, given, explain)
    started = time.monotonic()

    def speed() -> str:
        return f"{one.tally.total / max(time.monotonic() - started, 0.001):.0f} a second"

    with _bar(f"replay {side}".rstrip(), recording.size, speed) as advance:
        for size in one.run():
            advance(size)
    took = time.monotonic() - started
    warn(f"tec replay: {one.tally.name}: {one.tally.total} records in {took:.1f} s, {speed()}")
    return one.tally


@contextmanager
def _bar(name: str, size: int, speed: Callable[[], str]) -> Iterator[Callable[[int], None]]:
    """A bar on standard error where that is a terminal, with the speed so far; nothing elsewhere."""
    if not is_terminal():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=size, speed="")
        yield lambda done: progress.update(task, advance=done, speed=speed())


def is_terminal() -> bool:
    """Whether a person watches standard error."""
    return sys.stderr.isatty()


def work_folder(stack: ExitStack) -> Path:
    """A folder for scratch repositories, deleted when the stack ends, also where a signal ends the process."""
    import signal
    import tempfile

    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    stack.callback(signal.signal, signal.SIGTERM, before)
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tec-replay-")))


def instance_of(log: Path) -> Instance | None:
    """The instance of this directory, None where it is none."""
    from opentec.server.instance import CONFIG_NAME, Instance

    return Instance(log) if (log / CONFIG_NAME).is_file() else None


def recorded(instance: Instance | None, log: Path) -> Callable[[str], RuleBase]:
    """Gives rule bases that ruled, from the snapshots of the instance."""
    from opentec.rules.rulebase import load_compiled

    def load(content_hash: str) -> RuleBase:
        if instance is None:
            raise Failure(
                f"{log} is no instance directory: the rule bases that ruled then are not there; give one with --rules",
                Status.USAGE,
            )
        return load_compiled(instance.rule_bases, content_hash)

    return load


def print_object(json: bool, data: dict[str, Any], lines: Iterable[str]) -> None:
    """The object, or the lines for people."""
    if json:
        say_json(data)
    else:
        print_lines(lines)


def print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        say(visible(line))
