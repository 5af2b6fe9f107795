"""Whatever happens, an engine primed from the repository at any position goes on exactly as the one before it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opentec.events.records import Record
from opentec.rules.batching import BatchBuilder, RuleBatch
from opentec.rules.engine import Engine
from opentec.rules.selectors.indexed import IndexedSelector
from tests.rules.engine_kit import START, Log, Repository, rule_base

RULES = (
    """
rule: duplicates: ( event: _e of_class 'Disk' where [ hostname: outside ['h3'] ],
  reception_action: ( first_duplicate(_e, event: _d where [ status: outside ['CLOSED'] ], _e - 20 - 20),
    add_to_repeat_count(_d, 1), drop_received_event, commit_set ) ).
rule: clear: ( event: _e of_class 'Disk_OK' where [ hostname: _h, drive: _drive ],
  reception_action: ( all_instances(event: _d of_class 'Disk_Full' where
      [ hostname: equals _h, drive: equals _drive, status: outside ['CLOSED'] ]),
    change_event_status(_d, 'CLOSED'), cancel_all_timers(_d), link_effect_to_cause(_e, _d) ),
  action: ( set_event_status(_e, 'CLOSED') ) ).
rule: reopen: ( event: _e of_class 'Link_Up' where [ hostname: equals 'h1' ],
  action: ( first_instance(event: _d of_class 'EVENT' where [ status: equals 'CLOSED' ]),
    set_event_status(_d, 'OPEN'), bo_set_slotval(_d, hostname, 'h2') ) ).
rule: escalate: ( event: _e of_class 'Disk_Full' where [ hostname: _h, drive: _drive ],
  action: ( set_timer(_e, 7, [_h, 1.0]), set_timer(_e, 30, late), exec_program(_e, p, '%s', [_h], 'NO') ) ).
""",
    """
rule: storm: ( event: _e of_class 'Link_Down' where [ hostname: _h ],
  action: ( findall(_o, all_instances(event: _o of_class 'Link_Down' where [ hostname: equals _h ], _e - 10 - 0), _l),
    length(_l, _n), _n > 2, generate_event('Disk_Full', [hostname=_h, drive='G:', size=_n, tags=[_h, storm]]) ),
  action: ( _x is _h + 1, set_event_message(_e, _x) ) ).
timer_rule: first: ( event: _e of_class 'Disk_Full' where [ status: outside ['CLOSED'] ], timer_info: [_h, _],
  action: ( set_event_severity(_e, 'FATAL'), generate_event('Link_Down', [hostname=_h]), set_timer(_e, 5, x) ) ).
timer_rule: late: ( event: _e of_class 'EVENT' where [ ], timer_info: equals 'late',
  action: ( change_event_administrator(_e, 'late'), bo_set_slotval(_e, drive, 'Z:') ) ).
