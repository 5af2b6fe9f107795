"""What all commands share: their options, their exit statuses, how they print and how they fail.

Light, because every client command pays for what is imported here.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from opentec.commands.coercion import simplify

CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_CONTROL: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    9: "\\t",
    10: "\\n",
    13: "\\r",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}
_debug = False


class Status(IntEnum):
    """The exit statuses that scripts may rely on. docs/commands.md says which command gives which."""

    OK = 0
    FAILED = 1  # the command could not do its work; of `tec status`: unhealthy
    USAGE = 2  # the command line, or the instance it names, is not right; nothing was done
    REFUSED = 3  # the server answered and said no; of `tec status`: stopped
    NO_SERVER = 4  # no server answered: not confirmed; of `tec status`: standby
    NOT_YET = 5  # durable, but not applied within --wait


# modules that Python has on Unix only; the server runs on Linux, what tests rule bases runs everywhere
UNIX_ONLY: Final = frozenset(("fcntl", "grp", "pwd", "resource", "termios"))
LINUX_ONLY: Final = (
    "this command needs Linux; on this system there are tec test, tec lint, tec replay and tec rulebase check and diff"
)


class Failure(Exception):
    """Ends a command with a message for the person and an exit status."""

    def __init__(self, message: str, status: Status = Status.FAILED) -> None:
        super().__init__(message)
        self.status = status


def _set_debug(value: bool) -> bool:
    global _debug
    _debug = _debug or value
    return value


Directory = Annotated[
    Path | None,
    typer.Option("-d", "--dir", metavar="DIR", help="Instance directory.  [default: TEC_DIR, else the current one]"),
]
Node = Annotated[
    str | None,
    typer.Option("--node", metavar="NODE", help="Which node.  [default: TEC_NODE, else the only one there is]"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="On an error also show where in the program it happened.", callback=_set_debug),
]


def run(function: Callable[..., None], name: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command as a program named `name`; ends the process with its exit status."""
    app = new_app()
    app.command(context_settings=CONTEXT)(function)
    run_app(app, name, arguments)


def new_app(**settings: Any) -> typer.Typer:
    """An app whose messages are plain lines: no frames, no colours, no completion."""
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=CONTEXT,
        **settings,
    )


def run_app(app: typer.Typer, name: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run an app; every error becomes one message on standard error and an exit status."""
    global _debug
    _debug = bool(os.environ.get("TEC_DEBUG"))
    try:
        command = typer.main.get_command(app)
        simplify(command)
        command(args=None if arguments is None else list(arguments), prog_name=name)
    except Exception as error:
        status, message = explain(error)
        if _debug:
            traceback.print_exc()
        # the program's name, or `tec stop` for a command of a group
        sys.stdout.flush()
        warn(f"{name}: {message}")
        sys.exit(status)
    sys.exit(Status.OK)


def explain(error: Exception) -> tuple[Status, str]:
    """Exit status and message of what went wrong."""
    if isinstance(error, Failure):
        return error.status, str(error)
    if isinstance(error, ModuleNotFoundError) and error.name in UNIX_ONLY:
        return Status.FAILED, LINUX_ONLY
    from opentec.server.errors import ConfigError, InstanceError, NotRunning, Refused, ServerError

    match error:
        case ConfigError() | InstanceError():
            return Status.USAGE, str(error)
        case NotRunning():
            return Status.NO_SERVER, str(error)
        case Refused():
            return Status.REFUSED, str(error)
        case ServerError():
            return Status.FAILED, str(error)
        case OSError() if error.filename is not None:
            return Status.FAILED, f"{error.filename}: {error.strerror}"
        case OSError():
            return Status.FAILED, error.strerror or str(error)
    if _is_expected(error):
        return Status.FAILED, str(error)
    return Status.FAILED, f"unexpected error: {error!r}; --debug shows where"


def _is_expected(error: Exception) -> bool:
    """Is this one of the library's own errors? Their modules were imported by whoever raised them, or not at all."""
    bases = (
        ("opentec.events.errors", "EventError"),
        ("opentec.ha.errors", "HaError"),
        ("opentec.rim.errors", "RepositoryError"),
        ("opentec.log.errors", "LogError"),
        ("opentec.eif.errors", "EifError"),
    )
    for module, name in bases:
        base = getattr(sys.modules.get(module), name, None)
        if base is not None and isinstance(error, base):
            return True
    return False


def warn(text: str) -> None:
    """A line on standard error."""
    typer.echo(text, err=True)


def say(text: str = "") -> None:
    """A line on standard output."""
    typer.echo(text)


def say_json(data: Any) -> None:
    """One JSON object on one line of standard output."""
    typer.echo(json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def visible(text: str) -> str:
    """`text` on one line and without control characters: what a stranger sent cannot move a terminal's cursor."""
    return text.translate(_CONTROL)
