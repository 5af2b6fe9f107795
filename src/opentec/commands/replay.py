"""`tec replay`: what a rule base makes of a recorded log, and whether that is what a server stored."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from opentec.commands.cli import Debug, Failure, Json, Status, say, say_json, visible, warn

if TYPE_CHECKING:
    from opentec.events.image import EventKey, EventRow
    from opentec.rules.batching import RuleBatch
    from opentec.rules.rulebase import RuleBase
    from opentec.server.instance import Instance
    from opentec.testing.replay import Explain
    from opentec.testing.replay_log import SegmentLog
    from opentec.testing.replay_tally import Tally


class ReplayStatus(IntEnum):
    """The exit statuses of `tec replay`; those of the other commands are in `opentec.commands.cli`."""

    SAME = 0
    DIFFERS = 1
    BROKEN = 2  # a rule base does not compile, or the log cannot be read


SAMPLES: Final = 20  # differences that are shown to people without --rule


def replay(
    log: Annotated[
        Path | None,
        typer.Option(
            metavar="LOG",
            help="Instance directory, folder of segments, or one segment.  [default: that of --verify]",
        ),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option(metavar="NEW", help="Folder of the rule base to replay.  [default: see --recorded]"),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(metavar="CURRENT", help="Folder of a rule base to compare with.  [default: none]"),
    ] = None,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Replay, or compare with, the rule bases that ruled then.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Say what differs; without --against, from the rule bases that ruled then.")
    ] = False,
    verify: Annotated[
        Path | None,
        typer.Option(metavar="INSTANCE", help="Compare with all that this stopped server stored.  [default: none]"),
    ] = None,
    event: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Tell of one event, by key or rx:EPOCH:OFFSET.  [default: none]"),
    ] = None,
    rule: Annotated[
        str | None, typer.Option(metavar="SET/RULE", help="List what one rule did, or made differ.  [default: none]")
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Feed a recorded log through rule bases, in log time. Nothing is run and nothing is sent.

    Exit status 0 done, no difference; 1 something differs; 2 a rule base does not compile, or the log cannot be read.
    """
    with _explained(json):
        if verify is not None:
            if log or rules or against or recorded or diff or event or rule:
                raise Failure(
                    "--verify takes the log and the rule bases of its instance: no other option", Status.USAGE
                )
            status = _verify(verify, json)
        else:
            status = _replay(_Wanted(log, rules, against, recorded, diff, event, rule), json)
    raise typer.Exit(status)


@contextmanager
def _explained(json: bool) -> Iterator[None]:
    """Whatever keeps a replay from its end is status 2: 1 says that something differs."""
    import sqlite3

    from opentec.events.errors import SourceErrors
    from opentec.log.errors import LogError
    from opentec.rim.errors import RepositoryError
    from opentec.rules.rulebase import RuleBaseError
    from opentec.server.errors import ServerError
    from opentec.testing.replay import ReplayError

    try:
        yield
    except SourceErrors as errors:
        for error in errors.errors:
            if json:
                place = {"file": error.file, "line": error.line, "column": error.column}
                say_json({"error": error.message, "hint": error.hint, **place})
            else:
                warn("\n".join(map(visible, str(error).split("\n"))))
        count = len(errors.errors)
        raise Failure(f"nothing was replayed: {count} error{'s' if count > 1 else ''}", Status.USAGE) from errors
    except (RuleBaseError, LogError, ReplayError, RepositoryError, ServerError, sqlite3.Error) as error:
        raise Failure(str(error), Status.USAGE) from error
    except OSError as error:
        raise Failure(f"{error.filename or 'replay'}: {error.strerror or error}", Status.USAGE) from error


class Side:
    """One rule base, or those that ruled, and what its replay came to."""

    path: Path
    tally: Tally
    report: dict[str, Any] | None = None  # of the event that is asked for
    ident: str = ""  # its identity, which is the same on both sides

    def __init__(self, name: str, rule_base: RuleBase | None) -> None:
        self.name, self.rule_base = name, rule_base


