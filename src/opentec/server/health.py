"""Is the server healthy? Health is progress, not processes (redbook, appendix C: a log that does not shrink).

`judge` is a pure function of readings; `Vitals` takes them from the shared page and remembers since when things are as
they are. That no adapter is connected says nothing about the server and is not looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from opentec.server.config import Config
from opentec.server.progress import CHILDREN, Progress, Trouble, Word, boot_us

_SAMPLES: Final = 20  # of the backlog, in the time for which it may grow
_GROWN: Final = 1 << 20  # bytes that a backlog must have gained to count as growing


@dataclass(frozen=True, slots=True)
class Process:
    """One of the four. Times are seconds."""

    name: str
    pid: int = 1
    silent: float = 0.0  # since its last sign of life
    ready: bool = True


@dataclass(frozen=True, slots=True)
class Readings:
    """What is known of an active node at one moment. Times are seconds that something has lasted, 0 = it does not."""

    processes: tuple[Process, ...] = ()
    waiting: int = 0  # bytes of the log that are not committed
    stuck: float = 0.0  # nothing was committed although something waits
    grown_from: int | None = None  # bytes that waited `growing_after` seconds ago, where they only became more
    repository_away: float = 0.0
    trouble: Trouble = Trouble.AWAY
    stale: str = ""  # the stale writer, for example "epoch 3, node brown"
    transaction: float = 0.0
    sync: float = 0.0  # records are being made durable
    probe: float = 0.0  # a disk is being tried out
    paused: float = 0.0
    refused: str = ""  # why the rule base that was to become active did not


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds from which on something is wrong."""

    silent: float = 5.0
    stuck: float = 30.0
    transaction: float = 10.0
    growing: float = 600.0
    disk: float = 1.0

    @classmethod
    def of(cls, config: Config) -> Limits:
        watch = config.supervision
        return cls(
            max(2.0, watch.hang_after / 2),
            watch.stuck_after,
            watch.transaction_after,
            watch.growing_after,
            config.ha.preset.ttl_us / 3e6,
        )


class Reason(NamedTuple):
    """Why a server is not healthy. `code` is for programs, `text` for people."""

    code: str
    text: str
    since: float  # seconds that it has lasted, as far as known
    restart: bool  # may a restart, here or on another node, help?


def judge(readings: Readings, limits: Limits) -> list[Reason]:
    """Everything that is wrong, the most telling first; empty = healthy."""
    found = [*_processes(readings, limits), *_repository(readings, limits), *_log(readings, limits)]
    # that a process is not ready yet follows from the others, where there are others
    return sorted(found, key=lambda reason: reason.code == "not-ready")


def _processes(readings: Readings, limits: Limits) -> list[Reason]:
    found = []
    for process in readings.processes:
        name, silent = process.name, process.silent
        if not process.pid:
            found.append(Reason("process", f"{name} is not running", 0.0, True))
        elif silent > limits.silent:
            found.append(Reason("hung", f"{name} shows no sign of life for {silent:.0f} s", silent, True))
        elif not process.ready:
            found.append(Reason("not-ready", f"{name} is not ready yet", 0.0, False))
    return found


def _repository(readings: Readings, limits: Limits) -> list[Reason]:
    found, away = [], readings.repository_away
    if away:
        waits = "; events wait in the log"
        text = {
            Trouble.AWAY: f"the repository does not answer for {away:.0f} s{waits}",
            Trouble.LOCKED: f"another process holds the repository's write lock for {away:.0f} s{waits}",
            Trouble.NO_COMMAND: f"the stale server ({readings.stale}) holds the repository for {away:.0f} s and cannot "
            "be ended from here: end it, or let ha.fence_command do that",
            Trouble.ASKED: f"the stale server ({readings.stale}) holds the repository for {away:.0f} s; the fencing "
            "command runs",
            Trouble.FAILED: f"the stale server ({readings.stale}) holds the repository for {away:.0f} s and the "
            "fencing command failed; it is asked again, log tec_dispatch.log says why it failed",
            Trouble.FENCED: f"the fencing command ended the stale server ({readings.stale}), and still somebody holds "
            f"the repository, {away:.0f} s now",
        }[readings.trouble]
        found.append(Reason("repository", text, away, False))
    elif readings.transaction > limits.transaction:
        text = f"a transaction of the repository has not ended for {readings.transaction:.0f} s"
        found.append(Reason("transaction", text, readings.transaction, True))
    if readings.waiting > 0 and readings.stuck > limits.stuck and not away:
        text = f"events wait in the log and nothing was committed for {readings.stuck:.0f} s"
        found.append(Reason("stuck", text, readings.stuck, True))
    return found


