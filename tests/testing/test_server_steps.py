"""Steps that do something to the server: changes, restart, failover, another rule base."""

from __future__ import annotations

import pickle
from pathlib import Path

import msgspec
import pytest

from opentec.events.errors import SourceErrors
from opentec.events.records import Kind, Record, epoch_of
from opentec.rules import evaluation
from opentec.rules.effects import Effects
from opentec.rules.rulebase import RuleBase, load_rule_base
from opentec.rules.store import Store
from opentec.testing.binding import bind
from opentec.testing.report import as_text
from opentec.testing.runner import Runner
from opentec.testing.simulated import Server
from opentec.testing.spec import read_spec
from tests.testing.kit import run, write_spec
from tests.testing.rich import FULL, RULES, make_rich


@pytest.fixture(scope="module")
def rich_base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RuleBase]:
    folder = make_rich(tmp_path_factory.mktemp("rich") / "base")
    return folder, load_rule_base(folder)


@pytest.fixture(scope="module")
def rich(rich_base: tuple[Path, RuleBase]) -> tuple[Path, Runner]:
    return rich_base[0], Runner(rich_base[1])


def change(at: str, more: str) -> str:
    return f"- at: {at}\n  change: {{event: {{class: Disk_Full}}, {more}}}\n"


def test_an_operator_changes_an_event(rich: tuple[Path, Runner]) -> None:
    steps = FULL + change("1s", "set: {status: ACK}, user: ann") + "  expect: [{status: ACK, administrator: ann}]\n"
    steps += change("2s", "set: {status: CLOSED, severity: MINOR}") + "  expect: [{status: CLOSED, severity: MINOR}]\n"
    assert run(*rich, steps).passed
    assert run(*rich, steps + change("3s", "set: {status: ACK}, refused: CLOSED already")).passed


def test_a_change_that_a_rule_refuses(rich: tuple[Path, Runner]) -> None:
    closing = "set: {status: CLOSED}, user: ann"
    assert run(*rich, FULL + change("1s", closing + ", refused: true") + "  expect: [{status: OPEN}]").passed
    assert run(*rich, FULL + change("1s", closing + ", refused: rule disk/no")).passed
    result = run(*rich, FULL + change("1s", closing))
    assert [(failure.line, failure.kind) for failure in result.failures] == [(8, "change")]
    assert as_text(result).split("\n")[2:4] == [
        "        expected: ann asks for status='CLOSED' of Disk_Full",
        "        but it is refused: the change was dropped by rule disk/no",
    ]
    assert "disk/no (TEC_RULES/disk.rls:24): dropped the change request" in as_text(result).replace(
        " for 1772352000.1:", ":"
    )


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (change("0s", "set: {status: ACK}"), "no event is like that"),
        (
            FULL + FULL.replace("web1", "web2") + change("0s", "set: {status: ACK}"),
            "2 events are like that; name more of its slots",
        ),
        (FULL + change("0s", "set: {status: ACK}, refused: true"), "it is made"),
        (FULL + change("0s", "set: {status: CLOSED}, user: ann, refused: nonsense"), "it is refused: the change"),
    ],
)
def test_a_change_that_goes_otherwise(rich: tuple[Path, Runner], steps: str, said: str) -> None:
    (failure,) = run(*rich, steps).failures
    assert failure.kind == "change"
    assert failure.said.startswith(said)


def test_a_change_of_an_event_that_left_the_cache(tmp_path: Path) -> None:
    folder = make_rich(tmp_path / "base", "rule: a: ( event: _e of_class 'Disk_OK', action: ( true ) ).")
    (folder / "rulebase.toml").write_text("cache_size = 2\n")
    runner = Runner(load_rule_base(folder))
    many = "- {at: 1s, event: {class: Disk_OK}, repeat: 5, every: 1s}\n"
    result = run(folder, runner, FULL + many + change("+1s", "set: {status: ACK}") + "  expect: [{status: ACK}]")
    assert result.passed, as_text(result)


@pytest.mark.parametrize("what", ["restart", "failover"])
def test_everything_is_there_after_a_restart(rich: tuple[Path, Runner], what: str) -> None:
    steps = f"""{FULL}
- at: 30s
  {what}: true
  timers: [{{due_in: 30s, info: [late, 'C:']}}]
  state: [{{fact: down, args: [web1, 'C:']}}, {{global: [disks, web1], value: ['C:', 1, 'at(C:, 2.5)']}}]
  actions: [{{task: page}}, {{program: scripts/clean.sh}}]
- at: 31s
  event: {{class: Disk_Full, hostname: web1, drive: 'C:'}}
  expect: [{{class: Disk_Full, repeat_count: 1}}]
  no_actions: true
- at: 60s
  expect: [{{class: Disk_Full, severity: FATAL}}]
- at: 61s
  {what}: true
  expect: [{{class: Disk_Full, severity: FATAL, repeat_count: 1}}]
  no_timers: true
- at: 62s
  change: {{event: {{class: Disk_Full}}, set: {{status: CLOSED}}, user: ann, refused: true}}
"""
    result = run(*rich, steps)
    assert result.passed, as_text(result)
    assert run(*rich, FULL + "- {at: 0s, expect_exact: [{class: Disk_Full}]}").passed  # nothing of it is left


