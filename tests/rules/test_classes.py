"""Classes, enumerations and settings as data."""

from __future__ import annotations

import pytest

from tests.rules.engine_kit import CLASSES, Kit
from tests.rules.goal_kit import RULE, did, solutions


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("bo_get_class_slots('Disk_Full', _l), append(_, [_x], _l)", ["owner"]),
        ("bo_get_class_slots('Disk', _l), member(drive, _l), \\+ member(owner, _l), _x = 1", ["1"]),
        ("bo_get_class_slots('Disc', _x)", ["class 'Disc' is not defined; did you mean 'Disk'?"]),
        ("bo_is_defined_for_class('Disk_Full', owner), _x = 1", ["1"]),
        ("bo_is_defined_for_class('Disk_Full', hostname), _x = 1", ["1"]),
        ("bo_is_defined_for_class('Disk', owner), _x = 1", []),
        ("bo_is_defined_for_class('Nowhere', owner), _x = 1", ["class 'Nowhere' is not defined"]),
        ("bo_get_enum_options('SEVERITY', _x)", ["[UNKNOWN, HARMLESS, WARNING, MINOR, CRITICAL, FATAL]"]),
        ("bo_get_enum_options('SEVERTY', _x)", ["enumeration 'SEVERTY' is not defined; did you mean 'SEVERITY'?"]),
        ("bo_get_enum_options(x, _x)", ["enumeration 'x' is not defined"]),
        # classes above and below
        ("bo_is_super_of('EVENT', 'Disk_Full'), _x = 1", ["1"]),
        ("bo_is_super_of('Disk', 'Disk_Full'), _x = 1", ["1"]),
        ("bo_is_super_of('Disk_Full', 'Disk'), _x = 1", []),
        ("bo_is_super_of('Disk', 'Disk'), _x = 1", []),
        ("bo_is_super_of(_x, 'Disk_Full')", ["Disk", "EVENT"]),
        ("bo_is_super_of('Disk', _x)", ["Disk_Full", "Disk_OK"]),
        ("bo_is_super_of('Link', _x), bo_is_super_of(_x, _)", []),
        ("bo_is_super_of(_y, _z), _y == 'Link', _x = _z", ["Link_Down", "Link_Up"]),
        ("bo_is_direct_super_of('Disk', 'Disk_Full'), _x = 1", ["1"]),
        ("bo_is_direct_super_of('EVENT', 'Disk_Full'), _x = 1", []),
        ("bo_is_direct_super_of(_x, 'Disk_Full')", ["Disk"]),
        ("bo_is_direct_super_of('Link', _x)", ["Link_Down", "Link_Up"]),
        ("bo_is_direct_super_of(_x, 'EVENT')", []),
        ("bo_get_class_of(_e, _c), bo_is_super_of(_x, _c)", ["Link", "EVENT"]),
        ("bo_is_super_of('Lnk', 'Link_Up'), _x = 1", ["class 'Lnk' is not defined; did you mean 'Link'?"]),
        ("bo_is_super_of(_, 7), _x = 1", ["the name of a class is text, not '7'"]),
        # settings
        ("get_config_param(cache_size, _x)", ["25"]),
        ("get_config_param(time_zone, _x)", ["UTC"]),
        ("get_config_param(time_zone, 'Europe/Berlin'), _x = 1", []),
        ("get_config_param(nothing, _x)", []),
        ("get_config_param(nothing, _x, 5)", ["5"]),
        ("get_config_param(cache_size, _x, 5)", ["25"]),
    ],
)
def test_solutions(body: str, expected: list[str]) -> None:
    found = solutions(body, cache_size=25)
    assert found == expected or (" is not defined" in expected[0] and found[0].startswith(expected[0]))


def test_a_search_for_classes_costs_steps() -> None:
    body = "forall(member(_, [1, 2, 3, 4, 5, 6, 7, 8, 9]), \\+ bo_is_super_of('Link_Up', _)), _x = 1"
    assert solutions(body, step_limit=1000) == ["1"]
    stopped = "action 'action_1' was stopped after 100 steps, the limit of a record (step_limit)"
    assert solutions(body, step_limit=100) == [stopped]


def test_a_printed_class_tree_is_a_note() -> None:
    kit = Kit(RULE.format(body="print_class_tree('Disk'), print_class_tree('Link_Up')"))
    kit.event(0, "Link_Down")
    assert did(kit) == ["Disk", "Disk/Disk_Full", "Disk/Disk_OK", "Link_Up"]


def test_a_large_class_tree_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    many = "".join(f"TEC_CLASS: Link_{n:03} ISA Link;\n" for n in range(60))
    monkeypatch.setattr("tests.rules.engine_kit.CLASSES", CLASSES + many)
    monkeypatch.setattr("tests.rules.engine_kit.classes", _uncached())
    kit = Kit(RULE.format(body="print_class_tree('Link')"))
    kit.event(0, "Link_Down")
    assert len(did(kit)) == 51
    assert did(kit)[0] == "Link"
    assert did(kit)[-1] == "... and 13 more classes below Link"


def _uncached() -> object:
    from tests.rules.engine_kit import classes

    return classes.__wrapped__
