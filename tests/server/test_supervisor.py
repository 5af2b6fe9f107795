"""The four children: deaths, restarts, poison, hangs and the end, with a stand-in for fork where that is enough."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from opentec.server import supervisor as module
from opentec.server.child import EXIT_DEMOTE, EXIT_FATAL, EXIT_SUPERSEDED, Context
from opentec.server.progress import CHILDREN, Word, boot_us
from opentec.server.supervisor import GiveUp, Supervisor
from tests.server.kit import with_config


class Fork:
    """Counts up instead of forking; nothing runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pid = 100
        self.killed: list[tuple[int, int]] = []
        monkeypatch.setattr(module.os, "fork", self.fork)
        monkeypatch.setattr(module.os, "kill", self.kill)

    def fork(self) -> int:
        self.pid += 1
        return self.pid

    def kill(self, pid: int, number: int) -> None:
        self.killed.append((pid, number))


@pytest.fixture
def fork(monkeypatch: pytest.MonkeyPatch) -> Fork:
    monkeypatch.setattr(module.threading, "active_count", lambda: 1)
    return Fork(monkeypatch)


@pytest.fixture
def quarantined() -> list[tuple[int, str]]:
    return []


@pytest.fixture
def supervisor(context: Context, fork: Fork, quarantined: list[tuple[int, str]]) -> Supervisor:
    async def quarantine(position: int, reason: str) -> None:
        quarantined.append((position, reason))

    found = Supervisor(context, quarantine)
    found.start_all()
    return found


async def die(supervisor: Supervisor, name: str, code: int) -> None:
    await supervisor._died(supervisor.children[CHILDREN.index(name)], code)


def test_reception_is_started_first(supervisor: Supervisor) -> None:
    assert {child.name: child.pid for child in supervisor.children} == {
        "reception": 101,
        "dispatch": 102,
        "rule": 103,
        "task": 104,
    }


def test_fork_with_a_second_thread_is_refused(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.threading, "active_count", lambda: 2)
    with pytest.raises(AssertionError, match="fork is safe only while the master has one thread"):
        Supervisor(context, lambda position, reason: None).start_all()  # type: ignore[arg-type, return-value]


async def test_who_died_is_started_again_and_status_can_tell_why(supervisor: Supervisor, context: Context) -> None:
    context.progress.ready(2)
    await die(supervisor, "dispatch", -9)
    assert supervisor.children[2].pid == 105 and not context.progress[Word.READY_DISPATCH]
    await die(supervisor, "task", 1)
    assert list(supervisor.events) == ["tec_dispatch ended: killed by SIGKILL", "tec_task ended: exit status 1"]


async def test_who_keeps_dying_takes_the_server_down_with_the_reason(supervisor: Supervisor, context: Context) -> None:
    with_config(context, "supervision", restarts=3)
    for _ in range(3):
        await die(supervisor, "task", 1)
    with pytest.raises(GiveUp, match="tec_task ended 3 times within a minute; the last time: exit status 1") as error:
        await die(supervisor, "task", 1)
    assert error.value.kind == "fatal"


async def test_deaths_long_ago_do_not_count(supervisor: Supervisor, context: Context) -> None:
    with_config(context, "supervision", restarts=1)
    for _ in range(3):
        await die(supervisor, "task", 1)
        supervisor.children[3].restarts[0] -= 61


@pytest.mark.parametrize(
    ("code", "kind"), [(EXIT_SUPERSEDED, "superseded"), (EXIT_FATAL, "fatal"), (EXIT_DEMOTE, "demote")]
)
async def test_some_ends_are_the_server_s_end(supervisor: Supervisor, context: Context, code: int, kind: str) -> None:
    with pytest.raises(GiveUp) as error:
        await die(supervisor, "reception", code)
    assert error.value.kind == kind
    if kind != "superseded":
        assert error.value.reason == "tec_reception gave up without a reason"
        (context.runtime / "fatal").write_text("tec_reception: the disk fails\n")
        with pytest.raises(GiveUp, match="tec_reception: the disk fails"):
            await die(supervisor, "reception", code)


async def test_the_second_death_in_one_record_sets_it_aside(
    supervisor: Supervisor, context: Context, quarantined: list[tuple[int, str]]
) -> None:
    progress = context.progress
    for position in (700, 800, 0, 800):
        progress[Word.ATTEMPT] = position
        await die(supervisor, "rule", -9)
        assert progress[Word.ATTEMPT] == 0
    assert quarantined == [(800, "it ended the rule process 2 times (killed by SIGKILL)")]


async def test_a_death_of_another_process_blames_no_record(
    supervisor: Supervisor, context: Context, quarantined: list[tuple[int, str]]
) -> None:
    context.progress[Word.ATTEMPT] = 700
    for _ in range(3):
        await die(supervisor, "dispatch", -9)
    assert not quarantined and context.progress[Word.ATTEMPT] == 700


async def test_a_crash_under_durable_rules_brings_the_indexed_selector(
    supervisor: Supervisor, context: Context
) -> None:
    context.selector = "durable-rules"
    await die(supervisor, "rule", -9)
    assert context.selector == "durable-rules"
    await die(supervisor, "rule", -signal.SIGSEGV)
    assert context.selector == "indexed" and "the indexed selector takes over" in supervisor.events[-1]


