"""A buffer that takes nothing more stops reading: it is said once, and once more when reading goes on."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

from opentec.adapters.conf import AdapterConf
from opentec.eif.buffer import DiskBuffer
from opentec.eif.sender import AckedSender

_LASTING: Final = 1.0  # seconds; while a log is caught up with, the buffer is full for moments
_QUIET: Final = 60.0  # seconds from the end of one fullness that was told to the next one
_FATE: Final = "Reading waits for room; nothing is dropped, what was not read stays in the logs and is read from there"


class Fullness:
    """Tells `report` that the buffer is full, and that it takes events again; at most one such pair a minute.

    `clock` gives seconds that only go forward.
    """

    def __init__(
        self,
        conf: AdapterConf,
        buffer: DiskBuffer,
        sender: AckedSender,
        report: Callable[[str], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._conf, self._buffer, self._sender, self._report, self._clock = conf, buffer, sender, report, clock
        self._since: float | None = None  # full from then on
        self._told = False
        self._quiet_until = float("-inf")

    def look(self, no_room: str = "") -> bool:
        """Look at the buffer after a round, and say what there is to say; gives whether it is full.

        `no_room`: what the buffer said when the disk had no room for it. That is told at once, a buffer that has
        reached its size when it stays so.
        """
        now = self._clock()
        full = bool(no_room) or self._buffer.full
        if not full:
            if self._told and self._since is not None:
                self._report(f"{self._name()} takes events again, after {now - self._since:.0f} s; reading goes on")
                self._quiet_until = now + _QUIET
            self._since, self._told = None, False
            return False
        if self._since is None:
            self._since = now
        lasts = bool(no_room) or now - self._since >= _LASTING
        if lasts and not self._told and now >= self._quiet_until:
            self._told = True
            self._report(f"{no_room or self._size()}. {self._server(bool(no_room))}{_FATE}")
        return True

    def _name(self) -> str:
        if self._conf.buffering == "YES":
            return f"the buffer {self._buffer.path}"
        return f"the buffer in memory (BufferEvents={self._conf.buffering})"

    def _size(self) -> str:
        what = f"{self._name()} is full: {self._buffer.pending} events wait"
        if self._conf.buffering == "NO":
            return f"{what} in {self._buffer.max_size // 1024} KB"
        return f"{what} (BufEvtMaxSize={self._buffer.max_size // 1024} KB)"

    def _server(self, no_room: bool) -> str:
        sender = self._sender
        if sender.server is None:
            return f"No server takes events: {sender.problem or 'none has answered yet'}. "
        return "" if no_room else f"{sender.server[0]}:{sender.server[1]} takes events more slowly than they come. "
