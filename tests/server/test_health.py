"""The judge of health, and the readings it gets: hung, stuck, growing, slow, refused; and what does not count."""

from __future__ import annotations

from dataclasses import replace

import pytest

from opentec.server.config import Config
from opentec.server.health import Limits, Process, Readings, Vitals, judge
from opentec.server.progress import CHILDREN, Progress, Trouble, Word

LIMITS = Limits(silent=5, stuck=30, transaction=10, growing=600, disk=1)
FOUR = tuple(Process(f"tec_{name}") for name in CHILDREN)
WELL = Readings(FOUR)


def with_rule(**changes: object) -> Readings:
    return replace(WELL, processes=(FOUR[0], replace(FOUR[1], **changes), *FOUR[2:]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "readings",
    [
        WELL,
        with_rule(silent=5.0),
        replace(WELL, waiting=1 << 30, stuck=30.0),
        replace(WELL, waiting=0, stuck=1e6),
        replace(WELL, transaction=10.0),
        replace(WELL, sync=1.0, probe=1.0),
        replace(WELL, trouble=Trouble.LOCKED, stale="epoch 3"),
    ],
)
def test_what_is_healthy(readings: Readings) -> None:
    """Nobody is connected in any of these: adapters that stay away say nothing about the server."""
    assert judge(readings, LIMITS) == []


@pytest.mark.parametrize(
    ("readings", "code", "since", "restart", "text"),
    [
        (with_rule(pid=0), "process", 0, True, "tec_rule is not running"),
        (with_rule(silent=5.1), "hung", 5.1, True, "tec_rule shows no sign of life for 5 s"),
        (with_rule(ready=False), "not-ready", 0, False, "tec_rule is not ready yet"),
        (replace(WELL, waiting=1, stuck=31), "stuck", 31, True, "nothing was committed for 31 s"),
        (
            replace(WELL, transaction=11),
            "transaction",
            11,
            True,
            "a transaction of the repository has not ended",
        ),
        (
            replace(WELL, waiting=5_000_000, grown_from=200),
            "growing",
            600,
            False,
            "grows faster than it is worked off: 5.0 MB wait, 600 s ago 200 bytes did",
        ),
        (replace(WELL, sync=1.5), "disk", 1.5, False, "has not made durable for 1.5 s"),
        (replace(WELL, probe=2.5), "disk", 2.5, False, "has not made durable for 2.5 s"),
        (
            replace(WELL, paused=7),
            "paused",
            7,
            False,
            "the reception log or its disk is full, for 7",
        ),
        (replace(WELL, refused="rules were refused"), "rule-base", 0, False, "rules were refused"),
        (replace(WELL, repository_away=3), "repository", 3, False, "the repository does not answer for 3 s"),
        # what waits, waits for the repository: one reason, not two
        (replace(WELL, repository_away=31, waiting=1, stuck=31), "repository", 31, False, "does not answer for 31 s"),
        (replace(WELL, repository_away=31, transaction=31), "repository", 31, False, "does not answer for 31 s"),
    ],
)
def test_each_trouble_is_red_with_reason_and_since(
    readings: Readings, code: str, since: float, restart: bool, text: str
) -> None:
    (reason,) = judge(readings, LIMITS)
    assert (reason.code, reason.since, reason.restart) == (code, since, restart)
    assert text in reason.text


@pytest.mark.parametrize(
    ("trouble", "text"),
    [
        (Trouble.LOCKED, "another process holds the repository's write lock for 4 s"),
        (Trouble.NO_COMMAND, "(epoch 3, node brown) holds the repository for 4 s and cannot be ended from here"),
        (Trouble.ASKED, "(epoch 3, node brown) holds the repository for 4 s; the fencing command runs"),
        (Trouble.FAILED, "the fencing command failed; it is asked again"),
        (Trouble.FENCED, "the fencing command ended the stale server (epoch 3, node brown), and still"),
    ],
)
def test_why_the_repository_does_not_answer(trouble: Trouble, text: str) -> None:
    readings = replace(WELL, repository_away=4.0, trouble=trouble, stale="epoch 3, node brown")
    assert text in judge(readings, LIMITS)[0].text


def test_several_troubles_are_all_told() -> None:
    processes = (replace(FOUR[0], ready=False), replace(FOUR[1], pid=0), *FOUR[2:])
    readings = replace(WELL, processes=processes, paused=1, refused="x")
    assert [reason.code for reason in judge(readings, LIMITS)] == ["process", "paused", "rule-base", "not-ready"]


def test_limits_come_from_the_configuration() -> None:
    assert Limits.of(Config()) == Limits(5.0, 30, 10, 600, 1.0)


class Watched:
    """A page, and vitals on a clock that stands still until the test moves it."""

    def __init__(self) -> None:
        self.now = 1_000_000_000
        self.progress = Progress()
        self.vitals = Vitals(self.progress, LIMITS, lambda: self.now)

    def after(self, seconds: float, waiting: int = 0) -> Readings:
        self.now += round(seconds * 1e6)
        self.vitals.look(lambda: waiting)
        return self.vitals.readings({"rule": 7}, waiting)


def test_a_backlog_that_moves_is_not_stuck() -> None:
    watched = Watched()
    watched.progress[Word.DURABLE] = 100
    assert watched.after(20).stuck == 20
    watched.progress[Word.COMMITTED] = 50
    assert watched.after(0.25).stuck == 0
    assert watched.after(31).stuck == 31
    watched.progress[Word.COMMITTED] = 100
    watched.after(1)
    assert watched.after(1000).stuck == 0, "nothing waits"


def test_a_backlog_that_only_grows() -> None:
    watched = Watched()
    watched.progress[Word.DURABLE] = 1 << 40
    for minute in range(1, 12):
        watched.progress[Word.COMMITTED] += 1
        found = watched.after(60, minute << 20)
        assert (found.grown_from is not None) == (minute >= 11), minute
    assert found.grown_from == 1 << 20
    assert judge(found, LIMITS)[-1].code == "growing"
    watched.progress[Word.COMMITTED] = 1 << 40
    assert watched.after(1, 20 << 20).grown_from is None, "it was empty once"


def test_a_backlog_that_is_worked_off_slowly_is_not_growing() -> None:
    watched = Watched()
    watched.progress[Word.DURABLE] = 1 << 40
    sizes = [10, 12, 14, 16, 18, 20, 18, 16, 14, 12, 9, 13, 14, 15]
    for size in sizes:
        assert watched.after(60, size << 20).grown_from is None


def test_readings_of_the_page() -> None:
    watched = Watched()
    progress = watched.progress
    progress[Word.BEAT_RULE] = watched.now - 3_000_000
    progress[Word.READY_RULE] = 1
    for word, seconds in (
        (Word.TRANSACTION_SINCE, 1),
        (Word.SYNC_SINCE, 2),
        (Word.PROBE_SINCE, 4),
        (Word.REPOSITORY_ERROR_SINCE, 5),
    ):
        progress[word] = watched.now - seconds * 1_000_000
    progress[Word.REPOSITORY_TROUBLE] = Trouble.FAILED
    progress[Word.PAUSED] = 1
    watched.after(0)
    found = watched.after(6)
    assert found.processes == (Process("tec_rule", 7, 9.0, True),)
    assert (found.transaction, found.sync, found.probe, found.repository_away) == (7.0, 8.0, 10.0, 11.0)
    assert found.trouble is Trouble.FAILED and found.paused == 6.0
    progress[Word.PAUSED] = 0
    assert watched.after(1).paused == 0