def test_a_restart_finds_what_was_not_stored(rich: tuple[Path, Runner], monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: effects that forget something make the test fail, and only behind a restart."""
    again = "- {at: 1s, event: {class: Disk_Full, hostname: web1, drive: 'C:'}}\n"
    looked = "- {at: 2s, restart: true, expect: [{repeat_count: 1}], state: [{fact: down}], timers: [{}]}\n"
    looked = looked.replace(", timers: [{}]", ", timers: [{due_in: 58s}]")
    assert run(*rich, FULL + again + looked).passed
    with monkeypatch.context() as patch:
        patch.setattr(Store, "take_changes", lambda self: {})
        (failure,) = run(*rich, FULL + again + looked).failures
        assert failure.kind == "state"
    with monkeypatch.context() as patch:
        patch.setattr(evaluation.Evaluation, "touch", lambda self, event: None)
        assert run(*rich, FULL + again + looked.replace("restart: true, ", "")).passed
        (failure,) = run(*rich, FULL + again + looked).failures
        assert failure.kind == "expect"


def test_another_node_takes_over(rich_base: tuple[Path, RuleBase]) -> None:
    seen: list[tuple[Record, Effects]] = []
    runner = Runner(rich_base[1], saw=lambda record, effects: seen.append((record, effects)))
    steps = FULL + (
        "- {at: 10s, failover: {gap: 3.5, from_node: black, epoch: 7},\n"
        "   notices: [{class: TEC_Failover, epoch: 7, gap: 3.5, from_node: black, to_node: node2},\n"
        "     {class: TEC_Recovered, epoch: 7, records: 1}]}\n"
        "- {at: 11s, failover: true, notices: [{class: TEC_Failover, epoch: 3}, {class: TEC_Recovered, epoch: 3}]}\n"
    )
    result = run(rich_base[0], runner, steps)
    assert result.passed, as_text(result)
    kinds = [(epoch_of(record.position), Kind(record.kind).name) for record, _ in seen]
    assert kinds == [
        (1, "ACTIVATE"),
        (1, "EVENT"),
        *[(2, "NOTICE")] * 2,
        *[(3, "NOTICE")] * 2,
    ]
    assert [record.position for record, _ in seen] == sorted(record.position for record, _ in seen)


def test_timers_of_the_gap_fire_when_the_other_node_serves(rich_base: tuple[Path, RuleBase]) -> None:
    seen: list[Record] = []
    runner = Runner(rich_base[1], saw=lambda record, effects: seen.append(record))
    steps = FULL + "- {at: 70s, failover: {gap: 20}, expect: [{class: Disk_Full, severity: FATAL}]}"
    assert run(rich_base[0], runner, steps).passed
    assert [Kind(record.kind).name for record in seen] == ["ACTIVATE", "EVENT", "NOTICE", "NOTICE"]
    seen.clear()
    assert run(rich_base[0], runner, steps.replace("20", "5")).passed
    assert [Kind(record.kind).name for record in seen] == ["ACTIVATE", "EVENT", "TICK", "NOTICE", "NOTICE"]


def test_the_story_tells_of_restarts(rich: tuple[Path, Runner]) -> None:
    steps = FULL + "- {at: 1s, restart: true}\n- {at: 2s, failover: true}\n- {at: 3s, expect: [{class: Disk_OK}]}"
    text = as_text(run(*rich, steps))
    assert "1s  the server begins anew -> primed with 2 events and 2 timers\n" in text
    assert "2s  another node takes over, in epoch 2 -> primed with 2 events and 2 timers\n" in text
    assert "2s  it has recovered\n" in text


def test_a_rule_base_without_the_servers_classes_cannot_fail_over(folder: Path, runner: Runner) -> None:
    with pytest.raises(SourceErrors, match=r"t\.yaml:6:18: the rule base has no class TEC_Failover; take tec\.baroc"):
        run(folder, runner, "- {at: 0s, failover: true}")


OTHER = RULES.replace("'FATAL'", "'MINOR'").replace("create_threshold('often'", "create_threshold('seldom'")
OTHER = OTHER.replace("check_threshold(_event, often)", "check_threshold(_event, seldom)")


@pytest.fixture(scope="module")
def other(rich_base: tuple[Path, RuleBase]) -> Path:
    folder = make_rich(rich_base[0] / "tests" / "other", OTHER)
    (folder / "TEC_CLASSES" / "more.baroc").write_text("TEC_CLASS: Tape ISA EVENT DEFINES { label: STRING; }; END\n")
    return folder


def test_another_rule_base_rules_from_then_on(rich: tuple[Path, Runner], other: Path) -> None:
    steps = FULL + (
        "- {at: 1s, reload: other, event: {class: Tape, label: a}, expect_exact: [{class: Disk_Full}, {label: a}]}\n"
        "- {at: 60s, expect: [{class: Disk_Full, severity: MINOR}], notices: [{class: Disk, msg: late}]}\n"
    )
    result = run(*rich, steps)
    assert result.passed, as_text(result)
    assert run(*rich, FULL + "- {at: 60s, expect: [{class: Disk_Full, severity: FATAL}]}").passed
    # and it is still there after a restart, on the rule base that rules then
    result = run(*rich, steps.replace("- {at: 60s,", "- {at: 60s, restart: true,"))
    assert result.passed, as_text(result)


def test_a_failure_behind_a_reload_names_the_places_of_both(rich: tuple[Path, Runner], other: Path) -> None:
    steps = (
        FULL + "- {at: 1s, reload: other}\n- {at: 60s, reload: other, expect: [{class: Disk_Full, severity: FATAL}]}"
    )
    text = as_text(run(*rich, steps))
    assert f"the rule base {other} is loaded -> rule base other rules\n" in text
    assert f"the rule base {other} is loaded -> rule base other ruled before, too\n" in text
    assert f"disk/late ({other}/TEC_RULES/disk.rls:" in text


def test_classes_that_a_reload_brings_are_known_behind_it_only(rich: tuple[Path, Runner], other: Path) -> None:
    with pytest.raises(SourceErrors, match=r"t\.yaml:6:33: class 'Tape' is not defined"):
        run(*rich, "- {at: 0s, event: {class: Tape, label: a}}\n- {at: 0s, reload: other}")


def test_a_rule_base_that_cannot_be_loaded_is_an_error_with_its_place(
    rich: tuple[Path, Runner], tmp_path: Path
) -> None:
    with pytest.raises(SourceErrors, match=r"t\.yaml:6:26: .*nowhere.*'reload' is relative to the folder"):
        run(*rich, "- {at: 0s, reload: nowhere}")
    folder = make_rich(tmp_path / "broken", "rule: x")
    with pytest.raises(SourceErrors, match=r"broken/TEC_RULES/disk\.rls:1"):
        run(*rich, f"- {{at: 0s, reload: {folder}}}")


def test_a_rule_base_is_loaded_once_for_a_file(rich: tuple[Path, Runner], other: Path) -> None:
    spec = read_spec(write_spec(rich[0], "- {at: 0s, reload: other}\n- {at: 1s, reload: ../tests/other}"), "t.yaml")
    loaded: list[Path] = []

    def load(folder: Path) -> RuleBase:
        loaded.append(folder)
        return load_rule_base(folder)

    (bound,) = bind(spec, rich[1].rule_base.classes, load)
    assert loaded == [other]
    assert rich[1].run(bound).passed
    # and another process may run it
    assert rich[1].run(pickle.loads(pickle.dumps(bound))).passed


def test_an_activation_is_run_once_for_tests_that_begin_together(rich_base: tuple[Path, RuleBase]) -> None:
    seen: list[str] = []
    runner = Runner(rich_base[1], saw=lambda record, effects: seen.append(Kind(record.kind).name))
    steps = FULL + "- {at: 1s, state: [{global: [limits, drive]}], expect_exact: [{class: Disk_Full}]}"
    first, second = run(rich_base[0], runner, steps), run(rich_base[0], runner, steps)
    assert first.passed
    assert first == second
    assert "disk/configure" in second.fired
    assert seen == ["ACTIVATE", "EVENT"] * 2


def test_what_an_activation_does_not_store_fails_the_test(
    rich_base: tuple[Path, RuleBase], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second run, which runs the activation again, passes: that must not hide it."""
    begun = Server.begun
    monkeypatch.setattr(Server, "begun", lambda self: msgspec.structs.replace(begun(self), state={}))
    (failure,) = run(rich_base[0], Runner(rich_base[1]), "- {at: 1s, state: [{global: [limits, drive]}]}").failures
    assert failure.kind == "state"
