"""Clearing events: which recovery ends which problem."""

from __future__ import annotations

import pytest

from tests.rules.definitions_kit import TELL, DefinedKit, error_of

CLEARING = "create_clearing_event(disk, 'Disk_OK', ['Disk_Full'], [hostname, drive])"
TOLD = f"bo_get_slotval(_found, msg, _text), {TELL}"


def problems(kit: DefinedKit) -> None:
    for at, host, drive, message in (
        (1, "a", "C:", "one"),
        (2, "a", "D:", "two"),
        (3, "a", "C:", "three"),
        (4, "b", "C:", "four"),
    ):
        kit.event(at, "Disk_Full", hostname=host, drive=drive, msg=message)


def test_all_targets_are_open_problems_newest_first() -> None:
    kit = DefinedKit(CLEARING, f"all_clear_targets(_event, _found), change_event_status(_found, 'CLOSED'), {TOLD}")
    problems(kit)
    kit.event(10, "Disk_OK", hostname="a", drive="C:")
    assert kit.messages() == ["three", "one"]
    kit.event(11, "Disk_OK", hostname="a", drive="C:")
    assert kit.messages() == ["three", "one"]


def test_any_target_is_the_newest() -> None:
    kit = DefinedKit(CLEARING, f"any_clear_target(_event, _found), {TOLD}")
    problems(kit)
    kit.event(10, "Disk_OK", hostname="a", drive="C:")
    kit.event(10, "Disk_OK", hostname="c", drive="C:")
    assert kit.messages() == ["three"]


def test_a_given_target_is_tested() -> None:
    kit = DefinedKit(
        CLEARING,
        """first_instance(event: _found of_class 'Disk_Full' where [ msg: equals 'one' ]),
           any_clear_target(_event, _found), all_clear_targets(_event, _found), """
        + TOLD,
    )
    problems(kit)
    kit.event(10, "Disk_OK", hostname="a", drive="D:")
    assert kit.messages() == []
    kit.event(10, "Disk_OK", hostname="a", drive="C:")
    assert kit.messages() == ["one"]


@pytest.mark.parametrize(("before", "found"), [(8, ["three"]), (9, ["three", "one"]), (6, [])])
def test_a_window_counts_from_the_recovery(before: int, found: list[str]) -> None:
    kit = DefinedKit(CLEARING, f"all_clear_targets(_event, _found, {before}, 0), {TOLD}")
    problems(kit)
    kit.event(10, "Disk_OK", hostname="a", drive="C:")
    assert kit.messages() == found


def test_without_a_window_it_is_a_year() -> None:
    day = 86_400
    for at, found in ((1 + 365 * day, ["x"]), (2 + 365 * day, [])):
        kit = DefinedKit(CLEARING, f"any_clear_target(_event, _found), {TOLD}")
        kit.event(1, "Disk_Full", hostname="a", drive="C:", msg="x")
        kit.event(at, "Disk_OK", hostname="a", drive="C:")
        assert kit.messages() == found


def test_several_definitions_find_each_problem_once_and_the_newest_of_all_first() -> None:
    kit = DefinedKit(
        """create_clearing_event(any, 'Disk_OK', ['Disk', 'Link_Down'], [hostname]),
           create_event_criteria(grave, 'Link', yes, [[severity, equals, 'FATAL']]),
           create_clearing_event(grave, 'Disk_OK', grave, []), """
        + CLEARING,
        f"all_clear_targets(_event, _found), {TOLD}",
    )
    problems(kit)
    kit.event(5, "Link_Up", severity="FATAL", hostname="z", msg="five")
    kit.event(6, "Link_Down", hostname="a", msg="six")
    kit.event(7, "Link_Up", hostname="z", msg="seven")
    before = len(kit.messages())
    kit.event(10, "Disk_OK", hostname="a", drive="C:")
    assert kit.messages()[before:] == ["six", "five", "three", "two", "one"]


def test_a_recovery_is_told_from_other_events() -> None:
    kit = DefinedKit(
        """create_event_criteria(ok, event: _e of_class 'Disk_OK' where [ severity: equals 'HARMLESS' ]),
           create_clearing_event(disk, ok, ['Disk_Full'], [hostname])""",
        "is_clearing_event(_event)",
    )
    assert kit.hit(1, "Disk_OK", severity="HARMLESS")
    assert not kit.hit(1, "Disk_OK", severity="MINOR")
    assert not kit.hit(1, "Disk_Full", severity="HARMLESS")


def test_clears_compares_two_events() -> None:
    kit = DefinedKit(
        CLEARING,
        "all_instances(event: _found of_class 'EVENT' where [ msg: not_equals '' ]), clears(_event, _found), " + TOLD,
    )
    problems(kit)
    kit.event(10, "Disk_OK", hostname="a", drive="D:")
    kit.event(10, "Link_Up", hostname="a")
    assert kit.messages() == ["two"]


