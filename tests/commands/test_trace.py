from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from opentec.commands import trace
from opentec.events.records import Disposition, position_of
from opentec.ha.lease import Lease
from opentec.rim.batch import OutcomeRow
from opentec.rules import traced
from opentec.server.errors import Refused
from tests.commands.running import FakeProcess, Runner

Process = Callable[..., FakeProcess]
AT = position_of(1, 352)


def applied(operation: str, argument: Any) -> Any:
    return OutcomeRow(argument[0], Disposition.APPLIED)


def recorded(**unknown: str) -> Callable[[str, Any], Any]:
    return lambda operation, argument: {"position": AT, "unknown": unknown}


def test_a_trace_goes_through_the_log_and_waits_for_its_verdict(tec: Runner, lease: Lease, process: Process) -> None:
    reception, dispatch = process("reception", recorded()), process("dispatch", applied)
    ran = tec("trace", "on", "Disk", "web1", "--hours", "2", "--wait", "3")
    assert (ran.status, ran.out, ran.err) == (0, "Disk, web1: traced for 2 h from rx:1:352\n", "")
    assert reception.calls == [("trace", {"names": ["Disk", "web1"], "hours": 2})]
    assert dispatch.calls == [("verdict", [AT, 3.0])]


def test_a_name_that_is_no_class_is_said_to_be_a_host(tec: Runner, lease: Lease, process: Process) -> None:
    process("reception", recorded(Dsik="Disk", web1=""))
    process("dispatch", applied)
    ran = tec("trace", "on", "Dsik", "web1")
    assert (ran.status, ran.err.splitlines()) == (
        0,
        [
            "Dsik is no class: it is taken for a hostname; did you mean class 'Disk'?",
            "web1 is no class: it is taken for a hostname",
        ],
    )
    ran = tec("trace", "on", "Dsik", "web1", "--json")
    assert (json.loads(ran.out), ran.err) == (
        {"names": ["Dsik", "web1"], "hours": 24, "position": "rx:1:352", "unknown": ["Dsik", "web1"]},
        "",
    )


@pytest.mark.parametrize(("names", "said"), [(("web1",), "web1: traced no more\n"), ((), "all: traced no more\n")])
def test_off(tec: Runner, lease: Lease, process: Process, names: tuple[str, ...], said: str) -> None:
    reception = process("reception", recorded())
    process("dispatch", applied)
    ran = tec("trace", "off", *names)
    assert (ran.status, ran.out) == (0, said)
    assert reception.calls == [("trace", {"names": list(names), "hours": 0})]


def test_what_reception_or_the_engine_refuses(tec: Runner, lease: Lease, process: Process) -> None:
    def refuse(operation: str, argument: Any) -> Any:
        if argument["names"] == ["a"]:
            raise Refused("not that")
        return {"position": AT, "unknown": {}}

    process("reception", refuse)
    process("dispatch", lambda _, at: OutcomeRow(at[0], Disposition.REFUSED, reason="21 names would be traced"))
    for name, reason in (("a", "not that"), ("b", "21 names would be traced")):
        ran = tec("trace", "on", name)
        assert (ran.status, ran.err) == (3, f"tec: {reason}\n")


def test_not_yet(tec: Runner, lease: Lease, process: Process) -> None:
    process("reception", recorded())
    process("dispatch", lambda *_: None)
    ran = tec("trace", "on", "a", "--wait", "0")
    assert ran.status == 5
    assert "it is durable at rx:1:352" in ran.err


def test_no_server_is_4(tec: Runner, lease: Lease) -> None:
    assert tec("trace", "on", "a").status == 4


@pytest.mark.parametrize("arguments", [("on",), ("on", "a", "--hours", "0"), ("on", "a", "--hours", "169")])
def test_wrong_usage(tec: Runner, arguments: tuple[str, ...]) -> None:
    assert tec("trace", *arguments).status == 2


def test_the_list(tec: Runner, lease: Lease, process: Process) -> None:
    answers: list[Any] = [[["Disk", 1_772_352_000_000_000], ["web\x07", 1_772_355_600_000_000]]]
    process("dispatch", lambda *_: answers[0])
    assert tec("trace", "list").out == "Disk  until 2026-03-01T08:00:00Z\nweb\\x07  until 2026-03-01T09:00:00Z\n"
    (first, _) = tec("trace", "list", "--json").out.splitlines()
    assert json.loads(first) == {"name": "Disk", "until": "2026-03-01T08:00:00Z"}
    answers[0] = []
    assert tec("trace", "list").out == "nothing is traced\n"
    assert tec("trace", "list", "--json").out == ""


def test_the_limits_of_the_command_are_those_of_the_engine() -> None:
    """They stand twice because commands import no rules."""
    assert (trace._HOURS, trace._LONGEST_HOURS) == (traced.HOURS, traced.LONGEST_HOURS)
