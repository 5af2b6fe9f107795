from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from opentec.commands import link, names, processes, stop, switch
from opentec.commands.processes import Found
from opentec.ha import marks
from opentec.ha.lease import Lease
from opentec.server import start as server_start
from opentec.server.errors import ConfigError, Refused, ServerError
from opentec.server.instance import Instance
from opentec.server.start import AlreadyRunning
from tests.commands.running import FakeProcess, Runner

Process = Callable[..., FakeProcess]


class Host:
    """The processes of this host; what is killed is gone, and a clock that a look moves."""

    def __init__(self) -> None:
        self.found: list[Found] = []
        self.killed: list[Found] = []
        self.immortal = False
        self.now = 0.0
        self.at: dict[float, Callable[[], None]] = {}

    def node(self, name: str, pid: int = 100) -> None:
        self.found += [Found(pid, "tec_master", name), Found(pid + 1, "tec_rule", name)]

    def gone(self, name: str) -> None:
        self.found = [process for process in self.found if process.node != name]

    def kill(self, found: list[Found]) -> None:
        self.killed += found
        if not self.immortal:
            self.found = [process for process in self.found if process not in found]

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for when in sorted(when for when in self.at if when <= self.now):
            self.at.pop(when)()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    fake = Host()
    monkeypatch.setattr(processes, "find", lambda directory: list(fake.found))
    monkeypatch.setattr(processes, "kill", fake.kill)
    for module in (stop, switch, link):
        monkeypatch.setattr(module, "time", fake_time(fake))
    yield fake


def fake_time(host: Host) -> Any:
    class Time:
        monotonic = staticmethod(lambda: host.now)
        sleep = staticmethod(host.sleep)

    return Time


def test_stop_asks_the_active_node_and_waits_for_all(
    tec: Runner, instance: Instance, lease: Lease, process: Process, host: Host
) -> None:
    host.node("black")
    host.node("brown", 200)

    def ending(operation: str, argument: Any) -> int:
        host.at[host.now + 1] = lambda: host.gone("black")
        host.at[host.now + 2] = lambda: host.gone("brown")
        return 100

    black = process("master", ending)
    brown = process("master", lambda *_: None, node="brown")
    ran = tec("stop")
    assert (ran.status, ran.out, ran.err) == (0, "the server is stopped\n", "")
    assert black.calls == [("stop", None)]
    assert brown.calls == []
    assert 2 <= host.now < 2.1
    assert host.killed == []


def test_stop_is_harmless_when_repeated(tec: Runner, instance: Instance, host: Host) -> None:
    ran = tec("stop")
    assert (ran.status, ran.out) == (0, "the server was not running\n")
    assert json.loads(tec("stop", "--json").out) == {"stopped": False, "node": None}


def test_stop_of_one_node(tec: Runner, instance: Instance, lease: Lease, process: Process, host: Host) -> None:
    host.node("black")
    host.node("brown", 200)

    def ending(operation: str, argument: Any) -> int:
        host.gone("black")
        return 100

    black = process("master", ending)
    ran = tec("stop", "--node", "black")
    assert (ran.status, ran.out) == (0, "node black is stopped\n")
    assert black.calls == [("stop", "node")]
    assert host.found
    assert not marks.stopped(instance.ha)


def test_a_master_that_does_not_answer_is_killed_and_nobody_takes_over(
    tec: Runner, instance: Instance, lease: Lease, host: Host
) -> None:
    host.node("black")
    host.node("brown", 200)
    host.at[0.1] = lambda: host.gone("brown")  # it sees the mark
    ran = tec("stop")
    assert ran.status == 0
    assert "tec_master of node black does not answer; its processes are killed" in ran.err
    assert {process.node for process in host.killed} == {"black"}
    assert marks.stopped(instance.ha)


def test_one_node_that_does_not_answer_is_killed(tec: Runner, instance: Instance, lease: Lease, host: Host) -> None:
    host.node("black")
    ran = tec("stop", "--node", "black")
    assert ran.status == 0
    assert len(host.killed) == 2
    assert not marks.stopped(instance.ha)


def test_standbys_without_an_active_node_rest_too(tec: Runner, instance: Instance, lease: Lease, host: Host) -> None:
    lease.release()
    host.node("brown")
    host.at[0.1] = lambda: host.gone("brown")
    assert tec("stop").status == 0
    assert marks.stopped(instance.ha)
    assert host.killed == []