def _log(readings: Readings, limits: Limits) -> list[Reason]:
    found = []
    if readings.grown_from is not None:
        text = (
            f"the log grows faster than it is worked off: {_size(readings.waiting)} wait, {limits.growing:.0f} s ago "
            f"{_size(readings.grown_from)} did"
        )
        found.append(Reason("growing", text, limits.growing, False))
    slow = max(readings.sync, readings.probe)
    if slow > limits.disk:
        text = f"the disk has not made durable for {slow:.1f} s what was written; nothing is acknowledged meanwhile"
        found.append(Reason("disk", text, slow, False))
    if readings.paused:
        text = f"sockets are not read: the reception log or its disk is full, for {readings.paused:.0f} s"
        found.append(Reason("paused", text, readings.paused, False))
    if readings.refused:
        found.append(Reason("rule-base", readings.refused, 0.0, False))
    return found


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count} bytes"


@dataclass
class Vitals:
    """Readings of the shared page over time. `look` belongs to the watch, four times a second or so."""

    progress: Progress
    limits: Limits
    clock: Callable[[], int] = boot_us
    _committed: int = 0
    _moving_at: int = 0
    _paused_at: int = 0
    _samples: deque[tuple[int, int]] = field(default_factory=deque)  # when, bytes that waited

    def __post_init__(self) -> None:
        self._moving_at = self.clock()

    def look(self, waiting: Callable[[], int]) -> None:
        """Once in a while: `waiting` gives the bytes that wait, and is asked seldom."""
        progress, now = self.progress, self.clock()
        committed = progress[Word.COMMITTED]
        idle = committed >= progress[Word.DURABLE]
        if committed != self._committed or idle:
            self._committed, self._moving_at = committed, now
        if not progress[Word.PAUSED]:
            self._paused_at = 0
        elif not self._paused_at:
            self._paused_at = now
        if idle:
            self._samples.clear()
        elif not self._samples or now - self._samples[-1][0] >= self.limits.growing / _SAMPLES * 1e6:
            self._samples.append((now, waiting()))
            while len(self._samples) > 1 and now - self._samples[1][0] >= self.limits.growing * 1e6:
                self._samples.popleft()

    def grown_from(self, waiting: int) -> int | None:
        """What waited a window ago, where the backlog was never worked off since and only became more."""
        if not self._samples or self.clock() - self._samples[0][0] < self.limits.growing * 1e6:
            return None
        sizes = [size for _, size in self._samples]
        first = sizes[0]
        return first if waiting > first + _GROWN and min(sizes) >= first else None

    def readings(self, pids: dict[str, int], waiting: int, *, stale: str = "", refused: str = "") -> Readings:
        """What `judge` wants to know. `pids`: process id of each child that the master has started, 0 = none."""
        progress, now = self.progress, self.clock()

        def lasts(word: Word) -> float:
            since = progress[word]
            return max(0.0, (now - since) / 1e6) if since else 0.0

        processes = tuple(
            Process(
                f"tec_{name}",
                pids[name],
                (now - progress[Word.BEAT_RECEPTION + number]) / 1e6,
                bool(progress[Word.READY_RECEPTION + number]),
            )
            for number, name in enumerate(CHILDREN)
            if name in pids
        )
        away = lasts(Word.REPOSITORY_ERROR_SINCE)
        return Readings(
            processes,
            waiting,
            (now - self._moving_at) / 1e6,
            self.grown_from(waiting),
            max(away, 1e-6) if progress[Word.REPOSITORY_ERROR_SINCE] else 0.0,
            Trouble(progress[Word.REPOSITORY_TROUBLE]),
            stale,
            lasts(Word.TRANSACTION_SINCE),
            lasts(Word.SYNC_SINCE),
            lasts(Word.PROBE_SINCE),
            max((now - (self._paused_at or now)) / 1e6, 1e-6) if progress[Word.PAUSED] else 0.0,
            refused,
        )
