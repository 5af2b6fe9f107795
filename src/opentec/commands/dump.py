"""`tec dump`, wtdumper: everything in the repository, oldest first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from opentec.commands.cli import Debug, Directory, Json, say, say_json
from opentec.commands.shown import column, event_text, object_of, slots_of

PAGE: Final = 1000


def dump(directory: Directory = None, json: Json = False, debug: Debug = False) -> None:
    """Print the repository: all events, oldest first."""
    from opentec.commands.source import open_source
    from opentec.server.instance import find_instance

    with open_source(find_instance(directory)) as source:
        for row in rows(source):
            if json:
                say_json(object_of(row))
            else:
                say(event_text(column(row, "class"), slots_of(row)))


def rows(source: Any) -> Iterator[list[Any]]:
    """The rows of all events, fetched in pages."""
    after = 0
    while page := source.ask("dump", {"after": after, "limit": PAGE}):
        yield from page
        after = column(page[-1], "eid")
