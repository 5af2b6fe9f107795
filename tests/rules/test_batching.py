"""Effects of several records in one batch, each row once."""

from __future__ import annotations

import msgspec
import pytest

from opentec.events.image import COLUMNS
from opentec.events.records import Disposition
from opentec.rim.batch import Batch
from opentec.rules.batching import BatchBuilder, RuleBatch, timer_of_row
from tests.rules.engine_kit import START, Kit

RULES = """
rule: r: ( event: _e of_class 'Link_Down' where [ ], action: ( set_timer(_e, 5, ['a', 1]),
  exec_program(_e, mail, '%s', [x], 'NO') ) ).
rule: up: ( event: _e of_class 'Link_Up' where [ ], action: ( first_instance(event: _d of_class 'Link_Down'),
  add_to_repeat_count(_d, 1), cancel_all_timers(_d), drop_received_event ) ).
"""


def build(kit: Kit, *records: object) -> RuleBatch:
    builder = BatchBuilder(kit.repository.position)
    for record in records:
        builder.add(kit.engine.process(record))  # type: ignore[arg-type]
    batch = builder.build()
    assert builder.build() == RuleBatch(batch.after, batch.after)
    kit.repository.commit(batch)
    return batch


def test_what_comes_and_goes_in_one_batch_is_one_insert() -> None:
    kit = Kit(RULES)
    log = kit.log
    batch = build(kit, log.event(0, "Link_Down"), log.event(1, "Link_Up"), log.event(2, "Link_Up"))
    (row,) = batch.inserts
    assert dict(zip(COLUMNS, row, strict=True))["repeat_count"] == 2
    assert (batch.updates, batch.timers_set, batch.timers_cancelled) == ([], [], [])
    assert [outcome[:5] for outcome in batch.outcomes] == [
        (row[1], Disposition.STORED, 1, START, 1),
        (row[1] + 100, Disposition.DROPPED, 1, START + 1, 1),
        (row[1] + 200, Disposition.DROPPED, 1, START + 2, 1),
    ]
    assert msgspec.json.decode(batch.outcomes[0][6] or "")[0][:3] == ["set1", "r", ["action_1"]]
    assert batch.state == {"eid": 4, "handle": [START + 2, 1], "timer": 2, "f": 0, "f2": 0}


def test_later_batches_update_and_cancel() -> None:
    kit = Kit(RULES)
    log = kit.log
    first = build(kit, log.event(0, "Link_Down"))
    (timer,) = first.timers_set
    assert timer == (1, (START + 5) * 1_000_000, 1, '{"duration":5,"info":["a",1]}')
    assert timer_of_row(*timer).info == ["a", 1]
    (program,) = first.outbox
    assert program[1:4] == (100 + (1 << 44), 1, "program")
    assert msgspec.json.decode(program[4])["argv"] == ["mail", "x"]
    second = build(kit, log.event(1, "Link_Up"), log.event(2, "Link_Up"), log.tick(3))
    assert [row[0] for row in second.updates] == [1]
    assert second.timers_cancelled == [1]
    assert second.before == first.after
    assert len(second.outcomes) == 2


def test_the_batch_is_what_the_repository_takes() -> None:
    kit = Kit(RULES)
    batch = build(kit, kit.log.event(0, "Link_Down"), kit.log.change(1, (START, 9, 1), status="ACK"))
    taken = msgspec.msgpack.decode(msgspec.msgpack.encode(batch), type=Batch)
    assert taken.outcomes[0].date_reception == START
    assert taken.outcomes[1].reason == f"there is no event {START}.9"
    assert taken.timers_set[0].due == (START + 5) * 1_000_000
    assert taken.outbox[0].kind == "program"
    assert taken.inserts[0][3] == "Link_Down"
    assert msgspec.structs.fields(Batch)[0].name == "before"
    assert [field.name for field in msgspec.structs.fields(Batch)] == [
        field.name for field in msgspec.structs.fields(RuleBatch)
    ]


@pytest.mark.parametrize("count", [1, 4])
def test_rows_count_what_will_be_written(count: int) -> None:
    kit, builder = Kit(RULES), BatchBuilder(0)
    for at in range(count):
        builder.add(kit.engine.process(kit.log.event(at, "Link_Down")))
    assert builder.records == count
    assert builder.rows == 4 * count  # event, outcome, timer, program
