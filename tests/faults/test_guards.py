"""Guards: a fencing command for a stale writer elsewhere, giving way when the disk fails or hangs, health as progress.

Each has its negative control: the same course of events with the guard off does not end well.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from opentec.ha import epochs, readers
from tests.faults.checker import check
from tests.faults.client import Load, Sender
from tests.faults.courses import LATE, Course, Pause
from tests.faults.hand import Hand
from tests.faults.harness import ROOT, Cluster, wait_for

TTL = 1.0  # of the fast heartbeat


def causes(cluster: Cluster, node: str = "black") -> list[str]:
    status = cluster.status(node)
    return [cause["code"] for cause in status["causes"]] if status else []


def reasons(cluster: Cluster, node: str = "black") -> str:
    status = cluster.status(node)
    return "; ".join(status["reasons"]) if status else ""


def listed(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    done = cluster.tec("list", "--json", "-n", "0", "--class", name)
    return [json.loads(line) for line in done.stdout.splitlines()]


# -- a stale writer on another host ---------------------------------------------------------------------------------

COMMAND = """
import os, sys, time
node, pid, epoch, folder = sys.argv[1:]
with open(folder + "/asked", "a") as file:
    file.write(f"begin {node} {pid} {epoch}\\n")
time.sleep(0.3)
first = not os.path.exists(folder + "/tried")
open(folder + "/tried", "w").close()
with open(folder + "/asked", "a") as file:
    file.write(f"end\\n")
print("no answer from its power switch" if first else "it is off")
if not first:
    open(folder + "/fenced", "w").close()
sys.exit(first)
"""


class Elsewhere:
    """Brown, on another host: its lease names another boot, it beats no more, and it sits on the database's lock."""

    def __init__(self, cluster: Cluster, epoch: int) -> None:
        block = epochs.encode(
            {
                "node": "brown",
                "pid": 4242,
                "start_time": 1,
                "boot_id": "00000000-0000-4000-8000-00000000000b",
                "pid_namespace": "pid:[1]",
                "addresses": ["10.0.0.2:5529"],
            }
        )
        path = epochs.path_of(cluster.directory / "ha", epoch)
        self._lease = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        fcntl.flock(self._lease, fcntl.LOCK_EX)
        os.pwrite(self._lease, block, 0)
        self._database = sqlite3.connect(cluster.repository, isolation_level=None)
        self._database.execute("BEGIN IMMEDIATE")

    def die(self) -> None:
        self._database.close()
        os.close(self._lease)


@pytest.mark.parametrize("unsafe", ["", "unsafe:no-fencing"])
def test_a_stale_writer_on_another_host_is_fenced(tmp_path: Path, unsafe: str) -> None:
    folder = tmp_path / "fence"
    folder.mkdir()
    command = [sys.executable, "-I", "-c", COMMAND, "{node}", "{pid}", "{epoch}", str(folder)]
    with Cluster(tmp_path, ("black", "brown"), settings={"ha": {"fence_command": command}}) as cluster:
        cluster.start("black")
        cluster.stop()
        brown = Elsewhere(cluster, 2)
        try:
            cluster.start("black", unsafe or "unsafe:nothing")
            wait_for("black claims", lambda: (s := cluster.status("black")) and s["state"] == "up")
            with Hand() as hand:
                hand.deliver(cluster.servers[0], 5)  # the gap does not wait for the repository
                wait_for("status says why", lambda: "epoch 2, node brown" in reasons(cluster))
                if unsafe:
                    wait_for("and that nothing helps", lambda: "let ha.fence_command do that" in reasons(cluster))
                    status = wait_for(
                        "longer than two calls of the command would take",
                        lambda: (s := cluster.status("black")) and s["causes"][0]["since"] > 4 and s,
                    )
                    assert not status["healthy"] and not (folder / "asked").exists()
                    assert status["committed"] < status["durable"]
                    return
                wait_for("its failure is told", lambda: "the fencing command failed" in reasons(cluster))
                assert cluster.tec("status").returncode == 1
                wait_for("brown is fenced", (folder / "fenced").exists)
                brown.die()
                cluster.wait_up("black")
                assert (folder / "asked").read_text().splitlines() == ["begin brown 4242 2", "end"] * 2
                wait_for("both are told", lambda: listed(cluster, "TEC_Error") and len(listed(cluster, "TEC_Notice")))
                (error,) = listed(cluster, "TEC_Error")
                assert "exit status 1. no answer from its power switch" in error["msg"]
                assert any("node brown (epoch 2) was fenced" in event["msg"] for event in listed(cluster, "TEC_Notice"))
                cluster.stop()
                verdict = check(cluster.directory, [hand.promise])
                assert verdict.sound and verdict.stored == 5, verdict
        finally:
            brown.die() if not (folder / "fenced").exists() else None


