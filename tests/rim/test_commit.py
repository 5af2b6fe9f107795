"""One transaction per batch: all of it or nothing, and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opentec.events.records import Disposition
from opentec.rim import queries
from opentec.rim.batch import Batch, OutboxRow, OutcomeRow, TimerRow
from opentec.rim.errors import PositionMismatch, RepositoryRefused, Superseded
from opentec.rim.repository import Repository
from opentec.rim.sqlite import create_repository, open_repository
from tests.rim.rows import INSTANCE, NAME, SECOND, row, slot, stored


async def test_a_new_repository_stands_at_nothing(repository: Repository) -> None:
    assert (await repository.position(), await repository.epoch()) == (0, 1)


async def test_a_batch_writes_all_its_parts(repository: Repository) -> None:
    await repository.commit(
        Batch(
            before=0,
            after=500,
            inserts=[row(1), row(2)],
            outcomes=[OutcomeRow(100, Disposition.STORED, 1, SECOND, 1, None, '["r"]')],
            timers_set=[TimerRow(7, 9_000_000, 1, "{}")],
            outbox=[OutboxRow("a1", 100, 1, "program", "[]")],
            state={"f": 3, "globals": {"a": [1, "x"]}},
        ),
        1,
    )
    assert await repository.position() == 500
    assert await repository.event_row(2) == row(2)
    assert await repository.outcome(100) == OutcomeRow(100, Disposition.STORED, 1, SECOND, 1, None, '["r"]')
    assert await repository.timers() == [TimerRow(7, 9_000_000, 1, "{}")]
    assert await repository.rule_state() == {"f": 3, "globals": {"a": [1, "x"]}}
    assert await repository.rule_value("globals") == {"a": [1, "x"]}
    assert await repository.rule_value("global") is None
    task = await repository.outbox_task("a1")
    assert task is not None
    assert (task.status, task.eid, task.data) == ("waiting", 1, "[]")


async def test_an_update_is_the_whole_row_but_for_its_identity(repository: Repository) -> None:
    await repository.commit(stored(1, before=0, after=200), 1)
    changed = row(1, status="CLOSED", repeat_count=5, slots='{"drive":"C:"}', ident="other", position=7)
    await repository.commit(Batch(before=200, after=300, updates=[changed]), 1)
    assert await repository.event_row(1) == row(1, status="CLOSED", repeat_count=5, slots='{"drive":"C:"}')


async def test_a_batch_may_insert_and_update_the_same_event(repository: Repository) -> None:
    await repository.commit(Batch(before=0, after=10, inserts=[row(1)], updates=[row(1, msg="second")]), 1)
    assert slot(await repository.event_row(1), "msg") == "second"


async def test_timers_and_state_are_replaced_and_removed(repository: Repository) -> None:
    await repository.commit(
        Batch(before=0, after=1, timers_set=[TimerRow(1, 5, 1, ""), TimerRow(2, 5, 1, "")], state={"a": 1, "b": 1}), 1
    )
    await repository.commit(Batch(before=1, after=2, timers_cancelled=[1, 99], state={"a": None, "b": 2}), 1)
    assert [timer.id for timer in await repository.timers()] == [2]
    assert await repository.rule_state() == {"b": 2}


async def test_state_comes_in_pages_by_key(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    state = {f"fact:{number:04}": [number, "x" * 100] for number in range(2500)} | {"eid": 7, "f": 1, "zz:ü": 1.5}
    await repository.commit(Batch(before=0, after=1, state=state), 1)
    for most in (queries.STATE_BYTES, 5000, 1):
        monkeypatch.setattr(queries, "STATE_BYTES", most)
        found: dict[str, Any] = {}
        sizes = []
        while page := await repository.rule_state(next(reversed(found), "")):
            sizes.append(len(page))
            assert not page.keys() & found.keys()
            found |= page
            if most == 1 and len(found) > 10:
                break
        assert found == state or most == 1
        assert max(sizes) <= {5000: 60, 1: 1}.get(most, 1000)


async def test_a_batch_of_nothing_moves_the_position(repository: Repository) -> None:
    await repository.commit(Batch(before=0, after=64), 1)
    assert await repository.position() == 64


async def test_a_batch_that_begins_elsewhere_writes_nothing(repository: Repository) -> None:
    await repository.commit(stored(1, before=0, after=200), 1)
    with pytest.raises(PositionMismatch, match=r"rx:0:100.*rx:0:200") as caught:
        await repository.commit(stored(2, before=100, after=300), 1)
    assert (caught.value.before, caught.value.stored) == (100, 200)
    assert await repository.event_row(2) is None


async def test_the_same_batch_twice_is_written_once(repository: Repository) -> None:
    batch = stored(1, before=0, after=200)
    await repository.commit(batch, 1)
    with pytest.raises(PositionMismatch):
        await repository.commit(batch, 1)


async def test_a_batch_of_another_epoch_writes_nothing(repository: Repository) -> None:
    await repository.claim(3)
    for epoch in (1, 4):
        with pytest.raises(Superseded) as caught:
            await repository.commit(stored(1, before=0, after=200), epoch)
        assert caught.value.stored == 3
    assert await repository.position() == 0
    assert await repository.event_row(1) is None


async def test_a_claim_never_goes_back(repository: Repository) -> None:
    await repository.commit(stored(1, before=0, after=200), 1)
    assert await repository.claim(5) == 200
    assert await repository.claim(5) == 200
    with pytest.raises(Superseded):
        await repository.claim(4)
    assert await repository.epoch() == 5


async def test_a_batch_does_not_run_backwards(repository: Repository) -> None:
    with pytest.raises(ValueError, match="before it begins"):
        await repository.commit(Batch(before=0, after=-1), 1)


@pytest.mark.parametrize("at", [0, 1, 6, 12])
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"repeat_count": 1 << 63}, "too large"),
        ({"msg": "\ud800"}, "surrogates"),
        ({"msg": {"a": 1}}, "not supported|binding"),
        ({"event_handle": 1000}, "UNIQUE"),
    ],
)
async def test_the_row_that_is_refused_is_named(
    repository: Repository, at: int, bad: dict[str, object], reason: str
) -> None:
    await repository.commit(stored(1000, before=0, after=10), 1)
    batch = stored(*range(1, 14), before=10, after=2000)
    batch.inserts[at] = row(at + 1, **bad)
    with pytest.raises(RepositoryRefused, match=reason) as caught:
        await repository.commit(batch, 1)
    assert (caught.value.part, caught.value.index, caught.value.position) == ("inserts", at, (at + 1) * 100)
    assert await repository.position() == 10
    assert await repository.event_row(1) is None
    # the repository goes on
    await repository.commit(stored(1, before=10, after=2000), 1)


async def test_rows_of_one_batch_that_collide_are_refused(repository: Repository) -> None:
    batch = stored(1, 2, 3, before=0, after=400)
    batch.inserts.append(row(2, position=321))
    with pytest.raises(RepositoryRefused) as caught:
        await repository.commit(batch, 1)
    assert (caught.value.index, caught.value.position) == (3, 321)


async def test_other_parts_are_named_too(repository: Repository) -> None:
    outcome = OutcomeRow(1, Disposition.DROPPED)
    with pytest.raises(RepositoryRefused) as caught:
        await repository.commit(Batch(before=0, after=9, outcomes=[outcome, outcome]), 1)
    assert (caught.value.part, caught.value.index, caught.value.position) == ("outcomes", 1, 1)
    task = OutboxRow("x", 42, None, "program", "")
    with pytest.raises(RepositoryRefused) as caught:
        await repository.commit(Batch(before=0, after=9, outbox=[task, task]), 1)
    assert (caught.value.part, caught.value.index, caught.value.position) == ("outbox", 1, 42)
    with pytest.raises(RepositoryRefused) as caught:
        await repository.commit(Batch(before=0, after=9, timers_set=[TimerRow(1 << 64, 0, 0, "")]), 1)
    assert (caught.value.part, caught.value.index, caught.value.position) == ("timers_set", 0, None)


async def test_a_state_that_cannot_be_kept_is_refused(repository: Repository) -> None:
    with pytest.raises(RepositoryRefused, match="'deep'") as caught:
        await repository.commit(Batch(before=0, after=9, state={"deep": object()}), 1)
    assert caught.value.part == "state"


async def test_a_change_of_an_event_that_is_not_there_is_refused(repository: Repository) -> None:
    await repository.commit(stored(1, before=0, after=200), 1)
    with pytest.raises(RepositoryRefused, match="eid 8") as caught:
        await repository.commit(Batch(before=200, after=300, updates=[row(1, msg="x"), row(8)]), 1)
    assert (caught.value.part, caught.value.index) == ("updates", 1)
    assert slot(await repository.event_row(1), "msg") == ""


async def test_a_cancelled_commit_is_carried_out(repository: Repository) -> None:
    task = asyncio.ensure_future(repository.commit(stored(*range(1, 200), before=0, after=20_000), 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await repository.commit(stored(200, before=20_000, after=20_100), 1)
    assert (await repository.counts()).events == 200


async def test_commits_at_the_same_moment_take_turns(repository: Repository) -> None:
    await asyncio.gather(*(repository.commit(stored(n, before=n, after=n + 1), 1) for n in range(20)))
    assert await repository.position() == 20


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


@settings(max_examples=25, deadline=None)
@given(msg=texts, hostname=texts, number=st.integers(-(1 << 63), (1 << 63) - 1))
def test_what_is_stored_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, msg: str, hostname: str, number: int
) -> None:
    async def there_and_back() -> None:
        path = tmp_path_factory.mktemp("rim") / "tec.db"
        await create_repository(path, INSTANCE, NAME)
        repository = await open_repository(path, INSTANCE, NAME)
        await repository.claim(1)
        event = row(1, msg=msg, hostname=hostname, repeat_count=number)
        await repository.commit(Batch(before=0, after=1, inserts=[event]), 1)
        assert await repository.event_row(1) == event
        await repository.close()

    asyncio.run(there_and_back())
