"""The clock of leases: it counts through suspend, and no step of the wall clock moves it (ha.md 4 (i))."""

from __future__ import annotations

import time


def boottime_us() -> int:
    """Microseconds since this machine booted, suspended time included. Meaningless on another machine."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
