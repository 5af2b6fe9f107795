"""Events of a step: lists, repetitions, raw log lines, dumps; and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from opentec.events.errors import SourceErrors
from opentec.testing.report import as_text
from opentec.testing.runner import Runner
from opentec.testing.spec import read_spec
from tests.testing.kit import make_rule_base, run, write_spec

FORMATS = """\
FORMAT Disk_Full
disk %s of %s is full%s*
hostname $2
drive $1
END
FORMAT *DISCARD*
noise %s*
END
"""


@pytest.fixture
def lines(folder: Path) -> Path:
    path = folder / "tests" / "disk.fmt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(FORMATS)
    return path


def holds(folder: Path, runner: Runner, steps: str) -> None:
    result = run(folder, runner, steps)
    assert result.passed, as_text(result)


def errors_of(folder: Path, runner: Runner, steps: str) -> list[str]:
    with pytest.raises(SourceErrors) as caught:
        run(folder, runner, steps)
    return [str(error).partition("\n")[0] for error in caught.value.errors]


def test_a_list_of_events(folder: Path, runner: Runner) -> None:
    events = "- {at: 0s, events: [{class: Disk, drive: a}, {class: Disk, drive: b}]"
    holds(folder, runner, events + ", expect: [{drive: a, event_handle: 1}, {drive: b, event_handle: 2}]}")


def test_events_are_repeated(folder: Path, runner: Runner) -> None:
    steps = """
- at: 10s
  events: [{class: Disk_Full, drive: a}, {class: Disk, drive: b}]
  repeat: 3
  every: 10s
  expect_exact:
    - {class: Disk_Full, repeat_count: 2, date_reception: 1772352010}
    - {class: Disk, date_reception: 1772352010}
    - {class: Disk, date_reception: 1772352020}
    - {class: Disk, date_reception: 1772352030}
- {at: +1s, expect: [{class: Disk_Full, last_modified_time: 1772352030}]}
- {at: 70s, expect: [{class: Disk_Full, severity: FATAL}]}
"""
    holds(folder, runner, steps)
    text = as_text(run(folder, runner, steps.replace("repeat_count: 2", "repeat_count: 3")))
    assert "t.yaml:11: at 10s (2026-03-01T08:00:30Z)" in text
    assert errors_of(folder, runner, steps.replace("+1s", "29s"))[0].startswith(
        "t.yaml:15:14: '29s' lies before the step above, which is at 30s"
    )


def test_events_without_a_pause(folder: Path, runner: Runner) -> None:
    step = "- {at: 0s, event: {class: Disk}, repeat: 50, every: 0s}\n"
    holds(folder, runner, step + "- {at: 0s, expect: [{event_handle: 50}], expect_no: [{event_handle: 51}]}")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("repeat: 2", "t.yaml:6:40: 'repeat' stands without 'every'; add every: 10s, or every: 0s"),
        ("every: 2s", "t.yaml:6:40: 'every' stands without 'repeat'; add repeat: N"),
        ("repeat: 0, every: 1s", "t.yaml:6:48: '0' is not a number of times; write 1 to 1000000"),
        ("repeat: ten, every: 1s", "t.yaml:6:48: 'ten' is not a number of times; write 1 to 1000000"),
        ("repeat: 9999999, every: 0s", "t.yaml:6:48: '9999999' is not a number of times; write 1 to 1000000"),
        ("repeat: 2, every: 2", "t.yaml:6:58: '2' is not a time"),
        ("repeat: 2, every: 30000d", "t.yaml:6:51: 2 times 30000d is more than a hundred years"),
        ("events: [{class: Disk}]", "t.yaml:6:40: a step has one of event and events; put all of them into events:"),
        ("dump: d", "t.yaml:6:40: a step has one of event and dump; make two steps of it"),
    ],
)
def test_what_is_wrong_with_repetitions(folder: Path, runner: Runner, keys: str, message: str) -> None:
    (error,) = errors_of(folder, runner, f"- {{at: 0s, event: {{class: Disk}}, {keys}}}")
    assert error.startswith(message)


def test_what_is_wrong_with_lists_of_events(folder: Path, runner: Runner) -> None:
    assert errors_of(folder, runner, "- {at: 0s, events: []}") == [
        "t.yaml:6:18: 'events' is an empty list; name at least one event, or take it out"
    ]
    assert errors_of(folder, runner, "- {at: 0s, events: [{drive: a}]}") == [
        "t.yaml:6:27: the event has no class; add class: ..."
    ]
    assert errors_of(folder, runner, "- {at: 0s, expect: [{class: Disk}], repeat: 3, every: 1s}") == [
        "t.yaml:6:43: 'repeat' is for events and lines; say which: event: {class: ...}"
    ]
    assert (
        "more than a hundred years from the start"
        in errors_of(folder, runner, "- {at: 36000d, event: {class: Disk}, repeat: 2, every: 1000d}")[0]
    )


def test_lines_of_a_log(folder: Path, runner: Runner, lines: Path) -> None:
    steps = """
