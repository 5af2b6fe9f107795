"""Who is fenced, who never is, and how often the command is asked."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opentec.ha import epochs, marks
from opentec.ha.command import Fence
from opentec.ha.epochs import EpochFile
from opentec.ha.errors import FenceFailed
from opentec.ha.fence import Fenced
from opentec.ha.process import boot_id
from opentec.server import fencing as module
from opentec.server.child import Context
from opentec.server.fencing import Fencing
from opentec.server.instance import Instance
from opentec.server.progress import Trouble, Word
from opentec.server.report import stale_writer
from tests.server.kit import make_context, make_instance, until

NODES = '[nodes.black]\nlisten = "127.0.0.1:5529"\n[nodes.brown]\nlisten = "127.0.0.1:5530"\n'
COMMAND = '[ha]\nfence_command = ["/usr/sbin/fence", "{node}"]\n'


class Asked:
    """A stand-in for the fencing command, and the notices that were posted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.holders: list[int] = []
        self.answers: list[Any] = []
        self.posted: list[tuple[str, str]] = []
        self.now = 0
        monkeypatch.setattr(module, "fence", self.fence)

    async def fence(self, command: list[str], file: EpochFile, limit: float, lock: Path) -> Fence | None:
        assert command == ["/usr/sbin/fence", "{node}"] and limit == 60 and lock.name == "fence.lock"
        self.holders.append(file.number)
        answer = self.answers.pop(0)
        if isinstance(answer, asyncio.Future):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    async def post(self, name: str, severity: str, text: str) -> None:
        self.posted.append((name, text))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


Stale = Callable[..., None]


@pytest.fixture
def stale(tmp_path: Path) -> Iterator[Stale]:
    """Makes the epoch file of a holder that lives: its lock is held."""
    held: list[int] = []

    def make(number: int, node: str = "brown", **changes: Any) -> None:
        path = epochs.path_of(tmp_path / "tec" / "ha", number)
        holder = {"node": node, "pid": 7, "start_time": 1, "boot_id": "x", "pid_namespace": "y", "addresses": []}
        path.write_bytes(epochs.encode(holder | changes))
        descriptor = os.open(path, os.O_RDWR)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        held.append(descriptor)

    yield make
    for descriptor in held:
        os.close(descriptor)


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return make_instance(tmp_path / "tec", NODES + COMMAND)


@pytest.fixture
def context(instance: Instance) -> Context:
    return make_context(instance, 9)


def fencing(context: Context, asked: Asked) -> Fencing:
    return Fencing(context, asked.post, lambda: asked.now)


def trouble(context: Context) -> Trouble:
    return Trouble(context.progress[Word.REPOSITORY_TROUBLE])


async def test_success_gives_the_lock_time_to_go_and_is_told(context: Context, asked: Asked, stale: Stale) -> None:
    stale(8)
    found = fencing(context, asked)
    answer: asyncio.Future[Fence] = asyncio.get_running_loop().create_future()
    asked.answers = [answer, Fence(True, "")]
    for _ in range(5):  # the caller goes on trying to write; the command is asked once
        assert not await found.end_writer()
        assert trouble(context) is Trouble.ASKED
    await until(lambda: asked.holders)
    answer.set_result(Fence(True, "it is off"))
    await until(lambda: asked.posted)
    assert asked.posted == [("TEC_Notice", "node brown (epoch 8) was fenced, since it held the repository: it is off")]
    assert trouble(context) is Trouble.FENCED and asked.holders == [8]
    assert stale_writer(context.instance, context.progress) == "epoch 8, node brown"
    await found.end_writer()
    assert asked.holders == [8]
    asked.now += 60_000_000
    await found.end_writer()
    await until(lambda: asked.holders == [8, 8])
    found.settled()
    assert trouble(context) is Trouble.AWAY and stale_writer(context.instance, context.progress) == ""


async def test_the_pause_after_a_success_is_for_that_epoch_only(context: Context, asked: Asked, stale: Stale) -> None:
    stale(7)
    stale(8)
    found = fencing(context, asked)
    asked.answers = [Fence(True, ""), Fence(True, "")]
    await found.end_writer()
    await until(lambda: asked.posted)
    epochs.path_of(context.instance.ha, 8).unlink()
    await found.end_writer()
    await until(lambda: len(asked.posted) == 2)
    await found.end_writer()
    assert asked.holders == [8, 7]


