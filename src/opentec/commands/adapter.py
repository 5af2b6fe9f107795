"""`tec adapter try`: what would the logfile adapter make of these lines? Nothing is sent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opentec.commands.cli import Debug, Failure, Json, Status, say, say_json, visible, warn

if TYPE_CHECKING:
    from opentec.adapters.conf import AdapterConf
    from opentec.adapters.logfile.fmt import Format
    from opentec.adapters.logfile.trying import Tried


def try_lines(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The log, or a piece of it.")],
    conf: Annotated[
        Path | None, typer.Option("-c", "--conf", metavar="CONF", help="The adapter's configuration.  [default: none]")
    ] = None,
    formats: Annotated[
        Path | None,
        typer.Option(
            "--format",
            metavar="FMT",
            help="A format file.  [default: that of -c, without -c the shipped one]",
        ),
    ] = None,
    unmatched: Annotated[bool, typer.Option("--unmatched", help="Print only lines that no format matches.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Try the formats of the logfile adapter on a file: which format takes each line, and the slots it makes.

    Nothing is sent and no position is kept. A line that none matches comes with the format that was nearest.
    """
    from opentec.adapters.logfile.trying import try_file

    settings, known = _prepare(conf, formats)
    counts: dict[str, int] = {}
    for tried in try_file(settings, known, file):
        counts[tried.verdict] = counts.get(tried.verdict, 0) + 1
        if unmatched and tried.verdict != "unmatched":
            continue
        if json:
            say_json(tried._asdict())
        else:
            _show(tried)
    if not json:
        warn(", ".join(f"{number} {verdict}" for verdict, number in sorted(counts.items())) or "no lines")
    raise typer.Exit(Status.OK)


def _prepare(conf: Path | None, formats: Path | None) -> tuple[AdapterConf, list[Format]]:
    from opentec.adapters.conf import AdapterConf, read_conf
    from opentec.adapters.logfile.fmt import FORMATS, formats_of, read_formats
    from opentec.events.errors import SourceErrors
    from opentec.shipped import shipped

    try:
        if conf is None:
            settings, default = AdapterConf(""), shipped("adapters", "logfile", FORMATS)
        else:
            settings = read_conf(conf)
            default = formats_of(settings)
        return settings, read_formats(formats or default)
    except SourceErrors as error:
        raise Failure(str(error), Status.USAGE) from error
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}", Status.USAGE) from error


def _show(tried: Tried) -> None:
    say(f"{tried.number}: {visible(tried.line)}")
    if tried.verdict == "unmatched":
        say(f"    unmatched: {visible(tried.why)}" + (f" ({tried.place})" if tried.place else ""))
        return
    what = tried.class_name if tried.verdict == "event" else tried.verdict
    say(f"    {what} ({tried.place})")
    for name, value in tried.slots.items():
        say(f"    {name}={visible(value)}")
