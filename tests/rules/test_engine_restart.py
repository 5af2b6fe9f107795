"""Whatever happens, an engine primed from the repository at any position goes on exactly as the one before it."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opentec.events.records import Kind, Record, decode_activate
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
    # what the store holds, and changes that somebody asks for
    """
rule: configure: ( event: _e of_class 'TEC_Rulebase_Loaded' where [ name: _name ],
  action: ( set_global_var(base, name, _name), create_threshold(storm, 'Link_Down', [hostname], 3, 10) ) ).
rule: cause: ( event: _e of_class 'Disk_Full' where [ hostname: _h ],
  action: ( first_instance(event: _c of_class 'Link_Down' where [ hostname: equals _h ]),
    link_effect_to_cause(_e, _c) ),
  redo_action: again: ( add_to_repeat_count(_e, 10), check_and_increment_count([redone, _h], _n),
    change_event_administrator(_e, _n) ),
  redo_action: ( first_causal_event(_e, event: _c where [ status: outside ['CLOSED'] ]),
    generate_event('TEC_Notice', [msg=caused, hostname=_h]), change_event_severity(_c, 'MINOR') ) ).
rule: up: ( event: _e of_class 'Link_Up' where [ hostname: _h ],
  action: ( assertz(up(_h, _e)) ),
  action: ( bo_get_slotval(_e, event_handle, _n), assertz(up(_h, _n)), recordz(ups, _h, _n), erase(ups, h3) ),
  action: ( retract(up(h2, _k)), findall(_x, up(_, _x), _all), rerecord(all, _all) ),
  action: ( first_instance(event: _c of_class 'Link_Down' where [ hostname: equals _h ]),
    all_effect_events(_c, event: _d where [ status: outside ['CLOSED'] ]), redo_analysis(_d) ) ).
rule: threshold: ( event: _e of_class 'Link_Down' where [ ],
  reception_action: ( check_threshold(_e, storm, _n), set_timer(_e, 2, [storm, _n]), redo_analysis(_e) ),
  action: ( init_event_activity([], [hostname]), update_event_activity(_e) ) ).
rule: notice: ( event: _e of_class 'TEC_Notice' where [ hostname: equals 'h1' ],
  action: ( clear_closed_events(5) ),
  action: ( recorded(all, _all), length(_all, _n), _n > 2, retractall(up(_, _)) ) ).
timer_rule: of_storm: ( event: _e of_class 'Link_Down' where [ hostname: _h ], timer_info: _info,
  action: ( _info = [storm, _n], change_event_status(_e, 'ACK'), get_global_var(changes, status, _l, none),
    generate_event('TEC_Notice', [msg=acknowledged, hostname=_h]) ) ).
change_rule: guard: ( event: _e of_class 'Disk' where [ hostname: _h ], sender: within [operator(_), closed_event],
  attribute: status set_to 'CLOSED',
  action: ( _h == 'h2', drop_change_request, redo_analysis(_e) ),
  action: ( check_and_increment_count([closings, _h], _n), place_change_request(_e, size, _n),
    set_timer(_e, 3, [closing, _n]) ) ).
change_rule: keep: ( event: _e of_class 'Link_Down' where [ hostname: equals 'h3' ], sender: equals rule(_),
  action: ( drop_change_request, commit_set ) ).
change_rule: log: ( event: _e of_class 'EVENT', sender: _s, attribute: _slot set_to _new,
  action: ( get_global_var(changes, _slot, _l, []), sprintf(_t, '%s', [_s]), length(_l, _n),
    ( _n < 4 -> append(_l, [[_t, _new]], _m) ; _m = [] ), set_global_var(changes, _slot, _m) ),
  action: ( _slot == severity, exec_program(_e, p, '%s', [_new], 'NO'), place_change_request(_e, msg, _new) ) ).
""",
)
BASE = rule_base(*RULES, cache_size=25)
# the same without its second set, and the disputed points the other way
OTHER = rule_base(
    RULES[2], RULES[0], name="other", content_hash="1" * 64, cache_size=15, drop_ends=True, commit_rule_ends_set=True
)
BASES = {base.content_hash: base for base in (BASE, OTHER)}
Engine(BASE, IndexedSelector())  # sets the limit of recursion, which hypothesis does not want to see changed later

HOSTS = st.sampled_from(["h1", "h2", "h3"])
SETTINGS: list[dict[str, Any]] = [
    {},
    {"cache_size": 9},
    {"trace": {"names": ["Disk", "h1"], "hours": 1}},
    {"trace": {"names": ["Disk"], "hours": 0}},
]
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
        st.sampled_from(
            [{"status": "CLOSED"}, {"status": "ACK"}, {"status": "OPEN"}, {"hostname": "h1"}, {"severity": "FATAL"}]
        ),
    ),
    st.tuples(st.just("tick")),
    st.tuples(st.just("activate"), st.sampled_from(sorted(BASES)), st.sampled_from(SETTINGS)),
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
        if record.kind == Kind.ACTIVATE:
            wanted = decode_activate(record.payload).rule_base
            if wanted != self.engine.rule_base.content_hash:
                self.engine.activate(BASES[wanted])
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


def primed(repository: Repository) -> Engine:
    """An engine on the rule base that was at work, as the rule process makes one."""
    active = repository.state.get("rule_base")
    return repository.prime(Engine(BASES[active[0]] if active else BASE, IndexedSelector()))


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
        elif step[0] == "activate":
            made.append(log.activate(at, BASES[step[1]], **step[2]))
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
    second_engine = primed(first.repository)
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
    random = Random(7)
    fired: set[str] = set()
    did: list[str] = []
    sections: set[str] = set()
    outcomes: set[int] = set()
    kinds = ["Disk_Full", "Disk_Full", "Disk_OK", "Link_Down", "Link_Down", "Link_Up", "TEC_Notice"]
    for _ in range(30):
        steps: list[Any] = [(0.0, ("activate", BASE.content_hash, {}))]
        for _ in range(60):
            host, drive = random.choice(["h1", "h2", "h3"]), random.choice(["C:", "D:"])
            status = random.choice(["OPEN", "OPEN", "OPEN", "CLOSED", "ACK"])
            event = ("event", random.choice(kinds), host, drive, status)
            change = ("change", random.randrange(60), {"status": random.choice(["CLOSED", "ACK", "OPEN"])})
            steps.append((random.choice([0.0, 0.2, 1.0, 4.0]), event if random.random() < 0.8 else change))
        server = Server(Engine(BASE, IndexedSelector()), Repository(), 3)
        for record in make_records(steps):
            server.process(record)
        server.commit()
        assert server.repository.state["f"] > 0
        sections |= {name.partition(":")[0] for name in server.repository.state if ":" in name}
        outcomes |= {outcome[1] for outcome in server.repository.outcomes}
        for one in (one for outcome in server.repository.outcomes for one in msgspec.json.decode(outcome[6] or "[]")):
            fired.add(one[1])
            did += one[3]
    assert fired == {rule.name for rule_set in BASE.rule_sets for rule in rule_set.rules}
    assert sections >= {"notice", "fact", "recorded", "global", "counter", "threshold", "activity"}
    assert outcomes == {1, 2, 5, 6, 7}
    for part in ("is the cause of", "analysed again", "dropped the change request", "was not changed to", "failed at"):
        assert any(part in sentence for sentence in did), part


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
