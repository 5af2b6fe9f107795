"""What a step may expect beside events: actions, forwarded events, notices, timers, state; and what failures say."""

from __future__ import annotations

from pathlib import Path

import pytest

from opentec.rules.rulebase import load_rule_base
from opentec.testing.report import as_data, as_text
from opentec.testing.runner import Runner
from tests.testing.kit import run
from tests.testing.rich import FULL, make_rich


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Runner]:
    folder = make_rich(tmp_path_factory.mktemp("rich") / "base")
    return folder, Runner(load_rule_base(folder))


HOLDS = [
    "expect_exact: [{class: Disk_Full}]",
    "expect_exact: [{class: Disk_Full, hostname: web1, drive: 'C:', num_actions: 2, _exact: true}]",
    "expect: [{class: Disk_Full, _exact: false}]",
    "expect: [{hostname: web1, drive: 'C:', num_actions: 2, _exact: true}]",
    "expect_no: [{class: Disk_Full, _exact: true}]",
    "actions: [{task: page}, {program: scripts/clean.sh}]",
    "actions: [{task: page, args: [web1, it is full], watch: true}]",
    "actions: [{args: [--drive, 'C:'], watch: false}]",
    "actions: [{event: {class: Disk_Full, hostname: web1, repeat_count: 0, tags: []}}]",
    "actions: [{task: page, args: [web1, _]}, {program: _}]",
    "actions: [{task: page, event: {class: Disk_Full, hostname: web1, drive: 'C:', _exact: true}}]",
    "no_actions: [{task: page, event: {class: Disk_Full, hostname: web1, _exact: true}}]",
    "no_actions: [{task: mail}, {program: scripts/clean}, {event: {hostname: web2}}, {event: {class: Disk}}]",
    "forwarded: [{to: hq, event: {class: Disk_Full, drive: 'C:', load: 0.0}}]",
    "no_forwarded: [{to: lab}, {event: {class: Disk_OK}}]",
    "no_notices: true",
    "no_notices: [{class: TEC_Error}]",
    "timers: [{info: [late, 'C:'], due_in: 1m, event: {class: Disk_Full, drive: 'C:'}}]",
    "timers: [{info: '[late, C:]'}]",
    "timers: [{info: _}]",
    "no_timers: [{info: clock}, {due_in: 59s}, {event: {drive: 'D:'}}]",
    "state: [{global: [limits, drive]}, {global: [limits, drive], value: 'C:'}]",
    "state: [{global: [disks, web1], value: ['C:', 1, 'at(C:,2.5)']}]",
    "state: [{global: [disks, web1], value: ['C:', 1, \"at('C:' , 2.5)\"]}]",
    "no_state: [{global: [disks, web1], value: ['C:', 1, 'at(C :,2.5)']}]",
    "state: [{global: [disks, _], value: _}]",
    "state: [{counter: [full, web1], value: 1}]",
    "state: [{fact: down, args: [web1, 'C:']}, {fact: down}, {fact: down, args: [_, _]}]",
    "state: [{recorded: [seen, web1], value: ['C:']}, {recorded: last}]",
    "no_state: [{threshold: often}]",
    "no_state: [{fact: down, args: [web2, _]}, {global: [disks, web2]}, {counter: [full, web1], value: 2}]",
]
FAILS = {
    "expect_exact: []": [
        "expected: no other event",
        "Disk_Full 1772352000.1, received 2026-03-01T08:00:00Z",
        "      hostname: 'web1'",
        "      drive: 'C:'",
        "      num_actions: 2",
    ],
    "expect_exact: [{class: Disk_OK}, {class: Disk_Full}]": [
        "expected: Disk_OK",
        "nothing in the repository is like it",
    ],
    "expect: [{class: Disk_Full, drive: 'C:', _exact: true}]": [
        "expected: Disk_Full drive='C:' and nothing else",
        "nearest: Disk_Full 1772352000.1, received 2026-03-01T08:00:00Z",
        "      drive: 'C:'",
        "    - hostname: ''",
        "    + hostname: 'web1'",
        "    - num_actions: 0",
        "    + num_actions: 2",
    ],
    "actions: [{task: page, args: [web2, it is full], watch: false, event: {class: Disk_OK, drive: 'C:'}}]": [
        "expected action: task='page' args=['web2', 'it is full'] watch=False event=(Disk_OK drive='C:')",
        "nearest: task page 'web1' 'it is full', for Disk_Full 1772352000.1",
        "      task: 'page'",
        "    - args: ['web2', 'it is full']",
        "    + args: ['web1', 'it is full']",
        "    - watch: False",
        "    + watch: True",
        "      event.drive: 'C:'",
        "    - event.class: 'Disk_OK'",
        "    + event.class: 'Disk_Full'",
    ],
    "actions: [{task: page}, {task: page}]": [
        "expected action: task='page'",
        "nearest: task page 'web1' 'it is full', for Disk_Full 1772352000.1",
        "      task: 'page'",
        "    this one meets another expectation of the step; each needs one of its own",
    ],
    "no_actions: true": [
        "expected: no action at all",
        "task page 'web1' 'it is full', for Disk_Full 1772352000.1",
        "program scripts/clean.sh '--drive' 'C:', for Disk_Full 1772352000.1",
    ],
    "no_actions: [{program: scripts/clean.sh}]": [
        "not expected action, but there: program='scripts/clean.sh'",
        "program scripts/clean.sh '--drive' 'C:', for Disk_Full 1772352000.1",
    ],
    "forwarded: [{to: lab}]": [
        "expected forwarded event: to='lab'",
        "nearest: Disk_Full 1772352000.1, to hq",
        "    - to: 'lab'",
        "    + to: 'hq'",
    ],
    "no_forwarded: true": ["expected: no forwarded event at all", "Disk_Full 1772352000.1, to hq"],
    "notices: [{class: TEC_Error}]": [
        "expected event of rules or the server: TEC_Error",
        "none was made since notices were looked at before",
    ],
    "timers: [{info: [late, 'D:'], due_in: 1m}]": [
        "expected timer: info=['late', 'D:'] due_in='1m'",
        "nearest: timer ['late', 'C:'], due in 1m, of Disk_Full 1772352000.1",
        "    - info: ['late', 'D:']",
        "    + info: ['late', 'C:']",
        "      due_in: '1m'",
    ],
    "no_actions: [{task: page, event: {class: Disk_Full, hostname: web1, drive: 'C:', _exact: true}}]": [
        "not expected action, but there: task='page' event=(Disk_Full hostname='web1' drive='C:' and nothing else)",
        "task page 'web1' 'it is full', for Disk_Full 1772352000.1",
    ],
    "no_timers: true": ["expected: no timer at all", "timer ['late', 'C:'], due in 1m, of Disk_Full 1772352000.1"],
    "state: [{global: [limits, drive], value: 'D:'}]": [
        "expected value: global=['limits', 'drive'] value='D:'",
        "nearest: global ['limits', 'drive'], value C:",
        "      global: ['limits', 'drive']",
        "    - value: 'D:'",
        "    + value: 'C:'",
        "next: global ['disks', 'web1'], value ['C:', 1, 'at(C:, 2.5)']",
        "    - global: ['limits', 'drive']",
        "    + global: ['disks', 'web1']",
        "    - value: 'D:'",
        "    + value: ['C:', 1, 'at(C:, 2.5)']",
    ],
    "state: [{threshold: often}]": ["expected value: threshold='often'", "nothing of the kind is kept"],
    "no_state: [{fact: down}]": ["not expected value, but there: fact='down'", "fact down, args ['web1', 'C:']"],
}


