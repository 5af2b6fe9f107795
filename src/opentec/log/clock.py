"""Log time: integer microseconds UTC that never go back (spine: the reception log)."""

from __future__ import annotations

import time
from collections.abc import Callable


def wall_us() -> int:
    """The wall clock, microseconds UTC."""
    return time.time_ns() // 1000


def boot_us() -> int:
    """The boot-time clock, microseconds; it goes on while the machine sleeps and never jumps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


class LogClock:
    """Follows the boot-time clock and nears the wall clock at between half and double speed.

    A wall clock that is set an hour ahead or back is thus followed smoothly, and two readings are never out of order.
    """

    def __init__(self, last: int, *, wall: Callable[[], int] = wall_us, boot: Callable[[], int] = boot_us) -> None:
        """`last`: log time of the newest record, microseconds; an epoch starts at this or the wall clock, if later."""
        self._wall, self._boot = wall, boot
        self._booted = boot()
        self._log = max(last, wall())

    def now(self) -> int:
        """The log time, microseconds UTC; equal or later than any before."""
        booted = self._boot()
        passed = booted - self._booted
        self._booted = booted
        if passed > 0:
            wanted = self._wall() - self._log
            self._log += max(passed // 2, min(2 * passed, wanted))
        return self._log