class _Wanted:
    """The command line, checked."""

    def __init__(
        self,
        log: Path | None,
        rules: Path | None,
        against: Path | None,
        recorded: bool,
        diff: bool,
        event: str | None,
        rule: str | None,
    ) -> None:
        if log is None:
            raise Failure(
                "--log names an instance directory or a folder of segments; --verify an instance", Status.USAGE
            )
        if rules is None and not recorded:
            raise Failure("say which rules: --rules FOLDER, or --recorded for those that ruled then", Status.USAGE)
        if against is not None and (rules is None or recorded):
            raise Failure("--against compares a rule base with that of --rules, and not with --recorded", Status.USAGE)
        if diff and rules is None:
            raise Failure("--diff needs --rules: a rule base to compare", Status.USAGE)
        self.log, self.rules, self.against, self.event, self.rule = log, rules, against, event, rule
        self.compares = rules is not None and (recorded or diff or against is not None)
        self.explain = _explain(event)
        if rule is not None and rule.count("/") != 1:
            raise Failure(f"--rule {rule!r}: SET/RULE, as in duplicates/count", Status.USAGE)


def _explain(event: str | None) -> Explain:
    from opentec.events.image import parse_key
    from opentec.events.records import parse_position
    from opentec.testing.replay import NOTHING, Explain

    if event is None:
        return NOTHING
    try:
        if event.startswith("rx:"):
            return Explain(position=parse_position(event))
        return Explain(second=parse_key(event)[0])
    except ValueError as error:
        raise Failure(f"--event: {error}", Status.USAGE) from error


# one or two rule bases


def _replay(wanted: _Wanted, json: bool) -> ReplayStatus:
    from opentec.rules.rulebase import load_rule_base
    from opentec.testing import replay_report as report
    from opentec.testing.replay_log import SegmentLog, describe

    # what does not compile says so before a log is read
    new = None if wanted.rules is None else load_rule_base(wanted.rules)
    old = None if wanted.against is None else load_rule_base(wanted.against)
    instance = _instance(wanted.log)
    recording = SegmentLog(wanted.log if instance is None else instance.rx)
    if said := describe(recording):
        warn(f"tec replay: {said}")
    load = _recorded(instance, wanted.log)
    with ExitStack() as stack:
        folder = _work_folder(stack)
        sides = [Side("old", old), Side("new", new)] if wanted.compares else [Side("", new)]
        for side in sides:
            side.path = folder / f"{side.name}.db"
            with Scratch(side.path) as scratch:
                side.tally = _run(recording, scratch, load, side.rule_base, wanted.explain)
                if wanted.event is not None:
                    side.report = scratch.report(wanted.event, sides[0].ident)
                    side.ident = scratch.ident
        if wanted.rule is not None and (said := report.unknown_rule(wanted.rule, [side.tally for side in sides])):
            raise Failure(said, Status.USAGE)
        if wanted.event is not None:
            _tell(wanted.event, sides, json)
        elif wanted.rule is None:
            for side in sides:
                _print(
                    json,
                    report.as_data(side.tally, side.path, side.name),
                    report.as_text(side.tally, side.path, side.name),
                )
        elif not wanted.compares:
            for firing in report.firings(side.path, wanted.rule):
                _print(json, firing, report.firing_text(firing))
        return _compare(folder, sides, wanted, json) if wanted.compares else ReplayStatus.SAME


def _compare(folder: Path, sides: list[Side], wanted: _Wanted, json: bool) -> ReplayStatus:
    from opentec.testing import replay_report as report
    from opentec.testing.replay_diff import Comparison

    old, new = sides
    samples: list[str] = []
    count = 0
    # both sides activate a rule base of their own: where the log did so, there is nothing to compare
    with Comparison(old.path, new.path, folder / "work.db", new.tally.activations) as comparison:
        for difference in comparison.differences():
            if wanted.event is not None or (wanted.rule is not None and wanted.rule not in difference.rules):
                continue
            count += 1
            if json:
                say_json(report.difference_data(difference))
            elif wanted.rule is not None:
                _say_lines(report.difference_text(difference))
            elif count <= SAMPLES:
                samples += report.difference_text(difference)
        summary = comparison.summary
    if wanted.event is None and wanted.rule is None:
        _print(json, report.summary_data(summary), report.summary_text(summary))
        if samples:
            say("first differences:")
            _say_lines(f"  {line}" for line in samples)
        if samples and count > SAMPLES:
            say(f"  ... and {count - SAMPLES} more: --json has all, --rule SET/RULE those of one rule")
    return ReplayStatus.DIFFERS if summary.differs else ReplayStatus.SAME


