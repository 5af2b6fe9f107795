"""The fencing command: its argument list, its end, its time limit, and that it never runs twice at once."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from opentec.ha import command as module
from opentec.ha.command import Fence, arguments, check_command, fence
from opentec.ha.epochs import EpochFile
from opentec.ha.errors import FenceFailed

STALE = EpochFile(7, Path("epoch.7"), node="brown", pid=4242, addresses=("10.0.0.2:5529", "other"))
PYTHON = [sys.executable, "-I", "-S", "-c"]
NEVER = "import signal; signal.pause()"


class Gate:
    """What a command waits at, without a clock, until it is opened: it reads a pipe that nobody has written to."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._path = path
        self.wait = f"open({str(path)!r}).read()"

    def open(self) -> None:
        os.close(os.open(self._path, os.O_WRONLY))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["fence"], "the program 'fence' must be named from the root"),
        (["/f", "{nod}"], "'{nod}': there is no placeholder {nod}; did you mean {node}?"),
        (["/f", "x={zz}"], "there is no placeholder {zz}; known are node, pid, epoch, address"),
    ],
)
def test_a_command_that_cannot_be_right(command: list[str], message: str) -> None:
    with pytest.raises(ValueError) as error:
        check_command(command)
    assert message in str(error.value)


def test_placeholders_are_replaced_once_and_within_one_argument() -> None:
    check_command([])
    command = ["/f", "--plug={node}", "{epoch} {pid}", "{address}", "plain {} }{"]
    check_command(["/f", "{node}"])
    assert arguments(command[:4], STALE) == ["/f", "--plug=brown", "7 4242", "10.0.0.2:5529"]
    evil = EpochFile(7, Path("epoch.7"), node="{pid}; rm -rf /")
    assert arguments(["/f", "{node}", "{address}"], evil) == ["/f", "{pid}; rm -rf /", ""]


async def test_only_exit_status_0_is_success(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert await fence([*PYTHON, "print('off'); print('{node} is off')"], STALE, 20, lock) == Fence(
        True, "brown is off"
    )
    failed = await fence([*PYTHON, "print('no answer'); raise SystemExit(3)"], STALE, 20, lock)
    assert failed == Fence(False, "exit status 3. no answer")
    assert await fence([str(tmp_path / "none")], STALE, 20, lock) == Fence(
        False, f"cannot run {tmp_path / 'none'}: No such file or directory"
    )


async def test_it_is_killed_with_its_children_at_the_limit(tmp_path: Path) -> None:
    script = f"import os; os.fork(); print('waiting', flush=True); {NEVER}"
    found = await fence([*PYTHON, script], STALE, 0.5, tmp_path / "lock")
    assert found == Fence(False, "not done within 0.5 s, killed. waiting")


async def test_what_it_leaves_behind_is_not_waited_for(tmp_path: Path) -> None:
    """A child that keeps the output open does not make a command that said "done" a failure; the lock is held on."""
    lock, go = tmp_path / "lock", Gate(tmp_path / "go")
    script = f"""
import os
print("x" * 300000)
if not os.fork():
    {go.wait}
    os._exit(0)
print("it is off", flush=True)
os._exit(0)
"""
    assert await fence([*PYTHON, script], STALE, 60, lock) == Fence(True, "it is off")
    assert await fence([*PYTHON, "pass"], STALE, 20, lock) is None
    go.open()
    while _is_locked(lock):
        await asyncio.sleep(0.001)


async def test_never_twice_at_once_whoever_asks(tmp_path: Path) -> None:
    lock, go = tmp_path / "lock", Gate(tmp_path / "go")
    first = asyncio.ensure_future(fence([*PYTHON, go.wait], STALE, 30, lock))
    while not _is_locked(lock):
        await asyncio.sleep(0.001)
    assert await fence([*PYTHON, "pass"], STALE, 20, lock) is None
    go.open()
    assert await first == Fence(True, "")
    assert await fence([*PYTHON, "pass"], STALE, 20, lock) == Fence(True, "")


async def test_it_keeps_the_lock_when_who_asked_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, go = tmp_path / "lock", Gate(tmp_path / "go")
    spawn, spawned = asyncio.create_subprocess_exec, []

    async def remember(*words: str, **options: Any) -> Any:
        spawned.append(await spawn(*words, **options))
        return spawned[-1]

    monkeypatch.setattr(module.asyncio, "create_subprocess_exec", remember)
    first = asyncio.ensure_future(fence([*PYTHON, f"print('up', flush=True); {go.wait}"], STALE, 30, lock))
    while not _is_locked(lock):
        await asyncio.sleep(0.001)
    for _ in range(50):
        await asyncio.sleep(0.001)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert await fence([*PYTHON, "pass"], STALE, 20, lock) is None
    go.open()
    await spawned[0].wait()
    assert not _is_locked(lock)


async def test_one_that_never_ends_is_ended_by_who_comes_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asked is gone: nobody waits for it any more, and its limit must hold all the same."""
    lock, now = tmp_path / "lock", 0
    monkeypatch.setattr(module, "boottime_us", lambda: now)
    first = asyncio.ensure_future(fence([*PYTHON, NEVER], STALE, 30, lock))
    while not _is_locked(lock) or not lock.read_text():
        await asyncio.sleep(0.001)
    now = 35_000_000
    assert await fence([*PYTHON, "pass"], STALE, 20, lock) is None
    assert not first.done(), "until then it is the affair of who asked"
    now += 1
    assert await fence([*PYTHON, "pass"], STALE, 20, lock) is None
    assert await first == Fence(False, "exit status -9.")
    assert await fence([*PYTHON, "pass"], STALE, 20, lock) == Fence(True, "")


async def test_a_lock_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(FenceFailed, match="No such file or directory; the fencing command cannot be asked"):
        await fence([*PYTHON, "pass"], STALE, 20, tmp_path / "none" / "lock")


def _is_locked(path: Path) -> bool:
    if not path.exists():
        return False
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
