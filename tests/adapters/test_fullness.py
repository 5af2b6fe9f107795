"""A full buffer is told once, and once more when it takes events again; never more than a pair a minute."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from opentec.adapters.conf import AdapterConf
from opentec.adapters.fullness import Fullness

NO_ROOM = "no room for the buffer /b: No space left on device; free some space, nothing buffered is lost"


class World:
    """A buffer, a sender, a clock, and what was said."""

    def __init__(self, buffering: Any = "YES") -> None:
        self.buffer = SimpleNamespace(full=False, pending=300, path=Path("/b"), max_size=256 * 1024)
        self.sender = SimpleNamespace(server=None, problem="black:5529: connection refused")
        self.now = 0.0
        self.said: list[str] = []
        conf = AdapterConf("a.conf", buffering=buffering)
        buffer: Any = self.buffer
        sender: Any = self.sender
        self.fullness = Fullness(conf, buffer, sender, self.said.append, lambda: self.now)

    def at(self, now: float, full: bool, no_room: str = "") -> int:
        """Look at this time; how many sentences have been said so far."""
        self.now, self.buffer.full = now, full
        assert self.fullness.look(no_room) is (full or bool(no_room))
        return len(self.said)


def test_it_is_told_once_and_once_more_when_reading_goes_on() -> None:
    world = World()
    assert [world.at(0, False), world.at(1, True), world.at(2, True), world.at(313, True), world.at(314, False)] == [
        0,
        0,
        1,
        1,
        2,
    ]
    assert world.at(315, False) == 2
    assert world.said == [
        "the buffer /b is full: 300 events wait (BufEvtMaxSize=256 KB). No server takes events: black:5529: connection "
        "refused. Reading waits for room; nothing is dropped, what was not read stays in the logs and is read from "
        "there",
        "the buffer /b takes events again, after 313 s; reading goes on",
    ]


def test_a_buffer_that_is_full_for_a_moment_is_not_told() -> None:
    world = World()
    assert [world.at(now / 2, now % 2 == 0) for now in range(100)] == [0] * 100


def test_flapping_is_told_a_pair_a_minute() -> None:
    world = World()
    for now in range(600):
        world.at(now, now % 3 != 2)
    pairs = [("full" in one, "again" in two) for one, two in zip(world.said[::2], world.said[1::2], strict=True)]
    assert set(pairs) == {(True, True)}
    assert 9 <= len(pairs) <= 10


def test_what_was_not_told_for_quiet_is_told_when_it_lasts() -> None:
    world = World()
    assert [world.at(0, True), world.at(1, True), world.at(2, False), world.at(3, True)] == [0, 1, 2, 2]
    assert [world.at(61, True), world.at(62, True), world.at(70, False)] == [2, 3, 4]
    assert "after 67 s" in world.said[3]


def test_no_room_on_the_disk_is_told_at_once() -> None:
    world = World()
    assert world.at(0, True, NO_ROOM) == 1
    assert world.said[0].startswith(f"{NO_ROOM}. No server takes events: black:5529")
    world = World()
    world.sender.server = ("black", 5529)
    world.at(0, True, NO_ROOM)
    assert world.said[0].startswith(f"{NO_ROOM}. Reading waits")


@pytest.mark.parametrize(
    ("buffering", "which", "size"),
    [
        ("MEMORY_ONLY", "the buffer in memory (BufferEvents=MEMORY_ONLY) is full", "(BufEvtMaxSize=256 KB)"),
        ("NO", "the buffer in memory (BufferEvents=NO) is full", "300 events wait in 256 KB."),
    ],
)
def test_which_buffer_and_how_large(buffering: str, which: str, size: str) -> None:
    world = World(buffering)
    world.at(0, True)
    world.at(1, True)
    assert world.said[0].startswith(which) and size in world.said[0]


def test_what_the_server_does() -> None:
    world = World()
    world.sender.problem = ""
    world.at(0, True)
    world.at(1, True)
    assert "No server takes events: none has answered yet. " in world.said[0]
    world = World()
    world.sender.server = ("black", 5529)
    world.at(0, True)
    world.at(1, True)
    assert "black:5529 takes events more slowly than they come. Reading" in world.said[0]
