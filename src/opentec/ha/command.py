"""The fencing command: how a stale server on another host is ended (ha.md 4 (i), liveness).

An argument list, run without a shell, with a time limit, and never twice at once on this host: the lock on one file is
inherited by the command, so it lasts for as long as the command does, whatever becomes of who asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import fcntl
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from opentec.ha.clock import boottime_us
from opentec.ha.epochs import EpochFile
from opentec.ha.errors import FenceFailed
from opentec.ha.process import start_time

PLACEHOLDERS: Final = ("node", "pid", "epoch", "address")
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_OUTPUT: Final = 1000  # bytes of the command's last words that are kept
_OVERDUE: Final = 5.0  # seconds behind its limit after which anybody ends it; until then that is who asked
_NOTE: Final = 64  # bytes of the lock file: pid, start time, until when
_PIPE: Final = 65_536
_LOOK: Final = 0.02  # seconds between two looks at whether it has ended
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Fence(NamedTuple):
    """What came of asking. `said` is the end of the command's output, or why it could not be run."""

    done: bool
    said: str


def check_command(command: Sequence[str]) -> None:
    """Raises ValueError when the argument list holds a placeholder that there is not, or names no program."""
    if command and not command[0].startswith("/"):
        raise ValueError(f"the program {command[0]!r} must be named from the root, for example /usr/sbin/fence_ipmilan")
    for word in command:
        for name in _PLACEHOLDER.findall(word):
            if name not in PLACEHOLDERS:
                close = difflib.get_close_matches(name, PLACEHOLDERS, 1)
                hint = f"did you mean {{{close[0]}}}?" if close else f"known are {', '.join(PLACEHOLDERS)}"
                raise ValueError(f"{word!r}: there is no placeholder {{{name}}}; {hint}")


def arguments(command: Sequence[str], file: EpochFile) -> list[str]:
    """The argument list for one stale server. What a value holds is never looked at for placeholders again."""
    values = {
        "node": file.node,
        "pid": str(file.pid),
        "epoch": str(file.number),
        "address": file.addresses[0] if file.addresses else "",
    }
    return [_PLACEHOLDER.sub(lambda found: values[found[1]], word) for word in command]


async def fence(command: Sequence[str], file: EpochFile, limit: float, lock: Path) -> Fence | None:
    """Run the fencing command for the server that `file` names, for `limit` seconds at most.

    None when one runs already, asked by another process that uses the same `lock`. Only exit status 0 is success.
    Raises FenceFailed when `lock` cannot be made.
    """
    try:
        held = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise FenceFailed(f"{lock}: {error.strerror}; the fencing command cannot be asked") from error
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            _end_overdue(held)
            return None
        return await _run(arguments(command, file), limit, held)
    finally:
        os.close(held)  # the command has its own, if it still runs


async def _run(words: list[str], limit: float, lock: int) -> Fence:
    # a pipe of our own: asyncio's would be read to its end, which a process that the command leaves behind can put off
    read, write = os.pipe()
    os.set_blocking(read, False)
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=write,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": os.environ.get("PATH", _PATH), "LC_ALL": "C"},
            cwd="/",
            start_new_session=True,
            pass_fds=(lock,),
        )
    except (OSError, ValueError) as error:
        os.close(read)
        return Fence(False, f"cannot run {words[0]}: {getattr(error, 'strerror', None) or error}")
    finally:
        os.close(write)  # the command has its own
    try:
        return await _watch(process, read, limit, lock)
    finally:
        os.close(read)


async def _watch(process: asyncio.subprocess.Process, read: int, limit: float, lock: int) -> Fence:
    """Wait for the end of the command, `limit` seconds at most, and keep the end of what it says."""
    note = f"{process.pid} {start_time(process.pid) or 0} {boottime_us() + round((limit + _OVERDUE) * 1e6)}"
    with contextlib.suppress(OSError):  # a full disk: it runs all the same, and only who comes later cannot end it
        os.pwrite(lock, note.ljust(_NOTE).encode(), 0)
    said = b""
    try:
        async with asyncio.timeout(limit):
            while process.returncode is None:
                said = _more(read, said)
                await asyncio.sleep(_LOOK)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        return Fence(False, f"not done within {limit:g} s, killed. {_last_line(_more(read, said))}".strip())
    status, last = process.returncode, _last_line(_more(read, said))
    return Fence(status == 0, last if status == 0 else f"exit status {status}. {last}".strip())


def _more(read: int, said: bytes) -> bytes:
    """The end of what was said, with what a full pipe can hold at most."""
    try:
        return (said + os.read(read, _PIPE))[-_OUTPUT:]
    except BlockingIOError:
        return said


def _end_overdue(lock: int) -> None:
    """Whoever asked is gone and can end it no more: a command that never ends must not keep the lock for ever."""
    try:
        pid, started, until = (int(word) for word in os.pread(lock, _NOTE, 0).split())
    except (OSError, ValueError):
        return
    # its first process may have ended; as long as others of its group live, nobody else gets that number
    if pid > 1 and boottime_us() > until and start_time(pid) in (None, started):
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)


def _last_line(said: bytes) -> str:
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:200] if lines else ""
