"""A clock that moves when a test says so."""

from __future__ import annotations


class FakeClock:
    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now