async def test_who_shows_no_sign_of_life_is_killed_once(supervisor: Supervisor, context: Context, fork: Fork) -> None:
    progress = context.progress
    supervisor.watch()
    assert not fork.killed
    progress[Word.BEAT_RULE] = boot_us() - 11_000_000
    supervisor.watch()
    assert not fork.killed, "it has not been ready yet: it may take longer to start"
    progress.ready(1)
    supervisor.watch()
    supervisor.watch()
    assert fork.killed == [(103, signal.SIGKILL)]
    await die(supervisor, "rule", -9)
    assert supervisor.events[-1].startswith("tec_rule ended: no sign of life for 11")
    progress[Word.BEAT_TASK] = boot_us() - 61_000_000
    supervisor.watch()
    assert fork.killed[1:] == [(104, signal.SIGKILL)]


def test_a_stall_of_the_machine_kills_nobody(
    supervisor: Supervisor, context: Context, fork: Fork, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = boot_us()
    monkeypatch.setattr(module, "boot_us", lambda: now)
    context.progress.ready(1)
    supervisor.watch()
    now += 60_000_000
    supervisor.watch()
    for _ in range(3):
        now += 4_000_000
        assert not fork.killed
        supervisor.watch()
    assert (103, signal.SIGKILL) in fork.killed, "it had time to show a sign of life since"


async def test_what_sigkill_does_not_end_makes_the_node_give_way(
    supervisor: Supervisor, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reception that waits for a disk beats no more, so nothing else would tell that disk's failure."""
    now, ended = boot_us(), False
    monkeypatch.setattr(module, "boot_us", lambda: now)
    monkeypatch.setattr(module.process, "start_time", lambda pid: None if ended else 1)
    with_config(context, "ha", disk_limit=2.0)
    context.progress.ready(0)
    context.progress[Word.BEAT_RECEPTION] = now - 11_000_000
    supervisor.watch()
    now += 2_000_000
    supervisor.watch()
    now += 1
    ended = True
    supervisor.watch()
    ended = False
    with pytest.raises(GiveUp, match="tec_reception has not ended 2 s after it was killed") as error:
        supervisor.watch()
    assert error.value.kind == "demote"
    with_config(context, "ha", disk_limit=0.0)
    supervisor.watch()


async def test_drain_waits_for_what_is_in_the_log(
    supervisor: Supervisor, context: Context, fork: Fork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.os, "waitpid", lambda pid, flags: (pid, 0))
    progress = context.progress
    progress[Word.DURABLE] = 200
    assert not await supervisor.drain(0.0)
    assert fork.killed == [(101, signal.SIGKILL)] and supervisor.children[0].pid == 0
    progress[Word.COMMITTED] = 200
    assert await supervisor.drain(0.0)


async def test_reaping_collects_everybody(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    dead: list[Any] = [(102, 9), (999, 0), (0, 0)]
    monkeypatch.setattr(module.os, "waitpid", lambda pid, flags: dead.pop(0))
    await supervisor.reaped()
    assert supervisor.children[2].pid == 105 and not dead

    def nobody(pid: int, flags: int) -> Any:
        raise ChildProcessError

    monkeypatch.setattr(module.os, "waitpid", nobody)
    await supervisor.reaped()


END = """
import ctypes, os, subprocess, sys, types
from opentec.server.supervisor import Supervisor
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # subreaper, as the master is
supervisor = Supervisor(types.SimpleNamespace(), None)
# a child whose program has left a program behind, which has left another: each becomes ours as its parent dies
script = "sh -c 'sh -c \\"echo ready; sleep 1000 & wait\\" & wait' & wait"
child = subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE)
child.stdout.readline()
supervisor.children[3].pid = child.pid
supervisor.end_all()
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    print("nobody is left")
"""


def test_the_end_leaves_nobody_behind() -> None:
    ran = subprocess.run([sys.executable, "-c", END], capture_output=True, text=True, timeout=20)
    assert ran.stdout == "nobody is left\n", ran.stderr


def test_the_children_of_nobody() -> None:
    assert module._children_of(2**30) == []
    assert os.getpid() not in module._children_of(os.getpid())


def test_who_waits_for_a_disk_is_not_waited_for(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 0.2, 0.4, 0.6])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(times))
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(module, "_children_of", lambda pid: [101])
    answers: list[tuple[int, int]] = [(102, 9), (103, 9), (104, 9), (0, 0), (0, 0), (0, 0)]
    monkeypatch.setattr(module.os, "waitpid", lambda pid, flags: answers.pop(0))
    assert supervisor.end_all(0.5) == [101] and not answers
    assert [child.pid for child in supervisor.children] == [0, 0, 0, 0]

    def nobody(pid: int, flags: int) -> Any:
        raise ChildProcessError

    monkeypatch.setattr(module.os, "waitpid", nobody)
    assert supervisor.end_all() == []


def test_a_folder_that_is_gone_is_no_takeover(context: Context) -> None:
    lease = context.instance.ha
    lost = GiveUp("superseded", "another node has taken over")
    assert lost.told(lease) == "superseded: another node has taken over"
    lease.rename(lease.with_name("elsewhere"))
    assert lost.told(lease).startswith(f"{lease} is gone: the instance directory was moved, removed or unmounted")
    assert GiveUp("fatal", "a reason").told(lease) == "fatal: a reason"