def test_a_standby_that_took_over_meanwhile_is_stopped_too(
    tec: Runner, instance: Instance, lease: Lease, process: Process, host: Host
) -> None:
    host.node("black")
    host.node("brown", 200)
    after: list[Lease | None] = []

    def too_late(operation: str, argument: Any) -> int:
        host.gone("black")
        after.append(Lease.claim(instance.ha, "brown", [], 1))
        return 100

    def ending(operation: str, argument: Any) -> int:
        host.gone("brown")
        return 200

    process("master", too_late)
    brown = process("master", ending, node="brown")
    assert tec("stop").status == 0
    assert brown.calls == [("stop", None)]
    assert after[0] is not None
    after[0].release()


def test_what_does_not_end_in_time_is_killed(
    tec: Runner, instance: Instance, lease: Lease, process: Process, host: Host
) -> None:
    host.node("black")
    process("master", lambda *_: 100)
    ran = tec("stop", "--timeout", "3")
    assert ran.status == 0
    assert "not ended in time and killed: tec_master (100, node black), tec_rule (101, node black)" in ran.err


def test_what_cannot_be_killed_is_named(
    tec: Runner, instance: Instance, lease: Lease, process: Process, host: Host
) -> None:
    host.node("black")
    host.immortal = True
    process("master", lambda *_: 100)
    ran = tec("stop", "--timeout", "3")
    assert ran.status == 1
    assert "still running, though killed: tec_master (100, node black)" in ran.err


@pytest.mark.parametrize("here", [True, False])
def test_an_active_node_elsewhere_is_not_stopped(
    tec: Runner, instance: Instance, lease: Lease, host: Host, here: bool
) -> None:
    if here:
        host.node("brown")
    ran = tec("stop")
    assert ran.status == 4
    assert "node black is active and not on this host" in ran.err
    assert not marks.stopped(instance.ha)


def test_a_stranger_may_not_stop(tec: Runner, instance: Instance, lease: Lease, process: Process, host: Host) -> None:
    host.node("black")

    def refuse(operation: str, argument: Any) -> Any:
        raise Refused("only the server's own user may do that")

    process("master", refuse)
    ran = tec("stop")
    assert ran.status == 3
    assert "only the server's own user" in ran.err
    assert host.killed == []