# -- a disk that hangs or fails -------------------------------------------------------------------------------------


@pytest.mark.parametrize("unsafe", ["", "unsafe:no-self-demotion"])
def test_a_disk_that_hangs_gives_way(tmp_path: Path, unsafe: str) -> None:
    """The group is never acknowledged by black. Without the guard nobody serves for as long as the disk hangs."""
    pause = Pause(tmp_path, "rx.syncing", "black")
    with Course(tmp_path, black=f"{pause.word},{unsafe}", brown="", disk_limit="auto") as course:
        pause.arm()
        course.hand.send(LATE)
        pause.wait_reached()
        if unsafe:
            slow = wait_for(
                "status says that the disk hangs",
                lambda: (s := course.cluster.status("black")) and any(c["code"] == "disk" for c in s["causes"]) and s,
            )
            assert not slow["healthy"]
            wait_for("it hangs for long", lambda: _since(course.cluster, "disk") > 3 * TTL)
            standing = course.cluster.status("brown")
            assert standing is not None and standing["state"] == "standby", "nobody serves"
            pause.release()
            assert course.hand.acknowledged(LATE)
            wait_for("it is told", lambda: "slow:" in course.cluster.tec("status").stdout)
        else:
            course.cluster.wait_up("brown")
            assert not course.hand.acknowledged(LATE)
            course.hand.deliver(course.brown, LATE)
            (notice,) = wait_for("the failover is told", lambda: listed(course.cluster, "TEC_Failover"))
            assert notice["reason"].startswith("gave way: making records durable has taken longer than 0.667 s")
            course.cluster.wait_standby("black")
        verdict = course.end()
        assert verdict.sound, verdict
        assert verdict.stored == LATE


def _since(cluster: Cluster, code: str) -> float:
    status = cluster.status("black")
    return max([cause["since"] for cause in status["causes"] if cause["code"] == code] if status else [], default=0.0)


@contextmanager
def faulty(tmp_path: Path, hooks: str = "") -> Iterator[tuple[Cluster, Path]]:
    """Black, whose disk does what a file says, and brown, which stands by."""
    fault = tmp_path / "fault"
    with Cluster(tmp_path, ("black", "brown"), disk_limit="auto") as cluster:
        environment = {**cluster.environment, "TEC_TEST_HOOKS": hooks}
        command = [sys.executable, "-m", "tests.faults.faulty", str(cluster.directory), "black", str(fault)]
        cluster._run(command, environment, True, 90)
        cluster.start("brown")
        yield cluster, fault


def nightly(*values: str) -> Any:
    return pytest.param(*values, marks=pytest.mark.nightly)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        # the trial that is made every second may be the first to meet it
        ("fdatasync EIO", "Input/output error"),
        nightly("fdatasync EROFS", "Read-only file system"),
        ("beat EROFS", "the lease cannot be renewed: [Errno 30] Read-only file system"),
        nightly("beat ENOSPC", "the lease cannot be renewed: [Errno 28] No space left on device"),
    ],
)
def test_a_disk_that_fails_gives_way(tmp_path: Path, what: str, said: str) -> None:
    with faulty(tmp_path) as (cluster, fault), Hand() as hand:
        hand.deliver(cluster.servers[0], 5)
        fault.write_text(what)
        if what.startswith("fdatasync"):
            hand.send(LATE)
            assert not hand.acknowledged(LATE), "no acknowledgement without durability"
        cluster.wait_up("brown")
        hand.deliver(cluster.servers[1], LATE)
        (notice,) = wait_for("the failover is told", lambda: listed(cluster, "TEC_Failover"))
        assert notice["reason"].startswith("gave way: ") and said in notice["reason"]
        cluster.wait_standby("black")  # it began anew, and its disk is sound
        cluster.stop()
        verdict = check(cluster.directory, [hand.promise])
        assert verdict.sound and verdict.stored == LATE, verdict


