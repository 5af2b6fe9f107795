"""A pipe that tells whether processes are there: those that have it open for writing, whoever their parents are."""

from __future__ import annotations

import os
import select
from pathlib import Path
from types import TracebackType
from typing import Final

PATIENCE: Final = 60.0


class Pipe:
    """A named pipe. Writers open it, write something, and keep it open as long as they are there."""

    def __init__(self, path: Path, patience: float = PATIENCE) -> None:
        os.mkfifo(path)
        self.path = path
        self._patience = patience
        self._reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def __enter__(self) -> Pipe:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._reader)

    def begun(self, writers: int = 1) -> None:
        """Wait until so many writers have written a byte each."""
        count = 0
        while count < writers:
            count += len(self._read(f"{count} of {writers} have begun"))

    def ended(self) -> None:
        """Wait until nobody has it open any more."""
        assert self._read("somebody is still there") == b""

    def _read(self, why: str) -> bytes:
        assert select.select([self._reader], [], [], self._patience)[0], f"{why} after {self._patience:g} s"
        return os.read(self._reader, 100)
