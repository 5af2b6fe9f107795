"""The rule process alone: events a second through process() and the building of rows, on one core.

50 rules (10 duplicates, 10 clearing, 20 escalation, 10 thresholds), at most 10 concern one class; events of 10 slots; a
cache of 5,000. Rounds are interleaved; each figure is the median of its ratios to a fixed loop of the same round, so
that a machine that changes its speed does not change the comparison.

    python bench/engine_bench.py [EVENTS] [ROUNDS]
"""

from __future__ import annotations

import gc
import random
import sys
import time
from pathlib import Path
from statistics import median

from opentec.events.classes import ClassTable
from opentec.events.loader import classes_of
from opentec.events.records import EventPayload, Kind, Record, decode_event, encode, position_of
from opentec.rules.batching import BatchBuilder
from opentec.rules.engine import Engine
from opentec.rules.parser import parse_rules
from opentec.rules.rulebase import RuleBase, Settings
from opentec.rules.selectors import make_selector

CLASS_COUNT = 10
BATCH = 1000


def table() -> ClassTable:
    folder = Path(__file__).parents[1] / "rules/default/TEC_CLASSES"
    lines = [(folder / name).read_text(encoding="utf-8") for name in ("root.baroc", "tec.baroc")]
    for n in range(CLASS_COUNT):
        lines.append(
            f"TEC_CLASS: Down{n} ISA EVENT DEFINES {{ hostname: dup_detect = yes; part: STRING, dup_detect = yes;"
            f" code: INTEGER; user: STRING; }};\nTEC_CLASS: Up{n} ISA EVENT DEFINES {{ part: STRING; code: INTEGER; "
            "user: STRING; };"
        )
    lines += [f"TEC_CLASS: Link_{n} ISA EVENT;" for n in range(40)]
    return classes_of("\n".join(lines))


def rules(count: int) -> str:
    """`count` rules; the first 50 concern the classes that arrive, all others a class that does not."""
    out = []
    for n in range(min(10, count)):
        out.append(
            f"""rule: dup{n}: ( event: _e of_class 'Down{n}' where [ status: equals 'OPEN' ],
  reception_action: ( first_duplicate(_e, event: _d where [ status: outside ['CLOSED'] ], _e - 600 - 0),
    add_to_repeat_count(_d, 1), drop_received_event, commit_set ) )."""
        )
    for n in range(min(10, count - 10)):
        out.append(
            f"""rule: clear{n}: ( event: _e of_class 'Up{n}' where [ hostname: _host, part: _part ],
  reception_action: ( all_instances(event: _d of_class 'Down{n}' where
      [ hostname: equals _host, part: equals _part, status: outside ['CLOSED'] ], _e - 3600 - 0),
    change_event_status(_d, 'CLOSED') ),
  reception_action: ( set_event_status(_e, 'CLOSED') ) )."""
        )
    for n in range(min(20, count - 20)):
        severity = ("FATAL", "CRITICAL")[n % 2]
        out.append(
            f"""rule: escalate{n}: ( event: _e of_class 'Down{n // 2}' where
    [ severity: equals '{severity}', msg: _msg ],
  action: ( set_event_administrator(_e, 'on call') ) )."""
        )
    for n in range(min(10, count - 40)):
        out.append(
            f"""rule: threshold{n}: ( event: _e of_class 'Down{n}' where [ code: _c greater_than 90, hostname: _host ],
  action: ( findall(_o, first_instance(event: _o of_class 'Down{n}' where
      [ hostname: equals _host, code: greater_than 95 ], _e - 60 - 0), _all),
    length(_all, _n), _n > 5, set_event_severity(_e, 'FATAL') ) )."""
        )
    for n in range(max(0, count - 50)):
        out.append(
            f"""rule: other{n}: ( event: _e of_class 'Link_{n % 40}' where [ severity: equals 'FATAL' ],
  action: ( set_event_message(_e, 'x') ) )."""
        )
    return "\n".join(out)


def records(events: int) -> list[Record]:
    chance = random.Random(7)  # the same events every time
    made = []
    position = position_of(1, 0)
    for n in range(events):
        kind = chance.randrange(CLASS_COUNT)
        slots = {
            "source": "LOGFILE",
            "sub_source": "syslog",
            "origin": "10.0.0.1",
            "hostname": f"host{chance.randrange(200)}",
            "adapter_host": "gate1",
            "severity": chance.choice(["WARNING", "MINOR", "CRITICAL", "FATAL"]),
            "msg": f"the part has failed with reason {n}",
            "part": f"part{chance.randrange(50)}",
            "code": chance.randrange(100),
            "user": "root",
        }
        name = f"Up{kind}" if chance.random() < 0.3 else f"Down{kind}"
        data = encode(EventPayload(name, slots))
        made.append(Record(position, position + 200, Kind.EVENT, 0, 1_772_352_000_000_000 + n * 100, payload=data))
        position += 200
    return made


def run(base: RuleBase, selector: str, log: list[Record]) -> tuple[float, int, int]:
    engine = Engine(base, make_selector(selector))
    gc.collect()
    gc.freeze()
    begin = time.process_time()
    builder = BatchBuilder(0)
    inserts = updates = 0
    for start in range(0, len(log), BATCH):
        for record in log[start : start + BATCH]:
            builder.add(engine.process(record))
        batch = builder.build()
        inserts += len(batch.inserts)
        updates += len(batch.updates)
    return len(log) / (time.process_time() - begin), inserts, updates


def calibrate(log: list[Record]) -> float:
    """A fixed loop of the same round: decode every record and copy its slots, events a second."""
    begin = time.process_time()
    for record in log:
        dict(decode_event(record.payload).slots)
    return len(log) / (time.process_time() - begin)


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 40_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    gc.set_threshold(50_000, 20, 20)
    classes = table()
    log = records(events)
    cases = [(count, name) for count in (1, 10, 50, 100, 500) for name in ("indexed", "durable-rules")]
    bases = {
        count: RuleBase("bench", "0" * 64, classes, (parse_rules(rules(count), "bench.rls"),), Settings())
        for count, _ in cases
    }
    rates: dict[tuple[int, str], list[float]] = {case: [] for case in cases}
    ratios: dict[tuple[int, str], list[float]] = {case: [] for case in cases}
    written: dict[tuple[int, str], tuple[int, int]] = {}
    for _ in range(rounds):
        base_rate = calibrate(log)
        for case in cases:
            rate, inserts, updates = run(bases[case[0]], case[1], log)
            rates[case].append(rate)
            ratios[case].append(rate / base_rate)
            written[case] = inserts, updates
    reference = median(ratios[1, "indexed"])
    print(f"{events} events, {rounds} rounds; calibration loop of the last round {base_rate / 1000:.0f} k/s")
    print(f"{'rules':>6} {'selector':<14} {'k/s':>7} {'spread':>13} {'to loop':>8} {'to 1 rule':>10} {'in/up':>14}")
    for case in cases:
        low, high = min(rates[case]) / 1000, max(rates[case]) / 1000
        ratio = median(ratios[case])
        print(
            f"{case[0]:>6} {case[1]:<14} {median(rates[case]) / 1000:>7.1f} {low:>6.1f}-{high:<6.1f} {ratio:>8.3f}"
            f" {ratio / reference:>10.2f} {written[case][0]:>7}/{written[case][1]}"
        )


if __name__ == "__main__":
    main()
