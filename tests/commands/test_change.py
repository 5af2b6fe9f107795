from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from opentec.commands import change
from opentec.events.records import Disposition, name_of, position_of
from opentec.ha.lease import Lease
from opentec.rim.batch import OutcomeRow
from opentec.server.errors import Refused
from opentec.server.instance import Instance
from tests.commands.running import FakeProcess, Runner

Process = Callable[..., FakeProcess]
AT = position_of(1, 352)


def applied(operation: str, argument: Any) -> Any:
    return OutcomeRow(argument[0], Disposition.APPLIED)


def recorded(operation: str, argument: Any) -> int:
    return AT


@pytest.mark.parametrize(("command", "status"), [("ack", "ACK"), ("close", "CLOSED")])
def test_a_change_goes_through_the_log_and_waits_for_its_verdict(
    tec: Runner, lease: Lease, process: Process, command: str, status: str
) -> None:
    reception, dispatch = process("reception", recorded), process("dispatch", applied)
    ran = tec(command, "1772352000.1", "1772352000.2.7", "--wait", "2")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"1772352000.1 {status}\n1772352000.2.7 {status}\n"
    assert reception.calls == [
        ("change", {"event": [1772352000, 1, 1], "slots": {"status": status}}),
        ("change", {"event": [1772352000, 2, 7], "slots": {"status": status}}),
    ]
    assert dispatch.calls[0] == ("verdict", [AT, 2.0])


def test_an_unknown_event_is_refused(tec: Runner, lease: Lease, process: Process) -> None:
    process("reception", recorded)
    process("dispatch", lambda _, at: OutcomeRow(at[0], Disposition.REFUSED, reason="there is no event 1.1"))
    ran = tec("ack", "1.1")
    assert (ran.status, ran.out, ran.err) == (3, "", "1.1: there is no event 1.1\n")
    shown = json.loads(tec("ack", "--json", "1.1").out)
    assert shown == {"event": "1.1", "status": "ACK", "result": "refused", "reason": "there is no event 1.1"}


def test_what_reception_refuses_is_refused(tec: Runner, lease: Lease, process: Process) -> None:
    def refuse(operation: str, argument: Any) -> Any:
        raise Refused("not you")

    process("reception", refuse)
    ran = tec("ack", "1.1")
    assert (ran.status, ran.err) == (3, "1.1: not you\n")


def test_a_quarantined_change_is_refused(tec: Runner, lease: Lease, process: Process) -> None:
    process("reception", recorded)
    process("dispatch", lambda _, at: OutcomeRow(at[0], Disposition.FAILED))
    ran = tec("ack", "1.1")
    assert ran.status == 3
    assert "FAILED" in ran.err


def test_without_a_verdict_in_time_it_is_durable(tec: Runner, lease: Lease, process: Process) -> None:
    process("reception", recorded)
    process("dispatch", lambda *_: None)
    ran = tec("close", "1.1", "--wait", "0")
    assert ran.status == 5
    assert f"not applied within 0 s; it is durable at {name_of(AT)}" in ran.err


def test_a_dispatch_that_goes_away_leaves_it_durable(tec: Runner, lease: Lease, process: Process) -> None:
    process("reception", recorded)
    ran = tec("close", "1.1", "--wait", "0")
    assert ran.status == 5
    assert "it is durable" in ran.err


def test_the_worst_of_several_counts(tec: Runner, lease: Lease, process: Process) -> None:
    process("reception", lambda _, argument: argument["event"][1])
    ends = {1: OutcomeRow(1, Disposition.APPLIED), 2: OutcomeRow(2, Disposition.REFUSED, reason="no"), 3: None}
    process("dispatch", lambda _, argument: ends[argument[0]])
    assert tec("ack", "9.1", "9.3").status == 5
    assert tec("ack", "9.2", "9.3", "9.1").status == 3


def test_no_server_is_4(tec: Runner, instance: Instance) -> None:
    ran = tec("ack", "1.1")
    assert ran.status == 4
    assert "has never run; `tec start` starts it" in ran.err


def test_an_active_node_elsewhere_is_named(tec: Runner, lease: Lease) -> None:
    ran = tec("ack", "1.1")
    assert ran.status == 4
    assert "the active node is black (127.0.0.1:1), which is not on this host" in ran.err


def test_a_connection_that_breaks_is_4(tec: Runner, lease: Lease, process: Process) -> None:
    def broken(operation: str, argument: Any) -> Any:
        raise ConnectionError

    process("reception", broken)
    assert tec("ack", "1.1").status == 4


def test_a_wrong_key_is_usage(tec: Runner, lease: Lease) -> None:
    ran = tec("ack", "12")
    assert ran.status == 2
    assert "DATE_RECEPTION.EVENT_HANDLE" in ran.err


def test_the_order_of_statuses_covers_what_a_verdict_can_be() -> None:
    statuses = (change.Status.OK, change.Status.NOT_YET, change.Status.REFUSED)
    for one in statuses:
        assert change._worse(one, change.Status.OK) is one
        assert change._worse(change.Status.REFUSED, one) is change.Status.REFUSED
