"""What shall not be there has a name that a rule uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from opentec.testing.collection import collect
from tests.testing.kit import make_rule_base, write_spec

STARTS = """
rule: starts: ( event: _e of_class 'Disk_Full',
  action: ( \\+ fail, exec_task(_e, 'page', '%s', [a], 'NO'), exec_task_local(_e, mail, '', [], 'YES') ),
  action: ( also(_e) ),
  action: ( {more} ) ).
also(_e) :- exec_program(_e, 'bin/clean', '', [], 'NO').
"""
FORWARD = "forward_event(_e, lab)"


def problems(folder: Path, expected: str, more: str = "true") -> list[str]:
    """The first line of every error, without the name of the file."""
    base = make_rule_base(folder / "base", STARTS.format(more=more))
    (base / "TEC_RULES" / "tec_forward.conf").write_text("[lab]\nServerLocation=lab\n")
    path = write_spec(base, f"- {{at: 0s, event: {{class: Disk_Full}}, {expected}}}")
    return [str(error).partition("\n")[0].removeprefix(f"{path}:") for error in collect([base]).errors]


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ("no_actions: [{task: pgae}]", "6:58: no rule ever starts the task 'pgae'; did you mean 'page'?"),
        ("no_actions: [{task: xyzzy}]", "6:58: no rule ever starts the task 'xyzzy'; rules name mail, page"),
        (
            "no_actions: [{program: bin/claen, event: {class: Disk_Full}}]",
            "6:58: no rule ever starts the program 'bin/claen'; did you mean 'bin/clean'?",
        ),
        ("no_forwarded: [{to: lba}]", "6:60: no rule ever forwards events to 'lba'; did you mean 'lab'?"),
    ],
)
def test_a_name_that_no_rule_uses_is_an_error(tmp_path: Path, expected: str, said: str) -> None:
    assert problems(tmp_path, expected, FORWARD) == [said]


def test_where_rules_name_none_it_says_so(tmp_path: Path) -> None:
    (said,) = problems(tmp_path, "no_forwarded: [{to: lab}]")
    assert said.endswith("no rule ever forwards events to 'lab'; rules name none; take it out")


@pytest.mark.parametrize(
    "expected",
    [
        "no_actions: [{task: page}, {task: mail}, {program: bin/clean}, {program: _}, {args: [a]}]",
        "no_actions: true",
        "no_forwarded: [{to: lab}, {event: {class: Disk}}]",
        # what shall be there is looked for, and the failure says what is there
        "actions: [{task: pgae}]",
        "no_state: [{counter: nobody}]",
    ],
)
def test_other_names_are_none(tmp_path: Path, expected: str) -> None:
    assert problems(tmp_path, expected, FORWARD) == []


def test_an_event_that_goes_to_nobody_by_name_goes_to_the_default(tmp_path: Path) -> None:
    assert problems(tmp_path, "no_forwarded: [{to: default}]", "forward_event(_e)") == []


@pytest.mark.parametrize(
    "more",
    [
        "bo_get_slotval(_e, msg, _task), exec_task(_e, _task, '', [], 'NO')",
        "_goal = exec_task(_e, pgae, '', [], 'NO'), call(_goal)",
        "_clause = (more(_x) :- exec_task(_x, pgae, '', [], 'NO')), assert(_clause)",
    ],
)
def test_where_a_name_is_made_as_the_rules_run_any_may_be_right(tmp_path: Path, more: str) -> None:
    assert problems(tmp_path, "no_actions: [{task: pgae}]", more) == []


def test_a_name_of_another_rule_base_that_rules_later_is_known(tmp_path: Path) -> None:
    other = STARTS.format(more="exec_task(_e, pgae, '', [], 'NO')")
    make_rule_base(tmp_path / "other", other)
    assert problems(tmp_path, "no_actions: [{task: pgae}]}\n- {at: 1s, reload: ../../other") == []


def test_one_place_is_reported_once_for_each_name(tmp_path: Path) -> None:
    base = make_rule_base(tmp_path / "base", STARTS.format(more="true"))
    (base / "tests").mkdir()
    (base / "tests" / "t.yaml").write_text(
        "rulebase: ..\ntests:\n  - name: t ${name} ${drive}\n"
        "    parameters: [{name: pgae, drive: a}, {name: pgae, drive: b}, {name: mial, drive: c}]\n"
        "    steps: [{at: 0s, event: {class: Disk_Full, drive: '${drive}'}, no_actions: [{task: '${name}'}]}]\n"
    )
    hints = [error.hint for error in collect([base]).errors]
    assert hints == ["did you mean 'page'?", "did you mean 'mail'?"]
