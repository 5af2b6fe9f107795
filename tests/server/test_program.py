"""One program: its end, its limits, its output, and what is not run at all."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from opentec.server import program as module
from opentec.server.library import TaskRefused
from opentec.server.program import Ended, find_program, run_program

PATH = "/usr/bin:/bin"


async def execute(*argv: str, directory: Path = Path("/"), limit: float = 20, kept: int = 4096, **env: str) -> Ended:
    return await run_program(
        argv,
        executable=find_program(argv[0], directory, PATH),
        environment={"PATH": PATH, **env},
        directory=directory,
        time_limit=limit,
        output_limit=kept,
    )


def sh(text: str, **more: Any) -> Any:
    return execute("/bin/sh", "-c", text, **more)


async def test_the_exit_status_decides() -> None:
    assert await execute("true") == (0, "", True)
    assert await sh("echo out; echo err >&2; exit 3") == (3, "out\nerr\n", False)


async def test_it_has_no_input_and_only_the_environment_that_is_given(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("SECRET", "x")
    status, output, _ = await sh('cat; echo "$hostname [$SECRET] $(pwd)"', directory=tmp_path, hostname="web1")
    assert (status, output) == (0, f"web1 [] {tmp_path}\n")


async def test_only_the_end_of_the_output_is_kept() -> None:
    assert await sh("echo 0123456789abc", kept=10) == (0, "456789abc\n", True)
    assert await sh("echo 0123456789abc", kept=0) == (0, "", True)
    status, output, _ = await sh("seq 1 100000; printf '\\377end'", kept=8)
    assert (status, output) == (0, "000\n\ufffdend")


async def test_it_is_ended_after_its_time_limit() -> None:
    assert await execute("sleep", "1000", limit=0.01) == (-15, "ended after its time limit of 0.01 s", False)
    status, output, done = await sh("echo begun; exec sleep 1000", limit=0.3)
    assert (status, output, done) == (-15, "begun\nended after its time limit of 0.3 s", False)


async def test_what_does_not_listen_is_killed(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "_GRACE", 0.01)
    status, _, done = await sh("trap '' TERM; while :; do sleep 1000; done", limit=0.3)
    assert (status, done) == (-9, False)


async def test_its_group_is_ended_with_it(tmp_path: Path) -> None:
    # the child of the shell ignores SIGTERM, which the shell does not
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    opening = asyncio.ensure_future(asyncio.to_thread(open, fifo, "rb"))
    await sh(f"(trap '' TERM; exec sleep 1000 >{fifo}) & sleep 1000", limit=0.3)
    file = await asyncio.wait_for(opening, 20)
    assert await asyncio.wait_for(asyncio.to_thread(file.read), 20) == b""
    file.close()


async def test_what_it_leaves_behind_is_not_waited_for_and_lives_on(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    started = asyncio.get_running_loop().time()
    assert await sh(f"sleep 1000 & echo $! >{note}; echo done") == (0, "done\n", True)
    assert asyncio.get_running_loop().time() - started < 10
    os.kill(int(note.read_text()), signal.SIGKILL)


async def test_what_cannot_be_started_says_why(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("no interpreter\n")
    script.chmod(0o755)
    reason = "it is neither a program nor a script; a script begins with a line such as #!/bin/sh"
    assert await execute(str(script)) == (None, f"cannot run {script}: {reason}", False)
    script.write_text("#!/no/such/shell\n")
    assert (await execute(str(script))).output.endswith(": the program that its first line names (#!...) is not there")
    assert (await execute("true", "a\0b")).output == "cannot run true: embedded null byte"


async def test_a_program_is_killed_when_nobody_waits_for_it_any_more(tmp_path: Path) -> None:
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    running = asyncio.ensure_future(sh(f"exec sleep 1000 >{fifo}"))
    file = await asyncio.wait_for(asyncio.to_thread(open, fifo, "rb"), 20)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await asyncio.wait_for(asyncio.to_thread(file.read), 20) == b""
    file.close()


def test_where_a_program_is_looked_up(tmp_path: Path) -> None:
    script = tmp_path / "scripts" / "x.sh"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    assert find_program("scripts/x.sh", tmp_path, PATH) == str(script)
    assert find_program(str(script), Path("/"), PATH) == str(script)
    assert find_program("sh", tmp_path, PATH) in ("/usr/bin/sh", "/bin/sh")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x.sh", "no such program; write scripts/x.sh for a file in "),
        ("scripts/gone.sh", "No such file or directory"),
        ("scripts/../scripts/x.sh", "'..' is not allowed"),
        ("scripts/x\0.sh", "a name holds no zero byte"),
        ("scripts/plain", "chmod +x makes a script one"),
        ("scripts", "no such program"),
        ("./scripts", "not an executable file"),
        ("scripts/open.sh", "anybody may write"),
        ("shared/x.sh", "anybody may replace what is in"),
    ],
)
def test_what_is_not_run(tmp_path: Path, name: str, message: str) -> None:
    for folder in ("scripts", "shared"):
        (tmp_path / folder).mkdir()
        for file in ("x.sh", "open.sh", "plain"):
            (tmp_path / folder / file).write_text("#!/bin/sh\n")
            (tmp_path / folder / file).chmod({"plain": 0o644, "open.sh": 0o757}.get(file, 0o755))
    (tmp_path / "shared").chmod(0o777)
    with pytest.raises(TaskRefused) as error:
        find_program(name, tmp_path, PATH)
    assert str(error.value).startswith(f"cannot run {name}: ") and message in str(error.value)


def test_a_sticky_folder_is_no_danger(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    (tmp_path / "x").chmod(0o755)
    tmp_path.chmod(0o1777)
    assert find_program("./x", tmp_path, PATH)
