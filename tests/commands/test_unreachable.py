"""What does not answer is not dead: another runtime directory, another user, a disk that is waited for, a hang."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pwd
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opentec.commands import link, processes
from opentec.commands.processes import Found, runs_under
from opentec.ha import epochs, marks
from opentec.ha.errors import LeaseDirectoryError
from opentec.ha.lease import Lease
from opentec.server import control
from opentec.server import start as server_start
from opentec.server.instance import Instance
from tests.commands.running import FakeProcess, Runner

Process = Callable[..., FakeProcess]
OTHER = "runs, but not under this TEC_RUNTIME_DIR"


class Here:
    """The processes of this host. Nothing is really killed."""

    def __init__(self) -> None:
        self.found: list[Found] = []
        self.killed: list[Found] = []

    def kill(self, found: list[Found]) -> None:
        self.killed += found
        self.found = [process for process in self.found if process not in found]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    fake = Here()
    monkeypatch.setattr(processes, "find", lambda directory: list(fake.found))
    monkeypatch.setattr(processes, "kill", fake.kill)
    monkeypatch.setattr("opentec.commands.stop._ENDING", 0.0)
    return fake


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> str:
    """This command is run by the user nobody, the server by whoever runs the tests."""
    nobody = pwd.getpwnam("nobody")
    monkeypatch.setattr(os, "geteuid", lambda: nobody.pw_uid)
    return pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def mine(instance: Instance) -> Iterator[Lease]:
    """Node black holds the lease, and is this very process."""
    lease = Lease.claim(instance.ha, "black", [], 0)
    assert lease is not None
    yield lease
    lease.release()


# -- another runtime directory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [("stop",), ("stop", "--node", "black"), ("switch",), ("switch", "--to", "brown")]
)
@pytest.mark.parametrize("seen", [True, False])
def test_a_healthy_server_under_another_runtime_directory_is_left_alone(
    tec: Runner, instance: Instance, mine: Lease, here: Here, arguments: tuple[str, ...], seen: bool
) -> None:
    here.found = [Found(os.getpid(), "tec_master", "black")] if seen else []
    ran = tec(*arguments)
    assert ran.status == 4
    assert f"pid {os.getpid()} {OTHER} ({os.environ['TEC_RUNTIME_DIR']}); set TEC_RUNTIME_DIR" in ran.err
    assert here.killed == [] and not marks.stopped(instance.ha)
    assert marks.switch_requested(instance.ha, mine.epoch) is None


def test_a_standby_under_another_runtime_directory_is_left_alone(
    tec: Runner, instance: Instance, lease: Lease, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.found = [Found(os.getpid(), "tec_master", "brown")]
    monkeypatch.setattr(processes, "runs_under", lambda pid, runtime: False)
    ran = tec("stop", "--node", "brown")
    assert ran.status == 4 and OTHER in ran.err and here.killed == []
    ran = tec("switch")
    assert ran.status == 1 and OTHER in ran.err
    assert OTHER in tec("status", "--node", "brown").out


def test_a_master_that_is_only_about_to_end_is_not_elsewhere(
    tec: Runner, instance: Instance, mine: Lease, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock goes a moment before its lease."""
    here.found = [Found(os.getpid(), "tec_rule", "black")]
    monkeypatch.setattr("opentec.commands.stop._ENDING", 30.0)
    monkeypatch.setattr("opentec.commands.stop._LOOK", 0.0)
    texts = iter(["pid 1 runs elsewhere", ""])
    monkeypatch.setattr("opentec.commands.stop.other_runtime", lambda *_: next(texts))
    assert tec("stop", "--node", "black").status == 0
    assert [found.name for found in here.killed] == ["tec_rule"]