""".replace("timer_info: [_h, _],", "timer_info: _info,").replace(
        "action: ( set_event_severity(_e, 'FATAL'),", "action: ( _info = [_h, _], set_event_severity(_e, 'FATAL'),"
    ),
)
BASE = rule_base(*RULES, cache_size=25)

HOSTS = st.sampled_from(["h1", "h2", "h3"])
STEP = st.one_of(
    st.tuples(
        st.just("event"),
        st.sampled_from(["Disk_Full", "Disk_OK", "Link_Down", "Link_Up", "TEC_Notice"]),
        HOSTS,
        st.sampled_from(["C:", "D:"]),
        st.sampled_from(["OPEN", "OPEN", "OPEN", "CLOSED", "ACK"]),
    ),
    st.tuples(
        st.just("change"),
        st.integers(0, 60),
        st.sampled_from([{"status": "CLOSED"}, {"status": "ACK"}, {"status": "OPEN"}, {"hostname": "h1"}]),
    ),
    st.tuples(st.just("tick")),
)
STEPS = st.lists(st.tuples(st.sampled_from([0.0, 0.2, 1.0, 4.0, 11.0]), STEP), min_size=5, max_size=60)


def plain(batch: RuleBatch) -> Any:
    return msgspec.msgpack.encode(batch)


class Server:
    """An engine and a repository that commits every `size` records."""

    def __init__(self, engine: Engine, repository: Repository, size: int) -> None:
        self.engine, self.repository, self.size = engine, repository, size
        self.builder = BatchBuilder(repository.position)

    def process(self, record: Record) -> None:
        key = self.engine.needs_row(record)
        if key is not None:
            self.commit()  # a change of an event outside the cache waits for the commit before it
        effects = self.engine.process(record, self.repository.by_key(key) if key else None)
        self.builder.add(effects)
        if self.builder.records >= self.size:
            self.commit()

    def commit(self) -> None:
        if self.builder.records:
            self.repository.commit(self.builder.build())


def make_records(steps: list[Any]) -> list[Record]:
    log, at, made = Log(), 0.0, []
    for wait, step in steps:
        at += wait
        if step[0] == "event":
            _, name, host, drive, status = step
            slots = {"hostname": host, "status": status}
            if name.startswith("Disk"):
                slots["drive"] = drive
            made.append(log.event(at, name, **slots))
        elif step[0] == "change":
            made.append(log.change(at, (START + step[1] // 2, 1 + step[1] % 3, 1), **step[2]))
        else:
            made.append(log.tick(at))
    return made


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, st.integers(1, 7), st.integers(0, 59), st.integers(1, 7))
def test_at_any_position_a_primed_engine_goes_on_as_the_one_before(
    steps: list[Any], size: int, cut: int, later_size: int
) -> None:
    records = make_records(steps)
    cut = min(cut, len(records))
    first = Server(Engine(BASE, IndexedSelector()), Repository(), size)
    for record in records[:cut]:
        first.process(record)
    first.commit()
    second_engine = first.repository.prime(Engine(BASE, IndexedSelector()))
    assert second_engine.state_hash() == first.engine.state_hash()
    assert second_engine.next_due() == first.engine.next_due()
    copy = msgspec.msgpack.encode([first.repository.rows, first.repository.timers, first.repository.state])
    rows, timers, state = msgspec.msgpack.decode(copy, type=tuple[dict[int, tuple], dict[int, tuple], dict[str, Any]])  # type: ignore[type-arg]
    repository = Repository()
    repository.position, repository.rows, repository.timers, repository.state = (
        first.repository.position,
        rows,
        timers,
        state,
    )
    first.builder = BatchBuilder(repository.position)
    second = Server(second_engine, repository, later_size)
    first.size = later_size
    for record in records[cut:]:
        before, after = first.builder, second.builder
        first.process(record)
        second.process(record)
        assert before.rows == after.rows
        assert first.engine.state_hash() == second.engine.state_hash()
    first.commit()
    second.commit()
    assert second.repository.rows == first.repository.rows
    assert second.repository.timers == first.repository.timers
    assert second.repository.state == first.repository.state


@given(STEPS, st.integers(2, 9))
def test_where_batches_end_makes_no_difference(steps: list[Any], size: int) -> None:
    records = make_records(steps)
    one = Server(Engine(BASE, IndexedSelector()), Repository(), 1)
    many = Server(Engine(BASE, IndexedSelector()), Repository(), size)
    for server in (one, many):
        for record in records:
            server.process(record)
        server.commit()
    for part in ("rows", "timers", "state", "outcomes", "outbox"):
        assert getattr(one.repository, part) == getattr(many.repository, part)


def test_the_rules_of_this_test_do_something() -> None:
    """The property is worth nothing when its rules never fire."""
    log, server = Log(), Server(Engine(BASE, IndexedSelector()), Repository(), 3)
    records = [log.event(n / 2, "Link_Down", hostname="h2") for n in range(40)]
    records += [log.event(25, "Disk_Full", hostname="h1", drive="C:"), log.tick(33)]
    records += [
        log.event(34, "Disk_Full", hostname="h1", drive="C:"),
        log.event(36, "Disk_OK", hostname="h1", drive="C:"),
    ]
    records += [log.event(37, "Link_Up", hostname="h1"), log.tick(90)]
    fired = set()
    for record in records:
        effects = server.engine.process(record)
        if effects.outcome is not None:
            fired |= {one.rule for one in effects.outcome.fired}
        server.builder.add(effects)
    server.commit()
    assert fired == {"duplicates", "clear", "reopen", "escalate", "storm", "first"}
    assert server.repository.state["f"] > 0
    assert any("notice:" in name for name in server.repository.state)
    assert server.repository.outbox
    assert "late" in {row[4 + 12] for row in server.repository.rows.values()}


def test_state_hash_sees_every_part_of_the_state() -> None:
    log = Log()
    engine = Engine(BASE, IndexedSelector())
    seen = {engine.state_hash()}
    for record in (
        log.event(0, "Disk_Full", hostname="h1"),
        log.event(0, "Disk_Full", hostname="h1"),  # dropped: the counters move
        log.change(0, (START, 1, 1), severity="FATAL"),
        log.tick(7),  # a timer fires
        log.activate(8, BASE),
    ):
        engine.process(record)
        assert engine.state_hash() not in seen
        seen.add(engine.state_hash())


@pytest.mark.parametrize("value", ["", "a'b", "ünï \x00 \U0001f600", "x" * 5000])
def test_slots_survive_the_repository(value: str) -> None:
    log, server = Log(), Server(Engine(rule_base(""), IndexedSelector()), Repository(), 1)
    slots = {"hostname": value, "drive": value, "size": -5, "load": 5.0, "tags": [value, "b"], "acl": [value]}
    server.process(log.event(0, "Disk_Full", **slots))
    (row,) = server.repository.cached()
    assert isinstance(row[-1], str)
    again = server.repository.prime(Engine(rule_base(""), IndexedSelector()))
    assert again.state_hash() == server.engine.state_hash()
    event = again._cache.find((START, 1, 1))
    assert event is not None
    assert {slot: event.get(slot) for slot in slots} == slots
    assert type(event.get("load")) is float
