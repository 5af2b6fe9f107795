"""`tec probe`: one line, one exit status, and never later than its deadline."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opentec.adapters.sign import LifeSign
from opentec.commands import probe as module
from opentec.commands import processes
from opentec.commands.cli import Failure
from opentec.commands.probe import judge, probe_adapter
from opentec.commands.processes import Found
from opentec.server.errors import Refused
from opentec.server.instance import Instance
from tests.commands.running import FakeProcess, Runner

Process = Callable[..., FakeProcess]


def report(**values: Any) -> dict[str, Any]:
    """What a healthy master says, as far as a probe looks."""
    return {"node": "black", "state": "up", "healthy": True, "reasons": [], "causes": [], "epoch": 3} | values


def ill(text: str = "tec_rule shows no sign of life for 7 s", restart: bool = True) -> dict[str, Any]:
    return report(healthy=False, reasons=[text], causes=[{"code": "x", "since": 7.0, "restart": restart}])


@pytest.fixture(autouse=True)
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Found]]:
    """The processes that are found on this host."""
    found: list[Found] = []
    monkeypatch.setattr(processes, "find", lambda directory: list(found))
    yield found


@pytest.mark.parametrize(
    ("said", "asked", "standby", "green"),
    [
        (report(), ["ready"], False, True),
        (report(), ["live", "startup", "ready"], False, True),
        (ill(), ["ready"], False, False),
        (ill(), ["live"], False, False),
        (ill(), ["startup"], False, True),
        (ill("the repository does not answer", restart=False), ["live"], False, True),
        (ill("the repository does not answer", restart=False), ["live", "ready"], False, False),
        (report(state="starting", healthy=False), ["live"], False, True),
        (report(state="starting", healthy=False), ["live", "startup"], False, False),
        (report(state="stopping", healthy=False), ["startup"], False, False),
        (report(state="standby", healthy=False, epoch=None), ["ready"], False, False),
        (report(state="standby", healthy=False, epoch=None), ["startup"], False, False),
        (report(state="standby", healthy=False, epoch=None), ["live", "startup", "ready"], True, True),
        (report(state="standby", healthy=False, reasons=["its disk"]), ["ready"], True, False),
        (report(state="starting", healthy=False), ["ready"], True, False),
    ],
)
def test_what_is_green(said: dict[str, Any], asked: list[str], standby: bool, green: bool) -> None:
    assert (judge(said, asked, standby).status == 0) is green


def test_a_line_names_node_state_epoch_and_the_first_reasons() -> None:
    said = report(healthy=False, reasons=["one", "two", "three", "four", "five"])
    assert judge(said, ["ready"], False).text == "node black is up, epoch 3: one; two; three; and 2 more"
    assert judge(report(state="standby", epoch=None), ["live"], False).text == "node black stands by"


def test_green_is_0(tec: Runner, instance: Instance, process: Process) -> None:
    process("master", lambda *_: report())
    assert tec("probe", "--node", "black") == (0, "green: node black is up, epoch 3\n", "")
    assert tec("probe", instance.directory, "--node", "black", "--live", "--startup", "--ready").status == 0


def test_red_is_1_with_the_reason(tec: Runner, process: Process) -> None:
    process("master", lambda *_: ill())
    ran = tec("probe", "--node", "black")
    assert (ran.status, ran.err) == (1, "")
    assert ran.out == "red: node black is up, epoch 3: tec_rule shows no sign of life for 7 s\n"


def test_json(tec: Runner, process: Process) -> None:
    process("master", lambda *_: ill())
    ran = tec("probe", "--node", "black", "--live", "--startup", "--json")
    assert ran.status == 1
    said = json.loads(ran.out)
    assert (said["probe"], said["green"], said["status"]) == (["live", "startup"], False, 1)
    assert "no sign of life" in said["reason"]


def test_certainly_not_running_is_3(tec: Runner, instance: Instance) -> None:
    assert tec("probe", "--node", "black") == (3, "stopped: node black does not run\n", "")


def test_processes_without_a_master_are_red(tec: Runner, instance: Instance, running: list[Found]) -> None:
    running += [Found(7, "tec_rule", "black"), Found(8, "tec_master", "brown")]
    ran = tec("probe", "--node", "black")
    assert ran.status == 1
    assert "tec_master is gone" in ran.out and "tec_rule (7)" in ran.out and "(8)" not in ran.out


def test_a_master_that_does_not_answer_is_red_in_time(tec: Runner, process: Process, running: list[Found]) -> None:
    running.append(Found(7, "tec_master", "black"))
    held = threading.Event()
    process("master", lambda *_: held.wait(30))
    begun = time.monotonic()
    ran = tec("probe", "--node", "black", "--timeout", "0.2")
    held.set()
    assert ran.status == 1
    assert "tec_master does not answer" in ran.out
    assert time.monotonic() - begun < 10


def test_the_deadline_holds_whatever_blocks(tec: Runner, instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount that hangs, say: the deadline is not only that of the socket."""
    monkeypatch.setattr(processes, "find", lambda directory: threading.Event().wait(30))
    assert tec("probe", "--node", "black", "--timeout", "0.1") == (1, "red: no answer within 0.1 s\n", "")


