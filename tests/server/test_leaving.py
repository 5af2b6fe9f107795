"""Giving way: word of why comes before the lease is free, and a disk that hangs keeps nobody."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from opentec.ha import epochs, marks
from opentec.ha.lease import Lease
from opentec.server import leaving


def claim(tmp_path: Path) -> Lease:
    lease = Lease.claim(tmp_path, "brown", [], 0)
    assert lease is not None
    return lease


@pytest.mark.parametrize("left", [[], [os.getpid()]])
def test_the_reason_is_known_when_the_lock_is_free(tmp_path: Path, left: list[int]) -> None:
    leaving.give_way(claim(tmp_path), "brown", "the disk hangs", left)
    assert epochs.holder_dead(epochs.read(tmp_path, 1))
    assert marks.gave_way(tmp_path, 1) == "the disk hangs" and marks.left(tmp_path, 1) == bool(left)


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The disk hangs: the pids of who waits for it."""
    monkeypatch.setattr(leaving, "_MARKS", 0.01)
    monkeypatch.setattr(marks, "mark_gave_way", lambda *_: signal.pause())
    fork, children = os.fork, []

    def forked() -> int:
        children.append(fork())
        return children[-1]

    monkeypatch.setattr(os, "fork", forked)
    yield children
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_what_waits_for_the_disk_keeps_no_lock_of_the_node(tmp_path: Path, hanging: list[int]) -> None:
    """Else the node, ended meanwhile, could not be started before the disk answers."""
    read, write = os.pipe()
    leaving.give_way(claim(tmp_path), "brown", "the disk hangs", [])
    os.close(write)
    assert select.select([read], [], [], 60)[0] and os.read(read, 1) == b"", "nobody else has the other end"
    assert os.waitpid(hanging[0], os.WNOHANG) == (0, 0), "it hangs still"
    os.close(read)


def test_a_disk_that_hangs_does_not_keep_the_lease(tmp_path: Path, hanging: list[int]) -> None:
    leaving.give_way(claim(tmp_path), "brown", "the disk hangs", [])
    assert epochs.holder_dead(epochs.read(tmp_path, 1))
    assert os.waitpid(hanging[0], os.WNOHANG) == (0, 0), "it hangs still"
