"""The checker sees what it is there to see: a sound instance, damaged in one way at a time."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults import plans
from tests.faults.checker import Checker, Verdict
from tests.faults.client import Load, Sender
from tests.faults.harness import Cluster, wait_for
from tests.faults.logview import LogView

PLANS = {
    "plain": plans.PLAIN,
    "repeats": plans.REPEATED,
    "problems": plans.PROBLEMS,
    "wrong": plans.WRONG,
    "state": plans.REMEMBERED,
}


@dataclass
class Instance:
    """A copy of what a server left behind, and what its senders were promised."""

    directory: Path
    senders: list[tuple[Sender, plans.Plan]]

    def check(self) -> Verdict:
        return Checker(self.directory, self.senders).check()

    def sql(self, *statements: str) -> None:
        connection = sqlite3.connect(self.directory / "rim" / "tec.db")
        try:
            for statement in statements:
                changed = connection.execute(statement).rowcount
                assert changed > 0, statement
            connection.commit()
        finally:
            connection.close()


def _count(cluster: Cluster, what: str) -> int:
    with closing(sqlite3.connect(f"file:{cluster.repository}?mode=ro", uri=True, timeout=10)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {what}").fetchone()[0])


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    folder = tmp_path_factory.mktemp("original")

    def sender(cluster: Cluster, name: str, plan: plans.Plan) -> Sender:
        return Sender(cluster.servers, lambda number: plan.text(name, number), name, limit=40)

    with Cluster(folder) as cluster:
        cluster.start()
        (folder / "ran").mkdir()
        wanted = {**PLANS, "programs": plans.programs(str(folder / "ran"))}
        senders = [(sender(cluster, name, plan), plan) for name, plan in wanted.items()]
        with Load([one for one, _ in senders]) as load:
            assert load.finish()
        wait_for("both timers have fired", lambda: _count(cluster, "event WHERE \"class\" = 'Load_Rang'") == 2)
        wait_for("all programs are done", lambda: _count(cluster, "outbox WHERE status = 'done'") == 40)
        cluster.stop()
        yield Instance(cluster.directory, senders)


@pytest.fixture
def instance(original: Instance, tmp_path: Path) -> Instance:
    shutil.copytree(original.directory, tmp_path / "tec")
    return Instance(tmp_path / "tec", [(copy(sender), plan) for sender, plan in original.senders])


def test_a_sound_instance(instance: Instance) -> None:
    verdict = instance.check()
    assert verdict.sound, verdict
    assert verdict.summary() == {
        "acked": 240,
        "recorded": 240,
        "stored": 40 + 8 + 40 + 36 + 40 + 40,
        "counted": 32,
        "rejected": 4,
        "closed": 20,
        "programs": 40,
        "remembered": 40,
        "lines": 0,
        "waiting": 0,
        "epochs": 1,
        "notices": 1,
        "lost": 0,
        "duplicated": 0,
        "problems": 0,
    }


def test_a_timer_that_still_waits_is_not_lost(instance: Instance) -> None:
    rang = f"{an_event('state', 20)} AND {RANG}"
    instance.sql(f"DELETE FROM event WHERE {rang}", f"INSERT INTO timer VALUES (99, 1 << 62, {WOKEN}, '')")
    assert instance.check().sound


def an_event(name: str, number: int) -> str:
    return f"json_extract(slots, '$.sender') = '{name}' AND json_extract(slots, '$.number') = {number}"


SLOTS = "UPDATE event SET slots = json_set(slots"
DERIVED = "\"class\" = 'Load_Tenth'"
RANG = "\"class\" = 'Load_Rang'"
WOKEN = f"(SELECT eid FROM event WHERE {an_event('state', 20)} AND \"class\" = 'Load_State')"
PROGRAM = f"(SELECT position FROM event WHERE {an_event('programs', 3)})"
POSITION = f"(SELECT position FROM event WHERE {an_event('plain', 7)})"


@pytest.mark.parametrize(
    ("statements", "kind", "what"),
    [
        ([f"DELETE FROM event WHERE {an_event('plain', 7)}"], "lost", "plain 7 has the disposition STORED and no row"),
        (
            [f"DELETE FROM outcome WHERE position = {POSITION}"],
            "lost",
            "plain 7 was acknowledged and has no disposition",
        ),
        (
            [f"UPDATE event SET position = position + 1 WHERE {an_event('plain', 7)}"],
            "doubled",
            "plain 7 is stored for",
        ),
        (
            [
                "INSERT INTO outcome SELECT position + 1, disposition, eid, date_reception, event_handle, NULL, NULL "
                f"FROM outcome WHERE position = {POSITION}"
            ],
            "doubled",
            "is not in the log",
        ),
        (
            [f"UPDATE event SET slots = json_set(slots, '$.number', 7) WHERE {an_event('plain', 8)}"],
            "doubled",
            "plain 7 has 2 rows",
        ),
        (["UPDATE event SET repeat_count = 3 WHERE repeat_count = 4"], "lost", "counts 3 repeats, 4 came"),
        (["UPDATE event SET repeat_count = 5 WHERE repeat_count = 4"], "doubled", "counts 5 repeats, 4 came"),
        (["UPDATE event SET status = 'OPEN' WHERE status = 'CLOSED'"], "lost", "the closing of"),
        (["DELETE FROM event WHERE \"class\" = 'Load_Closed'"], "lost", "derived from the recovery"),
        ([f"{SLOTS}, '$.before', 6) WHERE {an_event('state', 8)}"], "lost", "state 8: before is 6, not 7"),
        ([f"{SLOTS}, '$.kept', 8) WHERE {an_event('state', 8)}"], "lost", "state 8: kept is 8, not 7"),
        ([f"{SLOTS}, '$.paired', 5) WHERE {an_event('state', 8)}"], "lost", "state 8: paired is 5, not 7"),
        ([f"{SLOTS}, '$.counted', 1) WHERE {an_event('state', 8)}"], "lost", "state 8: counted is 1, not 8"),
        ([f"{SLOTS}, '$.asked', 9) WHERE {an_event('state', 8)}"], "lost", "state 8: asked is 9, not 8"),
        (
            [f"UPDATE event SET severity = 'MINOR' WHERE {an_event('state', 9)} AND \"class\" = 'Load_State'"],
            "lost",
            "state 9: severity is MINOR, not HARMLESS",
        ),
        (["DELETE FROM event WHERE \"class\" = 'Load_Tenth'"], "lost", "the tenth at state 10"),
        (
            [f"UPDATE event SET slots = json_set(slots, '$.number', 20) WHERE {an_event('state', 10)} AND {DERIVED}"],
            "doubled",
            "the tenth at state 20: 2 times, 1 expected",
        ),
        ([f"DELETE FROM event WHERE {an_event('state', 20)} AND {RANG}"], "lost", "the timer of state 20"),
        ([f"INSERT INTO timer VALUES (99, 1, {WOKEN}, '')"], "problems", "timer of state 20 was due and has not fired"),
        (
            [f"INSERT INTO timer VALUES (99, 1 << 62, {WOKEN}, '')"],
            "doubled",
            "the timer of state 20: 2 times, 1 expected",
        ),
        (["INSERT INTO timer VALUES (99, 1 << 62, 1, '')"], "problems", "a timer waits for event 1, which set none"),
        (
            [f"UPDATE event SET slots = json_set(slots, '$.number', 41) WHERE {an_event('state', 40)} AND {RANG}"],
            "problems",
            "Load_Rang for state 41, which is not there",
        ),
        (["DELETE FROM event WHERE \"class\" = 'TEC_Start'"], "problems", "epoch 1 posted 0 notices"),
        ([f"UPDATE outcome SET disposition = 2 WHERE position = {POSITION}"], "problems", "disposition 2, 1 expected"),
        (["UPDATE outbox SET status = 'waiting'"], "problems", "none of 40 programs of programs is done"),
        ([f"DELETE FROM outbox WHERE position = {PROGRAM}"], "lost", "the program of programs-3 is not in the outbox"),
        ([f"UPDATE outbox SET position = {PROGRAM}"], "doubled", "the program of programs-3 ran 1 times, 40 rows"),
        (["UPDATE repository SET position = position - 1"], "problems", "the repository stopped at"),
        (["UPDATE repository SET position = position + 1"], "problems", "the repository stands at"),
    ],
)
def test_a_repository_that_was_tampered_with(instance: Instance, statements: list[str], kind: str, what: str) -> None:
    instance.sql(*statements)
    verdict = instance.check()
    assert not verdict.sound
    assert any(what in item for item in getattr(verdict, kind)), verdict


@pytest.mark.parametrize(
    ("change", "kind", "what"),
    [
        (Path.unlink, "lost", "the program of programs-3 is done, and did not run"),
        (lambda path: (path.parent / "programs-3.again").touch(), "doubled", "the program of programs-3 ran 2 times"),
    ],
)
def test_a_program_that_left_no_file_or_two(
    instance: Instance, tmp_path: Path, change: Callable[[Path], None], kind: str, what: str
) -> None:
    sender, plan = instance.senders.pop()
    shutil.copytree(Path(plan.text("", 1).partition("template='")[2]).parent, tmp_path / "ran")
    instance.senders.append((sender, plans.programs(str(tmp_path / "ran"))))
    assert instance.check().sound
    change(next((tmp_path / "ran").glob("programs-3.*")))
    assert any(what in item for item in getattr(instance.check(), kind))


def _cut(log: bytearray, records_at: int) -> None:
    del log[records_at + (len(log) - records_at) // 2 :]


def _flip(log: bytearray, records_at: int) -> None:
    log[records_at + (len(log) - records_at) // 2] ^= 0x40


def _flip_preamble(log: bytearray, records_at: int) -> None:
    log[20] ^= 1


def _flip_header(log: bytearray, records_at: int) -> None:
    log[records_at - 1] ^= 1


@pytest.mark.parametrize("damage", [_cut, _flip, _flip_preamble, _flip_header])
def test_a_log_that_was_damaged(instance: Instance, damage: Callable[[bytearray, int], None]) -> None:
    (segment,) = LogView(instance.directory / "rx").segments
    data = bytearray(segment.path.read_bytes().rstrip(b"\0"))
    damage(data, segment.records_at)
    segment.path.write_bytes(data)
    try:
        verdict = instance.check()
    except ValueError:
        return  # a header that cannot even be read
    assert not verdict.sound


def test_promises_that_were_not_kept(instance: Instance) -> None:
    sender = instance.senders[0][0]
    sender.acked += 1
    sender.produced += 1
    assert instance.check().lost == ["plain 41 was acknowledged and is not in the log"]
    sender.acked -= 1
    sender.epochs = [1, 2]
    assert "greeted by epochs without a notice" in instance.check().problems[0]
    sender.epochs = [1]
    sender.produced = 30
    assert "was never sent" in instance.check().problems[0]
