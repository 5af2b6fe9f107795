"""A rule base in which rules do all that a test can look at."""

from __future__ import annotations

from pathlib import Path

from tests.testing.kit import ROOT_BAROC, make_rule_base

RULES = """
rule: configure: ( event: _e of_class 'TEC_Rulebase_Loaded',
  action: (
    create_threshold('often', 'Disk', [hostname], 3, 60), create_threshold('per "class"', 'Disk', [class], 9, 60),
    create_threshold('two', 'Disk', [hostname, drive], 9, 60, sliding, 0),
    set_global_var(limits, drive, 'C:'), set_timer(_e, 3600, clock) ) ).
rule: full: ( event: _event of_class 'Disk_Full' where [drive: _drive, hostname: _host],
  reception_action: count: (
    first_duplicate(_event, event: _dup where [status: outside ['CLOSED']]),
    add_to_repeat_count(_dup, 1), drop_received_event, commit_rule ),
  reception_action: wait: ( set_timer(_event, 60, ['late', _drive]) ),
  reception_action: act: (
    exec_task(_event, page, '%s "it is full"', [_host], 'YES'),
    exec_program(_event, 'scripts/clean.sh', '--drive %s', [_drive], 'NO'),
    forward_event(_event, hq) ),
  reception_action: keep: (
    set_global_var(disks, _host, [_drive, 1, at(_drive, 2.5)]),
    init_count([full, _host], 5), check_and_increment_count([full, _host]) ),
  reception_action: fact: ( assertz(down(_host, _drive)), recorda(seen, _host, _drive), recorda(last, _drive) )
).
rule: ok: ( event: _event of_class 'Disk_OK',
  action: t: ( \\+ check_all_thresholds(_event, _) ),
  action: u: ( check_threshold(_event, often), generate_event('Disk', [msg=often]) ) ).
change_rule: no: ( event: _event of_class 'Disk_Full', attribute: status set_to 'CLOSED', sender: operator(ann),
  action: ( drop_change_request ) ).
timer_rule: late: ( event: _event of_class 'Disk_Full' where [status: equals 'OPEN'], timer_info: equals ['late', 'C:'],
  action: ( set_event_severity(_event, 'FATAL'), generate_event('Disk', [msg=late]) ) ).
rule: bad: ( event: _event of_class 'Disk_Full' where [used: _used greater_than 0],
  action: ( _x is 1 // (_used - 1), _x > 0 ) ).
"""
FULL = "- {at: 0s, event: {class: Disk_Full, hostname: web1, drive: 'C:'}}\n"


def make_rich(folder: Path, rules: str = RULES) -> Path:
    """Its folder; with the classes of the server's own events, and a destination."""
    make_rule_base(folder, rules)
    (folder / "TEC_CLASSES" / "tec.baroc").write_text((ROOT_BAROC.parent / "tec.baroc").read_text())
    (folder / "TEC_RULES" / "tec_forward.conf").write_text("[hq]\nServerLocation=hq.example.com\n")
    return folder
