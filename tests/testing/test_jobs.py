"""Runs in several processes give what one gives."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from opentec.events.errors import SourceErrors
from opentec.rules.profile import Cost
from opentec.testing import jobs
from opentec.testing import runner as runner_module
from opentec.testing.collection import Collected, collect
from opentec.testing.jobs import ProcessLost, Run, Seen, Session, Watching, together
from tests.testing.kit import make_rule_base

ALL = Watching(costs=True, coverage=True)
HEAD = "rulebase: ..\ntests:\n"
GOOD = "  - {{name: {}, steps: [{{at: 0s, event: {{class: Disk_Full}}, expect: [{{class: Disk_Full}}]}}]}}\n"
BAD = GOOD.replace("expect:", "expect_no:")


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Collected:
    """Two rule bases with five tests each, of which one fails."""
    folder = tmp_path_factory.mktemp("bases")
    for name in ("one", "two"):
        base = make_rule_base(folder / name)
        (base / "tests").mkdir()
        text = "".join((BAD if number == 3 else GOOD).format(f"{name}-{number}") for number in range(5))
        (base / "tests" / "t.yaml").write_text(HEAD + text)
    found = collect([folder])
    assert (found.errors, found.tests) == ([], 10)
    return found


def test_the_results_come_in_order_and_are_the_same(collected: Collected) -> None:
    one, two = Run(collected, 1, ALL), Run(collected, 2, ALL)
    alone, several = list(one), list(two)
    assert [outcome.result for outcome in several] == [outcome.result for outcome in alone]
    assert [outcome.result.name for outcome in alone if not outcome.result.passed] == ["one-3", "two-3"]
    assert all(outcome.seconds > 0 for outcome in (*alone, *several))
    assert list(two.seen) == list(one.seen)
    for folder, seen in one.seen.items():
        other = two.seen[folder]
        assert other.coverage == seen.coverage is not None
        assert {cost.rule: cost.tried for cost in other.costs} == {cost.rule: cost.tried for cost in seen.costs}
        assert seen.costs


def test_a_run_can_be_left_early(collected: Collected) -> None:
    for number in (1, 2):
        run = Run(collected, number, Watching(costs=True))
        assert next(iter(run)).result.name == "one-0"
        run.close()
        assert run.seen
        assert list(run) == []


def test_what_is_not_watched_is_not_seen(collected: Collected) -> None:
    run = Run(collected)
    list(run)
    assert {seen.coverage for seen in run.seen.values()} == {None}
    assert all(seen.costs == [] for seen in run.seen.values())


def test_the_same_seed_is_the_same_order(collected: Collected) -> None:
    orders = []
    for seed in (1, 1, 2):
        shuffled = Collected(groups=collected.groups, order=list(collected.order))
        shuffled.shuffle(seed)
        orders.append([outcome.result.name for outcome in Run(shuffled)])
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])


@pytest.fixture
def base_of_loops(tmp_path: Path) -> Path:
    """A rule base with a timer that is set for ever, and two tests."""
    base = make_rule_base(
        tmp_path / "base",
        """
        rule: first: (event: _e of_class 'Disk_Full', reception_action: (set_timer(_e, 1, 'again'))).
        timer_rule: again: (event: _e of_class 'Disk_Full', timer_info: equals 'again',
          action: (set_timer(_e, 1, 'again'))).
        """,
    )
    (base / "tests").mkdir()
    step = "{at: 12d, expect: [{class: Disk_Full}]}"
    text = f"  - {{name: t, steps: [{{at: 0s, event: {{class: Disk_Full}}}}, {step}]}}\n"
    (base / "tests" / "t.yaml").write_text(HEAD + GOOD.format("a") + text)
    return base


def test_a_timer_without_end_is_an_error_of_the_test(base_of_loops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = collect([base_of_loops])
    monkeypatch.setattr(runner_module, "MAX_TICKS", 10)
    with pytest.raises(SourceErrors, match="more than 10 timers fire before '12d'"):
        list(Run(found))


class Deadly:
    """Ends the process that receives it."""

    def __reduce__(self) -> Any:
        return os._exit, (3,)


def test_a_process_that_is_lost_is_told(collected: Collected) -> None:
    (group, bound), *_ = collected.order
    order: Any = [(group, bound), (group, Deadly()), (group, bound)]
    with pytest.raises(ProcessLost, match="-j 1 shows at which test"):
        list(Run(Collected(groups=collected.groups, order=order), 2))


def test_an_error_of_a_test_comes_back_from_a_process(base_of_loops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collected = collect([base_of_loops])
    monkeypatch.setattr(runner_module, "MAX_TICKS", 10)
    monkeypatch.setattr(jobs, "_session", Session({group.folder: group.rule_base for group in collected.groups}))
    done = jobs._work([(group.folder, bound) for group, bound in collected.order])
    assert [outcome.result.name for outcome in done.outcomes] == ["a"]
    (error,) = done.errors_again()
    assert str(error).startswith(f"{base_of_loops / 'tests' / 't.yaml'}:4:")
    assert "more than 10 timers fire before '12d'" in str(error)


def test_sums_of_several_processes() -> None:
    one = {Path("a"): Seen([Cost("s/r", "p:1", 1, 1, 1, 1, 5), Cost("s/q", "p:2", 1, 0, 0, 0, 7)])}
    two = {Path("b"): Seen([]), Path("a"): Seen([Cost("s/r", "p:1", 2, 1, 0, 3, 6)])}
    found = together([one, two])
    assert list(found) == [Path("a"), Path("b")]
    assert [msgspec.structs.astuple(cost) for cost in found[Path("a")].costs] == [
        ("s/r", "p:1", 3, 2, 1, 4, 11),
        ("s/q", "p:2", 1, 0, 0, 0, 7),
    ]
    assert found[Path("b")] == Seen([])


def test_a_session_makes_one_engine_for_a_rule_base(collected: Collected, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    real = jobs.Runner

    def count(*arguments: object) -> object:
        made.append(arguments[1])
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(jobs, "Runner", count)
    list(Run(collected))
    assert made == [group.folder for group in collected.groups]
    assert Session({}).seen() == {}
