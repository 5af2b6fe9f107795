"""The master's decisions, without its children: standing by, the takeover's notice, ends, status."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from opentec.events.records import position_of
from opentec.ha import epochs, marks
from opentec.ha.errors import LeaseDirectoryError, LeaseLost
from opentec.ha.lease import Lease
from opentec.ha.watch import Decision
from opentec.server import master as module
from opentec.server.child import Context
from opentec.server.config import load_config
from opentec.server.errors import Refused, ServerError
from opentec.server.instance import Instance
from opentec.server.master import EXIT_GAVE_WAY, EXIT_REJOIN, Master
from opentec.server.progress import Word, boot_us
from opentec.server.rpc import Peer, RpcServer
from opentec.server.supervisor import GiveUp, Supervisor
from tests.rules.engine_kit import rule_base
from tests.server.kit import make_context, until
from tests.server.test_dispatch import segment


class Told:
    """Masters of one instance, and what they said to whoever started them."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.words: list[dict[str, Any]] = []
        self.masters: list[Master] = []

    def master(self, **options: Any) -> Master:
        self.instance.runtime("black").mkdir(parents=True, exist_ok=True)
        config = load_config(self.instance)
        found = Master(self.instance, config, "black", rule_base(), [], self.words.append, **options)
        self.masters.append(found)
        return found


@pytest.fixture
def told(instance: Instance) -> Any:
    found = Told(instance)
    yield found
    for master in found.masters:
        if master._lease is not None:
            master._lease.release()


def claimed(told: Told, **options: Any) -> Master:
    """A master that holds epoch 1 of a new instance, and has no children."""
    master = told.master(**options)
    lease = Lease.claim(told.instance.ha, "black", [], (epochs.numbers(told.instance.ha) or [0])[-1])
    assert lease is not None
    master._lease = lease
    master._context = make_context(told.instance, lease.epoch)
    master._supervisor = Supervisor(master._context, master._quarantine)
    return master


def with_disk_limit(master: Master, seconds: float) -> None:
    section = master._config.ha.model_copy(update={"disk_limit": seconds})
    master._config = master._config.model_copy(update={"ha": section})


def test_the_rule_base_of_a_status_is_the_one_at_work(context: Context) -> None:
    master = Master(context.instance, context.config, context.node, context.rule_base, [], lambda word: None)
    assert master._rule_base_at_work() == context.rule_base.content_hash[:12], "a standby would begin with it"
    master._supervisor = Supervisor(context, None)  # type: ignore[arg-type]
    assert master._rule_base_at_work() == ""
    master._progress[Word.RULE_BASE] = 0x00ABCDEF1234
    assert master._rule_base_at_work() == "00abcdef1234"


async def test_a_new_instance_is_claimed_at_once_and_starts(told: Told) -> None:
    master = told.master()
    assert await asyncio.wait_for(master._stand_by(), 20)
    assert master._lease is not None and master._lease.epoch == 1
    assert master._context is not None and master._context.takeover["class"] == "TEC_Start"