def test_where_a_masters_lock_lies(tmp_path: Path) -> None:
    ours, theirs, later = (tmp_path / name / "i-black" for name in ("ours", "theirs", "later"))
    for folder in (ours, theirs):
        folder.mkdir(parents=True)
    me = os.getpid()
    assert runs_under(me, ours) is None, "it has no such lock at all"
    with (ours / "lock").open("w"):
        assert runs_under(me, ours) is True
        assert runs_under(me, theirs) is False
        assert runs_under(me, later) is False
        (ours / "lock").unlink()
        assert runs_under(me, ours) is False, "nobody finds it there any more"
    assert runs_under(me, ours, proc=tmp_path) is None


# -- another user -----------------------------------------------------------------------------------------------------


class Locked(control.Control):
    """A socket that this user may not open."""

    def __init__(self, path: Path, timeout: float = 10.0) -> None:
        from opentec.server.errors import NotRunning

        raise NotRunning(f"{path}: permission denied; the server belongs to another user") from PermissionError(13, "")


def test_a_socket_of_another_user(
    tec: Runner, instance: Instance, lease: Lease, here: Here, stranger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.found = [Found(os.getpid(), "tec_master", "black")]
    for module in ("link", "stop"):
        monkeypatch.setattr(f"opentec.commands.{module}.Control", Locked)
    for command in (("probe", "--node", "black"), ("status",)):
        ran = tec(*command)
        assert (ran.status, ran.out) == (2, "")
        assert "node black cannot be asked: permission denied for user nobody" in ran.err
        assert f"the server runs as user {stranger}" in ran.err
    ran = tec("stop")
    assert ran.status == 3 and "permission denied" in ran.err and here.killed == []
    assert link.standing_by(instance) == []


@pytest.mark.parametrize("seen", [True, False])
def test_a_probe_by_a_stranger_knows_nothing(
    tec: Runner, instance: Instance, here: Here, stranger: str, seen: bool
) -> None:
    """Neither that it hangs, nor that it certainly does not run."""
    here.found = [Found(os.getpid(), "tec_master", "black")] if seen else []
    ran = tec("probe", "--node", "black")
    what = "the server runs as" if seen else "the instance belongs to"
    said = f"node black cannot be asked: permission denied for user nobody; {what} user {stranger}\n"
    assert (ran.status, ran.out, ran.err) == (2, "", f"tec: {said}")


def test_a_strangers_server_is_named(tec: Runner, instance: Instance, mine: Lease, here: Here, stranger: str) -> None:
    said = f"pid {os.getpid()} runs as user {stranger}, whom user nobody may not ask: run the command as {stranger}"
    here.found = [Found(os.getpid(), "tec_master", "black")]
    assert said in tec("status").out
    ran = tec("stop")
    assert ran.status == 4 and said in ran.err and here.killed == []


def test_a_strangers_standby_is_named(tec: Runner, instance: Instance, here: Here, stranger: str) -> None:
    here.found = [Found(os.getpid(), "tec_master", "brown")]
    assert f"runs as user {stranger}" in tec("status", "--node", "brown").out
    ran = tec("stop", "--node", "brown")
    assert ran.status == 3 and f"runs as user {stranger}" in ran.err and "killed" not in ran.err
    assert here.killed == []


@pytest.mark.parametrize("command", [("status",), ("stop",), ("list",), ("probe", "--node", "black")])
def test_a_directory_of_another_user(
    tec: Runner,
    instance: Instance,
    here: Here,
    stranger: str,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
) -> None:
    here.found = [Found(os.getpid(), "tec_rule", "black")]
    cause = PermissionError(errno.EACCES, "Permission denied", str(instance.ha))

    def locked(directory: Path) -> Any:
        raise LeaseDirectoryError("check that it is mounted") from cause

    monkeypatch.setattr(epochs, "newest", locked)
    ran = tec(*command)
    assert ran.status == 2
    assert "permission denied for user nobody" in ran.err and f"belongs to user {stranger}" in ran.err
    assert "mounted" not in ran.err and here.killed == []


@pytest.mark.parametrize("command", ["status", "stop", "switch", "probe"])
def test_an_instance_that_may_not_be_entered(
    tec: Runner, instance: Instance, stranger: str, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def locked(directory: Path | None) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied", str(instance.config_file))

    monkeypatch.setattr(link, "find_instance", locked)
    ran = tec(command)
    assert ran.status == 2
    assert f"{instance.config_file}: permission denied for user nobody; it belongs to user {stranger}" in ran.err


def test_a_user_without_a_name() -> None:
    assert link.user(4_000_000_001) == "4000000001" and link.user(None) == "unknown"


def test_another_trouble_of_the_directory_stays_what_it_is(tec: Runner, instance: Instance) -> None:
    instance.ha.rename(instance.directory / "away")
    ran = tec("status")
    assert ran.status == 1 and "check that the instance directory is mounted" in ran.err


# -- a hang -----------------------------------------------------------------------------------------------------------


def test_a_standby_that_hangs_is_named_with_a_way_out(
    tec: Runner, instance: Instance, lease: Lease, process: Process, here: Here
) -> None:
    said = "tec_master runs and does not answer (pid 4711): it hangs, starts, or ends"
    way = "`tec stop --node brown` ends it and `tec start --node brown` starts it again"
    process("master", lambda *_: {"node": "black", "state": "up", "healthy": True, "reasons": [], "warnings": ["old"]})
    here.found = [Found(4711, "tec_master", "brown")]
    report = json.loads(tec("status", "--json").out)
    assert report["warnings"][0] == "old" and report["nodes"]["brown"] == "unknown"
    assert said in report["warnings"][1] and way in report["warnings"][1]
    for arguments in ((), ("--to", "brown")):
        ran = tec("switch", *arguments)
        assert ran.status == 1 and said in ran.err and way in ran.err
        assert "start it with" not in ran.err


def test_a_node_that_waits_for_its_disk_says_so(tec: Runner, instance: Instance, lease: Lease, here: Here) -> None:
    lease.release()
    here.found = [Found(4711, "tec_master", "black", rejoins=True)]
    waits = "it gave way or was superseded, and stands by again when its disks can be written"
    log = instance.logs("black") / "tec_master.log"
    for said in ("", ": the lease cannot be renewed", ": rx/ is read-only"):
        if "lease" in said:
            marks.mark_gave_way(instance.ha, lease.epoch, said[2:])
        if "rx" in said:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(
                f"2026-03-01T08:00:00.000 ERROR node black stands by again when this is mended: {said[2:]}\n"
            )
        assert f"{waits}{said}\n" in tec("status").out
        ran = tec("probe", "--node", "black")
        assert ran.status == 1 and f"red: node black: {waits}{said}\n" == ran.out
    log.write_text("2026-03-01T08:00:00.000 INFO something else\n")
    assert f"{waits}: the lease cannot be renewed\n" in tec("status").out
    ran = tec("list")
    assert f"no node is active; node black: {waits}" in ran.err and "is stopped" not in ran.err
    ran = tec("close", "1.1")
    assert ran.status == 4 and f"no node is active; node black: {waits}" in ran.err
    assert waits in tec("switch").err
    marks.mark_stopped(instance.ha, lease.epoch)
    assert "is stopped; `tec start` starts it" in tec("close", "1.1").err


def test_of_a_node_without_an_epoch_nothing_is_known(tec: Runner, instance: Instance, lease: Lease, here: Here) -> None:
    here.found = [Found(4711, "tec_master", "brown", rejoins=True)]
    assert "stands by again when its disks can be written\n" in tec("status", "--node", "brown").out


def test_a_standby_is_no_stopped_server(
    tec: Runner, instance: Instance, lease: Lease, process: Process, here: Here
) -> None:
    lease.release()
    process("master", lambda *_: {"state": "standby"}, node="brown")
    here.found = [Found(4711, "tec_master", "brown")]
    assert link.unserved(instance) == "no node is active; node brown: its state is standby"


# -- a disk that takes no mark ----------------------------------------------------------------------------------------


def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise LeaseDirectoryError("ha/stopped.1: Read-only file system")

    monkeypatch.setattr(marks, "_write", refuse)


@pytest.mark.parametrize("silent", [True, False])
def test_a_stop_without_a_mark_names_the_way_where_there_are_several_nodes(
    tec: Runner, instance: Instance, lease: Lease, here: Here, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    """Whether the active node does not answer, or gave way."""
    if not silent:
        lease.release()
    here.found = [Found(1, "tec_master", "black"), Found(2, "tec_master", "brown")]
    monkeypatch.setattr(processes, "runs_under", lambda *_: None)
    read_only(monkeypatch)
    ran = tec("stop")
    assert ran.status == 1 and here.killed == []
    assert "not stopped, since a standby would take over: ha/stopped.1: Read-only file system" in ran.err
    assert "one by one: `tec stop --node brown`, then `tec stop --node black`" in ran.err


@pytest.mark.parametrize("silent", [True, False])
def test_the_only_node_is_stopped_without_a_mark(
    tec: Runner, tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    assert tec("init", tmp_path / "one").status == 0
    instance = Instance(tmp_path / "one")
    lease = Lease.claim(instance.ha, "node1", [], 0)
    assert lease is not None
    if not silent:
        lease.release()
    runtime = instance.runtime("node1")
    runtime.mkdir(parents=True)
    with (runtime / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        here.found = [Found(1, "tec_master", "node1", rejoins=not silent)]
        read_only(monkeypatch)
        ran = tec("stop", "-d", instance.directory)
    lease.release()
    assert ran.status == 0 and [found.pid for found in here.killed] == [1]
    assert "stopped without a mark, so the next start will look like a failover" in ran.err


def test_what_waits_for_its_disk_is_ended_at_once(tec: Runner, instance: Instance, lease: Lease, here: Here) -> None:
    lease.release()
    here.found = [Found(1, "tec_master", "black", rejoins=True)]
    assert tec("stop").status == 0
    assert here.killed and marks.stopped(instance.ha)


# -- a switch that nobody could take ----------------------------------------------------------------------------------


@pytest.fixture
def pair(
    instance: Instance, lease: Lease, process: Process, here: Here, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[FakeProcess, dict[str, Any]]]:
    """black is active, brown stands by with the status that may be changed. A start would be a failure."""
    status: dict[str, Any] = {"state": "standby", "reasons": []}
    here.found = [Found(1, "tec_master", "black"), Found(2, "tec_master", "brown")]
    active = process("master", lambda *_: None)
    process("master", lambda *_: status, node="brown")
    monkeypatch.setattr(server_start, "start_daemon", lambda *_: pytest.fail("nothing was ended"))
    yield active, status


@pytest.mark.parametrize("arguments", [(), ("--to", "brown")])
def test_a_switch_to_a_node_that_would_not_take_over_is_refused(
    tec: Runner, pair: tuple[FakeProcess, dict[str, Any]], arguments: tuple[str, ...]
) -> None:
    active, status = pair
    status["reasons"] = ["this node would not take over: /srv/rx: No space left on device"]
    ran = tec("switch", *arguments)
    assert ran.status == 1 and active.calls == []
    assert "node brown: this node would not take over: /srv/rx: No space" in ran.err
    assert "node black goes on" in ran.err


@pytest.mark.parametrize("arguments", [(), ("--to", "brown")])
@pytest.mark.parametrize("what", ["block", "mark"])
def test_a_switch_on_a_full_disk_is_refused(
    tec: Runner,
    instance: Instance,
    lease: Lease,
    pair: tuple[FakeProcess, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    what: str,
) -> None:
    if what == "mark":
        read_only(monkeypatch)
    else:
        fsync = os.fsync

        def full(descriptor: int) -> None:
            if os.fstat(descriptor).st_size >= epochs.BLOCK:
                raise OSError(errno.ENOSPC, "No space left on device")
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", full)
    ran = tec("switch", *arguments)
    assert ran.status == 1 and pair[0].calls == []
    assert "no node could take over, so node black goes on: " in ran.err
    assert ("Read-only" if what == "mark" else "No space left on device; check its mount") in ran.err
    assert marks.switch_requested(instance.ha, lease.epoch) is None
    assert not list(instance.ha.glob(".claim.*"))
