"""Priming, lists, dumps and summaries."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from opentec.events.image import EventRow
from opentec.events.records import Disposition
from opentec.rim.batch import Batch, OutboxRow, OutcomeRow, TimerRow
from opentec.rim.errors import Superseded
from opentec.rim.queries import PAGE, EventFilter
from opentec.rim.repository import PRUNE_ROWS, Repository
from tests.rim.rows import SECOND, row, slot, stored


def eids(rows: list[EventRow]) -> list[int]:
    return [slot(found, "eid") for found in rows]


async def test_the_cache_is_read_by_its_two_bounds(repository: Repository) -> None:
    closed = {2, 4, 6}
    batch = Batch(before=0, after=1, inserts=[row(n, status="CLOSED" if n in closed else "OPEN") for n in range(1, 9)])
    await repository.commit(batch, 1)
    assert eids(await repository.cached_events(f2=2, f=5)) == [3, 5, 6, 7, 8]
    assert eids(await repository.cached_events(f2=0, f=0)) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert eids(await repository.cached_events(f2=9, f=9)) == []
    assert eids(await repository.cached_events(2, 5, after_eid=5, limit=2)) == [6, 7]


async def test_pages_are_bounded(repository: Repository) -> None:
    many = PAGE + 50
    await repository.commit(stored(*range(1, many + 1), before=0, after=1_000_000), 1)
    first = await repository.cached_events(0, 0, limit=10**9)
    assert len(first) == PAGE
    assert len(await repository.cached_events(0, 0, after_eid=first[-1][0])) == 50
    assert len(await repository.list_events(limit=10**9)) == PAGE
    assert [len(page) async for page in repository.dump_events()] == [PAGE, 50]
    assert await repository.list_events(limit=-5) == []


async def test_timers_come_in_pages_by_id(repository: Repository) -> None:
    timers = [TimerRow(n, 100 - n, 1, f"{n}") for n in range(1, 6)]
    await repository.commit(Batch(before=0, after=1, timers_set=timers), 1)
    assert await repository.timers(limit=3) == timers[:3]
    assert await repository.timers(after_id=3) == timers[3:]


async def test_an_event_is_found_by_its_key(repository: Repository) -> None:
    await repository.commit(Batch(before=0, after=1, inserts=[row(1), row(2, event_handle=1, server_handle=7)]), 1)
    assert eids([await repository.event_by_key((SECOND, 1, 1)) or ()]) == [1]
    assert eids([await repository.event_by_key((SECOND, 1, 7)) or ()]) == [2]
    assert await repository.event_by_key((SECOND, 9, 1)) is None
    assert await repository.event_row(9) is None


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, [5, 4, 3, 2, 1]),
        (EventFilter(), [5, 4, 3, 2, 1]),
        (EventFilter(classes=("Su_Failure",)), [2]),
        (EventFilter(classes=("Su_Failure", "NT_Disk_Full")), [5, 4, 3, 2, 1]),
        (EventFilter(classes=()), []),
        (EventFilter(statuses=("CLOSED", "ACK")), [4, 3]),
        (EventFilter(severity="CRITICAL"), [5, 4]),
        (EventFilter(severity="UNKNOWN"), [5, 4, 3, 2, 1]),
        (EventFilter(hostname="db1"), [5]),
        (EventFilter(since=SECOND + 2), [5, 4]),
        (EventFilter(until=SECOND + 2), [3, 2, 1]),
        (EventFilter(statuses=("OPEN",), severity="FATAL"), [5]),
    ],
)
async def test_a_list_is_filtered_newest_first(
    repository: Repository, wanted: EventFilter | None, expected: list[int]
) -> None:
    rows = [
        row(1),
        row(2, **{"class": "Su_Failure"}),
        row(3, status="ACK", severity="MINOR"),
        row(4, status="CLOSED", severity="CRITICAL", date_reception=SECOND + 2),
        row(5, severity="FATAL", hostname="db1", date_reception=SECOND + 3),
    ]
    await repository.commit(Batch(before=0, after=1, inserts=rows), 1)
    assert eids(await repository.list_events(wanted)) == expected
    assert eids(await repository.list_events(wanted, before_eid=4, limit=1)) == [n for n in expected if n < 4][:1]
    assert [eids(page) async for page in repository.dump_events(wanted)] == ([expected[::-1]] if expected else [])


async def test_an_unknown_severity_is_corrected(repository: Repository) -> None:
    with pytest.raises(ValueError, match="did you mean 'CRITICAL'"):
        await repository.list_events(EventFilter(severity="critcal"))
    with pytest.raises(ValueError, match="there are UNKNOWN, HARMLESS"):
        await repository.list_events(EventFilter(severity="xyz"))


async def test_a_site_has_severities_of_its_own(repository: Repository) -> None:
    await repository.commit(Batch(before=0, after=1, inserts=[row(1), row(2, severity="DISASTER")]), 1)
    await repository.set_enumerations({"WARNING": 30, "DISASTER": 70}, {"OPEN": 0, "PARKED": 15}, 1)
    assert eids(await repository.list_events(EventFilter(severity="DISASTER"))) == [2]
    with pytest.raises(Superseded):
        await repository.set_enumerations({"WARNING": 30}, {"OPEN": 0}, 2)


async def test_outcomes_are_found_by_position_and_event(repository: Repository) -> None:
    dropped = OutcomeRow(200, Disposition.DROPPED, 1, SECOND, 2, None, '["dup.rls"]')
    rejected = OutcomeRow(300, Disposition.REJECTED, None, 0, 0, "no class Foo")
    batch = stored(1, before=0, after=400)
    batch.outcomes += [dropped, rejected]
    await repository.commit(batch, 1)
    kept = batch.outcomes[0]
    assert await repository.outcome(100) == kept
    assert await repository.outcome(150) is None
    assert await repository.outcomes(100, 300) == [kept, dropped]
    assert await repository.outcomes(0, 1 << 60, limit=1) == [kept]
    assert await repository.outcome_of_event((SECOND, 1, 1)) == kept
    assert await repository.outcome_of_event((SECOND, 2, 1)) == dropped
    assert await repository.outcome_of_event((SECOND, 3, 1)) is None
    assert await repository.outcome_of_event((0, 0, 1)) is None


async def test_a_dropped_event_is_found_through_an_index(repository: Repository, path: Path) -> None:
    connection = sqlite3.connect(path)
    plan = connection.execute(
        "EXPLAIN QUERY PLAN SELECT position FROM outcome WHERE disposition <> 1 AND event_handle > 0 "
        "AND date_reception = ? AND event_handle = ?",
        (1, 1),
    ).fetchall()
    connection.close()
    assert "outcome_key" in str(plan)


async def test_outcomes_are_pruned_in_several_transactions(repository: Repository) -> None:
    rows = [OutcomeRow(n, Disposition.DROPPED) for n in range(PRUNE_ROWS + 10)]
    await repository.commit(Batch(before=0, after=10**6, outcomes=rows), 1)
    assert [await repository.prune_step(PRUNE_ROWS + 5, 1) for _ in range(2)] == [True, False]
    assert [left.position for left in await repository.outcomes(0, 10**6)] == list(
        range(PRUNE_ROWS + 5, PRUNE_ROWS + 10)
    )
    with pytest.raises(Superseded):
        await repository.prune_step(10**6, 2)


async def test_counts(repository: Repository) -> None:
    batch = stored(1, 2, before=0, after=400)
    batch.inserts.append(row(3, status="CLOSED", **{"class": "Su_Failure"}))
    batch.outcomes.append(OutcomeRow(350, Disposition.REJECTED))
    batch.timers_set = [TimerRow(1, 1, 1, "")]
    batch.outbox = [OutboxRow("a", 1, None, "program", "")]
    await repository.commit(batch, 1)
    counts = await repository.counts()
    assert counts.events == 3
    assert counts.dispositions == {Disposition.STORED: 2, Disposition.REJECTED: 1}
    assert counts.classes == {"NT_Disk_Full": {"OPEN": 2}, "Su_Failure": {"CLOSED": 1}}
    assert (counts.timers, counts.outbox) == (1, {"waiting": 1})


async def test_tecs_tables_are_views(repository: Repository, path: Path) -> None:
    long = "x" * 300
    slots = json.dumps({"drive": "C:", "note": long})
    await repository.commit(Batch(before=0, after=1, inserts=[row(1, slots=slots, date="Oct 14"), row(2, slots="")]), 1)
    connection = sqlite3.connect(path)
    report = connection.execute("SELECT class, date_event, event_handle FROM TEC_T_EVT_REP ORDER BY 3").fetchall()
    extra = connection.execute("SELECT * FROM TEC_T_SLOTS_EVT ORDER BY slot_name").fetchall()
    severity = connection.execute("SELECT code FROM TEC_T_SEVERITY WHERE name = 'FATAL'").fetchall()
    status = connection.execute("SELECT code FROM TEC_T_STATUS_EVENT WHERE name = 'CLOSED'").fetchall()
    connection.close()
    assert report == [("NT_Disk_Full", "Oct 14", 1), ("NT_Disk_Full", "", 2)]
    assert extra == [(1, SECOND, 1, "drive", "C:", None), (1, SECOND, 1, "note", "x" * 255, long)]
    assert (severity, status) == ([(60,)], [(30,)])


async def test_what_changed_an_event_later_is_found(repository: Repository) -> None:
    named = '[["set", "rule", ["a"], ["repeat_count of 1772352000.1 is now 2", "dropped the event"]]]'
    other = '[["set", "rule", ["a"], ["repeat_count of 11772352000.12 is now 2"]]]'
    fired = '[["set", "timer", ["a"], [], "1772352000.1", "info"]]'
    timer = '[["set", "timer", ["a"], ["set a timer of 5 s on 1772352000.1: x"], "", null]]'
    outcomes = [
        OutcomeRow(10, Disposition.STORED, 1, 1772352000, 1),
        OutcomeRow(20, Disposition.DROPPED, 1, 1772352001, 1, "dropped", named),
        OutcomeRow(30, Disposition.DROPPED, 2, 1772352001, 2, "dropped", other),
        OutcomeRow(40, Disposition.APPLIED, 1, 1772352000, 1),
        OutcomeRow(50, Disposition.FIRED, None, 0, 0, None, fired),
        OutcomeRow(60, Disposition.FIRED, None, 0, 0, None, timer),
        OutcomeRow(70, Disposition.FIRED, None, 0, 0, None, fired.replace("0.1", "0.11")),
    ]
    await repository.commit(Batch(before=0, after=80, outcomes=outcomes), 1)
    later = await repository.later_outcomes((1772352000, 1, 1), 10)
    assert [outcome.position for outcome in later] == [60, 50, 40, 20]
    assert [outcome.position for outcome in await repository.later_outcomes((1772352000, 1, 1), 10, limit=1)] == [60]
