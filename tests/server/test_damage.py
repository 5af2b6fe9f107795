"""What is damaged in the log is told once, one event a minute at most, and others are counted."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from opentec.events.records import position_of
from opentec.log.errors import LogError
from opentec.server import damage as module
from opentec.server.damage import TOLD, Damage


class Log:
    """The log as `Damage` sees it: what was posted, and how far it is durable."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said, self.now, self.durable = folder, [""][1:], 0, 0

    def post(self, text: str) -> int | None:
        self.said.append(text)
        return len(self.said)

    def place(self, position: int) -> str:
        return "segment rx.1.0, byte 200"

    def damage(self) -> Damage:
        return Damage(self.folder, self.post, lambda: self.durable, self.place, lambda: self.now)

    def pass_time(self, damage: Damage, seconds: float) -> None:
        """All that was posted is durable, and then some time passes."""
        damage.look()
        self.durable = len(self.said) + 1
        damage.look()
        self.now += round(seconds * 1e6)
        damage.look()


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def test_a_record_is_told_at_once_with_its_place(log: Log) -> None:
    damage = log.damage()
    damage.look()
    damage.records([position_of(1, 72)])
    damage.look()
    assert log.said == [
        "the record at rx:1:72 (segment rx.1.0, byte 200) is damaged and lost, though it was acknowledged; "
        "tec why rx:1:72 shows it"
    ]


def test_what_is_found_within_a_minute_is_counted(log: Log) -> None:
    damage = log.damage()
    damage.heads(["segment rx.1.0: its header is damaged"])
    damage.look()
    assert log.said == ["segment rx.1.0: its header is damaged"]
    for offset in (72, 144, 72, 216):
        damage.records([position_of(1, offset)])
        log.pass_time(damage, 10)
    assert len(log.said) == 1
    log.pass_time(damage, 20)
    assert len(log.said) == 2 and log.said[1].startswith("the record at rx:1:72 ")
    assert log.said[1].endswith("; 2 more damaged places are in the logs of tec_rule and tec_reception")
    log.pass_time(damage, 600)
    assert len(log.said) == 2


def test_nothing_more_is_told_while_the_last_event_is_not_durable(log: Log) -> None:
    damage = log.damage()
    damage.records([position_of(1, 72)])
    damage.look()
    damage.records([position_of(1, 72), position_of(1, 144)])
    log.now += 3_600_000_000
    damage.look()
    assert len(log.said) == 1 and not (log.folder / TOLD).exists()
    log.pass_time(damage, 0)
    assert len(log.said) == 2 and "rx:1:144" in log.said[1]


def test_who_comes_after_knows_what_was_told(log: Log) -> None:
    damage = log.damage()
    damage.heads(["segment rx.1.0: its header is damaged"])
    damage.records([position_of(1, 72)])
    log.pass_time(damage, 0)
    assert (log.folder / TOLD).read_text() == "segment rx.1.0: its header is damaged\nrx:1:72\n"
    after = log.damage()
    after.heads(["segment rx.1.0: its header is damaged", "segment rx.2.0: its header is damaged"])
    after.records([position_of(1, 72)])
    after.look()
    assert log.said[1:] == ["segment rx.2.0: its header is damaged"]


def test_what_was_not_durable_is_told_again(log: Log) -> None:
    for _ in range(2):
        damage = log.damage()
        damage.records([position_of(1, 72)])
        damage.look()
    assert len(log.said) == 2


def test_there_is_a_limit_of_what_is_kept(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PLACES", 3)
    damage = log.damage()
    damage.records(position_of(1, 72 * number) for number in range(10))
    log.pass_time(damage, 0)
    assert log.said[0].endswith("; 9 more damaged places are in the logs of tec_rule and tec_reception")
    damage.heads(["a head"])
    log.pass_time(damage, 60)
    assert log.said[1:] == ["a head"]
    log.pass_time(damage, 0)
    assert (log.folder / TOLD).read_text().splitlines() == ["rx:1:72", "rx:1:144", "a head"]


def test_a_place_that_cannot_be_found_out(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(position: int) -> str:
        raise LogError("segment rx.1.0 begins with no readable preamble")

    monkeypatch.setattr(log, "place", fails)
    damage = log.damage()
    damage.records([72])
    damage.look()
    assert log.said[0].startswith("the record at rx:0:72 (segment rx.1.0 begins with no readable preamble) is damaged")
    monkeypatch.setattr(log, "place", lambda position: "")
    other = log.damage()
    other.records([144])
    other.look()
    assert log.said[1].startswith("the record at rx:0:144 is damaged")


def test_an_event_that_cannot_be_posted_counts_as_told(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "post", lambda text: log.said.append(text))
    damage = log.damage()
    damage.records([72])
    damage.look()
    damage.look()
    damage.records([72])
    log.now += 60_000_000
    damage.look()
    assert len(log.said) == 1


def test_a_disk_that_refuses_is_said_and_not_fatal(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    (log.folder / TOLD).mkdir()
    with caplog.at_level(logging.WARNING):
        damage = log.damage()
        assert "cannot be read, so damage may be told again: Is a directory" in caplog.text
        damage.records([72])
        log.pass_time(damage, 0)
    assert "cannot be written, so damage may be told again: Is a directory" in caplog.text
    log.pass_time(damage, 600)
    assert len(log.said) == 1