@pytest.mark.parametrize("expectation", HOLDS)
def test_what_is_there_is_seen(rich: tuple[Path, Runner], expectation: str) -> None:
    result = run(*rich, FULL + f"- {{at: 0s, {expectation}}}")
    assert result.passed, as_text(result)


@pytest.mark.parametrize("expectation", [one for one in HOLDS if "state" in one])
def test_what_rules_remember_is_seen_as_it_was_stored(rich: tuple[Path, Runner], expectation: str) -> None:
    result = run(*rich, FULL + f"- {{at: 0s, restart: true, {expectation}}}")
    assert result.passed, as_text(result)


@pytest.mark.parametrize("expectation", FAILS)
def test_a_failure_says_what_is_there_instead(rich: tuple[Path, Runner], expectation: str) -> None:
    result = run(*rich, FULL + f"- {{at: 0s, {expectation}}}")
    lines = as_text(result).split("\n")
    assert lines[1] == "    t.yaml:7: at 0s (2026-03-01T08:00:00Z)"
    assert [line[8:] for line in lines[2 : 2 + len(FAILS[expectation])]] == FAILS[expectation]
    assert lines[2 + len(FAILS[expectation])].startswith(("    what happened", "    t.yaml:7"))


def test_actions_are_those_since_the_last_step_that_looked(rich: tuple[Path, Runner]) -> None:
    more = "- {at: 1s, event: {class: Disk_Full, hostname: web2, drive: 'C:'}}\n"
    seen = "- {at: 0s, actions: [{task: page}]}\n"
    both = "actions: [{args: [web1, _]}, {args: [web2, _]}]"
    assert run(*rich, FULL + more + f"- {{at: 1s, {both}}}").passed
    assert run(
        *rich, FULL + seen + more + "- {at: 1s, actions: [{args: [web2, _]}], no_actions: [{args: [web1, _]}]}"
    ).passed
    assert run(*rich, FULL + seen + "- {at: 0s, actions: [{program: scripts/clean.sh}]}").passed  # the same instant
    assert run(*rich, FULL + seen + "- {at: 1s, no_actions: true}").passed
    # what is forwarded is looked at apart
    assert run(*rich, FULL + seen + "- {at: 1s, forwarded: [{to: hq}]}").passed
    assert not run(*rich, FULL + seen + "- {at: 1s, no_forwarded: true}").passed


