"""Where queries are answered: by the active server's dispatch, or, when it is stopped, from its own files."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from opentec.commands.cli import Status, warn
from opentec.commands.link import active, connect, is_stopped, standing_by, unserved
from opentec.ha import marks, readers
from opentec.server.instance import Instance

if TYPE_CHECKING:
    from opentec.rim.repository import Repository
    from opentec.server.child import Context


class Source(Protocol):
    """What answers queries (opentec.server.queries says which there are)."""

    def ask(self, operation: str, argument: Any = None) -> Any:
        """One answer, as plain lists and maps. Raises Refused, NotRunning, RepositoryError."""
        ...


class Server:
    """The running server."""

    def __init__(self, control: Any) -> None:
        self._control = control

    def ask(self, operation: str, argument: Any = None) -> Any:
        return self._control.call(operation, argument)


class Files:
    """The repository and the log of a server that is stopped."""

    def __init__(self, loop: asyncio.Runner, repository: Repository, context: Context) -> None:
        self._loop, self._repository, self._context = loop, repository, context

    def ask(self, operation: str, argument: Any = None) -> Any:
        from opentec.server.queries import answer

        if operation == "verdict":
            result: Any = self._loop.run(self._repository.outcome(argument[0]))
        else:
            result = self._loop.run(answer(self._repository, self._context, operation, argument))
        return msgspec.to_builtins(result, builtin_types=(bytes,))


@contextmanager
def open_source(instance: Instance) -> Iterator[Source]:
    """Whoever can answer. Raises Elsewhere, naming the active node, NotRunning, RepositoryError."""
    if _may_read(instance):
        with readers.reading(instance.ha, _make_way) as alone:
            # a server that began to start meanwhile is asked instead
            if alone and _may_read(instance):
                warn(f"{unserved(instance) or 'the server is stopped'}; read from its files")
                with _open_files(instance) as files:
                    yield files
                return
    with connect(instance, "dispatch.sock", timeout=60) as control:
        yield Server(control)


def _make_way() -> None:
    """A server waits to start: end at once, wherever this command is, even if nobody takes its output."""
    # who has both outputs in one pipe and does not read it would keep this thread as it keeps the other one
    with suppress(OSError):
        if select.select([], [2], [], 0)[1]:
            os.write(2, b"tec: ended, since the server is about to start: ask again when it has\n")
    os._exit(Status.NO_SERVER)


def _may_read(instance: Instance) -> bool:
    return is_stopped(instance) and (marks.stopped(instance.ha) or not standing_by(instance))


@contextmanager
def _open_files(instance: Instance) -> Iterator[Files]:
    from opentec.rim.sqlite import open_repository
    from opentec.server.config import load_config

    config = load_config(instance)
    with asyncio.Runner() as loop:
        repository = loop.run(
            open_repository(
                config.repository_path(instance),
                instance.uuid(),
                config.server.name,
                allow_network_fs=config.rim.allow_network_fs,
            )
        )
        try:
            yield Files(loop, repository, _context(instance, config))
        finally:
            loop.run(repository.close())


def _context(instance: Instance, config: Any) -> Context:
    """What queries know of a server, made without one."""
    from opentec.server.child import Context
    from opentec.server.progress import Progress, Word

    newest, progress = active(instance), Progress()
    progress[Word.DURABLE] = instance.log_store().recover().end
    number = newest.number if newest is not None else 0
    return Context(instance, config, newest.node if newest else "", number, progress, _ActiveRuleBase(instance))


class _ActiveRuleBase:
    """The active rule base, loaded when a query asks for its classes."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    @cached_property
    def classes(self) -> Any:
        from opentec.rules.rulebase import load_compiled

        current = (self._instance.rule_bases / "current").read_text().strip()
        return load_compiled(self._instance.rule_bases, current).classes
