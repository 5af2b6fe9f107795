"""Processes that run tests or try mutants end with the one that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from opentec.testing.workers import workers
from tests.faults.harness import processes, wait_for
from tests.testing.kit import make_rule_base, write_spec
from tests.testing.pipe import Pipe


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    with Pipe(tmp_path / "pipe") as found:
        yield found


def endless(pipe: Pipe) -> str:
    """What makes a worker open the pipe, and then work for ever."""
    return f"import os; f = os.open({str(pipe.path)!r}, os.O_WRONLY); os.write(f, b'x')\nwhile True: pass"


def test_workers_begin_and_give_results() -> None:
    with workers(2, os.chdir, "/") as pool:
        assert list(pool.map(os.path.abspath, ["a", "b", "c"])) == ["/a", "/b", "/c"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, GeneratorExit])
def test_an_exception_does_not_wait_for_them(pipe: Pipe, error: type[BaseException]) -> None:
    with pytest.raises(error), workers(1, len, "") as pool:
        running, waiting = pool.submit(exec, endless(pipe)), pool.submit(exec, endless(pipe))
        pipe.begun(1)
        raise error
    pipe.ended()
    assert isinstance(running.exception(), BrokenProcessPool)
    assert waiting.cancelled() or isinstance(waiting.exception(), BrokenProcessPool)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_they_end_with_the_one_that_started_them(pipe: Pipe, number: signal.Signals) -> None:
    """One that works, and one that waits for work."""
    code = (
        "import os, sys; from opentec.testing.workers import workers\n"
        "with workers(2, os.open, sys.argv[2], os.O_WRONLY) as pool:\n"
        "    pool.submit(len, ''), pool.submit(exec, sys.argv[1]), pool.submit(exec, sys.argv[1]).result()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, endless(pipe), str(pipe.path)])
    pipe.begun(2)
    process.send_signal(number)
    assert process.wait() == -number
    pipe.ended()


MUTABLE = """
rule: full: ( event: _e of_class 'Disk_Full' where [drive: within ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i']],
  reception_action: (set_timer(_e, 1, 'again')) ).
timer_rule: again: (event: _e of_class 'Disk_Full', timer_info: equals 'again', action: (set_timer(_e, 1, 'again'))).
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("options", [["--mutate", "-j", "2"], ["-j", "2"]], ids=["mutate", "test"])
def test_a_killed_command_leaves_no_process(tmp_path: Path, options: list[str]) -> None:
    base = make_rule_base(tmp_path / "base", MUTABLE)
    steps = "".join(f"      - {{at: {n}h, event: {{class: Disk_Full, drive: a}}}}\n" for n in range(3))
    for name in ("a", "b"):
        write_spec(base, steps, name=f"tests/{name}.yaml")
    command = [sys.executable, "-m", "opentec.commands.main", "test", str(base), "--no-cache", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)

    def of_session() -> list[str]:
        return [one.title for one in processes() if _session(one.pid) == process.pid]

    def is_at_work() -> bool:
        assert process.poll() is None, "it ended before it could be killed"
        return len([title for title in of_session() if "spawn_main" in title]) == 2

    wait_for("two workers", is_at_work)
    process.kill()
    process.wait()
    wait_for("no process is left", lambda: not of_session())


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1