def test_a_refusal_is_red(tec: Runner, process: Process) -> None:
    def refuse(*_: Any) -> Any:
        raise Refused("not you")

    process("master", refuse)
    assert tec("probe", "--node", "black") == (1, "red: node black: not you\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("/nowhere",), "is not an instance directory"),
        (("--node", "blcak"), "is not in"),
        (("--node", "black", "--timeout", "0"), "more than 0 seconds"),
        (("--adapter", "/nowhere/tecad.conf"), "/nowhere/tecad.conf: No such file"),
    ],
)
def test_what_cannot_be_asked_is_2(tec: Runner, instance: Instance, arguments: tuple[str, ...], said: str) -> None:
    ran = tec("probe", *arguments)
    assert ran.status == 2
    assert said in ran.err


# -- adapters ---------------------------------------------------------------------------------------------------------


class FakeProc:
    """A /proc with one process and one lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "proc"
        (self.folder / "7").mkdir(parents=True)
        (self.folder / "self").mkdir()
        (self.folder / "locks").write_text("")
        self.state("S")
        self.title("sleep")
        self.switches(1)

    def state(self, letter: str) -> None:
        (self.folder / "7" / "stat").write_text(f"7 (tec (x) ad) {letter} 1 7 7 0")

    def title(self, text: str) -> None:
        (self.folder / "7" / "cmdline").write_bytes(text.encode() + b"\0\0\0")

    def switches(self, count: int) -> None:
        lines = f"Name:\ttecad\nvoluntary_ctxt_switches:\t{count}\nnonvoluntary_ctxt_switches:\t0\n"
        (self.folder / "7" / "status").write_text(lines)

    def threads(self, *letters: str) -> None:
        for number, letter in enumerate(letters, 7):
            (self.folder / "7" / "task" / str(number)).mkdir(parents=True)
            (self.folder / "7" / "task" / str(number) / "stat").write_text(f"{number} (tecad) {letter} 1 7 7 0")

    def lock(self, file: Path, pid: int = 7) -> None:
        inode = file.stat().st_ino
        lines = [
            f"1: POSIX  ADVISORY  WRITE 99 fe:01:{inode} 0 EOF",
            f"2: FLOCK  ADVISORY  WRITE {pid} fe:01:{inode} 0 EOF",
        ]
        (self.folder / "locks").write_text("1: FLOCK ADVISORY\n" + "\n".join(lines) + "\n")


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path)


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "tecad.conf"
    path.write_text(f"ServerLocation=h\nNodeName=n\nBufEvtPath={tmp_path}/buffer\nLogSources=/x\nPollInterval=0.05\n")
    return path


def turning(proc: FakeProc, monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapter's loop turns whenever the probe waits."""
    count = iter(range(2, 1000))
    monkeypatch.setattr(time, "sleep", lambda seconds: proc.switches(next(count)))


