"""The stale writer that keeps the database locked: ended where that can be done, else the fencing command is asked.

Safety does not rest on it, since a stale server is refused by every acknowledgement and every transaction. Without it a
takeover would wait for ever for the lock that a stopped process holds (ha.md 2f).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from opentec.ha import epochs, marks
from opentec.ha.command import Fence, fence
from opentec.ha.epochs import EpochFile
from opentec.ha.errors import FenceFailed, LeaseDirectoryError
from opentec.ha.fence import Fenced, kill_stale
from opentec.ha.process import boot_id
from opentec.server import hooks
from opentec.server.child import Context
from opentec.server.progress import Trouble, Word, boot_us

_log = logging.getLogger("dispatch")
_FIRST_PAUSE: Final = 1.0  # seconds until a command that failed is asked again; doubled each time
_LONGEST_PAUSE: Final = 30.0
# seconds that the lock may stay when the command has said that the writer is gone: a cluster file system takes its time
# to recover, and a node that was restarted must not be ended again while it comes up
_GRACE: Final = 60.0
_TELL: Final = 60.0  # seconds between two notices of failures

Post = Callable[[str, str, str], Awaitable[None]]  # class, severity, text


class Fencing:
    """What dispatch does about a locked database. One owner, one event loop."""

    def __init__(self, context: Context, post: Post, clock: Callable[[], int] = boot_us) -> None:
        """`post` appends an event of the server's own. `clock` gives microseconds."""
        self._context, self._post, self._clock = context, post, clock
        self._asked: asyncio.Task[None] | None = None
        self._not_before, self._last = 0, 0  # when it may be asked again for the epoch for which it was last
        self._pause = _FIRST_PAUSE
        self._told_at: int | None = None
        self._said: set[str] = set()

    async def end_writer(self) -> bool:
        """The database is locked: look who of the earlier epochs may hold it. True when the caller may try at once.

        Never waits for the fencing command, so that the caller goes on trying: the lock may be released meanwhile.
        """
        for number in reversed(await asyncio.to_thread(epochs.numbers, self._context.instance.ha)):
            if number >= self._context.epoch:
                continue
            try:
                file = epochs.read(self._context.instance.ha, number)
                # its process may stand by by now, or serve this very epoch: beginning anew keeps pid and start time
                if not epochs.holder_dead(file):
                    fenced, why = await asyncio.to_thread(kill_stale, file), "it is on another host"
                elif marks.left(self._context.instance.ha, number) and file.boot_id != boot_id():
                    fenced, why = Fenced.ELSEWHERE, "it gave way, and a process of it still waits for a disk there"
                else:
                    continue  # what it left on this machine was killed, and ends when its disk answers
            except (FileNotFoundError, LeaseDirectoryError):
                continue
            except FenceFailed as failed:
                fenced, why = Fenced.ELSEWHERE, str(failed)
            if fenced is Fenced.KILLED:
                _log.warning("the stale writer of epoch %d held the database and was killed", number)
                return True
            if fenced is Fenced.ELSEWHERE:
                self._elsewhere(file, why)
                return False
        self._trouble(Trouble.LOCKED)
        return False

    def settled(self) -> None:
        """The database is no longer locked."""
        self._context.progress[Word.FENCING] = 0
        self._trouble(Trouble.AWAY)
        self._pause = _FIRST_PAUSE

    def _trouble(self, trouble: Trouble) -> None:
        self._context.progress[Word.REPOSITORY_TROUBLE] = trouble

    def _elsewhere(self, file: EpochFile, why: str) -> None:
        """Ask the fencing command for this holder, unless it was asked and has not answered, or answered just now."""
        self._context.progress[Word.FENCING] = file.number
        command = self._context.config.ha.fence_command
        problem = self._not_to_be_asked(file, command)
        if problem:
            self._trouble(Trouble.NO_COMMAND)
            self._say(
                f"the stale writer of epoch {file.number} (node {file.node!r}) holds the database: {why}; {problem}"
            )
        elif self._asked is not None and not self._asked.done():
            self._trouble(Trouble.ASKED)
        elif self._clock() >= self._not_before or file.number != self._last:
            self._last = file.number
            self._trouble(Trouble.ASKED)
            self._asked = asyncio.ensure_future(self._ask(file, why))

    def _not_to_be_asked(self, file: EpochFile, command: list[str]) -> str:
        """Why the command cannot be asked for this holder, "" when it can."""
        context = self._context
        if hooks.unsafe("no-fencing") or not command:
            return "no ha.fence_command is configured, so end it by hand on another machine: fence it"
        if file.node == context.node:
            return f"it bears this node's own name, which is never fenced: two nodes must not both be {file.node!r}"
        if file.node not in context.config.nodes:
            return "that is no node of tec_server.toml, so the fencing command cannot be asked for it"
        return ""

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said = {text}
            _log.error("%s", text)

    async def _ask(self, file: EpochFile, why: str) -> None:
        context, settings = self._context, self._context.config.ha
        if context.superseded():
            return  # this node is no longer the one that may
        _log.warning("asking the fencing command to end epoch %d on node %s: %s", file.number, file.node, why)
        try:
            found = await fence(settings.fence_command, file, settings.fence_limit, context.runtime / "fence.lock")
        except FenceFailed as failed:
            found = Fence(False, str(failed))
        if found is None:
            self._not_before = self._clock() + round(_FIRST_PAUSE * 1e6)
            return  # one runs already, asked by the process before this one
        if found.done:
            self._trouble(Trouble.FENCED)
            self._pause = _FIRST_PAUSE
            self._not_before = self._clock() + round(_GRACE * 1e6)
            said = f": {found.said}" if found.said else ""
            text = f"node {file.node} (epoch {file.number}) was fenced, since it held the repository{said}"
            _log.warning("%s", text)
            await self._post("TEC_Notice", "WARNING", text)
            return
        self._trouble(Trouble.FAILED)
        self._not_before = self._clock() + round(self._pause * 1e6)
        text = (
            f"node {file.node} (epoch {file.number}) holds the repository and the fencing command failed: "
            f"{found.said}; asked again in {self._pause:g} s"
        )
        self._pause = min(_LONGEST_PAUSE, self._pause * 2)
        _log.error("%s", text)
        if self._told_at is None or self._clock() - self._told_at >= _TELL * 1e6:
            self._told_at = self._clock()
            await self._post("TEC_Error", "CRITICAL", text)
