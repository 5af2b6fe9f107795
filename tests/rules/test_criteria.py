"""Named criteria and named searches of the event cache."""

from __future__ import annotations

import msgspec
import pytest

from opentec.events.classes import ClassTable
from opentec.events.errors import SourceErrors
from opentec.rules.engine import Engine
from opentec.rules.predicates import definitions
from opentec.rules.rulebase import RuleBase, Settings
from opentec.rules.selectors.indexed import IndexedSelector
from tests.rules.definitions_kit import TELL, DefinedKit, error_of
from tests.rules.engine_kit import START, classes

CHECK = "check_event_criteria(_event, c)"


@pytest.mark.parametrize(
    ("definition", "takes"),
    [
        ("'Disk', yes, []", {"Disk_Full", "Disk_OK"}),
        ("'Disk', no, []", set()),
        ("'Disk_OK', NO, []", {"Disk_OK"}),
        ("['Disk_Full', 'Link'], yes, []", {"Disk_Full", "Link_Up"}),
        ("'EVENT', yes, [[drive, equals, 'C:']]", {"Disk_OK"}),
        ("'EVENT', yes, [[severity, greater_than, 'MINOR'], [hostname, outside, ['b']]]", {"Disk_Full"}),
        ("'EVENT', yes, [[severity, equals, 50]]", {"Disk_Full"}),
        ("'Disk', yes, [[size, greater_or_equals, '7']]", {"Disk_Full"}),
        ("'Disk', yes, [[size, smaller_than, 7]]", {"Disk_OK"}),
        ("'EVENT', yes, [[status, outside, ['CLOSED']], [hostname, not_equals, a]]", {"Link_Up"}),
        ("'Disk', yes, [[owner, equals, root]]", {"Disk_Full"}),
    ],
)
def test_classes_and_conditions(definition: str, takes: set[str]) -> None:
    kit = DefinedKit(f"create_event_criteria(c, {definition})", CHECK)
    seen = {
        name
        for name, slots in (
            ("Disk_Full", {"hostname": "a", "severity": "CRITICAL", "size": 7}),
            ("Disk_OK", {"hostname": "a", "drive": "C:"}),
            ("Link_Up", {"hostname": "b"}),
        )
        if kit.hit(1, name, **slots)
    }
    assert seen == takes


def test_an_event_filter_defines_a_criterion() -> None:
    kit = DefinedKit(
        """_hosts = [a, b], create_event_criteria(c, event: _e of_class within ['Disk_Full', 'Link']
             where [ hostname: within _hosts, severity: outside ['FATAL'] outside ['UNKNOWN'] ])""",
        CHECK,
    )
    assert kit.hit(1, "Disk_Full", hostname="a")
    assert not kit.hit(1, "Disk_OK", hostname="a")
    assert not kit.hit(1, "Link_Up", hostname="c")
    assert not kit.hit(1, "Link_Up", hostname="b", severity="FATAL")
    assert kit.repository.state["criteria:c"] == [
        0,
        {
            "classes": ["Disk_Full", "Link"],
            "inherit": True,
            "conditions": [
                ["hostname", "within", ["a", "b"]],
                ["severity", "outside", ["FATAL"]],
                ["severity", "outside", ["UNKNOWN"]],
            ],
        },
    ]


