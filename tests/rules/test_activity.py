"""Event activity: counts by class and by values of slots."""

from __future__ import annotations

import pytest

from opentec.rules.predicates import activity
from tests.rules.definitions_kit import TELL, DefinedKit, error_of

INIT = "init_event_activity(['TEC_Notice'], [hostname, [hostname, drive]])"
REPORT = f"""( _hostname == 'report' -> print_event_activity(1, _lines), member(_text, _lines), {TELL}
    ; _hostname == 'print' -> print_event_activity ; _hostname == 'reset' -> reset_event_activity
    ; _hostname == 'init' -> {INIT} ; _hostname == 'init2' -> init_event_activity([], [])
    ; update_event_activity(_event) )"""


def filled(init: str = INIT) -> DefinedKit:
    kit = DefinedKit(init, REPORT)
    for host, drive in (("b", "C:"), ("a", "C:"), ("b", "D:"), ("b", "C:")):
        kit.event(1, "Disk_OK", hostname=host, drive=drive)
    kit.event(2, "Link_Up", hostname="b")
    return kit


LINES = [
    "class Disk_OK: 4",
    "class Link_Up: 1",
    "hostname b: 4",
    "hostname a: 1",
    "hostname b drive C:: 2",
    "hostname a drive C:: 1",
    "hostname b drive D:: 1",
]


def test_events_are_counted_by_class_and_by_slots_the_most_frequent_first() -> None:
    kit = filled()
    kit.event(9, "Disk_OK", hostname="report")
    assert kit.messages() == LINES


def test_rare_values_are_left_out() -> None:
    kit = DefinedKit(
        INIT,
        f"update_event_activity(_event), print_event_activity(2, _lines), _lines = [_text | _], {TELL}",
    )
    kit.event(1, "Disk_OK")
    assert kit.messages() == []
    kit.event(2, "Disk_OK")
    assert kit.messages() == ["class Disk_OK: 2"]


def test_excluded_classes_are_not_counted_nor_those_that_inherit() -> None:
    kit = filled("init_event_activity(['Disk'], [])")
    kit.event(9, "Link_Up", hostname="report")
    assert kit.messages() == ["class Link_Up: 1"]


def test_the_report_is_told_of_the_rule() -> None:
    kit = filled()
    effects = kit.event(9, "Disk_OK", hostname="print")
    assert effects.outcome is not None
    assert effects.outcome.fired[0].did[:-1] == ["event activity of 9 s, 7 lines", *LINES]


def test_reset_and_another_definition_begin_again_and_the_same_does_not() -> None:
    kit = filled()
    kit.event(3, "Disk_OK", hostname="init")
    assert len(kit.engine._store.section("activity_count")) == 7
    kit.event(4, "Disk_OK", hostname="reset")
    assert not kit.engine._store.section("activity_count")
    kit.event(5, "Disk_OK", hostname="x")
    kit.event(6, "Disk_OK", hostname="init2")
    kit.event(7, "Disk_OK", hostname="x")
    effects = kit.event(9, "Disk_OK", hostname="print")
    assert effects.outcome is not None
    assert effects.outcome.fired[0].did[:-1] == ["event activity of 3 s, 1 lines", "class Disk_OK: 1"]


def test_different_values_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "COUNT_LIMIT", 3)
    kit = filled("init_event_activity([], [hostname])")
    kit.event(9, "Disk_OK", hostname="report")
    assert kit.messages() == ["class Disk_OK: 4", "hostname b: 4", "hostname a: 1", "others: 1"]


def test_long_values_are_cut() -> None:
    kit = DefinedKit("init_event_activity([], [msg])", "update_event_activity(_event), print_event_activity")
    effects = kit.event(1, "Disk_OK", msg="x" * 5000)
    assert effects.outcome is not None
    assert effects.outcome.fired[0].did[-2] == f"msg {'x' * 80}: 1"


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ("init_event_activity(['Dsk'], [])", "event activity: class 'Dsk' is not defined; did you mean 'Disk'?"),
        (
            "init_event_activity([], [hostnam])",
            "event activity: no class has a slot 'hostnam'; did you mean 'hostname'?",
        ),
        ("init_event_activity(a, [])", "event activity takes a list of classes to leave out, and one of 20 slots at"),
        ("init_event_activity([], [1])", "what event activity counts by must be text or a list of texts"),
        ("update_event_activity(_event)", "event activity is not counted yet; init_event_activity begins it"),
        ("print_event_activity", "event activity is not counted yet; init_event_activity begins it"),
    ],
)
def test_what_is_wrong_is_said(goal: str, message: str) -> None:
    assert error_of(goal).startswith(message)


def test_activity_survives_a_restart() -> None:
    kit = filled()
    kit.restart()
    kit.event(9, "Disk_OK", hostname="report")
    assert kit.messages() == LINES
