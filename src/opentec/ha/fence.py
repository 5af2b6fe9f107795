"""Ending a stale server on this machine: it may have been stopped while it held the database's lock (ha.md 2f)."""

from __future__ import annotations

import os
import select
import signal
from enum import Enum
from typing import Final

from opentec.ha import process
from opentec.ha.epochs import EpochFile
from opentec.ha.errors import FenceFailed

PATIENCE: Final = 2.0  # seconds; a kill takes milliseconds unless the process is stuck in the kernel


class Fenced(Enum):
    """What became of the stale server."""

    KILLED = "killed"
    GONE = "gone"  # it had ended before
    ELSEWHERE = "elsewhere"  # it runs on another machine, boot or container: the fencing command must be asked


def kill_stale(file: EpochFile, patience: float = PATIENCE) -> Fenced:
    """SIGKILL the holder that `file` names and wait until it has ended, at most `patience` seconds.

    Never hits a process that merely has its pid now: the pid is pinned first, then its start time is compared. Its
    children end with it (their parent-death signal), which may take a moment longer. Raises FenceFailed.
    """
    if not file.pid or file.boot_id != process.boot_id() or file.pid_namespace != process.pid_namespace():
        return Fenced.ELSEWHERE
    if file.pid in (os.getpid(), os.getppid()):
        return Fenced.GONE  # an earlier epoch of this very server: nobody else stands behind it
    try:
        pinned = os.pidfd_open(file.pid)
    except ProcessLookupError:
        return Fenced.GONE
    except OSError as error:
        raise FenceFailed(_cannot(file, str(error.strerror))) from error
    try:
        if process.start_time(file.pid) != file.start_time:
            return Fenced.GONE
        try:
            signal.pidfd_send_signal(pinned, signal.SIGKILL)
        except ProcessLookupError:
            return Fenced.GONE
        except PermissionError as error:
            raise FenceFailed(_cannot(file, str(error.strerror))) from error
        waiting = select.poll()
        waiting.register(pinned, select.POLLIN)
        if not waiting.poll(patience * 1000):
            raise FenceFailed(_cannot(file, f"it has not ended {patience:g} s after SIGKILL"))
        return Fenced.KILLED
    finally:
        os.close(pinned)


def _cannot(file: EpochFile, reason: str) -> str:
    return (
        f"the stale server of epoch {file.number} (node {file.node!r}, pid {file.pid}) cannot be ended: {reason}; "
        "end it by hand or restart its machine"
    )
