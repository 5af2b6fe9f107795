"""What is damaged in the log is told by events, since an acknowledged record may be lost by it.

Each place once, whoever finds it again after a restart or a takeover: the names of those that were told lie beside the
segments. One event a minute at most; of what is found meanwhile the next one says how much it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from opentec.events.records import name_of
from opentec.log.errors import LogError
from opentec.server.progress import boot_us

_log = logging.getLogger("reception")
TOLD: Final = "damage.told"
_PAUSE_US: Final = 60_000_000  # microseconds between two events
_PLACES: Final = 1000  # that are remembered, and that wait to be told; of more only the number
_SIZE: Final = 1 << 20  # bytes of the file


class Damage:
    """What reception knows of damaged places. One owner, one event loop."""

    def __init__(
        self,
        folder: Path,
        post: Callable[[str], int | None],
        durable: Callable[[], int],
        place: Callable[[int], str],
        clock: Callable[[], int] = boot_us,
    ) -> None:
        """`folder` keeps the file of what was told. `post` adds an event to the log and gives its position, None when
        it cannot; `durable` is the position up to which the log is; `place` says in which file a position lies.
        """
        self._file, self._post, self._durable, self._place, self._clock = folder / TOLD, post, durable, place, clock
        self._told = dict.fromkeys(_read(self._file))
        self._waiting: dict[str, int | None] = {}  # what is to be told: the position of a record, None of a head
        self._more = 0  # places beyond those
        self._posted: dict[str, int | None] = {}  # what the last event says, until that is durable
        self._posted_at: int | None = None
        self._told_at: int | None = None

    def records(self, positions: Iterable[int]) -> None:
        """The rule process could not read what lies at these positions."""
        for position in positions:
            self._found(name_of(position), position)

    def heads(self, sentences: Iterable[str]) -> None:
        """What is wrong in front of the records of segments."""
        for sentence in sentences:
            self._found(sentence, None)

    def _found(self, name: str, position: int | None) -> None:
        if name in self._told or name in self._waiting or name in self._posted:
            return
        if len(self._waiting) < _PLACES:
            self._waiting[name] = position
        else:
            self._more += 1

    def look(self) -> None:
        """Tell what is to be told and may be now. Call it now and again; waits for nothing."""
        if self._posted and (self._posted_at is None or self._durable() > self._posted_at):
            # not before: one that is told twice does less harm than one that nobody is told of
            self._told = dict.fromkeys([*self._told, *self._posted][-_PLACES:])
            self._posted = {}
            self._write()
        now = self._clock()
        if self._posted or not self._waiting or (self._told_at is not None and now - self._told_at < _PAUSE_US):
            return
        self._posted, self._waiting, self._told_at = self._waiting, {}, now
        more, self._more = len(self._posted) - 1 + self._more, 0
        name, position = next(iter(self._posted.items()))
        text = name if position is None else self._lost(name, position)
        if more:
            text += f"; {more} more damaged places are in the logs of tec_rule and tec_reception"
        self._posted_at = self._post(text)

    def _lost(self, name: str, position: int) -> str:
        try:
            place = self._place(position)
        except (LogError, OSError) as error:
            place = str(error)
        where = f" ({place})" if place else ""
        return f"the record at {name}{where} is damaged and lost, though it was acknowledged; tec why {name} shows it"

    def _write(self) -> None:
        draft = self._file.with_name(f"{TOLD}.tmp")
        try:
            draft.write_text("".join(f"{name}\n" for name in self._told))
            draft.replace(self._file)
        except OSError as error:
            _log.warning("%s cannot be written, so damage may be told again: %s", self._file, error.strerror)


def _read(file: Path) -> list[str]:
    """The places that were told, the oldest first; a file that is not there or cannot be read is an empty one."""
    try:
        with file.open("rb") as opened:
            return opened.read(_SIZE).decode(errors="replace").splitlines()[-_PLACES:]
    except FileNotFoundError:
        return []
    except OSError as error:
        _log.warning("%s cannot be read, so damage may be told again: %s", file, error.strerror)
        return []
