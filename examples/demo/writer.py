"""The log that grows: lines appended in bursts, as programs do it, some of them in two pieces."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_LONGEST: Final = 0.25  # seconds between two bursts


class Writer(threading.Thread):
    """Appends all of `lines` to `path` in about `seconds`, and never goes beyond the share `hold` of them.

    The story raises `hold`: so a fault comes in mid-stream on a slow machine too. `fault` is what ended it early.
    """

    def __init__(self, path: Path, lines: Sequence[bytes], seconds: float, seed: int = 1) -> None:
        super().__init__(name="writer", daemon=True)
        self.path, self.lines, self.seconds = path, lines, seconds
        self.written = 0
        self.hold = 1.0
        self.fault: OSError | None = None
        self._end = threading.Event()
        self._chance = random.Random(seed)

    @property
    def share(self) -> float:
        """How much is written, from 0 to 1."""
        return self.written / len(self.lines)

    def run(self) -> None:
        rate = len(self.lines) / self.seconds
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
            try:
                while self.written < len(self.lines) and not self._end.is_set():
                    pause = self._chance.uniform(0.01, _LONGEST)
                    self._burst(handle, max(1, round(rate * pause)))
                    self._end.wait(pause)
            finally:
                os.close(handle)
        except OSError as error:
            self.fault = error

    def _burst(self, handle: int, count: int) -> None:
        to = min(self.written + count, int(self.hold * len(self.lines)))
        if to <= self.written:
            return
        data = memoryview(b"".join(line + b"\n" for line in self.lines[self.written : to]))
        middle = self._chance.randrange(len(data))
        for part in (data[:middle], data[middle:]):
            while part:
                part = part[os.write(handle, part) :]
            time.sleep(0.002)
        self.written = to

    def stop(self) -> None:
        self._end.set()
        if self.is_alive():
            self.join()