def test_a_filter_without_a_class_takes_any() -> None:
    kit = DefinedKit("create_event_criteria(c, event: _e where [ hostname: equals 'a' ])", CHECK)
    assert kit.hit(1, "Link_Up", hostname="a")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("c, event: _e of_class _class where [ ]", "a criterion names its classes"),
        ("c, event: _e of_class 'Disk' where [ drive: _drive ]", "a criterion is kept and binds no variable"),
        ("c, 'Disk'", "create_event_criteria needs an event filter here"),
        ("c, event: _e of_class 'Dsk' where [ ]", "class 'Dsk' is not defined"),
    ],
)
def test_a_filter_that_is_no_criterion_does_not_load(arguments: str, message: str) -> None:
    with pytest.raises(SourceErrors, match=message):
        DefinedKit(f"create_event_criteria({arguments})", CHECK, check=False)


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        (
            "create_event_criteria(c, 'Dsk', yes, [])",
            "event criterion 'c': class 'Dsk' is not defined; did you mean 'Disk'?",
        ),
        (
            "create_event_criteria(c, 'Disk', maybe, [])",
            "whether 'c' takes classes that inherit is yes or no, not 'maybe'",
        ),
        (
            "create_event_criteria(c, 'Disk', yes, [[driv, equals, a]])",
            "event criterion 'c': no event of 'c' has a slot 'driv'; did you mean 'drive'?",
        ),
        (
            "create_event_criteria(c, 'Disk', no, [[owner, equals, a]])",
            "event criterion 'c': no event of 'c' has a slot 'owner'",
        ),
        (
            "create_event_criteria(c, 'Disk', yes, [[drive, equal, a]])",
            "event criterion 'c': equal is not an operator; did you mean 'equals'?",
        ),
        (
            "create_event_criteria(c, 'Disk', yes, [[drive, 1, a]])",
            "event criterion 'c': 1 is not an operator; there are equals, not_equals,",
        ),
        (
            "create_event_criteria(c, 'Disk', yes, [drive=a])",
            "event criterion 'c': =(drive, a) is not [slot, operator, value]",
        ),
        (
            "create_event_criteria(c, 'Disk', yes, drive)",
            "the conditions of a criterion are a list of [slot, operator, value]",
        ),
        (
            "create_event_criteria(c, 'Disk', yes, [[size, equals, big]])",
            "event criterion 'c': slot 'size' of class Disk: ",
        ),
        (
            "create_event_criteria(c, 'Disk', yes, [[severity, within, ['FATL']]])",
            "event criterion 'c': slot 'severity' of class Disk: 'FATL' is not a SEVERITY",
        ),
        (
            "create_event_criteria(c, 'Disk', yes, [[severity, within, 'FATAL']])",
            "event criterion 'c': within takes a list, not FATAL",
        ),
        ("create_event_criteria(c, [], yes, [])", "the classes of event criterion 'c' must be text or a list of texts"),
        ("create_event_criteria(1, event: _e of_class 'Disk' where [ ])", "the name of an event criterion is text, no"),
        (
            "create_event_criteria(cc, 'Disk', yes, []), check_event_criteria(_event, ccc)",
            "event criterion 'ccc' is not defined; did you mean 'cc'?",
        ),
        (
            "create_cache_search_criteria(s, 'Disk', [hostname, size=hostnam], 1, 1)",
            "cache search criterion 's': no event of 'Disk' has a slot 'hostnam'; did you mean 'hostname'?",
        ),
        ("create_cache_search_criteria(s, 'Disk', [], -1, 1)", "the seconds of a time window are not negative"),
        (
            "create_cache_search_criteria(s, 'Disk', hostname, 1, 1)",
            "cache search criterion 's': what the events have in common is a list, such as [hostname]",
        ),
        ("search_cache(_event, s, _x)", "cache search criterion 's' is not defined; create_cache_search_criteria def"),
    ],
)
def test_what_is_wrong_is_said(goal: str, message: str) -> None:
    assert error_of(goal).startswith(message)


def test_conditions_are_bounded() -> None:
    conditions = ", ".join(["[drive, equals, a]"] * 101)
    assert error_of(f"create_event_criteria(c, 'Disk', yes, [{conditions}])").endswith("has more than 100 conditions")


def test_definitions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definitions, "LIMIT", 2)
    message = error_of("member(_n, [a, b, a, c]), create_event_criteria(_n, 'Disk', yes, [])")
    assert message == "event criterion 'c' is one more than the 2 that there may be; use fewer names"


def test_defining_again_replaces_and_the_same_changes_nothing() -> None:
    kit = DefinedKit("create_event_criteria(c, 'Disk', yes, [])", "create_event_criteria(c, 'Link', yes, []), " + CHECK)
    assert kit.hit(1, "Link_Up")
    assert "criteria:c" in kit.effects[-1].state
    assert kit.hit(2, "Link_Up")
    assert "criteria:c" not in kit.effects[-1].state