async def test_failure_is_told_and_asked_again_ever_more_seldom(context: Context, asked: Asked, stale: Stale) -> None:
    stale(8)
    found = fencing(context, asked)
    asked.answers = [Fence(False, "exit status 1. no answer"), FenceFailed("no lock"), None, *[Fence(False, "no")] * 9]
    pauses = []
    while len(asked.holders) < 9:
        before, count = asked.now, len(asked.holders)
        while len(asked.holders) == count:
            await found.end_writer()
            await until(lambda: found._asked is None or found._asked.done())
            if len(asked.holders) == count:
                asked.now += 500_000
        pauses.append((asked.now - before) / 1e6)
    assert pauses == [0, 1, 2, 1, 4, 8, 16, 30, 30]
    assert asked.posted[0] == (
        "TEC_Error",
        "node brown (epoch 8) holds the repository and the fencing command failed: exit status 1. no answer; "
        "asked again in 1 s",
    )
    assert len(asked.posted) == 2, "at most one notice a minute"
    assert trouble(context) is Trouble.FAILED


@pytest.mark.parametrize(
    ("settings", "node", "epoch", "said"),
    [
        (NODES, "brown", 8, "no ha.fence_command is configured"),
        (NODES + COMMAND, "black", 8, "it bears this node's own name, which is never fenced"),
        (NODES + COMMAND, "blue", 8, "that is no node of tec_server.toml"),
        (NODES + COMMAND, "-rf", 8, "that is no node of tec_server.toml"),
    ],
)
async def test_who_is_not_fenced(
    tmp_path: Path, asked: Asked, stale: Stale, caplog: Any, settings: str, node: str, epoch: int, said: str
) -> None:
    context = make_context(make_instance(tmp_path / "tec", settings), 9)
    stale(epoch, node)
    found = fencing(context, asked)
    for _ in range(3):
        assert not await found.end_writer()
    assert found._asked is None and trouble(context) is Trouble.NO_COMMAND
    assert caplog.text.count(said) == 1


async def test_a_holder_that_has_ended_holds_nothing(context: Context, asked: Asked) -> None:
    holder = {"node": "brown", "pid": 7, "start_time": 1, "boot_id": "x", "pid_namespace": "y", "addresses": []}
    epochs.path_of(context.instance.ha, 8).write_bytes(epochs.encode(holder))
    assert not await fencing(context, asked).end_writer()
    assert trouble(context) is Trouble.LOCKED and context.progress[Word.FENCING] == 0


@pytest.mark.parametrize(("boot", "asks"), [("x", True), ("", False)])
async def test_a_node_that_gave_way_and_left_a_process_is_fenced_elsewhere(
    context: Context, asked: Asked, boot: str, asks: bool
) -> None:
    """Its lease is free, and its dispatch waits in the kernel with the database locked."""
    holder = {"node": "brown", "pid": 7, "start_time": 1, "boot_id": boot or boot_id(), "pid_namespace": "y"}
    epochs.path_of(context.instance.ha, 8).write_bytes(epochs.encode(holder | {"addresses": []}))
    asked.answers = [Fence(True, "")]
    found = fencing(context, asked)
    await found.end_writer()
    assert asked.holders == [] and trouble(context) is Trouble.LOCKED
    marks.mark_left(context.instance.ha, 8, "brown", [os.getpid()])
    await found.end_writer()
    if not asks:  # here it was killed, and more cannot be done
        assert found._asked is None and trouble(context) is Trouble.LOCKED
        return
    await until(lambda: asked.posted)
    assert asked.holders == [8]


async def test_a_node_that_stands_by_again_is_not_killed_for_its_old_epoch(
    context: Context, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It began anew in the same process: pid and start time still match, and only the lock tells."""
    killed: list[int] = []

    def kill(file: EpochFile) -> Fenced:
        killed.append(file.number)
        return Fenced.KILLED

    monkeypatch.setattr(module, "kill_stale", kill)
    for number in (7, 8):
        holder = {"node": "brown", "pid": os.getpid(), "start_time": 1, "boot_id": "x", "pid_namespace": "y"}
        epochs.path_of(context.instance.ha, number).write_bytes(epochs.encode(holder | {"addresses": []}))
    assert not await fencing(context, asked).end_writer()
    assert not killed and trouble(context) is Trouble.LOCKED


async def test_a_stale_writer_of_this_host_that_cannot_be_killed_is_fenced(
    context: Context, asked: Asked, stale: Stale, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def stuck(file: EpochFile) -> Fenced:
        raise FenceFailed("it has not ended 2 s after SIGKILL")

    stale(8)
    monkeypatch.setattr(module, "kill_stale", stuck)
    asked.answers = [Fence(True, "")]
    await fencing(context, asked).end_writer()
    await until(lambda: asked.posted)
    assert "it has not ended 2 s after SIGKILL" in caplog.text


async def test_a_superseded_server_fences_nobody(context: Context, asked: Asked, stale: Stale) -> None:
    stale(8)
    epochs.path_of(context.instance.ha, 10).touch()
    found = fencing(context, asked)
    await found.end_writer()
    assert found._asked is not None
    await found._asked
    assert asked.holders == []
