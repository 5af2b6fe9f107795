"""Real processes: simultaneous claims, death, stop, and the end of a stale server."""

from __future__ import annotations

import dataclasses
import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from opentec.ha import fence, process
from opentec.ha.epochs import numbers
from opentec.ha.errors import FenceFailed
from opentec.ha.fence import Fenced, kill_stale
from opentec.ha.lease import EpochFile, Lease, holder_dead, newest

ROUNDS = 200

CLAIMANT = """
    import sys
    from pathlib import Path
    from opentec.ha.lease import Lease

    directory, node = Path(sys.argv[1]), sys.argv[2]
    held = None
    print("ready", flush=True)
    for line in sys.stdin:
        number = int(line)
        if held is not None:
            held.release()
        held = Lease.claim(directory, node, [], number)
        print("lost" if held is None else held.epoch, flush=True)
"""

Claimant = subprocess.Popen[str]


@pytest.fixture
def claimants(tmp_path: Path) -> Iterator[list[Claimant]]:
    """Two processes; each claims the successor of every number written to it."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(CLAIMANT), str(tmp_path), node],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for node in ("black", "brown")
    ]
    for child in started:
        assert hear(child) == "ready"
    yield started
    for child in started:
        child.kill()
        child.communicate()


def tell(child: Claimant, number: int) -> None:
    assert child.stdin is not None
    child.stdin.write(f"{number}\n")
    child.stdin.flush()


def hear(child: Claimant) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def holder(directory: Path) -> EpochFile:
    found = newest(directory)
    assert found is not None
    return found


def test_two_claims_at_the_same_moment_have_one_winner(tmp_path: Path, claimants: list[Claimant]) -> None:
    for number in range(ROUNDS):
        for child in claimants:
            tell(child, number)
        assert sorted(map(hear, claimants)) == sorted(["lost", str(number + 1)])
    assert numbers(tmp_path) == list(range(1, ROUNDS + 1))
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


def test_a_stop_keeps_the_lock_and_a_death_frees_it(tmp_path: Path, claimants: list[Claimant]) -> None:
    child = claimants[0]
    tell(child, 0)
    assert hear(child) == "1"
    os.kill(child.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED)
    assert not holder_dead(holder(tmp_path))
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert holder_dead(holder(tmp_path))


def test_a_stopped_holder_is_killed(tmp_path: Path, claimants: list[Claimant]) -> None:
    child = claimants[0]
    tell(child, 0)
    assert hear(child) == "1"
    os.kill(child.pid, signal.SIGSTOP)
    file = holder(tmp_path)
    assert kill_stale(file) is Fenced.KILLED
    assert holder_dead(file)
    # its zombie is still there, and nobody behind it
    assert kill_stale(file) is Fenced.GONE
    assert child.wait() == -signal.SIGKILL
    assert kill_stale(file) is Fenced.GONE


@pytest.mark.parametrize(
    ("change", "result"),
    [
        ({"start_time": 1}, Fenced.GONE),
        ({"boot_id": "another boot"}, Fenced.ELSEWHERE),
        ({"pid_namespace": "pid:[1]"}, Fenced.ELSEWHERE),
        ({"pid": 0}, Fenced.ELSEWHERE),
        ({"pid": os.getpid(), "start_time": process.start_time(os.getpid())}, Fenced.GONE),
    ],
)
def test_nobody_else_is_killed(
    tmp_path: Path, claimants: list[Claimant], change: dict[str, object], result: Fenced
) -> None:
    child = claimants[0]
    tell(child, 0)
    assert hear(child) == "1"
    assert kill_stale(dataclasses.replace(holder(tmp_path), **change)) is result  # type: ignore[arg-type]
    tell(child, 1)
    assert hear(child) == "2"


def test_what_cannot_be_killed_is_told(
    tmp_path: Path, claimants: list[Claimant], monkeypatch: pytest.MonkeyPatch
) -> None:
    child = claimants[0]
    tell(child, 0)
    assert hear(child) == "1"
    file = holder(tmp_path)
    sent: list[int] = []
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda _process, number: sent.append(number))
    with pytest.raises(FenceFailed, match=rf"node 'black', pid {child.pid}.*has not ended 0.001 s.*by hand"):
        kill_stale(file, patience=0.001)
    assert sent == [signal.SIGKILL]

    def refuse(*_arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    with pytest.raises(FenceFailed, match="Operation not permitted"):
        kill_stale(file)

    def vanish(*_arguments: object) -> None:
        raise ProcessLookupError(3, "No such process")

    monkeypatch.setattr(signal, "pidfd_send_signal", vanish)
    assert kill_stale(file) is Fenced.GONE
    monkeypatch.setattr(fence.os, "pidfd_open", refuse)
    with pytest.raises(FenceFailed, match="Operation not permitted"):
        kill_stale(file)


def test_a_name_with_brackets_does_not_hide_the_start_time(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    child = subprocess.Popen([str(program), "60"])
    try:
        began = process.start_time(child.pid)
        assert began is not None
        assert began > 1000
    finally:
        child.kill()
        child.wait()
    assert process.start_time(child.pid) is None


def test_a_child_that_forgets_does_not_hold_the_lease(tmp_path: Path) -> None:
    lease = Lease.claim(tmp_path, "black", [], 0)
    assert lease is not None
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        lease.forget()
        os.write(writing, b"x")
        time.sleep(60)
        os._exit(0)
    try:
        assert select.select([reading], [], [], 10)[0]
        assert not holder_dead(holder(tmp_path))
        os.close(lease.fileno())  # as the death of the parent would
        assert holder_dead(holder(tmp_path))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)


def test_where_the_kernel_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_more: object) -> None:
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr(Path, "readlink", refuse)
    assert (process.boot_id(), process.pid_namespace(), process.start_time(1)) == ("", "", None)
