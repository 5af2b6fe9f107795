"""`tec post`, wpostemsg: post one event and wait until it is durable.

Light: scripts call this once for each event.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Final

import typer

from opentec.commands.cli import Debug, Directory, Failure, Json, Status, say_json, warn
from opentec.commands.servers import servers_of
from opentec.events.errors import EventSyntaxError
from opentec.events.image import BASE_SLOTS, JSON_COLUMNS
from opentec.events.names import nearest
from opentec.events.text import format_event, parse_event

SEVERITIES: Final = ("UNKNOWN", "HARMLESS", "WARNING", "MINOR", "CRITICAL", "FATAL")  # tec.md 2.1
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_FORM: Final = "the form is: [-S HOST[:PORT]] [-f CONF] [-r SEVERITY] [-m MESSAGE] [SLOT=VALUE ...] CLASS SOURCE"
_LITERAL: Final = frozenset(BASE_SLOTS) - frozenset(JSON_COLUMNS)

Slots = dict[str, str | list[str]]


def post(
    words: Annotated[
        list[str],
        typer.Argument(metavar="[SLOT=VALUE ...] CLASS SOURCE", help="Slots, then the event's class and its source."),
    ],
    server: Annotated[
        str | None,
        typer.Option(
            "-S",
            "--server",
            metavar="HOST[:PORT],...",
            help="Servers, tried in order.  [default: those of -f, else the instance's nodes, else TEC_SERVER, "
            "else 127.0.0.1:5529]",
        ),
    ] = None,
    conf: Annotated[
        Path | None,
        typer.Option(
            "-f", "--conf", metavar="CONF", help="Take ServerLocation and ServerPort from this file.  [default: none]"
        ),
    ] = None,
    severity: Annotated[
        str | None,
        typer.Option("-r", "--severity", metavar="SEVERITY", help=", ".join(SEVERITIES) + ".  [default: the class's]"),
    ] = None,
    message: Annotated[
        str | None, typer.Option("-m", "--message", metavar="MESSAGE", help="Slot msg.  [default: the class's]")
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Send as old senders do: nobody confirms it, 0 means handed to TCP.")
    ] = False,
    greeting_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long a server may take to answer the greeting.")
    ] = 2.0,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long a server may take to acknowledge the event.")
    ] = 10.0,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", help="Go through the servers again for so long when none answers.")
    ] = 0.0,
    directory: Directory = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Post an event. Exit status 0 means that it is on the server's disk.

    Slot hostname is WLOCALHOST, else this machine's name, unless it is given. A value in quotes is taken without
    them; [a, b] is a list. Exit status 2: wrong usage, nothing was sent. 3: recorded, but rejected by the classes.
    4: not confirmed.
    """
    class_name, slots = event_of(words, severity, message)
    text = format_event(class_name, slots)
    servers = servers_of(server, conf, directory)
    from opentec.eif import client

    if plain:
        result = client.post_plain(servers, text, timeout=greeting_timeout)
    else:
        result = client.post(servers, text, greeting_timeout=greeting_timeout, ack_timeout=timeout, patience=wait)
    if json:
        where = f"{result.server[0]}:{result.server[1]}" if result.server else None
        say_json({"result": result.status, "reason": result.reason, "server": where})
    elif result.status == "rejected":
        warn(f"recorded, but rejected: {result.reason}")
    elif result.status == "unconfirmed":
        hint = "; `tec status` says how the server is" if server is None and conf is None else ""
        warn(f"not confirmed: {result.reason}{hint}")
    raise typer.Exit({"rejected": Status.REFUSED, "unconfirmed": Status.NO_SERVER}.get(result.status, Status.OK))


def event_of(words: list[str], severity: str | None, message: str | None) -> tuple[str, Slots]:
    """Class and slots that a command line means; raises Failure with USAGE, so that nothing is sent."""
    if len(words) < 2:
        raise _usage("CLASS and SOURCE are missing" if not words else "SOURCE is missing: CLASS SOURCE come last")
    *pairs, class_name, source = (_text(word) for word in words)
    for what, word in (("CLASS", class_name), ("SOURCE", source)):
        if "=" in word and _NAME.fullmatch(word.partition("=")[0]):
            raise _usage(f"{what} comes behind the slots, but {word!r} is a slot")
    if not _NAME.fullmatch(class_name):
        raise _usage(f"{class_name!r} is not the name of a class (letters, digits and '_')")
    slots: Slots = {"source": source}
    if severity is not None:
        if severity not in SEVERITIES:
            near = nearest(severity, SEVERITIES)
            raise _usage(f"severity {severity!r}: " + (f"did you mean {near!r}?" if near else ", ".join(SEVERITIES)))
        slots["severity"] = severity
    if message is not None:
        slots["msg"] = _text(message)
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise _usage(f"{pair!r} is not SLOT=VALUE")
        if name in slots:
            also = {"source": "SOURCE", "severity": "-r", "msg": "-m"}.get(name, "")
            raise _usage(f"slot {name!r} is given twice" + (f", {also} sets it" if also else ""))
        slots[name] = _value(name, value)
    if "hostname" not in slots:
        slots["hostname"] = os.environ.get("WLOCALHOST") or _host_name()
    return class_name, slots


def _value(name: str, value: str) -> str | list[str]:
    """A value as the command line has it: 'quoted', [a, list], or just the text."""
    quoted = len(value) > 1 and value[0] in "'\"" and value[-1] == value[0]
    is_list = value.startswith("[") and value.endswith("]") and name not in _LITERAL
    if not quoted and not is_list:
        return value
    try:
        return parse_event(f"X;{name}={value};END")[1][name]
    except EventSyntaxError as error:
        raise _usage(f"slot {name!r}: {error.reason}") from error


def _text(word: str) -> str:
    """What the shell gave; bytes that are not UTF-8 are read as Latin-1."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return os.fsencode(word).decode("latin-1")
    return word


def _host_name() -> str:
    import socket

    return socket.gethostname()


def _usage(message: str) -> Failure:
    return Failure(f"{message}\n{_FORM}", Status.USAGE)
