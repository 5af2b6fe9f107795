"""The runner: what it sends, when timers fire, what holds and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from opentec.events.errors import SourceError
from opentec.rules.rulebase import load_rule_base
from opentec.testing import runner as runner_module
from opentec.testing.report import as_data, as_text
from opentec.testing.results import Result
from opentec.testing.runner import Runner
from tests.testing.kit import RULES, make_rule_base, run

FULL = "- {at: 0s, event: {class: Disk_Full, hostname: web1, drive: 'C:'}}\n"
OK = "- {at: +30s, event: {class: Disk_OK, hostname: web1, drive: 'C:'}}\n"


def failed(result: Result) -> list[tuple[int, str, str]]:
    return [(failure.line, failure.kind, failure.wanted) for failure in result.failures]


def test_the_example_of_the_format(folder: Path, runner: Runner) -> None:
    result = run(
        folder,
        runner,
        FULL + OK + "- {at: +31s, expect: [{class: Disk_Full, status: CLOSED}], expect_no: [{class: Disk_OK}]}",
    )
    assert result.passed
    assert (result.file, result.line, result.name) == ("t.yaml", 3, "t")
    assert result.fired == ("disk/full", "disk/ok")
    assert result.happened == ()
    assert as_text(result) == "ok    t"


@pytest.mark.parametrize(
    ("expectation", "kind", "wanted"),
    [
        ("expect: [{class: Disk_Full, status: OPEN}]", "expect", "Disk_Full status='OPEN'"),
        ("expect: [{class: Disk_OK}]", "expect", "Disk_OK"),
        ("expect: [{class: Disk}]", "expect", "Disk"),
        (
            "expect: [{class: Disk_Full, status: CLOSED, duration: 31}]",
            "expect",
            "Disk_Full status='CLOSED' duration=31",
        ),
        ("expect: [{hostname: web1}, {drive: 'C:'}]", "expect", "any class drive='C:'"),
        ("expect: [{used: 1}]", "expect", "any class used='1'"),
        ("expect_no: [{class: Disk_Full}]", "expect_no", "Disk_Full"),
        ("expect_no: [{status: CLOSED}]", "expect_no", "any class status='CLOSED'"),
    ],
)
def test_a_wrong_expectation_fails(folder: Path, runner: Runner, expectation: str, kind: str, wanted: str) -> None:
    result = run(folder, runner, FULL + OK + f"- {{at: +1s, {expectation}}}")
    assert failed(result) == [(8, kind, wanted)]
    assert not result.passed


@pytest.mark.parametrize(
    "expectation",
    [
        "expect: [{class: Disk_Full}]",
        "expect: [{class: Disk_Full, administrator: disk.rls, duration: 30, date_reception: 1772352000}]",
        "expect: [{hostname: web1, used: 0, load: 0.0}]",
        "expect: [{tags: []}]",
        "expect_no: [{class: Disk}, {class: Disk_OK}, {status: OPEN}, {class: Disk_Full, used: '1'}]",
        "expect_no: [{tags: [a]}]",
    ],
)
def test_a_right_expectation_holds(folder: Path, runner: Runner, expectation: str) -> None:
    assert run(folder, runner, FULL + OK + f"- {{at: +1s, {expectation}}}").passed


def test_each_expectation_takes_an_event_of_its_own(folder: Path, runner: Runner) -> None:
    two = FULL + "- {at: 1s, event: {class: Disk_Full, hostname: web1, drive: 'D:'}}\n"
    both = "expect: [{class: Disk_Full}, {class: Disk_Full, drive: 'C:'}]"
    assert run(folder, runner, two + f"- {{at: 2s, {both}}}").passed
    third = "expect: [{class: Disk_Full}, {class: Disk_Full, drive: 'C:'}, {hostname: web1}]"
    result = run(folder, runner, two + f"- {{at: 2s, {third}}}")
    assert failed(result) == [(8, "expect", "any class hostname='web1'")]
    assert "this event meets another expectation of the step; each needs one of its own" in as_text(result)


def test_a_timer_fires_at_its_own_time(folder: Path, runner: Runner) -> None:
    assert run(folder, runner, FULL + "- {at: 59s, expect: [{severity: WARNING}]}").passed
    assert run(folder, runner, FULL + "- {at: 60s, expect: [{severity: FATAL, last_modified_time: 1772352060}]}").passed
    assert run(folder, runner, FULL + "- {at: 7d, expect: [{severity: FATAL, last_modified_time: 1772352060}]}").passed


def test_an_expectation_sees_everything_of_its_instant(folder: Path, runner: Runner) -> None:
    now = FULL + "- {at: 10s, expect: [{class: Disk_Full, status: CLOSED}]}\n"
    assert not run(folder, runner, now + "- {at: 11s, event: {class: Disk_OK, drive: 'C:'}}").passed
    assert run(folder, runner, now + "- {at: +0s, event: {class: Disk_OK, drive: 'C:'}}").passed


def test_a_test_ends_at_the_first_instant_that_does_not_hold(folder: Path, runner: Runner) -> None:
    steps = FULL + "- {at: 0s, expect: [{class: Disk_OK}]}\n- {at: 0s, expect_no: [{class: Disk_Full}]}\n"
    result = run(folder, runner, steps + "- {at: 1s, expect: [{class: Disk_OK}]}")
    assert [line for line, _, _ in failed(result)] == [7, 8]


def test_each_test_begins_with_nothing(folder: Path, runner: Runner) -> None:
    assert run(folder, runner, FULL + "- {at: 0s, expect: [{event_handle: 1, repeat_count: 0}]}").passed
    assert run(folder, runner, "- {at: 2h, expect_no: [{class: Disk_Full}]}").passed
    assert run(folder, runner, FULL + "- {at: 0s, expect: [{event_handle: 1, repeat_count: 0}]}").passed


def test_a_failure_tells_what_happened(folder: Path, base_runner: Runner) -> None:
    result = run(
        folder,
        base_runner,
        FULL
        + FULL
        + "- {at: 61s, event: {class: Disk_OK, drive: 'D:'}}\n- {at: 62s, expect: [{class: Disk_Full, drive: 'D:'}]}",
    )
    assert as_text(result).split("\n") == [
        "FAIL  t",
        "    t.yaml:9: at 62s (2026-03-01T08:01:02Z)",
        "        expected: Disk_Full drive='D:'",
        "        nearest: Disk_Full 1772352000.1, received 2026-03-01T08:00:00Z",
        "            - drive: 'D:'",
        "            + drive: 'C:'",
        "    what happened:",
        "            0s  Disk_Full hostname='web1' drive='C:' -> stored as 1772352000.1",
        "                disk/full (b/TEC_RULES/disk.rls:2): set a timer of 60 s on 1772352000.1: late",
        "                    action count ended at TEC_RULES/disk.rls:5: "
        "first_duplicate(_event, event: _dup where [status: outside ['CLOSED']])",
        "            0s  Disk_Full hostname='web1' drive='C:' -> dropped by rule disk/full",
        "                disk/full (b/TEC_RULES/disk.rls:2): repeat_count of 1772352000.1 is now 1; dropped the event",
        "            1m  a timer fires",
        "                disk/late (b/TEC_RULES/disk.rls:9) for 1772352000.1: severity of 1772352000.1 is now FATAL",
        "          1m1s  Disk_OK drive='D:' -> stored as 1772352061.1",
        "                disk/ok (b/TEC_RULES/disk.rls:13) did not fire:",
        "                    action action_1 ended at TEC_RULES/disk.rls:16: all_instances(event: _full of_class "
        "'Disk_Full' where [drive: equals _drive, status: outside ['CLOSED']]) with _drive = 'D:'",
        "    only this test: tec test t.yaml::t",
    ]
    data = as_data(result)
    assert (data["outcome"], data["line"], data["rules"]) == ("failed", 3, ["disk/full", "disk/late"])
    (failure,) = data["failures"]
    assert (failure["line"], failure["instant"]) == (9, "2026-03-01T08:01:02Z")
    assert list(failure["near"][0]["slots"]) == [{"slot": "drive", "wanted": "D:", "actual": "C:"}]


@pytest.fixture
def base_runner(runner: Runner) -> Runner:
    return Runner(runner.rule_base, Path("b"))


MANY = "".join(
    f"rule: r{n}: ( event: _e of_class 'Disk' where [ hostname: equals h{n} ], action: ( true ) ).\n" for n in range(12)
)


def test_a_failure_tells_which_rules_did_not_fire_the_nearest_first(tmp_path: Path) -> None:
    text = (
        MANY
        + "rule: near: ( event: _e of_class 'Disk_Full' where [ ], action: a: ( set_event_message(_e, x), fail ) )."
    )
    text += "rule: far: ( event: _e of_class 'Disk_Full' where [ used: _u ], action: b: ( _u > 5 ) )."
    folder = make_rule_base(tmp_path / "many", text)
    runner = Runner(load_rule_base(folder))
    result = run(folder, runner, FULL + "- {at: 0s, expect: [{class: Disk_OK}]}")
    (happened,) = result.happened
    assert [rule.rule for rule in happened.not_fired] == [*(f"disk/r{n}" for n in range(12)), "disk/far"]
    assert happened.not_fired[1].no == ("hostname: equals 'h1' said no: it was 'web1'",)
    assert result.fired == ("disk/near",)
    story = as_text(result).split("\n")
    start = next(number for number, line in enumerate(story) if "disk/near" in line)
    assert story[start : start + 5] == [
        "                disk/near (TEC_RULES/disk.rls:13): msg of 1772352000.1 is now x",
        "                    action a ended at TEC_RULES/disk.rls:13: fail",
        "                disk/far (TEC_RULES/disk.rls:13) did not fire:",
        "                    action b ended at TEC_RULES/disk.rls:13: _u > 5 with _u = 0",
        "                disk/r0 (TEC_RULES/disk.rls:1) did not fire:",
    ]
    assert story[-2] == "                5 more rules did not fire; --json shows all"
    shown = as_data(result)["happened"][0]["not_fired"]
    assert (len(shown), shown[12]["rule"]) == (13, "disk/far")


def test_only_a_failed_test_is_explained(folder: Path, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    explain = runner._engine.explain
    monkeypatch.setattr(runner._engine, "explain", lambda everything: (asked.append(everything), explain(everything)))
    assert run(folder, runner, FULL).passed
    assert asked == []
    assert not run(folder, runner, "- {at: 0s, expect: [{class: Disk_OK}]}").passed
    assert asked == [True, False]


def test_a_failure_shows_what_should_not_be_there(folder: Path, runner: Runner) -> None:
    text = as_text(run(folder, runner, FULL + "- {at: 0s, expect_no: [{class: Disk_Full, drive: 'C:'}]}"))
    assert "        not expected, but there: Disk_Full drive='C:'\n" in text
    assert "        Disk_Full 1772352000.1, received 2026-03-01T08:00:00Z\n" in text
    assert "              drive: 'C:'\n" in text


def test_a_failure_where_nothing_is_alike(folder: Path, runner: Runner) -> None:
    text = as_text(run(folder, runner, FULL.replace("Full", "OK") + "- {at: 0s, expect: [{class: Disk_Full}]}"))
    assert "        expected: Disk_Full\n        nothing in the repository is like it\n" in text
    assert "        no rule fired\n" in text


def test_the_nearest_event_of_another_class(folder: Path, runner: Runner) -> None:
    text = as_text(run(folder, runner, FULL + "- {at: 0s, expect: [{class: EVENT, hostname: web1}]}"))
    assert "            - class: 'EVENT'\n            + class: 'Disk_Full'\n              hostname: 'web1'\n" in text


def test_a_slot_that_the_nearest_event_does_not_have(folder: Path, runner: Runner) -> None:
    text = as_text(
        run(
            folder,
            runner,
            "- {at: 0s, event: {class: EVENT, hostname: a}}\n- {at: 0s, expect: [{hostname: a, used: 3}]}",
        )
    )
    assert "            - used: '3'\n            + used: no such slot\n" in text


def test_a_long_story_is_cut(folder: Path, runner: Runner) -> None:
    result = run(folder, runner, FULL * 30 + "- {at: 0s, expect: [{class: Disk_OK}]}")
    assert (len(result.happened), result.left_out) == (runner_module.STORY, 10)
    assert "        ... 10 earlier records\n" in as_text(result)


def test_an_event_that_quotes_much_is_cut(folder: Path, runner: Runner) -> None:
    text = as_text(
        run(folder, runner, f"- {{at: 0s, event: {{class: EVENT, msg: {'x' * 500}}}, expect: [{{msg: y}}]}}")
    )
    assert "xxx... -> stored as" in text


def test_an_event_that_arrives_closed(folder: Path, runner: Runner) -> None:
    close = "- {at: 1s, event: {class: Disk_Full, hostname: web1, drive: 'C:', status: CLOSED}}\n"
    assert run(folder, runner, FULL + close + "- {at: 1s, expect: [{class: Disk_Full, status: CLOSED}]}").passed
    text = as_text(run(folder, runner, close + "- {at: 1s, expect: [{class: Disk_Full}]}"))
    assert "-> it arrived CLOSED, and no duplicate is open" in text


def test_a_rule_that_fails_at_run_time_is_told(tmp_path: Path) -> None:
    rules = """rule: bad: (
      event: _event of_class 'Disk_Full' where [used: _used],
      action: ( _x is 1 // _used, set_timer(_event, _x, a) ) )."""
    folder = make_rule_base(tmp_path / "base", rules)
    text = as_text(run(folder, Runner(load_rule_base(folder)), FULL + "- {at: 0s, expect: [{severity: FATAL}]}"))
    assert "disk/bad (TEC_RULES/disk.rls:1): failed at TEC_RULES/disk.rls:3: a division by zero\n" in text


def test_timers_without_end_are_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "MAX_TICKS", 100)
    folder = make_rule_base(
        tmp_path / "base", RULES.replace("set_event_severity(_event, 'FATAL')", "set_timer(_event, 1, 'late')")
    )
    runner = Runner(load_rule_base(folder))
    assert run(folder, runner, FULL + "- {at: 159s, expect: [{class: Disk_Full}]}").passed
    with pytest.raises(
        SourceError, match=r"t\.yaml:7:9: more than 100 timers fire before '160s', the next at .*08:02:40Z"
    ):
        run(folder, runner, FULL + "- {at: 160s, expect: [{class: Disk_Full}]}")


CONFIGURED = """
rule: configure: ( event: _e of_class 'TEC_Rulebase_Loaded' where [name: _name],
  action: ( set_global_var(limits, drive, 'C:'), set_timer(_e, 2, once), generate_event('Disk', [msg=_name]) ) ).
timer_rule: once: ( event: _e of_class 'TEC_Rulebase_Loaded', timer_info: equals once,
  action: ( set_event_severity(_e, 'FATAL'), generate_event('Disk_OK', [msg=once]) ) ).
rule: mark: ( event: _e of_class 'Disk_Full' where [drive: _drive],
  action: ( get_global_var(limits, drive, _drive, none), set_event_severity(_e, 'FATAL') ) ).
"""


def test_a_test_begins_with_the_activation_of_its_rule_base(tmp_path: Path) -> None:
    """Rules on TEC_Rulebase_Loaded have run before the first event; what they made is no matter of expectations."""
    folder = make_rule_base(tmp_path / "rb", CONFIGURED)
    (folder / "TEC_CLASSES" / "tec.baroc").write_text(
        "TEC_CLASS: TEC_Rulebase_Loaded ISA EVENT DEFINES { rule_base: STRING; name: STRING; }; END\n"
    )
    own = Runner(load_rule_base(folder), folder)
    result = run(
        folder,
        own,
        FULL + "- {at: +0s, expect: [{class: Disk_Full, severity: FATAL, date_reception: 1772352000}],\n"
        "   expect_no: [{class: TEC_Rulebase_Loaded}, {msg: rb}]}\n"
        # a timer of the activation fires in the test, and what it makes then is seen
        "- {at: +1s, expect: [{class: Disk_OK, msg: once}], expect_no: [{class: TEC_Rulebase_Loaded}]}\n",
    )
    assert result.passed, as_text(result)
    assert result.fired == ("disk/configure", "disk/mark", "disk/once")


def test_a_failure_tells_what_the_activation_did(tmp_path: Path) -> None:
    folder = make_rule_base(tmp_path / "rb", CONFIGURED)
    (folder / "TEC_CLASSES" / "tec.baroc").write_text(
        "TEC_CLASS: TEC_Rulebase_Loaded ISA EVENT DEFINES { rule_base: STRING; name: STRING; }; END\n"
    )
    result = run(folder, Runner(load_rule_base(folder), folder), "- {at: 0s, expect: [{class: Disk_Full}]}")
    (happened,) = result.happened
    assert (happened.at, happened.what) == ("-1s", "the rule base is activated")
    assert [rule.rule for rule in happened.fired] == ["disk/configure"]
    assert "the rule base is activated" in as_text(result)
