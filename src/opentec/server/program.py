"""One program from beginning to end: no shell, no input, its own session, a time limit, the end of its output."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import shutil
import signal
import stat
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from opentec.server.library import TaskRefused

_PR_SET_PDEATHSIG: Final = 1
_prctl: Final[Any] = ctypes.CDLL(None, use_errno=True).prctl  # looked up here: between fork and exec nothing is loaded
_GRACE: Final = 2.0  # seconds between SIGTERM and SIGKILL
_LINGER: Final = 0.25  # seconds that output is waited for once the program itself has ended
_READ: Final = 65536


class Ended(NamedTuple):
    """How a program ended. `status` is None when it was never started, negative when a signal ended it."""

    status: int | None
    output: str
    done: bool


def find_program(name: str, directory: Path, path: str) -> str:
    """The file of a program: as it stands with a leading `/`; below `directory` with a `/`; else of `path`.

    Raises TaskRefused when there is none, or when anybody may write it.
    """
    if "\0" in name:
        raise TaskRefused(f"cannot run {name}: a name holds no zero byte")
    if "/" in name:
        file = Path(name) if name.startswith("/") else directory / name
        if ".." in Path(name).parts:
            raise TaskRefused(f"cannot run {name}: '..' is not allowed; name it from the root")
    else:
        found = shutil.which(name, path=path)
        if found is None:
            hint = f"write scripts/{name} for a file in {directory}/scripts"
            raise TaskRefused(f"cannot run {name}: no such program; {hint} (PATH: {path})")
        file = Path(found)
    try:
        real = file.resolve(strict=True)
        mode, folder = real.stat().st_mode, real.parent.stat().st_mode
    except (OSError, RuntimeError) as error:
        raise TaskRefused(f"cannot run {name}: {file}: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(mode) or not os.access(real, os.X_OK):
        raise TaskRefused(f"cannot run {name}: {file} is not an executable file; chmod +x makes a script one")
    if mode & stat.S_IWOTH:
        raise TaskRefused(f"cannot run {name}: anybody may write {file}; chmod o-w it")
    if folder & stat.S_IWOTH and not folder & stat.S_ISVTX:
        raise TaskRefused(f"cannot run {name}: anybody may replace what is in {real.parent}; chmod o-w it")
    return str(file)


def _why_not_started(error: OSError | ValueError) -> str:
    number = getattr(error, "errno", None)
    if number == errno.ENOEXEC:
        return "it is neither a program nor a script; a script begins with a line such as #!/bin/sh"
    if number == errno.ENOENT:  # the file itself was found before
        return "the program that its first line names (#!...) is not there"
    return getattr(error, "strerror", None) or str(error)


async def run_program(
    argv: Sequence[str],
    *,
    executable: str,
    environment: Mapping[str, str],
    directory: Path,
    time_limit: float,
    output_limit: int,
) -> Ended:
    """Run one argument list in `directory` for `time_limit` seconds at most, keeping `output_limit` bytes of output.

    A process that the program leaves behind lives on; its output is not waited for.
    """
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(read_end, False)
    output = _Output(read_end, output_limit)
    try:
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                executable=executable,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=asyncio.subprocess.STDOUT,
                env=dict(environment),
                cwd=directory,
                start_new_session=True,
                preexec_fn=partial(_die_with_parent, os.getpid()),
            )
        except (OSError, ValueError) as error:
            return Ended(None, f"cannot run {argv[0]}: {_why_not_started(error)}", False)
        finally:
            os.close(write_end)
        reason = ""
        try:
            async with asyncio.timeout(time_limit):
                await process.wait()
        except TimeoutError:
            reason = f"ended after its time limit of {time_limit:g} s"
            await _end(process)
        finally:
            if process.returncode is None:  # this task was cancelled
                _signal(process, signal.SIGKILL)
        await output.rest()
    finally:
        output.close()
    if reason:
        text = output.text()
        return Ended(
            process.returncode, f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{reason}", False
        )
    return Ended(process.returncode, output.text(), process.returncode == 0)


class _Output:
    """The end of what comes out of a pipe; the rest is read and thrown away."""

    def __init__(self, descriptor: int, limit: int) -> None:
        self._descriptor, self._limit = descriptor, limit
        self._kept = b""
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    def _read(self) -> None:
        try:
            part = os.read(self._descriptor, _READ)
        except BlockingIOError:
            return
        if part:
            self._kept = (self._kept + part)[-self._limit :] if self._limit else b""
        else:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            self._ended.set()

    async def rest(self) -> None:
        """Wait until nobody can write any more, but not long: what the program left behind may never end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER):
                await self._ended.wait()

    def text(self) -> str:
        return self._kept.decode("utf-8", "replace")

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a program with all that is in its session's group."""
    _signal(process, signal.SIGTERM)
    try:
        async with asyncio.timeout(_GRACE):
            await process.wait()
    except TimeoutError:
        _signal(process, signal.SIGKILL)
        await process.wait()
    else:
        _signal(process, signal.SIGKILL)  # those of its group that did not listen


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _die_with_parent(parent: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died between the fork and the call
        os._exit(1)