def test_the_name_of_a_class_is_a_criterion_until_one_is_called_so() -> None:
    kit = DefinedKit(
        "true",
        """check_event_criteria(_event, 'Disk'),
           ( bo_get_slotval(_event, drive, 'D:') -> create_event_criteria('Disk', 'Link', yes, []) ; true )""",
    )
    assert kit.hit(1, "Disk_OK", drive="D:")
    assert not kit.hit(2, "Disk_OK")
    assert kit.hit(3, "Link_Up")


def test_definitions_survive_a_restart() -> None:
    kit = DefinedKit("create_event_criteria(c, 'Disk', yes, [[severity, greater_than, 'MINOR']])", CHECK)
    kit.restart()
    assert kit.hit(1, "Disk_OK", severity="FATAL")
    assert not kit.hit(1, "Disk_OK", severity="MINOR")


def test_a_criterion_of_a_class_that_is_gone_takes_nothing() -> None:
    kit = DefinedKit(
        "create_event_criteria(c, ['Disk_OK', 'Link_Up'], yes, []), create_event_criteria(d, 'Link', yes, [])", CHECK
    )
    data = classes().to_data()
    data["classes"] = [one for one in data["classes"] if one[0] != "Disk_OK"]
    table = table_of(data)
    base = RuleBase("test", kit.base.content_hash, table, kit.base.rule_sets, Settings())
    kit.hit(1, "Link_Up")
    kit.engine.activate(base)
    assert not kit.hit(2, "Link_Up")
    kit.base = base
    kit.engine = kit.repository.prime(Engine(base, IndexedSelector()))
    assert not kit.hit(3, "Link_Up")


def table_of(data: object) -> ClassTable:
    return ClassTable.from_data(msgspec.msgpack.decode(msgspec.msgpack.encode(data)))


SEARCH = f"search_cache(_event, s, _found), bo_get_slotval(_found, msg, _text), {TELL}"


def test_a_search_finds_the_newest_first_within_its_window() -> None:
    kit = DefinedKit("create_cache_search_criteria(s, 'Link_Down', [hostname], 60, 0)", SEARCH)
    for at, host, message in ((0, "a", "old"), (1, "a", "one"), (2, "b", "other"), (3, "a", "two")):
        kit.event(at, "Link_Down", hostname=host, msg=message)
    before = len(kit.messages())
    kit.event(61, "Link_Up", hostname="a", msg="up")
    assert kit.messages()[before:] == ["two", "one"]


def test_a_search_looks_at_the_criterion_and_at_both_events() -> None:
    kit = DefinedKit(
        """create_event_criteria(open, 'EVENT', yes, [[status, outside, ['CLOSED']], [msg, not_equals, '']]),
           create_cache_search_criteria(s, open, [owner=hostname], 600, 600)""",
        SEARCH,
    )
    kit.event(1, "Disk_OK", hostname="web", msg="web")
    kit.event(1, "Disk_OK", hostname="db", msg="db")
    kit.event(1, "Disk_OK", hostname="web", msg="closed", drive="X:")
    kit.change(2, (START + 1, 3, 1), status="CLOSED")
    kit.event(3, "Disk_Full", owner="web")
    assert kit.messages() == ["web"]
    kit.event(3, "Link_Up", hostname="web")
    assert kit.messages() == ["web"]


def test_a_search_does_not_see_what_its_own_body_makes() -> None:
    kit = DefinedKit(
        "create_cache_search_criteria(s, 'Disk', [hostname], 600, 600)",
        "search_cache(_event, s, _found), set_event_status(_found, 'CLOSED')",
    )
    for at in range(3):
        kit.event(at, "Disk_OK", hostname="a", drive=f"{at}:")
    assert kit.values("status", "Disk_OK") == ["CLOSED", "CLOSED", "OPEN"]


def test_a_long_search_costs_steps() -> None:
    kit = DefinedKit(
        "create_cache_search_criteria(s, 'Disk', [msg], 600, 600)", "search_cache(_event, s, _found)", step_limit=10
    )
    for number in range(180):
        kit.event(1, "Disk_OK", drive=f"{number}:", msg=str(number))
    (message,) = kit.errors()
    assert "was stopped after 10 steps" in message
