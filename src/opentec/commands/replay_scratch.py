"""The scratch repository of a replay."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from opentec.events.image import EventKey, EventRow
    from opentec.rules.batching import RuleBatch


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
