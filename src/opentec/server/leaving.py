"""How the active node leaves: giving way while a disk may hang, and a stop that must not become a failover."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Final

from opentec.ha import marks
from opentec.ha.errors import LeaseDirectoryError
from opentec.ha.lease import Lease
from opentec.server.errors import Refused

_log = logging.getLogger("master")
_MARKS: Final = 0.2  # seconds that the marks have to become known; a disk that hangs takes them never


def mark_stopped(lease: Lease, *, others: bool) -> None:
    """Before anything is ended: without its mark a stop would be a failover, where there are `others`. Raises Refused.

    The only node can be stopped on a disk that takes no mark, too.
    """
    try:
        marks.mark_stopped(lease.directory, lease.epoch)
    except LeaseDirectoryError as error:
        if others:
            raise Refused(
                f"not stopped, since a standby would take over: {error}; or stop the nodes one by one, the standby "
                "first, with `tec stop --node NODE`"
            ) from error
        _log.warning("stopped without a mark, so the next start will look like a failover: %s", error)


def give_way(lease: Lease, node: str, reason: str, left: list[int]) -> None:
    """Release the lease, with word of why and of the processes that are `left`, if the disk takes it at once.

    The marks come first, since the standby reads them when it sees the lock free; they are written by a child of this
    process, which waits for the disk in its stead. For a process with one thread.
    """

    def leave_word() -> None:
        marks.mark_gave_way(lease.directory, lease.epoch, reason)
        if left:
            marks.mark_left(lease.directory, lease.epoch, node, left)

    _in_a_child(leave_word, _MARKS)
    lease.release()


def _in_a_child(work: Callable[[], None], seconds: float) -> None:
    """Wait for `work` for at most `seconds`. What takes longer is left to whoever collects all children."""
    pid = os.fork()
    if not pid:
        try:
            os.closerange(3, 4096)  # else a node that ends meanwhile would keep its lock, and could not be started
            work()
        finally:
            os._exit(0)
    end = time.monotonic() + seconds
    while not os.waitpid(pid, os.WNOHANG)[0] and time.monotonic() < end:
        time.sleep(0.002)
