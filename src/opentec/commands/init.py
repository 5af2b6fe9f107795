"""`tec init`: make an instance directory that runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Annotated, Final

import typer

from opentec.commands.cli import Debug, Failure, Json, Status, say, say_json, warn
from opentec.commands.config import same_address
from opentec.commands.template import server_toml
from opentec.server.instance import HOST

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_NODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", re.ASCII)
_FOLDERS: Final = ("rx", "ha", "rulebase", "rim", "log")
_ROOM: Final = 4 << 20  # bytes free below which a full disk is thought of
_MADE: Final = frozenset({*_FOLDERS, "rules", "instance", "lost+found"})


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory to make; it must be new or empty.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="Logical name of the server.")] = "tec",
    port: Annotated[int, typer.Option(metavar="PORT", help="Port for events, where --node names none.")] = 5529,
    node: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=HOST:PORT", help="A node and its address; may be repeated.  [default: node1=127.0.0.1:PORT]"
        ),
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make an instance directory.

    It gets a configuration, the rule base that ships, and an empty repository.

    A directory that is already an instance is left as it is.
    """
    directory = directory.absolute()
    nodes = _nodes(node or [], port)
    if not _NAME.fullmatch(name):
        raise Failure(f"--name {name!r}: letters, digits, '_', '.' and '-', 64 at most", Status.USAGE)
    made = _refuse_or_make(directory)
    if made:
        _make(directory, name, nodes)
    if json:
        say_json({"directory": str(directory), "made": made, "server": name if made else None})
        return
    if not made:
        say(f"{directory} is already an instance; nothing was changed")
        return
    say(f"made {directory}: server {name}, " + ", ".join(f"node {key} on {value}" for key, value in nodes.items()))
    for line in same_address(nodes):
        warn(f"warning: {line}")
    say("next:")
    say(f"  export TEC_DIR={shlex.quote(str(directory))}")
    for line in _starts(nodes):
        say(f"  {line}")
    say("  tec status")
    say("  tec post -m 'hello' hostname=web1 TEC_Notice TEC")
    say("  tec list")


def _starts(nodes: dict[str, str]) -> list[str]:
    """The command that starts each node; where they are on several machines, each with its address."""
    if len(nodes) == 1:
        return ["tec start"]
    starts = {f"tec start --node {node}": address for node, address in nodes.items()}
    if len({address.rpartition(":")[0] for address in nodes.values()}) == 1:
        return list(starts)
    width = max(map(len, starts))
    return [f"{start:<{width}}  # on the machine with {address}" for start, address in starts.items()]


def _nodes(given: list[str], port: int) -> dict[str, str]:
    if not 0 < port < 65536:
        raise Failure(f"--port {port}: 1 to 65535", Status.USAGE)
    nodes: dict[str, str] = {}
    for text in given or [f"node1=127.0.0.1:{port}"]:
        name, equals, address = text.partition("=")
        host, _, number = address.rpartition(":")
        if not (equals and name and host and number):
            raise Failure(f"--node {text!r}: NAME=HOST:PORT, for example black=127.0.0.1:5529", Status.USAGE)
        if not _NODE.fullmatch(name):
            raise Failure(
                f"--node {text!r}: {name!r} is no name of a node: letters, digits, '_' and '-', 32 at most, a letter "
                "or a digit first",
                Status.USAGE,
            )
        if not (number.isascii() and number.isdecimal() and len(number) < 6 and 0 < int(number) < 65536):
            raise Failure(f"--node {text!r}: {number!r} is no port: 1 to 65535", Status.USAGE)
        if not HOST.fullmatch(host):
            raise Failure(f"--node {text!r}: {host!r} is not a host; each node has a --node of its own", Status.USAGE)
        if name in nodes:
            raise Failure(f"--node {name} is given twice", Status.USAGE)
        nodes[name] = address
    return nodes


def _refuse_or_make(directory: Path) -> bool:
    """True when there is an instance to be made here; raises Failure where something else is."""
    if (directory / "tec_server.toml").exists():
        return False
    if directory.exists():
        if not directory.is_dir():
            raise Failure(f"{directory} is not a directory", Status.USAGE)
        others = sorted(entry.name for entry in directory.iterdir() if entry.name not in _MADE)
        if others:
            raise Failure(
                f"{directory} is not empty: it holds {', '.join(others[:3])}{' ...' if len(others) > 3 else ''}; "
                "name a new or empty directory",
                Status.USAGE,
            )
    return True


def _make(directory: Path, name: str, nodes: dict[str, str]) -> None:
    """All of it, or nothing that was not there before; raises Failure."""
    from opentec.rim.errors import RepositoryUnavailable

    there = directory.exists()
    before = set(directory.iterdir()) if there else set()
    try:
        _fill(directory, name, nodes)
    except (OSError, Failure, RepositoryUnavailable) as error:
        free = _free(directory)
        for entry in set(directory.iterdir()) - before if directory.exists() else ():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        if not there:
            with contextlib.suppress(OSError):
                directory.rmdir()
        if isinstance(error, Failure):
            raise
        raise Failure(
            f"{directory} cannot be made: {_reason(error)}{free}; what was made of it is removed again"
        ) from error


def _free(directory: Path) -> str:
    """How much room there is, where that may be what is wrong."""
    with contextlib.suppress(OSError):
        found = shutil.disk_usage(directory).free
        if found < _ROOM:
            return f" ({found >> 10} KiB are free there; make room, or name a directory on another disk)"
    return ""


def _reason(error: Exception) -> str:
    """Of several files that could not be copied, the first: they have one reason."""
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):
        _, target, why = error.args[0][0]
        return f"{target}: " + re.sub(r"^\[Errno \d+\] ([^:]*).*", r"\1", str(why))
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _fill(directory: Path, name: str, nodes: dict[str, str]) -> None:
    # The configuration comes last: it is what makes the directory an instance, so an interrupted init can be repeated.
    from opentec.rim.errors import RepositoryExists
    from opentec.rim.sqlite import create_repository
    from opentec.server.instance import new_uuid
    from opentec.shipped import shipped

    directory.mkdir(parents=True, exist_ok=True)
    for folder in _FOLDERS:
        (directory / folder).mkdir(mode=0o750, exist_ok=True)
    shutil.copytree(shipped("rules", "default"), directory / "rules", dirs_exist_ok=True)
    identity = directory / "instance"
    if not identity.exists():
        _write(identity, new_uuid() + "\n")
    repository = directory / "rim" / "tec.db"
    try:
        asyncio.run(create_repository(repository, identity.read_text().strip(), name))
    except RepositoryExists as error:
        raise Failure(f"{error}; or name another directory") from error
    _write(directory / "tec_server.toml", server_toml(name, nodes))


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