class Started:
    """Stands in for the server's start."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.word: dict[str, Any] | Exception = {"state": "up", "epoch": 3}
        self.calls: list[tuple[str, str]] = []
        monkeypatch.setattr(server_start, "start_daemon", lambda *given, **_: self(("daemon", given[1])))
        monkeypatch.setattr(server_start, "run_foreground", lambda *given, **_: self(("foreground", given[1])))

    def __call__(self, call: tuple[str, str]) -> dict[str, Any]:
        self.calls.append(call)
        if isinstance(self.word, Exception):
            raise self.word
        return self.word


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    return Started(monkeypatch)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ({"state": "up", "epoch": 3}, "up: epoch 3 on node black, listening on 127.0.0.1:1\n"),
        ({"state": "standby", "active": "brown"}, "standby ready (active: brown)\n"),
        ({"state": "standby", "active": ""}, "standby ready (active: none yet)\n"),
        (AlreadyRunning("node black runs already (up)"), "node black runs already (up)\n"),
    ],
)
def test_start_says_how_it_went(
    tec: Runner, instance: Instance, started: Started, word: dict[str, Any] | Exception, said: str
) -> None:
    started.word = word
    ran = tec("start", "--node", "black")
    assert (ran.status, ran.out) == (0, said)
    shown = json.loads(tec("start", "--node", "black", "--json").out)
    assert (shown["node"], shown["listen"]) == ("black", "127.0.0.1:1")
    assert started.calls == [("daemon", "black")] * 2


@pytest.mark.parametrize(("error", "status"), [(ServerError("port busy"), 1), (ConfigError("wrong key"), 2)])
def test_start_says_why_not(tec: Runner, instance: Instance, started: Started, error: Exception, status: int) -> None:
    started.word = error
    ran = tec("start", "--node", "black")
    assert (ran.status, ran.out, ran.err) == (status, "", f"tec: {error}\n")


def test_start_in_the_foreground(
    tec: Runner, instance: Instance, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["wstartesvr", "--foreground", "--node", "brown"])
    assert tec.entry(names.wstartesvr).status == 0
    assert started.calls[0] == ("foreground", "brown")
    started.word = AlreadyRunning("node brown runs already (up)")
    ran = tec("start", "--foreground", "--node", "brown")
    assert (ran.status, ran.err) == (1, "tec: node brown runs already (up)\n")


def test_start_needs_to_know_which_node(tec: Runner, instance: Instance, started: Started) -> None:
    ran = tec("start")
    assert ran.status == 2
    assert "--node or TEC_NODE" in ran.err


def test_a_switch_stops_waits_and_stands_by(
    tec: Runner, instance: Instance, lease: Lease, process: Process, host: Host, started: Started
) -> None:
    host.node("black")
    host.node("brown")
    states = {"brown": "standby"}

    def black(operation: str, argument: Any) -> Any:
        host.gone("black")
        host.at[host.now + 0.5] = lambda: states.update(brown="up")
        return 100

    asked = process("master", black)
    process("master", lambda *_: {"state": states["brown"]}, node="brown")
    ran = tec("switch", "--to", "brown")
    assert (ran.status, ran.out) == (0, "node brown is active, node black stands by\n")
    assert asked.calls == [("stop", "node")]
    assert marks.switch_requested(instance.ha, lease.epoch) == "brown"
    assert started.calls == [("daemon", "black")]


@pytest.mark.parametrize("released", [False, True])
def test_a_switch_that_is_refused_leaves_no_request(
    tec: Runner, instance: Instance, lease: Lease, process: Process, host: Host, released: bool
) -> None:
    """A later death in this epoch is no planned switch. Where the lease is free already, the request has to stay."""
    host.node("black")
    host.node("brown")

    def refuse(operation: str, argument: Any) -> Any:
        if released:
            lease.release()
        raise Refused("not now")

    process("master", refuse)
    process("master", lambda *_: {"state": "standby"}, node="brown")
    ran = tec("switch", "--to", "brown")
    assert ran.status == 3 and "not now" in ran.err
    assert marks.switch_requested(instance.ha, lease.epoch) == ("brown" if released else None)


def test_a_switch_that_nobody_takes_says_so(
    tec: Runner, instance: Instance, lease: Lease, process: Process, host: Host, started: Started
) -> None:
    host.node("black")
    host.node("brown")
    process("master", lambda *_: host.gone("black"))
    process("master", lambda *_: {"state": "standby"}, node="brown")
    ran = tec("switch", "--timeout", "2")
    assert ran.status == 1
    assert "no standby took over within 2 s" in ran.err
    assert "; node black serves again" in ran.err
    assert started.calls == [("daemon", "black")]


def test_a_switch_to_a_node_that_dies_says_so_at_once(
    tec: Runner, instance: Instance, lease: Lease, process: Process, host: Host, started: Started
) -> None:
    host.node("black")
    process("master", lambda *_: host.gone("black"))
    process("master", lambda *_: {"state": "standby"}, node="brown")
    ran = tec("switch")
    assert ran.status == 1
    assert "node brown ended instead of taking over: log/brown/tec_master.log says why; node black serves" in ran.err
    assert host.now < 5


def test_a_switch_needs_an_active_node_and_a_standby(
    tec: Runner, instance: Instance, process: Process, host: Host
) -> None:
    assert tec("switch").status == 4
    lease = Lease.claim(instance.ha, "black", [], 0)
    assert lease is not None
    process("master", lambda *_: {"state": "up"})
    ran = tec("switch", "--json")
    assert ran.status == 1
    assert "no node stands by on this host: start it with `tec start --node brown`" in ran.err
    ran = tec("switch", "--to", "brown")
    assert ran.status == 1 and "node brown does not stand by on this host: start it with `tec start --node" in ran.err
    assert tec("switch", "--to", "black").out == "node black is active already\n"
    assert json.loads(tec("switch", "--to", "black", "--json").out) == {"active": "black", "switched": False}
    ran = tec("switch", "--to", "blak")
    assert ran.status == 2 and "its nodes are black, brown; did you mean 'black'?" in ran.err
    lease.release()
