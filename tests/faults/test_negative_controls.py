"""Each safety rule switched off must lose or double an event, every time; with the rule on, the same course of events
must not. Without these controls a checker that sees nothing would pass as well.

The courses are forced by pauses between two steps of the server, never by sleeping. The helper that would hide the
damage is off in both halves: a process that looks for a newer epoch four times a second and ends itself (ha.md 4 (vi)).
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.faults import plans
from tests.faults.checker import Checker, check
from tests.faults.client import Sender, Tailed
from tests.faults.courses import BEFORE, LATE, Course, Pause
from tests.faults.hand import Hand
from tests.faults.harness import wait_for

NO_HELPERS = "unsafe:no-self-exit"


def hooks(*words: str | Pause) -> str:
    return ",".join([word.word if isinstance(word, Pause) else word for word in words if word])


@pytest.mark.parametrize(
    ("unsafe", "place"),
    [
        ("unsafe:check-before-append", "rx.checked"),
        ("unsafe:no-epoch-check-rx", "rx.before-append"),
        ("", "rx.before-append"),
        ("", "rx.synced"),
    ],
)
def test_acknowledging_without_a_check_after_the_append_loses(tmp_path: Path, unsafe: str, place: str) -> None:
    pause = Pause(tmp_path, place, "black")
    with Course(tmp_path, black=hooks(NO_HELPERS, unsafe, pause), brown="") as course:
        pause.arm()
        course.hand.send(LATE)
        pause.wait_reached()
        master = course.take_over()
        course.wait_epoch(2)  # what black publishes from now on cannot get into the repository
        pause.release()
        acknowledged = course.hand.acknowledged(LATE)
        assert acknowledged == bool(unsafe)
        if not unsafe:
            course.hand.deliver(course.brown, LATE)
        master.signal(signal.SIGCONT)
        if unsafe:
            course.cluster.wait_standby("black", patience=60)
            course.cluster.stop()
            verdict = check(course.cluster.directory, [course.hand.promise])
            assert verdict.lost == [f"hand {LATE} was acknowledged and is not in the log"], verdict
        else:
            verdict = course.end()
            assert verdict.sound, verdict
            assert verdict.stored == LATE


@pytest.mark.parametrize("unsafe", ["unsafe:publish-before-check", ""])
def test_publishing_before_the_check_doubles(tmp_path: Path, unsafe: str) -> None:
    """Brown has sealed the log and not yet claimed the repository: only the check keeps the record out of it."""
    append, published = Pause(tmp_path, "rx.before-append", "black"), Pause(tmp_path, "rx.published-unchecked", "black")
    claim = Pause(tmp_path, "dispatch.before-claim", "brown", armed=True)
    with Course(tmp_path, black=hooks(NO_HELPERS, unsafe, append, published), brown=hooks(claim)) as course:
        append.arm()
        published.arm()
        course.hand.send(LATE)
        append.wait_reached()
        master = course.take_over()
        claim.wait_reached()
        append.release()
        if unsafe:
            published.wait_reached()
            course.wait_stored(LATE)
            published.release()
        assert not course.hand.acknowledged(LATE)
        # first, since brown may find that it cannot go on as soon as it is let go
        course.hand.deliver(course.brown, LATE)
        claim.release()
        master.signal(signal.SIGCONT)
        if unsafe:
            verdict = course.abort()
            assert any(f"hand {LATE} is stored for" in item for item in verdict.doubled), verdict
        else:
            verdict = course.end()
            assert verdict.sound, verdict
            assert verdict.stored == LATE


@pytest.mark.parametrize("unsafe", ["unsafe:no-epoch-check", ""])
def test_no_epoch_check_in_the_transaction_doubles(tmp_path: Path, unsafe: str) -> None:
    """The second guard alone: a record that was published behind the seal must not be committed by a stale dispatch.

    As long as only sealed records are published, the check of the position in the same transaction hides its absence;
    so the first guard is off in both halves.
    """
    append = Pause(tmp_path, "rx.before-append", "black")
    # without the rule the epoch is looked at outside the transaction, and the pause is between the two
    commit = Pause(tmp_path, "dispatch.checked" if unsafe else "dispatch.before-commit", "black")
    claim = Pause(tmp_path, "dispatch.before-claim", "brown", armed=True)
    first = Pause(tmp_path, "dispatch.before-commit", "brown", armed=True)
    black = hooks(NO_HELPERS, "unsafe:publish-before-check", unsafe, append, commit)
    with Course(tmp_path, black=black, brown=hooks(claim, first)) as course:
        dispatch = course.cluster.process("black", "tec_dispatch")
        append.arm()
        commit.arm()
        course.hand.send(LATE)
        append.wait_reached()
        master = course.take_over()
        claim.wait_reached()
        append.release()
        commit.wait_reached()
        claim.release()
        course.wait_epoch(2)
        first.wait_reached()
        commit.release()
        if unsafe:
            course.wait_stored(LATE)
        else:
            wait_for("black's tec_dispatch ends", lambda: not dispatch.alive)
        assert not course.hand.acknowledged(LATE)
        course.hand.deliver(course.brown, LATE)
        first.release()
        master.signal(signal.SIGCONT)
        if unsafe:
            verdict = course.abort()
            assert any(f"hand {LATE} is stored for" in item for item in verdict.doubled), verdict
        else:
            verdict = course.end()
            assert verdict.sound, verdict
            assert verdict.stored == LATE


@pytest.mark.parametrize("unsafe", ["unsafe:ack-before-append", ""])
def test_acknowledging_before_the_append_loses(tmp_path: Path, unsafe: str) -> None:
    append = Pause(tmp_path, "rx.before-append", "black")
    with Course(tmp_path, black=hooks(unsafe, append)) as course:
        append.arm()
        course.hand.send(LATE)
        append.wait_reached()
        if unsafe:
            assert course.hand.acknowledged(LATE)
        course.cluster.kill_all()
        assert not course.hand.acknowledged(LATE + 1)
        assert course.hand.promise.acked == (LATE if unsafe else BEFORE)
        course.cluster.start("black")
        if not unsafe:
            course.hand.deliver(course.black, LATE)
            verdict = course.end()
            assert verdict.sound, verdict
            return
        course.cluster.stop()
        verdict = check(course.cluster.directory, [course.hand.promise])
        assert verdict.lost == [f"hand {LATE} was acknowledged and is not in the log"], verdict


@pytest.mark.parametrize("unsafe", ["unsafe:no-sender-fencing", ""])
def test_no_fencing_of_a_senders_older_connection_doubles(tmp_path: Path, unsafe: str) -> None:
    """What was still on its way on the old connection arrives after it was sent again on the new one."""
    with Course(tmp_path, black=hooks(unsafe)) as course:
        with Hand(promise=course.hand.promise) as newer:
            newer.deliver(course.black, LATE)
        course.hand.send(LATE)
        assert course.hand.acknowledged(LATE) == bool(unsafe)
        course.wait_stored(LATE)
        course.cluster.stop()
        verdict = check(course.cluster.directory, [course.hand.promise])
        assert bool(verdict.doubled) == bool(unsafe), verdict
        assert verdict.sound != bool(unsafe), verdict


@pytest.mark.parametrize("unsafe", ["unsafe:no-coverage", ""])
def test_no_coverage_of_a_tailed_file_doubles(tmp_path: Path, unsafe: str) -> None:
    """Two readers of one shared log send the same lines; each line is one event."""
    tailed = Tailed("volume1", "/shared/messages", "inode 7 hash abc ordinal 0", lambda number: number * 100)
    with Course(tmp_path, black=hooks(unsafe)) as course:
        with Hand("node1", tailed=tailed) as one, Hand("node2", tailed=tailed) as other:
            one.deliver(course.black, 10)
            other.deliver(course.black, 15)
            promises = [one.promise, other.promise]
        course.wait_stored(BEFORE + (25 if unsafe else 15))
        course.cluster.stop()
        # what the second reader sends again is acknowledged and not recorded, so only the first is checked line by line
        assert course.stored() == BEFORE + (25 if unsafe else 15)
        verdict = check(course.cluster.directory, [course.hand.promise, *promises])
        assert len(verdict.lost) == (0 if unsafe else 10), verdict
        assert all("node2" in item for item in verdict.lost)
        assert not verdict.problems


@pytest.mark.parametrize(
    ("forgotten", "first"),
    [
        ("counter", "what rules knew at state 26: counted is 1, not 6"),
        ("global", "what rules knew at state 26: before is 0, not 25"),
        ("recorded", "what rules knew at state 26: kept is 0, not 25"),
        ("fact", "what rules knew at state 26: paired is 0, not 25"),
        ("timers", "the timer of state 20 was due and has not fired"),
        ("", ""),
    ],
)
def test_a_rule_process_that_begins_anew_and_has_forgotten_something_loses(
    tmp_path: Path, forgotten: str, first: str
) -> None:
    with Course(tmp_path, black=f"unsafe:forget-{forgotten}" if forgotten else NO_HELPERS) as course:
        sender = Sender([], lambda number: plans.REMEMBERED.text("state", number), "state")
        with Hand("state", sender) as hand:
            hand.deliver(course.black, 25)
            count = "SELECT count(*) FROM event WHERE \"class\" = 'Load_State'"
            wait_for("25 are stored", lambda: course.ask(count) == 25)
            rule = course.cluster.process("black", "tec_rule")
            rule.signal(signal.SIGKILL)
            hand.deliver(course.black, 40)
            wait_for("40 are stored", lambda: course.ask(count) == 40)
            if forgotten == "timers":  # that of event 40 comes later
                rang = "SELECT count(*) FROM event WHERE \"class\" = 'Load_Rang'"
                wait_for("a timer has fired", lambda: course.ask(rang) == 1)
        course.cluster.stop()
        senders = [(sender, plans.REMEMBERED), (course.hand.promise, plans.PLAIN)]
        verdict = Checker(course.cluster.directory, senders).check()
        assert verdict.sound == (not forgotten), verdict
        if forgotten:
            assert (verdict.problems if forgotten == "timers" else verdict.lost)[0] == first, verdict
