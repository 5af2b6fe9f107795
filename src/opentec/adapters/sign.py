"""An adapter's sign of life: when its reading last came round, in the lock file of its buffer, behind the process id.

That the event loop turns says nothing about reading, which may wait for ever in a thread for a disk. The sign is not
made durable: it is for whoever asks the running process (`tec probe --adapter`), and the next one that takes the lock
cuts it off. So what stands there is of the process that holds the lock, and of this boot.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, NamedTuple, cast, get_args
from zlib import crc32

from opentec.ha.clock import boottime_us

State = Literal["reading", "full", "disk", "fault"]

SLOW: Final = 1.0  # seconds after which a disk is said to be waited for
_EVERY: Final = 1_000_000  # microseconds between two signs of the same kind
_VERSION: Final = b"1"
_AT: Final = 24  # where the sign stands; before it the process id and blanks
_BODY: Final = 80
_SIZE: Final = 8 + 1 + _BODY + 1
_SOUND: Final = ("reading", "full")
_LEAST: Final = 10.0  # seconds of silence that mean nothing, however short PollInterval is


class Sign(NamedTuple):
    """What an adapter says of itself.

    `round`: when a round of reading was last completed, or the first one begun; microseconds of the boot clock.
    `poll`: PollInterval in seconds. `state`: "reading"; "full", the buffer takes nothing more; "disk", a write has been
    under way for longer than a second; "fault", the last round failed. `waiting`: events that are not acknowledged.
    `connected`: whether a server takes events.
    """

    round: int
    poll: float
    state: State
    waiting: int
    connected: bool

    @property
    def patience(self) -> float:
        """Seconds without a round after which reading is said to hang."""
        return max(3 * self.poll, _LEAST)


def read_sign(lock: Path, pid: int) -> Sign | None:
    """The sign of the process `pid` in the lock file of its buffer; None where there is none that can be trusted."""
    try:
        with lock.open("rb", buffering=0) as file:
            raw = file.read(_AT + _SIZE) or b""
    except OSError:
        return None
    named, line = raw[:_AT].strip(), raw[_AT:]
    body = line[9:-1]
    if named != b"%d" % pid or line[:9] != b"%08x " % crc32(body):
        return None
    words = body.split()
    if len(words) != 6 or words[0] != _VERSION:
        return None
    _, round_, poll, state, waiting, connected = words
    if state.decode("ascii", "replace") not in get_args(State):
        return None
    try:
        return Sign(int(round_), int(poll) / 1e6, cast(State, state.decode()), int(waiting), connected == b"1")
    except ValueError:
        return None


class LifeSign:
    """Writes the sign into the lock file of the open buffer in `folder`; a context manager.

    `poll` is PollInterval in seconds, `clock` the boot clock in microseconds. Nothing is raised: an adapter that cannot
    write its sign goes on without one.
    """

    def __init__(self, folder: Path, poll: float, clock: Callable[[], int] = boottime_us) -> None:
        self._clock = clock
        self._sign = Sign(clock(), poll, "reading", 0, False)
        self._written: tuple[int, State] | None = None
        self._lock = threading.Lock()
        self._handle: int | None = None
        self._end = 0  # of the process id
        self._telling: asyncio.Future[None] | None = None
        with contextlib.suppress(OSError):
            self._handle = os.open(folder / "lock", os.O_WRONLY | os.O_CLOEXEC)
            self._end = os.fstat(self._handle).st_size
        self.write()

    @property
    def due(self) -> bool:
        """Whether the sign should be written: once a second, and when it turns sound or ill."""
        if self._written is None:
            return False
        at, state = self._written
        return self._clock() - at >= _EVERY or (state in _SOUND) != (self._sign.state in _SOUND)

    def completed(self, *, full: bool, waiting: int, connected: bool) -> None:
        """A round was completed."""
        state: State = "full" if full else "reading"
        self._sign = Sign(self._clock(), self._sign.poll, state, waiting, connected)

    def failed(self) -> None:
        """A round failed: nothing was read that could be kept."""
        self._sign = self._sign._replace(state="fault")

    async def during(self, work: Callable[[], None]) -> None:
        """Do `work`, which may wait for a disk, in a thread; if it takes longer than SLOW the sign says so."""
        doing = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            done, _ = await asyncio.wait({doing}, timeout=SLOW)
            if not done:
                self._sign = self._sign._replace(state="disk")
                # not waited for: it may be the same disk
                self._telling = asyncio.get_running_loop().run_in_executor(None, self.write)
            await doing
        finally:
            doing.cancel()

    def write(self) -> None:
        """Write it. Blocks if the disk does."""
        with self._lock:
            if self._handle is None:
                return
            sign = self._sign
            now = self._clock()
            fields = (_VERSION, sign.round, round(sign.poll * 1e6), sign.state.encode(), sign.waiting, sign.connected)
            body = (b"%b %d %d %b %d %d" % fields).ljust(_BODY)
            line = b"%08x %b\n" % (crc32(body), body)
            self._written = (now, sign.state)  # also when it fails: it is tried again when it is due
            try:
                # the line of the process id is not touched: who finds the buffer in use reads it
                os.pwrite(self._handle, b" " * (_AT - self._end) + line, self._end)
            except OSError:
                self._withdraw()

    def _withdraw(self) -> None:
        """No sign rather than one that grows old while the adapter reads on."""
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self._end)

    def close(self) -> None:
        """Take the sign away: nothing is read any more."""
        # who still writes waits for the disk; then the descriptor stays open for it, until the process ends
        if self._lock.acquire(blocking=False):
            self._withdraw()
            if self._handle is not None:
                os.close(self._handle)
            self._handle, self._written = None, None
            self._lock.release()

    def __enter__(self) -> LifeSign:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