def test_a_recovery_that_came_with_the_problem_or_after_it_is_found_in_any_status() -> None:
    kit = DefinedKit(
        CLEARING,
        "first_instance(event: _old of_class 'Disk_Full' where [ msg: equals 'two' ]), "
        f"any_clearing_event(_old, _found), {TOLD}",
    )
    kit.event(1, "Disk_OK", hostname="a", drive="D:", msg="before")
    problems(kit)
    kit.event(9, "Link_Up")
    assert kit.messages() == []
    kit.event(10, "Disk_OK", hostname="a", drive="D:", msg="after")
    kit.event(10, "Disk_OK", hostname="a", drive="C:", msg="elsewhere")
    kit.change(11, (kit.stored("Disk_OK")[-2].key), status="CLOSED")
    before = len(kit.messages())
    kit.event(12, "Link_Up")
    assert kit.messages()[before:] == ["after"]


def test_a_recovery_that_overtook_its_problem_is_found_with_a_window() -> None:
    kit = DefinedKit(CLEARING, f"any_clearing_event(_event, _found, 5, 0), {TOLD}")
    kit.event(1, "Disk_OK", hostname="a", drive="C:", msg="early")
    kit.event(6, "Disk_Full", hostname="a", drive="C:")
    kit.event(7, "Disk_Full", hostname="a", drive="C:")
    assert kit.messages() == ["early"]


def test_an_event_does_not_clear_itself() -> None:
    kit = DefinedKit(
        "create_clearing_event(self, 'Disk', ['Disk'], [hostname])",
        f"first_instance(event: _d of_class 'Disk' where [ ]), any_clear_target(_d, _found), {TOLD}",
    )
    kit.event(1, "Disk_OK", msg="x")
    kit.event(2, "Link_Up")
    assert kit.messages() == []
    kit.event(3, "Disk_Full", msg="y", drive="2:")
    kit.event(4, "Link_Up")
    assert kit.messages() == ["x"]


@pytest.mark.parametrize(
    ("relation", "cleared"),
    [
        ("[attr_condition([hostname, drive])]", ["three", "one"]),
        ("[hostname, attr_condition([drive=drive])]", ["three", "one"]),
        ("[attr_exception([drive])]", ["three", "two", "one"]),
        ("[attr_exception([])]", ["three", "one"]),
        ("[attr_sequence(drive, ['C:', 'B:', 'D:'])]", ["two"]),
        ("[]", ["four", "three", "two", "one"]),
        ("[origin=hostname]", ["four"]),
        ("[hostname=owner]", []),
        ("[size=hostname]", []),
    ],
)
def test_what_the_events_have_in_common(relation: str, cleared: list[str]) -> None:
    kit = DefinedKit(
        f"create_clearing_event(disk, 'Disk_OK', ['Disk_Full'], {relation})",
        f"all_clear_targets(_event, _found), {TOLD}",
    )
    problems(kit)
    kit.event(10, "Disk_OK", hostname="a", drive="C:", origin="b", size=4)
    assert kit.messages() == cleared


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        (
            "create_clearing_event(d, 'Disk_OK', ['Disk_Full'], [hostname, driv])",
            "clearing event 'd': no event of 'Disk_OK' has a slot 'driv'; did you mean 'drive'?",
        ),
        (
            "create_clearing_event(d, 'Disk_OK', ['Disk_Full', 'Link'], [drive])",
            "clearing event 'd': no event of 'Link' has a slot 'drive'",
        ),
        (
            "create_clearing_event(d, 'Disk_OK', ['Dsk_Full'], [])",
            "event criterion 'Dsk_Full' is not defined; did you mean 'Disk_Full'?",
        ),
        ("create_clearing_event(d, 'Disk_OK', [], [])", "the problems of clearing event 'd' must be text or a list of"),
        (
            "create_clearing_event(d, 'Disk_OK', ['Disk'], [f(x)])",
            "clearing event 'd': f(x) relates no events; a membe",
        ),
        (
            "create_clearing_event(d, 'Disk_OK', ['Disk'], [attr_condition([1])])",
            "clearing event 'd': attr_condition takes slots, and 1 is none",
        ),
        (
            "create_clearing_event(d, 'Disk_OK', ['Disk'], [attr_sequence(msg, [a])])",
            "clearing event 'd': attr_sequence takes 2 to 100 texts or numbers in their order",
        ),
        ("any_clear_target(_event, _x, 1, -1)", "the seconds of a time window are not negative"),
    ],
)
def test_what_is_wrong_is_said(goal: str, message: str) -> None:
    assert error_of(goal).startswith(message)


def test_definitions_have_bounds() -> None:
    many = ", ".join(["'Disk'"] * 101)
    assert error_of(f"create_clearing_event(d, 'Disk_OK', [{many}], [])").endswith("names more than 100 problems")
    many = ", ".join(["msg"] * 101)
    assert error_of(f"create_clearing_event(d, 'Disk_OK', ['Disk'], [{many}])").endswith("more than 100 slots")


def test_definitions_survive_a_restart() -> None:
    kit = DefinedKit(CLEARING, f"all_clear_targets(_event, _found), {TOLD}")
    problems(kit)
    kit.restart()
    kit.event(10, "Disk_OK", hostname="a", drive="C:")
    assert kit.messages() == ["three", "one"]
