"""The lease: who is the server. Whoever creates `epoch.N` first holds epoch N, for as long as there is no N + 1.

Safety rests on link(2) alone and on no clock: one winner per number. The lock that the file is born with tells the
death of its holder, the counter in it tells a hang (ha.md 4 (i)).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from opentec.ha import epochs, process
from opentec.ha.clock import boottime_us
from opentec.ha.epochs import EpochFile, gc, holder_dead, newest, superseded
from opentec.ha.errors import LeaseDirectoryError, LeaseLost

__all__ = ["PRESETS", "EpochFile", "Lease", "Preset", "gc", "holder_dead", "newest", "superseded"]


@dataclass(frozen=True, slots=True)
class Preset:
    """How often the holder beats, and after how long without a beat a standby takes over; microseconds."""

    beat_us: int
    ttl_us: int

    def __post_init__(self) -> None:
        """Raises ValueError where a holder could not give way before a standby claims: the last beat that succeeds, the
        step down at two thirds, and a whole beat between two looks must fit into the time to live.
        """
        if self.beat_us <= 0 or self.step_down_us + self.beat_us >= self.ttl_us:
            beat, ttl = self.beat_us / 1e6, self.ttl_us / 1e6
            raise ValueError(
                f"a beat every {beat:g} s does not fit a time to live of {ttl:g} s: the active node gives way after "
                f"two thirds of it ({ttl * 2 / 3:.3g} s) and must notice before the standby claims, so beat must be "
                f"less than {ttl / 3:.3g} s, or ttl more than {beat * 3:.3g} s"
            )

    @property
    def step_down_us(self) -> int:
        """After how long without a successful beat the holder gives up by itself (ha.md 4 (i): two thirds)."""
        return self.ttl_us * 2 // 3


PRESETS: Final = {
    "slow": Preset(2_000_000, 10_000_000),
    "normal": Preset(600_000, 3_000_000),
    "fast": Preset(200_000, 1_000_000),
}


class Lease:
    """Epoch `epoch`, held by this process. Made by `claim`; one owner, one thread."""

    def __init__(self, directory: Path, epoch: int, descriptor: int, clock: Callable[[], int]) -> None:
        self.directory, self.epoch = directory, epoch
        self._descriptor = descriptor
        self._clock = clock
        self._counter = 0
        self._beaten = clock()

    @classmethod
    def claim(
        cls,
        directory: Path,
        node: str,
        addresses: Sequence[str],
        expect: int,
        *,
        repository_epoch: int = 0,
        version: int = 1,
        clock: Callable[[], int] = boottime_us,
    ) -> Lease | None:
        """Take over from epoch `expect` (0 = nobody), which the caller found dead, hung, stopped or its own.

        The new number is one more than `expect` and `repository_epoch`, so that none is used twice even where files
        were lost. `addresses` is where this server can be reached, `version` that of what it writes. None when
        somebody else was faster: look again.
        Raises LeaseDirectoryError; ValueError when node and addresses are too long.
        """
        number = 1 + max(expect, repository_epoch)
        content = epochs.encode(
            {
                "node": node,
                "pid": os.getpid(),
                "start_time": process.start_time(os.getpid()) or 0,
                "boot_id": process.boot_id(),
                "pid_namespace": process.pid_namespace(),
                "addresses": list(addresses),
                "version": version,
            }
        )
        if (epochs.numbers(directory) or [0])[-1] != expect:
            return None
        draft = directory / f"{epochs.DRAFT}{os.getpid()}.{os.urandom(8).hex()}"
        descriptor = -1
        try:
            descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            # locked before it has its name: nobody ever sees the lock of a living holder free
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.pwrite(descriptor, content, 0)
            os.fsync(descriptor)
            lease = cls(directory, number, descriptor, clock)
            if not lease._born(draft, expect):
                os.close(descriptor)
                return None
            return lease
        except OSError as error:
            if descriptor >= 0:
                os.close(descriptor)
            raise LeaseDirectoryError(
                f"{directory}: the lease cannot be claimed: {error.strerror}; the file system must be writable and "
                "offer hard links and flock"
            ) from error
        finally:
            with suppress(OSError):  # on a file system that cannot be written, this must not hide what was wrong
                draft.unlink(missing_ok=True)

    def _born(self, draft: Path, expect: int) -> bool:
        try:
            os.link(draft, epochs.path_of(self.directory, self.epoch))
        except (FileExistsError, FileNotFoundError):
            return False  # somebody has the number, or its holder has cleared the draft away
        _sync(self.directory)
        others = epochs.numbers(self.directory)
        if others[-1] > self.epoch:
            # Only where the number was free because gc removed it (this process slept since it looked), or where
            # somebody jumped over it: the highest number holds.
            epochs.path_of(self.directory, self.epoch).unlink(missing_ok=True)
            return False
        if self.epoch > expect + 1:
            # A holder below a gap looks for its own successor only, so its file must go.
            for number in others[:-1]:
                epochs.path_of(self.directory, number).unlink(missing_ok=True)
            _sync(self.directory)
        return True

    def beat(self) -> None:
        """Tell the standbys that this server lives. Raises LeaseLost when it is superseded, OSError of the disk."""
        if self.superseded():
            raise LeaseLost(self.epoch)
        counter = self._counter + 1
        os.pwrite(self._descriptor, b"%0*d" % (epochs.COUNTER_WIDTH, counter), epochs.COUNTER_AT)
        self._counter, self._beaten = counter, self._clock()

    def overdue(self, preset: Preset) -> bool:
        """Has no beat succeeded for two thirds of the time to live? Then the holder steps down by itself."""
        return self._clock() - self._beaten > preset.step_down_us

    def superseded(self) -> bool:
        """Has another server taken over, or is this epoch's file gone?"""
        try:
            if os.fstat(self._descriptor).st_nlink == 0:
                return True
        except OSError:
            return True
        return superseded(self.directory, self.epoch)

    def fileno(self) -> int:
        """The descriptor whose lock is the proof of life; children must not keep it."""
        return self._descriptor

    def forget(self) -> None:
        """Close the descriptor and let the lock be. Harmless when repeated."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def release(self) -> None:
        """Give the lease up: standbys see the lock free and claim at once. Harmless when repeated."""
        if self._descriptor >= 0:
            # explicitly, since a child that has not forgotten yet would keep the lock
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self.forget()


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