def test_an_adapter_is_found_by_its_configuration(proc: FakeProc, conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe_adapter(conf, 1.0, proc.folder).status == 3, "nothing runs"
    proc.title(f"tecad_logfile -c {conf}x")
    assert probe_adapter(conf, 1.0, proc.folder).status == 3, "another one runs"
    proc.title(f"tecad_logfile -c {conf}")
    turning(proc, monkeypatch)
    assert probe_adapter(conf, 1.0, proc.folder) == (0, "the adapter runs, pid 7")


def test_an_adapter_is_found_by_its_buffer(proc: FakeProc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = tmp_path / "buffer"
    buffer.mkdir()
    assert probe_adapter(buffer, 1.0, proc.folder).status == 3, "it never ran"
    (buffer / "lock").touch()
    assert probe_adapter(buffer, 1.0, proc.folder).status == 3, "nobody holds the lock"
    proc.lock(buffer / "lock")
    turning(proc, monkeypatch)
    assert probe_adapter(buffer, 3.0, proc.folder).status == 0
    proc.lock(buffer / "lock", pid=8)
    assert probe_adapter(buffer, 3.0, proc.folder).status == 3, "it has ended meanwhile"


@pytest.mark.parametrize(("letter", "status"), [("T", 1), ("t", 1), ("Z", 3), ("X", 3)])
def test_a_stopped_adapter_is_red_and_a_dead_one_does_not_run(
    proc: FakeProc, conf: Path, letter: str, status: int
) -> None:
    proc.title(f"tecad_logfile -c {conf}")
    proc.state(letter)
    assert probe_adapter(conf, 1.0, proc.folder).status == status


def test_a_loop_that_hangs_is_red(proc: FakeProc, conf: Path) -> None:
    proc.title(f"tecad_nt -c {conf}")
    assert probe_adapter(conf, 1.0, proc.folder) == (1, "the adapter (pid 7) shows no sign of life for 0.1 s")
    assert probe_adapter(conf, 0.05, proc.folder).status == 0, "no time to tell"


def test_an_adapter_that_ends_under_the_look_is_red(
    proc: FakeProc, conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc.title(f"tecad_nt -c {conf}")
    monkeypatch.setattr(time, "sleep", lambda seconds: (proc.folder / "7" / "status").unlink())
    assert probe_adapter(conf, 1.0, proc.folder).status == 1


def test_a_configuration_that_is_not_right_cannot_be_asked(proc: FakeProc, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.conf"
    wrong.write_text("PolInterval=1\n")
    with pytest.raises(Failure, match="PollInterval"):
        probe_adapter(wrong, 1.0, proc.folder)


def test_the_configuration_of_the_other_adapter_is_right_too(
    proc: FakeProc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nt = tmp_path / "nt.conf"
    nt.write_text(
        f"ServerLocation=h\nBufEvtPath={tmp_path}/buffer\nLogSources=/x.jsonl\nPreFilter:Log=Security\n"
        "NumEventsToCatchUp=0\nPollInterval=0.05\n"
    )
    proc.title(f"tecad_nt -c {nt}")
    turning(proc, monkeypatch)
    assert probe_adapter(nt, 1.0, proc.folder).status == 0
    nt.write_text(nt.read_text() + "PolInterval=1\n")
    with pytest.raises(Failure, match="PollInterval") as wrong:
        probe_adapter(nt, 1.0, proc.folder)
    assert "PreFilter" not in str(wrong.value)


# what an adapter says of itself


class Signing:
    """An adapter with pid 7 whose buffer is tmp_path/buffer, and its sign of life; `now` in seconds since the boot."""

    def __init__(self, proc: FakeProc, folder: Path, poll: float) -> None:
        folder.mkdir()
        (folder / "lock").write_text("7\n")
        proc.lock(folder / "lock")
        self.now = 100.0
        self.life = LifeSign(folder, poll, self.clock)
        self._proc, self._folder = proc.folder, folder

    def clock(self) -> int:
        return round(self.now * 1e6)

    def says(self, **values: Any) -> None:
        self.life.completed(**{"full": False, "waiting": 0, "connected": True} | values)
        self.life.write()

    def probe(self, path: Path | None = None, after: float = 0.0) -> module.Verdict:
        clock = lambda: round((self.now + after) * 1e6)  # noqa: E731
        return probe_adapter(path or self._folder, 2.0, self._proc, clock)


@pytest.fixture
def signing(proc: FakeProc, tmp_path: Path) -> Iterator[Signing]:
    found = Signing(proc, tmp_path / "buffer", 1.0)
    yield found
    found.life.close()


def test_an_adapter_that_has_just_started_is_green(signing: Signing) -> None:
    assert signing.probe() == (0, "the adapter runs, pid 7, no server answers, 0 events in the buffer")


def test_what_waits_and_whether_a_server_is_there(signing: Signing, proc: FakeProc, conf: Path) -> None:
    proc.title(f"tecad_logfile -c {conf}")
    signing.says(waiting=1)
    for path in (None, conf):
        assert signing.probe(path) == (0, "the adapter runs, pid 7, connected, 1 event in the buffer")


def test_a_full_buffer_is_green_and_said(signing: Signing) -> None:
    signing.says(full=True, waiting=500, connected=False)
    said = "the adapter runs, pid 7, no server answers, 500 events in the buffer, which is full: reading waits until"
    assert signing.probe() == (0, f"{said} there is room")


def test_reading_that_does_not_come_round_is_red(signing: Signing) -> None:
    signing.says()
    assert signing.probe(after=10.0).status == 0
    assert signing.probe(after=14.0) == (1, "the adapter (pid 7) has read nothing for 14 s: its reading hangs")


def test_an_interval_of_minutes_is_waited_for(proc: FakeProc, tmp_path: Path) -> None:
    with Signing(proc, tmp_path / "slow", 120.0).life as life:
        assert life is not None
        clock = [lambda seconds=seconds: (100 + seconds) * 1_000_000 for seconds in (360, 361)]
        assert [probe_adapter(tmp_path / "slow", 2.0, proc.folder, each).status for each in clock] == [0, 1]


def test_why_nothing_is_read(signing: Signing, proc: FakeProc) -> None:
    signing.life.failed()
    signing.life.write()
    assert "its buffer cannot be written; its messages say why" in signing.probe(after=14.0).text
    signing.says()
    proc.threads("S", "D")
    assert signing.probe(after=14.0).text.endswith("14 s: a thread of it waits for a disk")
    assert signing.probe().status == 0, "for a moment every thread may"


def test_a_stopped_adapter_is_red_whatever_it_says(signing: Signing, proc: FakeProc) -> None:
    proc.state("T")
    assert "stopped by a signal" in signing.probe().text


def test_a_sign_of_another_boot_is_none(signing: Signing) -> None:
    """The loop is looked at, which does not turn here, and the timeout is not long enough to tell."""
    assert signing.probe(after=-1.0) == (0, "the adapter runs, pid 7")


def test_the_sign_of_a_buffer_in_memory(signing: Signing, proc: FakeProc, tmp_path: Path) -> None:
    memory = tmp_path / "memory.conf"
    memory.write_text("ServerLocation=h\nNodeName=n\nLogSources=/x\nBufferEvents=MEMORY_ONLY\nPollInterval=3\n")
    proc.title(f"tecad_logfile -c {memory}")
    assert signing.probe(memory).text == "the adapter runs, pid 7", "its files may not be looked at"
    hidden = tmp_path / "tecad_logfile.x1"
    (tmp_path / "buffer").rename(hidden)
    files = proc.folder / "7" / "fd"
    files.mkdir()
    (files / "0").symlink_to("/dev/null")
    (files / "1").symlink_to("/var/log/lock")
    assert signing.probe(memory).text == "the adapter runs, pid 7", "no such file is open"
    (files / "2").symlink_to(hidden / "lock")
    signing.says(waiting=3)
    assert "3 events in the buffer" in signing.probe(memory).text


def test_a_real_lock_is_found_without_taking_it(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert module._holder(file, Path("/proc")) is not None
    assert module._holder(file, Path("/proc")) is None


def test_a_probe_is_cheap(instance: Instance) -> None:
    """It runs every few seconds, for ever: nothing heavy is imported."""
    code = (
        "import sys; from opentec.commands.main import main\n"
        "try: main(['probe', '--node', 'black'])\n"
        "except SystemExit as end: print(end.code)\n"
        "heavy = ('pydantic', 'sqlalchemy', 'lark', 'asyncio', 'opentec.adapters')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines() == ["stopped: node black does not run", "3", "[]"]
