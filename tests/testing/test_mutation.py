"""Mutation testing: which mutants are killed, by whom, and what the report says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from opentec.shipped import shipped
from opentec.testing.collection import Collected, collect
from opentec.testing.mutation import mutate
from opentec.testing.mutation_operators import mutants
from opentec.testing.mutation_trial import Base, MutationError, Trial
from tests.rules_default import mutated
from tests.testing.kit import make_rule_base

RULES = """rule: full: (
  event: _event of_class 'Disk_Full' where [drive: _drive],
  reception_action: count: (
    first_duplicate(_event, event: _dup where [status: outside ['CLOSED']]),
    add_to_repeat_count(_dup, 1), drop_received_event, commit_rule ),
  reception_action: wait: ( late_after(_seconds), set_timer(_event, _seconds, 'late') )
).
late_after(60).
timer_rule: late: (
  event: _event of_class 'Disk_Full' where [status: equals 'OPEN'], timer_info: equals 'late',
  action: ( set_event_severity(_event, 'FATAL') )
).
rule: unseen: ( event: _event of_class 'Disk_OK', action: ( set_event_severity(_event, 'MINOR') ) ).
"""
SPEC = """rulebase: ..
tests:
  - name: counted
    steps:
      - {at: 0s, event: {class: Disk_Full, drive: C}}
      - {at: 1s, event: {class: Disk_Full, drive: C}, expect_exact: [{class: Disk_Full, repeat_count: 1}]}
  - name: late
    steps:
      - {at: 0s, event: {class: Disk_Full, drive: C}}
      - {at: 59s, expect_no: [{severity: FATAL}]}
      - {at: 60s, expect: [{severity: FATAL}]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    base = make_rule_base(tmp_path / "base", RULES)
    (base / "tests").mkdir()
    (base / "tests" / "disk.yaml").write_text(SPEC)
    return base


def collected(folder: Path) -> Collected:
    found = collect([folder])
    assert not found.errors
    return found


def test_survivors_have_their_place_and_what_was_changed(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = mutate(collected(folder), progress=lambda done, of: seen.append((done, of)))
    (found,) = report.rule_sets
    outcomes = {one.mutant: one for one in found.outcomes}
    assert seen == [(number, len(outcomes)) for number in range(1, len(outcomes) + 1)]
    killed = outcomes["disk/full:drop-action@3:3"]
    assert (killed.outcome, killed.by.split(": ")[-1], killed.tests) == ("killed", "counted", 2)
    # behind a commit nothing waits for a duplicate here: it was dropped, and has no timers
    commit = outcomes["disk/full:drop-commit@5:56"]
    assert (commit.outcome, commit.diff, commit.tests) == ("survived", ("- commit_rule",), 2)
    assert outcomes["disk/late_after:change-number@8:12"].outcome == "killed"
    unseen = outcomes["disk/unseen:change-text@13:88"]
    assert (unseen.outcome, unseen.tests) == ("survived", 0)
    assert outcomes["disk/full:drop-goal@4:5"].outcome == "invalid"
    assert "_dup" in outcomes["disk/full:drop-goal@4:5"].by
    lines = report.lines()
    file = folder / "TEC_RULES" / "disk.rls"
    at = lines.index(f"{file}:13:88: survived: disk/unseen:change-text@13:88; no test runs it")
    assert lines[at + 1 : at + 3] == [
        "    - set_event_severity(_event, 'MINOR')",
        "    + set_event_severity(_event, 'CRITICAL')",
    ]
    assert f"{file}:5:56: survived: disk/full:drop-commit@5:56; 2 tests passed" in lines
    counts = [found.count(kind) for kind in ("killed", "survived", "invalid")]
    assert lines[-2:] == [
        f"disk  {report.score:3d} %  {counts[0]} of {counts[0] + counts[1]} mutants killed; {counts[2]} do not compile",
        f"mutation score: {report.score} %",
    ]
    assert report.score == report.lowest == 100 * counts[0] // (counts[0] + counts[1])
    data = json.loads(json.dumps(report.as_data()))
    assert data["rule_sets"][0]["survived"] == counts[1]
    assert {one["outcome"] for one in data["rule_sets"][0]["mutants"]} == {"killed", "survived"}


def test_equivalents_are_listed_apart_and_wrong_marks_are_errors(folder: Path) -> None:
    file = folder / "TEC_RULES" / "disk.rls"
    before = mutate(collected(folder)).rule_sets[0]
    lines = RULES.splitlines()
    lines[4] += " % mutation: equivalent drop-commit: a dropped event has no timers"
    lines[7] += " % mutation: equivalent change-number: nobody looks at the clock"
    lines[12] += " % mutation: equivalent drop-goal at bo_set: it is not there"
    file.write_text("\n".join(lines) + "\n% mutation: equivalent\n")
    report = mutate(collected(folder))
    (found,) = report.rule_sets
    assert (found.count("equivalent"), found.count("survived")) == (1, before.count("survived") - 1)
    text = "\n".join(report.lines())
    assert f"{file}:5:56: equivalent: disk/full:drop-commit@5:56: a dropped event has no timers" in text
    assert "disk/late_after:change-number@8:12 is not equivalent" in text
    assert "there is no mutant drop-goal of 'bo_set'" in text
    assert "this mark is not complete" in text
    assert len(report.errors) == 3


def test_processes_find_the_same(folder: Path) -> None:
    report = mutate(collected(folder))
    assert mutate(collected(folder), jobs=2) == report


def test_a_rule_set_of_several_rule_bases_is_defended_by_the_tests_of_each(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (other / "tests" / "disk.yaml").write_text(
        "rulebase: ..\ntests:\n  - name: ok\n    steps:\n"
        "      - {at: 0s, event: {class: Disk_OK}, expect: [{class: Disk_OK, severity: MINOR}]}\n"
    )
    alone, both = mutate(collect([folder])), mutate(collect([folder, other]))
    assert len(both.rule_sets) == 1
    outcomes = {one.mutant: one.outcome for one in both.rule_sets[0].outcomes}
    assert outcomes["disk/unseen:change-text@13:88"] == "killed"
    assert both.score > alone.score


def test_a_test_that_fails_already_is_told(folder: Path) -> None:
    spec = folder / "tests" / "disk.yaml"
    spec.write_text(SPEC.replace("59s", "61s").replace("at: 60s", "at: 62s"))
    with pytest.raises(MutationError, match=r"disk.yaml:7: late fails on the rules as they are"):
        mutate(collected(folder))


def test_a_rule_set_that_is_not_there_is_told(folder: Path) -> None:
    with pytest.raises(MutationError, match="no rule set 'dsik' is tested here; did you mean 'disk'"):
        mutate(collected(folder), rule_sets=["dsik"])


def test_a_mutant_that_never_ends_is_killed(folder: Path) -> None:
    (folder / "TEC_RULES" / "disk.rls").write_text(
        "rule: full: ( event: _event of_class 'Disk_Full', action: ( set_timer(_event, 1, 'a') ) ).\n"
        "timer_rule: on: ( event: _event of_class 'Disk_Full', timer_info: equals 'a',\n"
        "  action: ( 1 > 2, set_timer(_event, 1, 'a') ) ).\n"
    )
    (folder / "tests" / "disk.yaml").write_text(
        "rulebase: ..\ntests:\n  - name: t\n    steps:\n      - {at: 0s, event: {class: Disk_Full}}\n"
        "      - {at: 100d, expect: [{class: Disk_Full}]}\n"
    )
    outcomes = {one.mutant: one.outcome for one in mutate(collected(folder)).rule_sets[0].outcomes}
    assert outcomes["disk/on:negate@3:15"] == "killed"
    # other mutants that are tried behind it are not disturbed
    assert outcomes["disk/on:drop-rule@2:1"] == "survived"


def test_mutants_in_a_running_engine_are_what_compiled_ones_are(folder: Path) -> None:
    group = collected(folder).groups[0]
    trial = Trial([Base(group.folder, group.rule_base)], [(0, bound) for bound in group.cases])
    trial.trace()
    (rule_set,) = group.rule_base.rule_sets
    some = [one for one in mutants(rule_set, group.rule_base.classes, [rule_set]) if one.number >= 0]
    assert len(some) > 10
    for mutant in some:
        swapped, compiled = (trial.run(one, rule_set) for one in (mutant, msgspec.structs.replace(mutant, number=-1)))
        assert (swapped.outcome, swapped.by) == (compiled.outcome, compiled.by), mutant.name


def test_the_shipped_duplicates() -> None:
    found = collect([shipped("rules", "default", "tests", "duplicates.yaml")])
    report = mutate(found, rule_sets=["duplicates"])
    assert report.errors == ()
    assert report.lowest >= mutated.FLOOR, "\n".join(report.lines())


@pytest.mark.nightly
def test_the_shipped_rule_sets() -> None:
    found = mutated.collected()
    names = mutated.names(found)
    report = mutate(found, rule_sets=names, jobs=2)
    assert mutated.problems(report, names) == [], "\n".join(report.lines())