def test_an_idle_node_notices_that_its_disk_died(tmp_path: Path) -> None:
    with faulty(tmp_path) as (cluster, fault):
        fault.write_text("fdatasync EIO")
        cluster.wait_up("brown")
        (notice,) = wait_for("the failover is told", lambda: listed(cluster, "TEC_Failover"))
        assert "Input/output error: this node cannot write there" in notice["reason"]


def test_without_the_guard_the_time_to_live_runs_out(tmp_path: Path) -> None:
    """A lease that cannot be renewed: the standby must wait, and takes over from one that still believes it serves."""
    with faulty(tmp_path, "unsafe:no-self-demotion") as (cluster, fault):
        fault.write_text("beat EROFS")
        cluster.wait_up("brown")
        (notice,) = wait_for("the failover is told", lambda: listed(cluster, "TEC_Failover"))
        assert notice["reason"].startswith("no beat for 1.")


def test_a_node_whose_own_disk_fails_gives_way_and_rests(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    with Cluster(tmp_path, ("black", "brown"), settings={"ha": {"local_disks": [str(own)]}}) as cluster:
        cluster.start("black")
        own.rename(tmp_path / "gone")
        master = cluster.process("black", "tec_master")
        wait_for("black gives way", lambda: not cluster.status("black"))
        refused = cluster.tec("start", node="brown")
        assert refused.returncode == 1 and f"{own}: it cannot be written: No such file" in refused.stderr
        assert master.alive, "it waits until the disk is mended"
        (tmp_path / "gone").rename(own)
        cluster.wait_up("black", patience=60)


# -- health is progress ---------------------------------------------------------------------------------------------


def test_each_trouble_turns_status_red_and_green_again(tmp_path: Path) -> None:
    settings = {"supervision": {"hang_after": 6.0, "stuck_after": 1, "restarts": 1000}}
    with Cluster(tmp_path, settings=settings) as cluster, Hand() as hand:
        cluster.start()
        cluster.wait_up()
        done = cluster.tec("status")
        assert done.returncode == 0 and "connections" in done.stdout, "nobody is connected, and that is no trouble"
        assert "SQLite" in done.stdout or sqlite3.sqlite_version_info >= (3, 51, 3)

        rule = cluster.process("black", "tec_rule")
        rule.signal(_stop())
        hand.deliver(cluster.servers[0], 5)
        wait_for("a hung rule process", lambda: "hung" in causes(cluster))
        wait_for("a backlog that does not move", lambda: {"hung", "stuck"} <= set(causes(cluster)))
        done = cluster.tec("status", "--json")
        found = json.loads(done.stdout)
        assert done.returncode == 1 and not found["healthy"] and found["waiting_bytes"] > 0
        assert any("tec_rule shows no sign of life for" in reason for reason in found["reasons"])
        wait_for("it is replaced", lambda: not rule.alive)
        cluster.wait_up()
        assert cluster.tec("status").returncode == 0

        writer = sqlite3.connect(cluster.repository, isolation_level=None)
        try:
            writer.execute("BEGIN IMMEDIATE")  # nothing waits: it is noticed all the same
            wait_for(
                "a locked repository", lambda: "another process holds the repository's write lock" in reasons(cluster)
            )
            assert cluster.tec("status").returncode == 1
            hand.deliver(cluster.servers[0], LATE)
        finally:
            writer.close()
        cluster.wait_up()
        assert cluster.tec("status").returncode == 0
        cluster.stop()
        verdict = check(cluster.directory, [hand.promise])
        assert verdict.sound and verdict.stored == LATE, verdict


def _stop() -> Any:
    import signal

    return signal.SIGSTOP


def asked(cluster: Cluster, *probe: str) -> int:
    """The exit status of a probe of black."""
    return cluster.tec("probe", "--node", "black", "--timeout", "20", *probe).returncode


def test_a_transaction_that_does_not_end_is_red(tmp_path: Path) -> None:
    pause = Pause(tmp_path, "dispatch.checked", "black")
    settings = {"supervision": {"transaction_after": 1, "stuck_after": 120}}
    # a paused process must not be taken for a hung one
    with Cluster(tmp_path, hang_after=120, settings=settings) as cluster, Hand() as hand:
        cluster.start("black", pause.word)
        cluster.wait_up()
        pause.arm()
        hand.deliver(cluster.servers[0], LATE)
        pause.wait_reached()
        wait_for("a transaction that does not end", lambda: causes(cluster) == ["transaction"])
        done = cluster.tec("status", "--json")
        found = json.loads(done.stdout)
        (cause,) = found["causes"]
        assert done.returncode == 1 and not found["healthy"]
        assert "a transaction of the repository has not ended for" in found["reasons"][0]
        assert cause["code"] == "transaction" and cause["since"] > 1 and cause["restart"]
        assert (asked(cluster, "--live"), asked(cluster, "--startup")) == (1, 0), "a restart ends it; the port is open"
        pause.release()
        cluster.wait_up()
        assert cluster.tec("status").returncode == 0
        cluster.stop()
        verdict = check(cluster.directory, [hand.promise])
        assert verdict.sound and verdict.stored == LATE, verdict


def test_a_backlog_that_only_grows_is_red(tmp_path: Path) -> None:
    """Commits are kept away while events come, as by a repository that is too slow for them."""
    pause = Pause(tmp_path, "dispatch.before-commit", "black")
    settings = {"supervision": {"growing_after": 10, "stuck_after": 120}}
    words = "x" * 1000
    growing = Sender([], lambda number: f"Load_Event;sender=hand;number={number};msg='{words}';END", "hand")
    with Cluster(tmp_path, hang_after=120, settings=settings) as cluster, Hand(promise=growing) as hand:
        cluster.start("black", pause.word)
        cluster.wait_up()
        hand.greet(cluster.servers[0])
        pause.arm()

        def send(count: int) -> None:
            first, last = growing.produced + 1, growing.produced + count
            hand.send(first, last)
            assert hand.acknowledged(last)

        send(LATE)
        pause.wait_reached()
        begun = time.monotonic()
        wait_for("it has waited for long enough", lambda: _waits(cluster) and time.monotonic() > begun + 12)
        assert causes(cluster) == [], "a small backlog is none that grows"
        for _ in range(11):
            send(100)
        wait_for("a backlog that only grows", lambda: causes(cluster) == ["growing"])
        done = cluster.tec("status", "--json")
        found = json.loads(done.stdout)
        assert done.returncode == 1 and not found["healthy"] and found["waiting_bytes"] > 1 << 20
        assert "the log grows faster than it is worked off: 1." in found["reasons"][0]
        assert (asked(cluster, "--live"), asked(cluster)) == (0, 1), "no restart makes it faster"
        pause.release()
        cluster.wait_up()
        assert cluster.tec("status").returncode == 0
        cluster.stop()
        verdict = check(cluster.directory, [growing])
        assert verdict.sound and verdict.stored == LATE + 1100, verdict


def _waits(cluster: Cluster) -> bool:
    status = cluster.status("black")
    return bool(status and status["waiting_bytes"])


def test_a_refused_rule_base_is_told(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.start()
        cluster.stop()
        rules = cluster.rules / "TEC_RULES" / "load.rls"
        sound = rules.read_text()
        rules.write_text(sound + "rule: broken: (\n")
        started = cluster.tec("start", node="black")
        assert started.returncode == 0 and "is refused and the one before stays active" in started.stderr
        wait_for("all are ready", lambda: causes(cluster) == ["rule-base"])
        done = cluster.tec("status")
        assert done.returncode == 1 and "was refused at the start, the one before stays active: " in done.stdout
        cluster.stop()
        rules.write_text(sound)
        cluster.start()
        cluster.wait_up()
        assert cluster.tec("status").returncode == 0


def test_recovery_is_shown(tmp_path: Path) -> None:
    """What was acknowledged and not committed before a kill is replayed, and status counts it."""
    before = Pause(tmp_path, "dispatch.before-commit", "black")
    with Course(tmp_path, black=before.word) as course:
        before.arm()
        course.hand.send(LATE, LATE + 19)
        assert course.hand.acknowledged(LATE + 19)
        before.wait_reached()
        course.cluster.kill_all()
        course.cluster.start("black")
        course.cluster.wait_up("black")
        course.wait_stored(LATE + 19)
        status = wait_for("recovery ends", lambda: (s := course.cluster.status("black")) and s["recovered"] and s)
        assert status["recovery"]["done"] and status["recovery"]["records"] == 20
        assert "done: 20 records replayed in" in course.cluster.tec("status").stdout
        log = course.cluster.directory / "log" / "black" / "tec_rule.log"
        assert "records replayed in" in log.read_text()
        assert course.end(LATE + 19).sound


# -- commands that read the files of a stopped server ---------------------------------------------------------------


@pytest.mark.parametrize("unsafe", ["", "unsafe:no-reader-lock"])
def test_no_server_starts_while_a_command_reads_its_files(tmp_path: Path, unsafe: str) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.start()
        cluster.stop()
        command = [sys.executable, "-m", "tests.faults.launch", str(cluster.directory), "black"]
        environment = {**cluster.environment, "TEC_TEST_HOOKS": unsafe}
        with readers.reading(cluster.directory / "ha", _nobody) as alone:
            assert alone
            start = subprocess.Popen(
                command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            try:
                if unsafe:
                    cluster.wait_up("black")  # both have the repository open now
                else:
                    lock = cluster.runtime / next(p.name for p in _runtime(cluster)) / "lock"
                    wait_for("the start has come that far", lambda: _locked(lock))
                    end = time.monotonic() + 1.0
                    while time.monotonic() < end:
                        assert len(epochs.numbers(cluster.directory / "ha")) == 1 and start.poll() is None
                    assert cluster.tec("list").returncode == 0, "others may read as well"
            except BaseException:
                start.kill()
                raise
        assert start.wait(60) == 0
        assert start.stdout is not None
        start.stdout.close()
        cluster.wait_up("black")
        cluster.stop()


def test_a_command_whose_output_nobody_takes_makes_way_for_a_start(tmp_path: Path) -> None:
    """As `tec dump | less` that somebody left open over night."""
    with Cluster(tmp_path) as cluster:
        cluster.start()
        words = "x" * 500  # more of them than a pipe holds
        sender = Sender(cluster.servers, lambda number: f'EVENT;hostname=h{number};msg="{words}";END', limit=600)
        with Load([sender]):
            wait_for("all are in the log", lambda: sender.acked == 600)
        cluster.stop()
        dump = subprocess.Popen(
            [sys.executable, "-m", "opentec.commands.main", "dump"],
            env={**cluster.environment, "TEC_DIR": str(cluster.directory)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            wait_for("the command reads", lambda: _locked(cluster.directory / "ha" / readers.NAME))
            cluster.start()
            cluster.wait_up("black")
            assert dump.wait(10) == 4
            assert dump.stderr is not None
            assert "ended, since the server is about to start" in dump.stderr.read()
        finally:
            dump.kill()
            dump.communicate()
        cluster.stop()


def _nobody() -> None:
    """A reader that does not make way, as one that is stopped."""


def _runtime(cluster: Cluster) -> list[Path]:
    found: list[Path] = wait_for("the runtime directory", lambda: list(cluster.runtime.iterdir()))
    return found


def _locked(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
