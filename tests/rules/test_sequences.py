"""Event sequences, from the root cause down; and what two events have in common."""

from __future__ import annotations

import pytest

from tests.rules.definitions_kit import TELL, DefinedKit, error_of

TOLD = f"bo_get_slotval(_found, msg, _text), {TELL}"
CHAIN = "create_event_sequence(outage, ['TEC_Stop', 'Link_Down', 'Disk_Full'], [hostname])"


def chain(kit: DefinedKit, *events: tuple[str, str, str]) -> None:
    for at, (name, host, message) in enumerate(events, 1):
        kit.event(at, name, hostname=host, msg=message)


def test_the_cause_nearest_to_the_root_is_found_and_its_newest_event() -> None:
    kit = DefinedKit(CHAIN, f"first_sequence_cause(_event, outage, _found), {TOLD}")
    chain(kit, ("TEC_Stop", "a", "old"), ("TEC_Stop", "a", "root"), ("TEC_Stop", "b", "other"), ("Link_Down", "a", "l"))
    assert kit.messages() == ["root"]
    kit.event(10, "Disk_Full", hostname="a")
    assert kit.messages() == ["root", "root"]


def test_a_closed_cause_is_none() -> None:
    kit = DefinedKit(CHAIN, f"first_sequence_cause(_event, outage, _found), {TOLD}")
    chain(kit, ("TEC_Stop", "a", "root"), ("Link_Down", "a", "link"))
    kit.change(5, kit.stored("TEC_Stop")[0].key, status="CLOSED")
    kit.event(10, "Disk_Full", hostname="a")
    assert kit.messages() == ["root", "link"]


def test_the_root_has_no_cause_and_what_is_not_in_the_chain_has_none() -> None:
    kit = DefinedKit(
        "create_event_sequence(outage, ['Link_Down', 'Disk_Full'], [])", "first_sequence_cause(_event, outage, _found)"
    )
    kit.event(1, "Link_Down")
    assert not kit.hit(2, "Link_Down")
    assert not kit.hit(2, "Disk_OK")
    assert kit.hit(2, "Disk_Full")


def test_all_effects_that_agree_in_the_slots_are_found() -> None:
    kit = DefinedKit(
        "create_event_sequence(outage, ['Link_Up', 'TEC_Notice', 'Disk_Full'], [hostname])",
        "all_sequence_effects(_event, outage, _found), set_event_message(_found, done)",
    )
    chain(
        kit,
        ("TEC_Notice", "a", "n1"),
        ("Disk_Full", "a", "d1"),
        ("TEC_Notice", "a", "n2"),
        ("Disk_Full", "b", "d2"),
        ("TEC_Stop", "a", "s"),
    )
    kit.event(8, "Link_Up", hostname="a")
    assert kit.values("msg")[1:] == ["done", "done", "done", "d2", "s", ""]


def test_effects_come_once_nearest_link_first() -> None:
    kit = DefinedKit(
        "create_event_sequence(outage, ['Link_Up', 'TEC_Stop', 'Disk_Full', 'Disk'], [])",
        f"all_sequence_effects(_event, outage, _found), {TOLD}",
    )
    chain(kit, ("Disk_Full", "a", "full"), ("Disk_OK", "a", "ok"), ("TEC_Stop", "a", "stop"))
    before = len(kit.messages())
    kit.event(8, "Link_Up", hostname="b")
    assert kit.messages()[before:] == ["stop", "full", "ok"]


def test_the_seconds_between_events_are_bounded() -> None:
    kit = DefinedKit(
        "create_event_sequence(outage, ['Link_Down', 'Disk_Full'], [], 10)", "first_sequence_cause(_event, outage, _f)"
    )
    kit.event(1, "Link_Down")
    assert kit.hit(11, "Disk_Full")
    assert not kit.hit(12, "Disk_Full", drive="D:")


