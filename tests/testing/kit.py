"""A small rule base and test files from text: what the tests of the tester share."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opentec.testing.binding import bind
from opentec.testing.results import Result
from opentec.testing.runner import Runner
from opentec.testing.spec import Spec, read_spec

ROOT_BAROC = Path(__file__).parents[2] / "rules" / "default" / "TEC_CLASSES" / "root.baroc"
CLASSES = """
TEC_CLASS: Disk ISA EVENT DEFINES {
  hostname: dup_detect = yes; drive: STRING, dup_detect = yes; used: INTEGER; load: REAL; tags: LIST_OF STRING; };
END
TEC_CLASS: Disk_Full ISA Disk; END
TEC_CLASS: Disk_OK ISA Disk; END
"""
RULES = """
rule: full: (
  event: _event of_class 'Disk_Full' where [drive: _drive],
  reception_action: count: (
    first_duplicate(_event, event: _dup where [status: outside ['CLOSED']]),
    add_to_repeat_count(_dup, 1), drop_received_event, commit_rule ),
  reception_action: wait: ( set_timer(_event, 60, 'late') )
).
timer_rule: late: (
  event: _event of_class 'Disk_Full' where [status: equals 'OPEN'], timer_info: equals 'late',
  action: ( set_event_severity(_event, 'FATAL') )
).
rule: ok: (
  event: _event of_class 'Disk_OK' where [drive: _drive],
  reception_action: (
    all_instances(event: _full of_class 'Disk_Full' where [drive: equals _drive, status: outside ['CLOSED']]),
    change_event_status(_full, 'CLOSED'), drop_received_event )
).
"""


def make_rule_base(folder: Path, rules: str = RULES) -> Path:
    """A rule base with one rule set; its folder."""
    (folder / "TEC_CLASSES").mkdir(parents=True)
    (folder / "TEC_RULES").mkdir()
    (folder / "TEC_CLASSES" / "root.baroc").write_text(ROOT_BAROC.read_text())
    (folder / "TEC_CLASSES" / "disk.baroc").write_text(CLASSES)
    (folder / "TEC_RULES" / "rule_sets").write_text("disk\n")
    (folder / "TEC_RULES" / "disk.rls").write_text(rules)
    return folder


def write_spec(folder: Path, steps: str, *, head: str = "", name: str = "tests/t.yaml") -> Path:
    """A test file with one test `t` of these steps, in a rule base."""
    text = f"rulebase: ..\n{head}tests:\n  - name: t\n    start: 2026-03-01T08:00:00Z\n    steps:\n"
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text + textwrap.indent(textwrap.dedent(steps).strip("\n"), " " * 6) + "\n")
    return path


def spec_of(path: Path, text: str) -> Spec:
    path.write_text(text)
    return read_spec(path, path.name)


def run(folder: Path, runner: Runner, steps: str) -> Result:
    """The result of one test with these steps, the first of which is in line 6."""
    spec = read_spec(write_spec(folder, steps), "t.yaml")
    (bound,) = bind(spec, runner.rule_base.classes)
    return runner.run(bound)


class Ran:
    """How a command ended, and what it printed."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Ran]