- at: 0s
  lines:
    format: disk.fmt
    hostname: web1
    text: |
      disk C: of web7 is full now
      noise of no kind
      disk D: of web7 is full
  expect_exact:
    - {class: Disk_Full, hostname: web7, drive: 'C:', adapter_host: web1}
    - {class: Disk_Full, drive: 'D:'}
- at: 1s
  lines: {format: disk.fmt, text: ['disk E: of web8 is full']}
  repeat: 2
  every: 1s
  expect: [{drive: 'E:', repeat_count: 1, adapter_host: localhost}]
"""
    holds(folder, runner, steps)
    assert errors_of(folder, runner, steps.replace("disk D: of web7 is full", "disk D of nobody")) == [
        "t.yaml:13:1: the line 'disk D of nobody' becomes no event; no format of disk.fmt takes it: "
        + errors_of(folder, runner, steps.replace("disk D: of web7 is full", "disk D of nobody"))[0].partition(
            "takes it: "
        )[2]
    ]
    lines.write_text(FORMATS.replace("Disk_Full", "Dsk"))
    errors = errors_of(folder, runner, steps)
    assert errors[0].startswith("t.yaml:11:1: class 'Dsk' is not defined")
    lines.write_text("FORMAT\n")
    assert errors_of(folder, runner, steps)[0].startswith(f"{lines}:1")


def test_lines_of_a_file(folder: Path, runner: Runner, lines: Path) -> None:
    log = folder / "tests" / "disk.log"
    log.write_text("disk C: of web7 is full\nnoise\n")
    holds(
        folder,
        runner,
        "- {at: 0s, lines: {format: disk.fmt, file: disk.log, log: /var/log/disk}, expect_exact: [{drive: 'C:'}]}",
    )
    step = "- {at: 0s, lines: {format: disk.fmt, file: disk.log}}"
    log.write_text("noise\n")
    assert errors_of(folder, runner, step) == [
        "t.yaml:6:50: no line of this log becomes an event; `tec adapter try` shows what becomes of each line"
    ]
    log.unlink()
    assert errors_of(folder, runner, step) == [f"t.yaml:6:50: there is no file {log}; 'file' is relative to this file"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{text: a}", "t.yaml:6:25: 'lines' has no 'format'; add format: ..."),
        ("{format: disk.fmt}", "t.yaml:6:18: 'lines' has either text or file; write text: | and the lines below it"),
        ("{format: disk.fmt, text: a, file: b}", "t.yaml:6:18: 'lines' has either text or file"),
        ("{format: '', text: a}", "t.yaml:6:34: 'format' is empty; name it relative to this file"),
        ("{format: disk.fmt, text: ''}", "t.yaml:6:50: 'text' has no lines; write text: | and the lines below it"),
        ("{format: disk.fmt, text: []}", "t.yaml:6:50: 'text' has no lines; write text: | and the lines below it"),
        ("{format: dsk.fmt, text: a}", "t.yaml:6:34: there is no file "),
        ("{format: disk.fmt, text: {a: b}}", "t.yaml:6:50: 'text' must be a list, found a mapping"),
    ],
)
def test_what_is_wrong_with_lines(folder: Path, runner: Runner, lines: Path, given: str, message: str) -> None:
    (error,) = errors_of(folder, runner, f"- {{at: 0s, lines: {given}}}")
    assert error.startswith(message)


DUMP = """\
1~2~3~1772352000(Mar 01 08:00:00 2026)
### EVENT ###
Disk_Full;hostname=web1;drive=a;END

### END EVENT ###
PROCESSED
1~2~3~1772352000(Mar 01 08:00:00 2026)
### EVENT ###
Nonsense
### END EVENT ###
PARSING_FAILED~'Line 1'
1~2~3~1772352045(Mar 01 08:00:45 2026)
### EVENT ###
Disk_OK;hostname=web1;drive=a;END

### END EVENT ###
PROCESSED
"""


def test_a_dump_keeps_its_distances(folder: Path, runner: Runner) -> None:
    (folder / "tests").mkdir(exist_ok=True)
    (folder / "tests" / "rx.txt").write_text(DUMP)
    steps = """
- at: 10s
  dump: rx.txt
  expect_exact: [{class: Disk_Full, status: CLOSED, date_reception: 1772352010, last_modified_time: 1772352055}]
