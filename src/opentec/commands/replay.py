"""`tec replay`: what a rule base makes of a recorded log, and whether that is what a server stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from opentec.commands.cli import Debug, Failure, Json, Status, say, say_json, visible, warn
from opentec.commands.replay_run import instance_of, print_lines, print_object, recorded, run_one, work_folder
from opentec.commands.replay_scratch import Scratch as Scratch

if TYPE_CHECKING:
    from opentec.rules.rulebase import RuleBase
    from opentec.testing.replay import Explain
    from opentec.testing.replay_log import Recording
    from opentec.testing.replay_tally import Tally


class ReplayStatus(IntEnum):
    """The exit statuses of `tec replay`; those of the other commands are in `opentec.commands.cli`."""

    SAME = 0
    DIFFERS = 1
    BROKEN = 2  # a rule base does not compile, or the log cannot be read


SAMPLES: Final = 20  # differences that are shown to people without --rule
FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2068


def replay(
    log: Annotated[
        Path | None,
        typer.Option(
            metavar="LOG",
            help="Instance directory, folder of segments, one segment, or a dump.  [default: see --lines, --verify]",
        ),
    ] = None,
    lines: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A log file in place of --log, as a log file adapter reads it.  [default: none]"
        ),
    ] = None,
    formats: Annotated[
        Path | None,
        typer.Option("--format", metavar="FMT", help="The format file for --lines.  [default: the shipped one]"),
    ] = None,
    hostname: Annotated[
        str | None, typer.Option(metavar="HOST", help="The adapter's host for --lines.  [default: localhost]")
    ] = None,
    year: Annotated[
        int | None,
        typer.Option(metavar="YEAR", help="The year of the first of --lines.  [default: what the lines say]"),
    ] = None,
    zone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="Time zone of times that name none, in --lines.  [default: UTC]")
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
    """Feed a recorded log, a dump or a log file through rule bases, in log time. Nothing is run and nothing is sent.

    Exit status 0 done, no difference; 1 something differs; 2 a rule base does not compile, or the log cannot be read.
    """
    with _explained(json):
        if verify is not None:
            others = (log, lines, formats, hostname, year, zone, rules, against, event, rule)
            if recorded or diff or any(option is not None for option in others):
                raise Failure(
                    "--verify takes the log and the rule bases of its instance: no other option", Status.USAGE
                )
            from opentec.commands.replay_verify import verify_instance

            status = ReplayStatus.DIFFERS if verify_instance(verify, json) else ReplayStatus.SAME
        else:
            source = _Source(log, lines, formats, hostname, year, zone)
            status = _replay(_Wanted(source, rules, against, recorded, diff, event, rule), json)
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


class _Source:
    """What is replayed, as the command line names it."""

    def __init__(
        self,
        log: Path | None,
        lines: Path | None,
        formats: Path | None,
        hostname: str | None,
        year: int | None,
        zone: str | None,
    ) -> None:
        if (log is None) == (lines is None):
            raise Failure(
                "--log names an instance directory, a folder of segments or a dump; --lines in its place a log file; "
                "--verify an instance",
                Status.USAGE,
            )
        for name, value in (("format", formats), ("hostname", hostname), ("year", year), ("zone", zone)):
            if lines is None and value is not None:
                raise Failure(f"--{name} says how to read --lines, which is not given", Status.USAGE)
        if year is not None and not FIRST_YEAR <= year <= LAST_YEAR:
            raise Failure(f"--year {year}: a year from {FIRST_YEAR} to {LAST_YEAR}", Status.USAGE)
        self._log, self._lines, self._formats, self._hostname = log, lines, formats, hostname
        self._year, self._zone = year, zone

    def open(self, needs_rule_bases: bool) -> tuple[Recording, Callable[[str], RuleBase]]:
        """The recording, and what gives the rule bases that ruled then. Raises Failure, SourceErrors, LogError."""
        from opentec.log.codec import parse_segment_name
        from opentec.testing.replay_log import SegmentLog, describe

        log = self._log
        if log is None or (log.is_file() and parse_segment_name(log.name) is None):
            recording = self._text()
            if needs_rule_bases:
                raise Failure(
                    f"{recording.place} does not say which rule bases ruled: give --rules, and to compare --against",
                    Status.USAGE,
                )
            return recording, recorded(None, Path(recording.place))
        instance = instance_of(log)
        segments = SegmentLog(log if instance is None else instance.rx)
        if said := describe(segments):
            warn(f"tec replay: {said}")
        return segments, recorded(instance, log)

    def _text(self) -> Recording:
        from opentec.testing.replay_text import DumpRecording, LineRecording

        if self._log is not None:
            return DumpRecording(self._log)
        from zoneinfo import ZoneInfo

        from opentec.shipped import shipped
        from opentec.testing.inputs import HOST

        assert self._lines is not None  # one of both is given
        formats = self._formats or shipped("adapters", "logfile", "tecad_logfile.fmt")
        try:
            zone = ZoneInfo(self._zone or "UTC")
        except (OSError, ValueError, KeyError) as error:
            raise Failure(f"--zone {self._zone!r} is no time zone; write it as Europe/Berlin", Status.USAGE) from error
        return LineRecording(self._lines, formats, self._hostname or HOST, self._year, zone)


class _Wanted:
    """The command line, checked."""

    def __init__(
        self,
        source: _Source,
        rules: Path | None,
        against: Path | None,
        recorded: bool,
        diff: bool,
        event: str | None,
        rule: str | None,
    ) -> None:
        if rules is None and not recorded:
            raise Failure("say which rules: --rules FOLDER, or --recorded for those that ruled then", Status.USAGE)
        if against is not None and (rules is None or recorded):
            raise Failure("--against compares a rule base with that of --rules, and not with --recorded", Status.USAGE)
        if diff and rules is None:
            raise Failure("--diff needs --rules: a rule base to compare", Status.USAGE)
        self.source, self.rules, self.against, self.event, self.rule = source, rules, against, event, rule
        self.compares = rules is not None and (recorded or diff or against is not None)
        self.needs_rule_bases = rules is None or (self.compares and against is None)
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

    # what does not compile says so before a log is read
    new = None if wanted.rules is None else load_rule_base(wanted.rules)
    old = None if wanted.against is None else load_rule_base(wanted.against)
    recording, load = wanted.source.open(wanted.needs_rule_bases)
    with ExitStack() as stack:
        folder = work_folder(stack)
        sides = [Side("old", old), Side("new", new)] if wanted.compares else [Side("", new)]
        for side in sides:
            side.path = folder / f"{side.name}.db"
            with Scratch(side.path) as scratch:
                side.tally = run_one(recording, scratch, load, side.rule_base, wanted.explain, side.name)
                if wanted.event is not None:
                    side.report = scratch.report(wanted.event, sides[0].ident)
                    side.ident = scratch.ident
        _tell_lines(recording)
        if wanted.rule is not None and (said := report.unknown_rule(wanted.rule, [side.tally for side in sides])):
            raise Failure(said, Status.USAGE)
        if wanted.event is not None:
            _tell(wanted.event, sides, json)
        elif wanted.rule is None:
            for side in sides:
                print_object(
                    json,
                    report.as_data(side.tally, side.path, side.name),
                    report.as_text(side.tally, side.path, side.name),
                )
        elif not wanted.compares:
            for firing in report.firings(side.path, wanted.rule):
                print_object(json, firing, report.firing_text(firing))
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
                print_lines(report.difference_text(difference))
            elif count <= SAMPLES:
                samples += report.difference_text(difference)
        summary = comparison.summary
    if wanted.event is None and wanted.rule is None:
        print_object(json, report.summary_data(summary), report.summary_text(summary))
        if samples:
            say("first differences:")
            print_lines(f"  {line}" for line in samples)
        if samples and count > SAMPLES:
            say(f"  ... and {count - SAMPLES} more: --json has all, --rule SET/RULE those of one rule")
    return ReplayStatus.DIFFERS if summary.differs else ReplayStatus.SAME


def _tell_lines(recording: Recording) -> None:
    """Of a log file, what became of its lines."""
    from opentec.testing.replay_text import LineRecording

    if isinstance(recording, LineRecording):
        counts = recording.verdicts
        said = f"{counts['event']} events, {counts['discarded']} discarded, {counts['unmatched']} unmatched"
        hint = "; `tec adapter try --unmatched` shows these" if counts["unmatched"] else ""
        warn(f"tec replay: {recording.place}: lines: {said}{hint}")


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