def _tell(event: str, sides: Iterable[Side], json: bool) -> None:
    """What became of one event on each side."""
    from opentec.commands.why import show as show_report

    if all(side.report is None for side in sides):
        raise Failure(f"{event}: the replay has no such event or record", Status.USAGE)
    for side in sides:
        if json:
            say_json({"side": side.name or None, **(side.report or {"event": None})})
            continue
        if side.name:
            say(f"{side.name}:" if side.report else f"{side.name}: there is no such event")
        if side.report:
            show_report(side.report)


# a server's repository


def _verify(directory: Path, json: bool) -> ReplayStatus:
    from opentec.commands.link import is_stopped, standing_by
    from opentec.events.records import name_of
    from opentec.server.config import load_config
    from opentec.server.instance import Instance
    from opentec.testing.replay import NOTHING
    from opentec.testing.replay_log import SegmentLog, describe
    from opentec.testing.replay_verify import differences, position_of_repository

    instance = Instance(directory)
    if not is_stopped(instance) or standing_by(instance):
        raise Failure(f"the server of {directory} runs: stop it first, with `tec stop`", Status.USAGE)
    config = load_config(instance)
    stored = config.repository_path(instance)
    try:
        position = position_of_repository(stored, instance.uuid())
    except ValueError as error:
        raise Failure(str(error), Status.USAGE) from error
    recording = SegmentLog(instance.rx, position)
    if not recording.whole:
        raise Failure(f"{describe(recording)}, so what {stored} holds cannot be verified", Status.USAGE)
    with ExitStack() as stack:
        folder = _work_folder(stack)
        replayed = folder / "verify.db"
        with Scratch(replayed) as scratch:
            tally = _run(recording, scratch, _recorded(instance, directory), None, NOTHING)
        # the outbox keeps what has ended for some days only
        whole = time.time() - tally.started / 1e6 < config.tasks.retain_days * 86_400
        count = 0
        for difference in differences(replayed, stored, outbox_whole=whole):
            count += 1
            if json:
                say_json(difference._asdict())
            elif count <= SAMPLES * 5:
                say(visible(str(difference)))
    if json:
        say_json({"same": not count, "differences": count, "records": tally.total, "position": name_of(position)})
    elif count:
        say(f"{count} differences up to {name_of(position)}" + (": --json has all" if count > SAMPLES * 5 else ""))
    else:
        say(f"no difference: {tally.total} records up to {name_of(position)} give what the server stored")
    return ReplayStatus.DIFFERS if count else ReplayStatus.SAME


# parts


def _instance(log: Path) -> Instance | None:
    from opentec.server.instance import CONFIG_NAME, Instance

    return Instance(log) if (log / CONFIG_NAME).is_file() else None


def _recorded(instance: Instance | None, log: Path) -> Callable[[str], RuleBase]:
    from opentec.rules.rulebase import load_compiled

    def load(content_hash: str) -> RuleBase:
        if instance is None:
            raise Failure(
                f"{log} is no instance directory: the rule bases that ruled then are not there; give one with --rules",
                Status.USAGE,
            )
        return load_compiled(instance.rule_bases, content_hash)

    return load


def _work_folder(stack: ExitStack) -> Path:
    import tempfile

    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tec-replay-")))


def _run(
    recording: SegmentLog,
    scratch: Scratch,
    load: Callable[[str], RuleBase],
    given: RuleBase | None,
    explain: Explain,
) -> Tally:
    """One replay, with a bar on a terminal; how fast it was goes to standard error."""
    from opentec.testing.replay import Replay

    one = Replay(recording, scratch, load, given, explain)
    started = time.monotonic()
    with _bar(recording.size) as advance:
        for size in one.run():
            advance(size)
    took = max(time.monotonic() - started, 0.001)
    total = one.tally.total
    warn(f"tec replay: {one.tally.name}: {total} records in {took:.1f} s, {total / took:.0f} a second")
    return one.tally