- {at: +1s, expect: [{last_modified_time: 1772352055}]}
"""
    holds(folder, runner, steps)
    (folder / "tests" / "rx.txt").write_text(DUMP.replace("drive=a", "drve=a"))
    errors = errors_of(folder, runner, steps)
    assert errors[0].startswith("t.yaml:7:15: class Disk_Full has no slot 'drve'")
    (folder / "tests" / "rx.txt").write_text(DUMP[DUMP.index("PROCESSED") + 10 : DUMP.rindex("1~2~3")])
    assert errors_of(folder, runner, steps) == [
        "t.yaml:7:15: the dump has no event; changes and what was rejected do not arrive"
    ]
    (folder / "tests" / "rx.txt").write_text("what is this")
    assert errors_of(folder, runner, steps)[0].startswith(f"{folder}/tests/rx.txt:1:1: ")


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    folder = make_rule_base(tmp_path / "base")
    spec = read_spec(write_spec(folder, "- {at: 0s, reload: other}"), "t.yaml")
    reload = spec.cases[0].steps[0].reload
    assert reload is not None
    assert reload[0] == folder / "tests" / "other"


@pytest.mark.parametrize(
    ("step", "messages"),
    [
        ("restart: maybe", ["6:27: 'restart' is true or false, found 'maybe'"]),
        ("restart: false", ["6:27: 'restart' can only be true; take it out"]),
        ("restart: true, reload: x", ["6:33: a step has one of restart and reload; make two steps of it"]),
        ("failover: [a]", ["6:28: 'failover' is true or false, found a list"]),
        ("reload: ''", ["6:26: 'reload' is empty; name it relative to this file"]),
        ("change: {set: {status: ACK}}", ["6:26: a change has no 'event'; add event: ..."]),
        ("change: {event: {drive: a}, set: {}}", ["6:46: the change sets nothing; write set: {status: ACK}"]),
        (
            "change: {event: {drive: a}, set: {stats: ACK}}",
            ["6:52: no class has a slot 'stats'; did you mean 'status'?"],
        ),
        (
            "change: {event: {class: Disk}, set: {status: AKC}}",
            [
                "6:55: slot 'status' of class Disk: 'AKC' is not a STATUS (OPEN, RESPONSE, ACK, CLOSED); "
                "did you mean 'ACK'?"
            ],
        ),
        ("actions: {}", ["6:27: 'actions' must be a list, found a mapping; write '- ' before each item"]),
        ("actions: []", ["6:18: 'actions' is an empty list; name one, or take it out"]),
        ("no_actions: []", ["6:18: 'no_actions' is an empty list; write no_actions: true, or take it out"]),
        ("no_actions: yes please", ["6:30: 'no_actions' is true or false, found 'yes please'"]),
        ("no_state: true", ["6:28: 'no_state' must be a list, found 'true'; write '- ' before each item"]),
        ("actions: [{}]", ["6:28: an action says nothing; write {task: notify_page, args: [...]}"]),
        (
            "actions: [{tsk: a}]",
            [
                "6:29: an action has no key 'tsk'; did you mean 'task'?",
                "6:28: an action says nothing; write {task: notify_page, args: [...]}",
            ],
        ),
        ("actions: [{task: a, program: b}]", ["6:29: an action is either a program or a task; keep one of them"]),
        ("actions: [{args: a}]", ["6:35: 'args' must be a list, found 'a'; write args: [...]"]),
        (
            "actions: [{args: [{a: b}]}]",
            [
                "6:36: 'args' is a value or a list, found a mapping; "
                "write a term as the rule language does: 'point(1, 2)'"
            ],
        ),
        ("actions: [{watch: 5}]", ["6:36: 'watch' is true or false, found '5'"]),
        ("actions: [{event: {class: Dsk}}]", ["6:44: class 'Dsk' is not defined; did you mean 'Disk'?"]),
        (
            "timers: [{due_in: soon}]",
            [
                "6:36: 'soon' is not a time; write 0s, +30s, +5m or 2h; "
                "units are ms, s, m, h and d, and may be joined as in 1h30m"
            ],
        ),
        (
            "state: [{value: 5}]",
            [
                "6:26: a value of the state does not say what it is; "
                "write one of global, counter, fact, recorded, threshold"
            ],
        ),
        (
            "state: [{global: [a, b], fact: c}]",
            [
                "6:26: a value of the state names global and fact; "
                "write one of global, counter, fact, recorded, threshold"
            ],
        ),
        ("state: [{global: a}]", ["6:35: 'global' must be a list, found 'a'; write global: [...]"]),
        ("state: [{global: [a]}]", ["6:35: 'global' is a group and a name; write global: [group, name]"]),
        ("state: [{fact: a, value: b}]", ["6:36: a fact has no value; write args: [...]"]),
        ("state: [{threshold: a, key: b}]", ["6:46: 'key' must be a list, found 'b'; write key: [...]"]),
        ("state: [{counter: a, key: [b]}]", ["6:39: 'key' belongs to 'threshold'; there is none in a counter"]),
        ("expect: [{_exact: maybe, drive: a}]", ["6:36: '_exact' is true or false, found 'maybe'"]),
        (
            "expect: [{_exact: true}]",
            ["6:27: an expected event names neither a class nor a slot; write {class: ..., slot: value}"],
        ),
    ],
)
def test_what_is_wrong_with_a_step(folder: Path, runner: Runner, step: str, messages: list[str]) -> None:
    errors = errors_of(folder, runner, f"- {{at: 0s, {step}}}")
    assert [error.removeprefix("t.yaml:") for error in errors] == messages
