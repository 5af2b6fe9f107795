"""How a process below the master ends: exit statuses, last words, and no traceback for what is expected."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from opentec.ha import epochs
from opentec.log.errors import LogMismatch
from opentec.rim.errors import Superseded
from opentec.server import child as module
from opentec.server.child import (
    EXIT_DEMOTE,
    EXIT_FAILED,
    EXIT_FATAL,
    EXIT_SUPERSEDED,
    Context,
    Demote,
    Fatal,
    Restart,
    _guarded,
    reset_words,
)
from opentec.server.intake import EpochSuperseded
from opentec.server.progress import Word


async def ends(context: Context, error: BaseException | None) -> int:
    async def main(_: Context) -> None:
        await asyncio.sleep(0)
        if error is not None:
            raise error

    return await asyncio.wait_for(_guarded("rule", context, main), 20)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Superseded(1, 2), EXIT_SUPERSEDED),
        (EpochSuperseded("another node"), EXIT_SUPERSEDED),
        (Fatal("a reason"), EXIT_FATAL),
        (LogMismatch("a reason"), EXIT_FATAL),
        (Demote("a reason"), EXIT_DEMOTE),
        (Restart("a reason"), EXIT_FAILED),
        (None, EXIT_FAILED),
    ],
)
async def test_expected_ends(
    context: Context, error: BaseException | None, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert await ends(context, error) == status
    assert all(record.exc_info is None for record in caplog.records)
    said = context.runtime / "fatal"
    assert said.exists() == (status in (EXIT_FATAL, EXIT_DEMOTE))
    if said.exists():
        assert said.read_text().startswith("tec_rule: ") and "a reason" in said.read_text()


async def test_an_unexpected_error_is_logged_with_its_traceback(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    assert await ends(context, ZeroDivisionError("x")) == EXIT_FAILED
    assert caplog.records[-1].exc_info is not None


@pytest.mark.parametrize(("error", "status"), [(Fatal("x"), EXIT_FATAL), (Demote("x"), EXIT_DEMOTE)])
async def test_last_words_that_cannot_be_written_do_not_change_the_end(
    context: Context, error: BaseException, status: int
) -> None:
    context.runtime.rmdir()
    assert await ends(context, error) == status


@pytest.mark.parametrize("error", [Fatal("the log has records of epoch 2"), LogMismatch("x"), Demote("x")])
async def test_what_a_superseded_process_stumbles_over_is_its_successor_s_work(
    context: Context, error: BaseException
) -> None:
    started = asyncio.Event()

    async def main(_: Context) -> None:
        await started.wait()
        raise error

    running = asyncio.ensure_future(_guarded("rule", context, main))
    await asyncio.sleep(0)
    epochs.path_of(context.instance.ha, 2).touch()
    started.set()
    assert await asyncio.wait_for(running, 20) == EXIT_SUPERSEDED


async def test_a_newer_epoch_ends_an_idle_process_and_comes_before_any_other_reason(context: Context) -> None:
    epochs.path_of(context.instance.ha, 2).touch()
    assert await ends(context, None) == EXIT_SUPERSEDED

    async def main(_: Context) -> None:
        raise ZeroDivisionError  # in the same turn

    assert await _guarded("rule", context, main) == EXIT_SUPERSEDED


async def test_beats(context: Context) -> None:
    beating = asyncio.ensure_future(module._beat(context, 1))
    await asyncio.sleep(0)
    assert context.progress[Word.BEAT_RULE] > 0
    beating.cancel()


def test_words_before_a_start(context: Context) -> None:
    page = context.progress
    page.ready(1)
    page[Word.PROCESSED] = 7
    reset_words(page, 0)
    assert page[Word.PROCESSED] == 7
    reset_words(page, 1)
    assert page[Word.PROCESSED] == 0 and not page[Word.READY_RULE] and page[Word.BEAT_RULE] > 0
    # reception that ended while its sockets were not read: the next one begins with reading them
    page[Word.PAUSED] = page[Word.SYNC_SINCE] = page[Word.CONNECTIONS] = 1
    reset_words(page, 0)
    assert not page[Word.PAUSED] and not page[Word.SYNC_SINCE] and not page[Word.CONNECTIONS]


CHILD = """
import os, sys
from pathlib import Path
from tests.server.kit import make_context, make_instance
from opentec.server.child import run_child
context = make_context(make_instance(Path(sys.argv[1])))
async def main(context):
    inherited = [name for name in os.listdir("/proc/self/fd") if int(name) > 2 and
                 "tec_master" in os.path.realpath(f"/proc/self/fd/{name}")]
    title = Path("/proc/self/cmdline").read_bytes().split(b"\\0")[0].decode()
    (context.runtime / "seen").write_text(f"{title} {inherited}")
open(sys.argv[1] + "/tec_master.lock", "w").close()
keep = os.open(sys.argv[1] + "/tec_master.lock", os.O_RDONLY)
os.set_inheritable(keep, True)
master = os.getpid() if sys.argv[2] == "here" else 1
pid = os.fork()
if pid == 0:
    run_child("task", context, main, master)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print((context.runtime / "seen").read_text() if (context.runtime / "seen").exists() else "nothing")
"""


@pytest.mark.parametrize("where", ["here", "gone"])
def test_first_acts_of_a_forked_child(tmp_path: Any, where: str) -> None:
    directory = tmp_path / "tec"
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, str(directory), where], capture_output=True, text=True, timeout=60, check=True
    )
    status, seen = ran.stdout.splitlines()
    assert status == str(EXIT_FAILED), ran.stderr
    # with its master gone it does nothing at all
    assert seen == (f"tec_task -d {directory} --node black []" if where == "here" else "nothing")