@contextmanager
def _bar(size: int) -> Iterator[Callable[[int], None]]:
    if not _is_terminal():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("replay", total=size)
        yield lambda done: progress.advance(task, done)


def _is_terminal() -> bool:
    return sys.stderr.isatty()


def _print(json: bool, data: dict[str, Any], lines: Iterable[str]) -> None:
    if json:
        say_json(data)
    else:
        _say_lines(lines)


def _say_lines(lines: Iterable[str]) -> None:
    for line in lines:
        say(visible(line))


class Scratch:
    """An empty repository for one replay: the code that dispatch writes with, on a file that is deleted afterwards.

    A context manager; what it holds stays in the file when it is closed.
    """

    _EPOCH: Final = 1
    _NAME: Final = "replay"

    def __init__(self, path: Path) -> None:
        """Raises RepositoryError."""
        import asyncio

        import msgspec

        from opentec.rim.batch import Batch
        from opentec.rim.sqlite import create_repository, open_repository

        self.path = path
        self.ident = ""
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Batch).decode
        self._loop = asyncio.Runner()
        identity = "0" * 32
        try:
            self._loop.run(create_repository(path, identity, self._NAME, allow_network_fs=True))
            self._repository = self._loop.run(open_repository(path, identity, self._NAME, allow_network_fs=True))
            self._loop.run(self._repository.claim(self._EPOCH))
        except BaseException:
            self._loop.close()
            raise
        self._open = True

    def commit(self, batch: RuleBatch) -> None:
        """Write a batch, as dispatch does. Raises ReplayError where the repository refuses it, RepositoryError."""
        from opentec.events.records import name_of
        from opentec.rim.errors import RepositoryRefused
        from opentec.testing.replay import ReplayError

        try:
            # through bytes, as from process to process
            self._loop.run(self._repository.commit(self._decode(self._encode(batch)), self._EPOCH))
        except RepositoryRefused as error:
            place = "a record" if error.position is None else f"the record at {name_of(error.position)}"
            raise ReplayError(f"the repository refuses {place}; a server would set it aside: {error}") from error

    def event_row(self, key: EventKey) -> EventRow | None:
        """The stored event of a key; None where there is none, or no event can be called that."""
        from opentec.events.image import is_key

        return self._loop.run(self._repository.event_by_key(key)) if is_key(key) else None

    def report(self, event: str, ident: str = "") -> dict[str, Any] | None:
        """What `tec why` says of an event; None when there is none.

        It is named by its identity where that is known, else by its key or its position in the log. Sets `ident`.
        """
        return self._loop.run(self._report(event, ident))

    async def _report(self, event: str, ident: str) -> dict[str, Any] | None:
        import msgspec

        from opentec.commands.why import report_of
        from opentec.events.image import COLUMNS, parse_key
        from opentec.events.records import name_of, parse_position

        repository, row, later = self._repository, None, []
        if ident:
            keys = self._keys_of(ident)
            event = keys[0] if keys else ident
        if event.startswith("rx:"):
            outcome = await repository.outcome(parse_position(event))
        elif "." not in event:
            return None  # derived, and not on this side
        else:
            key = parse_key(event)
            outcome = await repository.outcome_of_event(key)
            if outcome is not None:
                row = await repository.event_by_key(key)
                later = await repository.later_outcomes(key, outcome.position)
        if outcome is None:
            return None
        self.ident = name_of(outcome.position) if row is None else str(row[COLUMNS.index("ident")])
        told = [list(msgspec.structs.astuple(one)) for one in (outcome, *later)]
        return report_of(event, told[0], None if row is None else list(row), told[1:])

    def _keys_of(self, ident: str) -> list[str]:
        import sqlite3
        from contextlib import closing

        from opentec.events.image import key_name

        query = "SELECT date_reception, event_handle, server_handle FROM event WHERE ident = ?"
        with closing(sqlite3.connect(self.path)) as connection:
            return [key_name((date, handle, server)) for date, handle, server in connection.execute(query, (ident,))]

    def close(self) -> None:
        """Finish and close. Harmless when repeated."""
        if self._open:
            self._open = False
            self._loop.run(self._repository.close())
            self._loop.close()

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