async def test_a_second_node_stands_by_until_the_lease_is_free(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = Lease.claim(told.instance.ha, "brown", [], 0)
    assert holder is not None
    segment(told.instance.rx, 1, 1)
    bases = [rule_base(name="newer")]
    master = told.master(load_rule_base=lambda: bases[0])
    standing = asyncio.ensure_future(master._stand_by())
    await until(lambda: told.words)
    assert told.words == [{"state": "standby", "active": "brown"}] and master.status()["state"] == "standby"
    holder.release()
    assert await asyncio.wait_for(standing, 20)
    takeover = master._context.takeover  # type: ignore[union-attr]
    assert takeover["class"] == "TEC_Failover" and takeover["msg"] == "brown -> black: lock free"
    assert (takeover["epoch"], takeover["skipped_epochs"]) == (2, 0)
    assert master._context.rule_base is bases[0]  # type: ignore[union-attr]


async def standing_by(told: Told, monkeypatch: pytest.MonkeyPatch) -> tuple[Lease, asyncio.Task[bool], Master]:
    """A holder, and a master that stands by for it and looks without pause, with its work."""
    holder = Lease.claim(told.instance.ha, "brown", [], 0)
    assert holder is not None
    monkeypatch.setattr(module, "_LOOK", 0.001)
    master = told.master()
    standing = asyncio.ensure_future(master._stand_by())
    await until(lambda: told.words)
    return holder, standing, master


async def test_storage_that_is_away_for_a_moment_does_not_cost_the_standby(
    told: Told, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    holder, standing, _ = await standing_by(told, monkeypatch)
    numbers, looks = epochs.numbers, 0

    def away(directory: Any) -> list[int]:
        nonlocal looks
        looks += 1
        raise LeaseDirectoryError(f"{directory}: Stale file handle")

    monkeypatch.setattr(epochs, "numbers", away)
    await until(lambda: looks > 3)
    monkeypatch.setattr(epochs, "numbers", numbers)
    claim, claims = Lease.claim, 0

    def refused(*arguments: Any, **options: Any) -> Lease | None:
        nonlocal claims
        claims += 1
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Lease, "claim", refused)
    holder.release()
    await until(lambda: claims > 3)
    monkeypatch.setattr(Lease, "claim", claim)
    assert await asyncio.wait_for(standing, 20)
    assert caplog.text.count("Stale file handle") == 1 and caplog.text.count("Read-only file system") == 1


async def test_an_epoch_that_nobody_would_serve_is_given_back(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fails between the claim and what a takeover reads behind it: the lock must not look like a server."""
    holder, standing, master = await standing_by(told, monkeypatch)
    notice, failures = module.first_notice, 0

    def fails_once(*arguments: Any, **options: Any) -> dict[str, Any]:
        nonlocal failures
        failures += 1
        if failures == 1:
            raise OSError(5, "Input/output error")
        return notice(*arguments, **options)

    monkeypatch.setattr(module, "first_notice", fails_once)
    holder.release()
    assert await asyncio.wait_for(standing, 20)
    assert epochs.numbers(told.instance.ha) == [1, 2, 3] and epochs.holder_dead(epochs.read(told.instance.ha, 2))
    assert master._lease is not None and master._lease.epoch == 3


async def test_a_directory_that_cannot_be_read_refuses_the_start_with_the_reason(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    (told.instance.ha).rmdir()
    with pytest.raises(ServerError, match="No such file or directory; check that the instance directory is mounted"):
        await told.master()._stand_by()


async def test_a_stopped_logical_server_lets_the_standby_rest(told: Told) -> None:
    holder = Lease.claim(told.instance.ha, "brown", [], 0)
    assert holder is not None
    master = told.master()
    standing = asyncio.ensure_future(master._stand_by())
    await until(lambda: told.words)
    marks.mark_stopped(told.instance.ha, 1)
    holder.release()
    assert not await asyncio.wait_for(standing, 20)


async def test_a_standby_that_is_asked_to_stop_ends(told: Told) -> None:
    holder = Lease.claim(told.instance.ha, "brown", [], 0)
    master = told.master()
    running = asyncio.ensure_future(master.run())
    await until(lambda: told.words)
    master._asked_to_stop("node")
    assert await asyncio.wait_for(running, 20) == 0
    assert not (told.instance.runtime("black") / "master.sock").exists()
    assert holder is not None


def takeover(told: Told, before: epochs.EpochFile | None, expect: int) -> dict[str, Any]:
    master = told.master()
    master._lease = Lease.claim(told.instance.ha, "black", [], expect)
    assert master._lease is not None
    master._claimed(Decision(expect, "no beat for 3.1 s", before))
    assert master._context is not None
    return master._context.takeover


def test_epochs_that_wrote_nothing_were_skipped(told: Told) -> None:
    segment(told.instance.rx, 1, 1)
    epochs.path_of(told.instance.ha, 4).touch()
    found = takeover(told, epochs.read(told.instance.ha, 4), 4)
    assert (found["class"], found["epoch"], found["skipped_epochs"]) == ("TEC_Failover", 5, 3)
    assert found["reason"] == "no beat for 3.1 s" and found["msg"] == "unknown -> black: no beat for 3.1 s"


def test_an_epoch_file_that_is_gone_does_not_spoil_the_takeover(told: Told) -> None:
    segment(told.instance.rx, 1, 1)
    epochs.path_of(told.instance.ha, 1).touch()
    before = epochs.read(told.instance.ha, 1)
    found = takeover(told, epochs.EpochFile(1, told.instance.ha / "gone", node=before.node), 1)
    assert (found["class"], found["gap"]) == ("TEC_Failover", 0.0)


@pytest.mark.parametrize(("mark", "kind"), [("clean", "TEC_Start"), ("stopped", "TEC_Start"), ("", "TEC_Failover")])
def test_after_a_clean_stop_the_server_starts(told: Told, mark: str, kind: str) -> None:
    segment(told.instance.rx, 1, 1)
    epochs.path_of(told.instance.ha, 1).touch()
    if mark:
        (told.instance.ha / f"{mark}.1").touch()
    assert takeover(told, epochs.read(told.instance.ha, 1), 1)["class"] == kind


def test_a_node_that_gave_way_is_told_with_its_reason(told: Told) -> None:
    segment(told.instance.rx, 1, 1)
    epochs.path_of(told.instance.ha, 1).touch()
    marks.mark_gave_way(told.instance.ha, 1, "the disk hangs")
    assert takeover(told, epochs.read(told.instance.ha, 1), 1)["reason"] == "gave way: the disk hangs"


def test_a_planned_switch_says_so(told: Told) -> None:
    segment(told.instance.rx, 1, 1)
    epochs.path_of(told.instance.ha, 1).touch()
    marks.request_switch(told.instance.ha, 1)
    assert takeover(told, epochs.read(told.instance.ha, 1), 1)["reason"] == "planned switch"


@pytest.mark.parametrize(("kind", "status"), [("superseded", EXIT_REJOIN), ("demote", EXIT_GAVE_WAY), ("fatal", 1)])
def test_giving_up(told: Told, kind: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    master = claimed(told)
    ended: list[float | None] = []
    monkeypatch.setattr(Supervisor, "end_all", lambda self, patience=None: ended.append(patience) or [7])
    assert master._give_up(GiveUp(kind, "a reason")) == status
    assert marks.gave_way(told.instance.ha, 1) == ("a reason" if kind == "demote" else "")
    # the standby waits for nothing but the lock, and who gives way keeps it no longer than the time to live
    assert epochs.holder_dead(epochs.read(told.instance.ha, 1)) == (kind == "demote")
    assert ended == ([pytest.approx(0.5)] if kind == "demote" else [None])
    assert told.words == ([{"state": "failed", "reason": "a reason"}] if kind == "fatal" else [])
    assert (master._supervisor is None) == (kind == "demote"), "the end of the run waits for no process that is left"


async def test_who_gives_way_waits_for_no_process(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that waits for a hung disk ends when that answers, which may be never."""
    master = told.master()
    waited: list[float | None] = []
    monkeypatch.setattr(Supervisor, "start_all", lambda self: None)
    monkeypatch.setattr(Supervisor, "end_all", lambda self, patience=None: waited.append(patience) or [7])

    def hang(self: Supervisor) -> None:
        raise GiveUp("demote", "the disk hangs")

    monkeypatch.setattr(Supervisor, "watch", hang)
    assert await asyncio.wait_for(master.run(), 60) == EXIT_GAVE_WAY
    assert waited == [pytest.approx(0.5)]


@pytest.mark.parametrize("limit", [0, 0.5])
async def test_a_slow_lease_is_a_reason_only_where_slowness_is(
    told: Told, monkeypatch: pytest.MonkeyPatch, limit: float
) -> None:
    master, moments = claimed(told), iter(range(0, 10**9, 3_000_000))
    with_disk_limit(master, limit)
    monkeypatch.setattr(module, "boot_us", lambda: next(moments))
    beats = 0

    def beat(self: Lease) -> None:
        nonlocal beats
        beats += 1
        if beats == 3:
            raise LeaseLost(1)

    monkeypatch.setattr(Lease, "beat", beat)
    with pytest.raises(GiveUp) as error:
        await master._beating()
    assert (error.value.kind, beats) == (("demote", 1) if limit else ("superseded", 3))


@pytest.mark.parametrize(("asked", "mark"), [("stop", "stopped.1"), ("node", "switch.1")])
async def test_a_stop_drains_and_leaves_its_mark(
    told: Told, asked: str, mark: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    master = claimed(told)

    async def drain(self: Supervisor, seconds: float) -> bool:
        return False

    monkeypatch.setattr(Supervisor, "end_all", lambda self: None)
    monkeypatch.setattr(Supervisor, "drain", drain)
    own: Any = SimpleNamespace(is_own=True)
    await master._handle(own, "stop", "node" if asked == "node" else None)
    await master._handle(own, "stop", "node")  # the first word counts
    assert (told.instance.ha / "stopped.1").exists() == (asked == "stop"), "before anything is ended"
    assert await master._end() == 0
    assert (told.instance.ha / mark).exists() and master._stop.is_set()
    assert "the next start processes them" in caplog.text


async def test_a_stop_that_cannot_be_marked_is_refused(told: Told) -> None:
    """Else it would be a failover: the standby sees the lease free and no mark."""
    master = claimed(told)
    only = master._config.nodes["black"]
    master._config = master._config.model_copy(update={"nodes": {"black": only, "brown": only}})
    master._lease.directory = told.instance.ha / "none"  # type: ignore[union-attr]
    own: Any = SimpleNamespace(is_own=True)
    with pytest.raises(Refused, match="not stopped, since a standby would take over: .*No such file or directory"):
        await master._handle(own, "stop", None)
    assert not master._stop.is_set()


async def test_the_only_node_stops_without_a_mark(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    """A full disk must not keep a server from being stopped, where nobody would take over."""
    master = claimed(told)
    master._lease.directory = told.instance.ha / "none"  # type: ignore[union-attr]
    own: Any = SimpleNamespace(is_own=True)
    assert await master._handle(own, "stop", None) == os.getpid()
    assert master._stop.is_set() and "stopped without a mark" in caplog.text


async def test_a_beat_that_fails_gives_way_in_time(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    master = claimed(told)
    monkeypatch.setattr(Lease, "beat", lambda self: (_ for _ in ()).throw(LeaseLost(1)))
    with pytest.raises(GiveUp) as error:
        await master._beating()
    assert error.value.kind == "superseded"
    monkeypatch.setattr(Lease, "beat", lambda self: (_ for _ in ()).throw(OSError("disk")))
    monkeypatch.setattr(Lease, "overdue", lambda self, preset: True)
    with pytest.raises(GiveUp, match="the lease cannot be renewed: disk") as error:
        await master._beating()
    assert error.value.kind == "demote"


async def test_a_record_is_set_aside_through_reception(
    told: Told, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    master = claimed(told)
    await master._quarantine(position_of(1, 0), "poison")
    assert "the record at rx:1:0 could not be set aside" in caplog.text
    asked: list[Any] = []
    answering = True

    async def handle(peer: Peer, operation: str, argument: Any) -> Any:
        asked.append((operation, argument))
        if not answering:
            await asyncio.Event().wait()

    assert master._context is not None
    server = RpcServer(master._context.runtime / "reception.sock", handle)
    await server.start()
    caplog.clear()
    await master._quarantine(position_of(1, 0), "poison")
    assert asked == [("quarantine", [position_of(1, 0), "poison"])] and not caplog.text
    answering = False
    monkeypatch.setattr(module, "_QUARANTINE", 0.01)
    await asyncio.wait_for(master._quarantine(position_of(1, 0), "poison"), 20)
    assert "could not be set aside" in caplog.text
    server.close()
    for running in server._running:
        running.cancel()


async def test_who_may_ask_for_what(told: Told) -> None:
    master = claimed(told)

    class Stranger:
        is_own = False

    class Own:
        is_own = True

    stranger, own = Stranger(), Own()
    assert (await master._handle(stranger, "status", None))["server"] == "tec"  # type: ignore[arg-type]
    with pytest.raises(Refused, match="only the server's own user may do that"):
        await master._handle(stranger, "stop", None)  # type: ignore[arg-type]
    with pytest.raises(Refused, match="no operation 'jump'"):
        await master._handle(own, "jump", None)  # type: ignore[arg-type]
    assert not master._stop.is_set()
    assert await master._handle(own, "stop", "node") == os.getpid()  # type: ignore[arg-type]
    assert master._stop.is_set() and master._stop_kind == "node"


def test_status_is_healthy_when_the_backlog_moves(told: Told) -> None:
    master = claimed(told)
    master._state = "up"
    progress = master._progress
    assert master._supervisor is not None
    for child in master._supervisor.children:
        assert f"tec_{child.name} is not running" in master.status()["reasons"]
        child.pid = 100 + child.number
        progress.beat(child.number)
        progress.ready(child.number)
    status = master.status()
    assert status["healthy"] and status["reasons"] == [] and status["epoch"] == 1
    progress.ready(1, False)
    assert master.status()["reasons"] == ["tec_rule is not ready yet"]
    progress.ready(1)
    progress[Word.BEAT_TASK] -= 6_000_000
    assert master.status()["reasons"] == ["tec_task shows no sign of life for 6 s"]
    progress.beat(3)
    end = segment(told.instance.rx, 1, 4)
    progress[Word.DURABLE], progress[Word.COMMITTED] = end, position_of(1, 0)
    assert master.status()["healthy"], "it waits, and not for long"
    assert master.status()["waiting_bytes"] == 4 * 72
    master._vitals._moving_at -= 31_000_000
    assert "nothing was committed for 31 s" in master.status()["reasons"][0]
    assert master.status()["causes"][0] == {"code": "stuck", "since": pytest.approx(31, abs=1), "restart": True}
    progress[Word.REPOSITORY_ERROR_SINCE] = boot_us() - 7_000_000
    progress[Word.PAUSED] = 1
    assert master.status()["reasons"] == [
        "the repository does not answer for 7 s; events wait in the log",
        "sockets are not read: the reception log or its disk is full, for 0 s",
    ]


def healthy(master: Master) -> Master:
    """Its four children are there, ready, and show signs of life."""
    master._state = "up"
    assert master._supervisor is not None
    for child in master._supervisor.children:
        child.pid = 100 + child.number
        master._progress.beat(child.number)
        master._progress.ready(child.number)
    return master


def test_a_stopping_server_is_not_judged_by_its_backlog(told: Told) -> None:
    master = healthy(claimed(told))
    master._progress[Word.PAUSED] = 1
    assert master.status()["reasons"]
    master._state = "stopping"
    assert not master.status()["healthy"] and master.status()["reasons"] == []


def test_a_refused_rule_base_is_told_until_another_one_is_at_work(told: Told) -> None:
    master = healthy(claimed(told, refused="the rule base in rules was refused at the start: x:1:2"))
    stayed = master._rule_base.content_hash[:12]
    for at_work in (0, int(stayed, 16)):
        master._progress[Word.RULE_BASE] = at_work
        status = master.status()
        assert not status["healthy"] and status["causes"][0]["code"] == "rule-base"
        assert "x:1:2" in status["reasons"][0]
    master._progress[Word.RULE_BASE] = 0xABC
    assert master.status()["healthy"]


def test_warnings_do_not_make_a_server_unhealthy(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.report, "network_file_system", lambda path: "nfs4")
    monkeypatch.setattr(module.report, "version_warnings", lambda version: ["SQLite is old"])
    warnings = told.master().status()["warnings"]
    assert warnings[0] == "SQLite is old" and "is on a nfs4 file system" in warnings[1]


async def test_watching_sees_the_backlog_move(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WATCH", 0.0)
    master = claimed(told)
    monkeypatch.setattr(Supervisor, "watch", lambda self: None)
    master._progress[Word.DURABLE] = 100
    master._vitals._moving_at = 1
    watching = asyncio.ensure_future(master._watching())
    master._progress[Word.COMMITTED] = 50
    await until(lambda: master._vitals._committed == 50)
    assert master._vitals._moving_at > 1
    watching.cancel()


TWO = '[nodes.black]\nlisten = "127.0.0.1:5529"\n[nodes.brown]\nlisten = "127.0.0.1:5530"\n'


@pytest.mark.parametrize(
    ("word", "settings", "gives_way"),
    [
        (Word.SYNC_SINCE, TWO, True),
        (Word.PROBE_SINCE, TWO, True),
        (Word.SYNC_SINCE, TWO + "[ha]\ndisk_limit = 0\n", False),
        (Word.SYNC_SINCE, TWO + "[ha]\ndisk_limit = 9\n", False),
        (Word.SYNC_SINCE, TWO + '[ha]\nheartbeat = "slow"\n', False),
        # there is nobody to give way to
        (Word.SYNC_SINCE, '[nodes.black]\nlisten = "127.0.0.1:5529"\n', False),
    ],
)
def test_a_disk_that_hangs_gives_way(told: Told, word: Word, settings: str, gives_way: bool) -> None:
    told.instance.config_file.write_text(settings)
    master = claimed(told)
    master._progress.beat(0)
    master._progress[word] = boot_us() - 1_900_000
    master._watch_disk()
    master._progress[word] = boot_us() - 2_100_000
    if gives_way:
        with pytest.raises(GiveUp, match="taken longer than 2 s: the disk hangs") as error:
            master._watch_disk()
        assert error.value.kind == "demote"
        # reception hangs itself: its own supervision sees to that
        master._progress[Word.BEAT_RECEPTION] -= 1_500_000
    master._watch_disk()


@pytest.mark.parametrize("who", ["reception", "this process"])
def test_a_stall_of_the_machine_is_no_slow_disk(told: Told, monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    """Everything stood still while a write was under way; the master may be the first or the last to go on."""
    now = boot_us()
    monkeypatch.setattr(module, "boot_us", lambda: now)
    told.instance.config_file.write_text(TWO)
    master = claimed(told)
    progress = master._progress
    progress[Word.BEAT_RECEPTION] = progress[Word.SYNC_SINCE] = now
    master._watch_disk()
    now += 5_000_000
    if who == "this process":
        progress[Word.BEAT_RECEPTION] = now
    master._watch_disk()
    for _ in range(7):  # from here on it is the disk
        now += 250_000
        progress[Word.BEAT_RECEPTION] = now
        master._watch_disk()
    with pytest.raises(GiveUp, match="the disk hangs"):
        for _ in range(2):
            now += 250_000
            progress[Word.BEAT_RECEPTION] = now
            master._watch_disk()


async def test_a_standby_whose_disk_fails_does_not_take_over(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    trouble = "/own: it cannot be written: Read-only file system"

    class Trial:
        def __init__(self, directories: Any, node: str, **limits: float) -> None:
            assert directories == [told.instance.ha, told.instance.rx]

        def look(self, now: float) -> str:
            return trouble

        def close(self) -> None:
            pass

    monkeypatch.setattr(module, "Trial", Trial)
    monkeypatch.setattr(module, "_LOOK", 0.001)
    holder = Lease.claim(told.instance.ha, "brown", [], 0)
    assert holder is not None
    master = told.master()
    standing = asyncio.ensure_future(master._stand_by())
    await until(lambda: told.words and master._disk_trouble)
    holder.release()
    looks = 0

    def count(*_: Any) -> None:
        nonlocal looks
        looks += 1

    monkeypatch.setattr(Master, "_keep_warm", count)
    await until(lambda: looks > 5)
    assert not standing.done()
    assert master.status()["reasons"] == [f"this node would not take over: {trouble}"]
    trouble = ""
    assert await asyncio.wait_for(standing, 20)


async def test_a_standby_keeps_the_active_rule_base_compiled(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = Lease.claim(told.instance.ha, "brown", [], 0)
    assert holder is not None
    monkeypatch.setattr(module, "_LOOK", 0.001)
    monkeypatch.setattr(module, "_WARM_US", 0)
    newer, loads, active = msgspec.structs.replace(rule_base(), content_hash="f" * 64), 0, ""

    def load() -> Any:
        nonlocal loads
        loads += 1
        if loads == 1:
            raise ServerError("it is being copied")
        return newer

    master = told.master(load_rule_base=load, active_hash=lambda: active)
    active = master._rule_base.content_hash
    standing = asyncio.ensure_future(master._stand_by())
    await until(lambda: told.words)
    assert loads == 0
    active = newer.content_hash
    await until(lambda: master._rule_base is newer)
    holder.release()
    assert await asyncio.wait_for(standing, 20)
    assert loads == 2, "nothing is loaded at the takeover"
    assert master._context is not None and master._context.rule_base is newer


async def test_a_renewal_that_takes_too_long_gives_way(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    master = claimed(told)
    with_disk_limit(master, 0.5)
    times = iter([0, 2_100_000])
    monkeypatch.setattr(module, "boot_us", lambda: next(times))
    with pytest.raises(GiveUp, match=r"renewing the lease took 2\.1 s: the disk hangs") as error:
        await master._beating()
    assert error.value.kind == "demote"


async def test_up_is_when_all_are_ready_and_the_port_counts_first(told: Told) -> None:
    master = claimed(told)
    progress = master._progress
    becoming = asyncio.ensure_future(master._becoming_ready())
    progress.ready(0)
    await until(lambda: master._state == "up")
    assert not told.words
    for number in (1, 2, 3):
        progress.ready(number)
    await asyncio.wait_for(becoming, 20)
    assert told.words == [{"state": "up", "epoch": 1}]
