"""A stale server that wakes up, or that was stopped where it hurts most, harms nothing."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.faults.courses import LATE, Course, Pause
from tests.faults.harness import wait_for


def test_a_stale_writer_inside_its_transaction_is_killed(tmp_path: Path) -> None:
    """It holds the database's lock, so nothing else would ever end the wait of the node that takes over."""
    inside = Pause(tmp_path, "dispatch.checked", "black")
    with Course(tmp_path, black=inside.word, brown="") as course:
        dispatch = course.cluster.process("black", "tec_dispatch")
        inside.arm()
        course.hand.send(LATE)
        assert course.hand.acknowledged(LATE)
        inside.wait_reached()
        master = course.take_over()
        wait_for("the stale writer is killed", lambda: not master.alive and not dispatch.alive)
        verdict = course.end()
        assert verdict.sound, verdict
        assert verdict.stored == LATE


def places(often: list[str], nightly: list[str]) -> list[Any]:
    return [*often, *(pytest.param(place, marks=pytest.mark.nightly) for place in nightly)]


@pytest.mark.parametrize("place", places(["rx.before-append"], ["rx.synced", "rx.published", "dispatch.before-commit"]))
def test_a_server_that_wakes_up_between_two_steps(tmp_path: Path, place: str) -> None:
    """Paused with everything else of its node stopped; the other node has taken over when it goes on."""
    pause = Pause(tmp_path, place, "black")
    with Course(tmp_path, black=pause.word, brown="") as course:
        five = course.cluster.five("black")
        pause.arm()
        course.hand.send(LATE)
        pause.wait_reached()
        for one in five.values():
            one.signal(signal.SIGSTOP)
        course.cluster.wait_up("brown")
        course.hand.deliver(course.brown, LATE)
        pause.release()
        for one in five.values():
            one.signal(signal.SIGCONT)
        wait_for("the stale processes end", lambda: not any(five[n].alive for n in five if n != "tec_master"))
        verdict = course.end()
        assert verdict.sound, verdict
        assert verdict.stored == LATE


@pytest.mark.parametrize(
    "place",
    places(
        ["rx.synced", "dispatch.before-commit"],
        ["rx.before-append", "rx.published", "rule.record", "dispatch.committed"],
    ),
)
def test_a_process_that_dies_between_two_steps(tmp_path: Path, place: str) -> None:
    """One node, one process killed at the place; the master starts it again and the sender sends again."""
    pause = Pause(tmp_path, place, "black")
    name = {"rx": "tec_reception", "rule": "tec_rule", "dispatch": "tec_dispatch"}[place.partition(".")[0]]
    with Course(tmp_path, black=pause.word) as course:
        victim = course.cluster.process("black", name)
        pause.arm()
        course.hand.send(LATE)
        pause.wait_reached()
        victim.signal(signal.SIGKILL)
        course.cluster.wait_up("black")
        course.hand.deliver(course.black, LATE)
        verdict = course.end()
        assert verdict.sound, verdict
        assert verdict.stored == LATE
