"""With the server stopped, queries are answered from its files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
from collections.abc import Callable
from typing import Any

import pytest

from opentec.commands import link, source
from opentec.commands.cli import Status
from opentec.events.records import Disposition, EventPayload, Kind, encode
from opentec.ha import marks
from opentec.ha.lease import Lease
from opentec.log.segments import recover
from opentec.log.writer import open_writer
from opentec.rim.batch import Batch, OutcomeRow
from opentec.rim.sqlite import open_repository
from opentec.rules.rulebase import snapshot
from opentec.rules.snapshots import CURRENT, write_mark
from opentec.server.errors import NotRunning
from opentec.server.instance import Instance
from tests.commands.rows import row
from tests.commands.running import FakeProcess, Runner, lines

Process = Callable[..., FakeProcess]
STOPPED = "the server is stopped; read from its files\n"


@pytest.fixture
def filled(instance: Instance) -> Instance:
    """Two records in the log, the first of them committed as an event; nobody holds the lease."""
    writer = open_writer(instance.rx, instance.uuid(), 1, recover(instance.rx, instance.uuid()))
    positions = [
        writer.add(Kind.EVENT, 1_772_352_000_000_000 + n, encode(EventPayload("TEC_Notice", {"msg": f"m{n}"})))
        for n in range(2)
    ]
    writer.write(writer.take())
    writer.close()

    async def commit() -> None:
        repository = await open_repository(instance.directory / "rim" / "tec.db", instance.uuid(), "redbook")
        await repository.claim(1)
        event = tuple(row(1, position=positions[0], ident=b"1", msg="m0", date_reception=1772352000))
        outcome = OutcomeRow(positions[0], Disposition.STORED, 1, 1772352000, 1)
        await repository.commit(Batch(0, positions[1], inserts=[event], outcomes=[outcome]), 1)
        await repository.close()

    asyncio.run(commit())
    write_mark(instance.rule_bases, CURRENT, snapshot(instance.directory / "rules", instance.rule_bases))
    return instance


def test_list(tec: Runner, filled: Instance) -> None:
    ran = tec("list", "--class", "EVENT")
    assert ran.status == 0
    assert ran.err == STOPPED
    assert lines(ran.out)[1].split() == [
        "1772352000.1",
        "2026-03-01T08:00:00Z",
        *["TEC_Notice", "web1", "WARNING", "OPEN", "0", "m0"],
    ]


def test_an_unknown_class(tec: Runner, filled: Instance) -> None:
    ran = tec("list", "--class", "TEC_Notic")
    assert ran.status == 3
    assert "did you mean 'TEC_Notice'?" in ran.err


def test_log_and_dump_and_why(tec: Runner, filled: Instance) -> None:
    shown = [json.loads(line) for line in lines(tec("log", "--json").out)]
    assert [(each["msg"], each["disposition"]) for each in shown] == [("m0", "STORED"), ("m1", "WAITING")]
    assert [json.loads(line)["msg"] for line in lines(tec("dump", "--json").out)] == ["m0"]
    assert "STORED" in tec("why", "1772352000.1").out
    assert "STORED" in tec("why", shown[0]["position"]).out
    assert tec("why", shown[1]["position"]).status == 3


def test_a_repository_that_cannot_be_read(tec: Runner, filled: Instance) -> None:
    (filled.directory / "rim" / "tec.db").write_bytes(b"no database" * 100)
    ran = tec("list")
    assert ran.status == 1
    assert "tec.db" in ran.err
    assert "Traceback" not in ran.err


def test_a_reader_ends_for_a_start_though_it_can_say_nothing() -> None:
    pid = os.fork()
    if not pid:
        try:
            os.close(2)
            source._make_way()
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == Status.NO_SERVER


@pytest.mark.parametrize("full", [False, True])
def test_a_reader_ends_for_a_start_though_nobody_takes_what_it_says(full: bool) -> None:
    """`tec dump 2>&1 | less`: both outputs are one pipe, and that is full."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while full:
            os.write(write, bytes(4096))
    os.set_blocking(write, True)
    pid = os.fork()
    if not pid:
        os.dup2(write, 2)
        source._make_way()
    ended = os.pidfd_open(pid)
    try:
        assert select.select([ended], [], [], 60)[0]
    finally:
        os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(ended)
        os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert (b"ask again" in pipe.read(), status) == (not full, Status.NO_SERVER)


def test_a_server_that_runs_is_asked_instead(tec: Runner, lease: Lease, process: Process) -> None:
    process("dispatch", lambda *_: [])
    assert tec("list").err == "no events\n"


def test_a_takeover_is_waited_for(
    instance: Instance, lease: Lease, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The active node is dead and a standby lives: the command waits for it, but not longer than its patience."""
    lease.release()
    process("master", lambda *_: {"state": "standby"}, node="brown")
    assert link.standing_by(instance) == ["brown"]
    now = [0.0]
    taken: list[Lease] = []

    class Time:
        @staticmethod
        def monotonic() -> float:
            return now[0]

        @staticmethod
        def sleep(seconds: float) -> None:
            now[0] += seconds
            if now[0] > 1 and not taken:
                process("dispatch", lambda *_: "brown's", node="brown")
                claimed = Lease.claim(instance.ha, "brown", [], 1)
                assert claimed is not None
                taken.append(claimed)

    monkeypatch.setattr(link, "time", Time)
    with pytest.raises(NotRunning):
        link.connect(instance, "dispatch.sock", patience=0.5)
    with link.connect(instance, "dispatch.sock") as control:
        answer: Any = control.call("list")
    assert answer == "brown's"
    assert 1 < now[0] < 5
    taken[0].release()


def test_a_stopped_server_is_not_waited_for(instance: Instance, lease: Lease, process: Process) -> None:
    marks.mark_stopped(instance.ha, lease.epoch)
    lease.release()
    process("master", lambda *_: {"state": "standby"}, node="brown")
    with pytest.raises(NotRunning, match="is stopped; `tec start` starts it"):
        link.connect(instance, "dispatch.sock")


def test_a_socket_that_nobody_listens_on(instance: Instance, lease: Lease, process: Process) -> None:
    process("master", lambda *_: None)
    with pytest.raises(NotRunning):
        link.connect(instance, "dispatch.sock")