def test_an_unbound_name_tries_every_sequence_and_tells_which() -> None:
    kit = DefinedKit(
        """create_event_sequence(z, ['TEC_Stop', 'Link_Down', 'Disk_Full'], []),
           create_event_sequence(a, ['Link_Down', 'Disk_Full'], [hostname]),
           create_event_sequence(b, ['TEC_Stop', 'Link_Up'], [])""",
        f"""( first_sequence_cause(_event, _name, _found), bo_get_slotval(_found, msg, _m),
              atomconcat([cause, _name, _m], _text), {TELL}
            ; all_sequence_effects(_event, _name, _found), bo_get_slotval(_found, msg, _m),
              atomconcat([effect, _name, _m], _text), {TELL} )""",
    )
    chain(kit, ("TEC_Stop", "h", "S"), ("Disk_Full", "h", "D1"), ("Link_Down", "h", "L"), ("Disk_Full", "h", "D2"))
    assert kit.messages() == ["causezS", "causezS", "effectaD1", "effectzD1", "causeaL"]
    kit.event(9, "Disk_OK")
    assert len(kit.messages()) == 5


def test_a_given_cause_is_tested() -> None:
    kit = DefinedKit(
        CHAIN,
        "first_instance(event: _d of_class 'Link_Down' where [ ]), first_sequence_cause(_event, outage, _d)",
    )
    chain(kit, ("TEC_Stop", "a", "root"), ("Link_Down", "a", "link"))
    assert kit.hit(5, "Disk_Full", hostname="a")
    assert not kit.hit(5, "Disk_Full", hostname="b")


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ("create_event_sequence(s, ['Disk'], [])", "event sequence 's' is a list of 2 to 100 criteria, from the cause"),
        ("create_event_sequence(s, ['Disk', 'Lnk'], [])", "event criterion 'Lnk' is not defined; did you mean 'Link'?"),
        (
            "create_event_sequence(s, ['Disk', 'Link'], [drive=hostname, hostname=driv])",
            "event sequence 's': no event of 'Link' has a slot 'driv'",
        ),
        (
            "create_event_sequence(s, ['Disk', 'Link'], [], -1)",
            "event sequence 's': the seconds between its events are",
        ),
        ("first_sequence_cause(_event, s, _x)", "event sequence 's' is not defined; create_event_sequence defines it"),
    ],
)
def test_what_is_wrong_is_said(goal: str, message: str) -> None:
    assert error_of(goal).startswith(message)


def test_sequences_survive_a_restart() -> None:
    kit = DefinedKit(CHAIN, f"first_sequence_cause(_event, _name, _found), {TOLD}")
    kit.event(1, "TEC_Stop", hostname="a", msg="root")
    kit.restart()
    kit.event(2, "Link_Down", hostname="a")
    assert kit.messages() == ["root"]


@pytest.mark.parametrize(
    ("goal", "holds"),
    [
        ("attr_condition(_event, _d, [hostname])", True),
        ("attr_condition(_event, _d, [hostname, drive])", False),
        ("attr_condition(_event, _d, [origin=drive])", True),
        ("attr_condition(_event, _d, [])", True),
        ("attr_condition(_event, _d, [owner])", False),  # one of them has no such slot
        ("attr_exception(_event, _d, [])", False),
        ("attr_exception(_event, _d, [drive])", True),
        ("attr_sequence(_d, _event, severity, ['MINOR', 'WARNING', 'FATAL'])", True),
        ("attr_sequence(_event, _d, severity, ['MINOR', 'WARNING', 'FATAL'])", False),
        ("attr_sequence(_d, _d, severity, ['MINOR', 'WARNING', 'FATAL'])", False),
        ("attr_sequence(_d, _event, severity, ['MINOR', 'WARNING'])", False),
    ],
)
def test_two_events_are_compared(goal: str, holds: bool) -> None:
    kit = DefinedKit("true", f"first_instance(event: _d of_class 'Disk_Full' where [ ]), {goal}")
    kit.event(1, "Disk_Full", hostname="h", drive="C:", severity="MINOR")
    assert kit.hit(2, "Disk_OK", hostname="h", drive="D:", origin="C:", severity="FATAL") is holds