def test_notices_are_what_no_sender_sent(rich: tuple[Path, Runner]) -> None:
    bad = FULL.replace("'C:'", "'C:', used: 1")
    error = "{class: TEC_Error, rule: bad, msg: 'TEC_RULES/disk.rls:29: rule disk/bad: a division by zero'}"
    assert run(*rich, bad + f"- {{at: 0s, notices: [{error}]}}\n- {{at: 59s, no_notices: true}}").passed
    assert run(*rich, bad + "- {at: 60s, notices: [{class: TEC_Error}, {class: Disk, msg: late}]}").passed
    text = as_text(run(*rich, bad + "- {at: 0s, no_notices: true}"))
    assert "expected: no event of rules or the server at all\n        TEC_Error 1772352000.2, received" in text


def test_a_timer_is_seen_until_it_fires(rich: tuple[Path, Runner]) -> None:
    assert run(*rich, FULL + "- {at: 59500ms, timers: [{due_in: 500ms}]}\n- {at: 60s, no_timers: true}").passed


def test_a_program_of_an_event_that_is_dropped_knows_its_slots(tmp_path: Path) -> None:
    rules = (
        "rule: a: ( event: _e of_class 'Disk_Full', action: "
        "( exec_program(_e, 'a.sh', '', [], 'NO'), drop_received_event ) )."
    )
    folder = make_rich(tmp_path / "base", rules)
    runner = Runner(load_rule_base(folder))
    there = "- {at: 0s, actions: [{program: a.sh, args: [], event: {hostname: web1, used: 7, tags: [a, b]}}]}"
    assert run(folder, runner, FULL.replace("'C:'", "'C:', used: 7, tags: [a, b]") + there).passed
    assert not run(folder, runner, FULL + there).passed


def test_thresholds_are_counted_by_key(rich: tuple[Path, Runner]) -> None:
    event = "- {at: 0s, events: [{class: Disk_OK, hostname: a, drive: é}, {class: Disk_OK, hostname: b}]}\n"
    state = (
        "- {at: 1s, state: [{threshold: often, key: [a], value: 1}, {threshold: 'per \"class\"', key: [Disk_OK], "
        "value: 2}, {threshold: two, key: [a, é], value: 1}], no_state: [{threshold: often, key: [c]}]}"
    )
    result = run(*rich, event + state)
    assert result.passed, as_text(result)


def test_a_text_of_an_event_begins_no_line(rich: tuple[Path, Runner]) -> None:
    event = '- {at: 0s, event: {class: Disk_Full, hostname: "a\\n::error ::b\\r", drive: "\\n::x"}}\n'
    text = as_text(run(*rich, event + "- {at: 0s, no_actions: true}"))
    assert "started task page a\\n::error ::b" in text
    assert not [line for line in text.splitlines() if line.lstrip().startswith("::")]


def test_a_failure_as_data(rich: tuple[Path, Runner]) -> None:
    data = as_data(run(*rich, FULL + "- {at: 0s, timers: [{due_in: 5s}], no_actions: true}"))
    actions, timers = data["failures"]
    assert (actions["kind"], actions["wanted"]) == ("no_actions", "nothing")
    assert actions["near"][0]["what"] == "task page 'web1' 'it is full', for Disk_Full 1772352000.1"
    assert list(timers["near"][0]["slots"]) == [{"slot": "due_in", "wanted": "5s", "actual": "1m"}]
    assert data["command"] == "tec test t.yaml::t"


@pytest.mark.parametrize(
    ("name", "file", "system", "command"),
    [
        ('it\'s "so"', "a b.yaml", "posix", "tec test 'a b.yaml::it'\"'\"'s \"so\"'"),
        ("a b", "r.rls", "posix", "tec test 'r.rls::a b'"),
        ("a b", "t.txt", "posix", "tec test t.txt -k 'a b'"),
        ("a b", "t.yaml", "nt", 'tec test "t.yaml::a b"'),
    ],
)
def test_the_command_that_runs_just_one_test(
    name: str, file: str, system: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentec.testing import report
    from opentec.testing.results import Result

    monkeypatch.setattr(report, "os", type("os", (), {"name": system}))
    assert report.command_of(Result(file, 1, name)) == command
